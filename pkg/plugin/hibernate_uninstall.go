package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

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
	all    bool
	runner *hibernate.Runner
}

func newHibernateUninstall(r *Root) *cobra.Command {
	o := &hibernateUninstallOptions{configureOptions: configureOptions{Root: r,
		access: access{apiFlags: apiFlags{Root: r}}}}
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove the CronJobs and all that belongs to them",
		Long: templates.LongDesc(`
			Removes the CronJobs, their Secret, their rights and their state, and takes back what earlier runs left on nodes
			and workloads. Of several pairs of CronJobs it removes the one that is named; what all of them share goes with
			the last one. Refuses while the cluster is paused: resume it first.`),
		Example: r.example(`
			%[1]s hibernate uninstall

			# One further pair, or all of them
			%[1]s hibernate uninstall --name=lunch
			%[1]s hibernate uninstall --all`),
		Args: noArgs, RunE: run(o),
	}
	f := cmd.Flags()
	o.access.addFlags(f)
	nameVar(f, &o.name)
	f.BoolVar(&o.all, "all", false, "Remove all pairs of CronJobs")
	f.StringVarP(&o.output, "output", "o", "", "Output format of the plan or report: json or yaml")
	o.dryRun.addFlag(f)
	f.BoolVar(&o.yes, "yes", false, "Do not ask for confirmation")
	return cmd
}

// Complete reads the key, if there is one.
func (o *hibernateUninstallOptions) Complete(*cobra.Command, []string) error {
	return o.access.complete()
}

// Validate checks the flags.
func (o *hibernateUninstallOptions) Validate() error {
	if o.all && o.name != "" {
		return usage(errors.New("--all and --name exclude each other"))
	}
	if err := o.access.validate(false); err != nil {
		return err
	}
	return outputFormats(o.output, "", "json", "yaml")
}

// Run looks, refuses, shows, asks and removes.
func (o *hibernateUninstallOptions) Run(cmd *cobra.Command) (err error) {
	ctx := cmd.Context()
	if o.client, err = o.connect(ctx); err != nil {
		return err
	}
	o.runner = o.access.runner(o.client, nil)
	o.runner.DryRun = o.dryRun == dryRunServer
	o.runner.OnEvent = printer.NewProgress(o.ErrOut, o.runner.DryRun).Event
	server, plan, notes, err := o.look(ctx)
	if err != nil {
		return err
	}
	return o.remove(ctx, server, plan, notes)
}

// look looks at all of it and plans, or refuses.
func (o *hibernateUninstallOptions) look(ctx context.Context) (server cluster.Server, plan *engine.Plan, notes []string,
	err error) {
	if o.in, err = o.installation(ctx, o.client); err != nil {
		return server, nil, nil, err
	}
	pairs, err := o.pairs()
	if err != nil {
		return server, nil, nil, err
	}
	state, err := o.observe(ctx)
	if err != nil {
		return server, nil, nil, err
	}
	if err := state.Removable(); err != nil {
		return server, nil, nil, refusal(err)
	}
	plan, notes, err = o.plan(ctx, state, pairs)
	return state.Server, plan, notes, err
}

// observe asks Cast AI only where nothing else tells whether the cluster sleeps.
func (o *hibernateUninstallOptions) observe(ctx context.Context) (*hibernate.State, error) {
	state, err := o.runner.Observe(ctx)
	if err != nil || o.access.key.IsZero() || o.runner.API != nil || state.Doubt() == "" && !state.Sleep().Unsure {
		return state, err
	}
	api, err := o.access.reach(ctx, o.client)
	if err != nil {
		return nil, fmt.Errorf("the cluster may be paused (%s), and Cast AI can't be asked: %w",
			cmp.Or(state.Doubt(), state.Sleep().String()), err)
	}
	o.runner.API, o.runner.ClusterID = api, o.access.clusterID
	return o.runner.Observe(ctx)
}

// pairs are those that are to be removed. None at all are, where only what they
// shared is left.
func (o *hibernateUninstallOptions) pairs() (out []*hibernate.Pair, err error) {
	pair := o.in.Pair(o.name)
	switch {
	case o.all:
		out = o.in.Pairs
	case pair != nil:
		out = []*hibernate.Pair{pair}
	case len(o.in.Pairs) > 0 || o.name != "":
		return nil, refused(fmt.Errorf("%w; --all removes all of them", missing(o.in, o.name)))
	}
	for _, p := range out {
		if p.Release != "" {
			return nil, refused(fmt.Errorf("the Helm release %s made this installation: run helm uninstall -n %s %s", p.Release,
				o.in.Namespace, p.Release))
		}
	}
	return out, nil
}

// plan takes back leftovers first, while the state that tells of them is there.
func (o *hibernateUninstallOptions) plan(ctx context.Context, state *hibernate.State,
	pairs []*hibernate.Pair) (plan *engine.Plan, notes []string, err error) {
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
	plan, kept, users := o.in.Uninstall(pairs, s.Judge(ownership.Options{}).IsOwned)
	for _, r := range kept {
		notes = append(notes, r.String()+" stays: it is not known to be Cast AI's")
	}
	if len(users) > 0 {
		var others []string
		for _, r := range users {
			others = append(others, r.String())
		}
		notes = append(notes, "The Secret, the rights and the state stay: these use them: "+strings.Join(others, ", "))
	}
	if phase, ok := hibernate.Repair(state); ok {
		plan.Phases = append([]engine.Phase{phase}, plan.Phases...)
	}
	return plan, notes, nil
}

func (o *hibernateUninstallOptions) remove(ctx context.Context, server cluster.Server, plan *engine.Plan,
	notes []string) error {
	doc := printer.NewHibernation(server, nil, o.in, o.name)
	doc.Phases = plan.Phases
	if o.output == "" {
		text := printer.NewText(o.Out)
		text.ResumePlan(server.DisplayName(), plan.Phases, nil)
		if len(plan.Phases) == 0 {
			text.Message("Nothing of it is in namespace " + o.in.Namespace)
		}
		for _, note := range notes {
			text.Message(note)
		}
		if err := text.Err(); err != nil {
			return err
		}
	}
	if o.dryRun == dryRunClient || len(plan.Phases) == 0 {
		return o.print(doc)
	}
	if err := o.allowed(ctx, o.client, "castai-hibernate-uninstall",
		append(engine.Rights(plan), holding(o.namespace())...)); err != nil {
		return err
	}
	if o.dryRun == dryRunNone {
		if err := o.confirm(ctx, o.yes, fmt.Sprintf("This ends the schedule of cluster %s.", server.DisplayName()),
			server.DisplayName()); err != nil {
			return err
		}
	}
	report, err := o.runner.Uninstall(ctx, plan, func(ctx context.Context) (*engine.Plan, error) {
		_, now, _, err := o.look(ctx)
		return now, err
	})
	err = o.report(report, doc, refusal(err))
	if err == nil && report.Count(engine.ResultLeft)+report.Count(engine.ResultKept) > 0 {
		err = &failure{ExitLeft, errors.New("some of it is still there: run it again")}
	}
	return err
}
