package plugin

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/castai/kubectl-castai/pkg/engine"
)

func TestExitCode(t *testing.T) {
	for want, errs := range map[int][]error{
		ExitOK:      {nil},
		ExitFailed:  {errors.New("oops")},
		ExitUsage:   {usage(errors.New("what?"))},
		ExitRefused: {refused(errors.New("no")), fmt.Errorf("more: %w", refused(errors.New("no")))},
		ExitLeft:    {fmt.Errorf("%w: 3 objects", errLeft), &failure{ExitLeft, engine.ErrGate}},
		ExitTimeout: {fmt.Errorf("the removal %w", engine.ErrTimeout), context.DeadlineExceeded},
		ExitInterrupted: {ErrInterrupted, fmt.Errorf("%w: %w", ErrInterrupted, usage(errors.New("in between"))),
			context.Canceled},
	} {
		for _, err := range errs {
			if got := ExitCode(err); got != want {
				t.Errorf("ExitCode(%v) = %d, not %d", err, got, want)
			}
		}
	}
}

func TestEnded(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	if err := Ended(ctx, context.Canceled); ExitCode(err) != ExitInterrupted || err.Error() != "context canceled" {
		t.Errorf("before the interrupt: %v", err)
	}
	cancel(ErrInterrupted)
	for _, test := range []struct {
		err  error
		says string
	}{
		{fmt.Errorf("get pods: %w", context.Canceled), "interrupted"},
		{errors.New("can't read it"), "interrupted: can't read it"},
		{fmt.Errorf("%w: run it again", ErrInterrupted), "interrupted: run it again"},
	} {
		if err := Ended(ctx, test.err); err.Error() != test.says || ExitCode(err) != ExitInterrupted {
			t.Errorf("%v: %v", test.err, err)
		}
	}
	if err := Ended(ctx, nil); err != nil {
		t.Errorf("what had ended well: %v", err)
	}
}

func TestDisplayName(t *testing.T) {
	for argv0, want := range map[string]string{
		"kubectl-castai":                   "kubectl castai",
		"/usr/local/bin/kubectl-castai":    "kubectl castai",
		"kubectl-castai.exe":               "kubectl castai",
		"kubectl-cast_ai":                  "kubectl cast-ai",
		"/opt/with space/kubectl-offboard": "kubectl offboard",
		"/usr/bin/kubectl_complete-castai": "kubectl castai",
		"kubectl_complete-cast_ai.exe":     "kubectl cast-ai",
		"castai":                           "castai",
		"./bin/castai.exe":                 "castai",
	} {
		if got := DisplayName(argv0); got != want {
			t.Errorf("DisplayName(%q) = %q, not %q", argv0, got, want)
		}
	}
}
