package chaos

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// However many go into one run, every fault is inflicted on every request once.
func TestFaultTrialsCoverEverything(t *testing.T) {
	requests := make([]Request, 41)
	for i := range requests {
		requests[i] = Request{Class: []Class{List, Get, Delete}[i%3]}
	}
	random := rand.New(rand.NewPCG(1, 0)) //nolint:gosec // the same every time
	order := func(a, b Strike) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Fault, b.Fault)) }
	want := FaultStrikes(random, requests)
	if len(want) != 41*len(Faults()) {
		t.Errorf("%d faults", len(want))
	}
	for _, n := range []int{1, 2, 8, 1000} {
		var got []Strike
		for _, trial := range FaultTrials(random, want, n) {
			if len(trial.Strikes) == 0 || len(trial.Strikes) > n {
				t.Errorf("%d faults in one run instead of %d", len(trial.Strikes), n)
			}
			got = append(got, trial.Strikes...)
		}
		if !slices.Equal(slices.SortedFunc(slices.Values(got), order), slices.SortedFunc(slices.Values(want), order)) {
			t.Errorf("with %d in a run, there are %d faults that are not the %d", n, len(got), len(want))
		}
	}
}
