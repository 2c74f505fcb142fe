package chaos

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// However many faults go into one run, every request meets every one of them,
// although each costs one request more.
func TestEveryRequestMeetsEveryFault(t *testing.T) {
	requests := make([]Request, 41)
	for i := range requests {
		requests[i] = Request{Class: []Class{List, Get, Delete}[i%3], Path: fmt.Sprint("/", i)}
	}
	random := rand.New(rand.NewPCG(1, 0)) //nolint:gosec // the same every time
	for _, n := range []int{1, 2, 8, 1000} {
		met := map[Strike]int{}
		for _, trial := range FaultTrials(random, FaultStrikes(random, requests), n) {
			if len(trial.Strikes) == 0 || len(trial.Strikes) > n {
				t.Errorf("%d faults in one run instead of %d", len(trial.Strikes), n)
			}
			p := &Proxy{trial: trial}
			for i, q := range requests {
				for fault := p.strike(q); fault != None; fault = p.strike(q) {
					met[Strike{fault, i}]++
				}
			}
			if hits := p.Met(); len(hits) != len(trial.Strikes) {
				t.Errorf("%d faults of %d", len(hits), len(trial.Strikes))
			}
		}
		if len(met) != len(requests)*len(Faults()) {
			t.Errorf("with %d in a run, %d faults are met", n, len(met))
		}
	}
}
