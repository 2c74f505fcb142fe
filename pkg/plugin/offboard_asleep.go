package plugin

import (
	"context"
	"errors"
	"slices"

	"github.com/castai/kubectl-castai/internal/hibernate"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// blockerHibernation is the name of the blocker of a cluster that sleeps.
const blockerHibernation = "hibernation"

// asleep adds the blocker of a pause by Cast AI's own job, which leaves no mark that
// the inventory could go by. What this plugin paused, the inventory knows.
func (o *offboardOptions) asleep(ctx context.Context, inv *ownership.Inventory) error {
	state := cluster.Ref{Kind: "ConfigMap", Namespace: hibernate.Namespace, Name: hibernate.StateName}
	if !slices.ContainsFunc(inv.Objects(), func(c *cluster.Object) bool { return c.Ref() == state }) {
		return nil
	}
	r := &hibernate.Runner{Cluster: o.client, Namespace: hibernate.Namespace}
	s, err := r.Observe(ctx)
	if err != nil {
		return err
	}
	if s.Blind != "" {
		return errors.New(s.Blind)
	}
	text := s.Doubt()
	if sleep := s.Sleep(); sleep.Who == hibernate.CastAI && sleep.Asleep() {
		text = sleep.Clause()
	}
	if text != "" {
		inv.Blockers = append(inv.Blockers, ownership.Blocker{
			Name: blockerHibernation, Text: text, Remedy: "wake it first (hibernate resume), or its workloads stay Pending",
			Objects: []cluster.Ref{state},
		})
	}
	return nil
}
