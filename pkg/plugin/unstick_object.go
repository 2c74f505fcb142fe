package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// objectOptions are those of unstick: the same as of unstick-ns, about one object.
type objectOptions struct {
	unstickOptions
	kind, name string // TYPE as it was typed
}

func newUnstickObject(r *Root) *cobra.Command {
	o := &objectOptions{unstickOptions: unstickOptions{Root: r, saving: newSaving(r, "unstick", "unstick")}}
	cmd := &cobra.Command{
		Use:   "unstick TYPE/NAME | TYPE NAME",
		Short: "Explain why one object is not deleted, and free it",
		Long: templates.LongDesc(`
			Finds out why one object that is being deleted does not go away, and frees it with the least force: a custom
			resource, a CustomResourceDefinition with the objects that hold it, a PersistentVolumeClaim with the pods of lost
			nodes that hold it, a PersistentVolume, a pod, or an object of any other type.

			The rules are those of unstick-ns. What is alive is waited for. Finalizers whose controller lives, or may live
			somewhere else, and those that guard something outside of the cluster (load balancers, disks, machines) are removed
			only if they are named. A claim that a pod uses, and a volume that a claim is bound to, stay.

			The rights of an administrator of the object's namespace are enough. Shows what it will do first and asks. Saves
			what it changes into a folder first, and records there what it does.`),
		Example: r.example(`
			# Explain it, show what will be done, and ask
			%[1]s unstick pvc/data -n shop

			# Only explain it: exit 0 if it is not stuck, 4 if it is
			%[1]s unstick crd/widgets.example.com --diagnose

			# In a script, with a report
			%[1]s unstick widgets.example.com/blue -n shop --yes -o json

			# Remove this finalizer, and no other
			%[1]s unstick pv disk-1 --finalizer=kubernetes.io/pv-protection`),
		Annotations:       map[string]string{takesNamespace: "of the object"},
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: r.suggestStuck,
		RunE:              run(o),
	}
	o.addFlags(cmd.Flags())
	_ = cmd.RegisterFlagCompletionFunc("also", cobra.FixedCompletions(stepNames(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// Complete reads which object is meant.
func (o *objectOptions) Complete(cmd *cobra.Command, args []string) error {
	typed := strings.Join(args, "/")
	parts := strings.Split(typed, "/")
	switch {
	case len(args) == 0:
		return usage(errors.New("which object? Name one, as TYPE/NAME or TYPE NAME"))
	case len(parts) != 2, parts[0] == "", parts[1] == "":
		return usage(fmt.Errorf("%s is about one object: TYPE/NAME or TYPE NAME, not %q", cmd.CommandPath(),
			strings.Join(args, " ")))
	}
	o.kind, o.name = parts[0], parts[1]
	return o.prepare()
}

// Validate checks the flags.
func (o *objectOptions) Validate() error { return o.validateFlags() }

// Run explains, asks, frees and looks again.
func (o *objectOptions) Run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	var err error
	if o.client, err = o.connect(ctx); err != nil {
		return err
	}
	r, err := o.client.Locate(o.kind)
	switch {
	case errors.Is(err, cluster.ErrKind):
		return usage(err)
	case err != nil:
		return err
	}
	t := cluster.Target{
		Ref: cluster.Ref{Group: r.Group, Kind: r.Kind, Name: o.name}, Version: r.Version, Resource: r.Name,
	}
	switch {
	case r.Group == "" && r.Kind == "Namespace":
		return usage(fmt.Errorf("a namespace is freed by %s unstick-ns %s", o.Name, o.name))
	case r.Namespaced:
		if t.Namespace, _, err = o.Kube.ToRawKubeConfigLoader().Namespace(); err != nil {
			return err
		}
	}
	o.object, o.names = &t, []string{o.name}
	return o.run(ctx, "castai-unstick")
}

// suggestStuck suggests the objects of a type that are being deleted: TYPE/NAME, or
// NAME behind TYPE.
func (r *Root) suggestStuck(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	kind, _, named := strings.Cut(begin, "/")
	prefix := kind + "/"
	if len(args) == 1 {
		kind, prefix, named = args[0], "", true
	}
	if !named || len(args) > 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return completes(func(ctx context.Context, _ string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, name := range r.deleting(ctx, kind) {
			names = append(names, prefix+name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})(cmd, nil, begin)
}

// deleting returns the names of the objects of a type that are being deleted, in the
// namespace that is meant, as far as they can be found out.
func (r *Root) deleting(ctx context.Context, typed string) (names []string) {
	client, err := r.connect(ctx)
	if err != nil {
		return nil
	}
	kind, err := client.Locate(typed)
	if err != nil {
		return nil
	}
	scope := cluster.Scope{Kinds: []string{kind.GroupResource().String()}}
	if ns, _, err := r.Kube.ToRawKubeConfigLoader().Namespace(); err == nil && kind.Namespaced {
		scope.Namespaces = []string{ns}
	}
	snap, err := client.Snapshot(ctx, scope)
	if err != nil {
		return nil
	}
	for _, o := range snap.Objects {
		if o.Terminating() {
			names = append(names, o.Name)
		}
	}
	return names
}
