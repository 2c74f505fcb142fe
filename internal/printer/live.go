package printer

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/clipperhouse/displaywidth"

	"github.com/castai/kubectl-castai/pkg/engine"
)

// live is the part of a terminal below the lines that stay: how far the phase
// is, and what it is at. It is drawn over again and again.
type live struct {
	terminal *Terminal

	mu      sync.Mutex
	lines   bytes.Buffer // that stay, and are not on the screen yet
	drawn   []string     // below them
	drawnAt time.Time

	phase   *engine.Phase // nil between phases
	stop    chan struct{} // closed when the phase ends
	started time.Time
	at      time.Time // of the last event, by its own clock
	seen    time.Time // and by ours
	done    int
	total   int
	last    string // what something happened to last
	waiting []wait // for what was asked for and has not happened, oldest first
}

// wait is for an object or a call, since a time, and why if that is known.
type wait struct {
	name  string
	since time.Time
	why   string
}

// eraseBelow takes away all from the cursor on (ECMA-48, ED).
const eraseBelow = "\x1b[J"

// How a live display looks.
const (
	redraw    = 200 * time.Millisecond
	barWidth  = 20
	barNeeds  = 60 // columns, for there to be a bar
	rightEdge = 3  // columns that stay free, where Ctrl-C shows as ^C
	patience  = 2 * time.Second
)

// see takes in an event, after its lines were added, and shows them. The caller
// holds the lock, here and below.
func (l *live) see(e engine.Event) {
	l.done, l.total, l.at, l.seen = e.Done, e.Total, e.Time, time.Now()
	switch e.Type {
	case engine.PhaseStarted:
		l.phase, l.started, l.last, l.waiting = e.Phase, e.Time, "", nil
		l.stop = make(chan struct{})
		go l.run(l.stop)
	case engine.PhaseEnded:
		close(l.stop)
		l.phase = nil
	case engine.Requested, engine.Waiting:
		l.await(e)
	case engine.Done, engine.Failed, engine.Kept, engine.Left:
		l.last = subject(e)
		l.waiting = slices.DeleteFunc(l.waiting, func(w wait) bool { return w.name == l.last })
	case engine.StepStarted, engine.Stripped:
	}
	if l.phase == nil || l.lines.Len() > 0 || time.Since(l.drawnAt) >= redraw {
		l.draw(e.Time)
	}
}

// subject is what an event is about: an object, or what is done elsewhere.
func subject(e engine.Event) string {
	if e.Verb == engine.Call {
		return e.Operation
	}
	return e.Target.String()
}

// Write puts lines that somebody else has for the user above what is drawn.
func (l *live) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines.Write(p)
	l.draw(l.at.Add(time.Since(l.seen)))
	return len(p), nil
}

// await adds what an event asked for to what is waited for.
func (l *live) await(e engine.Event) {
	l.last = subject(e)
	i := slices.IndexFunc(l.waiting, func(w wait) bool { return w.name == l.last })
	if i < 0 {
		i = len(l.waiting)
		l.waiting = append(l.waiting, wait{name: l.last, since: e.Time})
	}
	if e.Message != "" {
		l.waiting[i].why = e.Message
	}
}

// run keeps the time that is shown up to date.
func (l *live) run(stop <-chan struct{}) {
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			l.mu.Lock()
			if l.phase != nil {
				l.draw(l.at.Add(time.Since(l.seen)))
			}
			l.mu.Unlock()
		}
	}
}

// draw shows the lines that stay, and below them, during a phase, how things
// are at a time. It is one write, so that nothing flickers. On a terminal that
// has become narrower, nobody knows on how many lines that is what was drawn
// before: it stays, and what follows begins below.
func (l *live) draw(now time.Time) {
	var out strings.Builder
	switch {
	case l.narrower():
		out.WriteString("\r\n")
	case len(l.drawn) > 0:
		out.WriteString("\r" + up(len(l.drawn)-1) + eraseBelow)
	}
	out.Write(l.lines.Bytes())
	l.lines.Reset()
	l.drawn, l.drawnAt = nil, time.Now()
	if width := l.terminal.Width() - rightEdge; l.phase != nil && width > 0 {
		for i, line := range []string{l.count(now, width), l.work(now)} {
			if i > 0 {
				out.WriteString("\r\n")
			}
			line = displaywidth.TruncateString(line, width, "…")
			l.drawn = append(l.drawn, line)
			out.WriteString(l.terminal.paint(line, faint))
		}
	}
	_, _ = io.WriteString(l.terminal.w, out.String()) // progress that can't be shown stops nothing
}

// narrower tells whether what was drawn does not fit any more.
func (l *live) narrower() bool {
	width := l.terminal.Width()
	return slices.ContainsFunc(l.drawn, func(line string) bool { return displaywidth.String(line) > width })
}

// up moves the cursor (ECMA-48, CUU).
func up(lines int) string {
	if lines == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA", lines)
}

// count says how far the phase is, since when, and when it is given up.
func (l *live) count(now time.Time, width int) string {
	elapsed := now.Sub(l.started)
	text := whole(elapsed)
	if l.phase.Timeout > 0 {
		text += " (limit " + whole(l.phase.Timeout) + ")"
	}
	if l.total > 0 {
		text = fmt.Sprintf("%d of %d, %s", l.done, l.total, text)
	}
	bar := ""
	if width >= barNeeds && l.total > 0 {
		full := barWidth * min(l.done, l.total) / l.total
		bar = "[" + strings.Repeat("#", full) + strings.Repeat(".", barWidth-full) + "] "
	}
	return "  " + bar + text
}

// work says what the phase is at: what it has been waiting for longest, and
// why, or what it did last.
func (l *live) work(now time.Time) string {
	if len(l.waiting) > 0 && now.Sub(l.waiting[0].since) >= patience {
		w := l.waiting[0]
		text := "  waiting for " + w.name
		if n := len(l.waiting) - 1; n > 0 {
			text += fmt.Sprintf(" and %d more", n)
		}
		if w.why != "" {
			text += ": " + w.why
		}
		return Escape(text)
	}
	if l.last != "" {
		return Escape("  " + l.last)
	}
	return "  looking"
}

// whole is a time for people, in seconds or in minutes and seconds.
func whole(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%d s", int(d.Seconds()))
	}
	if d%time.Minute < time.Second {
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
}
