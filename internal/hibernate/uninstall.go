package hibernate

import (
	"context"
	"fmt"
	"slices"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// phaseSchedule is that of the CronJobs, of install and uninstall.
const phaseSchedule = "schedule"

// Removable is a Refusal if what remembers a pause must stay: one is on, or whether
// one is can't be told.
func (s *State) Removable() error {
	if s.Blind != "" {
		return refuse("%s", s.Blind)
	}
	if sleep := s.Sleep(); sleep.Asleep() {
		return refuse("%s. Wake the cluster first (resume, with an API key), or nobody will know what to take back",
			sleep.Clause())
	}
	if doubt := s.Doubt(); doubt != "" {
		return refuse("%s: name the API key with --api-key-file", doubt)
	}
	return nil
}

// Uninstall removes what somebody has agreed to, and nothing that came later: it keeps
// other runs away and has look plan anew, which refuses while a pause is on. Once the
// CronJobs are gone, it looks for a pause that one of their Jobs has begun meanwhile.
// What was done is in the report in any case.
func (r *Runner) Uninstall(ctx context.Context, agreed *engine.Plan,
	look func(context.Context) (*engine.Plan, error)) (*engine.Report, error) {
	if r.DryRun {
		return engine.Run(ctx, r.Cluster, agreed, engine.Options{DryRun: true, OnEvent: r.OnEvent})
	}
	nothing := &engine.Report{}
	held, release, err := r.Hold(ctx)
	if err != nil {
		return nothing, err
	}
	defer release()
	plan, err := look(held)
	if err != nil {
		return nothing, err
	}
	if more := added(agreed, plan); len(more) > 0 {
		return nothing, refuse("these came since the plan was shown: %s. Run it again", names(more, cluster.Ref.String))
	}
	for i := range plan.Phases {
		if plan.Phases[i].Name == phaseSchedule {
			plan.Phases[i].Ready = r.stillAwake
		}
	}
	return engine.Run(held, r.Cluster, plan, engine.Options{OnEvent: r.OnEvent, Changed: r.changed})
}

// stillAwake is an error if a pause is on, once the CronJobs are gone.
func (r *Runner) stillAwake(ctx context.Context) error {
	s, err := r.Observe(ctx)
	if err != nil {
		return err
	}
	if err := s.Removable(); err != nil {
		return &LeftError{fmt.Sprintf("the CronJobs are removed, and the rest stays: %v", err)}
	}
	return nil
}

// changed judges an object that has been written to since it was looked at. What the
// state says now, nobody has judged.
func (r *Runner) changed(ctx context.Context, a engine.Action) (cluster.Target, error) {
	if a.Target.Ref == stateTarget(r.Namespace).Ref {
		return a.Target, engine.Keep("somebody has written to it meanwhile")
	}
	o, err := r.Cluster.Get(ctx, a.Target)
	if err != nil {
		return a.Target, err
	}
	return o.Target(), nil
}

// added returns what a plan is about and an earlier one was not.
func added(before, now *engine.Plan) (out []cluster.Ref) {
	targets := func(p *engine.Plan) (refs []cluster.Ref) {
		for _, phase := range p.Phases {
			for _, a := range phase.Actions {
				refs = append(refs, a.Target.Ref)
			}
		}
		return refs
	}
	known := targets(before)
	for _, r := range targets(now) {
		if !slices.Contains(known, r) {
			out = append(out, r)
		}
	}
	return out
}
