package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Describe says what became of a trial, on one line if all is well.
func (o *Outcome) Describe() string {
	met := ""
	switch {
	case len(o.Met) == 1:
		met = ": " + o.Met[0].Request.String()
	case len(o.Met) > 1:
		met = fmt.Sprintf(": %d met", len(o.Met))
	case len(o.Strikes) > 0, o.Fault != None:
		met = ": the run had fewer requests"
	}
	lines := []string{fmt.Sprintf("%s%s, exit code %d after %.1f s", o.Trial, met, o.First.Code, o.Took.Seconds())}
	for _, list := range []struct {
		what  string
		lines []string
	}{{"left", o.Left}, {"lost", o.Touched}, {"problem", o.Problems}} {
		for _, l := range list.lines {
			lines = append(lines, "  "+list.what+": "+l)
		}
	}
	if o.Failed() {
		for _, hit := range o.Met {
			lines = append(lines, "  met: "+hit.Strike.String()+", "+hit.Request.String())
		}
		lines = append(lines, "  the disturbed run: "+o.First.String())
	}
	return strings.Join(lines, "\n")
}

// Totals sums up trials.
type Totals struct {
	Runs              int
	Injected          map[Fault]int // faults that a request has met
	Classes           map[Class]int // of these requests
	Codes             map[int]int   // exit codes of the disturbed runs
	Restarts          int           // of the API server
	Unmet             int           // faults that were never injected
	Left              int           // objects that a second run left
	Lost              int           // objects of others that were touched
	Failed            int           // trials that did not go as they must
	Panics, Dishonest int
}

// Add adds an outcome.
func (t *Totals) Add(o *Outcome) {
	if t.Injected == nil {
		t.Injected, t.Classes, t.Codes = map[Fault]int{}, map[Class]int{}, map[int]int{}
	}
	t.Runs++
	for _, hit := range o.Met {
		t.Injected[hit.Fault]++
		t.Classes[hit.Request.Class]++
	}
	if o.Restart > 0 {
		t.Restarts++
	}
	t.Codes[o.First.Code]++
	t.Left += len(o.Left)
	t.Lost += len(o.Touched)
	t.Panics += o.Panics
	t.Dishonest += o.Dishonest
	if o.Failed() {
		t.Failed++
	}
}

// String is the table of the totals.
func (t *Totals) String() string {
	var b strings.Builder
	row := func(what string, n int) { fmt.Fprintf(&b, "%-44s %6d\n", what, n) }
	row("runs", t.Runs)
	for _, f := range slices.Sorted(maps.Keys(t.Injected)) {
		row("  fault injected: "+string(f), t.Injected[f])
	}
	for _, c := range slices.Sorted(maps.Keys(t.Classes)) {
		row("  into requests of the class: "+string(c), t.Classes[c])
	}
	row("  fault that was not injected", t.Unmet)
	row("  API server killed and restarted", t.Restarts)
	for _, c := range slices.Sorted(maps.Keys(t.Codes)) {
		what := fmt.Sprintf("  exit code %d", c)
		if c < 0 {
			what = "  killed"
		}
		row(what, t.Codes[c])
	}
	row("objects left after the second run", t.Left)
	row("objects of others lost", t.Lost)
	row("panics", t.Panics)
	row("dishonest exits", t.Dishonest)
	row("failed runs", t.Failed)
	return b.String()
}
