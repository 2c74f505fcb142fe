package plugin

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/castai/kubectl-castai/internal/printer"
)

// Version of the binary, stamped at build time.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Date    string `json:"date,omitempty"`
}

type versionOptions struct {
	*Root
	output string
}

func newVersion(r *Root) *cobra.Command {
	o := &versionOptions{Root: r}
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Show the version of this plugin",
		Example: r.example(`%[1]s version -o json`),
		Args:    noArgs,
		RunE:    run(o),
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "Output format: json or yaml")
	return cmd
}

func (o *versionOptions) Complete(*cobra.Command, []string) error { return nil }

func (o *versionOptions) Validate() error { return outputFormats(o.output, "", "json", "yaml") }

func (o *versionOptions) Run(*cobra.Command) error {
	if o.output != "" {
		return printer.Print(o.Out, o.output, o.Root.Version)
	}
	_, err := fmt.Fprintf(o.Out, "%s %s (commit %s, built %s, %s, %s/%s)\n", o.Name, o.Root.Version.Version,
		o.Root.Version.Commit, o.Root.Version.Date, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
