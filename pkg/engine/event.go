package engine

import (
	"slices"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// EventType says what happened.
type EventType string

// The types of events, in the order in which a phase brings them.
const (
	PhaseStarted EventType = "phase-started"
	StepStarted  EventType = "step-started" // Message says what and why
	Requested    EventType = "requested"    // the server accepted the write
	Done         EventType = "done"         // the write has had its effect (a deleted object is gone)
	Waiting      EventType = "waiting"      // Message says for what
	Stripped     EventType = "stripped"     // finalizers were removed; Message names them
	Failed       EventType = "failed"       // Err says why
	Kept         EventType = "kept"         // the write was not sent; Message says why
	Left         EventType = "left"         // the phase ended and the object is still there
	PhaseEnded   EventType = "phase-ended"
)

// Event is one thing that happened during a run.
type Event struct {
	Type   EventType
	Time   time.Time
	Phase  *Phase
	Verb   Verb
	Target cluster.Target
	// Operation is that of a Call.
	Operation string
	Message   string
	Err       error
	// Done and Total count the objects of the phase that are finished.
	Done, Total int
}

// Outcome is how one action ended.
type Outcome struct {
	Phase     string      `json:"phase"`
	Verb      Verb        `json:"verb"`
	Object    cluster.Ref `json:"object"`
	Operation string      `json:"operation,omitempty"`
	Result    Result      `json:"result"`
	// Message is the error, what is still waited for, or what a Call said last.
	Message    string   `json:"message,omitempty"`
	Finalizers []string `json:"strippedFinalizers,omitempty"`
}

// Result of an action.
type Result string

// The results.
const (
	ResultDone    Result = "done"    // done, and seen to be done
	ResultGone    Result = "gone"    // there was nothing to do: the object was gone before
	ResultLeft    Result = "left"    // asked for, but the object is still there
	ResultFailed  Result = "failed"  // the server refused
	ResultKept    Result = "kept"    // never sent: it would have hit what nobody judged
	ResultSkipped Result = "skipped" // never tried: the run ended before
)

// ok tells whether nothing more has to be done.
func (r Result) ok() bool { return r == ResultDone || r == ResultGone }

// PhaseTime is how long a phase took.
type PhaseTime struct {
	Name    string        `json:"name"`
	Title   string        `json:"title"`
	Seconds float64       `json:"seconds"`
	Elapsed time.Duration `json:"-"`
}

// Report is what a run did.
type Report struct {
	DryRun   bool        `json:"dryRun,omitempty"`
	Outcomes []Outcome   `json:"outcomes"`
	Phases   []PhaseTime `json:"phases"`
}

// Count returns how many actions of the verbs (none: of any) ended with the
// result. What an earlier phase left and a later one finished is finished.
func (r *Report) Count(result Result, verbs ...Verb) int {
	type write struct {
		verb      Verb
		object    cluster.Ref
		operation string
	}
	last := map[write]Result{}
	for _, o := range r.Outcomes {
		last[write{o.Verb, o.Object, o.Operation}] = o.Result
	}
	n := 0
	for w, l := range last {
		if l == result && (len(verbs) == 0 || slices.Contains(verbs, w.verb)) {
			n++
		}
	}
	return n
}
