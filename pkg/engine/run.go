package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Cluster is what the engine needs of a cluster.
type Cluster interface {
	Delete(ctx context.Context, t cluster.Target, o cluster.DeleteOptions) error
	MergePatch(ctx context.Context, t cluster.Target, patch map[string]any, dry bool) error
	StripFinalizers(ctx context.Context, t cluster.Target, o *cluster.Object, names []string, dry bool) error
	FinalizeNamespace(ctx context.Context, t cluster.Target, dry bool) error
	CreateNamespace(ctx context.Context, name string, annotations map[string]string) (cluster.Target, error)
	Apply(ctx context.Context, t cluster.Target, content map[string]any, o cluster.ApplyOptions) error
	Get(ctx context.Context, t cluster.Target, fields ...[]string) (*cluster.Object, error)
	Follow(ctx context.Context, targets []cluster.Target, see func(cluster.Sighting)) error
}

// Options of a run.
type Options struct {
	// DryRun sends every write with dryRun=All and waits for nothing.
	DryRun bool
	// OnEvent is called for each event, from one goroutine at a time.
	OnEvent func(Event)
}

// Bounds of a run.
const (
	workers         = 16               // writes in flight
	maxStrips       = 3                // how often a finalizer that comes back is taken off
	defaultPatience = 10 * time.Second // without any change
	attempts        = 6                // of one write, while errors may pass
)

// ErrTimeout is the cause of a run that ended at a deadline.
var ErrTimeout = errors.New("timed out")

// ErrGate ends a run before the phases that depend on one that did not finish.
var ErrGate = errors.New("what depends on it was not started")

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
	return Outcome{Phase: phase.Name, Verb: a.Verb, Object: a.Target.Ref, Result: ResultSkipped}
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
// name is another job, and so are a write that is over when it is sent and the
// wait for the object to be gone.
type jobKey struct {
	ref  cluster.Ref
	uid  types.UID
	wait bool
}

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
		phaseCtx, cancel = context.WithTimeoutCause(ctx, phase.Timeout, fmt.Errorf("%s: %w after %s", phase.Title, ErrTimeout, phase.Timeout))
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
			r.emit(Event{Type: Left, Phase: phase, Verb: j.action.Verb, Target: j.action.Target, Message: j.message})
		}
		if j.result == ResultFailed || j.result == ResultLeft {
			failed++
		}
		if j.action.Verb == "" && j.result != ResultLeft {
			continue // only waited for, and gone
		}
		r.report.Outcomes = append(r.report.Outcomes, Outcome{
			Phase: phase.Name, Verb: j.action.Verb, Object: key.ref, Result: j.result, Message: j.message, Finalizers: j.strips,
		})
	}
	for _, a := range phase.Actions {
		if p.jobs[jobKey{a.Target.Ref, a.Target.UID, a.Verb.removes()}] == nil {
			r.report.Outcomes = append(r.report.Outcomes, skipped(phase, a))
		}
	}
	elapsed := time.Since(start)
	r.report.Phases = append(r.report.Phases, PhaseTime{Name: phase.Name, Title: phase.Title, Elapsed: elapsed, Seconds: elapsed.Seconds()})
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
		p.act(ctx, step.Actions)
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
	key := jobKey{a.Target.Ref, a.Target.UID, mustGo}
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

// act sends the writes, a bounded number at a time. After ctx ends it starts
// none; those in flight go to their end.
func (p *phaseRun) act(ctx context.Context, actions []Action) {
	p.mu.Lock()
	p.total = len(p.order)
	for _, a := range actions {
		if p.jobs[jobKey{a.Target.Ref, a.Target.UID, a.Verb.removes()}] == nil {
			p.total++
		}
	}
	p.mu.Unlock()
	var group errgroup.Group
	group.SetLimit(workers)
	for _, a := range actions {
		if ctx.Err() != nil {
			break
		}
		p.mu.Lock()
		j := p.add(a, a.Verb.removes())
		p.mu.Unlock()
		group.Go(func() error {
			err := p.do(context.WithoutCancel(ctx), j)
			p.settle(j, err)
			return nil
		})
	}
	// The functions of the group report to the jobs and return nothing.
	_ = group.Wait()
}

// do sends one write.
func (p *phaseRun) do(ctx context.Context, j *job) error {
	a, dry := j.action, p.options.DryRun
	switch a.Verb {
	case Delete:
		return retry(ctx, isPassing, func() error { return p.delete(ctx, a) })
	case Patch:
		return retry(ctx, isPassing, func() error { return p.cluster.MergePatch(ctx, a.Target, a.Patch, dry) })
	case Apply:
		return p.apply(ctx, a)
	case StripFinalizers:
		return p.stripNow(ctx, j)
	case Finalize:
		// A resource version in the target is the state that was judged: if it
		// has changed, whoever judged it must look again.
		may := isPassing
		if a.Target.ResourceVersion == "" {
			may = isPassingOrConflict
		}
		return retry(ctx, may, func() error { return p.cluster.FinalizeNamespace(ctx, a.Target, dry) })
	case CreateNamespace:
		if dry {
			return nil
		}
		_, err := p.cluster.CreateNamespace(ctx, a.Target.Name, a.Annotations)
		return err
	}
	return fmt.Errorf("%s %s: unknown verb", a.Verb, a.Target.Ref)
}

// delete asks for the deletion of the action's object. A conflict means that
// the object is being deleted already, or that it was replaced: then the one
// that was meant is gone, and the new one is not ours to touch.
func (p *phaseRun) delete(ctx context.Context, a Action) error {
	err := p.cluster.Delete(ctx, a.Target, cluster.DeleteOptions{GracePeriodSeconds: a.GracePeriodSeconds, DryRun: p.options.DryRun})
	if !apierrors.IsConflict(err) {
		return err
	}
	o, getErr := p.cluster.Get(ctx, a.Target)
	switch {
	case getErr != nil:
		return getErr
	case o.Terminating():
		return nil
	}
	return err
}

// stripNow takes the allowed finalizers off the object in the state that the
// action was decided on, and reads it again when somebody changed it since.
func (p *phaseRun) stripNow(ctx context.Context, j *job) error {
	seen := j.action.Seen
	return retry(ctx, isPassingOrConflict, func() error {
		o := seen
		seen = nil
		if o == nil {
			var err error
			if o, err = p.cluster.Get(ctx, j.action.Target); err != nil {
				return err
			}
		}
		if !o.Terminating() {
			return fmt.Errorf("%s is not being deleted: its finalizers stay", j.action.Target.Ref)
		}
		names := allowed(o.Finalizers, j.action.Finalizers)
		if len(names) == 0 {
			return nil
		}
		if err := p.cluster.StripFinalizers(ctx, j.action.Target, o, names, p.options.DryRun); err != nil {
			return err
		}
		p.stripped(j, names)
		return nil
	})
}

func (p *phaseRun) stripped(j *job, names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j.strips = append(j.strips, names...)
	j.tries++
	p.tellLocked(Event{Type: Stripped, Verb: j.action.Verb, Target: j.action.Target, Message: strings.Join(names, ", ")})
}

// settle records how a write went.
func (p *phaseRun) settle(j *job, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := Event{Verb: j.action.Verb, Target: j.action.Target}
	switch {
	case err == nil && (!j.wait || p.options.DryRun):
		p.end(j, ResultDone)
		e.Type = Done
	case err == nil:
		e.Type = Requested
	case j.wait && cluster.IsGone(err, j.action.Target):
		p.end(j, ResultGone)
		e.Type = Done
	case j.action.Verb == Patch && cluster.IsGone(err, j.action.Target):
		p.end(j, ResultGone)
		e.Type = Done
	case j.action.Verb == CreateNamespace && apierrors.IsAlreadyExists(err):
		p.end(j, ResultDone)
		e.Type = Done
	default:
		p.end(j, ResultFailed)
		j.message = err.Error()
		e.Type, e.Err, e.Message = Failed, err, err.Error()
	}
	p.tellLocked(e)
}

// watch follows everything that must go, and takes finalizers off where the
// actions allow it, until all is gone or nothing has changed for patience.
func (p *phaseRun) watch(ctx context.Context, patience time.Duration) error {
	var targets []cluster.Target
	p.mu.Lock()
	for _, key := range p.order {
		if j := p.jobs[key]; j.wait && j.result == "" {
			targets = append(targets, j.action.Target)
		}
	}
	p.mu.Unlock()
	if len(targets) == 0 {
		return nil
	}

	watchCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	var strips sync.WaitGroup
	ended := make(chan error, 1)
	go func() {
		ended <- p.cluster.Follow(watchCtx, targets, func(s cluster.Sighting) { p.see(watchCtx, s, &strips) })
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case err := <-ended:
			strips.Wait()
			if err != nil && ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		case <-p.changed:
			timer.Reset(patience)
		case <-timer.C:
			cancel()
			err := <-ended
			strips.Wait()
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		}
	}
}

// see takes in one look at an object that must go.
func (p *phaseRun) see(ctx context.Context, s cluster.Sighting, strips *sync.WaitGroup) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[jobKey{s.Target.Ref, s.Target.UID, true}]
	if j.result != "" {
		return
	}
	if s.Object == nil {
		p.end(j, ResultDone)
		j.message = ""
		p.tellLocked(Event{Type: Done, Verb: j.action.Verb, Target: s.Target})
		return
	}
	if !s.Object.Terminating() {
		return
	}
	message := "it is being deleted"
	if len(s.Object.Finalizers) > 0 {
		message = "finalizers: " + strings.Join(s.Object.Finalizers, ", ")
	}
	if back := allowed(s.Object.Finalizers, j.strips); len(back) > 0 {
		message = fmt.Sprintf("the finalizers %s were removed and put back; last written by %s", strings.Join(back, ", "), strings.Join(s.Object.Managers, ", "))
	}
	if message != j.message {
		j.message = message
		p.tellLocked(Event{Type: Waiting, Verb: j.action.Verb, Target: s.Target, Message: message})
	}
	names := allowed(s.Object.Finalizers, j.action.Finalizers)
	if len(names) == 0 {
		return
	}
	if j.tries >= maxStrips {
		return
	}
	delay := time.Until(s.Object.Deleting.Add(j.action.StripAfter))
	strips.Go(func() {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		// A conflict brings a new sighting, and with it the next try.
		err := p.cluster.StripFinalizers(context.WithoutCancel(ctx), s.Target, s.Object, names, false)
		switch {
		case err == nil:
			p.stripped(j, names)
		case apierrors.IsConflict(err), cluster.IsGone(err, s.Target):
		default:
			p.settle(j, fmt.Errorf("can't remove the finalizers %s: %w", strings.Join(names, ", "), err))
		}
	})
}

// allowed returns those of the finalizers on an object that may be removed.
func allowed(on, may []string) []string {
	if slices.Contains(may, AnyFinalizer) {
		return slices.Clone(on)
	}
	var out []string
	for _, f := range on {
		if slices.Contains(may, f) {
			out = append(out, f)
		}
	}
	return out
}

// retry does f again while retriable says that the error may pass. client-go
// itself waits out answers that carry Retry-After.
func retry(ctx context.Context, retriable func(error) bool, f func() error) error {
	backoff := wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: attempts}
	var last error
	err := wait.ExponentialBackoffWithContext(ctx, backoff, func(context.Context) (bool, error) {
		if last = f(); last != nil && retriable(last) {
			return false, nil
		}
		return true, last
	})
	if wait.Interrupted(err) && last != nil {
		return last
	}
	return err
}

// isPassing tells whether the same request may succeed in a moment.
func isPassing(err error) bool {
	return apierrors.IsTooManyRequests(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err) ||
		utilnet.IsConnectionReset(err) || utilnet.IsConnectionRefused(err) || utilnet.IsProbableEOF(err)
}

// isPassingOrConflict is for writes that read the object afresh each time.
func isPassingOrConflict(err error) bool { return isPassing(err) || apierrors.IsConflict(err) }

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
