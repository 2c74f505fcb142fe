package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/finalize"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

type unstickOptions struct {
	*Root
	names       []string
	object      *cluster.Target // instead of namespaces; see newUnstickObject
	all         bool
	orphans     bool
	diagnose    bool
	output      string
	dryRun      dryRun
	yes         bool
	force       bool
	finalizers  []string
	apiServices []string
	relax       []string
	also        []string
	timeout     time.Duration
	patience    time.Duration
	saving      saving

	client *cluster.Client
	seen   *finalize.Observation
	rules  finalize.Options
	cat    *ownership.Catalogue
	rest   []*finalize.Diagnosis // with --all: those that can't be freed
	more   int                   // backups beside the first
}

func newUnstick(r *Root) *cobra.Command {
	o := &unstickOptions{Root: r, saving: newSaving(r, "unstick", "unstick-ns")}
	cmd := &cobra.Command{
		Use:   "unstick-ns NAME... | --all",
		Short: "Explain why namespaces are stuck in Terminating, and free them",
		Long: templates.LongDesc(`
			Finds out from what is really there why a namespace is stuck in Terminating: API services that do not answer,
			finalizers that nobody removes, webhooks that reject, pods that no kubelet confirms. Then frees it with the least
			force: waits while it makes progress, removes what blocks it, clears finalizers, and finalizes the namespace
			only when nothing is left in it.

			What is alive is waited for. Finalizers whose controller lives, or may live somewhere else, and those that guard
			something outside of the cluster (load balancers, disks, machines) are removed only if they are named. What the
			namespace's own conditions contradict is not done.

			It works for any namespace, whoever made it. Shows what it will do first and asks. Saves what it removes, or
			removes finalizers from, into a folder first, and records there what it does.`),
		Example: r.example(`
			# Explain it, show what will be done, and ask
			%[1]s unstick-ns castai-agent

			# Only explain it
			%[1]s unstick-ns castai-agent --diagnose

			# In a pipeline: exit 0 if nothing is stuck, 4 if something is
			%[1]s unstick-ns --all --diagnose -o json

			# Every namespace that is stuck, in a script
			%[1]s unstick-ns --all --yes -o json

			# Objects whose namespace is gone
			%[1]s unstick-ns --orphans

			# Remove this finalizer, and no other
			%[1]s unstick-ns shop --finalizer=example.com/hold

			# Finalize it at once, although it is not empty, and sweep up what that orphans
			%[1]s unstick-ns shop --force`),
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completes(r.stuckNamespaces),
		RunE:              run(o),
	}
	f := cmd.Flags()
	f.BoolVar(&o.all, "all", false, "Every namespace that is Terminating")
	f.BoolVar(&o.orphans, "orphans", false, "Every namespace that is gone, but in which objects are left")
	o.addFlags(f)
	f.BoolVar(&o.force, "force", false, "Finalize at once, although content remains, then delete what was orphaned")
	f.StringArrayVar(&o.apiServices, "remove-apiservice", nil, "Remove this APIService if it does not answer, though "+
		"it is not Cast AI's: VERSION.GROUP (repeatable)")
	for flag, what := range map[string]func(finalize.Cause) string{
		"finalizer":         func(c finalize.Cause) string { return c.Finalizer },
		"remove-apiservice": finalize.Cause.APIService,
	} {
		_ = cmd.RegisterFlagCompletionFunc(flag, r.stuckFor(what)) // it is there, and has none
	}
	_ = cmd.RegisterFlagCompletionFunc("also", cobra.FixedCompletions(stepNames(),
		cobra.ShellCompDirectiveNoFileComp)) // as above
	return cmd
}

// addFlags adds those that do not depend on what is freed.
func (o *unstickOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.diagnose, "diagnose", false, "Only explain, and change nothing; the exit code is 4 if something is stuck")
	f.StringVarP(&o.output, "output", "o", "", "Output format of the diagnosis or report: json or yaml")
	o.dryRun.addFlag(f)
	f.BoolVar(&o.yes, "yes", false, "Do not ask for confirmation")
	f.StringArrayVar(&o.finalizers, "finalizer", nil, "Remove only this finalizer (repeatable)")
	f.StringArrayVar(&o.relax, "relax-crd", nil,
		"Relax the schema of this CustomResourceDefinition while this runs if it "+
			"refuses the removal of finalizers, and put it back: PLURAL.GROUP (repeatable)")
	f.StringArrayVar(&o.also, "also", nil, "With --yes, take this step, too, if it becomes necessary only later: "+
		strings.Join(stepNames(), ", ")+" (repeatable)")
	waitVar(f, &o.timeout, "timeout", 10*time.Minute, "How long it may take")
	waitVar(f, &o.patience, "patience", 10*time.Second, "How long nothing may change before the next step is taken")
	o.saving.addFlags(f)
}

// terminating returns the names of the namespaces that are being deleted.
func terminating(ctx context.Context, client *cluster.Client) ([]string, error) {
	all, err := client.Namespaces(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, ns := range all {
		if ns.Terminating() {
			out = append(out, ns.Name)
		}
	}
	return out, nil
}

// namespaceNames are the names in NAME, ns/NAME or namespace/NAME, each once.
func namespaceNames(args []string) (names []string) {
	for _, name := range args {
		kind, rest, typed := strings.Cut(name, "/")
		if typed && slices.Contains([]string{"namespace", "namespaces", "ns"}, kind) {
			name = rest
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Complete takes the names.
func (o *unstickOptions) Complete(_ *cobra.Command, args []string) (err error) {
	o.names = namespaceNames(args)
	return o.prepare()
}

// prepare makes the rules of the flags.
func (o *unstickOptions) prepare() (err error) {
	if o.cat, err = ownership.LoadCatalogue(); err != nil {
		return err
	}
	o.rules = finalize.Options{
		RemoveAPIServices: o.apiServices, RelaxSchemas: o.relax, Force: o.force, Patience: o.patience, By: o.Name,
		Product: product, Known: knownFinalizers(o.cat), Endure: true, Approve: o.approve,
	}
	if len(o.finalizers) > 0 {
		o.rules.Allow = finalize.Only(o.finalizers...)
	}
	return nil
}

// Validate checks the flags.
func (o *unstickOptions) Validate() error {
	switch {
	case len(o.names) == 0 && !o.all && !o.orphans:
		return usage(errors.New("which namespace? Name one, or pass --all for every one that is Terminating"))
	case len(o.names) > 0 && (o.all || o.orphans):
		return usage(fmt.Errorf("--all and --orphans take no names, but got %q", o.names[0]))
	case slices.Contains(o.names, ""):
		return usage(errors.New("the name of a namespace is empty"))
	case o.force && len(o.finalizers) > 0:
		return usage(errors.New("--force clears all finalizers: it can't be combined with --finalizer"))
	}
	return o.validateFlags()
}

func (o *unstickOptions) validateFlags() error {
	for _, step := range o.also {
		if !slices.Contains(stepNames(), step) {
			return usage(fmt.Errorf("--also takes %s, and not %q", strings.Join(stepNames(), ", "), step))
		}
	}
	if err := o.saving.validate(); err != nil {
		return err
	}
	return outputFormats(o.output, "", "json", "yaml")
}

// Run explains, asks, frees and looks again.
func (o *unstickOptions) Run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	var err error
	if o.client, err = o.connect(ctx); err != nil {
		return err
	}
	if o.all {
		if o.names, err = terminating(ctx, o.client); err != nil {
			return err
		}
	}
	if o.orphans {
		gone, err := finalize.OrphanedNamespaces(ctx, o.client)
		if err != nil {
			return err
		}
		o.names = append(o.names, gone...)
	}
	return o.run(ctx, "castai-unstick-ns")
}

// run explains, asks, frees and looks again. role is what a ClusterRole with the rights
// that are missing is called.
func (o *unstickOptions) run(ctx context.Context, role string) error {
	ds, err := o.examine(ctx)
	if _, no := errors.AsType[*finalize.Refusal](err); no {
		return refused(err)
	}
	if err != nil {
		return err
	}
	for _, line := range o.seen.StillRelaxed() {
		_, _ = fmt.Fprintln(o.ErrOut, printer.Escape(line)) // a message; the data goes elsewhere
	}
	if o.all || o.orphans {
		ds = o.skip(ds)
	}
	if err := o.unused(ds); err != nil {
		return err
	}
	if ds, err = o.askNames(ctx, ds); err != nil {
		return err
	}
	free := ds
	if o.all || o.orphans {
		free = o.possible(ds)
	}
	preview := finalize.Preview(free, o.rules)
	if err := o.show(ds, free, preview); err != nil {
		return err
	}
	switch {
	case len(ds) == 0:
		return nil
	case o.diagnose:
		return stuck(ds)
	case len(free) == 0:
		return refused(finalize.Refused(ds, o.rules))
	}
	if err := finalize.Refused(free, o.rules); err != nil {
		return refused(err)
	}
	if err := o.allowed(ctx, o.client, role, o.saving.rights(preview, finalize.Rights(free,
		o.rules))); err != nil {
		return err
	}
	switch o.dryRun {
	case dryRunClient:
		return nil
	case dryRunServer:
		return o.check(ctx, free)
	}
	if err := o.ask(ctx, free); err != nil {
		return err
	}
	return o.free(ctx, free, preview)
}

// possible returns the namespaces that can be freed, and remembers the others.
func (o *unstickOptions) possible(ds []*finalize.Diagnosis) []*finalize.Diagnosis {
	var free []*finalize.Diagnosis
	o.names = nil
	for _, d := range ds {
		if finalize.Refuse(d, o.rules) != nil {
			o.rest = append(o.rest, d)
			continue
		}
		free, o.names = append(free, d), append(o.names, d.Namespace)
	}
	return free
}

// examine looks at the namespaces and says why they are stuck. Whose a broken
// API or webhook is takes a look at the whole cluster, so that is done only if
// there is one.
func (o *unstickOptions) examine(ctx context.Context) ([]*finalize.Diagnosis, error) {
	ds, err := o.diagnoses(ctx)
	if err != nil || o.rules.Owned != nil || !slices.ContainsFunc(ds, needsOwner) {
		return ds, err
	}
	s, err := look(ctx, o.client, o.cat)
	if err != nil {
		return nil, err
	}
	o.rules.Owned = s.Judge(ownership.Options{}).IsOwned
	return o.judge(o.names)
}

func (o *unstickOptions) diagnoses(ctx context.Context) ([]*finalize.Diagnosis, error) {
	var err error
	if o.seen, err = o.look(ctx); err != nil {
		return nil, err
	}
	return o.judge(o.names)
}

// judge says what is to be done about the namespaces, from the last look.
func (o *unstickOptions) judge(names []string) ([]*finalize.Diagnosis, error) {
	var ds []*finalize.Diagnosis
	if o.object != nil {
		d, err := finalize.DiagnoseObject(o.seen, *o.object, o.rules)
		if err != nil {
			return nil, err
		}
		return append(ds, d), nil
	}
	for _, name := range names {
		d, err := finalize.Diagnose(o.seen, name, o.rules)
		if err != nil {
			return nil, err
		}
		ds = append(ds, d)
	}
	return ds, nil
}

func needsOwner(d *finalize.Diagnosis) bool {
	return slices.ContainsFunc(d.Causes, func(c finalize.Cause) bool { return c.API != nil || c.Webhook != nil })
}

func (o *unstickOptions) look(ctx context.Context) (*finalize.Observation, error) {
	if o.object != nil {
		return finalize.ObserveObject(ctx, o.teller(), *o.object)
	}
	if len(o.names) == 0 {
		return &finalize.Observation{Snapshot: &cluster.Snapshot{Server: o.client.Server()}}, nil
	}
	return finalize.Observe(ctx, o.teller(), o.names...)
}

// skip leaves out the namespaces that are not touched, and says so.
func (o *unstickOptions) skip(ds []*finalize.Diagnosis) []*finalize.Diagnosis {
	return slices.DeleteFunc(ds, func(d *finalize.Diagnosis) bool {
		if d.Refusal != nil {
			_, _ = fmt.Fprintln(o.ErrOut, printer.Escape(d.Refusal.Message)) // a message; the data goes elsewhere
			o.names = slices.DeleteFunc(o.names, func(name string) bool { return name == d.Namespace })
		}
		return d.Refusal != nil
	})
}

// show prints the diagnoses: the document to stdout where one was asked for and
// nothing else follows, text otherwise.
func (o *unstickOptions) show(ds, free []*finalize.Diagnosis, preview *engine.Plan) error {
	only := o.diagnose || o.dryRun == dryRunClient || len(ds) == 0
	if o.output != "" {
		if only {
			return printer.Print(o.Out, o.output, printer.NewDiagnosis(o.seen.Server, ds, preview))
		}
		return nil
	}
	text := printer.NewText(o.Out)
	for _, d := range ds {
		text.Diagnosis(d)
	}
	switch {
	case len(ds) == 0:
		text.NothingStuck(o.all, o.orphans)
	case len(free) > 0 && finalize.Refused(free, o.rules) == nil:
		patience := o.patience
		if o.force {
			patience = 0
		}
		text.Preview(preview, patience)
	}
	return text.Err()
}

// stuck is the error of a diagnosis: a namespace about which there is nothing to
// explain, or one that is stuck.
func stuck(ds []*finalize.Diagnosis) error {
	var why []string
	for _, d := range ds {
		if d.Refusal != nil && d.State != finalize.Terminating {
			return refused(d.Refusal)
		}
		if d.Stuck() {
			why = append(why, d.Summary)
		}
	}
	if len(why) == 0 {
		return nil
	}
	return &failure{ExitLeft, errors.New(strings.Join(why, ". "))}
}

// check lets the server judge every write of the preview that it can judge yet.
func (o *unstickOptions) check(ctx context.Context, ds []*finalize.Diagnosis) error {
	progress := printer.NewProgress(o.ErrOut, true)
	report, err := engine.Run(ctx, o.client, finalize.Check(ds, o.rules), engine.Options{DryRun: true,
		OnEvent: progress.Event})
	if o.output != "" {
		if printErr := printer.Print(o.Out, o.output, printer.NewUnstickReport(o.seen.Server, report, nil,
			err)); printErr != nil {
			return printErr
		}
	}
	if failed := report.Count(engine.ResultFailed); err == nil && failed > 0 {
		return fmt.Errorf("the server refused %d of the writes", failed)
	}
	return err
}

func (o *unstickOptions) ask(ctx context.Context, ds []*finalize.Diagnosis) error {
	question := fmt.Sprintf("This frees %s of cluster %s.", ds[0].Title(), o.seen.Server.DisplayName())
	word := o.names[0]
	if len(o.names) > 1 {
		word = o.seen.Server.DisplayName()
		question = fmt.Sprintf("This frees %d namespaces of cluster %s.", len(o.names), word)
	}
	for _, d := range ds {
		if o.force && d.Content.Objects > 0 {
			question += fmt.Sprintf(" It orphans %d objects in %s before they are deleted.", d.Content.Objects, d.Namespace)
		}
	}
	return o.confirm(ctx, o.yes, question, word)
}

// free carries the plan out, looks again, and says what became of it. What the
// preview names is saved first; what a later look finds is recorded.
func (o *unstickOptions) free(ctx context.Context, before []*finalize.Diagnosis, preview *engine.Plan) error {
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("it %w after %s: run it again to go on",
		engine.ErrTimeout, o.timeout))
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	if err := o.saving.begin(ctx, end, o.client, o.seen.Server, ""); err != nil {
		return err
	}
	journal, err := o.saving.save(ctx, o.client, &ownership.Inventory{Server: o.seen.Server}, preview)
	if err != nil {
		o.saving.finish(err)
		return err
	}
	progress := printer.NewProgress(o.ErrOut, false)
	r := finalize.Runner{Cluster: o.teller(), Object: o.object, Options: o.rules,
		OnEvent: recorded(journal, progress.Event)}
	result, err := r.Run(ctx, before)
	o.saving.closeJournal(journal, err)
	o.saving.finish(err)
	if result == nil {
		return refused(err)
	}
	if printErr := o.report(result.Report, before, result.After, err); printErr != nil {
		return printErr
	}
	if err != nil {
		return err
	}
	left := result.Left
	for _, d := range o.rest {
		left = append(left, finalize.Refuse(d, o.rules).Message)
	}
	if len(left) > 0 {
		return &failure{ExitLeft, errors.New(strings.Join(left, ". "))}
	}
	return nil
}

func (o *unstickOptions) report(r *engine.Report, before, after []*finalize.Diagnosis, err error) error {
	if o.output != "" {
		return printer.Print(o.Out, o.output, printer.NewUnstickReport(o.seen.Server, r, slices.Concat(after, o.rest), err))
	}
	text := printer.NewText(o.Out)
	text.Freed(r, before, after)
	for _, d := range o.rest {
		text.Refused(finalize.Refuse(d, o.rules))
	}
	return text.Err()
}
