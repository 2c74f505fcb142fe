package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/castai/kubectl-castai/test/bench/page"
	"github.com/castai/kubectl-castai/test/controlplane"
	"github.com/castai/kubectl-castai/test/fixtures"
)

// windowsPerRun is how many offboardings a round of it takes: one gives one figure.
const windowsPerRun = 7

// home is the namespace of the chart that they remove.
const home = "castai-agent"

// window measures how long what appears in a namespace before its deletion may
// stay unseen.
func (b *bench) window(ctx context.Context) (err error) {
	s, err := b.tools.start(ctx, controlplane.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.AddNode(ctx, controlplane.Node{Name: "node-1"}); err != nil {
		return err
	}
	for round := range b.runs * windowsPerRun {
		b.say("round %d of %d", round+1, b.runs*windowsPerRun)
		if err := fixtures.Install(ctx, s.config, fixtures.Agent); err != nil {
			return err
		}
		size, err := s.auditSize()
		if err != nil {
			return err
		}
		if _, err := s.offboard(ctx); err != nil {
			return err
		}
		requests, err := s.requestsSince(size)
		if err != nil {
			return err
		}
		took, err := unseen(requests, home)
		if err != nil {
			return err
		}
		b.run.Add(page.Castai, 0, page.Sample{Seconds: took.Seconds()})
	}
	return nil
}

// unseen returns the time from when the first of the last lists in a namespace
// was received to when its deletion was answered.
func unseen(requests []request, namespace string) (time.Duration, error) {
	var deletion request
	for _, r := range requests {
		if o := r.Object; r.Verb == "delete" && o.Group == "" && o.Resource == "namespaces" && o.Name == namespace {
			deletion = r
			break
		}
	}
	if deletion.Answered.IsZero() {
		return 0, fmt.Errorf("the namespace %s was never asked to go", namespace)
	}
	last := map[[2]string]time.Time{}
	for _, r := range requests {
		kind := [2]string{r.Object.Group, r.Object.Resource}
		if r.Verb == "list" && r.Object.Namespace == namespace && r.Received.Before(deletion.Received) &&
			r.Received.After(last[kind]) {
			last[kind] = r.Received
		}
	}
	if len(last) == 0 {
		return 0, fmt.Errorf("nothing was listed in the namespace %s before its deletion", namespace)
	}
	first := deletion.Received
	for _, at := range last {
		if at.Before(first) {
			first = at
		}
	}
	return deletion.Answered.Sub(first), nil
}
