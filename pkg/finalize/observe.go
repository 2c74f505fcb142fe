package finalize

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Reader is what Observe asks of a cluster. It changes nothing: what is written is
// sent with dryRun=All.
type Reader interface {
	Snapshot(ctx context.Context, scope cluster.Scope) (*cluster.Snapshot, error)
	Get(ctx context.Context, t cluster.Target, fields ...[]string) (*cluster.Object, error)
	StripFinalizers(ctx context.Context, t cluster.Target, o *cluster.Object, names []string, dry bool) error
	Delete(ctx context.Context, t cluster.Target, o cluster.DeleteOptions) error
	FinalizeNamespace(ctx context.Context, t cluster.Target, dry bool) error
	Create(ctx context.Context, t cluster.Target, content map[string]any, dry bool) error
	Missing(ctx context.Context, rights []cluster.Right) ([]cluster.Right, error)
}

// Observation is what a diagnosis rests on: all that was read of the cluster.
type Observation struct {
	*cluster.Snapshot
	// Owners holds what tells who controls what: Leases, roles and bindings. It is
	// nil if nothing has a finalizer.
	Owners *cluster.Snapshot
	// Loose are pods that no workload of the group apps makes, with what tells whether
	// they are ready and as whom they run. LooseUnreadable: there may be more.
	Loose           []*cluster.Object
	LooseUnreadable bool
	// Samples are some objects of each class, looked at more closely.
	Samples map[Class]Sample
	// Conversions are definitions whose conversion webhook does not work. They are
	// looked for only if something hangs.
	Conversions []Conversion
	// Schemas are the definitions whose schema refuses something, by plural.group.
	Schemas map[string]*cluster.Object
	// Relaxed are the definitions whose schema a run has relaxed and not put back yet.
	Relaxed []*cluster.Object
	// Manager is the Lease of kube-controller-manager, nil if it can't be read.
	Manager *cluster.Object
}

// Observe reads what Diagnose needs to judge the namespaces. What can't be read is
// named in the result. The error is for a server that can't be reached.
func Observe(ctx context.Context, c Reader, namespaces ...string) (*Observation, error) {
	snap, err := c.Snapshot(ctx, Scope(namespaces...))
	if err != nil {
		return nil, err
	}
	o := &Observation{Snapshot: snap, Samples: map[Class]Sample{}}
	if err := o.readNamespaces(ctx, c, namespaces); err != nil {
		return nil, err
	}
	if o.Manager, err = c.Get(ctx, managerLease, []string{"spec"}); err != nil {
		o.Manager = nil // it only adds to what is said
	}
	if err := o.whoForbids(ctx, c, namespaces); err != nil {
		return nil, err
	}
	if o.hung(namespaces) {
		if err := o.findConversions(ctx, c); err != nil {
			return nil, err
		}
	}
	o.findRelaxed(ctx, c)
	a := &asking{obs: o, client: c}
	if err := a.tryEnds(ctx, namespaces); err != nil {
		return nil, err
	}
	samples := o.toSample(namespaces)
	if len(samples.order) == 0 && !slices.ContainsFunc(o.Objects, func(obj *cluster.Object) bool {
		return isNamespace(obj) && slices.Contains(namespaces, obj.Name) && slices.ContainsFunc(specFinalizers(obj), foreign)
	}) {
		return o, nil
	}
	if err := o.findOwners(ctx, c); err != nil {
		return nil, err
	}
	return o, a.sample(ctx, samples)
}

// managerLease is the Lease of kube-controller-manager (Kubernetes 1.36.3
// cmd/kube-controller-manager/app/config, LeaderElection.ResourceName).
var managerLease = cluster.Target{
	Ref: cluster.Ref{Group: "coordination.k8s.io", Kind: "Lease", Namespace: "kube-system",
		Name: "kube-controller-manager"},
	Version: "v1", Resource: "leases",
}

// readNamespaces reads the namespaces one by one if this user may not list them: an
// administrator of a namespace may get it.
func (o *Observation) readNamespaces(ctx context.Context, c Reader, names []string) error {
	i := slices.IndexFunc(o.Unreadable, func(u cluster.Unreadable) bool { return u.What == "namespaces" })
	if i < 0 || !o.Unreadable[i].Forbidden {
		return nil
	}
	for _, name := range names {
		ns, err := c.Get(ctx, cluster.NamespaceTarget(name, ""), []string{"spec"}, []string{"status"})
		switch {
		case apierrors.IsNotFound(err):
		case apierrors.IsForbidden(err):
			o.Unreadable[i].Message = err.Error()
			return nil // stays unreadable
		case err != nil:
			return fmt.Errorf("can't read namespace %s: %w", name, err)
		default:
			o.Objects = append(o.Objects, ns)
		}
	}
	o.Unreadable = slices.DeleteFunc(slices.Clone(o.Unreadable),
		func(u cluster.Unreadable) bool { return u.What == "namespaces" })
	o.Elsewhere = append(o.Elsewhere, "namespaces")
	return nil
}

// whoForbids looks whether it is this user who may not list a kind, or whether an
// aggregated API forbids it to everybody.
func (o *Observation) whoForbids(ctx context.Context, c Reader, names []string) error {
	for i, u := range o.Unreadable {
		r := o.resource(u.What)
		if !u.Forbidden || r == nil || !r.Namespaced || o.aggregated(r) == nil {
			continue
		}
		var rights []cluster.Right
		for _, ns := range names {
			rights = append(rights, cluster.Right{Group: r.Group, Resource: r.Name, Verb: "list", Namespace: ns})
		}
		missing, err := c.Missing(ctx, rights)
		if err != nil {
			return err
		}
		o.Unreadable[i].Forbidden = len(missing) > 0
	}
	return nil
}

// resource returns the kind of that plural.group, or nil.
func (o *Observation) resource(groupResource string) *cluster.Resource {
	i := slices.IndexFunc(o.Resources,
		func(r *cluster.Resource) bool { return r.GroupResource().String() == groupResource })
	if i < 0 {
		return nil
	}
	return o.Resources[i]
}

// aggregated returns the APIService of a kind that another server serves, or nil.
func (o *Observation) aggregated(r *cluster.Resource) *cluster.Object {
	return o.apiService(r.Version + "." + r.Group)
}

// apiService returns the APIService of that name, VERSION.GROUP, if it has a Service.
func (o *Observation) apiService(name string) *cluster.Object {
	i := slices.IndexFunc(o.Objects, func(obj *cluster.Object) bool {
		return obj.Resource.Group == "apiregistration.k8s.io" && obj.Name == name && len(obj.ServiceRefs()) > 0
	})
	if i < 0 {
		return nil
	}
	return o.Objects[i]
}

// namespace returns the namespace of that name, or nil.
func (o *Observation) namespace(name string) *cluster.Object {
	i := slices.IndexFunc(o.Objects, func(obj *cluster.Object) bool { return isNamespace(obj) && obj.Name == name })
	if i < 0 {
		return nil
	}
	return o.Objects[i]
}

// namespaceOf returns the namespace that an object is in, or is.
func namespaceOf(o *cluster.Object) string {
	if o.Resource.Group == "" && o.Resource.Kind == "Namespace" {
		return o.Name
	}
	return o.Namespace
}

// foreign tells whether an entry of spec.finalizers is not Kubernetes' own.
func foreign(finalizer string) bool { return finalizer != "kubernetes" }

// specFinalizers returns those of a namespace.
func specFinalizers(ns *cluster.Object) []string {
	list, _, _ := unstructured.NestedStringSlice(ns.Body, "spec", "finalizers")
	return list
}

// namespaceKind is that of namespaces.
var namespaceKind = schema.GroupResource{Resource: "namespaces"}

func isNamespace(o *cluster.Object) bool {
	return o.Resource.Group == "" && o.Resource.Kind == "Namespace"
}
