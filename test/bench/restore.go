package main

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/castai/kubectl-castai/test/bench/page"
	"github.com/castai/kubectl-castai/test/compare"
	"github.com/castai/kubectl-castai/test/controlplane"
	"github.com/castai/kubectl-castai/test/fixtures"
)

// restore puts back what an offboarding removed, and lets kubectl apply the same
// files once more.
func (b *bench) restore(ctx context.Context) error {
	for round := range b.runs {
		b.say("round %d of %d", round+1, b.runs)
		if err := b.restoreOnce(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) restoreOnce(ctx context.Context) (err error) {
	s, err := b.tools.start(ctx, controlplane.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.AddNode(ctx, controlplane.Node{Name: "node-1"}); err != nil {
		return err
	}
	if err := fixtures.Install(ctx, s.config, fixtures.Standalone); err != nil {
		return err
	}
	if err := release(ctx, s); err != nil {
		return err
	}
	if _, err := compare.Settled(ctx, s.config); err != nil {
		return err
	}
	dir := filepath.Join(s.dir, "backup") // with the folders cluster and namespaces
	if _, err := s.castai(ctx, nil, "offboard", "--yes", "--backup-dir="+dir); err != nil {
		return err
	}
	ours, err := s.castai(ctx, nil, "restore", dir, "--yes")
	if err != nil {
		return err
	}
	b.run.Add(page.Castai, 0, ours)
	// It may fail on objects that webhooks without a backend do not let through:
	// how long it takes is the same.
	kubectl, err := s.runIn(ctx, dir, nil, "sh", "-c",
		`"$0" apply --server-side --force-conflicts --recursive -f cluster -f namespaces || true`, s.tools.kubectl)
	if err != nil {
		return err
	}
	if kubectl.Requests["patch"] == 0 {
		return errors.New("kubectl applied nothing")
	}
	b.run.Add(page.Kubectl, 0, kubectl)
	return nil
}
