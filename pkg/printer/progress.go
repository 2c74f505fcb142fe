package printer

import (
	"fmt"
	"io"
	"time"

	"github.com/castai/kubectl-castai/pkg/engine"
)

// Progress shows a run as it happens: a line when a phase starts and ends, and
// for what is out of the ordinary in between.
type Progress struct {
	text    *Text
	started time.Time
	dryRun  bool
}

// NewProgress writes to w, which should not be where data goes.
func NewProgress(w io.Writer, dryRun bool) *Progress {
	return &Progress{text: NewText(w), dryRun: dryRun}
}

// Event takes in one event of a run.
func (p *Progress) Event(e engine.Event) {
	switch e.Type {
	case engine.PhaseStarted:
		p.started = e.Time
		p.text.line("%s (%s)", e.Phase.Title, count(e.Total, "object"))
	case engine.StepStarted:
		p.text.line("  %s", e.Message)
	case engine.Stripped:
		p.text.line("  %s: removed the finalizers %s", e.Target.Ref, e.Message)
	case engine.Failed:
		p.text.line("  %s: %s", e.Target.Ref, e.Message)
	case engine.Left:
		message := e.Message
		if message == "" {
			message = "it did not go in time"
		}
		p.text.line("  %s is still there: %s", e.Target.Ref, message)
	case engine.PhaseEnded:
		verb := "done"
		if p.dryRun {
			verb = "accepted"
		}
		p.text.line("  %s in %s", fmt.Sprintf("%d of %d %s", e.Done, e.Total, verb), seconds(e.Time.Sub(p.started)))
	case engine.Requested, engine.Done, engine.Waiting:
	}
}
