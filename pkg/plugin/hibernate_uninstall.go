package plugin

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/castai/kubectl-castai/internal/hibernate"
	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

type hibernateUninstallOptions struct {
	configureOptions
}

func newHibernateUninstall(r *Root) *cobra.Command {
	o := &hibernateUninstallOptions{configureOptions{Root: r}}
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove the CronJobs and all that belongs to them",
		Long: templates.LongDesc(`
			Removes the CronJobs, their Secret, their rights and their state, and takes back what earlier runs left on nodes
			and workloads. Refuses while the cluster is paused: resume it first.`),
		Example: r.example(`%[1]s hibernate uninstall`),
		Args:    noArgs, RunE: run(o),
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "", "Output format of the plan or report: json or yaml")
	o.dryRun.addFlag(f)
	f.BoolVar(&o.yes, "yes", false, "Do not ask for confirmation")
	return cmd
}

// Complete has nothing to fill in.
func (o *hibernateUninstallOptions) Complete(*cobra.Command, []string) error { return nil }

// Validate checks the flags.
func (o *hibernateUninstallOptions) Validate() error {
	return outputFormats(o.output, "", "json", "yaml")
}

// Run looks, refuses, shows, asks and removes.
func (o *hibernateUninstallOptions) Run(cmd *cobra.Command) (err error) {
	ctx := cmd.Context()
	if o.client, err = o.connect(ctx); err != nil {
		return err
	}
	if o.in, err = o.installation(ctx, o.client); err != nil {
		return err
	}
	if o.in.Release != "" {
		return refused(fmt.Errorf("the Helm release %s made this installation: run helm uninstall -n %s %s", o.in.Release, o.in.Namespace, o.in.Release))
	}
	runner := (&access{apiFlags: apiFlags{Root: o.Root}}).runner(o.client, nil)
	state, err := runner.Observe(ctx)
	if err != nil {
		return err
	}
	if sleep := state.Sleep(); sleep.Asleep() {
		return refused(fmt.Errorf("the cluster is %s. Wake it first, or nobody will know what to take back", sleep))
	}
	plan, kept, err := o.plan(ctx, state)
	if err != nil {
		return err
	}
	return o.remove(ctx, state.Server, plan, kept)
}

// plan takes back leftovers first, while the state that tells of them is there.
func (o *hibernateUninstallOptions) plan(ctx context.Context, state *hibernate.State) (*engine.Plan, []cluster.Ref, error) {
	cat, err := ownership.LoadCatalogue()
	if err != nil {
		return nil, nil, err
	}
	s, err := look(ctx, o.client, cat)
	if err != nil {
		return nil, nil, err
	}
	if err := hibernate.Readable(s.snap, hibernate.InstallationScope(o.namespace()).Kinds...); err != nil {
		return nil, nil, refused(err)
	}
	plan, kept := o.in.Uninstall(s.Judge(ownership.Options{}).IsOwned)
	if phase, ok := hibernate.Repair(state); ok {
		plan.Phases = append([]engine.Phase{phase}, plan.Phases...)
	}
	return plan, kept, nil
}

func (o *hibernateUninstallOptions) remove(ctx context.Context, server cluster.Server, plan *engine.Plan, kept []cluster.Ref) error {
	doc := printer.NewHibernation(server, nil, o.in)
	doc.Phases = plan.Phases
	if o.output == "" {
		text := printer.NewText(o.Out)
		text.ResumePlan(server, plan.Phases, nil)
		if len(plan.Phases) == 0 {
			text.Message("Nothing of it is in namespace " + o.in.Namespace)
		}
		for _, r := range kept {
			text.Message(r.String() + " stays: it is not known to be Cast AI's")
		}
		if err := text.Err(); err != nil {
			return err
		}
	}
	if o.dryRun == dryRunClient || len(plan.Phases) == 0 {
		return o.print(doc)
	}
	if err := o.allowed(ctx, o.client, "castai-hibernate-uninstall", engine.Rights(plan)); err != nil {
		return err
	}
	if o.dryRun == dryRunNone {
		if err := o.confirm(ctx, o.yes, fmt.Sprintf("This ends the schedule of cluster %s.", server.DisplayName()), server.DisplayName()); err != nil {
			return err
		}
	}
	err := o.carryOut(ctx, plan, doc)
	if err == nil && doc.Report.Count(engine.ResultLeft) > 0 {
		err = &failure{ExitLeft, errors.New("some of it is still there: run it again")}
	}
	return err
}
