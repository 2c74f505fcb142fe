package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/pkg/finalize"
)

func TestAnInterruptEndsAQuestion(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	never, keyboard := io.Pipe()
	defer func() { _ = keyboard.Close() }()
	var out bytes.Buffer
	cancel(ErrInterrupted)
	err := ask(ctx, never, &out, "This removes 3 objects.", "prod")
	if ExitCode(err) != ExitInterrupted || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("exit code %d: %v", ExitCode(err), err)
	}
	if !strings.HasSuffix(out.String(), ": \n") {
		t.Errorf("the next line would stand behind the question: %q", out.String())
	}
}

func TestAnswers(t *testing.T) {
	const eks = "arn:aws:eks:eu-west-1:1234:cluster/prod"
	for _, test := range []struct {
		word, typed string
		code        int
	}{
		{"prod", "prod\n", ExitOK},
		{"prod", " prod ", ExitOK}, // the end of the input is the end of the line
		{"prod", "staging\n", ExitRefused},
		{"prod", "\n", ExitRefused},
		{"prod", "", ExitRefused},
		{eks, eks + "\n", ExitOK},
		{eks, "prod\n", ExitOK},
		{eks, "cluster/prod\n", ExitRefused},
		{"odd/", "odd/\n", ExitOK},
		{"odd/", "\n", ExitRefused},
		{"service.kubernetes.io/load-balancer-cleanup", "load-balancer-cleanup\n", ExitRefused},
		{"service.kubernetes.io/load-balancer-cleanup", "service.kubernetes.io/load-balancer-cleanup\n", ExitOK},
	} {
		var out bytes.Buffer
		err := ask(t.Context(), strings.NewReader(test.typed), &out, "?", test.word)
		if ExitCode(err) != test.code {
			t.Errorf("%q for %q: %v", test.typed, test.word, err)
		}
		if test.word != eks && !strings.Contains(out.String(), "Type "+test.word+" to go on: ") {
			t.Errorf("the question does not say what to type: %q", out.String())
		}
	}
}

// TestFinalizersThatAreNamed holds that each finalizer is asked about once, that only the ones which are
// named go, and that an interrupt or a broken terminal ends the questions.
func TestFinalizersThatAreNamed(t *testing.T) {
	ds := []*finalize.Diagnosis{{Causes: []finalize.Cause{
		{Finalizer: "a.io/cleanup", Asks: true}, {Finalizer: "b.io/cleanup", Asks: true}, {Finalizer: "c.io/cleanup"},
		{Finalizer: "a.io/cleanup", Asks: true}, {Finalizer: "d.io/cleanup", Asks: true},
	}}}
	interrupted := fmt.Errorf("%w at the question", ErrInterrupted)
	for name, tc := range map[string]struct {
		answers []error
		names   []string
		err     error
	}{
		"one is left":    {[]error{nil, refused(errors.New("no")), nil}, []string{"a.io/cleanup", "d.io/cleanup"}, nil},
		"an interrupt":   {[]error{nil, interrupted}, nil, interrupted},
		"a broken input": {[]error{io.ErrUnexpectedEOF}, nil, io.ErrUnexpectedEOF},
	} {
		asked := 0
		names, err := named(ds, func(_, _ string) error { asked++; return tc.answers[asked-1] })
		if !errors.Is(err, tc.err) || !slices.Equal(names, tc.names) || asked != len(tc.answers) {
			t.Errorf("%s: %v, %v after %d questions", name, names, err, asked)
		}
	}
}
