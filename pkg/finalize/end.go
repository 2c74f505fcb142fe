package finalize

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// tryEnds asks of the first namespaces whether the server would accept the last step that frees them: that they are
// finalized, or, where they are gone and objects wait in them, that they are created again.
func (a *asking) tryEnds(ctx context.Context, names []string) error {
	kind := a.obs.resource("namespaces")
	if kind == nil {
		return nil
	}
	names = names[:min(len(names), maxClasses)]
	found := make([]Sample, len(names))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(samplesAtOnce)
	for i, name := range names {
		ns, t := a.obs.namespace(name), cluster.NamespaceTarget(name, "")
		switch {
		case ns != nil && ns.Terminating():
			t.UID = ns.UID
			group.Go(func() error {
				found[i] = a.ask(groupCtx, question{ns, "UPDATE", "finalize", func(ctx context.Context) error {
					return a.client.FinalizeNamespace(ctx, t, true)
				}})
				return groupCtx.Err()
			})
		case ns == nil && !updatesInMissing(a.obs.Server.Version) && a.obs.holds(name):
			again := &cluster.Object{Resource: kind, Name: name, Labels: map[string]string{"kubernetes.io/metadata.name": name}}
			group.Go(func() error {
				found[i] = a.ask(groupCtx, question{again, "CREATE", "", func(ctx context.Context) error {
					return a.client.Create(ctx, t, map[string]any{"apiVersion": "v1", "kind": "Namespace",
						"metadata": map[string]any{"name": name}}, true)
				}})
				return groupCtx.Err()
			})
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, name := range names {
		if found[i].tried > 0 {
			a.obs.Samples[Class{Namespace: name, Resource: namespaceKind}] = found[i]
		}
	}
	return nil
}

// holds tells whether an object with finalizers is in a namespace.
func (o *Observation) holds(namespace string) bool {
	return slices.ContainsFunc(o.Objects,
		func(obj *cluster.Object) bool { return obj.Namespace == namespace && len(obj.Finalizers) > 0 })
}

// findRefusedEnd makes a cause of the server's refusal of the last step. Where the namespace controller would take it,
// whom the server may not refuse it, nothing is blocked by that.
func (e *examination) findRefusedEnd() {
	ns := e.object
	if ns == nil {
		e.findRefusedCreation()
		return
	}
	mine, refused := false, e.obs.Samples[classOf(ns, "")].Refused
	for _, c := range e.Causes {
		own := c.Type == SpecFinalizer || c.Type == MetadataFinalizer
		mine = mine || c.Action == Finalize || own && c.Asks
	}
	what := "is finalized"
	if last := lastActions(e.Diagnosis); len(last) > 0 && len(last[0].Finalizers) > 0 {
		refused = "" // only some of its own finalizers go
		for _, f := range last[0].Finalizers {
			if s := e.obs.Samples[classOf(ns, f)]; refused == "" && s.Refused != "" {
				what, refused = "loses its finalizer "+f, s.Refused
			}
		}
	}
	if refused == "" {
		return
	}
	r := e.readRefusal(refused, ns)
	if e.blames(r.webhook) {
		return
	}
	c := Cause{
		Type: RefusedUpdate, Action: Nothing, Blocks: mine, Since: e.Since, objects: []*cluster.Object{ns}, itself: !mine,
		Summary: fmt.Sprintf("%s refuses that namespace %s %s: %s", r.what, e.Namespace, what, refused),
		Remedy:  r.remedy, Command: r.command, Look: r.look,
	}
	if !mine {
		c.Remedy = "nothing, if the namespace controller may finalize it; if it may not either, " + r.remedy
	}
	e.add(c)
}

// findRefusedCreation makes a cause of the server's refusal to create a namespace again to reach what is left in it.
func (e *examination) findRefusedCreation() {
	refused := e.obs.Samples[Class{Namespace: e.Namespace, Resource: namespaceKind}].Refused
	if refused == "" {
		return
	}
	again := &cluster.Object{Resource: e.obs.resource("namespaces"), Name: e.Namespace}
	r := e.readRefusal(refused, again)
	e.add(Cause{
		Type: RefusedUpdate, Action: Nothing, Blocks: true, Since: oldest(e.objects), Look: r.look, Command: r.command,
		Summary: fmt.Sprintf("%s refuses that namespace %s is created again: %s", r.what, e.Namespace, refused),
		Remedy: fmt.Sprintf("create the namespace yourself as that asks for, delete it with kubectl delete namespace %s, and "+
			"free it then with %s; or %s", e.Namespace, e.command(), r.remedy),
	})
}

// refusedEnd tells whether the server refuses the last step.
func (d *Diagnosis) refusedEnd() bool {
	return slices.ContainsFunc(d.Causes, func(c Cause) bool {
		return c.Type == RefusedUpdate && len(c.objects) > 0 && c.objects[0] == d.object
	})
}
