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

	"github.com/castai/kubectl-castai/internal/hibernate"
	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// configureOptions are those of install, and of set, which changes some of them.
type configureOptions struct {
	*Root
	access access
	// set: there must be an installation, and only the flags that are given count.
	set        bool
	name       string
	flags      *pflag.FlagSet
	given      hibernate.Configuration
	nodeLabels string
	namespaces []string
	accept     []string
	output     string
	dryRun     dryRun
	yes        bool

	client *cluster.Client
	in     *hibernate.Installation
	pair   *hibernate.Pair // nil: it is not there
}

func newHibernateInstall(r *Root) *cobra.Command {
	o := &configureOptions{Root: r, access: access{apiFlags: apiFlags{Root: r}}}
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Install the CronJobs that pause and resume the cluster",
		Long: templates.LongDesc(`
			Installs the CronJobs that Cast AI documents for pausing a cluster, with the rights that they need and no more.
			Checks the schedules, the time zone and the API key before anything is written, and shows when the cluster will
			pause and resume next, by your clock.`),
		Example: r.example(`
			# With the documented schedule: from 22:00 to 7:00 on working days
			%[1]s hibernate install --api-key-file=key --time-zone=Europe/Vilnius

			# Keep two namespaces running, and the nodes that are marked removal-disabled
			%[1]s hibernate install --api-key-file=key --namespaces-to-keep=monitoring,istio-system --protect-removal-disabled

			# A second pair of CronJobs, for another time slot and other namespaces
			%[1]s hibernate install --name=lunch --namespaces-to-keep=training --pause-schedule='0 12 * * 6' --resume-schedule='0 18 * * 6'`),
		Args: noArgs, RunE: run(o),
	}
	o.addFlags(cmd)
	return cmd
}

func newHibernateSet(r *Root) *cobra.Command {
	o := &configureOptions{Root: r, access: access{apiFlags: apiFlags{Root: r}}, set: true}
	cmd := &cobra.Command{
		Use:   "set",
		Short: "Change the schedule or the settings of the installed CronJobs",
		Long: templates.LongDesc(`
			Changes what the flags name of an installation, and nothing else of it. One that was made by Helm is left to
			Helm: then the command for it is shown.`),
		Example: r.example(`
			%[1]s hibernate set --pause-schedule='0 20 * * 1-5'
			%[1]s hibernate set --api-key-file=- < key`),
		Args: noArgs, RunE: run(o),
	}
	o.addFlags(cmd)
	return cmd
}

func (o *configureOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	o.flags = f
	o.access.addFlags(f)
	nameVar(f, &o.name)
	f.StringVar(&o.given.Pause, "pause-schedule", hibernate.DefaultPause, "When to pause, as a CronJob's schedule")
	f.StringVar(&o.given.Resume, "resume-schedule", hibernate.DefaultResume, "When to resume, as a CronJob's schedule")
	f.StringVar(&o.given.TimeZone, "time-zone", hibernate.DefaultTimeZone,
		"Time zone of the schedules, by its name in the tz database")
	f.StringVar(&o.given.Node, "hibernate-node", "",
		"Instance type of the hibernation node (default: that of the provider: "+hibernate.DefaultNodes()+")")
	f.StringVar(&o.nodeLabels, "hibernate-node-labels", "", "Labels for that node: KEY=VALUE,...")
	f.StringSliceVar(&o.namespaces, "namespaces-to-keep", nil,
		"Namespaces whose workloads run through a pause, beside kube-system and Cast AI's")
	f.BoolVar(&o.given.ProtectRemovalDisabled, "protect-removal-disabled", false,
		"Keep the nodes that have the label or annotation autoscaling.cast.ai/removal-disabled=true")
	f.StringVar(&o.given.Image, "image", hibernate.DefaultImage,
		"Image of the jobs: Cast AI's, or one of kubectl-castai (hibernate run)")
	f.StringVar(&o.given.Keep, "keep", "", "How those are kept, with an --image of kubectl-castai: "+
		strings.Join(hibernate.KeepModes(), " or ")+" (see hibernate pause)")
	f.StringArrayVar(&o.accept, "accept", nil, "Go on against this refusal: "+strings.Join(hibernate.ScheduleRefusals(),
		", ")+"; or have the jobs do so, with an --image of kubectl-castai: "+strings.Join(hibernate.Refusals(), ", ")+
		" (repeatable)")
	f.StringVarP(&o.output, "output", "o", "", "Output format of the plan or report: json or yaml")
	o.dryRun.addFlag(f)
	f.BoolVar(&o.yes, "yes", false, "Do not ask for confirmation")
}

// Complete reads the key and the lists.
func (o *configureOptions) Complete(*cobra.Command, []string) (err error) {
	if o.given.NodeLabels, err = hibernate.ParseLabels(o.nodeLabels); err != nil {
		return usage(fmt.Errorf("--hibernate-node-labels: %w", err))
	}
	o.given.NamespacesToKeep = hibernate.SplitNames(strings.Join(o.namespaces, ","))
	return o.access.complete()
}

// Validate checks the flags.
func (o *configureOptions) Validate() error {
	if err := o.validateAcceptances(); err != nil {
		return usage(err)
	}
	if err := hibernate.CheckName(o.name); err != nil && !o.set {
		return usage(fmt.Errorf("--name: %w", err))
	}
	if o.given.Image == "" {
		return usage(errors.New("--image is empty: name the image of the jobs"))
	}
	if o.set && !slices.ContainsFunc(settingFlags, o.flags.Changed) && o.access.keyFile == "" {
		return usage(fmt.Errorf("nothing to set: name at least one of --%s or --api-key-file",
			strings.Join(settingFlags, ", --")))
	}
	// A further pair has the Secret of the first one.
	if err := o.access.validate(!o.set && o.name == ""); err != nil {
		return err
	}
	if !o.set {
		if err := o.given.Schedule.Validate(time.Now(), o.accept); err != nil {
			return refused(err)
		}
	}
	return outputFormats(o.output, "", "json", "yaml")
}

// validateAcceptances checks what is accepted, and splits it: the jobs get what they
// are to go on against. Cast AI's own job would go on without having read it.
func (o *configureOptions) validateAcceptances() error {
	known := append(hibernate.ScheduleRefusals(), hibernate.Refusals()...)
	o.given.Accept = nil
	for _, name := range o.accept {
		switch {
		case name == "":
		case !slices.Contains(known, name):
			return fmt.Errorf("--accept=%s is unknown: it is %s", name, strings.Join(known, " or "))
		case slices.Contains(hibernate.Refusals(), name):
			o.given.Accept = append(o.given.Accept, name)
		}
	}
	if o.given.Keep != "" && !slices.Contains(hibernate.KeepModes(), o.given.Keep) {
		return fmt.Errorf("--keep=%s is unknown: it is %s", o.given.Keep, strings.Join(hibernate.KeepModes(), " or "))
	}
	return nil
}

// changed tells which settings were given. What accepts a schedule is for this
// command, and no setting.
func (o *configureOptions) changed(flag string) bool {
	schedule := func(name string) bool { return slices.Contains(hibernate.ScheduleRefusals(), name) }
	if flag == "accept" && slices.ContainsFunc(o.accept, schedule) && len(o.given.Accept) == 0 {
		return false
	}
	return o.flags.Changed(flag)
}

// settingFlags are those of a configuration.
var settingFlags = []string{
	"pause-schedule", "resume-schedule", "time-zone", "hibernate-node", "hibernate-node-labels", "namespaces-to-keep",
	"protect-removal-disabled", "image", "api-url", "keep", "accept",
}

// Run looks, checks, shows, asks and applies.
func (o *configureOptions) Run(cmd *cobra.Command) (err error) {
	ctx := cmd.Context()
	if o.client, err = o.connect(ctx); err != nil {
		return err
	}
	if o.in, err = o.installation(ctx, o.client); err != nil {
		return err
	}
	o.pair = o.in.Pair(o.name)
	switch {
	case o.set && !o.pair.Whole():
		return refused(missing(o.in, o.name))
	case !o.set && o.pair.Whole() && o.pair.Release == "" && !o.pair.Foreign():
		return refused(errors.New("hibernation is installed already: hibernate set changes it"))
	case !o.set && o.access.key.IsZero() && !o.in.HasSecret():
		return o.access.validate(true)
	}
	if o.pair != nil {
		if err := o.pair.Changeable(); err != nil {
			return refused(err)
		}
	}
	inv, err := o.judge(ctx)
	if err != nil {
		return err
	}
	c, err := o.configuration(inv)
	if err != nil {
		return err
	}
	if o.pair != nil && o.pair.Release != "" {
		return o.leaveToHelm(c)
	}
	notes, err := o.service(ctx, c)
	if err != nil {
		return err
	}
	return o.apply(ctx, inv, c, notes)
}

// service refuses to have the cluster paused beside a schedule of the service's own.
// Without an API key nobody can be asked: the jobs ask, if they run this plugin's image.
func (o *configureOptions) service(ctx context.Context, c hibernate.Configuration) (notes []string, err error) {
	accept := slices.Concat(c.Accept, o.accept)
	if o.access.key.IsZero() || slices.Contains(accept, hibernate.ServiceSchedule) {
		return nil, nil
	}
	api, err := o.access.api()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return o.access.unarmed(ctx, api, accept)
}

// missing says that a pair is not there, and which are.
func missing(in *hibernate.Installation, name string) error {
	what := "hibernation is not installed in namespace " + in.Namespace
	if name != "" {
		what = fmt.Sprintf("there is no pair %s of CronJobs in namespace %s", name, in.Namespace)
	}
	if len(in.Pairs) > 0 {
		return fmt.Errorf("%s: run hibernate install, or name one that is there with --name: %s", what, in.Names())
	}
	return fmt.Errorf("%s: run hibernate install", what)
}

// nameVar adds the flag that names a pair of CronJobs.
func nameVar(f *pflag.FlagSet, name *string) {
	f.StringVar(name, "name", "", "Name of a further pair of CronJobs, beside the documented one")
}

// judge refuses objects of others under the names of the installation, and
// namespaces that are not there.
func (o *configureOptions) judge(ctx context.Context) (*ownership.Inventory, error) {
	cat, err := ownership.LoadCatalogue()
	if err != nil {
		return nil, err
	}
	s, err := look(ctx, o.client, cat)
	if err != nil {
		return nil, err
	}
	// Whose an object is, is not known to those who don't see who else uses it.
	kinds := slices.Concat(hibernate.InstallationScope(o.namespace()).Kinds, hibernate.Scope(o.namespace()).Kinds)
	if err := hibernate.Readable(s.snap, kinds...); err != nil {
		return nil, refused(err)
	}
	inv := s.Judge(ownership.Options{})
	for _, r := range o.in.Targets(o.name) {
		if found, err := s.snap.Find(r); err == nil && !inv.IsOwned(found.Ref()) {
			return nil, refused(fmt.Errorf("%s is there and is not known to be Cast AI's (status %s says why): it would be overwritten", r, r))
		}
	}
	for _, ns := range append([]string{o.namespace()}, o.given.NamespacesToKeep...) {
		if _, err := s.snap.Find(cluster.Ref{Kind: "Namespace", Name: ns}); err != nil {
			return nil, refused(fmt.Errorf("there is no namespace %s in the cluster", ns))
		}
	}
	return inv, nil
}

// configuration is what the installation is to become.
func (o *configureOptions) configuration(inv *ownership.Inventory) (hibernate.Configuration, error) {
	c := o.given
	if o.set {
		c = o.pair.Configuration.With(o.given, o.changed)
	}
	if o.pair != nil {
		set := o.changed
		if !o.set {
			set = func(string) bool { return true }
		}
		if problem := o.pair.Problem(set); problem != "" {
			return c, refused(errors.New(problem))
		}
	}
	if o.set && o.access.url == "" {
		o.access.url = c.APIURL
	}
	if o.access.key.IsZero() && o.access.clusterID == "" && o.set {
		o.access.clusterID = inv.Identity.ClusterID // nothing of it is written
	} else if err := o.access.identify(inv.Identity); err != nil {
		return c, err
	}
	c.APIURL = o.access.url
	if !c.Own() { // Cast AI's job asks nobody, so that this is for this command only
		c.Accept = slices.DeleteFunc(slices.Clone(c.Accept),
			func(name string) bool { return name == hibernate.ServiceSchedule })
	}
	if c.Provider == "" {
		c.Provider = hibernate.Provider(inv.Objects())
	}
	if err := c.Settings.Validate(); err != nil {
		return c, refused(err)
	}
	if err := c.Readable(); err != nil {
		return c, refused(err)
	}
	return c, o.schedule(inv.Server, c.Schedule)
}

// schedule checks a schedule that is new: alone, beside those of other pairs, and
// whether the server takes its zone. One that is there was accepted.
func (o *configureOptions) schedule(server cluster.Server, s hibernate.Schedule) error {
	if o.set && s == o.pair.Configuration.Schedule {
		return nil
	}
	if err := s.TakenBy(server.Version); err != nil {
		return refused(err)
	}
	if err := s.Validate(time.Now(), o.accept); err != nil {
		return refused(err)
	}
	if err := o.in.Clashes(o.name, s, time.Now(), o.accept); err != nil {
		return refused(err)
	}
	return nil
}

// leaveToHelm shows the command that sets an installation by Helm.
func (o *configureOptions) leaveToHelm(c hibernate.Configuration) error {
	command, missing := o.pair.HelmCommand(o.in.Namespace, c)
	text := printer.NewText(o.Out)
	text.Message(command)
	if err := text.Err(); err != nil {
		return err
	}
	why := fmt.Sprintf("Helm release %s made this installation, and would undo what others change: use the command above",
		o.pair.Release)
	if len(missing) > 0 {
		why += "; it does not cover " + strings.Join(missing, ", ")
	}
	return refused(errors.New(why))
}

func (o *configureOptions) apply(ctx context.Context, inv *ownership.Inventory, c hibernate.Configuration,
	notes []string) error {
	var key *hibernate.Key
	if !o.access.key.IsZero() && (!o.set && !o.in.HasSecret() || !o.set && o.name == "" || o.access.keyFile != "") {
		key = &hibernate.Key{APIKey: o.access.key.Reveal(), ClusterID: o.access.clusterID}
	}
	plan := o.in.Install(o.name, c, key)
	doc := printer.NewHibernation(inv.Server, nil, o.in, o.name)
	doc.Phases = plan.Phases
	if o.output == "" {
		text := printer.NewText(o.Out)
		before := hibernate.Configuration{}
		if o.pair != nil {
			before = o.pair.Configuration
		}
		text.InstallPlan(inv.Server, c, plan.Phases, c.Changes(before), time.Now())
		for _, note := range notes {
			text.Message("\nNote: " + note)
		}
		if err := text.Err(); err != nil {
			return err
		}
	}
	if o.dryRun == dryRunClient {
		return o.print(doc)
	}
	if err := o.allowed(ctx, o.client, "castai-hibernate-install", engine.Rights(plan)); err != nil {
		return err
	}
	if o.dryRun == dryRunNone {
		question := fmt.Sprintf("This sets when cluster %s pauses and resumes.", inv.Server.DisplayName())
		if err := o.confirm(ctx, o.yes, question, inv.Server.DisplayName()); err != nil {
			return err
		}
	}
	return o.carryOut(ctx, plan, doc)
}

// carryOut runs a plan and prints the report.
func (o *configureOptions) carryOut(ctx context.Context, plan *engine.Plan, doc *printer.Hibernation) error {
	dry := o.dryRun == dryRunServer
	report, err := engine.Run(ctx, o.client, plan, engine.Options{DryRun: dry,
		OnEvent: printer.NewProgress(o.ErrOut, dry).Event})
	return o.report(report, doc, err)
}

// report prints what became of a plan.
func (o *configureOptions) report(report *engine.Report, doc *printer.Hibernation, err error) error {
	if failed := report.Count(engine.ResultFailed); failed > 0 {
		err = fmt.Errorf("the server refused %d of the writes: %s", failed, firstFailure(report))
	}
	doc.Report = report
	if err != nil {
		doc.Error = err.Error()
	}
	return errors.Join(err, o.print(doc))
}

// firstFailure is the message of what failed first.
func firstFailure(r *engine.Report) string {
	for _, outcome := range r.Outcomes {
		if outcome.Result == engine.ResultFailed {
			return outcome.Message
		}
	}
	return ""
}

func (o *configureOptions) print(doc *printer.Hibernation) error {
	if o.output == "" {
		return nil
	}
	return printer.Print(o.Out, o.output, doc)
}
