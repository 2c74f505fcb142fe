package console

import (
	"cmp"
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/castai/kubectl-castai/internal/castai"
)

// Bounds of waiting: the API has no watches.
const (
	firstPoll   = 2 * time.Second // cluster-controller's own tests ask every 2 s
	longestPoll = 15 * time.Second
	repeat      = 30 * time.Second // a person hears that it goes on
	mostErrors  = 5                // in a row that may pass, each after the client's own tries
)

// lookFunc tells whether what is waited for has come, and else what is to be seen.
type lookFunc func(ctx context.Context) (done bool, seen string, err error)

// await looks until it is done, or an error will not pass, or ctx ends.
func (s *steps) await(ctx context.Context, tell func(string), look lookFunc) error {
	backoff := wait.Backoff{Duration: cmp.Or(s.d.options.Poll, firstPoll), Factor: 1.5, Jitter: 0.2, Steps: 100,
		Cap: longestPoll}
	last, told, failures := "", time.Time{}, 0
	for {
		done, seen, err := look(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil && done:
			return nil
		case err == nil:
			failures = 0
		case !castai.IsPassing(err) || failures >= mostErrors:
			return err
		default:
			failures++
			seen = err.Error()
		}
		if seen != last || time.Since(told) >= repeat {
			last, told = seen, time.Now()
			tell(seen)
		}
		delay := backoff.Step()
		if busy := (&castai.Error{}); errors.As(err, &busy) {
			delay = max(delay, busy.RetryAfter)
		}
		timer := time.NewTimer(delay)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
}
