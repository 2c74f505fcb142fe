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
