package hibernate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// alwaysKept are the namespaces whose workloads run through every pause, beside
// that of Cast AI (HB app/main.py, namespaces_to_keep).
var alwaysKept = []string{"kube-system", "castai-pod-node-lifecycle"}

// critical are the priority classes of what a cluster can't be without.
var critical = []string{"system-cluster-critical", "system-node-critical"}

// essential returns the workloads that run through a pause.
func (s *State) essential(keep []string) []*Workload {
	keep = slices.Concat(alwaysKept, keep, []string{s.Namespace})
	var out []*Workload
	for _, w := range s.Workloads {
		if !w.Terminating() && w.Wanted > 0 && (slices.Contains(keep, w.Namespace) ||
			slices.Contains(critical, w.Template.Spec.PriorityClassName)) {
			out = append(out, w)
		}
	}
	return out
}

// unknownNamespaces returns those that are to be kept and are not there.
func (s *State) unknownNamespaces(keep []string) []string {
	return slices.DeleteFunc(slices.Clone(keep), func(ns string) bool { return slices.Contains(s.Namespaces, ns) })
}

// pausedTaint is the one of the node that a cluster sleeps on.
func pausedTaint() *corev1.Taint {
	return &corev1.Taint{Key: PausedKey, Value: "true", Effect: corev1.TaintEffectNoSchedule}
}

// tolerates tells whether pods with the tolerations may run on that node. The
// list is one of a body; what is not a toleration in it tolerates nothing.
func tolerates(list []any) bool {
	raw, err := json.Marshal(list)
	if err != nil {
		return false
	}
	var all []corev1.Toleration
	if err := json.Unmarshal(raw, &all); err != nil {
		return false
	}
	return tolerated(all, pausedTaint())
}

func tolerated(all []corev1.Toleration, taint *corev1.Taint) bool {
	return slices.ContainsFunc(all, func(t corev1.Toleration) bool {
		return t.ToleratesTaint(logr.Discard(), taint,
			false)
	})
}

// mayRunOn tells whether a node's labels and taints let the workload's pods in,
// the taint of a paused cluster aside.
func (w *Workload) mayRunOn(n *Node) bool {
	pod := &corev1.Pod{Spec: w.Template.Spec}
	if ok, err := nodeaffinity.GetRequiredNodeAffinity(pod).Match(&n.Node); err != nil || !ok {
		return false
	}
	return !slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool {
		return t.Key != PausedKey && t.Effect != corev1.TaintEffectPreferNoSchedule && !w.daemon() &&
			!tolerated(w.Template.Spec.Tolerations, &t)
	})
}

// room tells whether a node has room for a pod of each of the workloads that has
// none on a node that stays; if it has not, why names what is lacking. What runs
// on the node already stays there.
func (s *State) room(n *Node, essential []*Workload, stays []*Node) (why string) {
	used := corev1.ResourceList{}
	for _, p := range s.Pods {
		if p.Spec.NodeName == n.Object.Name {
			request(used, &p.Spec)
		}
	}
	for _, w := range essential {
		there := slices.ContainsFunc(s.Pods, func(p *Pod) bool {
			on := p.Spec.NodeName
			return w.owns(p) && on != "" && (on == n.Object.Name || !w.daemon() &&
				slices.ContainsFunc(stays, func(k *Node) bool { return k.Object.Name == on }))
		})
		if !there && w.mayRunOn(n) {
			request(used, &w.Template.Spec)
		}
	}
	var lacking []string
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourcePods} {
		need := used[name]
		if has, known := n.Status.Allocatable[name]; known && need.Cmp(has) > 0 {
			lacking = append(lacking, fmt.Sprintf("%s of %s", need.String(), name)+" with "+has.String()+" there")
		}
	}
	return strings.Join(lacking, ", ")
}

// request adds what a pod requests.
func request(used corev1.ResourceList, spec *corev1.PodSpec) {
	for name, q := range requests(spec) {
		sum := used[name]
		sum.Add(q)
		used[name] = sum
	}
}

// Missing returns the workloads that have no running pod on the nodes that stay,
// although they should: those that could not run anywhere before the pause, or
// can't run on any of these nodes, are not waited for. A DaemonSet is waited for
// on the hibernation node only.
func Missing(essential []*Workload, pods []*Pod, sleep *Node, stays []*Node, unready []string) []*Workload {
	staying := map[string]bool{sleep.Object.Name: true}
	for _, n := range stays {
		staying[n.Object.Name] = true
	}
	return slices.DeleteFunc(slices.Clone(essential), func(w *Workload) bool {
		able := w.mayRunOn(sleep) || !w.daemon() && slices.ContainsFunc(stays, w.mayRunOn)
		return !able || slices.Contains(unready, w.Ref().String()) || slices.ContainsFunc(pods, func(p *Pod) bool {
			on := p.Spec.NodeName
			return w.owns(p) && p.running() && (on == sleep.Object.Name || !w.daemon() && staying[on])
		})
	})
}
