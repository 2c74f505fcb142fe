package plugin

import (
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/kubectl/pkg/util/templates"
	"k8s.io/kubectl/pkg/util/term"
)

// usageTemplate shows a command's own flags. Those that all commands have are
// one command away, as in kubectl. It is a template of cobra.
const usageTemplate = `{{if .HasExample}}Examples:
{{.Example}}

{{end}}{{if .HasAvailableSubCommands}}{{$cmds := .Commands}}{{range $group := .Groups}}{{.Title}}
{{range $cmds}}{{if (and (eq .GroupID $group.ID) .IsAvailableCommand)}}  {{rpad .Name .NamePadding}} {{.Short}}
{{end}}{{end}}
{{end}}{{end}}{{if .LocalNonPersistentFlags.HasAvailableFlags}}Flags:
{{.LocalNonPersistentFlags.FlagUsagesWrapped 80 | trimTrailingWhitespaces}}

{{end}}Usage:
  {{if .HasAvailableSubCommands}}{{.CommandPath}} COMMAND [flags]{{else}}{{.UseLine}}{{end}}

{{if .HasAvailableSubCommands}}Use "{{.CommandPath}} COMMAND --help" for more about a command.
{{end}}Use "{{.Root.CommandPath}} options" for the flags of all commands, such as --context.
`

// optionsTemplate shows the flags of all commands.
const optionsTemplate = `These flags can be passed to any command, after its name:

{{.InheritedFlags.FlagUsagesWrapped 80 | trimTrailingWhitespaces}}
`

// layOut sets how the help of all commands looks: wrapped to the terminal, and
// without the spaces that the paragraphs of templates.LongDesc begin with.
func layOut(root *cobra.Command) {
	root.SetUsageTemplate(usageTemplate)
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		cmd.SetOut(term.NewResponsiveWriter(cmd.OutOrStdout()))
		help(cmd, args)
	})
	for _, cmd := range append(root.Commands(), root) {
		cmd.Long = strings.ReplaceAll(cmd.Long, "\n\n ", "\n\n")
		cmd.Example = strings.ReplaceAll(cmd.Example, "\n  \n", "\n\n")
	}
}

// newOptions returns the command that lists the flags of all commands.
func newOptions(r *Root) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "options",
		Short:   "List the flags that all commands have",
		Long:    templates.LongDesc("Lists the flags that all commands have: kubectl's own, which say what cluster is meant and who you are."),
		Example: r.example("%[1]s options"),
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Usage() },
	}
	cmd.SetUsageTemplate(optionsTemplate)
	cmd.SetOut(r.Out)
	cmd.SetErr(r.Out) // it is what was asked for
	return cmd
}
