package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// expect counts what a step will have to do.
func (p *phaseRun) expect(actions []Action) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total = len(p.order)
	for _, a := range actions {
		if p.jobs[keyOf(a, a.Verb.removes())] == nil {
			p.total++
		}
	}
}

// step sends the writes of a step. Those that take others along come last, when
// all others have been answered.
func (p *phaseRun) step(ctx context.Context, step *Step) {
	p.expect(step.Actions)
	var taking, others []Action
	for _, a := range step.Actions {
		if p.takes(a) {
			taking = append(taking, a)
		} else {
			others = append(others, a)
		}
	}
	p.act(ctx, p.spare(ctx, others))
	if ctx.Err() == nil {
		p.act(ctx, p.spare(ctx, taking))
	}
}

// spare returns the actions as they are to be sent for what names their objects as
// owners, without those that must not be sent.
func (p *phaseRun) spare(ctx context.Context, actions []Action) []Action {
	var deletions, out []Action
	for _, a := range actions {
		if a.Verb == Delete {
			deletions = append(deletions, a)
		}
	}
	if p.phase.Dependents == nil || p.options.DryRun || len(deletions) == 0 {
		return actions
	}
	orphan, held, err := p.phase.Dependents(ctx, deletions)
	if ctx.Err() != nil {
		return nil // all are skipped
	}
	for _, a := range actions {
		why, stays := held[a.Target.UID]
		late, spares := orphan[a.Target.UID]
		switch {
		case a.Verb != Delete:
		case err != nil:
			p.settle(ctx, p.expected(a), err)
			continue
		case stays:
			p.settle(ctx, p.expected(a), Keep(why))
			continue
		case spares:
			if !a.Orphan {
				p.tell(Event{Type: StepStarted, Message: late})
			}
			a.Orphan = true
		}
		out = append(out, a)
	}
	return out
}

// expected returns the job of an action that is not sent.
func (p *phaseRun) expected(a Action) *job {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.add(a, a.Verb.removes())
}

// takes tells whether Hold is to be asked about an action.
func (p *phaseRun) takes(a Action) bool {
	return p.phase.Hold != nil && a.Verb == Delete && (p.phase.Takes == nil || p.phase.Takes(a))
}

// act sends writes, a bounded number at a time. After ctx ends it starts none;
// those in flight go to their end (pkg/cluster sees to that).
func (p *phaseRun) act(ctx context.Context, actions []Action) {
	var group errgroup.Group
	group.SetLimit(workers)
	for _, a := range actions {
		if ctx.Err() != nil {
			break
		}
		p.mu.Lock()
		j := p.add(a, a.Verb.removes())
		p.mu.Unlock()
		if !p.phase.InOrder {
			group.Go(func() error {
				p.settle(ctx, j, p.do(ctx, j))
				return nil
			})
			continue
		}
		err := p.do(ctx, j)
		if a.Verb == Call && err != nil && ctx.Err() != nil {
			break // not seen through: it is left
		}
		if p.settle(ctx, j, err); err != nil && j.result == ResultFailed {
			break
		}
	}
	// The functions of the group report to the jobs and return nothing.
	_ = group.Wait()
}

// do sends one write or makes a call.
func (p *phaseRun) do(ctx context.Context, j *job) error {
	a, dry := j.action, p.options.DryRun
	if a.Verb == Call {
		if dry {
			return nil
		}
		return a.Do(ctx, func(message string) {
			p.mu.Lock()
			defer p.mu.Unlock()
			j.message = message
			p.tellLocked(Event{Type: Waiting, Verb: Call, Target: a.Target, Operation: a.Operation, Message: message})
		})
	}
	switch a.Verb {
	case Delete:
		return p.delete(ctx, a)
	case Patch:
		if a.Change != nil {
			return retry(ctx, apierrors.IsConflict, func() error { return p.change(ctx, a) })
		}
		return p.cluster.MergePatch(ctx, a.Target, a.Patch, dry)
	case Apply, Create:
		return p.put(ctx, a)
	case StripFinalizers:
		return p.stripNow(ctx, j)
	case Finalize:
		finalize := func() error { return p.cluster.FinalizeNamespace(ctx, a.Target, dry) }
		// A resource version in the target is the state that was judged: if it
		// has changed, whoever judged it must look again.
		if a.Target.ResourceVersion != "" {
			return finalize()
		}
		return retry(ctx, apierrors.IsConflict, finalize)
	case CreateNamespace:
		if dry {
			return nil
		}
		_, err := p.cluster.CreateNamespace(ctx, a.Target.Name, a.Annotations)
		return err
	}
	return fmt.Errorf("%s %s: unknown verb", a.Verb, a.Target.Ref)
}

// delete asks for the deletion of the action's object. What it would take along
// is looked at right before each try: one that comes later needs a new look.
func (p *phaseRun) delete(ctx context.Context, a Action) error {
	if !p.takes(a) || p.options.DryRun {
		return p.send(ctx, a)
	}
	deadline := time.Now().Add(outage)
	for delay, tries := firstDelay, 1; ; delay, tries = 2*delay, tries+1 {
		err := p.send(ctx, a)
		asked, again := cluster.TryLater(err)
		if wait := max(delay, asked); again && tries < attempts && time.Now().Add(wait).Before(deadline) {
			if err := sleep(ctx, wait); err != nil {
				return err
			}
		} else {
			return err
		}
		// The answer may be all that was lost.
		switch o, err := p.cluster.Get(ctx, a.Target); {
		case cluster.IsGone(err, a.Target), err == nil && o.Terminating():
			return nil
		case err != nil:
			return err
		}
	}
}

// held says, as a Keep error, why the action must not be sent.
func (p *phaseRun) held(ctx context.Context, a Action) error {
	if !p.takes(a) || p.options.DryRun {
		return nil
	}
	held, err := p.phase.Hold(ctx, []Action{a})
	if why, stays := held[a.Target.UID]; err == nil && stays {
		return Keep(why)
	}
	return err
}

// send sends a deletion. A conflict means that the object is being deleted
// already, that it was replaced (then the one that was meant is gone, and the new
// one is not ours to touch), or that it has changed since it was judged.
func (p *phaseRun) send(ctx context.Context, a Action) error {
	opts := cluster.DeleteOptions{GracePeriodSeconds: a.GracePeriodSeconds, Orphan: a.Orphan, DryRun: p.options.DryRun,
		Once: p.takes(a)}
	guarded := p.options.Changed != nil && !p.options.DryRun
	return retry(ctx, apierrors.IsConflict, func() error {
		if err := p.held(ctx, a); err != nil {
			return err
		}
		if guarded {
			opts.ResourceVersion = a.Target.ResourceVersion
		}
		err := p.cluster.Delete(ctx, a.Target, opts)
		if !apierrors.IsConflict(err) {
			return err
		}
		o, getErr := p.cluster.Get(ctx, a.Target)
		switch {
		case getErr != nil:
			return getErr
		case o.Terminating():
			return nil
		case !guarded:
			return err
		}
		t, changedErr := p.options.Changed(ctx, a)
		if changedErr != nil {
			return changedErr
		}
		a.Target = t
		return err
	})
}

// sleep waits, or returns the error of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// change patches the object from the state that it is in, and from no other: a
// list in the patch would undo what somebody else did to it.
func (p *phaseRun) change(ctx context.Context, a Action) error {
	o, err := p.cluster.Get(ctx, a.Target, a.Fields...)
	if err != nil {
		return err
	}
	patch, err := a.Change(o)
	if err != nil || len(patch) == 0 {
		return err
	}
	patch = maps.Clone(patch)
	meta, _ := patch["metadata"].(map[string]any)
	if meta = maps.Clone(meta); meta == nil {
		meta = map[string]any{}
	}
	meta["resourceVersion"] = o.ResourceVersion
	patch["metadata"] = meta
	t := a.Target
	t.UID = o.UID
	return p.cluster.MergePatch(ctx, t, patch, p.options.DryRun)
}

// stripNow takes the allowed finalizers off the object in the state that the
// action was decided on, and reads it again when somebody changed it since.
func (p *phaseRun) stripNow(ctx context.Context, j *job) error {
	seen := j.action.Seen
	return retry(ctx, apierrors.IsConflict, func() error {
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
		names := j.action.strippable(o.Finalizers)
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

// settle records how a write went. One that the end of ctx cut short stays open:
// nobody knows whether the server has carried it out.
func (p *phaseRun) settle(ctx context.Context, j *job, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := Event{Verb: j.action.Verb, Target: j.action.Target, Operation: j.action.Operation}
	var kept *keep
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
	case errors.As(err, &kept):
		p.end(j, ResultKept)
		j.message = kept.why
		e.Type, e.Message = Kept, kept.why
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		j.message = "the run ended before the server answered"
		return
	default:
		p.end(j, ResultFailed)
		j.message = err.Error()
		e.Type, e.Err, e.Message = Failed, err, err.Error()
	}
	p.tellLocked(e)
}

// retry does f again while its answer is one that the next try may better: a
// conflict for a write that reads the object afresh, say. What a connection or a
// server in trouble needs is up to pkg/cluster.
func retry(ctx context.Context, retriable func(error) bool, f func() error) error {
	backoff := wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: attempts}
	var last error
	err := wait.ExponentialBackoffWithContext(ctx, backoff, func(context.Context) (bool, error) {
		if last = f(); last != nil && retriable(last) {
			return false, nil
		}
		return true, last
	})
	if wait.Interrupted(err) && last != nil && ctx.Err() == nil {
		return last
	}
	return err
}
