package hibernate

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Busy is a Refusal that goes away by itself: another run is at it.
type Busy struct{ Refusal }

// Unwrap is the Refusal.
func (b *Busy) Unwrap() error { return &b.Refusal }

// insisting is how long a resume that nobody watches waits before it tries again.
const insisting = 30 * time.Second

// Insist resumes again and again until that has worked or ctx ends: the next one
// would come a day later. To wake a cluster twice does no harm. What does not go away by
// itself ends it: a refusal, and a key that is refused.
func (r *Runner) Insist(ctx context.Context, resume func(context.Context) error) error {
	for {
		err := resume(ctx)
		_, refused := errors.AsType[*Refusal](err)
		_, busy := errors.AsType[*Busy](err)
		if err == nil || refusedKey(err) || refused && !busy || ctx.Err() != nil {
			return err
		}
		r.Tell(fmt.Sprintf("Not resumed: %v. Trying again in %s", err, insisting))
		select {
		case <-ctx.Done():
			return err
		case <-time.After(insisting):
		}
	}
}

// Awaited tells whether somebody makes nodes for the pods that wait after a resume, as
// s was before it: otherwise there is nothing to wait for.
func (r *Resume) Awaited(s *State) bool {
	if r.Policies != nil {
		return r.Policies.Enabled
	}
	on, known := s.Autoscaler()
	return on || !known
}
