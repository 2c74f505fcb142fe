package plugin

import (
	"context"
	"errors"
	"fmt"

	"github.com/castai/kubectl-castai/pkg/engine"
)

// Exit codes of every command.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitRefused     = 3
	ExitLeft        = 4
	ExitTimeout     = 124
	ExitInterrupted = 130
)

// exitCodes is the table that help and docs/first-run.md show.
const exitCodes = `Exit codes:
  0    done
  1    failed
  2    bad usage
  3    refused: a blocker, a safety rule or a plan that no longer fits; nothing was changed
  4    finished, but something is left; with --diagnose: something is stuck
  124  timed out
  130  interrupted`

// failure is an error that knows its exit code.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func usage(err error) error   { return &failure{ExitUsage, err} }
func refused(err error) error { return &failure{ExitRefused, err} }

// errLeft ends a command that did its work and still found something.
var errLeft = errors.New("something of Cast AI's is left")

// ErrInterrupted is the cause of a context that a signal ended.
var ErrInterrupted = errors.New("interrupted")

// Ended adds to the error of a command what ended its context: that it was
// interrupted, and not only that something was canceled.
func Ended(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	switch {
	case err == nil, cause == nil, errors.Is(err, cause):
		return err
	case errors.Is(err, context.Canceled):
		return cause // nothing more is known
	}
	return fmt.Errorf("%w: %w", cause, err)
}

// ExitCode is the one place that decides how the process ends.
func ExitCode(err error) int {
	var f *failure
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, ErrInterrupted):
		return ExitInterrupted
	case errors.As(err, &f):
		return f.code
	case errors.Is(err, errLeft):
		return ExitLeft
	case errors.Is(err, engine.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return ExitTimeout
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	}
	return ExitFailed
}
