// Package plugin holds the commands of kubectl castai: one file each, in
// kubectl's pattern of Options with Complete, Validate and Run. What they do is
// decided and done elsewhere.
package plugin

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/castai/kubectl-castai/internal/audit"
	"github.com/castai/kubectl-castai/internal/printer"
)

// Root is what all commands share.
type Root struct {
	genericiooptions.IOStreams
	Kube *genericclioptions.ConfigFlags
	// Name is what the user typed, for examples and hints: "kubectl castai".
	Name string
	// Version of this binary.
	Version Version

	color string
	quiet bool
	logs  *flag.FlagSet
	audit audit.Record
	// castAI sends requests to the Cast AI API; nil: over the network.
	castAI http.RoundTripper
}

// DisplayName turns the path that the binary was called by into what a user
// types: kubectl-castai becomes "kubectl castai".
func DisplayName(argv0 string) string {
	name := baseName(argv0)
	for _, prefix := range []string{"kubectl-", completerPrefix} {
		if plugin, ok := strings.CutPrefix(name, prefix); ok {
			return "kubectl " + strings.ReplaceAll(plugin, "_", "-")
		}
	}
	return name
}

// baseName is the name of a program, on any system.
func baseName(argv0 string) string { return strings.TrimSuffix(filepath.Base(argv0), ".exe") }

// fileName is the name of the plugin's file: the words that a user types, with
// kubectl's rule for dashes in them (kubectl, pkg/cmd/plugin.go).
func (r *Root) fileName() string {
	words := strings.Fields(r.Name)
	for i := range words {
		words[i] = strings.ReplaceAll(words[i], "-", "_")
	}
	if len(words) == 1 {
		return r.Name
	}
	return strings.Join(words, "-")
}

// New returns the command tree.
func New(name string, version Version, streams genericiooptions.IOStreams) *cobra.Command {
	return newRoot(name, version, streams).commands()
}

func newRoot(name string, version Version, streams genericiooptions.IOStreams) *Root {
	return &Root{IOStreams: streams, Kube: genericclioptions.NewConfigFlags(true), Name: name, Version: version,
		logs: logFlags()}
}

// commands returns the command tree.
func (r *Root) commands() *cobra.Command {
	showVersion := false
	cmd := &cobra.Command{
		Use:         r.fileName(),
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: r.Name},
		Short:       "Take Cast AI out of a cluster, completely and safely",
		Long: templates.LongDesc(`
			Takes Cast AI out of a Kubernetes cluster: everything that is Cast AI's and nothing that is not, with the reason
			for every single object, and a plan before anything is changed. Frees namespaces that are stuck in Terminating.`) +
			"\n\n" + exitCodes,
		Example: r.example(`
			# What of Cast AI is in this cluster?
			%[1]s status

			# Take it all out: shows the plan and asks first
			%[1]s offboard

			# Why is this namespace stuck in Terminating? Free it
			%[1]s unstick-ns castai-agent`),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return nil
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.streams(); err != nil {
				return err
			}
			return namespaceMeans(cmd)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if showVersion {
				return (&versionOptions{Root: r}).Run(cmd)
			}
			return cmd.Help()
		},
		SuggestionsMinimumDistance: 2,
	}
	cmd.Flags().BoolVar(&showVersion, "version", false, "Show the version of this plugin")
	cmd.SetIn(r.In)
	cmd.SetOut(r.Out)
	cmd.SetErr(r.ErrOut)
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage(fmt.Errorf("%w: see %s --help", err, c.CommandPath()))
	})
	cmd.PersistentFlags().StringVar(&r.color, "color", string(printer.ColorAuto),
		"Use colors: auto (on a terminal, unless NO_COLOR is set), always or never")
	cmd.PersistentFlags().BoolVarP(&r.quiet, "quiet", "q", false,
		"Do not show progress, only what is asked, the result and errors")
	cmd.PersistentFlags().AddGoFlag(r.logs.Lookup("v"))
	r.Kube.AddFlags(cmd.PersistentFlags())

	cmd.AddGroup(&cobra.Group{ID: "castai", Title: "Cast AI:"},
		&cobra.Group{ID: "namespaces", Title: "What is stuck in its deletion:"},
		&cobra.Group{ID: "plugin", Title: "This plugin:"})
	cmd.SetHelpCommandGroupID("plugin")
	for _, sub := range []struct {
		group string
		cmd   *cobra.Command
	}{
		{"castai", newStatus(r)}, {"castai", newOffboard(r)}, {"castai", newVerify(r)}, {"castai", newRestore(r)},
		{"castai", newHibernate(r)},
		{"namespaces", newUnstick(r)}, {"namespaces", newUnstickObject(r)},
		{"plugin", newCompletion(r)}, {"plugin", newOptions(r)}, {"plugin", newVersion(r)},
	} {
		sub.cmd.GroupID = sub.group
		cmd.AddCommand(sub.cmd)
	}
	layOut(cmd)
	r.suggestFlags(cmd)
	return cmd
}

// unknownCommand refuses a command, and names those that were meant perhaps.
func unknownCommand(cmd *cobra.Command, typed string) error {
	for _, like := range cmd.SuggestionsFor(typed) {
		if like != "__complete" {
			return usage(fmt.Errorf("there is no command %q: did you mean %s %s?", typed, cmd.CommandPath(), like))
		}
	}
	return usage(fmt.Errorf("there is no command %q: %s --help lists them", typed, cmd.CommandPath()))
}

// takesNamespace marks the commands for which --namespace means something.
const takesNamespace = "castai.kubectl.dev/namespace"

// namespaceMeans refuses --namespace where it would be ignored.
func namespaceMeans(cmd *cobra.Command) error {
	if f := cmd.Flag("namespace"); f == nil || !f.Changed {
		return nil
	}
	for c := cmd; c != nil; c = c.Parent() {
		if c.Annotations[takesNamespace] != "" {
			return nil
		}
	}
	return usage(fmt.Errorf("%s is about the whole cluster: --namespace means nothing to it", cmd.CommandPath()))
}

// streams finds out what the streams can show, and what the user wants of that.
func (r *Root) streams() error {
	if !slices.Contains(printer.ColorModes(), r.color) {
		return usage(fmt.Errorf("--color=%s is unknown: it is %s", r.color, strings.Join(printer.ColorModes(), ", ")))
	}
	r.Out = printer.NewTerminal(r.Out, printer.ColorMode(r.color))
	progress := printer.NewTerminal(r.ErrOut, printer.ColorMode(r.color))
	progress.Quiet = r.quiet
	r.ErrOut = progress
	return logTo(r.logs, progress)
}

// example fills the name of the plugin into examples.
func (r *Root) example(format string) string { return templates.Examples(fmt.Sprintf(format, r.Name)) }

// options is the life of a command, as in kubectl: fill in, check, do.
type options interface {
	Complete(cmd *cobra.Command, args []string) error
	Validate() error
	Run(cmd *cobra.Command) error
}

// run is the one path of all commands through their options.
func run(o options) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := o.Complete(cmd, args); err != nil {
			return err
		}
		if err := o.Validate(); err != nil {
			return err
		}
		return o.Run(cmd)
	}
}

// noArgs refuses arguments with a sentence instead of cobra's "unknown command".
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(fmt.Errorf("%s takes no arguments, but got %q", cmd.CommandPath(), args[0]))
	}
	return nil
}

// outputFormats checks the value of -o: one that is allowed, or, where documents
// are allowed at all, any format of kubectl's that every document has.
func outputFormats(value string, allowed ...string) error {
	documents := slices.Contains(allowed, "json")
	if slices.Contains(allowed, value) || documents && printer.KnownFormat(value) {
		return nil
	}
	if documents {
		allowed = append(slices.Clone(allowed), printer.Formats()...)
	}
	allowed = slices.DeleteFunc(slices.Clone(allowed), func(s string) bool { return s == "" })
	slices.Sort(allowed)
	return usage(fmt.Errorf("there is no output format %q here: it can be %s", value,
		strings.Join(slices.Compact(allowed), ", ")))
}

// ErrorText is how an error is shown, on one line, with the name of the program.
func ErrorText(name string, err error) string {
	var f *failure
	if errors.As(err, &f) && f.code == ExitRefused {
		return fmt.Sprintf("%s: refused: %v", name, err)
	}
	return fmt.Sprintf("%s: %v", name, err)
}
