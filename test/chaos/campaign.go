package chaos

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Learn runs an offboarding that nothing disturbs, and returns its requests and
// how long it took.
func (p *Plane) Learn(ctx context.Context) (*Outcome, error) {
	o, err := p.Run(ctx, Trial{Fault: None})
	if err == nil && o.Failed() {
		err = errors.Join(errors.New("an offboarding that nothing disturbs fails"), errors.New(o.Describe()))
	}
	return o, err
}

// FaultTrials returns every fault at every request, in an order of which each
// beginning holds as many classes of requests with as many faults as it can.
func FaultTrials(random *rand.Rand, requests []Request) []Trial {
	type cell struct {
		class Class
		fault Fault
	}
	var all []Trial
	for at := range requests {
		for _, f := range Faults() {
			all = append(all, Trial{Fault: f, At: at, HTTP2: random.IntN(2) == 0})
		}
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	seen, rank := map[cell]int{}, map[Trial]int{}
	for _, t := range all {
		c := cell{requests[t.At].Class, t.Fault}
		rank[t] = seen[c]
		seen[c]++
	}
	slices.SortStableFunc(all, func(a, b Trial) int { return cmp.Compare(rank[a], rank[b]) })
	return all
}

// BrokenTrials answer one request with an error however often it is sent.
func BrokenTrials(random *rand.Rand, requests []Request) []Trial {
	var all []Trial
	seen := map[Request]bool{}
	for _, q := range requests {
		if !seen[q] {
			seen[q] = true
			all = append(all, Trial{Fault: InternalError, Every: q}, Trial{Fault: Unavailable, Every: q})
		}
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// KillTrials kills the plugin after every write, in random order.
func KillTrials(random *rand.Rand, requests []Request) []Trial {
	var all []Trial
	for _, q := range requests {
		if q.writes() {
			all = append(all, Trial{Fault: Kill, At: len(all)})
		}
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// RestartTrials kills the API server at n random moments of a run that takes so
// long.
func RestartTrials(random *rand.Rand, n int, run time.Duration) []Trial {
	var all []Trial
	for range n {
		all = append(all, Trial{Restart: 1 + time.Duration(random.Int64N(int64(run)))})
	}
	return all
}

// Campaign runs trials on several control planes. tell is called after each
// trial, from one goroutine at a time. When ctx ends, no further trial starts.
func Campaign(ctx context.Context, bin string, planes int, trials []Trial, tell func(*Outcome)) error {
	queue := make(chan Trial)
	go func() {
		defer close(queue)
		for _, t := range trials {
			select {
			case queue <- t:
			case <-ctx.Done():
				return
			}
		}
	}()
	var mu sync.Mutex
	var group sync.WaitGroup
	errs := make([]error, planes)
	for i := range planes {
		group.Go(func() {
			// A trial that has begun is seen through.
			errs[i] = work(context.WithoutCancel(ctx), bin, queue, func(o *Outcome) {
				mu.Lock()
				defer mu.Unlock()
				tell(o)
			})
			for range queue { // nobody is left for these
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// work runs trials on one control plane, and takes another one after a trial
// that left something.
func work(ctx context.Context, bin string, queue <-chan Trial, tell func(*Outcome)) (err error) {
	var p *Plane
	stop := func() {
		if p != nil {
			err = errors.Join(err, p.Stop())
			p = nil
		}
	}
	defer stop()
	for t := range queue {
		if p == nil {
			if p, err = NewPlane(ctx, bin); err != nil {
				return err
			}
		}
		o, err := p.Run(ctx, t)
		if err != nil {
			return err
		}
		tell(o)
		if o.Failed() {
			stop()
		}
	}
	return err
}
