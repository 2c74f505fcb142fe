package engine

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// put sends what the action's object should be. For some moments after a kind is
// established its objects are answered with NotFound. An object that is to be
// created and that somebody else has made meanwhile is theirs, and kept.
func (p *phaseRun) put(ctx context.Context, a Action) error {
	content, err := a.Content(ctx)
	if err != nil {
		return err
	}
	send := p.cluster.Apply
	if a.Verb == Create {
		send = p.cluster.Create
	}
	put := func() error { return send(ctx, a.Target, content, p.options.DryRun) }
	if p.options.DryRun {
		return put()
	}
	err = retry(ctx, apierrors.IsNotFound, put)
	if a.Verb == Create && apierrors.IsAlreadyExists(err) {
		return Keep("somebody has made it since the plan was shown: run it again to see how it differs")
	}
	return err
}
