package engine

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// apply sends what the action's object should be. For some moments after a kind
// is established its objects are answered with NotFound.
func (p *phaseRun) apply(ctx context.Context, a Action) error {
	content, err := a.Content(ctx)
	if err != nil {
		return err
	}
	apply := func() error {
		return p.cluster.Apply(ctx, a.Target, content, cluster.ApplyOptions{Force: a.Force, DryRun: p.options.DryRun})
	}
	if p.options.DryRun {
		return apply()
	}
	return retry(ctx, apierrors.IsNotFound, apply)
}
