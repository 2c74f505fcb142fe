package offboard

import (
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// finish says of what was not seen to go when its phase ended what became of it
// later, so that outcomes and inventory agree. It drops what was only waited for,
// and adds what the plan that was shown deletes and somebody else deleted first,
// so that the plan's count is the report's. What can't be read afterwards keeps its
// outcome: nobody knows.
func finish(r *engine.Report, shown *engine.Plan, after *ownership.Inventory) {
	there := map[cluster.Ref]bool{}
	for _, o := range after.Objects() {
		there[o.Ref()] = true
	}
	gone := func(o engine.Outcome) bool { return !there[o.Object] && readable(after, o.Object.Group) }
	r.Outcomes = slices.DeleteFunc(r.Outcomes, func(o engine.Outcome) bool {
		return o.Phase == PhaseOperations || o.Verb == "" && gone(o)
	})
	for i := range r.Outcomes {
		o := &r.Outcomes[i]
		stopped := o.Verb == engine.Patch && o.Result == engine.ResultLeft // later than its phase waited for
		if !removes(o.Verb) && !stopped || !gone(*o) {
			continue
		}
		switch o.Result {
		case engine.ResultLeft, engine.ResultFailed:
			o.Result, o.Message = engine.ResultDone, ""
		case engine.ResultKept:
			o.Result, o.Message = engine.ResultGone, ""
		case engine.ResultDone, engine.ResultGone, engine.ResultSkipped:
		}
	}
	told := map[cluster.Ref]bool{}
	for _, o := range r.Outcomes {
		told[o.Object] = told[o.Object] || removes(o.Verb)
	}
	for _, phase := range shown.Phases {
		for _, a := range phase.Actions {
			o := engine.Outcome{Phase: phase.Name, Verb: a.Verb, Object: a.Target.Ref,
				Result: engine.ResultGone, Message: others}
			if a.Verb == engine.Delete && !told[o.Object] && gone(o) {
				told[o.Object] = true
				r.Outcomes = append(r.Outcomes, o)
			}
		}
	}
}

// others is what became of an object that this run did not delete.
const others = "a controller of Cast AI's, Kubernetes or a person removed it during the run"

// Unfinished returns what a run was to delete, or to take back in objects of users,
// and did not: with it nothing is clean, whoever the object seems to belong to by
// now.
func Unfinished(r *engine.Report) []engine.Outcome {
	var out []engine.Outcome
	for i, o := range r.Outcomes {
		again := slices.ContainsFunc(r.Outcomes[i+1:], func(later engine.Outcome) bool {
			return later.Verb == o.Verb &&
				later.Object == o.Object
		})
		bad := o.Result == engine.ResultFailed || o.Result == engine.ResultLeft
		if bad && !again && (removes(o.Verb) || o.Phase == PhaseRevert) {
			out = append(out, o)
		}
	}
	return out
}

func removes(v engine.Verb) bool {
	return v == engine.Delete || v == engine.StripFinalizers || v == engine.Finalize
}

// readable tells whether all kinds of an API group could be read.
func readable(inv *ownership.Inventory, group string) bool {
	return !slices.ContainsFunc(inv.Unreadable, func(u cluster.Unreadable) bool {
		_, of, _ := strings.Cut(u.What, ".")
		if u.GroupVersion != "" {
			of, _, _ = strings.Cut(u.GroupVersion, "/")
		}
		return of == group
	})
}
