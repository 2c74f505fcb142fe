package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// ApplyOptions are the conditions of a server-side apply.
type ApplyOptions struct {
	// Force takes over fields that others have written; without it they are a Conflict.
	Force bool
	// DryRun lets the server go through all its checks and change nothing.
	DryRun bool
}

// Apply creates the target with the given content or sets the fields that the
// content names, by server-side apply. If nothing differs, nothing is written.
//
// Some objects that the server once accepted, it does not accept in an apply: an
// environment variable that is there twice, say. Such an object is created
// plainly if it is not there, and refused if it is.
func (c *Client) Apply(ctx context.Context, t Target, content map[string]any, o ApplyOptions) error {
	api := c.dynamic.Resource(t.GVR()).Namespace(t.Namespace)
	u := &unstructured.Unstructured{Object: content}
	_, err := api.Apply(ctx, t.Name, u, metav1.ApplyOptions{FieldManager: FieldManager, Force: o.Force, DryRun: dryRun(o.DryRun)})
	if err == nil || !strings.Contains(err.Error(), duplicateEntries) {
		return err
	}
	refusal := apierrors.NewBadRequest(err.Error()) // not an internal error: the next try will not be better
	switch _, err := api.Get(ctx, t.Name, metav1.GetOptions{}); {
	case err == nil:
		return refusal
	case !apierrors.IsNotFound(err):
		return err
	}
	_, err = api.Create(ctx, u, metav1.CreateOptions{FieldManager: FieldManager, DryRun: dryRun(o.DryRun)})
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	// Somebody's, or its own: a creation whose answer is lost is sent again.
	// Servers before 1.29 keep no managed fields of such an object: then it is
	// there if all that it was to be is.
	live, err := api.Get(ctx, t.Name, metav1.GetOptions{})
	if err == nil && !slices.ContainsFunc(live.GetManagedFields(), created) && !equality.Semantic.DeepDerivative(content, live.Object) {
		return refusal
	}
	return err
}

// created tells whether an entry is that of a plain creation by this plugin.
func created(m metav1.ManagedFieldsEntry) bool {
	return m.Manager == FieldManager && m.Operation == metav1.ManagedFieldsOperationUpdate && m.Subresource == ""
}

// duplicateEntries is how server-side apply says that a list that is a map has
// a key twice (sigs.k8s.io/structured-merge-diff/v6/typed, validate.go). The API
// server returns it as an internal error, without a reason of its own.
const duplicateEntries = "duplicate entries for key"

// Established watches the named CustomResourceDefinitions until the API server
// serves all of them that exist, or ctx ends. A watch that is cut or expires is
// taken up again after a fresh list.
func (c *Client) Established(ctx context.Context, names []string) error {
	left := map[string]bool{}
	o := observer{
		relist: func() { clear(left) },
		set: func(item runtime.Object) error {
			crd, ok := item.(*unstructured.Unstructured)
			switch {
			case !ok:
				return fmt.Errorf("the server answered with %T", item)
			case established(crd):
				delete(left, crd.GetName())
			case slices.Contains(names, crd.GetName()):
				left[crd.GetName()] = true
			}
			return nil
		},
		gone: func(item runtime.Object) {
			if m, err := meta.Accessor(item); err == nil {
				delete(left, m.GetName())
			}
		},
		asked: func(bool) (bool, error) { return len(left) == 0, nil },
	}
	r := &Resource{Group: definitions.Group, Version: definitions.Version, Name: definitions.Resource}
	err := retake(ctx, func() (bool, error) { return round(ctx, c.wholeOf(r, ""), metav1.ListOptions{}, o) })
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("waiting for %d custom resource definitions to be served: %w", len(left), context.Cause(ctx))
	case err != nil:
		return fmt.Errorf("can't wait for the custom resource definitions to be served: %w", c.explain(err))
	}
	return nil
}

// established tells whether a CustomResourceDefinition is served (CRD status
// conditions, k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1).
func established(crd *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == "Established" && m["status"] == "True" {
			return true
		}
	}
	return false
}
