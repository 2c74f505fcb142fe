package hibernate

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// replaces makes the cluster do with evicted pods what its controllers, its scheduler
// and its kubelets do: five seconds later another pod runs on the node that place
// names; where it names none, it waits. It returns what to ask for the evictions so far.
func (n *night) replaces(place func(evicted string) string) (evicted func() []string) {
	var count atomic.Int32
	n.server.Before(func(r *clustertest.Request) clustertest.Fault {
		if r.Subresource != "eviction" {
			return clustertest.Fault{}
		}
		ref := cluster.Ref{Kind: "Pod", Namespace: r.Namespace, Name: r.Name}
		time.AfterFunc(5*time.Second, func() {
			pod := n.server.Get(ref)
			if pod == nil || pod.GetDeletionTimestamp() == nil {
				return // the server has refused it
			}
			n.server.Drop(ref)
			other := pod.DeepCopy()
			other.SetName(strings.TrimRight(r.Name, "0123456789") + string('a'+count.Add(1)))
			other.SetUID("")
			other.SetResourceVersion("")
			other.SetDeletionTimestamp(nil)
			other.SetDeletionGracePeriodSeconds(nil)
			on := place(r.Name)
			ready := map[bool]string{true: "True", false: "False"}[on != ""]
			if err := unstructured.SetNestedField(other.Object, on, "spec", "nodeName"); err != nil {
				n.t.Error(err)
			}
			conditions := []any{map[string]any{"type": "Ready", "status": ready},
				map[string]any{"type": "PodScheduled", "status": ready}}
			if err := unstructured.SetNestedSlice(other.Object, conditions, "status", "conditions"); err != nil {
				n.t.Error(err)
			}
			n.server.Put(other)
		})
		return clustertest.Fault{}
	})
	return func() (out []string) {
		for _, w := range n.server.Writes() {
			if name, ok := strings.CutPrefix(w, "create pods/eviction monitoring/"); ok {
				out = append(out, name)
			}
		}
		return out
	}
}

// podsOn tells on which nodes the pods of monitoring are.
func (n *night) podsOn() string {
	var out []string
	for _, ref := range n.server.Refs() {
		if name, ok := strings.CutPrefix(ref, "Pod/monitoring/"); ok {
			pod := n.server.Get(cluster.Ref{Kind: "Pod", Namespace: "monitoring", Name: name})
			on, _, err := unstructured.NestedString(pod.Object, "spec", "nodeName")
			if err != nil {
				n.t.Error(err)
			}
			out = append(out, on)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// schedule returns the first node that is not cordoned and has less than three pods of
// monitoring.
func (n *night) schedule(string) string {
	for name := range strings.FieldsSeq(n.names()) {
		node := n.server.Get(cluster.Ref{Kind: "Node", Name: name})
		if node == nil || strings.Count(" "+n.podsOn()+" ", " "+name+" ") > 2 || node.GetLabels()[PausedKey] != "" {
			continue
		}
		if cordoned, _, err := unstructured.NestedBool(node.Object, "spec", "unschedulable"); err == nil && !cordoned {
			return name
		}
	}
	return ""
}

// keeping keeps the namespace monitoring.
func keeping() PauseOptions {
	o := options()
	o.NamespacesToKeep = []string{"monitoring"}
	return o
}

// Pods of namespaces to keep move before their nodes go, and all of them run through
// the night.
func TestKeptPodsMoveTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t, monitoring, replicas("web", large, "", "a", "b", "c"))
		gone := false
		n.before = func(request string) error {
			gone = gone || strings.HasPrefix(request, "delete-node") && n.podsOn() != "b b b"
			return nil
		}
		evicted := n.replaces(func(string) string { return "b" })
		if err := n.pause(t.Context(), keeping()); err != nil {
			t.Fatal(err)
		}
		if n.names() != "b made-3" || n.podsOn() != "b b b" || gone || len(evicted()) != 2 {
			t.Errorf("nodes %s, pods on %s, too early: %t, evicted: %v", n.names(), n.podsOn(), gone, evicted())
		}
		if err := n.resume(t.Context(), ResumeOptions{Run: "r2", By: "me"}); err != nil || len(n.left()) > 0 {
			t.Errorf("%v: %v", err, n.left())
		}
	})
}

// A pod that finds no place where the simulation saw one gets its node back.
func TestAKeptPodWithoutAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t, monitoring, replicas("web", large, "", "a", "b", "c"))
		big := aPod("shop/late", "b", "late", "{name: c, image: i, resources: {requests: {cpu: 1400m}}}", true)
		evicted := n.replaces(func(string) string {
			if objects, err := clustertest.Parse([]byte(big)); err == nil {
				n.server.Put(objects...) // somebody else has taken the place
			}
			return ""
		})
		if err := n.pause(t.Context(), keeping()); err != nil {
			t.Fatal(err)
		}
		// One was evicted, and waits; the other one was left alone then.
		if len(evicted()) != 1 || n.names() != "b c made-3" || n.podsOn() != " b c" ||
			slices.Contains(n.left(), "c is cordoned") {
			t.Errorf("evicted: %v, nodes %s, pods on %q, left: %v", evicted(), n.names(), n.podsOn(), n.left())
		}
	})
}

// A budget that lets no pod go any more keeps its node, and nothing is forced.
func TestABudgetKeepsANode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := "---\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: web, namespace: monitoring}\nspec: {selector: {matchLabels: {app: web}}}\nstatus: {disruptionsAllowed: 1}\n"
		n := evening(t, monitoring, budget, replicas("web", large, "", "a", "b", "c"))
		evicted := n.replaces(func(string) string {
			none := n.server.Get(cluster.Ref{Group: "policy", Kind: "PodDisruptionBudget", Namespace: "monitoring", Name: "web"})
			if err := unstructured.SetNestedField(none.Object, int64(0), "status", "disruptionsAllowed"); err != nil {
				t.Error(err)
			}
			n.server.Put(none)
			return "b"
		})
		if err := n.pause(t.Context(), keeping()); err != nil {
			t.Fatal(err)
		}
		if n.names() != "a b made-3" && n.names() != "b c made-3" || len(strings.Fields(n.podsOn())) != 3 ||
			len(evicted()) < 2 {
			t.Errorf("nodes %s, pods on %s, evicted %v", n.names(), n.podsOn(), evicted())
		}
	})
}

// Nobody may evict: nothing moves, all nodes with pods to keep stay.
func TestWithoutTheRightToEvict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t, monitoring, replicas("web", large, "", "a", "b"))
		n.server.Forbid = func(r *clustertest.Request) bool {
			return r.Subresource == "eviction" || r.Resource == "poddisruptionbudgets"
		}
		if err := n.pause(t.Context(), keeping()); err != nil || n.names() != "a b made-3" || n.podsOn() != "a b" {
			t.Errorf("%v: nodes %s, pods on %s", err, n.names(), n.podsOn())
		}
	})
}

// What moves needs a right of its own, in the namespace of each.
func TestRightsOfWhatMoves(t *testing.T) {
	p := plan(t, situation(t, nodesCalled("a", "b", "other")+monitoring+replicas("web", large, "", "a", "b")), keeping())
	r := &Runner{ClusterID: clusterID, Namespace: Namespace}
	want := cluster.Right{Resource: "pods", Subresource: "eviction", Verb: "create", Namespace: "monitoring"}
	if rights := Rights(r.Phases(p)); !slices.Contains(rights, want) {
		t.Errorf("%v", rights)
	}
	o := keeping()
	o.Keep = KeepNodes
	p = plan(t, situation(t, nodesCalled("a", "b", "other")+monitoring+replicas("web", large, "", "a", "b")), o)
	if rights := Rights(r.Phases(p)); slices.Contains(rights, want) {
		t.Errorf("%v", rights)
	}
}
