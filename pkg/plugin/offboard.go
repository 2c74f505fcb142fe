package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/castai/kubectl-castai/internal/backup"
	"github.com/castai/kubectl-castai/internal/console"
	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/finalize"
	"github.com/castai/kubectl-castai/pkg/offboard"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

type offboardOptions struct {
	*Root
	output  string
	dryRun  dryRun
	yes     bool
	include []string
	exclude []string
	trust   []string
	accept  []string
	timeout time.Duration
	cleanUp time.Duration
	settle  time.Duration
	revert  bool
	saving  saving
	console consoleOptions
	file    planFile
	digest  string // of the plan that is carried out

	client *cluster.Client
	cat    *ownership.Catalogue
	runner *offboard.Runner
}

func newOffboard(r *Root) *cobra.Command {
	o := &offboardOptions{Root: r, saving: newSaving(r, backup.Offboard, "offboard"),
		console: consoleOptions{apiFlags: apiFlags{Root: r}}}
	cmd := &cobra.Command{
		Use:   "offboard",
		Short: "Take Cast AI out of the cluster, completely and safely",
		Long: templates.LongDesc(`
			Removes everything that is Cast AI's from the cluster, and nothing that is not. Shows the plan first and asks you
			to type the cluster's name. Stops what would put things back, removes webhooks before they can block anything,
			removes finalizers that nobody else removes, frees stuck namespaces, and verifies that nothing is left.

			Saves everything that it removes or changes into a folder first, so that restore can put it back.

			With --console, disconnects the cluster at Cast AI's console before: policies off, out of hibernation schedules,
			disconnected, and, if you want it, nodes deleted and the cluster removed.

			Running it again goes on where it stopped.`),
		Example: r.example(`
			# Show the plan and ask before doing anything
			%[1]s offboard

			# Only show the plan, or let the server check every write of it
			%[1]s offboard --dry-run=client -o wide
			%[1]s offboard --dry-run=server

			# Review the plan, and do exactly that later: what differs by then is shown, and nothing is done
			%[1]s offboard --dry-run=client -o json > plan.json
			%[1]s offboard --plan=plan.json

			# In a script, with a report
			%[1]s offboard --yes -o json

			# The console's part, too, with the key from the environment's CASTAI_API_KEY
			%[1]s offboard --console --cleanup-script=cleanup.sh --remove-cluster

			# Keep one object, and remove one that is unclear
			%[1]s offboard --exclude PodMutation/spot-batch --include CustomResourceDefinition/things.pod.cast.ai`),
		Args: noArgs,
		RunE: run(o),
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "",
		"Output format of the plan or report: wide (each object with the reason), json, yaml or name")
	o.dryRun.addFlag(f)
	f.StringVar(&o.file.path, "plan", "",
		"Do exactly what this file says, made with --dry-run=client -o json and the same flags, or refuse and show what differs by now")
	f.BoolVar(&o.yes, "yes", false, "Do not ask for confirmation")
	f.StringArrayVar(&o.include, "include", nil, "Remove this object, too: KIND[.GROUP]/[NAMESPACE/]NAME (repeatable)")
	f.StringArrayVar(&o.exclude, "exclude", nil, "Keep this object: KIND[.GROUP]/[NAMESPACE/]NAME (repeatable)")
	trustVar(f, &o.trust)
	f.StringArrayVar(&o.accept, "accept", nil,
		"Go on although this blocker holds: its name, as status shows it (repeatable)")
	waitVar(f, &o.timeout, "timeout", 15*time.Minute, "How long the removal may take")
	waitOrNotVar(f, &o.cleanUp, "clean-up-timeout", time.Minute,
		"How long Cast AI's own controllers get to clean up after themselves")
	waitOrNotVar(f, &o.settle, "settle", 5*time.Second,
		"How long nothing may come back before the cluster counts as clean")
	f.BoolVar(&o.revert, "revert-workloads", false,
		"Also take back what Cast AI is known to have written into your objects: hibernation's tolerations, taints and cordons, labels of namespaces")
	o.saving.addFlags(f)
	o.console.addFlags(f)
	_ = cmd.RegisterFlagCompletionFunc("output", completes(words("wide", "json", "yaml",
		"name"))) // it is there, and has none
	return cmd
}

// Complete reads the catalogue.
func (o *offboardOptions) Complete(*cobra.Command, []string) (err error) {
	o.cat, err = ownership.LoadCatalogue()
	return err
}

// Validate checks the flags.
func (o *offboardOptions) Validate() error {
	for flag, texts := range map[string][]string{"--include": o.include, "--exclude": o.exclude} {
		for _, text := range texts {
			if _, err := cluster.ParseRef(text); err != nil {
				return usage(fmt.Errorf("%s: %w", flag, err))
			}
		}
	}
	if err := trusted(o.trust); err != nil {
		return err
	}
	known := blockerNames()
	for _, name := range o.accept {
		if !slices.Contains(known, name) {
			return usage(fmt.Errorf("--accept %s: there is no such blocker; they are %s", name, strings.Join(known, ", ")))
		}
	}
	if err := o.saving.validate(); err != nil {
		return err
	}
	if err := o.console.validate(); err != nil {
		return err
	}
	if err := outputFormats(o.output, "", "wide", "json", "yaml", "name"); err != nil {
		return err
	}
	return o.file.read()
}

// Run plans, asks, removes and verifies.
func (o *offboardOptions) Run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	var err error
	if o.client, err = o.connect(ctx); err != nil {
		return err
	}
	o.runner = o.newRunner()
	seen, plan, err := o.plan(ctx)
	if err != nil {
		return err
	}
	if err := o.show(seen.Inventory, plan); err != nil {
		return err
	}
	if err := o.file.holds(o.ErrOut, seen.Inventory, plan); err != nil {
		return err
	}
	o.runner.Only = o.file.bounds()
	if o.dryRun == dryRunClient {
		return nil
	}
	if err := o.refusals(seen); err != nil {
		return err
	}
	if len(plan.Phases) == 0 {
		return o.report(ctx, &offboard.Result{Report: &engine.Report{}, Before: seen.Inventory, After: seen.Inventory}, nil)
	}
	if err := o.allowed(ctx, o.client, "castai-offboard", o.saving.rights(plan, engine.Rights(plan))); err != nil {
		return err
	}
	if o.dryRun == dryRunServer {
		o.runner.OnEvent = printer.NewProgress(o.ErrOut, true).Event
		report, err := o.runner.Check(ctx, plan)
		return o.report(ctx, &offboard.Result{Report: report, Before: seen.Inventory}, err)
	}
	if seen, plan, err = o.agreed(ctx, seen, plan); err != nil {
		return err
	}
	return o.remove(ctx, seen, plan)
}

// newRunner returns what does the work. What is to be included and excluded is
// looked up in the cluster first.
func (o *offboardOptions) newRunner() *offboard.Runner {
	r := &offboard.Runner{
		Cluster: o.client, Catalogue: o.cat, Judge: ownership.Options{Trust: o.trust}, Accept: o.accept, CleanUp: o.cleanUp,
		Phase: o.timeout, Settle: o.settle, Revert: o.revert,
		Free: func(inv *ownership.Inventory) finalize.Options {
			return finalize.Options{
				Owned: inv.IsOwned, Allow: ownFinalizers(o.cat, inv.IsOwned), Partial: true, By: o.Name,
				Product: product, Known: knownFinalizers(o.cat),
			}
		},
	}
	if o.console.enabled {
		o.console.do.Asked, o.console.do.Accepted = !o.yes, slices.Contains(o.accept, console.BlockerIdentity)
		r.Console = &o.console
	}
	return r
}

// plan looks at the cluster, judges it with the user's exceptions, and plans.
func (o *offboardOptions) plan(ctx context.Context) (*offboard.Observation, *engine.Plan, error) {
	s, err := look(ctx, o.client, o.cat, o.trust...)
	if err != nil {
		return nil, nil, err
	}
	if o.runner.Judge.Include, err = s.find("--include", o.include); err != nil {
		return nil, nil, err
	}
	if o.runner.Judge.Exclude, err = s.find("--exclude", o.exclude); err != nil {
		return nil, nil, err
	}
	for _, object := range s.snap.Objects {
		if slices.Contains(o.runner.Judge.Include, object.Ref()) && offboard.BuiltIn(object) {
			return nil, nil, refused(fmt.Errorf("--include %s: it is built in to Kubernetes, so nothing was changed",
				object.Ref()))
		}
	}
	seen, err := o.runner.Judged(ctx, s.Survey)
	if err != nil {
		return nil, nil, err
	}
	plan, err := o.runner.Plan(ctx, seen)
	if err != nil {
		return nil, nil, err
	}
	return seen, plan, o.asleep(ctx, seen.Inventory)
}

// show prints the plan: the document to stdout where one was asked for and
// nothing else follows, text otherwise.
func (o *offboardOptions) show(inv *ownership.Inventory, plan *engine.Plan) error {
	if o.document() {
		if o.dryRun == dryRunClient {
			return printer.Print(o.Out, o.output, printer.NewPlan(inv, plan))
		}
		return nil
	}
	if o.quiet && o.yes && o.dryRun != dryRunClient {
		return nil // nobody is asked, and nobody wants to know
	}
	text := printer.NewText(o.Out)
	if o.output == "wide" {
		text.WidePlan(inv, plan)
	} else {
		text.Plan(inv, plan)
	}
	if o.dryRun == dryRunClient {
		text.NothingChanged("This was the plan")
	}
	return text.Err()
}

// document tells whether a document was asked for, and not text.
func (o *offboardOptions) document() bool { return o.output != "" && o.output != "wide" }

// refusals says why the run is not started, and which rights it lacks.
func (o *offboardOptions) refusals(seen *offboard.Observation) error {
	err := o.runner.Refusals(seen)
	var refusal *offboard.Refusal
	if !errors.As(err, &refusal) {
		return err
	}
	if len(refusal.Missing) > 0 {
		if err := printer.ClusterRole(o.ErrOut, "castai-offboard-read", refusal.Missing); err != nil {
			return err
		}
	}
	return refused(err)
}

// agreed asks whether to go on. Time passes while a person reads: what is
// different by then is shown, and asked about again. Without a question none
// does.
func (o *offboardOptions) agreed(ctx context.Context, seen *offboard.Observation,
	plan *engine.Plan) (*offboard.Observation, *engine.Plan, error) {
	for {
		if err := o.ask(ctx, seen.Inventory, plan); err != nil {
			return nil, nil, err
		}
		if o.yes {
			return seen, plan, nil
		}
		fresh, freshPlan, err := o.plan(ctx)
		if err != nil {
			return nil, nil, err
		}
		if err := o.file.holds(o.ErrOut, fresh.Inventory, freshPlan); err != nil {
			return nil, nil, err
		}
		changes := offboard.Difference(plan, freshPlan)
		seen, plan = fresh, freshPlan
		if err := o.refusals(seen); err != nil || len(changes) == 0 {
			return seen, plan, err
		}
		text := printer.NewText(o.ErrOut)
		text.Changes("The cluster has changed since the plan was shown:", changes)
		if err := text.Err(); err != nil {
			return nil, nil, err
		}
	}
}

// ask asks all that must be agreed to.
func (o *offboardOptions) ask(ctx context.Context, inv *ownership.Inventory, plan *engine.Plan) error {
	digest := offboard.Digest(inv.Server.KubeSystemUID, plan)
	question := fmt.Sprintf("Cluster %s: %s. Plan %s.", inv.Server.DisplayName(), printer.Total(inv, plan),
		shortDigest(digest)) + o.console.question()
	if err := o.confirm(ctx, o.yes, question, inv.Server.DisplayName()); err != nil {
		return err
	}
	if err := o.confirmIncluded(ctx, inv); err != nil {
		return err
	}
	if err := o.console.confirmIdentity(ctx); err != nil {
		return err
	}
	return o.console.confirmNodes(ctx, o.client, o.yes)
}

// blockerNames are those that --accept takes.
func blockerNames() []string {
	var names []string
	for _, b := range ownership.KnownBlockers() {
		names = append(names, b.Name)
	}
	return append(append(names, offboard.BlockerRunning), console.Blockers()...)
}

// confirmIncluded asks again, by name, for each object that is somebody else's.
func (o *offboardOptions) confirmIncluded(ctx context.Context, inv *ownership.Inventory) error {
	for _, r := range o.runner.Judge.Include {
		if i := inv.Item(r); i != nil && len(i.For) == 1 && len(i.Hints) == 0 {
			question := fmt.Sprintf("%s is somebody else's: nothing connects it with Cast AI, but --include names it.", r)
			if err := o.confirm(ctx, o.yes, question, r.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove carries the plan out and says what became of it.
func (o *offboardOptions) remove(ctx context.Context, seen *offboard.Observation, plan *engine.Plan) error {
	timeout := o.timeout + o.console.time()
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("the removal %w after %s: run it again to go on",
		engine.ErrTimeout, timeout))
	defer cancel()
	var err error
	if o.saving.more, err = o.console.record(); err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	o.digest = offboard.Digest(seen.Server.KubeSystemUID, plan)
	if err := o.saving.begin(ctx, end, o.client, seen.Server, o.digest); err != nil {
		return err
	}
	s := &saver{saving: &o.saving, client: o.client, journal: &backup.Journal{}}
	if !o.saving.none {
		o.runner.Saver = s
	}
	progress := printer.NewProgress(o.ErrOut, false)
	o.runner.OnEvent = func(e engine.Event) {
		s.journal.Event(e)
		progress.Event(e)
	}
	o.console.onEvent = o.runner.OnEvent
	result, err := o.runner.Remove(ctx, seen, plan)
	o.saving.closeJournal(s.journal, err)
	o.saving.finish(err)
	if s.saved != nil {
		o.saving.sealed(s.saved)
	}
	return o.report(ctx, result, err)
}
