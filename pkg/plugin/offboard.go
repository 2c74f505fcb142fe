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
	accept  []string
	timeout time.Duration
	cleanUp time.Duration
	settle  time.Duration
	revert  bool
	saving  saving
	console consoleOptions

	client *cluster.Client
	cat    *ownership.Catalogue
	refs   ownership.Options
}

func newOffboard(r *Root) *cobra.Command {
	o := &offboardOptions{Root: r, saving: saving{Root: r, task: backup.Offboard}, console: consoleOptions{apiFlags: apiFlags{Root: r}}}
	cmd := &cobra.Command{
		Use:   "offboard",
		Short: "Take Cast AI out of the cluster, completely and safely",
		Long: templates.LongDesc(`
			Removes everything that is Cast AI's from the cluster, and nothing that is not. Shows the plan first and asks you
			to type the cluster's name. Stops what would put things back, removes webhooks before they can block anything,
			clears what hangs, frees stuck namespaces, and verifies that nothing is left.

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
	f.StringVarP(&o.output, "output", "o", "", "Output format of the plan or report: wide (each object with the reason), json or yaml")
	o.dryRun.addFlag(f)
	f.BoolVar(&o.yes, "yes", false, "Do not ask for confirmation")
	f.StringArrayVar(&o.include, "include", nil, "Remove this object, too: KIND[.GROUP]/[NAMESPACE/]NAME (repeatable)")
	f.StringArrayVar(&o.exclude, "exclude", nil, "Keep this object: KIND[.GROUP]/[NAMESPACE/]NAME (repeatable)")
	trustVar(f, &o.refs.Trust)
	f.StringArrayVar(&o.accept, "accept", nil, "Go on although this blocker holds: its name, as status shows it (repeatable)")
	waitVar(f, &o.timeout, "timeout", 15*time.Minute, "How long the removal may take")
	waitOrNotVar(f, &o.cleanUp, "clean-up-timeout", time.Minute, "How long Cast AI's own controllers get to clean up after themselves")
	waitOrNotVar(f, &o.settle, "settle", 5*time.Second, "How long after the last deletion nothing may come back for the cluster to count as clean")
	f.BoolVar(&o.revert, "revert-workloads", false, "Also take back what Cast AI is known to have written into your objects: hibernation's tolerations, taints and cordons, labels of namespaces")
	o.saving.addFlags(f)
	o.console.addFlags(f)
	_ = cmd.RegisterFlagCompletionFunc("output", completes(words("wide", "json", "yaml"))) // it is there, and has none
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
	if err := trusted(o.refs.Trust); err != nil {
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
	return outputFormats(o.output, "", "wide", "json", "yaml")
}

// Run plans, asks, removes and verifies.
func (o *offboardOptions) Run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	var err error
	if o.client, err = o.connect(ctx); err != nil {
		return err
	}
	inv, err := o.inventory(ctx)
	if err != nil {
		return err
	}
	plan := offboard.New(inv, o.cat, offboard.Options{CleanUp: o.cleanUp, Phase: o.timeout})
	if phase := o.reverting(inv, inv.Objects()); phase != nil {
		plan.Phases = append(plan.Phases, *phase)
	}
	if err := o.console.plan(ctx, inv, plan); err != nil {
		return err
	}
	if err := o.show(inv, plan); err != nil {
		return err
	}
	if o.dryRun == dryRunClient {
		return nil
	}
	if err := o.readable(inv); err != nil {
		return err
	}
	if len(plan.Phases) == 0 {
		return o.report(ctx, inv, &engine.Report{}, inv, nil)
	}
	if err := o.unblocked(inv); err != nil {
		return err
	}
	if err := o.allowed(ctx, o.client, "castai-offboard", o.saving.rights(plan, engine.Rights(plan))); err != nil {
		return err
	}
	if o.dryRun == dryRunNone {
		question := fmt.Sprintf("Cluster %s: %s.", inv.Server.DisplayName(), printer.Total(inv, plan)) + o.console.question()
		if err := o.confirm(ctx, o.yes, question, inv.Server.DisplayName()); err != nil {
			return err
		}
		if err := o.confirmIncluded(ctx, inv); err != nil {
			return err
		}
		if err := o.console.confirmNodes(ctx, o.client, o.yes); err != nil {
			return err
		}
	}
	return o.remove(ctx, inv, plan)
}

// inventory looks at the cluster and judges it, with the user's exceptions.
func (o *offboardOptions) inventory(ctx context.Context) (*ownership.Inventory, error) {
	s, err := look(ctx, o.client, o.cat, o.refs.Trust...)
	if err != nil {
		return nil, err
	}
	if o.refs.Include, err = s.find("--include", o.include); err != nil {
		return nil, err
	}
	if o.refs.Exclude, err = s.find("--exclude", o.exclude); err != nil {
		return nil, err
	}
	for _, object := range s.snap.Objects {
		if slices.Contains(o.refs.Include, object.Ref()) && offboard.BuiltIn(object) {
			return nil, refused(fmt.Errorf("--include %s: it is built in to Kubernetes, so nothing was changed", object.Ref()))
		}
	}
	return s.judge(o.refs), nil
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

// blockerNames are those that --accept takes.
func blockerNames() []string {
	var names []string
	for _, b := range ownership.KnownBlockers() {
		names = append(names, b.Name)
	}
	return append(names, console.Blockers()...)
}

// unblocked refuses when a person must decide something first.
func (o *offboardOptions) unblocked(inv *ownership.Inventory) error {
	var open []string
	for _, b := range inv.Blockers {
		if !slices.Contains(o.accept, b.Name) {
			open = append(open, fmt.Sprintf("%s (%s)", b.Name, b.Text))
		}
	}
	if len(open) == 0 {
		return nil
	}
	return refused(fmt.Errorf("to be decided first, as status explains: %s; to go on regardless, pass --accept NAME", strings.Join(open, ", ")))
}

// readable refuses when not all that an inventory needs could be read: what
// can't be seen can't be known to stay untouched or to be left, and what is
// removed may be all that tells whose it is.
func (o *offboardOptions) readable(inv *ownership.Inventory) error {
	for _, u := range inv.Unreadable {
		if u.BuiltIn() && !u.Forbidden {
			return refused(fmt.Errorf("%s can't be read, so it is not certain whose everything is; nothing was changed: try again later (%s)", u.What, u.Message))
		}
	}
	rights := forbidden(inv.Unreadable)
	if len(rights) == 0 {
		return nil
	}
	if err := printer.ClusterRole(o.ErrOut, "castai-offboard-read", rights); err != nil {
		return err
	}
	return refused(fmt.Errorf("you may not read %d kinds of objects, so nothing is known of them: have an administrator bind the ClusterRole above to you", len(rights)/2))
}

// forbidden returns the rights whose lack made parts of the API unreadable.
func forbidden(list []cluster.Unreadable) []cluster.Right {
	var out []cluster.Right
	for _, u := range list {
		if u.Forbidden {
			resource, group, _ := strings.Cut(u.What, ".")
			for _, verb := range []string{"get", "list"} {
				out = append(out, cluster.Right{Group: group, Resource: resource, Verb: verb})
			}
		}
	}
	return out
}

// confirmIncluded asks again, by name, for each object that is somebody else's.
func (o *offboardOptions) confirmIncluded(ctx context.Context, inv *ownership.Inventory) error {
	for _, r := range o.refs.Include {
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
func (o *offboardOptions) remove(ctx context.Context, before *ownership.Inventory, plan *engine.Plan) error {
	timeout := o.timeout + o.console.time()
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("the removal %w after %s: run it again to go on", engine.ErrTimeout, timeout))
	defer cancel()
	o.escalate(before, plan)
	dry := o.dryRun == dryRunServer
	progress := printer.NewProgress(o.ErrOut, dry)
	if dry {
		report, err := engine.Run(ctx, o.client, plan, engine.Options{DryRun: true, OnEvent: progress.Event})
		return o.report(ctx, before, report, nil, err)
	}
	var err error
	if o.saving.more, err = o.console.record(); err != nil {
		return err
	}
	journal, err := o.saving.save(ctx, o.client, before, plan)
	if err != nil {
		return err
	}
	asked := time.Now() // when the last deletion was
	opts := engine.Options{OnEvent: recorded(journal, func(e engine.Event) {
		if e.Type == engine.Requested || e.Type == engine.Stripped {
			asked = e.Time
		}
		progress.Event(e)
	})}
	report, err := o.execute(ctx, before, o.console.before(plan), opts)
	var after *ownership.Inventory
	if err == nil || errors.Is(err, engine.ErrGate) && o.console.gated(report) == nil {
		var lookErr error
		after, lookErr = o.settled(ctx, asked)
		if lookErr != nil && ctx.Err() != nil {
			lookErr = context.Cause(ctx)
		}
		if err == nil {
			err = lookErr
		}
	}
	if err == nil {
		err = o.console.after(ctx, o.client, report, after, opts)
	}
	o.saving.closeJournal(journal, err)
	return o.report(ctx, before, report, after, err)
}

// reaction is how long a controller gets to put back what just went. That is
// all the settle time adds where the end of a namespace was waited for longer
// than that: its controller's own grace is 5 s.
const reaction = time.Second

// settled looks again when nothing was asked to go for the settle time, and the
// last that did go is gone for as long as a controller needs to react.
func (o *offboardOptions) settled(ctx context.Context, asked time.Time) (*ownership.Inventory, error) {
	timer := time.NewTimer(max(time.Until(asked.Add(o.settle)), min(o.settle, reaction)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-timer.C:
		return o.inventoryAfter(ctx)
	}
}

// inventoryAfter looks again. What the user named may be gone by now.
func (o *offboardOptions) inventoryAfter(ctx context.Context) (*ownership.Inventory, error) {
	s, err := look(ctx, o.client, o.cat, o.refs.Trust...)
	if err != nil {
		return nil, err
	}
	return s.judge(o.refs), nil
}

// report prints what was done and left, and returns the error that says how
// the command ended.
func (o *offboardOptions) report(ctx context.Context, before *ownership.Inventory, r *engine.Report, after *ownership.Inventory, err error) error {
	stuck := o.stuck(ctx, after)
	var returned []offboard.Return
	if after != nil {
		returned = offboard.Returned(before, after)
	}
	if o.document() {
		doc := printer.NewReport(before.Server, r, after, returned, err)
		doc.Namespaces = stuck
		if printErr := printer.Print(o.Out, o.output, doc); printErr != nil {
			return printErr
		}
	} else {
		text := printer.NewText(o.Out)
		text.Report(r, after, returned)
		for _, d := range stuck {
			text.Diagnosis(d)
		}
		if printErr := text.Err(); printErr != nil {
			return printErr
		}
	}
	gated, unfinished := o.console.gated(r), o.console.unfinished(r)
	switch {
	case errors.Is(err, ErrInterrupted):
		return fmt.Errorf("%w: run it again to go on%s", err, o.console.again())
	case errors.Is(err, engine.ErrGate) && gated != nil:
		return gated
	case errors.Is(err, engine.ErrGate):
		return &failure{ExitLeft, err}
	case err != nil:
		return err
	case after != nil && len(returned) > 0:
		return fmt.Errorf("%w: %s came back or new, %s in all: stop what makes them first", errLeft, objects(len(returned)), objects(max(len(returned), len(after.Owned()))))
	case after != nil && !printer.Clean(after):
		return leftError(after)
	case unfinished != nil:
		return unfinished
	case after != nil:
		return nil
	case r.Count(engine.ResultFailed) > 0:
		return fmt.Errorf("the server refused %d of the writes", r.Count(engine.ResultFailed))
	}
	return nil
}

// escalate adds to the plan what to do when namespaces do not go by themselves.
func (o *offboardOptions) escalate(inv *ownership.Inventory, plan *engine.Plan) {
	var homes []string
	for _, h := range inv.Homes {
		homes = append(homes, h.Name)
	}
	observe := func(ctx context.Context) (*finalize.Observation, error) {
		return finalize.Observe(ctx, o.client, homes...)
	}
	for i := range plan.Phases {
		if plan.Phases[i].Name == offboard.PhaseNamespaces {
			plan.Phases[i].Next = finalize.Next(observe, finalize.Options{
				Owned: inv.IsOwned, Allow: ownFinalizers(o.cat, inv.IsOwned), Partial: true, By: o.Name,
				Product: product, Known: knownFinalizers(o.cat),
			})
		}
	}
}

// reverting returns the phase that takes back what Cast AI wrote into the given
// objects of users, nil if that is not wanted or there is nothing.
func (o *offboardOptions) reverting(inv *ownership.Inventory, objects []*cluster.Object) *engine.Phase {
	if !o.revert {
		return nil
	}
	return offboard.Revert(inv, objects, o.timeout)
}

// execute runs the plan. What is taken back in users' objects starts from a
// fresh look at those in the plan, since the removal may have changed them.
func (o *offboardOptions) execute(ctx context.Context, before *ownership.Inventory, plan *engine.Plan, opts engine.Options) (*engine.Report, error) {
	last := len(plan.Phases) - 1
	if last < 0 || plan.Phases[last].Name != offboard.PhaseRevert {
		return engine.Run(ctx, o.client, plan, opts)
	}
	report, err := engine.Run(ctx, o.client, &engine.Plan{Phases: plan.Phases[:last]}, opts)
	if err != nil {
		return report, err
	}
	s, err := look(ctx, o.client, o.cat, o.refs.Trust...)
	if err != nil {
		return report, err
	}
	phase := o.reverting(before, offboard.Again(&plan.Phases[last], s.snap.Objects))
	if phase == nil {
		return report, nil
	}
	reverted, err := engine.Run(ctx, o.client, &engine.Plan{Phases: []engine.Phase{*phase}}, opts)
	report.Outcomes = append(report.Outcomes, reverted.Outcomes...)
	report.Phases = append(report.Phases, reverted.Phases...)
	return report, err
}

// stuck explains the namespaces that are left in Terminating. It is an
// explanation only: where none can be had, the report stands without it.
func (o *offboardOptions) stuck(ctx context.Context, after *ownership.Inventory) []*finalize.Diagnosis {
	var names []string
	if after != nil {
		for _, i := range after.Owned() {
			if i.Object.Ref() == (cluster.Ref{Kind: "Namespace", Name: i.Object.Name}) && i.Object.Terminating() {
				names = append(names, i.Object.Name)
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	obs, err := finalize.Observe(ctx, o.client, names...)
	if err != nil {
		return nil
	}
	rules := finalize.Options{Owned: after.IsOwned, Partial: true, By: o.Name, Product: product, Known: knownFinalizers(o.cat)}
	var out []*finalize.Diagnosis
	for _, name := range names {
		if d, err := finalize.Diagnose(obs, name, rules); err == nil {
			out = append(out, d)
		}
	}
	return out
}
