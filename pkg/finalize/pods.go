package finalize

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// namespaceGracePeriod is how long the namespace controller waits before it
// touches content (Kubernetes 1.36.3 pkg/controller/namespace/
// namespace_controller.go, namespaceDeletionGracePeriod).
const namespaceGracePeriod = 5 * time.Second

// kubeletDelay is what a kubelet may take beyond the grace period of a pod.
const kubeletDelay = 30 * time.Second

// nodePatience is how long Kubernetes itself waits for a node that has become unreachable
// (Kubernetes 1.36.3 plugin/pkg/admission/defaulttolerationseconds,
// default-unreachable-toleration-seconds).
const nodePatience = 5 * time.Minute

func isPod(o *cluster.Object) bool { return o.Resource.Group == "" && o.Resource.Kind == "Pod" }

// findPods finds the pods that are being deleted and that a kubelet has to
// confirm: with one on a node that is gone, nothing else in the namespace is
// touched since Kubernetes 1.33 (OrderedNamespaceDeletion).
func (e *examination) findPods() {
	byNode := map[string][]*cluster.Object{}
	for _, o := range e.objects {
		if !isPod(o) || !o.Terminating() {
			continue
		}
		if node, _, _ := unstructured.NestedString(o.Body, "spec", "nodeName"); node != "" {
			byNode[node] = append(byNode[node], o)
		}
	}
	var names []string
	for name := range byNode {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		e.addPods(name, byNode[name])
	}
}

func (e *examination) addPods(nodeName string, pods []*cluster.Object) {
	node := e.node(nodeName)
	// The deletion timestamp of a pod is the end of its grace period
	// (k8s.io/apiserver pkg/registry/rest/delete.go, BeforeDelete).
	ends := latest(pods)
	until := ends.Add(kubeletDelay)
	if node.lost && node.until.After(until) {
		until = node.until
	}
	c := Cause{Node: &node, objects: pods, Since: oldest(pods), Look: "kubectl describe node " + nodeName}
	late := e.options.now().After(until)
	switch {
	case late && (node.lost || node.Virtual):
		c.Type, c.Action = LostPods, DeletePods
		why := node.Message
		if !node.lost {
			why = "is virtual and has not confirmed it"
		}
		c.Summary = fmt.Sprintf("no kubelet will confirm that %s ended, because node %s %s", describe(pods), nodeName, why)
		c.Remedy = "delete with a grace period of 0; if the machine still runs, so may the containers"
		c.Command = fmt.Sprintf("kubectl delete pod %s -n %s --grace-period=0 --force", pods[0].Name, e.Namespace)
	case late:
		c.Type, c.Action, c.Blocks = TerminatingPods, Nothing, true
		is := "is alive"
		if node.Message != "" {
			is = "reports that it " + node.Message
		}
		c.Summary = fmt.Sprintf("the kubelet of node %s %s, but has not confirmed that %s ended, since %s%s",
			nodeName, is, describe(pods), ends.UTC().Format(time.RFC3339), e.lostClaims(pods))
		c.Remedy = "look at the node; only if the containers are certain to be gone, delete the pods with " +
			"--grace-period=0 --force"
	default:
		c.Type, c.Action, c.Until, c.later = TerminatingPods, Wait, until, node.lost || node.Virtual
		c.Summary = fmt.Sprintf("%s: shutting down on node %s", describe(pods), nodeName)
		if node.Message != "" {
			c.Summary += ", which " + node.Message
		}
		c.Remedy = fmt.Sprintf("wait: the grace period ends at %s", clock(ends))
		if node.lost {
			c.Remedy += fmt.Sprintf(", and its kubelet is given up at %s", clock(until))
		}
	}
	e.add(c)
}

// clock says when something is, on the day of the run.
func clock(at time.Time) string { return at.UTC().Format("15:04:05 MST") }

// lostClaims names the claims of pods that are gone or have lost their volume, of which a
// kubelet may not get rid: they begin with "; ". Empty: none, or nobody knows.
func (e *examination) lostClaims(pods []*cluster.Object) string {
	kinds := e.snap.Scope.Kinds
	if unreadable(e.snap, claims) != nil || len(kinds) > 0 && !slices.Contains(kinds, claims) {
		return ""
	}
	phases := map[string]string{}
	for _, o := range e.snap.Objects {
		if isClaim(o) && o.Namespace == pods[0].Namespace {
			phase, _, _ := unstructured.NestedString(o.Body, "status", "phase")
			phases[o.Name] = phase
		}
	}
	var out []string
	for _, pod := range pods {
		for _, name := range claimsOf(pod) {
			switch phase, there := phases[name]; {
			case !there:
				out = append(out, fmt.Sprintf("; Pod %s mounts PersistentVolumeClaim %s, which is gone", pod.Name, name))
			case phase == "Lost":
				out = append(out, fmt.Sprintf("; Pod %s mounts PersistentVolumeClaim %s, whose volume is gone", pod.Name,
					name))
			}
		}
	}
	if len(out) > 3 {
		out = append(out[:3], fmt.Sprintf("; and %d more", len(out)-3))
	}
	return strings.Join(out, "")
}

// node says what is known about a node. A kubelet that says that its node is not ready
// lives: only Unknown, which the control plane writes when nothing comes of it, and a node
// that is not there speak of one that is lost.
func (e *examination) node(name string) Node {
	n := Node{Name: name}
	i := slices.IndexFunc(e.snap.Objects, func(o *cluster.Object) bool {
		return o.Resource.Group == "" && o.Resource.Kind == "Node" && o.Name == name
	})
	if i < 0 {
		if sawAll(e.snap, "nodes") {
			n.Missing, n.lost, n.Message = true, true, "does not exist"
		}
		return n
	}
	o := e.snap.Objects[i]
	n.Virtual = isVirtual(o)
	list, _, _ := unstructured.NestedSlice(o.Body, "status", "conditions")
	n.lost, n.until, n.Message = true, o.Created.Add(nodePatience), "never reported to be ready"
	for _, item := range list {
		m, ok := item.(map[string]any)
		if !ok || m["type"] != "Ready" {
			continue
		}
		status, _ := m["status"].(string)
		text, _ := m["lastTransitionTime"].(string)
		at, err := time.Parse(time.RFC3339, text)
		switch status {
		case "True":
			n.lost, n.Message = false, ""
		case "Unknown":
			n.lost, n.until, n.Message = err == nil, at.Add(nodePatience), "is unreachable since "+text
		default:
			n.lost, n.Message = false, "is not ready since "+text
		}
	}
	return n
}

// isVirtual tells whether a node has no kubelet of its own: Virtual Kubelet and
// Liqo mark theirs with a label.
func isVirtual(o *cluster.Object) bool {
	return o.Labels["type"] == "virtual-kubelet" || o.Labels["liqo.io/type"] == "virtual-node" ||
		strings.HasPrefix(o.Labels["kubernetes.io/role"], "virtual")
}

func latest(objects []*cluster.Object) time.Time {
	var out time.Time
	for _, o := range objects {
		if o.Deleting.After(out) {
			out = o.Deleting
		}
	}
	return out
}
