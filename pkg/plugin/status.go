package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"

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
	whyNot bool
	api    apiFlags
	fleet  fleet
}

func newStatus(r *Root) *cobra.Command {
	o := &statusOptions{Root: r, api: apiFlags{Root: r}, fleet: fleet{Root: r}}
	cmd := &cobra.Command{
		Use:   "status [TYPE[.GROUP]/[NAMESPACE/]NAME | TYPE[.GROUP] NAME]",
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

			# What is near Cast AI's or like it, and stays, and why?
			%[1]s status --why-not

			# Whose is this ClusterRole, and how do we know?
			%[1]s status ClusterRole/castai-agent

			# The same of a Deployment: types are written as for kubectl get
			%[1]s status deploy castai-agent -n castai-agent`),
		Annotations:       map[string]string{takesNamespace: "of the object"},
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: first(completes(r.judged(everything))),
		RunE:              run(o),
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "",
		"Output format: wide, json, yaml, name, jsonpath=..., go-template=... or custom-columns=...")
	cmd.Flags().BoolVar(&o.whyNot, "why-not", false, "Only show what has to do with Cast AI and is not its own, and why")
	trustVar(cmd.Flags(), &o.trust)
	o.api.addFlags(cmd.Flags())
	o.fleet.addFlags(cmd.Flags())
	_ = cmd.RegisterFlagCompletionFunc("output", completes(words("wide", "json", "yaml"))) // it is there, and has none
	return cmd
}

// Complete reads which object is meant.
func (o *statusOptions) Complete(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) > 2, len(args) == 2 && strings.Contains(args[0], "/"):
		return usage(fmt.Errorf("%s explains one object: TYPE/NAME or TYPE NAME, not %q", cmd.CommandPath(),
			strings.Join(args, " ")))
	case len(args) > 0:
		o.object = strings.Join(args, "/")
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
	if err := o.fleet.validate(o.output); err != nil {
		return err
	}
	if o.whyNot && (o.object != "" || o.output == "wide" || o.fleet.wanted()) {
		return usage(errors.New("--why-not shows all of one cluster: leave -o wide, the object and other clusters out"))
	}
	if o.object != "" && o.fleet.wanted() {
		return usage(errors.New("an object is explained in one cluster: name that with --context"))
	}
	if o.object == "" {
		if o.defaultNamespace() != "" {
			return usage(errors.New("status shows the whole cluster: --namespace only says where an object is, TYPE NAME"))
		}
		return outputFormats(o.output, "", "wide", "json", "yaml", "name")
	}
	if _, err := cluster.ParseRef(o.object); err != nil {
		return usage(err)
	}
	return outputFormats(o.output, "", "json", "yaml", "name")
}

// Run prints the inventory, or the explanation of one object.
func (o *statusOptions) Run(cmd *cobra.Command) error {
	if o.fleet.wanted() {
		return o.fleet.run(cmd.Context(), o.output, func(*ownership.Inventory) error { return nil }, o.trust...)
	}
	inv, s, err := o.inventory(cmd.Context(), o.trust...)
	if err != nil {
		return err
	}
	text := printer.NewText(o.Out)
	if o.object != "" {
		found, err := s.findIn(o.defaultNamespace(), "status", []string{o.object})
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
	if o.whyNot {
		if o.output != "" {
			return printer.Print(o.Out, o.output, printer.NewWhyNot(inv))
		}
		text.WhyNot(inv.WhyNot())
		return text.Err()
	}
	view, err := o.api.view(cmd.Context(), inv)
	if err != nil {
		return err
	}
	if o.output != "" && o.output != "wide" {
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
	return s.Judge(ownership.Options{}), s, nil
}
