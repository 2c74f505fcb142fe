package plugin

import (
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

type verifyOptions struct {
	*Root
	output string
	trust  []string
	strict bool
	fleet  fleet
}

func newVerify(r *Root) *cobra.Command {
	o := &verifyOptions{Root: r, fleet: fleet{Root: r}}
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check whether anything of Cast AI's is left",
		Long: templates.LongDesc(`
			Checks whether anything of Cast AI's is left in the cluster. Exits with 0 if it is clean and with 4, and a list,
			if something is left, if something stays under a name of Cast AI's, or if a part of the API could not be read.
			With --strict, unclear objects count as left, too.`),
		Example: r.example(`
			# Is anything left?
			%[1]s verify

			# In a script
			%[1]s verify -o json | jq '.owned | length'

			# In all clusters of the kubeconfig
			%[1]s verify --all-contexts`),
		Args: noArgs,
		RunE: run(o),
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "",
		"Output format: json, yaml, name, jsonpath=..., go-template=... or custom-columns=...")
	cmd.Flags().BoolVar(&o.strict, "strict", false, "Exit with 4 for unclear objects, too")
	trustVar(cmd.Flags(), &o.trust)
	o.fleet.addFlags(cmd.Flags())
	return cmd
}

// Complete has nothing to fill in.
func (o *verifyOptions) Complete(*cobra.Command, []string) error { return nil }

// Validate checks the flags.
func (o *verifyOptions) Validate() error {
	if err := trusted(o.trust); err != nil {
		return err
	}
	if err := o.fleet.validate(o.output); err != nil {
		return err
	}
	return outputFormats(o.output, "", "json", "yaml", "name")
}

// Run takes a fresh inventory and says whether it is empty.
func (o *verifyOptions) Run(cmd *cobra.Command) error {
	if o.fleet.wanted() {
		return o.fleet.run(cmd.Context(), o.output, o.verdict)
	}
	inv, _, err := o.inventory(cmd.Context(), o.trust...)
	if err != nil {
		return err
	}
	if o.output != "" {
		if err := printer.Print(o.Out, o.output, printer.NewInventory(inv)); err != nil {
			return err
		}
		return o.verdict(inv)
	}
	text := printer.NewText(o.Out)
	text.Verdict(inv)
	if err := text.Err(); err != nil {
		return err
	}
	return o.verdict(inv)
}

// verdict is leftError and, if the user asked for it, an error for what is unclear.
func (o *verifyOptions) verdict(inv *ownership.Inventory) error {
	if err := leftError(inv); err != nil {
		return err
	}
	if n := len(inv.Unclear()); o.strict && n > 0 {
		return fmt.Errorf("%w or not: %s unclear", errLeft, objects(n))
	}
	return nil
}

// leftError is the honest end of a command that looked for leftovers.
func leftError(inv *ownership.Inventory) error {
	switch owned := len(inv.Owned()); {
	case owned > 0:
		return fmt.Errorf("%w: %s", errLeft, objects(owned))
	case len(inv.Unreadable) > 0:
		return fmt.Errorf("%w or not: %s could not be read", errLeft, inv.Unreadable[0].What)
	case len(inv.Remains) > 0:
		return fmt.Errorf("%w: %s stays for others, with a name of Cast AI's%s", errLeft, inv.Remains[0],
			holder(inv, inv.Remains[0]))
	}
	return nil
}

// holder names what a namespace stays for.
func holder(inv *ownership.Inventory, r cluster.Ref) string {
	if r.Kind != "Namespace" || r.Group != "" {
		return ""
	}
	in := inv.Holds(r.Name)
	switch len(in) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf(" (%s is in it)", in[0])
	}
	return fmt.Sprintf(" (%s and %d more are in it)", in[0], len(in)-1)
}

func objects(n int) string {
	if n == 1 {
		return "1 object"
	}
	return fmt.Sprintf("%d objects", n)
}
