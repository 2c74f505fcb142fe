package finalize

import (
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// A pod is deleted without a grace period only if nothing comes of its kubelet: after its own grace
// period, and after the time that Kubernetes gives an unreachable node.
func TestWhenAKubeletIsLost(t *testing.T) {
	const m = time.Minute
	ago := func(d time.Duration) string { return noon.Add(-d).Format(time.RFC3339) }
	young := func(o *cluster.Object) { o.Created = noon.Add(-m) }
	for name, tc := range map[string]struct {
		node   edit          // nil: there is none
		ended  time.Duration // ago; negative: the grace period is not over
		action Rung
		until  time.Duration // from now
		says   string
	}{
		"unreachable for long": {ready("Unknown"), m, DeletePods, 0,
			"is unreachable since"},
		"unreachable, in its grace": {ready("Unknown"), -9 * m, Wait, 9*m + kubeletDelay,
			"is unreachable since 2026-03-01T09:00:00Z"},
		"unreachable only now": {readySince("Unknown", ago(m)), time.Hour, Wait, 4 * m,
			"given up at 12:04:00 UTC"},
		"unreachable, nobody knows": {readySince("Unknown", "yesterday"), time.Hour, Nothing, 0,
			"describe node"},
		"not ready, in its grace": {readySince("False", ago(time.Second)), -m, Wait, m + kubeletDelay,
			"which is not ready since"},
		"not ready for long": {ready("False"), time.Hour, Nothing, 0,
			"reports that it is not ready since"},
		"missing, in its grace": {nil, -m, Wait, m + kubeletDelay,
			"does not exist"},
		"missing, its grace just over": {nil, time.Second, Wait, kubeletDelay - time.Second,
			"does not exist"},
		"missing": {nil, m, DeletePods, 0, "does not exist"},
		"never ready, just made": {young, time.Hour, Wait, 4 * m,
			"never reported"},
		"never ready": {func(*cluster.Object) {}, time.Hour, DeletePods, 0,
			"never reported"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.namespace("x")
			w.add("pods", "x", "p", deletingSince(tc.ended), onNode("n"),
				func(o *cluster.Object) { o.Grace = 10 * m })
			if tc.node != nil {
				w.add("nodes", "", "n", tc.node)
			}
			d := diagnose(t, w, "x", options())
			if len(d.Causes) != 1 {
				t.Fatalf("%+v", d.Causes)
			}
			c := d.Causes[0]
			said := c.Summary + c.Remedy + c.Command + c.Look
			if lost := c.Type == LostPods; c.Action != tc.action || lost != (tc.action == DeletePods) ||
				!strings.Contains(said, tc.says) {
				t.Errorf("%s → %s: %s. %s. %s", c.Type, c.Action, c.Summary, c.Remedy, c.Command)
			}
			if want := noon.Add(tc.until); tc.action == Wait && !c.Until.Equal(want) {
				t.Errorf("until %s, want %s", c.Until, want)
			}
			if want := noon.Add(-tc.ended - 10*m); !c.Since.Equal(want) {
				t.Errorf("since %s, want %s", c.Since, want)
			}
			if forced := strings.Contains(c.Command, "--force"); forced != (tc.action == DeletePods) {
				t.Errorf("the command is %s", c.Command)
			}
			if now := len(unblockActions(d)) > 0; now != (tc.action == DeletePods) {
				t.Errorf("it is deleted now: %t", now)
			}
			shown := Preview([]*Diagnosis{d}, options()).Actions() > 1 // the last one finalizes
			if want := tc.action == DeletePods || tc.action == Wait && !strings.HasPrefix(name, "not ready"); shown != want {
				t.Errorf("the preview shows it: %t", shown)
			}
		})
	}
}

// The last of the objects that were deleted gets its time, too.
func TestTheYoungestGetsItsTime(t *testing.T) {
	w := newWorld()
	w.namespace("x")
	w.add("services", "x", "old", deleting, held("service.kubernetes.io/load-balancer-cleanup"))
	w.add("services", "x", "young", deletingSince(time.Minute), held("service.kubernetes.io/load-balancer-cleanup"))
	o := options()
	o.Allow, o.Partial = Only("service.kubernetes.io/load-balancer-cleanup"), true
	checkCauses(t, diagnose(t, w, "x", o), []want{{Finalizer, Wait, false, []string{"wait until 12:04:00 UTC"}}})
}
