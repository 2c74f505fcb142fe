package plugin

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
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
	} {
		var out bytes.Buffer
		err := ask(t.Context(), strings.NewReader(test.typed), &out, "?", test.word)
		if ExitCode(err) != test.code {
			t.Errorf("%q for %q: %v", test.typed, test.word, err)
		}
	}
}
