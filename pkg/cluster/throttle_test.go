package cluster

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// busy is a server that takes a tenth of a second for an answer and says 429 at
// once to what is more than it can do at a time.
type busy struct {
	mu               sync.Mutex
	capacity, now    int
	most, turnedAway int
}

func (b *busy) RoundTrip(req *http.Request) (*http.Response, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now >= b.capacity {
		b.turnedAway++
		return status(http.StatusTooManyRequests)(req)
	}
	b.now++
	b.most = max(b.most, b.now)
	b.mu.Unlock()
	time.Sleep(100 * time.Millisecond) // on the clock of synctest's bubble, which does not wait
	b.mu.Lock()
	b.now--
	return status(http.StatusOK)(req)
}

// ask sends n requests at once and returns the most that the server had at a
// time, and how many it turned away. All of them are answered in the end.
func (b *busy) ask(t *testing.T, r http.RoundTripper, n int) (most, turnedAway int) {
	t.Helper()
	b.most, b.turnedAway = 0, 0
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if resp, _, err := sendTo(t.Context(), r, http.MethodGet, address); err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("%v, %v", resp, err)
			}
		})
	}
	all.Wait()
	return b.most, b.turnedAway
}

func TestRequestsInFlightFollowWhatTheServerTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &busy{capacity: 100}
		r := newRetrier(t.Context(), server, 0, nil)
		if most, _ := server.ask(t, r, 100); most != concurrency {
			t.Errorf("%d requests in flight to a server that takes all, not %d", most, concurrency)
		}
		server.capacity = 3
		_, first := server.ask(t, r, 100)
		if limit := r.inFlight.limit; limit > 4 {
			t.Errorf("%d requests may be in flight to a server that takes 3", limit)
		}
		// It still asks for more from time to time, but no longer by dozens.
		if _, later := server.ask(t, r, 100); first < concurrency-3 || later > 100/3 {
			t.Errorf("the server turned away %d requests, and %d of the next 100", first, later)
		}
		server.capacity = 0
		time.AfterFunc(10*time.Second, func() { server.mu.Lock(); server.capacity = 100; server.mu.Unlock() })
		server.ask(t, r, concurrency)
		if limit := r.inFlight.limit; limit > concurrency/2 {
			t.Errorf("%d requests may be in flight to a server that took none until now", limit)
		}
		if most, turnedAway := server.ask(t, r, 300); most != concurrency || turnedAway != 0 {
			t.Errorf("%d requests in flight to a server that takes all again, and %d turned away", most, turnedAway)
		}
	})
}

func TestABurstOfRefusalsHalvesOnce(t *testing.T) {
	gate := newThrottle()
	var leaves []func(int)
	for range concurrency {
		leave, err := gate.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leave)
	}
	for _, leave := range leaves {
		leave(http.StatusTooManyRequests)
	}
	if gate.limit != concurrency/2 || gate.slots.TryAcquire(concurrency/2+1) || !gate.slots.TryAcquire(concurrency/2) {
		t.Errorf("%d requests may be in flight, not %d", gate.limit, concurrency/2)
	}
}

func TestOneRequestIsAlwaysAllowed(t *testing.T) {
	gate := newThrottle()
	for range 20 {
		leave, err := gate.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leave(http.StatusTooManyRequests)
	}
	if gate.limit != 1 || !gate.slots.TryAcquire(1) || gate.slots.TryAcquire(1) {
		t.Errorf("%d requests may be in flight, not one", gate.limit)
	}
}

// An open watch is not in flight, or a few of them would be the end of all.
func TestAWatchHoldsNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRetrier(t.Context(), &script{answers: []answer{status(http.StatusOK)}}, 0, nil)
		for range concurrency + 1 {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+"?watch=true", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := r.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
		}
	})
}

func TestUrgentRequestsDoNotWait(t *testing.T) {
	gate := newThrottle()
	if !gate.slots.TryAcquire(concurrency) {
		t.Fatal("a new client has no place")
	}
	leave, err := gate.enter(urgent(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	leave(http.StatusTooManyRequests)
	if gate.slots.TryAcquire(1) || gate.limit != concurrency {
		t.Error("it counts among the others")
	}
}

// An error of the server's is no sign that it takes more.
func TestErrorsGiveNothingBack(t *testing.T) {
	gate := newThrottle()
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable, 0} {
		for range concurrency {
			leave, err := gate.enter(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			leave(status)
		}
	}
	if gate.limit != 1 {
		t.Errorf("%d requests may be in flight, not one", gate.limit)
	}
}

func TestWhoWaitsForAPlaceIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRetrier(t.Context(), &busy{capacity: 100}, 0, nil)
		if !r.inFlight.slots.TryAcquire(concurrency) {
			t.Fatal("a new client has no place")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := sendTo(ctx, r, http.MethodGet, address); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the error is %v", err)
		}
	})
}
