package offboard_test

import (
	"slices"
	"testing"

	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/offboard"
)

func TestDifference(t *testing.T) {
	del := func(name string) engine.Action {
		return engine.Action{Verb: engine.Delete, Target: object("", "ConfigMap", "a", name).Target(), Why: "because"}
	}
	plan := func(notes []string, actions ...engine.Action) *engine.Plan {
		return &engine.Plan{Phases: []engine.Phase{{Name: "p", Actions: actions}}, Notes: notes}
	}
	shown := plan(nil, del("same"), del("goes"))
	renewed := del("same")
	renewed.Target.UID = "another"
	changed := del("same")
	changed.Target.ResourceVersion = "7"
	for name, test := range map[string]struct {
		fresh *engine.Plan
		want  []string
	}{
		"none": {plan(nil, del("goes"), changed), nil},
		"one more": {plan(nil, del("same"), del("goes"), del("new")),
			[]string{"now also: delete ConfigMap/a/new: because"}},
		"one less": {plan(nil, del("same")), []string{"no longer: delete ConfigMap/a/goes: because"}},
		"made anew": {plan(nil, renewed, del("goes")),
			[]string{"now also: delete ConfigMap/a/same: because", "no longer: delete ConfigMap/a/same: because"}},
		"what it means": {plan([]string{"a stays"}, del("same"), del("goes")), []string{"a stays"}},
	} {
		if got := offboard.Difference(shown, test.fresh); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
