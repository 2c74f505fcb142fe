package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
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
	live, err := api.Get(ctx, t.Name, metav1.GetOptions{})
	if err == nil && !slices.ContainsFunc(live.GetManagedFields(), created) {
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
	var left map[string]bool
	err := retake(ctx, func() (bool, error) {
		var err error
		left, err = c.awaitEstablished(ctx, names)
		return err == nil && len(left) == 0, err
	})
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("waiting for %d custom resource definitions to be served: %w", len(left), context.Cause(ctx))
	case err != nil:
		return fmt.Errorf("can't wait for the custom resource definitions to be served: %w", c.explain(err))
	}
	return nil
}

// awaitEstablished looks at the definitions once and then at every change, until
// all are served or the watch ends. It returns those that are not served yet.
func (c *Client) awaitEstablished(ctx context.Context, names []string) (left map[string]bool, err error) {
	left = map[string]bool{}
	api := c.dynamic.Resource(definitions)
	list, err := api.List(ctx, metav1.ListOptions{})
	if err != nil {
		return left, err
	}
	for i := range list.Items {
		if crd := &list.Items[i]; slices.Contains(names, crd.GetName()) && !established(crd) {
			left[crd.GetName()] = true
		}
	}
	if len(left) == 0 {
		return left, nil
	}
	w, err := api.Watch(ctx, metav1.ListOptions{ResourceVersion: list.GetResourceVersion()})
	if err != nil {
		return left, err
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		if event.Type == watch.Error {
			return left, apierrors.FromObject(event.Object)
		}
		if crd, ok := event.Object.(*unstructured.Unstructured); ok && (event.Type == watch.Deleted || established(crd)) {
			delete(left, crd.GetName())
		}
		if len(left) == 0 {
			return left, nil
		}
	}
	return left, nil
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
