package cluster

import (
	"context"
	"net/http"
	"sync"

	"golang.org/x/sync/semaphore"
)

// throttle bounds the requests in flight to one server, and learns from its
// answers how many that may be: half as many after a 429, one more after as many
// other answers as are allowed in flight; never less than one, never more than
// concurrency. Retry-After is not its business: a request that waits for its
// next try is not in flight.
type throttle struct {
	slots *semaphore.Weighted // first come, first served

	mu       sync.Mutex
	limit    int // requests allowed in flight
	withheld int // slots to keep back, as requests end, until no more than the limit are out
	calm     int // answers since the limit changed
	halved   int // how often; a burst of 429s counts once
}

func newThrottle() *throttle {
	return &throttle{slots: semaphore.NewWeighted(concurrency), limit: concurrency}
}

type urgentKey struct{}

// urgent returns a context whose requests do not wait for others to end, nor
// count among them: for the renewal of a Lease, without which all work must end.
func urgent(ctx context.Context) context.Context { return context.WithValue(ctx, urgentKey{}, true) }

// enter waits until a request may be sent, or ctx ends. What it returns is to be
// called with the answer's status, or zero if there is none.
func (t *throttle) enter(ctx context.Context) (leave func(status int), err error) {
	if ctx.Value(urgentKey{}) != nil {
		return func(int) {}, nil
	}
	if err := t.slots.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	sent := t.halved
	return func(status int) { t.leave(sent, status) }, nil
}

func (t *throttle) leave(sent, status int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case status == http.StatusTooManyRequests && sent == t.halved && t.limit > 1:
		t.withheld += t.limit - t.limit/2
		t.limit, t.calm = t.limit/2, 0
		t.halved++
	case status != 0 && status != http.StatusTooManyRequests && status < http.StatusInternalServerError &&
		t.limit < concurrency:
		if t.calm++; t.calm == t.limit {
			t.limit, t.calm = t.limit+1, 0
			t.release()
		}
	}
	t.release()
}

// release gives back a slot, unless one is still to be withheld.
func (t *throttle) release() {
	if t.withheld > 0 {
		t.withheld--
		return
	}
	t.slots.Release(1)
}
