package controllers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// Configured is the annotation by which users ask for a workload to be sized.
	Configured = "workload-autoscaler.cast.ai/enabled"
	// Recommended is the annotation that the autoscaler writes into their pods.
	Recommended = "autoscaling.cast.ai/vertical-recommendation-hash"
	// recommendationFinalizer holds a Recommendation until the autoscaler, or its clean-up, is done with it.
	recommendationFinalizer = "autoscaling.cast.ai/recommendation"
)

func recommendations(list bool) schema.GroupVersionKind {
	kind := schema.GroupVersionKind{Group: "autoscaling.cast.ai", Version: "v1", Kind: "Recommendation"}
	if list {
		kind.Kind += "List"
	}
	return kind
}

// WorkloadAutoscaler is castai-workload-autoscaler: it makes a Recommendation beside each Deployment of a user's who
// asks for it, and writes into the Deployment's pods, again and again. With the argument cleanup it is the Job of the
// chart's hook.
func WorkloadAutoscaler(ctx context.Context) error {
	if slices.Contains(os.Args, "cleanup") {
		return cleanUpAutoscaler(ctx)
	}
	return lead(ctx, "castai-workload-autoscaler", func(ctx context.Context, c client.Client) error {
		all := &appsv1.DeploymentList{}
		if err := c.List(ctx, all); err != nil {
			return err
		}
		var failed []error
		for i := range all.Items {
			if d := &all.Items[i]; d.Annotations[Configured] != "" {
				failed = append(failed, recommend(ctx, c, d))
			}
		}
		return errors.Join(failed...)
	})
}

func recommend(ctx context.Context, c client.Client, d *appsv1.Deployment) error {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(recommendations(false))
	o.SetNamespace(d.Namespace)
	o.SetName(d.Name + "-deployment")
	o.SetFinalizers([]string{recommendationFinalizer})
	if err := c.Create(ctx, o); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	if d.Spec.Template.Annotations[Recommended] != "" {
		return nil
	}
	patch := fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{%q:"1"}}}}}`, Recommended)
	return c.Patch(ctx, d, client.RawPatch(client.Merge.Type(), []byte(patch)))
}

// cleanUpAutoscaler is what the hook does at an uninstallation: it strips the finalizers of
// one Recommendation after the other, and deletes their definition. What was written into workloads stays.
func cleanUpAutoscaler(ctx context.Context) error {
	c, err := newClient()
	if err != nil {
		return err
	}
	if err := apiextensionsv1.AddToScheme(c.Scheme()); err != nil {
		return err
	}
	all := &unstructured.UnstructuredList{}
	all.SetGroupVersionKind(recommendations(true))
	if err := c.List(ctx, all); err != nil {
		return err
	}
	for i := range all.Items {
		if err := takeTime(ctx, "CLEAN_UP_SECONDS"); err != nil {
			return err
		}
		patch := client.RawPatch(client.Merge.Type(), []byte(`{"metadata":{"finalizers":null}}`))
		if err := client.IgnoreNotFound(c.Patch(ctx, &all.Items[i], patch)); err != nil {
			return err
		}
	}
	crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "recommendations.autoscaling.cast.ai"}}
	return client.IgnoreNotFound(c.Delete(ctx, crd))
}
