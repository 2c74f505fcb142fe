package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/castai/kubectl-castai/internal/hibernate"
	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/engine"
)

type hibernateResumeOptions struct {
	nightOptions
	repair bool
	start  bool
	wait   bool
}

func newHibernateResume(r *Root) *cobra.Command {
	o := &hibernateResumeOptions{nightOptions: nightOptions{Root: r, access: access{apiFlags: apiFlags{Root: r}},
		drain: time.Minute}}
	cmd := &cobra.Command{
		Use:   "resume",
		Short: "Resume the cluster now",
		Long: templates.LongDesc(`
			Sets the autoscaler to what it was before the pause, and takes back what the pause did to nodes and workloads:
			exactly that, and nothing that somebody has changed since. Waits until no more pods wait for a node than before.
			A pause by Cast AI's own job is resumed just so, though that job never takes anything back itself.

			With --repair it also takes back what earlier runs left on a cluster that is awake. With --start-autoscaler it
			turns the autoscaler on, whatever it was before.`),
		Example: r.example(`
			%[1]s hibernate resume

			# Clean up after runs of Cast AI's own job
			%[1]s hibernate resume --repair`),
		Args: noArgs, RunE: run(o),
	}
	f := cmd.Flags()
	o.addFlags(f)
	f.BoolVar(&o.repair, "repair", false, "Also take back what earlier runs left, those of Cast AI's own job included")
	f.BoolVar(&o.start, "start-autoscaler", false, "Turn the autoscaler on, even if it was off before the pause")
	f.BoolVar(&o.wait, "wait", true, "Wait until the pods have nodes")
	waitVar(f, &o.timeout, "timeout", 30*time.Minute, "How long it may take until the pods have nodes")
	return cmd
}

// Validate checks the flags.
func (o *hibernateResumeOptions) Validate() error {
	if o.inCluster && (o.repair || o.start) {
		return usage(errors.New("the CronJob can't --repair or --start-autoscaler: leave out --in-cluster"))
	}
	if o.managed && (o.repair || o.start) {
		return usage(errors.New("the service does not --repair or --start-autoscaler: leave out --managed"))
	}
	return o.validate()
}

// Run plans, shows, asks and resumes.
func (o *hibernateResumeOptions) Run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	if err := o.begin(ctx); err != nil {
		return err
	}
	switch {
	case o.inCluster:
		return o.inJob(ctx, "resume")
	case o.managed:
		return o.manage(ctx, "This has the service resume cluster %s.", "The service has resumed the cluster",
			hibernate.PlanManagedResume)
	}
	state, plan, err := o.plan(ctx)
	if err != nil {
		return err
	}
	if plan.Already != "" {
		return o.already(state, plan.Already)
	}
	phases := o.runner.Awakening(plan)
	question := fmt.Sprintf("This resumes cluster %s.", state.DisplayName())
	if agreed, err := o.agreed(ctx, state, phases, question,
		func(t *printer.Text) { t.ResumePlan(state.DisplayName(), phases, plan.Warnings) }); !agreed {
		return err
	}
	return o.resume(ctx)
}

func (o *hibernateResumeOptions) plan(ctx context.Context) (*hibernate.State, *hibernate.Resume, error) {
	state, err := o.runner.Observe(ctx)
	if err != nil {
		return nil, nil, err
	}
	plan, err := hibernate.PlanResume(state, hibernate.ResumeOptions{Repair: o.repair, Start: o.start, Run: newRun(),
		By: o.runner.By})
	return state, plan, refusal(err)
}

// resume wakes the cluster, from a fresh look at it.
func (o *hibernateResumeOptions) resume(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("it %w after %s", engine.ErrTimeout, o.timeout))
	defer cancel()
	held, release, err := o.alone(ctx)
	if err != nil {
		return err
	}
	defer release()
	state, plan, err := o.plan(held)
	if err != nil {
		return err
	}
	if plan.Already != "" {
		return o.already(state, plan.Already)
	}
	o.warn(plan.Warnings)
	report := &engine.Report{DryRun: o.runner.DryRun}
	err = o.runner.Resume(held, report, plan)
	if err == nil && o.wait && !o.runner.DryRun && plan.Awaited(state) {
		if err = o.runner.AwaitScheduled(held, plan.Journal.Unschedulable); err != nil {
			err = fmt.Errorf("the cluster is resumed, and its pods still wait for nodes: %w", err)
		}
	}
	return o.finish(ctx, "The cluster is resumed", report, refusal(err))
}
