package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

var namespaces = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}

// DeleteOptions are the conditions of a deletion.
type DeleteOptions struct {
	// GracePeriodSeconds overrides the object's own; nil keeps it.
	GracePeriodSeconds *int64
	// ResourceVersion is the state that may be deleted; empty: any.
	ResourceVersion string
	// DryRun lets the server go through all its checks and change nothing.
	DryRun bool
	// Orphan lets the garbage collector take the object out of the owners of others,
	// instead of deleting them.
	Orphan bool
	// Once sends the request one time only: what it rests on may be otherwise by
	// the next time (see TryLater).
	Once bool
}

// Delete asks for the deletion of exactly the object that t was made from: the
// server refuses with a Conflict when the UID is another one by now, or the
// resourceVersion, if the options name one (Preconditions, k8s.io/apimachinery
// pkg/apis/meta/v1). An object that is gone already is NotFound. Dependents
// follow in the background, unless they are to be orphaned.
func (c *Client) Delete(ctx context.Context, t Target, o DeleteOptions) error {
	propagation := metav1.DeletePropagationBackground
	if o.Orphan {
		propagation = metav1.DeletePropagationOrphan
	}
	opts := metav1.DeleteOptions{PropagationPolicy: &propagation, GracePeriodSeconds: o.GracePeriodSeconds,
		DryRun: dryRun(o.DryRun)}
	if t.UID != "" {
		opts.Preconditions = &metav1.Preconditions{UID: &t.UID}
		if o.ResourceVersion != "" {
			opts.Preconditions.ResourceVersion = &o.ResourceVersion
		}
	}
	if o.Once {
		ctx = context.WithValue(ctx, single{}, true)
	}
	return c.metadata.Resource(t.GVR()).Namespace(t.Namespace).Delete(ctx, t.Name, opts)
}

// Evict asks for the eviction of exactly the pod that t was made from. It is
// TooManyRequests as long as a PodDisruptionBudget does not allow it, NotFound if the
// pod is gone, and a Conflict if another one has its name (EvictionREST.Create in
// k8s.io/kubernetes v1.36.3 pkg/registry/core/pod/storage/eviction.go).
func (c *Client) Evict(ctx context.Context, t Target) error {
	eviction := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "policy/v1", "kind": "Eviction", "metadata": map[string]any{"name": t.Name, "namespace": t.Namespace},
	}}
	if t.UID != "" {
		eviction.Object["deleteOptions"] = map[string]any{"preconditions": map[string]any{"uid": string(t.UID)}}
	}
	ctx = context.WithValue(ctx, single{}, true)
	_, err := c.dynamic.Resource(t.GVR()).Namespace(t.Namespace).Create(ctx, eviction,
		metav1.CreateOptions{FieldManager: FieldManager}, "eviction")
	return err
}

// MergePatch applies an RFC 7386 patch. The UID of the target goes into the
// patch, so that the server refuses it for an object of the same name that was
// made since: that is a Conflict, although the server calls it Invalid
// (ValidateObjectMetaAccessorUpdate in k8s.io/apimachinery v0.36.3
// pkg/api/validation: the UID is immutable).
func (c *Client) MergePatch(ctx context.Context, t Target, patch map[string]any, dry bool) error {
	body := maps.Clone(patch)
	meta := map[string]any{}
	if m, ok := patch["metadata"].(map[string]any); ok {
		meta = maps.Clone(m)
	}
	if t.UID != "" {
		meta["uid"] = string(t.UID)
	}
	body["metadata"] = meta
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("patch of %s: %w", t.Ref, err)
	}
	_, err = c.metadata.Resource(t.GVR()).Namespace(t.Namespace).Patch(ctx, t.Name, types.MergePatchType, data,
		metav1.PatchOptions{FieldManager: FieldManager, DryRun: dryRun(dry)})
	if apierrors.IsInvalid(err) && aboutUID(err) {
		return apierrors.NewConflict(t.GVR().GroupResource(), t.Name, fmt.Errorf("it was made anew since: %w", err))
	}
	return err
}

// aboutUID tells whether an error of the server is about nothing but the UID.
func aboutUID(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	causes := status.Status().Details.Causes
	return len(causes) > 0 && !slices.ContainsFunc(causes,
		func(c metav1.StatusCause) bool { return c.Field != "metadata.uid" })
}

// StripFinalizers removes the named finalizers, and only these, from exactly
// the state of the object that o describes: a change in between is a Conflict.
// The caller must have seen a deletion timestamp on it.
func (c *Client) StripFinalizers(ctx context.Context, t Target, o *Object, names []string, dry bool) error {
	keep := slices.DeleteFunc(slices.Clone(o.Finalizers), func(f string) bool { return slices.Contains(names, f) })
	if keep == nil {
		keep = []string{}
	}
	t.UID = o.UID
	return c.MergePatch(ctx, t, map[string]any{
		"metadata": map[string]any{"finalizers": keep, "resourceVersion": o.ResourceVersion},
	}, dry)
}

// FinalizeNamespace clears spec.finalizers and metadata.finalizers of a
// namespace through its finalize subresource, as the namespace controller does
// at the end of its work. It refuses a namespace that is not being deleted, and
// one whose UID is not the target's, or whose resourceVersion is not, if the
// target has one; the resourceVersion read here is the lock of the write (storage of namespaces, finalizeREST.Update,
// k8s.io/kubernetes
// v1.36.3 pkg/registry/core/namespace/storage).
func (c *Client) FinalizeNamespace(ctx context.Context, t Target, dry bool) error {
	api := c.dynamic.Resource(namespaces)
	ns, err := api.Get(ctx, t.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if t.UID != "" && ns.GetUID() != t.UID {
		return apierrors.NewConflict(namespaces.GroupResource(), t.Name,
			fmt.Errorf("it was made anew since (UID %s, not %s)", ns.GetUID(), t.UID))
	}
	if t.ResourceVersion != "" && ns.GetResourceVersion() != t.ResourceVersion {
		return apierrors.NewConflict(namespaces.GroupResource(), t.Name, errors.New("it was changed since it was looked at"))
	}
	if ns.GetDeletionTimestamp() == nil {
		return fmt.Errorf("namespace %s is not Terminating: finalizing it would orphan its content at its next deletion",
			t.Name)
	}
	unstructured.RemoveNestedField(ns.Object, "spec", "finalizers")
	ns.SetFinalizers(nil)
	_, err = api.Update(ctx, ns, metav1.UpdateOptions{FieldManager: FieldManager, DryRun: dryRun(dry)}, "finalize")
	return err
}

// CreateNamespace makes an empty namespace and returns it. It exists to reach
// objects that were orphaned when their namespace went: up to Kubernetes 1.36
// no update is admitted in a missing namespace (NamespaceLifecycle admission).
func (c *Client) CreateNamespace(ctx context.Context, name string, annotations map[string]string) (Target, error) {
	ns := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace"}}
	ns.SetName(name)
	ns.SetAnnotations(annotations)
	ns, err := c.dynamic.Resource(namespaces).Create(ctx, ns, metav1.CreateOptions{FieldManager: FieldManager})
	if err != nil {
		return Target{}, err
	}
	return NamespaceTarget(name, ns.GetUID()), nil
}

// NamespaceTarget addresses a namespace.
func NamespaceTarget(name string, uid types.UID) Target {
	return Target{Ref: Ref{Kind: "Namespace", Name: name}, Version: "v1", Resource: "namespaces", UID: uid}
}

// Get reads the metadata of the target, and fields where some are named. An
// object of the same name with another UID is NotFound: the one meant is gone.
func (c *Client) Get(ctx context.Context, t Target, fields ...[]string) (*Object, error) {
	r := &Resource{Group: t.Group, Version: t.Version, Name: t.Resource, Kind: t.Kind, Namespaced: t.Namespace != ""}
	var o *Object
	if len(fields) == 0 {
		meta, err := c.metadata.Resource(t.GVR()).Namespace(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		if o, err = newObject(r, meta, nil, nil); err != nil {
			return nil, err
		}
	} else {
		u, err := c.dynamic.Resource(t.GVR()).Namespace(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		if o, err = newObject(r, u, fields, nil); err != nil {
			return nil, err
		}
	}
	if t.UID != "" && o.UID != t.UID {
		return nil, apierrors.NewNotFound(t.GVR().GroupResource(), t.Name)
	}
	return o, nil
}

func dryRun(on bool) []string {
	if on {
		return []string{metav1.DryRunAll}
	}
	return nil
}
