package main

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
)

// concurrency is how many requests the floors and seeds have in flight: as many
// as the plugin (pkg/cluster).
const concurrency = 16

const (
	foreignKinds      = 300
	foreignNamespaces = 50
	foreignGroup      = "bench.example.com"
)

var (
	configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	namespaces = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
)

// each calls do for 0..n-1, a bounded number at a time.
func each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for i := range n {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

// seedKinds defines foreign kinds and waits until they are served.
func seedKinds(ctx context.Context, api dynamic.Interface, disco discovery.DiscoveryInterface) error {
	definitions := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1",
		Resource: "customresourcedefinitions"}
	err := each(ctx, foreignKinds, func(ctx context.Context, i int) error {
		return create(ctx, api.Resource(definitions), foreignKind(i))
	})
	if err != nil {
		return err
	}
	err = wait.PollUntilContextCancel(ctx, pollInterval, true, func(context.Context) (bool, error) {
		list, err := disco.ServerResourcesForGroupVersion(foreignGroup + "/v1")
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil && len(list.APIResources) == foreignKinds, err
	})
	if err != nil {
		return err
	}
	return each(ctx, foreignKinds, func(ctx context.Context, i int) error {
		// A new kind answers 404, then 429, for some seconds.
		return wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
			_, err := api.Resource(kindOf(i)).List(ctx, metav1.ListOptions{Limit: 1})
			if apierrors.IsNotFound(err) || apierrors.IsTooManyRequests(err) {
				return false, nil
			}
			return err == nil, err
		})
	})
}

func kindOf(i int) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: foreignGroup, Version: "v1", Resource: fmt.Sprintf("kind%03ds", i)}
}

func foreignKind(i int) *unstructured.Unstructured {
	kind := fmt.Sprintf("kind%03d", i)
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": kind + "s." + foreignGroup},
		"spec": map[string]any{
			"group": foreignGroup, "scope": "Namespaced",
			"names": map[string]any{"plural": kind + "s", "singular": kind, "kind": "K" + kind[1:], "listKind": "K" + kind[1:] +
				"List"},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{
				"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
			}}},
		},
	}}
}

// seedObjects creates the foreign objects from one count up to another. What
// object i is depends on i only. Half are ConfigMaps and Secrets, as in most
// clusters, and each other kind has some.
func seedObjects(ctx context.Context, api dynamic.Interface, from, to int) error {
	err := each(ctx, foreignNamespaces, func(ctx context.Context, i int) error {
		return create(ctx, api.Resource(namespaces), object("v1", "Namespace", "", team(i)))
	})
	if err != nil {
		return err
	}
	return each(ctx, to-from, func(ctx context.Context, i int) error {
		gvr, o := foreignObject(from + i)
		return create(ctx, api.Resource(gvr).Namespace(o.GetNamespace()), o)
	})
}

func team(i int) string { return fmt.Sprintf("team-%02d", i%foreignNamespaces) }

// foreignObject returns object i, of about a kilobyte.
func foreignObject(i int) (schema.GroupVersionResource, *unstructured.Unstructured) {
	name := fmt.Sprintf("app-%06d", i)
	content := strings.Repeat("0123456789abcdef", 50)
	set := func(o *unstructured.Unstructured, value any, path ...string) *unstructured.Unstructured {
		// The parents are maps that object made, so setting can't fail.
		_ = unstructured.SetNestedField(o.Object, value, path...)
		return o
	}
	switch i % 10 {
	case 0, 1, 2:
		return configMaps, set(object("v1", "ConfigMap", team(i/10), name), content, "data", "content")
	case 3, 4:
		return schema.GroupVersionResource{Version: "v1", Resource: "secrets"}, set(object("v1", "Secret", team(i/10), name),
			content, "stringData", "content")
	case 5:
		return schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}, object("v1", "ServiceAccount",
			team(i/10), name)
	case 6:
		return schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, deployment(team(i/10),
			name)
	case 7:
		return schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
			object("rbac.authorization.k8s.io/v1", "Role", team(i/10), name)
	}
	gvr := kindOf(i / 10 % foreignKinds)
	kind := strings.TrimSuffix(gvr.Resource, "s")
	return gvr, set(object(foreignGroup+"/v1", "K"+kind[1:], team(i/10), name), content, "spec", "content")
}

// object returns an object with the labels and annotations of a Helm release.
func object(apiVersion, kind, namespace, name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind}}
	u.SetName(name)
	u.SetNamespace(namespace)
	u.SetLabels(map[string]string{"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "Helm",
		"helm.sh/chart": "acme-1.2.3"})
	u.SetAnnotations(map[string]string{"meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": namespace})
	return u
}

func deployment(namespace, name string) *unstructured.Unstructured {
	o := object("apps/v1", "Deployment", namespace, name)
	labels := map[string]any{"app": name}
	o.Object["spec"] = map[string]any{
		"replicas": int64(0), "selector": map[string]any{"matchLabels": labels},
		"template": map[string]any{"metadata": map[string]any{"labels": labels}, "spec": map[string]any{
			"serviceAccountName": name,
			"containers":         []any{map[string]any{"name": "app", "image": "registry.example.com/" + name + ":1"}},
		}},
	}
	return o
}

// create creates an object, unless it is there.
func create(ctx context.Context, api dynamic.ResourceInterface, o *unstructured.Unstructured) error {
	_, err := api.Create(ctx, o, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create %s %s: %w", o.GetKind(), o.GetName(), err)
	}
	return nil
}
