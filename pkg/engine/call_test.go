package engine_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// call is an operation on a thing outside of the cluster.
func call(operation string, do func(ctx context.Context, tell func(string)) error) engine.Action {
	target := cluster.Target{Ref: cluster.Ref{Group: "cast.ai", Kind: "Cluster", Name: "prod"}}
	return engine.Action{Verb: engine.Call, Target: target, Operation: operation, Do: do}
}

func TestCallsInOrderEndAtTheFirstThatFails(t *testing.T) {
	var order []string
	note := func(operation string, err error) engine.Action {
		return call(operation, func(context.Context, func(string)) error {
			order = append(order, operation)
			return err
		})
	}
	bad := errors.New("no permission")
	r, err := run(t, newFake(), engine.Phase{Name: "console", InOrder: true, Gate: true, Actions: []engine.Action{
		note("policies-off", nil), note("disconnect", bad), note("delete", nil),
	}}, engine.Phase{Name: "after", Actions: []engine.Action{note("never", nil)}})
	if !errors.Is(err, engine.ErrGate) {
		t.Errorf("the run ended with %v", err)
	}
	if want := []string{"policies-off", "disconnect"}; !slices.Equal(order, want) {
		t.Errorf("called %v, want %v", order, want)
	}
	results := map[string]engine.Result{}
	for _, o := range r.Outcomes {
		results[o.Operation] = o.Result
	}
	for operation, want := range map[string]engine.Result{
		"policies-off": engine.ResultDone, "disconnect": engine.ResultFailed,
		"delete": engine.ResultSkipped, "never": engine.ResultSkipped,
	} {
		if results[operation] != want {
			t.Errorf("%s: %s, want %s", operation, results[operation], want)
		}
	}
}

func TestCallSeesTheRunEnd(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	var told []string
	plan := &engine.Plan{Phases: []engine.Phase{{Name: "console", InOrder: true, Actions: []engine.Action{
		call("wait", func(ctx context.Context, tell func(string)) error {
			tell("until it is disconnected")
			cancel(stop)
			<-ctx.Done()
			return ctx.Err()
		}),
	}}}}
	r, err := engine.Run(ctx, newFake(), plan, engine.Options{OnEvent: func(e engine.Event) {
		if e.Type == engine.Waiting {
			told = append(told, e.Operation+": "+e.Message)
		}
	}})
	if !errors.Is(err, stop) {
		t.Errorf("the run ended with %v", err)
	}
	if want := []string{"wait: until it is disconnected"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	if o := r.Outcomes[0]; o.Result != engine.ResultLeft || o.Message != "until it is disconnected" {
		t.Errorf("what was not seen through is %+v", o)
	}
}

func TestDryRunMakesNoCalls(t *testing.T) {
	plan := &engine.Plan{Phases: []engine.Phase{{Name: "console", InOrder: true, Timeout: time.Second,
		Actions: []engine.Action{
			call("disconnect", func(context.Context, func(string)) error {
				t.Error("the call was made")
				return nil
			}),
		}}}}
	if _, err := engine.Run(t.Context(), newFake(), plan, engine.Options{DryRun: true}); err != nil {
		t.Error(err)
	}
}
