// Command chaos disturbs offboardings in every way, see package chaos.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/castai/kubectl-castai/test/chaos"
)

// options say what is tried.
type options struct {
	seed                  uint64
	samples, restarts     int
	kills, broken, planes int
	together, from        int
	budget                time.Duration
	bin                   string
}

func main() {
	var o options
	flag.Uint64Var(&o.seed, "seed", 1, "of what is chosen at random")
	flag.IntVar(&o.samples, "samples", 126, "how many faults to inject; -1: every fault at every request")
	flag.IntVar(&o.together, "together", 1,
		"how many of these faults to inject into one run; those for which it had too few requests are tried again")
	flag.IntVar(&o.from, "from", 0, "inject these faults into requests from this one on")
	flag.IntVar(&o.kills, "kills", -1, "how often to kill the plugin; -1: after every write")
	flag.IntVar(&o.broken, "broken", 40, "how many requests to answer with an error every time; -1: every one")
	flag.IntVar(&o.restarts, "restarts", 20, "how often to kill the API server")
	flag.IntVar(&o.planes, "planes", 2, "how many control planes to use at the same time")
	flag.DurationVar(&o.budget, "for", 0, "start no run after this time; 0: run all")
	flag.StringVar(&o.bin, "bin", "../bin", "folder of the plugin")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	random := rand.New(rand.NewPCG(o.seed, 0)) //nolint:gosec // the same seed, the same runs
	trials, faults, err := o.trials(ctx, random)
	if err != nil {
		return err
	}
	if o.budget > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.budget)
		defer cancel()
	}
	var totals chaos.Totals
	left, err := o.campaign(ctx, trials, &totals)
	totals.Unmet = len(left)
	for len(faults) > 0 && err == nil && ctx.Err() == nil {
		left, err = o.campaign(ctx, chaos.FaultTrials(random, faults, max(1, o.together)), &totals)
		if len(left) == len(faults) {
			break // no run has so many requests
		}
		faults = left
	}
	totals.Unmet += len(faults)
	fmt.Print("\n", &totals)
	if totals.Failed > 0 {
		err = errors.Join(err, fmt.Errorf("%d runs failed", totals.Failed))
	}
	return err
}

// campaign runs trials, and returns the faults that no request has met: the run
// ended before, or was never begun.
func (o options) campaign(ctx context.Context, trials []chaos.Trial, totals *chaos.Totals) (left []chaos.Strike,
	err error) {
	if len(trials) == 0 {
		return nil, nil
	}
	fmt.Printf("seed %d, %d runs\n", o.seed, len(trials))
	last := totals.Runs + len(trials)
	for _, t := range trials {
		left = append(left, t.Strikes...)
	}
	err = chaos.Campaign(ctx, o.bin, o.planes, trials, func(outcome *chaos.Outcome) {
		totals.Add(outcome)
		for _, hit := range outcome.Met {
			if i := slices.Index(left, hit.Strike); i >= 0 {
				left = slices.Delete(left, i, i+1)
			}
		}
		verdict := "ok  "
		if outcome.Failed() {
			verdict = "FAIL"
		}
		fmt.Printf("%s %d/%d %s\n", verdict, totals.Runs, last, outcome.Describe())
	})
	return left, err
}

// trials learns what an offboarding asks of the server, and chooses: what is
// done to a run, and faults for single requests.
func (o options) trials(ctx context.Context, random *rand.Rand) (trials []chaos.Trial, faults []chaos.Strike,
	err error) {
	p, err := chaos.NewPlane(ctx, o.bin)
	if err != nil {
		return nil, nil, err
	}
	quiet, err := p.Learn(ctx)
	if err := errors.Join(err, p.Stop()); err != nil {
		return nil, nil, err
	}
	trials = slices.Concat(
		chaos.RestartTrials(random, o.restarts, quiet.Took),
		some(o.kills, chaos.KillTrials(random, quiet.Requests)),
		some(o.broken, chaos.BrokenTrials(random, quiet.Requests)),
	)
	faults = slices.DeleteFunc(chaos.FaultStrikes(random, quiet.Requests),
		func(s chaos.Strike) bool { return s.At < o.from })
	return trials, some(o.samples, faults), nil
}

// some returns the first n, all if n is negative.
func some[T any](n int, all []T) []T {
	if n < 0 {
		return all
	}
	return all[:min(n, len(all))]
}
