package plugin

import (
	"context"
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
	"github.com/castai/kubectl-castai/pkg/engine"
)

// scheduleOptions are those of the commands of hibernate schedule.
type scheduleOptions struct {
	nightOptions
	do       func(ctx context.Context, s *hibernate.State, m *hibernate.Managed) error
	schedule hibernate.Schedule
	instance string
	assign   bool
	accept   []string
	tolerate bool
}

func newHibernateSchedule(r *Root) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schedule",
		Short: "List, create, assign and delete the service's own hibernation schedules",
		Long: templates.LongDesc(`
			Hibernation schedules belong to the organization at Cast AI, and may be for several clusters. The service's own
			hibernation (hibernate pause --managed) needs one that is for the cluster.`),
		Example: r.example(`
			%[1]s hibernate schedule list
			%[1]s hibernate schedule create nights --time-zone=Europe/Vilnius --assign
			%[1]s hibernate schedule unassign nights`),
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newScheduleList(r), newScheduleCreate(r),
		newScheduleAssign(r, "assign", "Have a schedule hibernate this cluster, too", true),
		newScheduleAssign(r, "unassign", "Have a schedule leave this cluster alone; the others in it stay", false),
		newScheduleDelete(r))
	return cmd
}

// newScheduleCommand makes one of the commands, without what it does.
func newScheduleCommand(r *Root, use, short string) (*scheduleOptions, *cobra.Command) {
	o := &scheduleOptions{nightOptions: nightOptions{Root: r, access: access{apiFlags: apiFlags{Root: r}},
		dryRun: dryRunNone}}
	cmd := &cobra.Command{Use: use, Short: short, Args: noArgs, RunE: run(o)}
	if _, _, named := strings.Cut(use, " "); named {
		cmd.Args = oneArg("the name or the id of a hibernation schedule")
	}
	o.access.addFlags(cmd.Flags())
	return o, cmd
}

// oneArg wants one argument, and names it where it is missing.
func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usage(fmt.Errorf("%s takes one argument: %s", cmd.CommandPath(), what))
		}
		return nil
	}
}

func newScheduleList(r *Root) *cobra.Command {
	o, cmd := newScheduleCommand(r, "list", "List the hibernation schedules of the organization")
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "Output format: json or yaml")
	o.do = o.list
	return cmd
}

func newScheduleCreate(r *Root) *cobra.Command {
	o, cmd := newScheduleCommand(r, "create NAME", "Create a hibernation schedule")
	f := cmd.Flags()
	f.StringVar(&o.schedule.Pause, "pause-schedule", hibernate.DefaultPause, "When to pause, as a CronJob's schedule")
	f.StringVar(&o.schedule.Resume, "resume-schedule", hibernate.DefaultResume, "When to resume, as a CronJob's schedule")
	f.StringVar(&o.schedule.TimeZone, "time-zone", hibernate.DefaultTimeZone,
		"Time zone of the schedules, by its name in the tz database")
	f.StringVar(&o.instance, "instance-type", "",
		"Instance type of the first node of a cluster that wakes up (default: that of the provider: "+
			hibernate.DefaultNodes()+")")
	f.BoolVar(&o.assign, "assign", false, "Have it hibernate this cluster")
	o.armFlags(f)
	o.do = func(ctx context.Context, s *hibernate.State, m *hibernate.Managed) error {
		return o.create(ctx, s, m, f.Arg(0))
	}
	return cmd
}

func newScheduleAssign(r *Root, verb, short string, assign bool) *cobra.Command {
	o, cmd := newScheduleCommand(r, verb+" SCHEDULE", short)
	f := cmd.Flags()
	if assign {
		o.armFlags(f)
	} else {
		f.BoolVar(&o.yes, "yes", false, "Do not ask for confirmation")
	}
	o.do = func(ctx context.Context, s *hibernate.State, m *hibernate.Managed) error {
		h, err := m.Find(f.Arg(0))
		if err != nil {
			return err
		}
		if m.For(h) == assign {
			if assign {
				return o.tell(fmt.Sprintf("Nothing to do: the schedule %s has this cluster already", h.Name))
			}
			return o.tell(fmt.Sprintf("Nothing to do: the schedule %s does not have this cluster", h.Name))
		}
		question := fmt.Sprintf("This has the hibernation schedule %s leave cluster %s alone.", h.Name, s.DisplayName())
		if !assign {
			err = o.confirm(ctx, o.yes, question, h.Name)
		} else {
			err = o.arm(ctx, s, m, h, fmt.Sprintf("This has the hibernation schedule %s (%s) hibernate cluster %s.", h.Name,
				described(h), s.DisplayName()))
		}
		if err != nil {
			return err
		}
		if err := m.Assign(ctx, o.api, h, assign); err != nil {
			return err
		}
		return o.tell("Done")
	}
	return cmd
}

func newScheduleDelete(r *Root) *cobra.Command {
	o, cmd := newScheduleCommand(r, "delete SCHEDULE", "Delete a hibernation schedule that is for no other cluster")
	f := cmd.Flags()
	f.BoolVar(&o.yes, "yes", false, "Do not ask for confirmation")
	o.do = func(ctx context.Context, _ *hibernate.State, m *hibernate.Managed) error {
		h, err := m.Find(f.Arg(0))
		if err != nil {
			return err
		}
		if err := o.confirm(ctx, o.yes, fmt.Sprintf("This deletes the hibernation schedule %s (%s) of the organization.",
			h.Name, described(h)), h.Name); err != nil {
			return err
		}
		if err := m.Delete(ctx, o.api, h); err != nil {
			return err
		}
		return o.tell("Deleted hibernation schedule " + h.Name)
	}
	return cmd
}

// Validate checks the flags.
func (o *scheduleOptions) Validate() error {
	for _, name := range o.accept {
		if !slices.Contains(armAcceptances, name) {
			return usage(fmt.Errorf("--accept=%s is unknown: it is %s", name, strings.Join(armAcceptances, " or ")))
		}
	}
	return o.validate()
}

// Run looks at the cluster and its organization, and does what the command is for.
func (o *scheduleOptions) Run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	if err := o.begin(ctx); err != nil {
		return err
	}
	s, m, err := o.seeManaged(ctx)
	if err != nil {
		return err
	}
	if err := s.ThisCluster(); err != nil {
		return refusal(err)
	}
	return refusal(o.do(ctx, s, m))
}

func (o *scheduleOptions) list(_ context.Context, s *hibernate.State, m *hibernate.Managed) error {
	doc := printer.NewHibernation(s.Server, s, nil, "")
	doc.Managed = printer.NewManaged(s, m, time.Now())
	if o.output != "" {
		return printer.Print(o.Out, o.output, doc)
	}
	text := printer.NewText(o.Out)
	text.Schedules(doc.Managed.Schedules)
	return text.Err()
}

func (o *scheduleOptions) create(ctx context.Context, s *hibernate.State, m *hibernate.Managed, name string) error {
	if err := o.schedule.Validate(time.Now(), o.accept); err != nil {
		return refused(err)
	}
	instance, err := s.InstanceType(hibernate.Settings{Node: o.instance})
	if err != nil {
		return err
	}
	if slices.ContainsFunc(m.Schedules, func(h castai.HibernationSchedule) bool { return h.Name == name }) {
		return refused(fmt.Errorf("there is a hibernation schedule %s already: hibernate schedule assign has it hibernate this cluster", name))
	}
	var clusters []string
	question := fmt.Sprintf("This creates the hibernation schedule %s, for no cluster yet.", name)
	if o.assign {
		clusters = []string{m.Cluster.Id}
		question = fmt.Sprintf("This creates the hibernation schedule %s, which hibernates cluster %s.", name,
			s.DisplayName())
	}
	h := hibernate.NewSchedule(name, o.schedule, instance, clusters...)
	if err := o.tell("It would be " + described(h)); err != nil {
		return err
	}
	if o.assign {
		err = o.arm(ctx, s, m, h, question)
	} else {
		err = o.confirm(ctx, o.yes, question, name)
	}
	if err != nil {
		return err
	}
	made, err := o.api.CreateHibernationSchedule(ctx, m.Cluster.OrganizationId, h)
	if err != nil {
		return err
	}
	return o.tell(fmt.Sprintf("Created hibernation schedule %s (%s)", name, made.Id))
}

// armAcceptances are the refusals that a schedule goes on against.
var armAcceptances = []string{hibernate.ReversedSchedule, hibernate.LongSleep, hibernate.OverlappingPairs,
	hibernate.LostPods}

// armFlags adds the flags of what has the service hibernate the cluster.
func (o *scheduleOptions) armFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&o.accept, "accept", nil, "Go on against this refusal: "+strings.Join(armAcceptances, " or ")+
		" (repeatable)")
	f.BoolVar(&o.tolerate, "add-tolerations", false,
		"Let Cast AI's components run on the temporary node that wakes the cluster")
	f.BoolVar(&o.yes, "yes", false, "Do not ask for confirmation")
}

// arm refuses a cluster that would not wake by itself, asks, looks again, and lets the
// components run on the node that wakes it.
func (o *scheduleOptions) arm(ctx context.Context, s *hibernate.State, m *hibernate.Managed,
	h castai.HibernationSchedule, question string) error {
	options := hibernate.ManagedOptions{Tolerate: o.tolerate, Accept: o.accept}
	p, err := hibernate.PlanAssign(s, m, h, options)
	if err != nil {
		return refusal(err)
	}
	o.runner.Step = armTimeout
	phases := o.runner.Tolerating(p)
	if len(phases) > 0 {
		text := printer.NewText(o.Out)
		text.ResumePlan(s.DisplayName(), phases, p.Warnings)
		if err := text.Err(); err != nil {
			return err
		}
		if err := o.allowed(ctx, o.client, "castai-hibernate", hibernate.Rights(phases)); err != nil {
			return err
		}
	}
	if err := o.confirm(ctx, o.yes, question, h.Name); err != nil {
		return err
	}
	if s, m, err = o.seeManaged(ctx); err != nil {
		return err
	}
	if p, err = hibernate.PlanAssign(s, m, h, options); err != nil {
		return refusal(err)
	}
	return o.runner.RunManaged(ctx, &engine.Report{}, o.runner.Tolerating(p))
}

// armTimeout bounds the change of a few Deployments.
const armTimeout = time.Minute

// described says what a schedule makes of a week.
func described(h castai.HibernationSchedule) string {
	if !h.Enabled || !h.PauseConfig.Enabled {
		return "it is not enabled"
	}
	s, err := hibernate.ScheduleOf(h)
	if err != nil {
		return err.Error()
	}
	f, err := s.Forecast(time.Now())
	if err != nil {
		return err.Error()
	}
	return f.String()
}

func (o *scheduleOptions) tell(message string) error {
	text := printer.NewText(o.Out)
	text.Message(message)
	return text.Err()
}
