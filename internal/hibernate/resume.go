package hibernate

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// Resume is what has to be done to wake a cluster.
type Resume struct {
	// Already: there is nothing to resume, and why.
	Already string
	// Journal is that of the pause.
	Journal *Journal
	// Policies is what the autoscaler gets back; nil: it stays as it is.
	Policies *Policies
	// Changes are what is taken back from objects.
	Changes []Change
	// Unmade is Cast AI's id of a node that was being made and is of no use.
	Unmade string
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

// PlanResume says what has to be done to wake a cluster from the state that it is
// in. With repair it also takes back what earlier runs left, of this plugin and of
// Cast AI's job.
func PlanResume(s *State, by string, repair bool) (*Resume, error) {
	j := s.Record.Journal
	asleep := j != nil && j.Phase != Awake
	if !asleep && !repair {
		r := &Resume{Already: "the cluster is not paused, as far as this plugin knows"}
		if left := Leftovers(s); len(left) > 0 {
			r.Already += fmt.Sprintf("; earlier runs left something on %d objects: resume --repair takes it back", len(left))
		}
		return r, nil
	}
	r := &Resume{Journal: &Journal{Phase: Resuming, By: by}}
	if asleep {
		kept := *j
		r.Journal = &kept
		r.Journal.Phase, r.Journal.By, r.Journal.Error = Resuming, by, ""
		if j.Policies.Enabled {
			r.Policies = j.Policies
		}
		r.Unmade = s.unmade(j)
		r.Changes = marked(s)
	}
	if repair {
		if !asleep && vendorPaused(s) {
			r.Policies = &Policies{Switch: SwitchAll, Enabled: true}
		}
		r.Changes = Leftovers(s)
	}
	if !asleep && len(r.Changes) == 0 && r.Policies == nil {
		return &Resume{Already: "nothing is left of earlier runs"}, nil
	}
	return r, nil
}

// marked returns what marks say that pauses did, and what is on the nodes that
// they made.
func marked(s *State) []Change {
	var out []Change
	for _, n := range s.Nodes {
		_, has, err := unstructured.NestedString(n.Object.Body, markFields...)
		if has && err == nil || n.Object.Labels[runLabel] != "" {
			out = append(out, Change{Object: n.Object, Why: "a pause cordoned, tainted or labelled it", patch: wake(s.madeLabels())})
		}
	}
	for _, w := range s.Workloads {
		if _, has, err := unstructured.NestedString(w.Body, markFields...); has && err == nil {
			out = append(out, Change{Object: w.Object, Why: "a pause let its pods run on the hibernation node", patch: withdraw})
		}
	}
	return out
}

// madeLabels are those of the node that a pause made, if it did.
func (s *State) madeLabels() map[string]string {
	if j := s.Record.Journal; j != nil && j.Node != nil && j.Node.Made {
		return j.Node.Labels
	}
	return nil
}

// unmade returns Cast AI's id of a node that the pause began to make and that is
// not there, or not ready; empty: there is none.
func (s *State) unmade(j *Journal) string {
	if j.Node == nil || !j.Node.Made || s.Console == nil {
		return ""
	}
	for _, n := range s.Nodes {
		if n.Object.Labels[runLabel] == j.Run && n.ready() {
			return ""
		}
	}
	for _, n := range s.Console.Nodes {
		if (n.Id == j.Node.ID || n.Labels[runLabel] == j.Run) && !slices.Contains([]string{"deleting", "deleted"}, n.State.Phase) {
			return n.Id
		}
	}
	return ""
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
		switch {
		case tainted && taint.Effect == corev1.TaintEffectNoSchedule && cordoned:
			out = append(out, Change{Object: n.Object, Why: "Cast AI's job tainted and cordoned it", Vendor: true, patch: vendorWake})
		case tainted && taint.Effect == corev1.TaintEffectNoSchedule:
			out = append(out, Change{Object: n.Object, Why: "it has the taint of a hibernation node", Vendor: true, patch: vendorWake})
		case cordoned:
			out = append(out, Change{Object: n.Object, Why: "Cast AI's job cordoned it", Vendor: true, patch: vendorWake})
		}
	}
	for _, w := range s.Workloads {
		if known[w.Ref()] || w.Resource.Kind != "Deployment" || !wrote(w.Object, vendorManager, tolerations...) {
			continue
		}
		if _, found := without(listAt(w.Object, tolerations...), isToleration); found {
			out = append(out, Change{Object: w.Object, Why: "Cast AI's job let its pods run on the hibernation node", Vendor: true, patch: vendorWithdraw})
		}
	}
	return out
}

// vendorWake takes back what Cast AI's job did to a node.
func vendorWake(o *cluster.Object) (map[string]any, error) {
	spec, patch := map[string]any{}, map[string]any{}
	if rest, found := without(listAt(o, "spec", "taints"), isPausedTaint); found {
		spec["taints"] = orNull(rest)
		patch["metadata"] = map[string]any{"labels": map[string]any{PausedKey: nil}}
	}
	if cordoned, _ := specOf(o)["unschedulable"].(bool); cordoned && wrote(o, vendorManager, "spec", "unschedulable") {
		spec["unschedulable"] = nil
	}
	if len(spec) == 0 {
		return map[string]any{}, nil
	}
	patch["spec"] = spec
	return patch, nil
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
	return map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"tolerations": orNull(rest)}}}}, nil
}

// vendorPaused tells whether Cast AI's job has the autoscaler turned off: it is
// off, the job says that it ran and ended well, and the node is there that it
// makes for a pause.
func vendorPaused(s *State) bool {
	if s.Console == nil || s.Record.Journal != nil && s.Record.Journal.Phase != Awake || s.Record.Time.Year() < 2023 {
		return false
	}
	on, err := switched(s.Console.Policies, SwitchAll)
	return err == nil && !on && slices.ContainsFunc(s.Nodes, func(n *Node) bool { return n.Object.Labels[PausedKey] == "true" })
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
