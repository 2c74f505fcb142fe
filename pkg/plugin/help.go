package plugin

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/kubectl/pkg/util/templates"
	"k8s.io/kubectl/pkg/util/term"
)

// flagWidth is where the descriptions of flags are wrapped.
const flagWidth = 80

// writeUsage writes how a command is used: examples, commands, its own flags.
// Those that all commands have are one command away, as in kubectl.
func writeUsage(cmd *cobra.Command) error {
	var b strings.Builder
	if cmd.HasExample() {
		fmt.Fprintf(&b, "Examples:\n%s\n\n", cmd.Example)
	}
	groups := cmd.Groups()
	if cmd.HasAvailableSubCommands() && len(groups) == 0 {
		groups = []*cobra.Group{{Title: "Commands:"}}
	}
	for _, group := range groups {
		fmt.Fprintln(&b, group.Title)
		for _, sub := range cmd.Commands() {
			if sub.GroupID == group.ID && sub.IsAvailableCommand() {
				fmt.Fprintf(&b, "  %-*s  %s\n", sub.NamePadding(), sub.Name(), sub.Short)
			}
		}
		fmt.Fprintln(&b)
	}
	if flags := cmd.LocalNonPersistentFlags(); flags.HasAvailableFlags() {
		fmt.Fprintf(&b, "Flags:\n%s\n", flags.FlagUsagesWrapped(flagWidth))
	}
	line, more := cmd.UseLine(), ""
	if cmd.HasAvailableSubCommands() {
		line = cmd.CommandPath() + " COMMAND [flags]"
		more = fmt.Sprintf("Use \"%s COMMAND --help\" for more about a command.\n", cmd.CommandPath())
	}
	fmt.Fprintf(&b, "Usage:\n  %s\n\n%s%sUse \"%s options\" for the flags of all commands, such as --context.\n", line,
		namespaceLine(cmd), more, cmd.Root().CommandPath())
	_, err := io.WriteString(cmd.OutOrStdout(), b.String())
	return err
}

// namespaceLine says what --namespace means to a command, if it means something.
func namespaceLine(cmd *cobra.Command) string {
	for c := cmd; c != nil; c = c.Parent() {
		if of := c.Annotations[takesNamespace]; of != "" {
			return fmt.Sprintf("With -n, --namespace: the namespace %s.\n", of)
		}
	}
	return ""
}

// layOut sets how the help of all commands looks: wrapped to the terminal, and
// without the spaces that the paragraphs of templates.LongDesc begin with.
func layOut(root *cobra.Command) {
	root.SetUsageFunc(writeUsage)
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		cmd.SetOut(term.NewResponsiveWriter(cmd.OutOrStdout()))
		help(cmd, args)
	})
	tidy(root)
}

func tidy(cmd *cobra.Command) {
	cmd.Long = strings.ReplaceAll(cmd.Long, "\n\n ", "\n\n")
	cmd.Example = strings.ReplaceAll(cmd.Example, "\n  \n", "\n\n")
	for _, sub := range cmd.Commands() {
		tidy(sub)
	}
}

// newOptions returns the command that lists the flags of all commands.
func newOptions(r *Root) *cobra.Command {
	return &cobra.Command{
		Use:     "options",
		Short:   "List the flags that all commands have",
		Long:    templates.LongDesc("Lists the flags that all commands have: kubectl's own, which say what cluster is meant and who you are."),
		Example: r.example("%[1]s options"),
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(r.Out, "These flags can be passed to any command, after its name:\n\n%s",
				cmd.InheritedFlags().FlagUsagesWrapped(flagWidth))
			return err
		},
	}
}
