package plugin

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/finalize"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// suggestTime is how long somebody who has pressed TAB waits for the cluster.
const suggestTime = 2 * time.Second

// A suggester finds out what a word that begins like this may become: whole
// words, each with a description behind a tab if it has one, and what the shell
// should do with them. What the cluster does not tell in time is left out.
type suggester func(ctx context.Context, begin string) ([]string, cobra.ShellCompDirective)

// completes makes cobra's function of a suggester, with a deadline. It leaves
// out what does not fit, what is there already, and names that would act on the
// terminal.
func completes(suggest suggester) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), suggestTime)
		defer cancel()
		list, directive := suggest(ctx, begin)
		return slices.DeleteFunc(list, func(s string) bool {
			word, description, _ := strings.Cut(s, "\t")
			safe := printer.Escape(word) == word && printer.Escape(description) == description
			return !safe || !strings.HasPrefix(word, begin) || slices.Contains(args, word)
		}), directive
	}
}

// first completes the first argument of a command that takes no others.
func first(complete cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, begin)
	}
}

// words suggests a fixed list.
func words(list ...string) suggester {
	return func(context.Context, string) ([]string, cobra.ShellCompDirective) {
		return slices.Clone(list), cobra.ShellCompDirectiveNoFileComp
	}
}

// files leaves the word to the shell, and so do folders.
func files(context.Context, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

func folders(context.Context, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// zoneTable is where systems other than Windows list the names of time zones,
// the third word of a line (its first lines say so).
const zoneTable = "/usr/share/zoneinfo/zone.tab"

// timeZones suggests those that the system lists, and UTC, which it does not.
func timeZones(context.Context, string) ([]string, cobra.ShellCompDirective) {
	names := []string{"UTC"}
	table, _ := os.ReadFile(zoneTable) // without it, nothing more is known
	for line := range strings.Lines(string(table)) {
		if words := strings.Fields(line); len(words) > 2 && !strings.HasPrefix(line, "#") {
			names = append(names, words[2])
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// suggestFlags says what the values of flags may become, for all commands. A
// flag that is not in the list takes what nobody can guess.
func (r *Root) suggestFlags(root *cobra.Command) {
	suggesters := map[string]suggester{
		"accept":                r.blockers,
		"api-key-file":          files,
		"audit-file":            files,
		"backup-dir":            folders,
		"cache-dir":             folders,
		"certificate-authority": files,
		"cleanup-script":        files,
		"client-certificate":    files,
		"client-key":            files,
		"cluster": configured(r,
			func(c clientcmdapi.Config) map[string]*clientcmdapi.Cluster { return c.Clusters }),
		"color": words(printer.ColorModes()...),
		"context": configured(r,
			func(c clientcmdapi.Config) map[string]*clientcmdapi.Context { return c.Contexts }),
		"contexts": configured(r,
			func(c clientcmdapi.Config) map[string]*clientcmdapi.Context { return c.Contexts }),
		"dry-run":         words(string(dryRunNone), string(dryRunClient), string(dryRunServer)),
		"exclude":         r.judged((*ownership.Inventory).Owned),
		"include":         r.judged((*ownership.Inventory).Unclear),
		"kubeconfig":      files,
		"plan":            files,
		"namespace":       r.namespaces,
		"output":          words("json", "yaml"),
		"time-zone":       timeZones,
		"trust-namespace": r.namespaces,
		"user": configured(r,
			func(c clientcmdapi.Config) map[string]*clientcmdapi.AuthInfo { return c.AuthInfos }),
		"v": words("0", "6\teach request", "8\twith what is in it"),
	}
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			_, there := cmd.GetFlagCompletionFunc(f.Name) // a command's own
			if suggest := suggesters[f.Name]; suggest != nil && !there {
				_ = cmd.RegisterFlagCompletionFunc(f.Name, completes(suggest)) // it is there, and has none
			}
		})
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(root)
}

// configured suggests the names of a part of the kubeconfig.
func configured[V any](r *Root, part func(clientcmdapi.Config) map[string]V) suggester {
	return func(context.Context, string) ([]string, cobra.ShellCompDirective) {
		config, _ := r.Kube.ToRawKubeConfigLoader().RawConfig() // without one, it is empty
		return slices.Sorted(maps.Keys(part(config))), cobra.ShellCompDirectiveNoFileComp
	}
}

// namespaces suggests those of the cluster.
func (r *Root) namespaces(ctx context.Context, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if client, err := r.connect(ctx); err == nil {
		if all, err := client.Namespaces(ctx); err == nil {
			for _, ns := range all {
				names = append(names, ns.Name)
			}
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// stuckNamespaces suggests those that are Terminating.
func (r *Root) stuckNamespaces(ctx context.Context, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if client, err := r.connect(ctx); err == nil {
		names, _ = terminating(ctx, client) // of an error, there are none
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// stuckFor suggests what holds the namespaces that the arguments name, or all
// that are stuck if none is.
func (r *Root) stuckFor(what func(finalize.Cause) string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, namespaces []string, begin string) ([]string, cobra.ShellCompDirective) {
		return completes(func(ctx context.Context, _ string) ([]string, cobra.ShellCompDirective) {
			seen := map[string]bool{}
			for _, cause := range r.causes(ctx, namespaceNames(namespaces)) {
				if word := what(cause); word != "" {
					seen[word] = true
				}
			}
			return slices.Sorted(maps.Keys(seen)), cobra.ShellCompDirectiveNoFileComp
		})(cmd, nil, begin)
	}
}

// causes of namespaces being stuck, as far as they can be found out.
func (r *Root) causes(ctx context.Context, namespaces []string) (out []finalize.Cause) {
	client, err := r.connect(ctx)
	if err != nil {
		return nil
	}
	if len(namespaces) == 0 {
		namespaces, _ = terminating(ctx, client) // of an error, there are none
	}
	if len(namespaces) == 0 {
		return nil // the scope of none would be the whole cluster
	}
	obs, err := finalize.Observe(ctx, client, namespaces...)
	if err != nil {
		return nil
	}
	for _, name := range namespaces {
		if d, err := finalize.Diagnose(obs, name, finalize.Options{}); err == nil {
			out = append(out, d.Causes...)
		}
	}
	return out
}

// blockers suggests those that hold, with what they are about.
func (r *Root) blockers(ctx context.Context, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if inv, _, err := r.inventory(ctx); err == nil {
		for _, b := range inv.Blockers {
			names = append(names, b.Name+"\t"+b.Text)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// judged suggests references to objects of an inventory: the kinds first, then
// the objects of the kind.
func (r *Root) judged(choose func(*ownership.Inventory) []*ownership.Item) suggester {
	return func(ctx context.Context, begin string) ([]string, cobra.ShellCompDirective) {
		inv, _, err := r.inventory(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		kind, _, named := strings.Cut(begin, "/")
		seen := map[string]bool{}
		for _, i := range choose(inv) {
			ref := i.Object.Ref()
			if named && !strings.Contains(kind, ".") {
				ref.Group = "" // who writes the kind alone goes on without the group
			}
			if named {
				seen[ref.String()] = true
			} else {
				seen[ref.GroupKind().String()+"/"] = true
			}
		}
		directive := cobra.ShellCompDirectiveNoFileComp
		if !named {
			directive |= cobra.ShellCompDirectiveNoSpace
		}
		return slices.Sorted(maps.Keys(seen)), directive
	}
}

// everything of an inventory that has a verdict to be asked for.
func everything(inv *ownership.Inventory) []*ownership.Item {
	return append(inv.Owned(), inv.Unclear()...)
}
