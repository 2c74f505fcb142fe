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

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1",
	Resource: "customresourcedefinitions"}

// Apply creates the target with the given content or sets the fields that the
// content names, by server-side apply, and takes over those that others have
// written. If nothing differs, nothing is written.
//
// Some objects that the server once accepted, it does not accept in an apply: an
// environment variable that is there twice, say. That is a BadRequest.
func (c *Client) Apply(ctx context.Context, t Target, content map[string]any, dry bool) error {
	_, err := c.dynamic.Resource(t.GVR()).Namespace(t.Namespace).Apply(ctx, t.Name,
		&unstructured.Unstructured{Object: content},
		metav1.ApplyOptions{FieldManager: FieldManager, Force: true, DryRun: dryRun(dry)})
	if err != nil && strings.Contains(err.Error(), duplicateEntries) {
		return apierrors.NewBadRequest(err.Error()) // not an internal error: the next try will not be better
	}
	return err
}

// Create creates the target with the given content. One that is there already is
// AlreadyExists, unless it is what was to be created: a creation whose answer is
// lost is sent again.
func (c *Client) Create(ctx context.Context, t Target, content map[string]any, dry bool) error {
	api := c.dynamic.Resource(t.GVR()).Namespace(t.Namespace)
	_, err := api.Create(ctx, &unstructured.Unstructured{Object: content},
		metav1.CreateOptions{FieldManager: FieldManager, DryRun: dryRun(dry)})
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	// Servers before 1.29 keep no managed fields of some objects: such a one is
	// there if all that it was to be is.
	live, getErr := api.Get(ctx, t.Name, metav1.GetOptions{})
	switch {
	case getErr != nil:
		return getErr
	case slices.ContainsFunc(live.GetManagedFields(), created), equality.Semantic.DeepDerivative(content, live.Object):
		return nil
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
