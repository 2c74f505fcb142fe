package hibernate

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// A pause that goes on with one that is on, or that has removed nodes, wakes nobody
// when it fails.
func TestASecondPauseThatFailsWakesNobody(t *testing.T) {
	for name, allowed := range map[string]int{"paused": 1000, "nodes are left": 2} {
		for _, request := range []string{"get-policies", "delete-node"} {
			t.Run(name+", "+request+" fails", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := evening(t)
					n.before = refusing("delete-node", allowed)
					if err := n.pause(t.Context(), options()); (err != nil) != (allowed < 3) {
						t.Fatal(err)
					}
					n.before = nil
					n.order("late", aLateNode)
					n.join("late", aLateNode)
					n.before = refusing(request, map[string]int{"get-policies": 2}[request])
					err := n.pause(t.Context(), options())
					n.before = nil
					if err == nil || !strings.Contains(err.Error(), "run pause again") || strings.Contains(err.Error(), "taken back") {
						t.Errorf("the error is %v", err)
					}
					if s := n.sleep(); n.on() || s.Phase != Pausing || s.Who != Ours {
						t.Errorf("autoscaler on: %t; %s", n.on(), s)
					}
				})
			})
		}
	}
}

// A pause that is killed before a node has gone is taken back by the next one that
// fails: nothing of the cluster has gone.
func TestAPauseThatHasRemovedNothingIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t)
		n.before = refusing("delete-node", 0)
		err := n.pause(t.Context(), options())
		n.before = nil
		if err == nil || !n.on() || n.sleep().Asleep() {
			t.Errorf("autoscaler on: %t; %s; %v", n.on(), n.sleep(), err)
		}
	})
}

// The node that a cluster sleeps on is not given up because it is not ready when the
// cluster is woken: nothing else runs.
func TestANodeThatIsNotReadyIsSleptOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t)
		if err := n.pause(t.Context(), options()); err != nil {
			t.Fatal(err)
		}
		nodes := n.names()
		u := n.server.Get(cluster.Ref{Kind: "Node", Name: "made-3"})
		if err := unstructured.SetNestedSlice(u.Object, []any{map[string]any{"type": "Ready", "status": "Unknown"}}, "status",
			"conditions"); err != nil {
			t.Fatal(err)
		}
		n.server.Put(u)
		if err := n.resume(t.Context(), ResumeOptions{Run: "r", By: "me"}); err != nil {
			t.Fatal(err)
		}
		if !n.on() || n.names() != nodes {
			t.Errorf("autoscaler on: %t; nodes: %s", n.on(), n.names())
		}
	})
}

// What would refuse a pause beforehand is no refusal once nodes have gone: "nothing
// was changed" would be false.
func TestNoRefusalOnceNodesHaveGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t)
		n.order("late", aLateNode)
		time.AfterFunc(60*time.Second, func() {
			n.join("late", aLateNode)
			owner := ", ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: rs, uid: u, controller: true}]"
			n.put(t, strings.Replace(aPod("shop/naked", "late", "x", "{name: c, image: i}", true), owner, "", 1))
		})
		err := n.pause(t.Context(), options())
		if _, refusal := errors.AsType[*Refusal](err); refusal || err == nil {
			t.Errorf("a refusal: %t, %v", refusal, err)
		}
		if _, left := errors.AsType[*LeftError](err); !left || !strings.Contains(n.names(), "late") || n.on() {
			t.Errorf("left: %t, nodes %s, autoscaler on: %t, %v", left, n.names(), n.on(), err)
		}
	})
}

// altered is an API that answers something else about the cluster.
type altered struct {
	*night
	alter func(*castai.Cluster)
}

func (a *altered) Cluster(ctx context.Context, id string) (castai.Cluster, error) {
	c, err := a.night.Cluster(ctx, id)
	a.alter(&c)
	return c, err
}

// Cast AI's agents restart while nodes go, and the console warns.
func TestAWarningWhileNodesGoEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t)
		status := "ready"
		n.before = func(r string) error {
			if strings.HasPrefix(r, "delete-node") {
				status = "warning"
			}
			return nil
		}
		r := n.runner()
		r.API = &altered{n, func(c *castai.Cluster) { c.Status = status }}
		s, err := r.Observe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p, err := PlanPause(s, options())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Pause(t.Context(), p, options()); err != nil || n.sleep().Phase != Paused {
			t.Errorf("%s: %v", n.sleep(), err)
		}
		status = "warning"
		s, err = r.Observe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.Record.Journal = nil
		s.Console.Policies = castai.Policies(policiesOn)
		if _, err := PlanPause(s, options()); err == nil {
			t.Error("a pause begins beside a warning")
		}
	})
}

// A resume that could not take everything back keeps no later pause from beginning.
func TestAPauseAfterAResumeThatIsNotDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t)
		if err := n.pause(t.Context(), options()); err != nil {
			t.Fatal(err)
		}
		stop := n.server.Before(func(r *clustertest.Request) clustertest.Fault {
			if r.Verb == "patch" && r.Resource == "deployments" {
				return clustertest.Fault{Err: apierrors.NewForbidden(schema.GroupResource{Resource: r.Resource}, r.Name,
					errors.New("denied by a policy"))}
			}
			return clustertest.Fault{}
		})
		if err := n.resume(t.Context(), ResumeOptions{Run: "r", By: "me"}); err == nil || n.sleep().Phase != Resuming {
			t.Fatal(n.sleep(), err)
		}
		stop()
		n.order("day", aLateNode)
		n.join("day", aLateNode)
		if err := n.pause(t.Context(), options()); err != nil || n.on() || n.sleep().Phase != Paused {
			t.Fatalf("%s: %v", n.sleep(), err)
		}
		if err := n.resume(t.Context(), ResumeOptions{Run: "r", By: "me"}); err != nil || !n.on() || len(n.left()) > 0 {
			t.Errorf("on: %t, left: %v, %v", n.on(), n.left(), err)
		}
	})
}

// The node slept on may go, too: the next pause has another one, and wakes nobody.
func TestTheNodeSleptOnIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t, aNode("od", "type=m5a.large"))
		if err := n.pause(t.Context(), options()); err != nil || n.names() != "od" {
			t.Fatal(n.names(), err)
		}
		n.mu.Lock()
		for i := range n.nodes {
			if n.nodes[i].Name == "od" {
				n.nodes[i].State.Phase = "deleted"
			}
		}
		n.mu.Unlock()
		n.server.Drop(cluster.Ref{Kind: "Node", Name: "od"})
		n.order("late", aLateNode)
		n.join("late", aLateNode)
		if err := n.pause(t.Context(), options()); err != nil || n.on() || !strings.HasPrefix(n.names(), "made-") {
			t.Errorf("autoscaler on: %t; nodes: %s; %v", n.on(), n.names(), err)
		}
	})
}

// What a pause is to keep, a pause that goes on with it keeps, too.
func TestGoingOnKeepsWhatWasToBeKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t, aNode("k", removalDisabled+"=true"))
		o := options()
		o.ProtectRemovalDisabled = true
		n.before = refusing("delete-node", 2)
		if err := n.pause(t.Context(), o); err == nil {
			t.Fatal("no node is left")
		}
		n.before = nil
		if err := n.pause(t.Context(), options()); err != nil || !strings.Contains(n.names(), "k") {
			t.Errorf("nodes: %s, %v", n.names(), err)
		}
	})
}

// Without the record, the marks of a pause still tell that there was one.
func TestMarksTellOfAPauseWhoseRecordIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t)
		if err := n.pause(t.Context(), options()); err != nil {
			t.Fatal(err)
		}
		n.server.Drop(cluster.Ref{Kind: "ConfigMap", Namespace: Namespace, Name: StateName})
		if says := n.sleep().String(); !strings.Contains(says, "resume --repair") || strings.Contains(says, "never paused") {
			t.Errorf("status says %q", says)
		}
	})
}

// A pause that could not be taken back is no refusal: something was changed.
func TestWhatCouldNotBeTakenBackIsNoRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t)
		uid := ""
		n.before = func(r string) error {
			if !strings.HasPrefix(r, "delete-node") {
				return nil
			}
			uid = "of-another-cluster" // the roll-back is refused then
			return &castai.Error{Operation: r, Status: http.StatusInternalServerError}
		}
		r := n.runner()
		r.API = &altered{n, func(c *castai.Cluster) { c.Anywhere.KubeSystemNamespaceId = uid }}
		s, err := r.Observe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.Server.KubeSystemUID = "of-this-cluster"
		p, err := PlanPause(s, options())
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Pause(t.Context(), p, options())
		if _, refusal := errors.AsType[*Refusal](err); refusal || err == nil ||
			!strings.Contains(err.Error(), "could not be taken back") {
			t.Errorf("a refusal: %t; %v", refusal, err)
		}
	})
}

// A pause after a resume that is not done begins anew: what went in the pause before has
// not gone in this one. It goes on with the same policy.
func TestAPauseAfterAResumeThatIsNotDoneBeginsAnew(t *testing.T) {
	s := situation(t, aNode("a")+aNode("b"))
	s.Record.Journal = &Journal{Run: "r0", Phase: Resuming, Policies: &Policies{Switch: SwitchAll, Enabled: true},
		Remove: []string{"a", "gone"}}
	p, err := PlanPause(s, options())
	if err != nil || p.begun || slices.Contains(p.Journal.Remove, "gone") || !slices.Contains(p.Journal.Remove, "a") {
		t.Errorf("begun: %t, to be removed: %v, %v", p.begun, p.Journal.Remove, err)
	}
	o := options()
	o.Switch = SwitchUnschedulable
	if _, err := PlanPause(s, o); err == nil || !strings.Contains(err.Error(), "--policy=all") {
		t.Errorf("it turns off another policy: %v", err)
	}
}
