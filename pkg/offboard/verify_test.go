package offboard_test

import (
	"testing"
	"time"

	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/offboard"
)

// The wait at the end is said when it begins, and when it is over.
func TestTheSettleWaitIsSaid(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := serve(t, "")
		w.runner.Settle = 7 * time.Second
		var events []engine.Event
		w.runner.OnEvent = func(e engine.Event) {
			if e.Phase != nil && e.Phase.Name == offboard.PhaseVerify {
				events = append(events, e)
			}
		}
		if _, err := w.offboard(t); err != nil {
			t.Fatal(err)
		}
		want := "Wait 7 s for what may come back, and look again"
		if len(events) != 2 || events[0].Type != engine.PhaseStarted || events[1].Type != engine.PhaseEnded ||
			events[0].Phase.Title != want {
			t.Fatalf("%+v", events)
		}
		if waited := events[1].Time.Sub(events[0].Time); waited < 6*time.Second {
			t.Errorf("it is over after %s", waited)
		}
	})
}

// The settle time passes while the namespaces go: what tells where Cast AI lived goes
// after them, and whoever puts that back would have put back the rest by then.
func TestTheSettleTimePassesBeforeTheRoots(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := serve(t, "")
		w.runner.Settle = 7 * time.Second
		title, roots := "", 0
		w.runner.OnEvent = func(e engine.Event) {
			switch {
			case e.Phase == nil:
			case e.Type == engine.PhaseStarted && e.Phase.Name == offboard.PhaseRoots:
				roots++
				time.Sleep(6 * time.Second) // as long as the namespaces took
			case e.Type == engine.PhaseStarted && e.Phase.Name == offboard.PhaseVerify:
				title = e.Phase.Title
			}
		}
		if _, err := w.offboard(t); err != nil {
			t.Fatal(err)
		}
		if want := "Wait 1 s for what may come back, and look again"; roots != 1 || title != want {
			t.Errorf("%d phases of roots, then %q instead of %q", roots, title, want)
		}
	})
}
