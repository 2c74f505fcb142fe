package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/internal/hibernate"
	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/cluster"
)

type hibernateStatusOptions struct {
	*Root
	access access
	name   string
	output string
	// managed: also what the service's own hibernation is at.
	managed bool
	api     *castai.Client
}

func newHibernateStatus(r *Root) *cobra.Command {
	o := &hibernateStatusOptions{Root: r, access: access{apiFlags: apiFlags{Root: r}}}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show whether the cluster is paused, since when, and when it will be",
		Long: templates.LongDesc(`
			Shows whether the cluster is paused, by whom and since when, when it will pause and resume, how the last runs
			went, and what earlier runs left on nodes and workloads, those of Cast AI's own job included. With an API key, it
			also shows the autoscaler. Changes nothing.`),
		Example: r.example(`%[1]s hibernate status -o json`),
		Args:    noArgs, RunE: run(o),
	}
	o.access.addFlags(cmd.Flags())
	cmd.Flags().BoolVar(&o.managed, "managed", false,
		"Also show the service's own hibernation: its schedules, and which of the two ways fits the cluster")
	cmd.Flags().StringVar(&o.name, "name", "", "Only the pair of CronJobs of this name")
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "Output format: json or yaml")
	return cmd
}

// Complete reads the key, if there is one.
func (o *hibernateStatusOptions) Complete(*cobra.Command, []string) error { return o.access.complete() }

// Validate checks the flags.
func (o *hibernateStatusOptions) Validate() error {
	if err := o.access.validate(o.managed); err != nil {
		return err
	}
	return outputFormats(o.output, "", "json", "yaml")
}

// Run looks and says what it sees.
func (o *hibernateStatusOptions) Run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	client, err := o.connect(ctx)
	if err != nil {
		return err
	}
	state, err := o.observe(ctx, client)
	if err != nil {
		return err
	}
	in, err := o.installation(ctx, client)
	if err != nil {
		return err
	}
	if o.name != "" && in.Pair(o.name) == nil {
		return refused(missing(in, o.name))
	}
	doc := printer.NewHibernation(state.Server, state, in, o.name)
	if doc.Managed, err = o.service(ctx, state); err != nil {
		return err
	}
	if o.output != "" {
		return printer.Print(o.Out, o.output, doc)
	}
	text := printer.NewText(o.Out)
	text.Hibernation(doc)
	return text.Err()
}

// service is what the service's own hibernation is at, if it was asked for, or
// hibernates the cluster.
func (o *hibernateStatusOptions) service(ctx context.Context, state *hibernate.State) (*printer.Managed, error) {
	if o.api == nil {
		if o.managed {
			return nil, errors.New("the service's own hibernation can't be shown without an answer of Cast AI's")
		}
		return nil, nil
	}
	m, err := hibernate.ObserveManaged(ctx, o.api, o.access.clusterID)
	if err != nil && !o.managed {
		printer.NewText(o.ErrOut).Message(fmt.Sprintf("Whether the service's own hibernation pauses the cluster, too, is not known: %v", err))
		return nil, nil
	}
	if err != nil || !o.managed && !m.Armed() {
		return nil, err
	}
	return printer.NewManaged(state, m, time.Now()), nil
}

// observe asks Cast AI, too, if there is a key. What can't be had of it is left
// out, and said.
func (o *hibernateStatusOptions) observe(ctx context.Context, client *cluster.Client) (*hibernate.State, error) {
	if !o.access.key.IsZero() {
		api, err := o.access.reach(ctx, client)
		if err == nil {
			var state *hibernate.State
			if state, err = o.access.runner(client, api).Observe(ctx); err == nil {
				o.api = api
				return state, nil
			}
		}
		if ctx.Err() != nil {
			return nil, err
		}
		printer.NewText(o.ErrOut).Message(fmt.Sprintf("What Cast AI says is left out: %v", err))
	}
	return o.access.runner(client, nil).Observe(ctx)
}
