package printer

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/castai/kubectl-castai/pkg/engine"
)

// Progress shows a run as it happens: a line when a phase starts and ends, and
// for what is out of the ordinary in between. Where that happens to many
// objects, it counts them instead. On a terminal, what goes on is shown below.
type Progress struct {
	text     *Text
	live     *live // nil where lines can't be drawn over
	started  time.Time
	dryRun   bool
	told     time.Time      // when the count was last shown
	stripped map[string]int // objects by the finalizers removed, that have no line
	removed  int            // their number
}

// Bounds of what gets lines of its own.
const (
	mostLines = 50
	interval  = 2 * time.Second
)

// NewProgress writes to w, which should not be where data goes.
func NewProgress(w io.Writer, dryRun bool) *Progress {
	t := NewTerminal(w, ColorAuto)
	p := &Progress{text: NewText(t), dryRun: dryRun}
	switch {
	case t.Quiet:
		p.text = NewText(io.Discard)
	case t.Live:
		p.live = &live{terminal: t}
		p.text.w = &p.live.lines
		t.live.Store(p.live)
	}
	return p
}

// Event takes in one event of a run.
func (p *Progress) Event(e engine.Event) {
	if p.live == nil {
		p.tell(e)
		return
	}
	p.live.mu.Lock()
	defer p.live.mu.Unlock()
	p.tell(e)
	p.live.see(e)
}

// tell writes what an event has lines for.
func (p *Progress) tell(e engine.Event) {
	switch e.Type {
	case engine.PhaseStarted:
		p.started, p.told, p.stripped, p.removed = e.Time, e.Time, map[string]int{}, 0
		if e.Total == 0 {
			p.text.heading("%s", e.Phase.Title) // it begins with a look
			return
		}
		p.text.heading("%s (%s)", e.Phase.Title, size(e.Phase))
	case engine.StepStarted:
		p.text.line("  %s", e.Message)
	case engine.Stripped:
		if e.Total > mostLines {
			p.stripped[e.Message]++
			p.removed++
			p.tick(e, "finalizers removed from %d of %d objects", p.removed)
			return
		}
		p.text.line("  %s: removed the finalizers %s", e.Target.Ref, e.Message)
	case engine.Failed:
		if e.Verb == engine.Call {
			p.text.alarm("  %s failed: %s", e.Operation, e.Message)
			return
		}
		p.text.alarm("  %s: %s", e.Target.Ref, e.Message)
	case engine.Kept:
		p.text.alarm("  %s stays: %s", e.Target.Ref, e.Message)
	case engine.Left:
		if e.Verb == engine.Call {
			p.text.line("  %s did not finish: %s", e.Operation, e.Message)
			return
		}
		if e.Phase.Optional {
			p.text.line("  %s was not cleaned up by its controller in time: it is asked to go later, without its controller",
				e.Target.Ref)
			return
		}
		p.text.alarm("  %s is still there%s", e.Target.Ref, prefixed(": ", e.Message))
	case engine.PhaseEnded:
		for _, names := range slices.Sorted(maps.Keys(p.stripped)) {
			p.text.line("  removed the finalizers %s from %s", names, count(p.stripped[names], "object"))
		}
		if e.Total == 0 {
			p.text.line("  done in %s", seconds(e.Time.Sub(p.started)))
			return
		}
		result := "done"
		if p.dryRun {
			result = "accepted"
		}
		if e.Done < e.Total {
			// Pods that are waited for count here, too.
			result = fmt.Sprintf("%d of %d steps %s", e.Done, e.Total, result)
		}
		p.text.line("  %s in %s", result, seconds(e.Time.Sub(p.started)))
	case engine.Requested, engine.Done, engine.Waiting:
		if e.Verb == engine.Call && e.Type == engine.Waiting && !p.dryRun {
			p.text.line("  %s: %s", e.Operation, e.Message)
			return
		}
		if e.Total > mostLines {
			p.tick(e, "%d of %d objects", e.Done)
		}
	}
}

// tick shows now and then how far a long phase is.
func (p *Progress) tick(e engine.Event, format string, n int) {
	if p.live != nil || e.Time.Sub(p.told) < interval {
		return
	}
	p.told = e.Time
	p.text.line("  "+format, n, e.Total)
}
