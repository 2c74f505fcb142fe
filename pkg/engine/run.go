package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Cluster is what the engine needs of a cluster.
type Cluster interface {
	Delete(ctx context.Context, t cluster.Target, o cluster.DeleteOptions) error
	MergePatch(ctx context.Context, t cluster.Target, patch map[string]any, dry bool) error
	StripFinalizers(ctx context.Context, t cluster.Target, o *cluster.Object, names []string, dry bool) error
	FinalizeNamespace(ctx context.Context, t cluster.Target, dry bool) error
	CreateNamespace(ctx context.Context, name string, annotations map[string]string) (cluster.Target, error)
	Apply(ctx context.Context, t cluster.Target, content map[string]any, dryRun bool) error
	Create(ctx context.Context, t cluster.Target, content map[string]any, dryRun bool) error
	Get(ctx context.Context, t cluster.Target, fields ...[]string) (*cluster.Object, error)
	Follow(ctx context.Context, targets []cluster.Target, see func(cluster.Sighting)) error
	Look(ctx context.Context, targets []cluster.Target, see func(cluster.Sighting)) error
}

// Options of a run.
type Options struct {
	// DryRun sends every write with dryRun=All and waits for nothing.
	DryRun bool
	// Changed is asked about an object that has changed since it was judged, and
	// returns the state of it that may be deleted, or a Keep error. With it, a
	// deletion hits the resourceVersion of its target and no other; without, only
	// the UID counts.
	Changed func(ctx context.Context, a Action) (cluster.Target, error)
	// OnEvent is called for each event, from one goroutine at a time.
	OnEvent func(Event)
}

// Bounds of a run.
const (
	workers         = 16               // writes in flight
	maxStrips       = 3                // how often a finalizer that comes back is taken off
	defaultPatience = 10 * time.Second // without any change
	away            = time.Second      // that a server takes longer to list has been away
	attempts        = 6                // of one write, while the answer may be another one
	outage          = time.Minute      // of a server that is waited for
	firstDelay      = 500 * time.Millisecond
)

// ErrTimeout is the cause of a run that ended at a deadline.
var ErrTimeout = errors.New("timed out")

// ErrGate ends a run before the phases that depend on one that did not finish.
var ErrGate = errors.New("what depends on it was not started")

// keep is the error of Keep.
type keep struct{ why string }

func (k *keep) Error() string { return k.why }

// Keep returns the error for an object that must not be deleted after all: the
// action ends as ResultKept.
func Keep(why string) error { return &keep{why} }

// Run carries out the plan phase by phase and returns what became of each
// action. It goes on after failed actions and after phases that leave objects,
// so that the report is complete, unless the phase is a gate. The error is for
// a run that ended early: the cause of ctx, ErrGate, or a planner's error.
func Run(ctx context.Context, c Cluster, plan *Plan, o Options) (*Report, error) {
	r := &runner{cluster: c, options: o, report: &Report{DryRun: o.DryRun}}
	for i := range plan.Phases {
		phase := &plan.Phases[i]
		if err := r.phase(ctx, phase); err != nil {
			for _, rest := range plan.Phases[i+1:] {
				for _, a := range rest.Actions {
					r.report.Outcomes = append(r.report.Outcomes, skipped(&rest, a))
				}
			}
			return r.report, err
		}
	}
	return r.report, nil
}

func skipped(phase *Phase, a Action) Outcome {
	return Outcome{Phase: phase.Name, Verb: a.Verb, Object: a.Target.Ref, Operation: a.Operation, Result: ResultSkipped}
}

// runner is the state of one run.
type runner struct {
	cluster Cluster
	options Options
	report  *Report

	mu sync.Mutex
}

// job is an object that a phase has something to do with.
type job struct {
	action  Action
	wait    bool   // must be gone at the end
	result  Result // set by phaseRun.end only
	message string
	strips  []string
	tries   int
	// ends is when the object is to be gone by its own grace period, seen is when
	// it was first seen being deleted: both by the clock of this machine.
	ends, seen time.Time
}

// phaseRun is the state of one phase.
type phaseRun struct {
	*runner
	phase   *Phase
	jobs    map[jobKey]*job
	order   []jobKey
	done    int           // jobs that are done or gone
	total   int           // jobs there are and will be in this round
	changed chan struct{} // something happened: patience starts anew
}

// jobKey tells jobs apart. An object that took the place of another of the same
// name is another job, and so are a write that is over when it is sent, the wait
// for the object to be gone, and each operation of a call.
type jobKey struct {
	ref       cluster.Ref
	uid       types.UID
	wait      bool
	operation string
}

func keyOf(a Action, wait bool) jobKey { return jobKey{a.Target.Ref, a.Target.UID, wait, a.Operation} }

func (r *runner) emit(e Event) {
	if r.options.OnEvent == nil {
		return
	}
	e.Time = time.Now()
	r.options.OnEvent(e)
}

// phase runs one phase to its end.
func (r *runner) phase(ctx context.Context, phase *Phase) error {
	start := time.Now()
	p := &phaseRun{runner: r, phase: phase, jobs: map[jobKey]*job{}, changed: make(chan struct{}, 1)}
	if !r.options.DryRun {
		for _, t := range phase.WaitFor {
			p.add(Action{Target: t}, true)
		}
	}
	r.mu.Lock()
	r.emit(Event{Type: PhaseStarted, Phase: phase, Total: len(phase.Actions)})
	r.mu.Unlock()

	phaseCtx := ctx
	if phase.Timeout > 0 {
		var cancel context.CancelFunc
		phaseCtx, cancel = context.WithTimeoutCause(ctx, phase.Timeout,
			fmt.Errorf("%s: %w after %s", phase.Title, ErrTimeout, phase.Timeout))
		defer cancel()
	}
	err := p.rounds(phaseCtx)
	if err != nil && errors.Is(err, ErrTimeout) && ctx.Err() == nil {
		err = nil // the phase's own deadline: what it leaves is in the report
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	failed := 0
	// Of several jobs on one object the last tells what became of it: whether it
	// is gone.
	slices.SortStableFunc(p.order, func(a, b jobKey) int { return compareBool(a.wait, b.wait) })
	for _, key := range p.order {
		j := p.jobs[key]
		if j.result == "" {
			p.end(j, ResultLeft)
			r.emit(Event{Type: Left, Phase: phase, Verb: j.action.Verb, Target: j.action.Target, Operation: key.operation,
				Message: j.message})
		}
		if j.result == ResultFailed || j.result == ResultLeft || j.result == ResultKept {
			failed++
		}
		if j.action.Verb == "" && j.result != ResultLeft {
			continue // only waited for, and gone
		}
		r.report.Outcomes = append(r.report.Outcomes, Outcome{
			Phase: phase.Name, Verb: j.action.Verb, Object: key.ref, Operation: key.operation, Result: j.result,
			Message: j.message, Finalizers: j.strips,
		})
	}
	for _, a := range phase.Actions {
		if p.jobs[keyOf(a, a.Verb.removes())] == nil {
			r.report.Outcomes = append(r.report.Outcomes, skipped(phase, a))
		}
	}
	elapsed := time.Since(start)
	r.report.Phases = append(r.report.Phases, PhaseTime{Name: phase.Name, Title: phase.Title, Elapsed: elapsed,
		Seconds: elapsed.Seconds()})
	done, total := p.count()
	r.emit(Event{Type: PhaseEnded, Phase: phase, Done: done, Total: total, Err: err})
	if err == nil && failed > 0 && phase.Gate {
		return fmt.Errorf("%s: %s not finished; %w", phase.Title, objects(failed), ErrGate)
	}
	return err
}

// rounds does the actions of the phase, then those of its further steps, until
// nothing is left or nothing more can be done.
func (p *phaseRun) rounds(ctx context.Context) error {
	step := &Step{Actions: p.phase.Actions, Patience: p.phase.Patience}
	for step != nil {
		if step.Title != "" {
			p.tell(Event{Type: StepStarted, Message: step.Title})
		}
		p.step(ctx, step)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if p.options.DryRun {
			return nil
		}
		if p.phase.Ready != nil {
			if err := p.phase.Ready(ctx); err != nil {
				return err
			}
		}
		if step.Patience == 0 {
			step.Patience = defaultPatience
		}
		if err := p.watch(ctx, step.Patience); err != nil {
			return err
		}
		left := p.left()
		if len(left) == 0 || p.phase.Next == nil {
			return nil
		}
		var err error
		if step, err = p.phase.Next(ctx, left); err != nil {
			return err
		}
	}
	return nil
}

func (p *phaseRun) add(a Action, mustGo bool) *job {
	key := keyOf(a, mustGo)
	if j, ok := p.jobs[key]; ok {
		// A further step on the same object: what was allowed before still is.
		a.Finalizers = append(slices.Clone(j.action.Finalizers), a.Finalizers...)
		j.action, j.tries = a, 0
		p.end(j, "")
		return j
	}
	j := &job{action: a, wait: mustGo}
	p.jobs[key] = j
	p.order = append(p.order, key)
	return j
}

// end sets the result of a job; none starts it anew.
func (p *phaseRun) end(j *job, r Result) {
	if j.result.ok() {
		p.done--
	}
	if j.result = r; r.ok() {
		p.done++
	}
}

func (p *phaseRun) tell(e Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tellLocked(e)
}

func (p *phaseRun) tellLocked(e Event) {
	e.Phase = p.phase
	e.Done, e.Total = p.count()
	p.emit(e)
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

func (p *phaseRun) count() (done, total int) { return p.done, max(p.total, len(p.order)) }

// left returns the objects that must go and have not gone.
func (p *phaseRun) left() []cluster.Target {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []cluster.Target
	for _, key := range p.order {
		if j := p.jobs[key]; j.wait && (j.result == "" || j.result == ResultFailed) {
			out = append(out, j.action.Target)
		}
	}
	return out
}

// compareBool sorts false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func objects(n int) string {
	if n == 1 {
		return "1 object"
	}
	return fmt.Sprintf("%d objects", n)
}
