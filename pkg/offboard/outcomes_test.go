package offboard

import (
	"slices"
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// Nothing is called left that the last look did not find, and nothing gone that
// it could not look for.
func TestOutcomesAgreeWithTheLastLook(t *testing.T) {
	ref := func(group string) cluster.Ref { return cluster.Ref{Group: group, Kind: "Thing", Name: "a"} }
	outcome := func(verb engine.Verb, result engine.Result, group string) engine.Outcome {
		return engine.Outcome{Verb: verb, Result: result, Object: ref(group), Message: "why"}
	}
	after := &ownership.Inventory{Unreadable: []cluster.Unreadable{
		{What: "things.forbidden.test"}, {What: "away.test/v1", GroupVersion: "away.test/v1"},
	}}
	for _, test := range []struct {
		before engine.Outcome
		want   engine.Result
	}{
		{outcome(engine.Delete, engine.ResultLeft, "gone.test"), engine.ResultDone},
		{outcome(engine.Delete, engine.ResultFailed, "gone.test"), engine.ResultDone},
		{outcome(engine.StripFinalizers, engine.ResultLeft, "gone.test"), engine.ResultDone},
		{outcome(engine.Finalize, engine.ResultLeft, "gone.test"), engine.ResultDone},
		{outcome(engine.Delete, engine.ResultKept, "gone.test"), engine.ResultGone},
		{outcome(engine.Delete, engine.ResultSkipped, "gone.test"), engine.ResultSkipped},
		{outcome(engine.Patch, engine.ResultFailed, "gone.test"), engine.ResultFailed},
		{outcome(engine.Patch, engine.ResultLeft, "gone.test"), engine.ResultDone}, // it has stopped for good
		{outcome(engine.Delete, engine.ResultLeft, "forbidden.test"), engine.ResultLeft},
		{outcome(engine.Delete, engine.ResultLeft, "away.test"), engine.ResultLeft},
		{outcome("", engine.ResultLeft, "away.test"), engine.ResultLeft},
	} {
		r := &engine.Report{Outcomes: []engine.Outcome{test.before}}
		if finish(r, &engine.Plan{}, after); len(r.Outcomes) != 1 || r.Outcomes[0].Result != test.want {
			t.Errorf("%s %s of %s: %+v, not %s", test.before.Verb, test.before.Result, test.before.Object, r.Outcomes, test.want)
		}
	}
	r := &engine.Report{Outcomes: []engine.Outcome{outcome("", engine.ResultLeft, "gone.test")}}
	if finish(r, &engine.Plan{}, after); len(r.Outcomes) > 0 {
		t.Errorf("what was only waited for, and is gone, is reported: %+v", r.Outcomes)
	}
}

// What the plan deletes and a controller deletes first is in the report, too: an
// operator that cleans up after itself leaves no gap between the two counts.
func TestWhatOthersDeletedIsInTheReport(t *testing.T) {
	act := func(verb engine.Verb, group string) engine.Action {
		return engine.Action{Verb: verb, Target: cluster.Target{Ref: cluster.Ref{Group: group, Kind: "Thing", Name: "a"}}}
	}
	shown := &engine.Plan{Phases: []engine.Phase{
		{Name: PhaseContents, Actions: []engine.Action{
			act(engine.Delete, "done.test"), act(engine.Delete, "gone.test"), act(engine.Delete, "forbidden.test"),
			act(engine.Patch, "stopped.test"),
		}},
		{Name: PhaseRoots, Actions: []engine.Action{act(engine.Delete, "gone.test")}},
	}}
	after := &ownership.Inventory{Unreadable: []cluster.Unreadable{{What: "things.forbidden.test"}}}
	r := &engine.Report{Outcomes: []engine.Outcome{
		{Phase: PhaseContents, Verb: engine.Delete, Object: act("", "done.test").Target.Ref, Result: engine.ResultDone},
	}}
	finish(r, shown, after)
	if len(r.Outcomes) != 2 || r.Outcomes[1].Object.Group != "gone.test" || r.Outcomes[1].Result != engine.ResultGone ||
		r.Outcomes[1].Message == "" {
		t.Errorf("the report has %+v, not what was deleted and what was gone, once each", r.Outcomes)
	}
}

// A run that was refused a deletion, or could not take back what Cast AI wrote, has
// not finished, though nothing tells any more that the object is Cast AI's.
func TestWhatWasRefusedIsUnfinished(t *testing.T) {
	outcome := func(verb engine.Verb, phase, name string, result engine.Result) engine.Outcome {
		return engine.Outcome{Verb: verb, Phase: phase, Object: cluster.Ref{Kind: "Thing", Name: name}, Result: result}
	}
	r := &engine.Report{Outcomes: []engine.Outcome{
		outcome(engine.Patch, PhaseStop, "stopped", engine.ResultFailed), // it is deleted later, or that fails
		outcome(engine.Delete, PhaseRoles, "refused", engine.ResultFailed),
		outcome(engine.Delete, PhaseContents, "hangs", engine.ResultLeft),
		outcome(engine.Delete, PhaseContents, "late", engine.ResultLeft),
		outcome(engine.Delete, PhaseNamespaces, "late", engine.ResultDone),
		outcome(engine.Patch, PhaseRevert, "marked", engine.ResultFailed),
		outcome(engine.Delete, PhaseRoles, "gone", engine.ResultGone),
	}}
	var names []string
	for _, o := range Unfinished(r) {
		names = append(names, o.Object.Name)
	}
	if want := []string{"refused", "hangs", "marked"}; !slices.Equal(names, want) {
		t.Errorf("%q are unfinished, not %q", names, want)
	}
}
