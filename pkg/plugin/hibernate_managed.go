package plugin

import (
	"context"
	"fmt"

	"github.com/castai/kubectl-castai/internal/hibernate"
	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// manage has the service pause or resume the cluster: it plans, shows, asks, and does
// it from a fresh look.
func (o *nightOptions) manage(ctx context.Context, question, done string,
	plan func(*hibernate.State, *hibernate.Managed) (*hibernate.ManagedPlan, error)) error {
	look := func(ctx context.Context) (*hibernate.State, *hibernate.Managed, *hibernate.ManagedPlan, error) {
		s, m, err := o.seeManaged(ctx)
		if err != nil {
			return nil, nil, nil, err
		}
		p, err := plan(s, m)
		return s, m, p, refusal(err)
	}
	s, m, p, err := look(ctx)
	if err != nil {
		return err
	}
	if p.Already != "" {
		return o.already(s, p.Already)
	}
	phases := o.runner.ManagedPhases(p, o.api, m.Cluster.OrganizationId)
	show := func(t *printer.Text) { t.ResumePlan(s.DisplayName(), phases, p.Warnings) }
	if agreed, err := o.agreed(ctx, s, phases, fmt.Sprintf(question, s.DisplayName()), show); !agreed {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout,
		fmt.Errorf("it %w after %s: the service goes on, hibernate status --managed tells how far it is", engine.ErrTimeout,
			o.timeout))
	defer cancel()
	held, release, err := o.alone(ctx)
	if err != nil {
		return err
	}
	defer release()
	s, m, p, err = look(held)
	if err != nil {
		return err
	}
	if p.Already != "" {
		return o.already(s, p.Already)
	}
	report := &engine.Report{DryRun: o.runner.DryRun}
	err = o.runner.RunManaged(held, report, o.runner.ManagedPhases(p, o.api, m.Cluster.OrganizationId))
	return o.finish(ctx, done, report, refusal(err))
}

// seeManaged looks at the cluster, and at the schedules of its organization.
func (o *nightOptions) seeManaged(ctx context.Context) (*hibernate.State, *hibernate.Managed, error) {
	s, err := o.runner.Observe(ctx)
	if err != nil {
		return nil, nil, err
	}
	m, err := hibernate.ObserveManaged(ctx, o.api, o.access.clusterID)
	return s, m, err
}
