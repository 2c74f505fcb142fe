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
	o, err := p.Run(ctx, Trial{})
	if err == nil && o.Failed() {
		err = errors.Join(errors.New("an offboarding that nothing disturbs fails"), errors.New(o.Describe()))
	}
	return o, err
}

// FaultStrikes returns every fault at every request, in an order of which each
// beginning holds as many classes of requests with as many faults as it can.
func FaultStrikes(random *rand.Rand, requests []Request) []Strike {
	type cell struct {
		class Class
		fault Fault
	}
	var all []Strike
	for at := range requests {
		for _, f := range Faults() {
			all = append(all, Strike{f, at})
		}
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	seen, rank := map[cell]int{}, map[Strike]int{}
	for _, s := range all {
		c := cell{requests[s.At].Class, s.Fault}
		rank[s] = seen[c]
		seen[c]++
	}
	slices.SortStableFunc(all, func(a, b Strike) int { return cmp.Compare(rank[a], rank[b]) })
	return all
}

// FaultTrials inflicts strikes, n of them on each run, far from each other.
func FaultTrials(random *rand.Rand, strikes []Strike, n int) []Trial {
	strikes = slices.SortedFunc(slices.Values(strikes), func(a, b Strike) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Fault, b.Fault))
	})
	trials := make([]Trial, (len(strikes)+n-1)/n)
	for part := range slices.Chunk(strikes, max(1, len(trials))) {
		random.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
		for i, s := range part {
			trials[i].Strikes = append(trials[i].Strikes, s)
		}
	}
	for i := range trials {
		trials[i].HTTP2 = random.IntN(2) == 0
	}
	random.Shuffle(len(trials), func(i, j int) { trials[i], trials[j] = trials[j], trials[i] })
	return trials
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
			all = append(all, Trial{Strikes: []Strike{{Kill, len(all)}}})
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
