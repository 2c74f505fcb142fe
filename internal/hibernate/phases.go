package hibernate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// The names of the phases of a pause and a resume.
const (
	phaseQuiet      = "quiet"
	phaseRestore    = "restore"
	phaseRecord     = "record"
	phaseAutoscaler = "autoscaler"
	phaseNode       = "node"
	phaseCordon     = "cordon"
	phaseTolerate   = "tolerate"
	phaseEssential  = "essential"
	phaseFollow     = "follow"
	phaseMove       = "move"
	phaseRemove     = "remove"
	phaseUntaint    = "untaint"
	phaseWake       = "wake"
	phaseOwnNode    = "own-node"
)

// The operations of the calls.
const (
	operationSwitch = "switch"
	operationMake   = "make-node"
	operationAwait  = "await"
	operationRemove = "remove"
)

// Phases returns all of the plan, for a person: a node that has to be made has no
// name yet.
func (r *Runner) Phases(p *Pause) []engine.Phase {
	shown := *p
	phases := r.prepare(p)
	if p.Node == nil {
		shown.Node = &Node{Object: &cluster.Object{Resource: nodesResource(), Name: "(a new " + p.Make.InstanceType + ")"}}
	}
	phases = append(phases, r.fallAsleep(&shown)...)
	phases = append(phases, r.removing(&shown), r.untainting(&shown), r.record(p.Journal, "Write down how it went"))
	if p.Last != nil {
		phases = append(phases, r.ending(p))
	}
	return slices.Concat(r.suspending(p.Suspend, p.Journal.Run), phases, r.restoring(p.Restore))
}

// console is the target of what is done at Cast AI.
func (r *Runner) console() cluster.Target {
	return cluster.Target{Ref: ref("cast.ai", "Cluster", "", r.ClusterID)}
}

func (r *Runner) record(j *Journal, title string) engine.Phase {
	return engine.Phase{Name: phaseRecord, Title: title, Gate: true, Timeout: r.Step, Actions: []engine.Action{{
		Verb: engine.Apply, Target: stateTarget(r.Namespace), Why: "so that the next run can go on, or take it back",
		Content: func(context.Context) (map[string]any, error) { return j.content(r.Namespace, time.Now()) },
	}}}
}

// prepare is what a pause does before it disturbs anybody: it stops the
// autoscaler and sees to the hibernation node.
func (r *Runner) prepare(p *Pause) []engine.Phase {
	p.Journal.Since = time.Now().UTC().Truncate(time.Second)
	node := engine.Phase{Name: phaseNode, Title: "Have Cast AI make the hibernation node", Gate: true, InOrder: true,
		Timeout: r.Step}
	if p.Node == nil {
		node.Actions = []engine.Action{{
			Verb: engine.Call, Target: r.console(), Operation: operationMake,
			Why: fmt.Sprintf("makes an on-demand %s, as no node of that type is free of taints and has room", p.Make.InstanceType),
			Do:  func(ctx context.Context, tell func(string)) error { return r.makeNode(ctx, p, tell) },
		}}
	}
	phases := []engine.Phase{
		r.record(p.Journal, "Write down what is about to be done"),
		{Name: phaseAutoscaler, Title: "Stop the autoscaler", Gate: true, Timeout: r.Step,
			Actions: []engine.Action{r.switching(p.Journal.Policies, p.Journal.Policies.Switch, false)}},
	}
	if len(node.Actions) > 0 {
		phases = append(phases, node)
	}
	return phases
}

// switching turns a switch of the autoscaler, whose policies were as recorded, unless it
// stands there.
func (r *Runner) switching(was *Policies, name string, on bool) engine.Action {
	what := map[string]string{SwitchAll: "all policies", SwitchUnschedulable: "the unscheduled pod policy"}[name]
	return engine.Action{
		Verb: engine.Call, Target: r.console(), Operation: operationSwitch, Why: fmt.Sprintf("turns %s %s", what,
			map[bool]string{true: "on", false: "off"}[on]),
		Do: func(ctx context.Context, _ func(string)) error { return r.turn(ctx, was.Original, name, on) },
	}
}

// fallAsleep is what a pause does once there is a hibernation node: nothing new
// starts elsewhere, and what is essential moves there.
func (r *Runner) fallAsleep(p *Pause) []engine.Phase {
	labels := maps.Clone(p.Labels)
	made := p.Journal.Node != nil && p.Journal.Node.Made
	if made {
		labels[runLabel] = p.Journal.Run
	}
	settleNode := change(p.Node.Object, "taints and labels it: only what is essential may start on it",
		settle(p.Journal.Run, labels, made))
	ready := engine.Action{
		Verb: engine.Call, Target: p.Node.Target(), Operation: operationAwait,
		Why: "waits until it is ready and free of other taints",
		Do:  func(ctx context.Context, tell func(string)) error { return r.awaitReady(ctx, p.Node.Object.Name, tell) },
	}
	phases := []engine.Phase{
		r.record(p.Journal, "Write down the hibernation node"),
		{Name: phaseNode, Title: "Prepare the hibernation node", Gate: true, InOrder: true, Timeout: r.Step,
			Actions: []engine.Action{settleNode, ready}},
	}
	tolerations := engine.Phase{Name: phaseTolerate, Title: "Let what is essential run on the hibernation node",
		Gate: true, Timeout: r.Step}
	for _, w := range p.Tolerate {
		tolerations.Actions = append(tolerations.Actions,
			change(w.Object, "it runs through the pause", tolerate(p.Journal.Run)))
	}
	essential := engine.Phase{Name: phaseEssential, Title: "Wait until what is essential runs", Gate: true,
		Timeout: r.Step, Actions: []engine.Action{{
			Verb: engine.Call, Target: p.Node.Target(), Operation: operationAwait,
			Why: "waits until each essential workload has a pod that runs on a node that stays",
			Do:  func(ctx context.Context, tell func(string)) error { return r.awaitEssential(ctx, p, tell) },
		}}}
	follow := engine.Phase{Name: phaseFollow, Title: "Move what tolerates that node already", Timeout: r.Step + r.Drain}
	for _, m := range p.Follow {
		follow.Actions = append(follow.Actions, r.evicting(m))
	}
	for _, phase := range []engine.Phase{r.cordoning(p), tolerations, follow, essential} {
		if len(phase.Actions) > 0 {
			phases = append(phases, phase)
		}
	}
	return append(phases, r.moving(p)...)
}

// cordoning is the phase in which nothing new may start any more on what goes.
func (r *Runner) cordoning(p *Pause) engine.Phase {
	phase := engine.Phase{Name: phaseCordon, Title: "Cordon the nodes that go", Gate: true, Timeout: r.Step}
	for _, n := range p.going() {
		phase.Actions = append(phase.Actions, change(n.Object, "nothing new may start there any more", cordon(p.Journal.Run)))
	}
	return phase
}

// removing is the phase in which Cast AI drains and deletes the nodes.
func (r *Runner) removing(p *Pause) engine.Phase {
	removal := &removal{runner: r, nodes: map[cluster.Ref]*removing{}}
	phase := engine.Phase{
		Name: phaseRemove, Title: "Have Cast AI drain and delete the nodes", Timeout: r.Drain + settling,
		Patience: polling, Next: removal.next,
	}
	for _, n := range p.Remove {
		phase.Actions = append(phase.Actions, removal.action(n))
		phase.WaitFor = append(phase.WaitFor, n.Target())
	}
	return phase
}

// untainting makes the hibernation node one like others.
func (r *Runner) untainting(p *Pause) engine.Phase {
	return engine.Phase{Name: phaseUntaint, Title: "Take the taint off the hibernation node", Gate: true, Timeout: r.Step,
		Actions: []engine.Action{
			change(p.Node.Object, "essential pods that lose the toleration must still start on it", untaint),
		}}
}

// ending is the removal of the node that this runs on, which nobody here sees go.
func (r *Runner) ending(p *Pause) engine.Phase {
	action := (&removal{runner: r, nodes: map[cluster.Ref]*removing{}}).action(p.Last)
	action.Why = "this runs on it, so that it goes last"
	return engine.Phase{Name: phaseOwnNode, Title: "Have Cast AI drain and delete the node that this runs on", Gate: true,
		Timeout: r.Step, Actions: []engine.Action{action}}
}

// change is a patch that is made from the state that the object is in.
func change(o *cluster.Object, why string, patch func(*cluster.Object) (map[string]any, error)) engine.Action {
	t := o.Target()
	t.ResourceVersion = ""
	return engine.Action{
		Verb: engine.Patch, Target: t, Why: why, Change: patch,
		Fields: [][]string{{"spec", "unschedulable"}, {"spec", "taints"}, tolerations, {"metadata", "managedFields"},
			markFields},
	}
}

// wakePhases are those of a resume that may fail without ending it.
var wakePhases = []string{phaseAutoscaler, phaseWake, phaseNode}

// Awakening returns all of the plan, for a person.
func (r *Runner) Awakening(p *Resume) []engine.Phase {
	return slices.Concat(
		r.suspending(p.Suspend, p.Journal.Run), r.wakeUp(p), []engine.Phase{r.record(p.Journal,
			"Write down how it went")}, r.restoring(p.Restore),
	)
}

// wakeUp is all of a resume but its end.
func (r *Runner) wakeUp(p *Resume) []engine.Phase {
	wake := engine.Phase{Name: phaseWake, Title: "Take back what the pause did", Timeout: r.Step}
	for _, c := range p.Changes {
		wake.Actions = append(wake.Actions, change(c.Object, c.Why, c.patch))
	}
	p.Journal.Since = time.Now().UTC().Truncate(time.Second)
	var start, unmade, phases []engine.Phase
	if p.Policies != nil {
		turn := engine.Phase{Name: phaseAutoscaler, Title: "Start the autoscaler", Timeout: r.Step, InOrder: true}
		turn.Actions = append(turn.Actions, r.switching(p.Policies, p.Policies.Switch, p.Policies.Enabled))
		for _, name := range p.Also {
			turn.Actions = append(turn.Actions, r.switching(p.Policies, name, true))
		}
		start = []engine.Phase{turn}
	}
	if p.Unmade != "" {
		unmade = []engine.Phase{{Name: phaseNode, Title: "Give up the node that was being made", Timeout: r.Step,
			Actions: []engine.Action{{
				Verb: engine.Call, Target: r.console(), Operation: operationRemove,
				Why: "a pause had it made as its hibernation node, and never used it",
				Do:  func(ctx context.Context, tell func(string)) error { return r.giveUp(ctx, p.Unmade, tell) },
			}}}}
	}
	if len(wake.Actions) > 0 {
		phases = []engine.Phase{wake}
	}
	record := []engine.Phase{r.record(p.Journal, "Write down what is about to be done")}
	if p.clusterFirst {
		return slices.Concat(record, phases, start, unmade)
	}
	return slices.Concat(record, start, phases, unmade)
}
