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
		{outcome(engine.Delete, engine.ResultLeft, "forbidden.test"), engine.ResultLeft},
		{outcome(engine.Delete, engine.ResultLeft, "away.test"), engine.ResultLeft},
		{outcome("", engine.ResultLeft, "away.test"), engine.ResultLeft},
	} {
		r := &engine.Report{Outcomes: []engine.Outcome{test.before}}
		if finish(r, after); len(r.Outcomes) != 1 || r.Outcomes[0].Result != test.want {
			t.Errorf("%s %s of %s: %+v, not %s", test.before.Verb, test.before.Result, test.before.Object, r.Outcomes, test.want)
		}
	}
	r := &engine.Report{Outcomes: []engine.Outcome{outcome("", engine.ResultLeft, "gone.test")}}
	if finish(r, after); len(r.Outcomes) > 0 {
		t.Errorf("what was only waited for, and is gone, is reported: %+v", r.Outcomes)
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
