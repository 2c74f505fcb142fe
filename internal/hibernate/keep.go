package hibernate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// How the namespaces to keep are kept.
const (
	// KeepPods keeps all their pods, on as few nodes as these need: replicas of
	// workloads that have several may move to another node that stays.
	KeepPods = "pods"
	// KeepNodes leaves the nodes alone that their pods run on, so that nothing of
	// them moves.
	KeepNodes = "nodes"
	// KeepOnePod moves one pod of each of their workloads to the hibernation node, as
	// Cast AI's job does; the others wait for the resume.
	KeepOnePod = "one-pod"
)

// KeepModes are the values of --keep.
func KeepModes() []string { return []string{KeepPods, KeepNodes, KeepOnePod} }

// KeepHelp says what each of them does.
func KeepHelp() string {
	return KeepPods + " keeps all their pods on as few nodes as these need, and may move replicas there; " +
		KeepNodes + " keeps the nodes that their pods run on, so that none moves; " +
		KeepOnePod + " moves one pod of each of their workloads to the hibernation node, as Cast AI's job does"
}

// movedNamespaces are those whose workloads move to the hibernation node.
func (o PauseOptions) movedNamespaces() []string {
	if o.Keep == KeepOnePod {
		return o.NamespacesToKeep
	}
	return nil
}

// keptPods returns, by node, the pods whose namespaces are to be kept and that run
// there. Those of DaemonSets go with their node.
func (s *State) keptPods(o PauseOptions) map[string][]*Pod {
	out := map[string][]*Pod{}
	if o.Keep == KeepOnePod {
		return out
	}
	for _, p := range s.Pods {
		if p.Spec.NodeName == "" || p.Object.Terminating() || p.ofItsNode() {
			continue
		}
		if slices.Contains(o.NamespacesToKeep, p.Object.Namespace) {
			out[p.Spec.NodeName] = append(out[p.Spec.NodeName], p)
		}
	}
	return out
}

// stillKept is how namespaces are kept once their pods have moved: no more of them do.
func stillKept(mode string) string {
	if mode == KeepOnePod {
		return mode
	}
	return KeepNodes
}

// Why nodes stay for the pods that are to be kept.
const (
	whyRun  = "pods of namespaces to keep run on it"
	whyWait = "pods of namespaces to keep wait for it"
)

// keepNodes chooses which of the nodes that could go stay for the pods that are to be
// kept. Those that nothing of them needs are returned.
func (p *Pause) keepNodes(s *State, o PauseOptions, could []*Node) (going []*Node) {
	pods := s.keptPods(o)
	var staying, maybe []*Node
	for _, k := range p.Keep {
		staying = append(staying, k.Node)
	}
	for _, n := range could {
		if len(pods[n.Object.Name]) > 0 {
			maybe = append(maybe, n)
		}
	}
	stays := map[string]bool{}
	for _, n := range maybe {
		stays[n.Object.Name] = true
	}
	if o.Keep != KeepNodes {
		stays, p.Move = s.pack(staying, maybe, pods)
	}
	for _, n := range could {
		if !stays[n.Object.Name] {
			going = append(going, n)
			continue
		}
		p.Keep = append(p.Keep, KeptNode{n, whyRun})
		staying = append(staying, n)
	}
	if o.Keep == KeepOnePod {
		return going
	}
	awaited, without := s.awaited(staying, going, o.NamespacesToKeep)
	p.without = without
	return slices.DeleteFunc(going, func(n *Node) bool {
		if awaited[n.Object.Name] {
			p.Keep = append(p.Keep, KeptNode{n, whyWait})
		}
		return awaited[n.Object.Name]
	})
}

// warnKept says what it costs to keep namespaces, and which nodes go that somebody
// has marked.
func (p *Pause) warnKept(s *State, o PauseOptions) {
	pods, kinds, nodes, running, moving := s.keptPods(o), map[string]int{}, 0, 0, 0
	for _, k := range p.Keep {
		if k.Why == whyRun || k.Why == whyWait {
			kinds[k.instanceType()]++
			nodes++
		}
		running += len(pods[k.Object.Name])
	}
	for _, m := range p.Move {
		moving += len(m.Pods)
	}
	if nodes > 0 {
		var types []string
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			types = append(types, fmt.Sprintf("%d %s", kinds[kind], kind))
		}
		cost := fmt.Sprintf("the namespaces to keep keep %s (%s) for %s all night", count(nodes, "node"),
			strings.Join(types, ", "), count(running+moving, "pod"))
		if moving > 0 {
			cost += fmt.Sprintf(", to which %d of these move from others; --keep=%s moves none", moving, KeepNodes)
		}
		p.Warnings = append(p.Warnings,
			fmt.Sprintf("%s; --keep=%s keeps one pod of each of their workloads instead, on the hibernation node", cost,
				KeepOnePod))
	}
	if o.Keep == KeepOnePod && len(o.NamespacesToKeep) > 0 {
		p.Warnings = append(p.Warnings,
			"of the workloads of the namespaces to keep one pod each runs through the pause, whatever their replicas and PodDisruptionBudgets say; their pods are replaced now and at resume")
	}
	if len(p.without) > 0 {
		p.Warnings = append(p.Warnings,
			fmt.Sprintf("these pods of namespaces to keep wait for a node, and nothing makes one during the pause: %s",
				names(p.without, func(pod *Pod) string { return pod.Object.Namespace + "/" + pod.Object.Name })))
	}
	var marked []string
	for _, n := range p.going() {
		if n.protected() {
			marked = append(marked, n.Object.Name)
		}
	}
	if len(marked) > 0 {
		p.Warnings = append(p.Warnings,
			fmt.Sprintf("these nodes are marked %s and go all the same; --protect-removal-disabled keeps them: %s",
				removalDisabled, strings.Join(marked, ", ")))
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
			phase.Actions = append(phase.Actions, change(n.Object, "nothing new may start there any more",
				cordon(p.Journal.Run)))
		}
	}
	if len(phase.Actions) == 0 {
		return nil
	}
	return []engine.Phase{r.record(p.Journal, "Write down what changed meanwhile"), phase}
}

// operationMove moves pods that are to be kept.
const operationMove = "move-pods"

// moving is the phase in which pods that are to be kept move to nodes that stay. What
// fails in it costs money, and no pod: their node stays then.
func (r *Runner) moving(p *Pause) []engine.Phase {
	phase := engine.Phase{Name: phaseMove, Title: "Move pods of the namespaces to keep to nodes that stay",
		Timeout: r.Step + r.Drain}
	for _, m := range p.Move {
		phase.Actions = append(phase.Actions, r.evicting(m))
	}
	return nonEmpty(phase)
}

// evicting is the action that moves pods of a workload.
func (r *Runner) evicting(m Move) engine.Action {
	return engine.Action{
		Verb: engine.Call, Target: m.Target(), Operation: operationMove,
		Why: fmt.Sprintf("evicts %d of its %d pods, one at a time, as PodDisruptionBudgets allow", len(m.Pods), m.Wanted),
		Do:  func(ctx context.Context, tell func(string)) error { return r.move(ctx, m, tell) },
	}
}

// Rights are those that phases need, what they evict included.
func Rights(phases []engine.Phase) []cluster.Right {
	out := engine.Rights(&engine.Plan{Phases: phases})
	seen := map[string]bool{}
	for _, phase := range phases {
		for _, a := range phase.Actions {
			if ns := a.Target.Namespace; a.Operation == operationMove && !seen[ns] {
				seen[ns] = true
				out = append(out, cluster.Right{Resource: "pods", Subresource: "eviction", Verb: "create", Namespace: ns})
			}
		}
	}
	return out
}

// move evicts pods of a workload, each once all replicas run.
func (r *Runner) move(ctx context.Context, m Move, tell func(string)) error {
	for i, p := range m.Pods {
		if err := r.moveOne(ctx, m.Workload, p, tell); err != nil {
			return fmt.Errorf("%d of %d pods have moved, and the nodes of the others stay: %w", i, len(m.Pods), err)
		}
	}
	return nil
}

// moveOne evicts a pod, and waits until as many run as did before.
func (r *Runner) moveOne(ctx context.Context, w *Workload, p *Pod, tell func(string)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.Drain, fmt.Errorf("%w for pod %s to be replaced", engine.ErrTimeout,
		p.Object.Name))
	defer cancel()
	before := 0
	running := func(except types.UID, enough func(int) bool) error {
		return r.Cluster.Await(ctx, PodsResource(), w.Namespace, podFields(), func(objects []*cluster.Object) (bool, error) {
			pods, err := newPods(objects)
			if err != nil {
				return false, err
			}
			n := 0
			for _, other := range pods {
				if w.owns(other) && other.running() && other.Object.UID != except {
					n++
				}
			}
			return enough(n), nil
		})
	}
	if err := running("", func(n int) bool { before = n; return true }); err != nil {
		return err
	}
	told := false
	err := wait.PollUntilContextCancel(ctx, polling, true, func(ctx context.Context) (bool, error) {
		err := r.Cluster.Evict(ctx, p.Object.Target())
		if apierrors.IsTooManyRequests(err) {
			if !told {
				tell("waits for PodDisruptionBudgets to allow the eviction of pod " + p.Object.Name)
			}
			told = true
			return false, nil
		}
		return err == nil, err
	})
	switch {
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err): // it has gone by itself
	case wait.Interrupted(err):
		return fmt.Errorf("PodDisruptionBudgets did not allow the eviction of pod %s within %s", p.Object.Name, r.Drain)
	case err != nil:
		return fmt.Errorf("pod %s can't be evicted: %w", p.Object.Name, err)
	}
	tell("waits for the replacement of pod " + p.Object.Name)
	return running(p.Object.UID, func(n int) bool { return n >= before })
}
