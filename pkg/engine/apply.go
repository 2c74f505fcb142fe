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
	options := cluster.ApplyOptions{Force: a.Force, DryRun: p.options.DryRun}
	may := isPassing
	if !p.options.DryRun {
		may = func(err error) bool { return isPassing(err) || apierrors.IsNotFound(err) }
	}
	return retry(ctx, may, func() error { return p.cluster.Apply(ctx, a.Target, content, options) })
}
