package plugin

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/castai/kubectl-castai/internal/printer"
)

// completerPrefix begins the name under which kubectl looks on PATH for what
// completes the words after a plugin's name (kubectl,
// pkg/cmd/plugin/plugin_completion.go).
const completerPrefix = "kubectl_complete-"

// Arguments returns what the process was called with, without its name. Under
// the name of kubectl's completer, they are words to be completed.
func Arguments(argv []string) []string {
	if Completing(argv) {
		return append([]string{cobra.ShellCompRequestCmd}, argv[1:]...)
	}
	return argv[1:]
}

// Completing tells whether the process was called to complete words. It should
// be silent then: kubectl shows its errors amid what is being typed.
func Completing(argv []string) bool {
	return strings.HasPrefix(baseName(argv[0]), completerPrefix)
}

// completer is the file name under which kubectl calls the plugin to complete.
func completer(plugin string) string {
	return completerPrefix + strings.TrimPrefix(plugin, "kubectl-")
}

// shells are those that there are scripts for.
func shells() []string { return []string{"bash", "zsh", "fish", "powershell", "kubectl"} }

type completionOptions struct {
	*Root
	shell   string
	install bool
}

func newCompletion(r *Root) *cobra.Command {
	o := &completionOptions{Root: r}
	cmd := &cobra.Command{
		Use:   "completion " + strings.Join(shells(), "|"),
		Short: "Complete words as you type them",
		Long: templates.LongDesc(fmt.Sprintf(`
			Prints a script that completes words. For kubectl, it completes what follows "%[1]s", in every shell that
			completes kubectl itself: kubectl calls it under the name %[2]s, which must be on PATH. With --install,
			that file is made beside this plugin.

			The other shells' scripts complete %[3]s, for those who call it by that name.`, r.Name, completer(r.fileName()), r.fileName())),
		Example: r.example(`
			# Complete what follows "%[1]s"
			%[1]s completion kubectl --install

			# The same by hand
			%[1]s completion kubectl > ~/.local/bin/` + completer(r.fileName()) + `
			chmod +x ~/.local/bin/` + completer(r.fileName()) + `

			# Complete ` + r.fileName() + ` in this bash
			source <(%[1]s completion bash)`),
		ValidArgs: shells(),
		Args:      cobra.ArbitraryArgs,
		RunE:      run(o),
	}
	cmd.Flags().BoolVar(&o.install, "install", false,
		"Make the file that kubectl calls, beside this plugin (with kubectl)")
	return cmd
}

// Complete takes the shell.
func (o *completionOptions) Complete(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage(fmt.Errorf("which shell? Name one of %s", strings.Join(shells(), ", ")))
	}
	o.shell = args[0]
	return nil
}

// Validate checks the shell.
func (o *completionOptions) Validate() error {
	if !slices.Contains(shells(), o.shell) {
		return usage(fmt.Errorf("%s is not a shell that there is a script for: they are %s", o.shell,
			strings.Join(shells(), ", ")))
	}
	if o.install && o.shell != "kubectl" {
		return usage(fmt.Errorf("--install is for kubectl: the startup files of %s are yours, so put its script there",
			o.shell))
	}
	return nil
}

// Run prints the script.
func (o *completionOptions) Run(cmd *cobra.Command) error {
	root := cmd.Root()
	switch {
	case o.install:
		return o.link()
	case o.shell == "bash":
		return root.GenBashCompletionV2(o.Out, true)
	case o.shell == "zsh":
		return root.GenZshCompletion(o.Out)
	case o.shell == "fish":
		return root.GenFishCompletion(o.Out, true)
	case o.shell == "powershell":
		return root.GenPowerShellCompletionWithDesc(o.Out)
	}
	_, err := fmt.Fprintf(o.Out, "#!/usr/bin/env sh\n# Put it on PATH as %s, executable.\nexec %s %s \"$@\" 2>/dev/null\n",
		completer(o.fileName()), o.Name, cobra.ShellCompRequestCmd)
	return err
}

// link makes the plugin available under the completer's name, where kubectl
// finds the plugin. It points to that name and not to the file behind it, so
// that it outlives upgrades.
func (o *completionOptions) link() error {
	plugin, err := exec.LookPath(o.fileName())
	if err != nil {
		return fmt.Errorf("kubectl does not find this plugin, so nothing was made: put %s on PATH: %w", o.fileName(), err)
	}
	link := filepath.Join(filepath.Dir(plugin), completer(o.fileName())+filepath.Ext(plugin))
	switch target, err := os.Readlink(link); {
	case err == nil && target == filepath.Base(plugin):
		// It is there.
	case errors.Is(err, os.ErrNotExist):
		if err := os.Symlink(filepath.Base(plugin), link); err != nil {
			return fmt.Errorf("the link can't be made, so print the script and put it on PATH yourself: %w", err)
		}
	default:
		return fmt.Errorf("%s is there and is something else, so it was left alone: remove it first", link)
	}
	_, err = fmt.Fprintf(o.Out, "%s: kubectl completes what follows %q from now on\n", printer.Escape(link), o.Name)
	return err
}
