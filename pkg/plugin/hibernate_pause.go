package plugin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/internal/hibernate"
	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// nightOptions are what pause and resume share.
type nightOptions struct {
	*Root
	access    access
	output    string
	dryRun    dryRun
	yes       bool
	inCluster bool
	name      string
	// unattended: nobody has seen the plan.
	unattended bool
	timeout    time.Duration
	step       time.Duration
	drain      time.Duration

	// managed: the service is to do it, on its own.
	managed bool

	client *cluster.Client
	api    *castai.Client
	runner *hibernate.Runner
	// started is when the run began, once it was agreed to.
	started time.Time
}

func (o *nightOptions) addFlags(f *pflag.FlagSet) {
	o.access.addFlags(f)
	f.StringVarP(&o.output, "output", "o", "", "Output format of the plan or report: json or yaml")
	o.dryRun.addFlag(f)
	f.BoolVar(&o.yes, "yes", false, "Do not ask for confirmation")
	f.BoolVar(&o.inCluster, "in-cluster", false, "Start a Job from the installed CronJob instead, and follow its log")
	f.BoolVar(&o.managed, "managed", false,
		"Have the service do it: its own hibernation leaves no node at all, and needs a hibernation schedule for the cluster")
	f.StringVar(&o.name, "name", "", "With --in-cluster: name of the pair of CronJobs")
	waitVar(f, &o.step, "step-timeout", 10*time.Minute,
		"How long a step may take, such as making a node, before the whole is taken back")
}

// Complete reads the key.
func (o *nightOptions) Complete(*cobra.Command, []string) error { return o.access.complete() }

// validate checks the flags that pause and resume share.
func (o *nightOptions) validate() error {
	if o.inCluster && o.dryRun != dryRunNone {
		return usage(errors.New("--in-cluster starts the Job that there is: it can't be combined with --dry-run"))
	}
	if o.managed && o.inCluster {
		return usage(errors.New("--managed and --in-cluster exclude each other"))
	}
	if o.name != "" && !o.inCluster {
		return usage(errors.New("--name names the CronJobs to start a Job from: pass --in-cluster, too"))
	}
	if err := outputFormats(o.output, "", "json", "yaml"); err != nil {
		return err
	}
	return o.access.validate(!o.inCluster)
}

// begin connects to the cluster and to Cast AI.
func (o *nightOptions) begin(ctx context.Context) (err error) {
	// What was done must be taken back after an interrupt, too.
	if o.client, err = o.connect(context.WithoutCancel(ctx)); err != nil || o.inCluster {
		return err
	}
	api, err := o.access.reach(ctx, o.client)
	if err != nil {
		return err
	}
	o.useRunner(api)
	return nil
}

// useRunner makes the runner that the flags describe.
func (o *nightOptions) useRunner(api *castai.Client) {
	o.runner, o.api = o.access.runner(o.client, api), api
	o.runner.DryRun = o.dryRun == dryRunServer
	o.runner.Step, o.runner.Drain, o.runner.Managed = o.step, o.drain, o.timeout
	o.runner.OnEvent = printer.NewProgress(o.ErrOut, o.runner.DryRun).Event
}

// inJob starts a Job from the CronJob of an action, and follows its log.
func (o *nightOptions) inJob(ctx context.Context, action string) error {
	in, err := o.installation(ctx, o.client)
	if err != nil {
		return err
	}
	pair := in.Pair(o.name)
	if pair == nil || pair.CronJob(action) == nil {
		return refused(missing(in, o.name))
	}
	cronJob := pair.CronJob(action)
	if err := o.confirm(ctx, o.yes, fmt.Sprintf("This starts a Job that will %s cluster %s.", action,
		o.client.Server().DisplayName()), o.client.Server().DisplayName()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout,
		fmt.Errorf("the Job %w after %s: it goes on, hibernate logs shows it", engine.ErrTimeout, o.timeout))
	defer cancel()
	job, err := o.client.StartJob(ctx, cronJob.Target())
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(o.ErrOut, "Job %s is started\n", job.Name); err != nil {
		return err
	}
	return o.followed(ctx, job)
}

// lastLines is how long the log of a Job that has ended may take to arrive.
const lastLines = 3 * time.Second

// followed copies the log of a Job until the Job ends, and is the error that it
// ended with. That there is no log is told, and no reason to fail.
func (o *nightOptions) followed(ctx context.Context, job cluster.Target) error {
	logCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	logged := make(chan error, 1)
	go func() { logged <- o.log(logCtx, o.client, job.Name, true) }()
	ended := o.ended(ctx, job)
	late := time.AfterFunc(lastLines, cancel) // a kubelet that does not say that the log is over
	defer late.Stop()
	if err := <-logged; err != nil && logCtx.Err() == nil {
		printer.NewText(o.ErrOut).Message(fmt.Sprintf("The log can't be read: %v", err))
	}
	return ended
}

// ended waits for a Job to end, and is the error that it ended with.
func (o *nightOptions) ended(ctx context.Context, job cluster.Target) error {
	jobs := &cluster.Resource{Group: "batch", Version: "v1", Name: "jobs", Kind: "Job", Namespaced: true}
	return o.client.Await(ctx, jobs, job.Namespace, [][]string{{"status"}}, func(all []*cluster.Object) (bool, error) {
		i := slices.IndexFunc(all, func(j *cluster.Object) bool { return j.UID == job.UID })
		if i < 0 {
			return false, fmt.Errorf("the Job %s was removed before it ended", job.Name)
		}
		switch hibernate.JobResult(all[i]) {
		case "failed":
			return false, fmt.Errorf("the Job %s has failed: its log says why", job.Name)
		case "succeeded":
			return true, nil
		}
		return false, nil
	})
}

// alone makes sure that nobody else pauses or resumes meanwhile.
func (o *nightOptions) alone(ctx context.Context) (held context.Context, release func(), err error) {
	o.started = time.Now()
	if o.runner.DryRun {
		return ctx, func() {}, nil
	}
	held, release, err = o.runner.Hold(ctx)
	return held, release, refusal(err)
}

// finish prints what became of a run.
func (o *nightOptions) finish(ctx context.Context, what string, report *engine.Report, runErr error) error {
	if o.output != "" {
		doc, err := o.document(ctx, report, runErr)
		if err != nil {
			return errors.Join(runErr, err)
		}
		return errors.Join(runErr, printer.Print(o.Out, o.output, doc))
	}
	if runErr != nil {
		return runErr
	}
	text := printer.NewText(o.Out)
	text.Slept(what, report, time.Since(o.started))
	return text.Err()
}

// document says what the cluster is at after a run.
func (o *nightOptions) document(ctx context.Context, report *engine.Report, runErr error) (*printer.Hibernation,
	error) {
	after, err := o.runner.Observe(context.WithoutCancel(ctx))
	if err != nil {
		return nil, err
	}
	doc := printer.NewHibernation(after.Server, after, nil, "")
	doc.Report = report
	if runErr != nil {
		doc.Error = runErr.Error()
	}
	return doc, nil
}

// already says that there is nothing to do.
func (o *nightOptions) already(s *hibernate.State, why string) error {
	if o.output != "" {
		return printer.Print(o.Out, o.output, printer.NewHibernation(s.Server, s, nil, ""))
	}
	text := printer.NewText(o.Out)
	text.Message("Nothing to do: " + why)
	return text.Err()
}

// agreed shows the plan, checks the rights to carry it out and asks. It returns
// false if it is not to be carried out.
func (o *nightOptions) agreed(ctx context.Context, s *hibernate.State, phases []engine.Phase, question string,
	plan func(*printer.Text)) (bool, error) {
	if err := o.show(s, phases, plan); err != nil || o.dryRun == dryRunClient {
		return false, err
	}
	if err := o.allowed(ctx, o.client, "castai-hibernate",
		append(hibernate.Rights(phases), watching(o.namespace())...)); err != nil {
		return false, err
	}
	if o.dryRun == dryRunNone {
		if err := o.confirm(ctx, o.yes, question, s.Server.DisplayName()); err != nil {
			return false, err
		}
	}
	return true, nil
}

// show prints the plan: the document to stdout where one was asked for and
// nothing else follows, text otherwise.
func (o *nightOptions) show(s *hibernate.State, phases []engine.Phase, plan func(*printer.Text)) error {
	if o.output == "" {
		text := printer.NewText(o.Out)
		plan(text)
		return text.Err()
	}
	if o.dryRun != dryRunClient {
		return nil
	}
	doc := printer.NewHibernation(s.Server, s, nil, "")
	doc.Phases = phases
	return printer.Print(o.Out, o.output, doc)
}

// holding are the rights to keep other runs away.
func holding(namespace string) []cluster.Right {
	var out []cluster.Right
	for _, verb := range []string{"create", "get", "update", "delete"} {
		out = append(out, cluster.Right{Group: "coordination.k8s.io", Resource: "leases", Verb: verb, Namespace: namespace})
	}
	return out
}

// watching are the rights that waiting needs, beside those of a plan.
func watching(namespace string) []cluster.Right {
	var out []cluster.Right
	for _, verb := range []string{"list", "watch"} {
		for _, resource := range []string{"nodes", "pods"} {
			out = append(out, cluster.Right{Resource: resource, Verb: verb})
		}
		out = append(out, cluster.Right{Group: "batch", Resource: "jobs", Namespace: namespace, Verb: verb})
	}
	return out
}

type hibernatePauseOptions struct {
	nightOptions
	settings   hibernate.Settings
	nodeLabels string
	namespaces []string
	policy     string
	foreign    bool
	accept     []string
	keep       string
	tolerate   bool
}

func newHibernatePause(r *Root) *cobra.Command {
	o := &hibernatePauseOptions{nightOptions: nightOptions{Root: r, access: access{apiFlags: apiFlags{Root: r}}}}
	cmd := &cobra.Command{
		Use:   "pause",
		Short: "Pause the cluster now",
		Long: templates.LongDesc(`
			Stops Cast AI's autoscaler, takes or makes one small on-demand hibernation node, moves what is essential there
			(kube-system, Cast AI's components, what has a system-critical priority, the namespaces that you name), and has
			Cast AI drain and delete the other nodes that it made. Shows the plan first and asks.

			If it fails before a node is gone, it takes everything back. If it is killed, run it again to go on, or resume.`),
		Example: r.example(`
			# Show the plan and ask
			%[1]s hibernate pause

			# Only show it
			%[1]s hibernate pause --dry-run

			# Keep a namespace running and the protected nodes, in a script
			%[1]s hibernate pause --namespaces-to-keep=monitoring --protect-removal-disabled --yes

			# As the CronJob would do it
			%[1]s hibernate pause --in-cluster

			# Have the service do it, which leaves no node at all
			%[1]s hibernate schedule create nights --assign
			%[1]s hibernate pause --managed`),
		Args: noArgs, RunE: run(o),
	}
	f := cmd.Flags()
	o.addFlags(f)
	f.StringVar(&o.settings.Node, "hibernate-node", "",
		"Instance type of the hibernation node (default: that of the provider: "+hibernate.DefaultNodes()+")")
	f.StringVar(&o.nodeLabels, "hibernate-node-labels", "", "Labels for that node: KEY=VALUE,...")
	f.StringSliceVar(&o.namespaces, "namespaces-to-keep", nil,
		"Namespaces whose workloads run through the pause, beside kube-system and Cast AI's")
	f.StringVar(&o.keep, "keep", hibernate.KeepPods, "How those are kept: "+hibernate.KeepHelp())
	f.BoolVar(&o.settings.ProtectRemovalDisabled, "protect-removal-disabled", false,
		"Keep the nodes that have the label or annotation autoscaling.cast.ai/removal-disabled=true")
	f.StringVar(&o.policy, "policy", hibernate.SwitchAll, "What to stop of the autoscaler: "+hibernate.SwitchAll+
		" policies, or only the one of "+hibernate.SwitchUnschedulable)
	f.BoolVar(&o.foreign, "include-foreign-nodes", false, "Remove the nodes that Cast AI did not make, too")
	f.StringArrayVar(&o.accept, "accept", nil, "Go on against this refusal: "+strings.Join(hibernate.Refusals(), " or ")+
		" (repeatable)")
	f.BoolVar(&o.tolerate, "add-tolerations", false,
		"With --managed: let Cast AI's components run on the temporary node that wakes the cluster")
	waitVar(f, &o.timeout, "timeout", 45*time.Minute, "How long the pause may take")
	waitVar(f, &o.drain, "drain-timeout", 5*time.Minute,
		"How long the pods of a node may take to be evicted, as their PodDisruptionBudgets allow; then the node goes all the same")
	return cmd
}

// Complete reads the key and the lists.
func (o *hibernatePauseOptions) Complete(cmd *cobra.Command, args []string) (err error) {
	if o.settings.NodeLabels, err = hibernate.ParseLabels(o.nodeLabels); err != nil {
		return usage(fmt.Errorf("--hibernate-node-labels: %w", err))
	}
	o.settings.NamespacesToKeep = hibernate.SplitNames(strings.Join(o.namespaces, ","))
	return o.nightOptions.Complete(cmd, args)
}

// Validate checks the flags.
func (o *hibernatePauseOptions) Validate() error {
	if err := o.settings.Validate(); err != nil {
		return usage(err)
	}
	if !slices.Contains([]string{hibernate.SwitchAll, hibernate.SwitchUnschedulable}, o.policy) {
		return usage(fmt.Errorf("--policy=%s is unknown: it is %s or %s", o.policy, hibernate.SwitchAll,
			hibernate.SwitchUnschedulable))
	}
	if err := acceptable(o.accept); err != nil {
		return usage(fmt.Errorf("--accept: %w", err))
	}
	if o.managed && len(o.settings.NamespacesToKeep) > 0 {
		return usage(errors.New("the service's own hibernation keeps no namespace: leave out --managed or --namespaces-to-keep"))
	}
	if !slices.Contains(hibernate.KeepModes(), o.keep) {
		return usage(fmt.Errorf("--keep=%s is unknown: it is %s", o.keep, strings.Join(hibernate.KeepModes(), " or ")))
	}
	return o.validate()
}

// acceptable tells whether all of these are refusals that a pause may go on against.
func acceptable(names []string) error {
	for _, name := range names {
		if !slices.Contains(hibernate.Refusals(), name) {
			return fmt.Errorf("%s is unknown: it is %s", name, strings.Join(hibernate.Refusals(), " or "))
		}
	}
	return nil
}

// Run plans, shows, asks and pauses.
func (o *hibernatePauseOptions) Run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	if err := o.begin(ctx); err != nil {
		return err
	}
	switch {
	case o.inCluster:
		return o.inJob(ctx, "pause")
	case o.managed:
		return o.manage(ctx, "This has the service hibernate cluster %s: all its nodes go.",
			"The service has hibernated the cluster", func(s *hibernate.State, m *hibernate.Managed) (*hibernate.ManagedPlan,
				error) {
				return hibernate.PlanManagedPause(s, m, hibernate.ManagedOptions{Tolerate: o.tolerate, Accept: o.accept})
			})
	}
	options := hibernate.PauseOptions{Settings: o.settings, Switch: o.policy, Foreign: o.foreign, Accept: o.accept,
		Keep: o.keep, Run: newRun(), By: o.runner.By}
	state, plan, err := o.plan(ctx, &options)
	if err != nil {
		return err
	}
	if plan.Already != "" {
		return o.already(state, plan.Already)
	}
	plan.Warnings = append(plan.Warnings, state.Way(o.settings.NamespacesToKeep).String())
	phases := o.runner.Phases(plan)
	question := fmt.Sprintf("This pauses cluster %s and removes %d of its %d nodes.", state.DisplayName(),
		len(plan.Remove), len(state.Nodes))
	if n := len(plan.Coming); n > 0 {
		question = fmt.Sprintf("%s %d more are being made and go, too.", question, n)
	}
	if agreed, err := o.agreed(ctx, state, phases, question,
		func(t *printer.Text) { t.PausePlan(state.DisplayName(), plan, phases) }); !agreed {
		return err
	}
	return o.pause(ctx, options)
}

// newRun identifies a pause; it must be the value of a label.
func newRun() string { return strings.ToLower(rand.Text()[:12]) }

// plan plans a pause of a cluster that nothing else pauses. It leaves out of the
// namespaces to keep what is kept anyway, and, where nobody could correct the list,
// what is not there.
func (o *nightOptions) plan(ctx context.Context, options *hibernate.PauseOptions) (*hibernate.State, *hibernate.Pause,
	error) {
	state, err := o.runner.Observe(ctx)
	if err != nil {
		return nil, nil, err
	}
	var notes []string
	keep, missing := state.Keepable(options.NamespacesToKeep)
	if options.NamespacesToKeep = keep; !o.unattended {
		options.NamespacesToKeep = slices.Concat(keep, missing)
	} else if len(missing) > 0 {
		notes = append(notes, "these namespaces are to be kept and are not there: "+strings.Join(missing, ", "))
	}
	plan, err := hibernate.PlanPause(state, *options)
	if err != nil || plan.Already != "" {
		return state, plan, refusal(err)
	}
	unknown, err := o.access.unarmed(ctx, o.api, options.Accept)
	if err != nil {
		return nil, nil, err
	}
	plan.Warnings = slices.Concat(plan.Warnings, notes, unknown)
	return state, plan, nil
}

// pause pauses the cluster, from a fresh look at it: somebody else may have done
// so since.
func (o *nightOptions) pause(ctx context.Context, options hibernate.PauseOptions) error {
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout,
		fmt.Errorf("the pause %w after %s", engine.ErrTimeout, o.timeout))
	defer cancel()
	held, release, err := o.alone(ctx)
	if err != nil {
		return err
	}
	defer release()
	state, plan, err := o.plan(held, &options)
	if err != nil {
		return err
	}
	if plan.Already != "" {
		return o.already(state, plan.Already)
	}
	o.warn(plan.Warnings)
	report, err := o.runner.Pause(held, plan, options)
	return o.finish(ctx, "The cluster is paused", report, refusal(err))
}

// warn puts into the log what a person would have read in the plan.
func (o *nightOptions) warn(warnings []string) {
	for _, w := range warnings {
		if o.unattended {
			o.runner.Tell("Note: " + w)
		}
	}
}
