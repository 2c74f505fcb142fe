package hibernate

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// Resume is what has to be done to wake a cluster.
type Resume struct {
	// Already: there is nothing to resume, and why.
	Already string
	// Journal is that of the pause.
	Journal *Journal
	// Policies is what the autoscaler gets back; nil: it stays as it is. Also are
	// further switches that are turned on.
	Policies *Policies
	Also     []string
	// Changes are what is taken back from objects.
	Changes []Change
	// Unmade is Cast AI's id of a node that was being made and is of no use.
	Unmade string
	// Suspend are the CronJobs that are kept from running meanwhile, and Restore those
	// that are let run again afterwards.
	Suspend, Restore []*CronJob
	// Warnings are for the user to know.
	Warnings []string
	// clusterFirst: Cast AI may not answer.
	clusterFirst bool
	// blind: whether another job runs can't be seen.
	blind bool
}

// Change is what a pause did to an object and what takes it back.
type Change struct {
	*cluster.Object
	// Why says what it was.
	Why string
	// Vendor: Cast AI's job did it, and not this plugin.
	Vendor bool
	patch  func(*cluster.Object) (map[string]any, error)
}

// ResumeOptions are what a user decides about a resume.
type ResumeOptions struct {
	// Repair: also take back what earlier runs left.
	Repair bool
	// Start: turn the autoscaler on, whatever it was before the pause.
	Start bool
	// Run and By are of the journal.
	Run, By string
}

// PlanResume says what has to be done to wake a cluster from the state that it is
// in, whoever has paused it. With Repair it also takes back what earlier runs left,
// of this plugin and of Cast AI's job.
func PlanResume(s *State, o ResumeOptions) (*Resume, error) {
	if err := s.ThisCluster(); err != nil {
		return nil, err
	}
	sleep, j := s.Sleep(), s.Record.Journal
	on, known := s.Autoscaler()
	makes, err := s.makes()
	if err != nil {
		return nil, err
	}
	// What Cast AI's job pauses had the autoscaler on: it does not pause otherwise.
	r := &Resume{Journal: &Journal{Run: o.Run, Policies: &Policies{Switch: SwitchAll, Enabled: on || sleep.Who == CastAI &&
		sleep.Asleep()}}}
	if s.Console != nil {
		r.Journal.Policies.Original = s.Console.Policies
	}
	switch {
	case sleep.Who == Service:
		return nil, refuse("%s", sleep.Clause())
	case sleep.Job != "" && sleep.Phase == Pausing: // beside another resume, this one does no harm
		return nil, &Busy{Refusal{fmt.Sprintf("%s: wait for it to end, or end it: %s", sleep, s.endJob(sleep.Job))}}
	case !sleep.Asleep():
		if o.Repair {
			r.Changes = Leftovers(s)
			r.giveUpOrphan(s)
		}
	case sleep.Who == CastAI:
		r.Changes = Leftovers(s)
		if j != nil && j.Phase != Awake && j.Policies.Enabled && j.Policies.Switch != SwitchAll {
			r.Also = []string{j.Policies.Switch} // a pause of this plugin was on below it
		}
	default:
		kept := *j
		r.Journal, r.Unmade, r.Changes = &kept, s.unmade(j), marked(s)
		if o.Repair || j.Adopted || s.Record.Vendor {
			r.Changes = Leftovers(s)
		}
		if o.Repair && r.Unmade == "" {
			r.giveUpOrphan(s)
		}
	}
	r.Journal.Phase, r.Journal.By, r.Journal.Error = Resuming, o.By, ""
	start := sleep.Asleep() && r.Journal.Policies.Enabled && (sleep.Phase != Woken || on)
	if start && !on && s.Record.Vendor && r.Journal.Policies.Switch != SwitchAll {
		// Cast AI's job has paused the cluster on top: it turns all policies off.
		r.Also = []string{SwitchAll}
	}
	if o.Start {
		r.Journal.Policies = &Policies{Switch: r.Journal.Policies.Switch, Enabled: true,
			Original: r.Journal.Policies.Original}
		start = start || !makes || !known || sleep.Asleep()
		r.Also = slices.DeleteFunc([]string{SwitchAll, SwitchUnschedulable},
			func(name string) bool { return name == r.Journal.Policies.Switch })
	}
	if start {
		r.Policies = r.Journal.Policies
	}
	r.Suspend, r.Restore = s.apart()
	if !sleep.Asleep() && len(r.Changes) == 0 && r.Unmade == "" && r.Policies == nil && !s.leftSuspended() {
		return &Resume{Already: s.nothingToResume(o)}, nil
	}
	r.blind = s.Blind != ""
	r.warn(s, sleep)
	return r, nil
}

// makes tells whether the autoscaler makes nodes for pods that wait, where it was
// asked.
func (s *State) makes() (bool, error) {
	if s.Console == nil {
		return true, nil
	}
	return makesNodes(s.Console.Policies)
}

// endJob is the command that ends a Job.
func (s *State) endJob(name string) string {
	return "kubectl delete job -n " + s.Namespace + " " + name
}

// nothingToResume says why, and what else could be done.
func (s *State) nothingToResume(o ResumeOptions) string {
	out := "the cluster is not paused, as far as can be seen"
	if o.Repair {
		out = "nothing is left of earlier runs"
	} else if left := Leftovers(s); len(left) > 0 {
		out += fmt.Sprintf("; earlier runs left something on %d objects: resume --repair takes it back", len(left))
	}
	if makes, err := s.makes(); err == nil && !makes {
		out += "; the autoscaler is off, but no known pause turned it off: resume --start-autoscaler turns it on"
	}
	return out
}

// warn says what stays as it is and may surprise.
func (r *Resume) warn(s *State, sleep Sleep) {
	if s.Blind != "" {
		r.Warnings = append(r.Warnings,
			s.Blind+
				". The cluster is resumed all the same, beside whatever else pauses or resumes it; run hibernate set, which grants the CronJobs of this plugin what they lack")
	}
	if on, known := s.Autoscaler(); known && !on && r.Policies == nil && sleep.Asleep() {
		r.Warnings = append(r.Warnings,
			"the autoscaler was off before the pause and stays off: nothing makes nodes for the pods that wait; --start-autoscaler turns it on")
	}
}

// marked returns what marks say that pauses did, and what is on the nodes that
// they made.
func marked(s *State) []Change {
	var out []Change
	j := s.Record.Journal
	for _, n := range s.Nodes {
		_, has, err := readMark(n.Object)
		// Anybody may write the annotation: one that says nothing counts only where a
		// pause was.
		if has && (err == nil || j.removes(n.Object) || j.made(n.Object)) || n.Object.Labels[runLabel] != "" {
			out = append(out, Change{Object: n.Object, Why: "a pause cordoned, tainted or labelled it",
				patch: wake(s.Record.Journal)})
		}
	}
	for _, w := range s.Workloads {
		if _, has, err := readMark(w.Object); has && (err == nil || j.tolerates(w.Object)) {
			out = append(out, Change{Object: w.Object, Why: "a pause let its pods run on the hibernation node", patch: withdraw})
		}
	}
	return out
}

// unmade returns Cast AI's id of a node that the pause began to make and that is
// not there, or not ready; empty: there is none. Once other nodes have gone, the
// cluster sleeps on it: what is not ready then may be so again, and nothing else runs.
func (s *State) unmade(j *Journal) string {
	if j.Node == nil || !j.Node.Made || s.Console == nil || j.Phase == Paused || s.anyGone(j.Remove) {
		return ""
	}
	for _, n := range s.Nodes {
		if n.Console != nil && j.isMade(*n.Console) && n.ready() {
			return ""
		}
	}
	for _, n := range s.Console.Nodes {
		if j.isMade(n) && !leaving(n) {
			return n.Id
		}
	}
	return ""
}

// giveUpOrphan plans to give up a node that a pause had made and never heard of. It
// keeps its taint until it is gone, and its record, so that what fails can be tried again.
func (r *Resume) giveUpOrphan(s *State) {
	j := s.Record.Journal
	if r.Unmade = s.orphan(); r.Unmade == "" {
		return
	}
	r.Journal.Run, r.Journal.Node = j.Run, j.Node
	r.Changes = slices.DeleteFunc(r.Changes, func(c Change) bool { return s.castID(c.Object) == r.Unmade })
}

// orphan returns Cast AI's id of the node that a pause had made and that it did not come
// to use, unless somebody else may: then it lacks the taint, or has pods of others.
func (s *State) orphan() string {
	j := s.Record.Journal
	if j == nil || j.Node == nil || !j.Node.Made || j.Node.Name != "" || s.Console == nil {
		return ""
	}
	i := slices.IndexFunc(s.Console.Nodes, func(n castai.Node) bool { return j.isMade(n) && !leaving(n) })
	if i < 0 {
		return ""
	}
	id := s.Console.Nodes[i].Id
	for _, n := range s.Nodes {
		if s.castID(n.Object) != id {
			continue
		}
		taint, tainted := n.taint()
		if !tainted || taint.Effect == corev1.TaintEffectPreferNoSchedule || slices.ContainsFunc(s.Pods,
			func(p *Pod) bool { return p.Spec.NodeName == n.Object.Name && !p.ofItsNode() }) {
			return ""
		}
	}
	return id
}

// castID returns Cast AI's id of a node; empty: it is none that Cast AI knows.
func (s *State) castID(o *cluster.Object) string {
	i := slices.IndexFunc(s.Nodes, func(n *Node) bool { return n.Object == o && n.Console != nil })
	if i < 0 {
		return ""
	}
	return s.Nodes[i].Console.Id
}

// vendorManager is the field manager of Cast AI's job: the Python client's own
// name (kubernetes-client/python, kubernetes/client/api_client.py).
const vendorManager = "OpenAPI-Generator"

// Leftovers returns what runs left on objects that are in no pause: marks of this
// plugin, and what Cast AI's job writes and never takes back: taints, cordons, and
// tolerations of Deployments (HB app/k8s_utils.py). While a pause of this plugin
// is on, its own marks are part of it, and returned, too.
func Leftovers(s *State) []Change {
	out := marked(s)
	for _, c := range s.CronJobs {
		if c.ours() {
			out = append(out, Change{Object: c.Object, Why: "a run that was killed suspended it", patch: unsuspend})
		}
	}
	known := map[cluster.Ref]bool{}
	for _, c := range out {
		known[c.Ref()] = true
	}
	for _, n := range s.Nodes {
		if known[n.Ref()] {
			continue
		}
		taint, tainted := n.taint()
		cordoned := n.Spec.Unschedulable && wrote(n.Object, vendorManager, "spec", "unschedulable")
		patch := vendorWake(n.Console != nil && !n.spot())
		switch {
		case tainted && taint.Effect == corev1.TaintEffectNoSchedule && cordoned:
			out = append(out, Change{Object: n.Object, Why: "Cast AI's job tainted and cordoned it", Vendor: true, patch: patch})
		case tainted && taint.Effect == corev1.TaintEffectNoSchedule:
			out = append(out, Change{Object: n.Object, Why: "it has the taint of a hibernation node", Vendor: true,
				patch: patch})
		case cordoned:
			out = append(out, Change{Object: n.Object, Why: "Cast AI's job cordoned it", Vendor: true, patch: patch})
		case n.Object.Labels[PausedKey] != "":
			out = append(out, Change{Object: n.Object, Why: "it has the label of a hibernation node", Vendor: true,
				patch: patch})
		}
	}
	for _, w := range s.Workloads {
		if known[w.Ref()] || w.Resource.Kind != "Deployment" || !wrote(w.Object, vendorManager, tolerations...) {
			continue
		}
		if _, found := without(listAt(w.Object, tolerations...), isToleration); found {
			out = append(out, Change{Object: w.Object, Why: "Cast AI's job let its pods run on the hibernation node",
				Vendor: true, patch: vendorWithdraw})
		}
	}
	return out
}

// vendorWake returns the patch that takes back what Cast AI's job did to a node. It
// labels the hibernation node as spot, although it has made an on-demand one.
func vendorWake(onDemand bool) func(o *cluster.Object) (map[string]any, error) {
	return func(o *cluster.Object) (map[string]any, error) {
		spec, patch, labels := map[string]any{}, map[string]any{}, map[string]any{}
		rest, tainted := without(listAt(o, "spec", "taints"), isPausedTaint)
		if tainted {
			spec["taints"] = orNull(rest)
		}
		if o.Labels[PausedKey] != "" {
			labels[PausedKey] = nil
		}
		if onDemand && o.Labels[spotLabel] == "true" && (tainted || len(labels) > 0) {
			labels[spotLabel] = nil
		}
		if cordoned, _ := specOf(o)["unschedulable"].(bool); cordoned && wrote(o, vendorManager, "spec", "unschedulable") {
			spec["unschedulable"] = nil
		}
		if len(labels) > 0 {
			patch["metadata"] = map[string]any{"labels": labels}
		}
		if len(spec) > 0 {
			patch["spec"] = spec
		}
		return patch, nil
	}
}

// vendorWithdraw takes back the tolerations that Cast AI's job added to a
// Deployment: one for each pause.
func vendorWithdraw(o *cluster.Object) (map[string]any, error) {
	rest, changed := listAt(o, tolerations...), false
	for {
		less, found := without(rest, isToleration)
		if !found {
			break
		}
		rest, changed = less, true
	}
	if !changed {
		return map[string]any{}, nil
	}
	return map[string]any{"spec": podTolerations(orNull(rest))}, nil
}

// Repair returns the phase that takes back what earlier runs left; ok is false if
// they left nothing.
func Repair(s *State) (phase engine.Phase, ok bool) {
	phase = engine.Phase{Name: phaseWake, Title: "Take back what earlier runs left", Timeout: time.Minute}
	for _, c := range Leftovers(s) {
		phase.Actions = append(phase.Actions, change(c.Object, c.Why, c.patch))
	}
	return phase, len(phase.Actions) > 0
}
