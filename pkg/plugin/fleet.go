package plugin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// atOnce is how many clusters are looked at at a time.
const atOnce = 8

// fleet is what a command that changes nothing can do with many clusters.
type fleet struct {
	*Root
	contexts []string
	all      bool
}

func (f *fleet) addFlags(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.contexts, "contexts", nil, "Look at the clusters of these contexts, one line each")
	flags.BoolVar(&f.all, "all-contexts", false, "Look at the clusters of all contexts of the kubeconfig, one line each")
}

// wanted tells whether many clusters are meant.
func (f *fleet) wanted() bool { return f.all || len(f.contexts) > 0 }

// validate checks the flags. output is that of the command.
func (f *fleet) validate(output string) error {
	switch {
	case f.all && len(f.contexts) > 0:
		return usage(errors.New("--contexts and --all-contexts contradict each other"))
	case *f.Kube.Context != "" && f.wanted():
		return usage(errors.New("--context names one cluster, and --contexts or --all-contexts many"))
	case f.wanted() && output != "" && output != "json":
		return usage(fmt.Errorf("-o %s is for one cluster: of many, -o json prints a line each", output))
	}
	return nil
}

// names returns the contexts that are meant, in order.
func (f *fleet) names() ([]string, error) {
	config, err := f.Kube.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return nil, err
	}
	if f.all {
		if len(config.Contexts) == 0 {
			return nil, usage(errors.New("the kubeconfig has no contexts"))
		}
		return slices.Sorted(maps.Keys(config.Contexts)), nil
	}
	for _, name := range f.contexts {
		if config.Contexts[name] == nil {
			return nil, usage(fmt.Errorf("the kubeconfig has no context %q: kubectl config get-contexts lists them", name))
		}
	}
	return f.contexts, nil
}

// run looks at all clusters, shows a line for each as soon as those before it
// are there, and returns the error that says how they are together: the first of
// those that could not be asked, else that something is left if left says so.
// trust are namespaces that the user vouches for, in each cluster.
func (f *fleet) run(ctx context.Context, output string, left func(*ownership.Inventory) error, trust ...string) error {
	names, err := f.names()
	if err != nil {
		return err
	}
	found := make([]printer.Summary, len(names))
	errs := make([]error, len(names))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, name := range names {
		group.Go(func() error {
			inv, _, err := f.in(name).inventory(ctx, trust...)
			found[i] = printer.NewSummary(name, inv, err)
			if errs[i] = err; err == nil {
				errs[i] = left(inv)
			}
			return context.Cause(ctx) // one cluster that can't be asked does not end the others
		})
	}
	waitErr := group.Wait()
	if err := printer.Summaries(f.Out, output == "json", found); err != nil {
		return err
	}
	if waitErr != nil {
		return waitErr
	}
	return worst(names, errs)
}

// in returns the same for another context.
func (r *Root) in(name string) *Root {
	kube := genericclioptions.NewConfigFlags(true)
	kube.KubeConfig, kube.CacheDir, kube.Timeout = r.Kube.KubeConfig, r.Kube.CacheDir, r.Kube.Timeout
	kube.Impersonate, kube.ImpersonateUID = r.Kube.Impersonate, r.Kube.ImpersonateUID
	kube.ImpersonateGroup = r.Kube.ImpersonateGroup
	kube.Context = &name
	return &Root{IOStreams: r.IOStreams, Kube: kube, Name: r.Name, Version: r.Version, color: r.color, quiet: r.quiet,
		logs: r.logs}
}

// worst picks the error that a person must hear of first: a cluster that could
// not be asked before one in which something is left.
func worst(names []string, errs []error) error {
	var out error
	for i, err := range errs {
		if err == nil || out != nil && (!errors.Is(out, errLeft) || errors.Is(err, errLeft)) {
			continue
		}
		out = fmt.Errorf("context %s: %w", names[i], err)
	}
	return out
}
