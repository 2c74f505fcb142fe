package engine_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

func TestChangeIsMadeFromTheLatestState(t *testing.T) {
	f := newFake(configMap("a"))
	var seen []string
	r, err := run(t, f, engine.Phase{Name: "p", Actions: []engine.Action{{
		Verb: engine.Patch, Target: configMap("a").Target(),
		Change: func(o *cluster.Object) (map[string]any, error) {
			seen = append(seen, o.ResourceVersion)
			if len(seen) == 1 {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.put(configMap("a")) // somebody else was faster
			}
			return map[string]any{"data": map[string]any{"k": "v"}}, nil
		},
	}}})
	if err != nil || r.Count(engine.ResultDone) != 1 {
		t.Fatalf("%v, %+v", err, r.Outcomes)
	}
	if want := []string{"1", "2"}; !slices.Equal(seen, want) {
		t.Errorf("made from the versions %v, want %v", seen, want)
	}
}

func TestChangeMayFindNothingToDoOrRefuse(t *testing.T) {
	f := newFake(configMap("a"), configMap("b"))
	target := func(name string) cluster.Target { return configMap(name).Target() }
	r, err := run(t, f, engine.Phase{Name: "p", Actions: []engine.Action{
		{Verb: engine.Patch, Target: target("a"), Change: func(*cluster.Object) (map[string]any, error) { return nil, nil }},
		{Verb: engine.Patch, Target: target("b"), Change: func(*cluster.Object) (map[string]any, error) {
			return nil,
				errors.New("no")
		}},
		{Verb: engine.Patch, Target: target("gone"), Change: func(*cluster.Object) (map[string]any, error) {
			t.Error("asked about what is not there")
			return nil, nil
		}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(f.writes) > 0 {
		t.Errorf("wrote %v", f.writes)
	}
	for result, want := range map[engine.Result]int{engine.ResultDone: 1, engine.ResultFailed: 1, engine.ResultGone: 1} {
		if got := r.Count(result); got != want {
			t.Errorf("%s: %d, want %d", result, got, want)
		}
	}
}
