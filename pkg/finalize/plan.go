package finalize

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/version"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// Look observes the namespaces that are being freed afresh.
type Look func(context.Context) (*Observation, error)

// Plan returns the plan that frees the namespaces, or the Refusal of the first
// one that will not be touched. It climbs the ladder while it runs: what it will
// do if nothing changes in the meantime is shown by Preview.
func Plan(ds []*Diagnosis, look Look, o Options) (*engine.Plan, error) {
	if err := Refused(ds, o); err != nil {
		return nil, err
	}
	return &engine.Plan{Phases: []engine.Phase{Phase(ds, look, o)}}, nil
}

// Refused returns the Refusal of the first namespace that will not be touched, or
// nil; see Refuse.
func Refused(ds []*Diagnosis, o Options) error {
	for _, d := range ds {
		if r := Refuse(d, o); r != nil {
			return r
		}
	}
	return nil
}

// Refuse returns why a namespace will not be touched, or nil. One that something
// blocks, or that has finalizers which only a person may allow, is refused unless the
// options say Partial: what would be destroyed would not free it. Force goes on
// whatever blocks, but not over what is alive or guards something outside.
func Refuse(d *Diagnosis, o Options) *Refusal {
	switch {
	case d.Refusal != nil:
		return d.Refusal
	case o.Partial:
		return nil
	case o.Force:
		return refuseForce(d)
	case len(d.Blocked()) > 0, len(d.Asked()) > 0:
		return refuseBlocked(d)
	}
	return nil
}

// Phase frees the diagnosed namespaces together, so that what blocks several of
// them is removed once. It watches first, unless Patience has passed since they
// were looked at, and uses force only while nothing changes.
func Phase(ds []*Diagnosis, look Look, o Options) engine.Phase {
	l := newLadder(look, o)
	l.show(Preview(ds, o))
	phase := engine.Phase{Name: "unstick", Patience: o.patience(), Next: l.next}
	var names []string
	for _, d := range ds {
		names = append(names, d.Title())
		l.rungs[d.Title()] = &climb{uid: d.UID, last: d}
		switch {
		case d.Object != nil:
			l.objects[d.Title()] = d.subject.Target()
			phase.WaitFor = append(phase.WaitFor, d.subject.Target())
			continue
		case d.State == Terminating:
			phase.WaitFor = append(phase.WaitFor, cluster.NamespaceTarget(d.Namespace, d.UID))
			if !o.Force {
				continue
			}
			phase.Actions = append(phase.Actions, finalizeAction(d))
		case d.helper:
			phase.Actions = append(phase.Actions, deleteAction(d.object, helperWhy))
		default:
			phase.Actions = append(phase.Actions, sweepActions(d)...)
		}
		// What becomes, or is, an orphan must be seen to go.
		for _, obj := range d.objects {
			phase.WaitFor = append(phase.WaitFor, obj.Target())
		}
	}
	phase.Title = "Free " + list(names)
	if len(ds) > 0 {
		phase.Patience = max(time.Millisecond, o.patience()-o.now().Sub(ds[0].ObservedAt))
	}
	return phase
}

// Next returns the function of the same name of an engine.Phase that deletes
// namespaces: it frees those that are stuck. They are those of the objects left.
func Next(look Look, o Options) func(context.Context, []cluster.Target) (*engine.Step, error) {
	return newLadder(look, o).next
}

// Preview returns what will be done if nothing changes by itself, with one
// phase for each rung.
func Preview(ds []*Diagnosis, o Options) *engine.Plan { return preview(ds, o, false) }

// Check returns those writes of a preview that the server can judge already,
// by a run with engine.Options.DryRun.
func Check(ds []*Diagnosis, o Options) *engine.Plan { return preview(ds, o, true) }

func preview(ds []*Diagnosis, o Options, check bool) *engine.Plan {
	plan := &engine.Plan{}
	add := func(name, title string, actions []engine.Action) {
		if len(actions) > 0 {
			plan.Phases = append(plan.Phases, engine.Phase{Name: name, Title: title, Actions: actions})
		}
	}
	var unblock, clear, later, pods, final, finish, create, sweep []engine.Action
	for _, d := range ds {
		if d.Refusal != nil {
			continue
		}
		orphaned := d.State != Terminating || o.Force
		if d.helper {
			sweep = append(sweep, deleteAction(d.object, helperWhy))
		}
		if orphaned {
			sweep = append(sweep, sweepActions(d)...)
		}
		if d.State == Terminating && o.Force {
			final = append(final, finalizeAction(d))
		}
		if orphaned && needsHelper(d) {
			if !d.helper {
				create = append(create, createAction(d, o))
			}
			if d.object != nil || !check {
				sweep = append(sweep, clearActions(d, false)...)
			}
			if !check {
				sweep = append(sweep, clearActions(d, true)...)
			}
		}
		if !orphaned || needsHelper(d) {
			unblock = append(unblock, unblockActions(d)...)
		}
		if !orphaned {
			clear = append(clear, slices.DeleteFunc(clearActions(d, false), func(a engine.Action) bool {
				return check && d.refused(a.Target) // as long as the schema is not relaxed
			})...)
			later = append(later, clearActions(d, true)...)
			pods = append(pods, laterPods(d)...)
			last := lastActions(d)
			final = append(final, last...)
			if len(last) == 0 && d.mayFinish() {
				finish = append(finish, finishAction(d))
			}
		}
	}
	if relaxing := schemaActions(ds, relaxAction); len(relaxing) > 0 {
		plan.Phases = append(plan.Phases, relaxPhase(relaxing))
	}
	add("unblock", "Remove what blocks", unique(unblock))
	add("clear", "Remove finalizers that nobody else removes", unique(clear))
	if !check {
		add("pods", "Delete pods without a grace period once their kubelet is given up", unique(pods))
		add("later", "Remove finalizers later, if nobody else does", unique(later))
	}
	add("finalize", "Finalize", final)
	if !check {
		add("finish", "Finalize when nothing is left, if the namespace controller does not come", finish)
	}
	add("create", "Create the namespace again to reach orphans, and delete it afterwards", create)
	add("sweep", "Sweep up orphans", unique(sweep))
	if back := schemaActions(ds, putBackAction); len(back) > 0 && !check {
		plan.Phases = append(plan.Phases, putBackPhase(back))
	}
	return plan
}

// StepOf returns the rung of an action.
func StepOf(a engine.Action) Rung {
	switch {
	case a.Verb == engine.StripFinalizers:
		return ClearFinalizers
	case a.Verb == engine.Finalize:
		return Finalize
	case a.Verb == engine.CreateNamespace, a.Target.Group == "" && a.Target.Kind == "Namespace":
		return Sweep
	case a.Target.Group == "apiregistration.k8s.io":
		return RemoveAPIService
	case a.Verb == engine.Patch && isDefinition(a.Target.Ref):
		return RelaxSchema
	case a.Target.Group == "admissionregistration.k8s.io":
		return RemoveWebhook
	case a.Target.Group == "" && a.Target.Kind == "Pod":
		return DeletePods
	}
	return DeleteContent
}

// unique drops the actions that several namespaces have in common.
func unique(actions []engine.Action) []engine.Action {
	var out []engine.Action
	seen := map[string]bool{}
	for _, a := range actions {
		if id := identify(a); !seen[id] {
			seen[id] = true
			out = append(out, a)
		}
	}
	return out
}

// identify names an action on a state of an object, but for its resource version.
func identify(a engine.Action) string {
	return fmt.Sprint(a.Verb, a.Target.Ref, a.Target.UID, a.Finalizers)
}

// steps names what actions do one by one: that of each finalizer is a step of its own.
func steps(a engine.Action) []string {
	base := fmt.Sprint(a.Verb, a.Target.Ref, a.Target.UID)
	if a.Verb != engine.StripFinalizers {
		return []string{base}
	}
	var out []string
	for _, f := range a.Finalizers {
		out = append(out, base+" "+f)
	}
	return out
}

// updatesInMissing tells whether a server lets updates of objects through whose
// namespace does not exist: since 1.37 (NamespaceLifecycle in k8s.io/apiserver
// v0.37.0; v0.36.3 answers NotFound).
func updatesInMissing(server string) bool {
	v, err := version.ParseGeneric(server)
	return err == nil && v.AtLeast(version.MajorMinor(1, 37))
}
