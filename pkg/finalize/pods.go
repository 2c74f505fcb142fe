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
	end := latest(pods).Add(kubeletDelay)
	c := Cause{
		Node: &node, objects: pods, Since: oldest(pods),
		Command: fmt.Sprintf("kubectl delete pod %s -n %s --grace-period=0 --force", pods[0].Name, e.Namespace),
	}
	late := e.options.now().After(end)
	switch {
	case node.Message != "" || node.Virtual && late:
		c.Type, c.Action = LostPods, DeletePods
		why := node.Message
		if why == "" {
			why = "is virtual and has not confirmed it"
		}
		c.Summary = fmt.Sprintf("no kubelet will confirm that %s ended, because node %s %s", describe(pods), nodeName, why)
		c.Remedy = "delete with a grace period of 0; if the machine still runs, so may the containers"
	case late:
		c.Type, c.Action = TerminatingPods, Nothing
		c.Summary = fmt.Sprintf("the kubelet of node %s is alive, but has not confirmed that %s ended, since %s%s",
			nodeName, describe(pods), c.Since.UTC().Format(time.RFC3339), e.lostClaims(pods))
		c.Remedy = fmt.Sprintf("look at the node (kubectl describe node %s); only if the containers are certain to be "+
			"gone, delete with --grace-period=0 --force", nodeName)
		c.Blocks = true
	default:
		c.Type, c.Action, c.Until = TerminatingPods, Wait, end
		c.Summary = fmt.Sprintf("%s: shutting down on node %s", describe(pods), nodeName)
		c.Remedy = fmt.Sprintf("wait: the grace period ends at %s", latest(pods).UTC().Format("15:04:05 MST"))
	}
	e.add(c)
}

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

// node says what is known about a node. Its message is empty if it is ready.
func (e *examination) node(name string) Node {
	n := Node{Name: name}
	i := slices.IndexFunc(e.snap.Objects, func(o *cluster.Object) bool {
		return o.Resource.Group == "" && o.Resource.Kind == "Node" && o.Name == name
	})
	if i < 0 {
		if sawAll(e.snap, "nodes") {
			n.Missing, n.Message = true, "does not exist"
		}
		return n
	}
	o := e.snap.Objects[i]
	n.Virtual = isVirtual(o)
	list, _, _ := unstructured.NestedSlice(o.Body, "status", "conditions")
	n.Message = "never reported to be ready"
	for _, item := range list {
		m, ok := item.(map[string]any)
		if !ok || m["type"] != "Ready" {
			continue
		}
		status, _ := m["status"].(string)
		at, _ := m["lastTransitionTime"].(string)
		switch status {
		case "True":
			n.Message = ""
		case "Unknown":
			n.Message = "is unreachable since " + at
		default:
			n.Message = "is not ready since " + at
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
