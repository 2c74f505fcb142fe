package hibernate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/engine"
)

// How the namespaces to keep are kept.
const (
	// KeepNodes leaves the nodes alone that their pods run on, so that nothing of
	// them changes.
	KeepNodes = "nodes"
	// KeepOnePod moves one pod of each of their workloads to the node to sleep on, as
	// Cast AI's job does; the others wait for the resume.
	KeepOnePod = "one-pod"
)

// KeepModes are the values of --keep.
func KeepModes() []string { return []string{KeepNodes, KeepOnePod} }

// movedNamespaces are those whose workloads move to the node to sleep on.
func (o PauseOptions) movedNamespaces() []string {
	if o.Keep == KeepOnePod {
		return o.NamespacesToKeep
	}
	return nil
}

// keptPods counts, by node, the pods whose namespaces are to be kept and that run
// there. Those of DaemonSets go with their node.
func (s *State) keptPods(o PauseOptions) map[string]int {
	out := map[string]int{}
	if o.Keep == KeepOnePod {
		return out
	}
	for _, p := range s.Pods {
		owner := p.Object.Controller()
		if p.Spec.NodeName == "" || p.Object.Terminating() || owner != nil && owner.Kind == "DaemonSet" || p.static() {
			continue
		}
		if slices.Contains(o.NamespacesToKeep, p.Object.Namespace) {
			out[p.Spec.NodeName]++
		}
	}
	return out
}

// whyKept says why a node stays for the pods on it.
func whyKept(pods int) string {
	if pods == 0 {
		return ""
	}
	return "pods of namespaces to keep run on it"
}

// warnKept says what it costs to keep namespaces, and which nodes go that somebody
// has marked.
func (p *Pause) warnKept(s *State, o PauseOptions) {
	pods, kinds, nodes, sum := s.keptPods(o), map[string]int{}, 0, 0
	for _, k := range p.Keep {
		if n := pods[k.Object.Name]; n > 0 {
			kinds[k.instanceType()]++
			nodes++
			sum += n
		}
	}
	if nodes > 0 {
		var types []string
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			types = append(types, fmt.Sprintf("%d %s", kinds[kind], kind))
		}
		p.Warnings = append(p.Warnings, fmt.Sprintf("the namespaces to keep keep %d nodes (%s) for %d pods all night; --keep=%s keeps one pod of each of their workloads instead, on the node to sleep on",
			nodes, strings.Join(types, ", "), sum, KeepOnePod))
	}
	if o.Keep == KeepOnePod && len(o.NamespacesToKeep) > 0 {
		p.Warnings = append(p.Warnings, "of the workloads of the namespaces to keep one pod each runs through the pause, whatever their replicas and PodDisruptionBudgets say; their pods are replaced now and at resume")
	}
	var marked []string
	for _, n := range p.going() {
		if n.protected() {
			marked = append(marked, n.Object.Name)
		}
	}
	if len(marked) > 0 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("these nodes are marked %s and go all the same; --protect-removal-disabled keeps them: %s", removalDisabled, strings.Join(marked, ", ")))
	}
}

// corrections are what a plan that was made once nothing new starts any more
// changes of the one before: nodes that stay after all, and others that go.
func (r *Runner) corrections(p *Pause) []engine.Phase {
	phase := engine.Phase{Name: phaseCordon, Title: "Follow what changed meanwhile", Gate: true, Timeout: r.Step}
	for _, k := range p.Keep {
		if m, ok, err := readMark(k.Node.Object); ok && err == nil && m.Cordoned {
			phase.Actions = append(phase.Actions, change(k.Node.Object, "it stays after all: "+k.Why, wake(p.Journal)))
		}
	}
	for _, n := range p.going() {
		if !n.Spec.Unschedulable {
			phase.Actions = append(phase.Actions, change(n.Object, "it goes: nothing new may start on it", cordon(p.Journal.Run)))
		}
	}
	if len(phase.Actions) == 0 {
		return nil
	}
	return []engine.Phase{r.record(p.Journal, "Write down what changed meanwhile"), phase}
}
