package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// watch follows everything that must go, and takes finalizers off where the
// actions allow it, until all is gone or nothing has changed for patience.
func (p *phaseRun) watch(ctx context.Context, patience time.Duration) error {
	targets := p.awaited()
	if len(targets) == 0 {
		return nil
	}
	watchCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	var strips sync.WaitGroup
	defer strips.Wait()
	see := func(s cluster.Sighting) { p.see(watchCtx, s, &strips) }
	ended := make(chan error, 1)
	go func() { ended <- p.cluster.Follow(watchCtx, targets, see) }()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for waited := false; ; {
		select {
		case err := <-ended:
			return ending(ctx, err)
		case <-p.changed:
			timer.Reset(patience)
			continue
		case <-timer.C:
		}
		if grace := p.grace(); grace > 0 {
			timer.Reset(grace + patience)
			continue
		}
		// A dead watch says, too, that nothing changes, and so does a server that
		// is away. Once it is back, controllers need a moment to come back as well.
		began := time.Now()
		err := p.cluster.Look(ctx, p.awaited(), see)
		switch left := len(p.awaited()); {
		case err == nil && left > 0 && len(p.changed) > 0:
			continue
		case err == nil && left > 0 && !waited && time.Since(began) > away:
			waited = true
			timer.Reset(patience)
			continue
		}
		cancel()
		return ending(ctx, errors.Join(err, ignoreCanceled(<-ended)))
	}
}

// grace returns how long the pods among what must go may still take by their
// own terminationGracePeriodSeconds (BeforeDelete, k8s.io/apiserver
// pkg/registry/rest/delete.go), counted from when they were first seen being
// deleted: the clock of the server, which is in the deletionTimestamp, may be
// another one.
func (p *phaseRun) grace() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var last time.Time
	for _, j := range p.jobs {
		if j.wait && j.result == "" && j.ends.After(last) {
			last = j.ends
		}
	}
	return time.Until(last)
}

// ending returns the error of watching: the cause, if the end of ctx is all.
func ending(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// awaited returns what must go and of which it is not known yet that it has.
func (p *phaseRun) awaited() []cluster.Target {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []cluster.Target
	for _, key := range p.order {
		if j := p.jobs[key]; j.wait && j.result == "" {
			out = append(out, j.action.Target)
		}
	}
	return out
}

// see takes in one look at an object that must go.
func (p *phaseRun) see(ctx context.Context, s cluster.Sighting, strips *sync.WaitGroup) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[jobKey{ref: s.Target.Ref, uid: s.Target.UID, wait: true}]
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
	if j.seen.IsZero() {
		j.seen = time.Now()
		j.ends = j.seen.Add(s.Object.Grace)
	}
	message := "it is being deleted"
	if len(s.Object.Finalizers) > 0 {
		message = "finalizers: " + strings.Join(s.Object.Finalizers, ", ")
	}
	if back := common(s.Object.Finalizers, j.strips); len(back) > 0 {
		message = fmt.Sprintf("the finalizers %s were removed and put back; last written by %s", strings.Join(back, ", "),
			strings.Join(s.Object.Managers, ", "))
	}
	if message != j.message {
		j.message = message
		p.tellLocked(Event{Type: Waiting, Verb: j.action.Verb, Target: s.Target, Message: message})
	}
	names := j.action.strippable(s.Object.Finalizers)
	if len(names) == 0 {
		return
	}
	if j.tries >= maxStrips {
		return
	}
	delay := min(time.Until(s.Object.Deleting.Add(j.action.StripAfter)), time.Until(j.seen.Add(j.action.StripAfter)))
	strips.Go(func() {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		// A conflict brings a new sighting, and with it the next try.
		err := p.cluster.StripFinalizers(ctx, s.Target, s.Object, names, false)
		switch {
		case err == nil:
			p.stripped(j, names)
		case apierrors.IsConflict(err), cluster.IsGone(err, s.Target):
		case ctx.Err() != nil:
			// Watching is over, and what the object waits for has been said.
		default:
			p.settle(ctx, j, fmt.Errorf("can't remove the finalizers %s: %w", strings.Join(names, ", "), err))
		}
	})
}

// strippable returns those of the finalizers on an object that may be removed.
func (a Action) strippable(on []string) []string {
	if slices.Contains(a.Finalizers, AnyFinalizer) {
		return slices.Clone(on)
	}
	return slices.DeleteFunc(slices.Clone(on), func(f string) bool {
		return !slices.Contains(a.Finalizers, f) && (a.Strips == nil || !a.Strips(f))
	})
}

// common returns what is in both lists.
func common(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return !slices.Contains(b, s) })
}
