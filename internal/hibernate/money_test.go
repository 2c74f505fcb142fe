package hibernate

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/castai/kubectl-castai/internal/castai"
)

// evenings are those that the table of docs/hibernate.md has: what there is beside the
// ten nodes of the cluster.
var evenings = []struct {
	name      string
	manifests string
	keep      []string
	inFlight  int
	fails     bool
}{
	{name: "ten nodes"},
	{name: "two more are being made when the pause begins", inFlight: 2},
	{name: "the API refuses one request to delete a node", fails: true},
	{
		name: "a namespace is kept whose pods run on two of the nodes", keep: []string{"monitoring"},
		manifests: monitoring +
			aPod("monitoring/one", "n1", "one", "{name: c, image: i}", true) +
			aPod("monitoring/two", "n2", "two", "{name: c, image: i}", true),
	},
	{
		name: "one is kept whose six replicas run on six, and fit on two", keep: []string{"monitoring"},
		manifests: monitoring + replicas("web", large, "", "n0", "n1", "n2", "n3", "n4", "n5"),
	},
}

// firstHour simulates the first hour of a pause, on the clock of a bubble, and
// returns the node-hours in it and how many nodes there are at its end. A node is
// paid for from the moment that it is asked for until it is gone; each takes two
// minutes to be drained and deleted. An autoscaler that is on at the end makes the ten
// nodes again.
func firstHour(t *testing.T, which int, ours bool) (hours float64, nodes int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		tonight := evenings[which]
		manifests := []string{tonight.manifests}
		for i := range 7 {
			manifests = append(manifests, aNode(fmt.Sprintf("n%d", i)))
		}
		n := evening(t, manifests...)
		n.drains = 2 * time.Minute
		n.replaces(n.schedule)
		for i := range tonight.inFlight {
			name, config := fmt.Sprintf("late-%d", i), castai.NodeConfig{InstanceType: "m7g.xlarge"}
			n.order(name, config)
			time.AfterFunc(time.Duration(i+1)*40*time.Second, func() { n.join(name, config) })
		}
		var deletions atomic.Int32
		n.before = func(request string) error {
			if tonight.fails && strings.HasPrefix(request, "delete-node") && deletions.Add(1) == 3 {
				return &castai.Error{Status: http.StatusInternalServerError}
			}
			return nil
		}
		paid := func() (count int) {
			n.mu.Lock()
			defer n.mu.Unlock()
			for _, node := range n.nodes {
				if node.State.Phase != "deleted" {
					count++
				}
			}
			return count
		}
		paused := make(chan error, 1)
		go func() {
			if !ours {
				n.vendor(t).run(t.Context(), actionPause)
				paused <- nil
				return
			}
			o := options()
			o.NamespacesToKeep = tonight.keep
			paused <- n.pause(t.Context(), o)
		}()
		const step = 10 * time.Second
		for range time.Hour / step {
			hours += float64(paid()) * step.Hours()
			time.Sleep(step)
		}
		if err := <-paused; err != nil {
			t.Error(err)
		}
		if nodes = paid(); n.on() {
			nodes = 10
		}
	})
	return hours, nodes
}

// The table of docs/hibernate.md is what the simulation says: node-hours of a week's
// nights, without a pause, with this plugin's, and with Cast AI's job.
func TestNodeHoursOfTheDocumentation(t *testing.T) {
	type result struct {
		hours float64
		nodes int
	}
	measured := map[string]result{}
	for i := range evenings {
		for _, ours := range []bool{true, false} {
			hours, nodes := firstHour(t, i, ours)
			measured[fmt.Sprint(i, ours)] = result{hours, nodes}
		}
	}
	now := time.Date(2026, 6, 3, 12, 0, 0, 0, time.UTC)
	var b strings.Builder
	b.WriteString("| Schedule | Evening | No pause | This plugin | Cast AI's job |\n|---|---|---|---|---|\n")
	for _, s := range []Schedule{{DefaultPause, DefaultResume, "UTC"}, {"0 19 * * 1-5", "0 8 * * 1-5", "UTC"},
		{"0 20 * * 5", "0 6 * * 1", "UTC"}} {
		f, err := s.Forecast(now)
		if err != nil {
			t.Fatal(err)
		}
		var asleep time.Duration
		pauses := 0
		for _, stretch := range f.stretches {
			if stretch.From.Before(f.stretches[0].From.Add(week)) {
				asleep += stretch.length()
				pauses++
			}
		}
		for i, e := range evenings {
			cell := func(ours bool) string {
				r := measured[fmt.Sprint(i, ours)]
				return fmt.Sprint(math.Round(float64(pauses)*r.hours + (asleep.Hours()-float64(pauses))*float64(r.nodes)))
			}
			fmt.Fprintf(&b, "| `%s`, `%s`: %d %% | %s | %.0f | %s | %s |\n", s.Pause, s.Resume, f.Asleep, e.name,
				asleep.Hours()*float64(10+e.inFlight), cell(true), cell(false))
		}
	}
	documented(t, "node-hours", b.String())
}
