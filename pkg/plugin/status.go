package plugin

import (
	"context"

	"github.com/spf13/cobra"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

type statusOptions struct {
	*Root
	output string
	object string
	trust  []string
	api    apiFlags
}

func newStatus(r *Root) *cobra.Command {
	o := &statusOptions{Root: r, api: apiFlags{Root: r}}
	cmd := &cobra.Command{
		Use:   "status [KIND[.GROUP]/[NAMESPACE/]NAME]",
		Short: "Show what of Cast AI is in the cluster, and why we think so",
		Long: templates.LongDesc(`
			Shows what of Cast AI is in the cluster, why we think so, what is unclear, and what an offboarding would mean for
			the rest. With an object, shows the chain of evidence that makes it Cast AI's, unclear, or somebody else's.

			With an API key, also shows what Cast AI's console knows of the cluster.

			Changes nothing, and reads no Secret's data except Helm's own records.`),
		Example: r.example(`
			# What of Cast AI is in this cluster?
			%[1]s status

			# Every object with its evidence
			%[1]s status -o wide

			# Whose is this ClusterRole, and how do we know?
			%[1]s status ClusterRole/castai-agent`),
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: first(completes(r.judged(everything))),
		RunE:              run(o),
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "Output format: wide, json or yaml")
	trustVar(cmd.Flags(), &o.trust)
	o.api.addFlags(cmd.Flags())
	_ = cmd.RegisterFlagCompletionFunc("output", completes(words("wide", "json", "yaml"))) // it is there, and has none
	return cmd
}

// Complete connects to the cluster.
func (o *statusOptions) Complete(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return noArgs(cmd, args[1:])
	}
	if len(args) == 1 {
		o.object = args[0]
	}
	return nil
}

// Validate checks the flags.
func (o *statusOptions) Validate() error {
	if err := o.api.validate(); err != nil {
		return err
	}
	if err := trusted(o.trust); err != nil {
		return err
	}
	if o.object != "" {
		if _, err := cluster.ParseRef(o.object); err != nil {
			return usage(err)
		}
		return outputFormats(o.output, "", "json", "yaml")
	}
	return outputFormats(o.output, "", "wide", "json", "yaml")
}

// Run prints the inventory, or the explanation of one object.
func (o *statusOptions) Run(cmd *cobra.Command) error {
	inv, s, err := o.inventory(cmd.Context(), o.trust...)
	if err != nil {
		return err
	}
	text := printer.NewText(o.Out)
	if o.object != "" {
		found, err := s.find("status", []string{o.object})
		if err != nil {
			return err
		}
		e, err := inv.Explain(found[0])
		if err != nil {
			return err
		}
		if o.output != "" {
			return printer.Print(o.Out, o.output, printer.NewExplanation(inv.Server, e))
		}
		text.Explanation(e)
		return text.Err()
	}
	view, err := o.api.view(cmd.Context(), inv)
	if err != nil {
		return err
	}
	if o.output == "json" || o.output == "yaml" {
		doc := printer.NewInventory(inv)
		doc.Console = view
		return printer.Print(o.Out, o.output, doc)
	}
	text.Inventory(inv, o.output == "wide")
	if view != nil {
		text.Console(view)
	}
	return text.Err()
}

// inventory takes the inventory of the cluster that the flags select.
func (r *Root) inventory(ctx context.Context, trust ...string) (*ownership.Inventory, *survey, error) {
	client, err := r.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	cat, err := ownership.LoadCatalogue()
	if err != nil {
		return nil, nil, err
	}
	s, err := look(ctx, client, cat, trust...)
	if err != nil {
		return nil, nil, err
	}
	return s.judge(ownership.Options{}), s, nil
}
