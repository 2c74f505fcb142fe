package finalize

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Bounds of an observation, beside the lists.
const (
	maxSamples    = 64               // objects that are looked at one by one
	samplesAtOnce = 8                // of them
	sampleTime    = 15 * time.Second // for one of them; a webhook may take 30 s
)

// Reader is what Observe asks of a cluster. It changes nothing: what is written is
// sent with dryRun=All.
type Reader interface {
	Snapshot(ctx context.Context, scope cluster.Scope) (*cluster.Snapshot, error)
	Get(ctx context.Context, t cluster.Target, fields ...[]string) (*cluster.Object, error)
	StripFinalizers(ctx context.Context, t cluster.Target, o *cluster.Object, names []string, dry bool) error
	Delete(ctx context.Context, t cluster.Target, o cluster.DeleteOptions) error
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
	// Samples are one object of each class, looked at more closely.
	Samples map[Class]Sample
	// Conversions are definitions whose conversion webhook does not work. They are
	// looked for only if something hangs.
	Conversions []Conversion
	// Schemas are the definitions whose schema refuses something, by plural.group.
	Schemas map[string]*cluster.Object
	// Manager is the Lease of kube-controller-manager, nil if it can't be read.
	Manager *cluster.Object
}

// Class is the objects of one kind in one namespace that have the same finalizer, or,
// without one, that the namespace controller could not delete.
type Class struct {
	Namespace string
	Resource  schema.GroupResource
	Finalizer string
}

// Sample is what is known of one object of a class.
type Sample struct {
	Object cluster.Ref
	// Writes are what field managers did to it, the last first.
	Writes []Write
	// Refused is what the server says to the removal of the finalizer, or to the
	// deletion; empty: it accepts it, or was not asked.
	Refused string
	// Untracked: the object does not say who wrote it. The API server begins to track
	// only what is created with fields, or applied (k8s.io/apimachinery
	// pkg/util/managedfields/internal/skipnonapplied.go).
	Untracked bool
	// Unanswered: it said nothing in time.
	Unanswered bool
}

// Write is the last write of one field manager.
type Write struct {
	Manager string
	At      time.Time
	// Holds tells whether it has set the finalizer of the class.
	Holds bool
	// After tells whether it came after the deletion of the object.
	After bool
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
	samples := o.toSample(namespaces)
	if len(samples) == 0 && !slices.ContainsFunc(o.Objects, func(obj *cluster.Object) bool {
		return isNamespace(obj) && slices.Contains(namespaces, obj.Name) && slices.ContainsFunc(specFinalizers(obj), foreign)
	}) {
		return o, nil
	}
	if err := o.findOwners(ctx, c); err != nil {
		return nil, err
	}
	return o, o.sample(ctx, c, samples)
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
	u := unreadable(o.Snapshot, "namespaces")
	if u == nil || !u.Forbidden {
		return nil
	}
	for _, name := range names {
		ns, err := c.Get(ctx, cluster.NamespaceTarget(name, ""), []string{"spec"}, []string{"status"})
		switch {
		case apierrors.IsNotFound(err):
		case apierrors.IsForbidden(err):
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

// toSample returns one object of each class.
func (o *Observation) toSample(namespaces []string) map[Class]*cluster.Object {
	out := map[Class]*cluster.Object{}
	failed := map[string]bool{}
	for _, obj := range o.Objects {
		if isNamespace(obj) {
			failed[obj.Name] = slices.ContainsFunc(conditions(obj, Content{}), func(c Condition) bool {
				return c.Type == "NamespaceDeletionContentFailure" && c.Status == "True"
			})
		}
	}
	all := o.Objects
	for _, c := range o.Conversions {
		all = append(slices.Clip(all), c.Objects...)
	}
	for _, obj := range all {
		if obj.Namespace == "" && obj.Resource.Kind != "Namespace" || !slices.Contains(namespaces, namespaceOf(obj)) {
			continue
		}
		if failed[obj.Namespace] && !obj.Terminating() {
			if class := classOf(obj, ""); out[class] == nil && len(out) < maxSamples {
				out[class] = obj
			}
		}
		for _, f := range obj.Finalizers {
			class := classOf(obj, f)
			if have := out[class]; have == nil && len(out) < maxSamples || have != nil && !have.Terminating() &&
				obj.Terminating() {
				out[class] = obj
			}
		}
	}
	return out
}

// namespaceOf returns the namespace that an object is in, or is.
func namespaceOf(o *cluster.Object) string {
	if o.Resource.Group == "" && o.Resource.Kind == "Namespace" {
		return o.Name
	}
	return o.Namespace
}

func classOf(o *cluster.Object, finalizer string) Class {
	return Class{namespaceOf(o), o.Resource.GroupResource(), finalizer}
}

func (o *Observation) sample(ctx context.Context, c Reader, samples map[Class]*cluster.Object) error {
	var mu sync.Mutex
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(samplesAtOnce)
	for class, obj := range samples {
		group.Go(func() error {
			s := look(groupCtx, c, class, obj)
			mu.Lock()
			defer mu.Unlock()
			o.Samples[class] = s
			return groupCtx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	o.findSchemas(ctx, c)
	return ctx.Err()
}

// look reads one object whole, and asks the server whether it would accept the
// removal of the finalizer.
func look(ctx context.Context, c Reader, class Class, obj *cluster.Object) Sample {
	s := Sample{Object: obj.Ref()}
	if class.Finalizer == "" {
		ctx, cancel := context.WithTimeout(cluster.Once(ctx), sampleTime)
		defer cancel()
		s.answer(c.Delete(ctx, obj.Target(), cluster.DeleteOptions{DryRun: true}))
		return s
	}
	full, err := c.Get(ctx, obj.Target(), []string{"metadata", "managedFields"})
	if err != nil {
		return s // it is gone, or the user may not get it
	}
	s.Writes = writes(full, class.Finalizer)
	s.Untracked = len(s.Writes) == 0
	if !full.Terminating() || !slices.Contains(full.Finalizers, class.Finalizer) || isNamespace(full) {
		return s
	}
	ctx, cancel := context.WithTimeout(cluster.Once(ctx), sampleTime)
	defer cancel()
	s.answer(c.StripFinalizers(ctx, obj.Target(), full, []string{class.Finalizer}, true))
	return s
}

// answer takes in what the server says to a write that is only tried.
func (s *Sample) answer(err error) {
	switch {
	case err == nil, apierrors.IsNotFound(err), apierrors.IsConflict(err):
	case apierrors.IsForbidden(err) && lacksRight(err):
		// What this user may do is looked at for the whole plan.
	case strings.Contains(err.Error(), "does not support dry run"):
		// A webhook with side effects: only the write itself tells.
	case errors.Is(err, context.DeadlineExceeded), apierrors.IsTimeout(err):
		s.Unanswered, s.Refused = true, fmt.Sprintf("no answer within %s", sampleTime)
	default:
		s.Refused = err.Error()
	}
}

// lacksRight tells whether RBAC refused, and not an admission plugin, whose
// refusals are Forbidden, too (k8s.io/apiserver v0.36.3
// pkg/endpoints/handlers/responsewriters/errors.go, forbiddenMessage).
func lacksRight(err error) bool {
	return strings.Contains(err.Error(), "cannot patch resource") || strings.Contains(err.Error(),
		"cannot delete resource")
}

// foreign tells whether an entry of spec.finalizers is not Kubernetes' own.
func foreign(finalizer string) bool { return finalizer != "kubernetes" }

// specFinalizers returns those of a namespace.
func specFinalizers(ns *cluster.Object) []string {
	list, _, _ := unstructured.NestedStringSlice(ns.Body, "spec", "finalizers")
	return list
}

func isNamespace(o *cluster.Object) bool {
	return o.Resource.Group == "" && o.Resource.Kind == "Namespace"
}

// writes returns what the managedFields of an object say, the last first.
func writes(o *cluster.Object, finalizer string) []Write {
	entries, _, _ := unstructured.NestedSlice(o.Body, "metadata", "managedFields")
	var out []Write
	for _, item := range entries {
		m, ok := item.(map[string]any)
		if !ok {
			continue
		}
		w := Write{}
		w.Manager, _ = m["manager"].(string)
		text, _ := m["time"].(string)
		// An unreadable time stays zero: the write is an old one.
		w.At, _ = time.Parse(time.RFC3339, text)
		_, w.Holds, _ = unstructured.NestedFieldNoCopy(m, "fieldsV1", "f:metadata", "f:finalizers", `v:"`+finalizer+`"`)
		w.After = o.Terminating() && w.At.After(o.Deleting)
		out = append(out, w)
	}
	slices.SortStableFunc(out, func(a, b Write) int { return b.At.Compare(a.At) })
	return out
}
