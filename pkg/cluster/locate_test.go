package cluster_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// TestLocate holds that a type is understood as kubectl does.
func TestLocate(t *testing.T) {
	client := clustertest.Serve(t,
		definition("one.example.com", "widgets", "Widget"),
		definition("two.example.com", "widgets", "Widget"),
		definition("example.com", "services", "Service"),
	).Client()
	for typed, want := range map[string]string{
		"Pod": "pods", "pods": "pods", "persistentvolumeclaims": "persistentvolumeclaims",
		"deployments.apps": "deployments.apps", "deployments.v1.apps": "deployments.apps",
		"service": "services", "services.example.com": "services.example.com",
		"widgets.one.example.com": "widgets.one.example.com", "widget.two.example.com": "widgets.two.example.com",
	} {
		r, err := client.Locate(typed)
		if err != nil || r.GroupResource().String() != want {
			t.Errorf("Locate(%q) = %v, %v", typed, r, err)
		}
	}
	for typed, says := range map[string]string{
		"widgets": "write the group, too", "gadgets": "the cluster has no kind",
		"pods.example.com": "the cluster has no kind",
	} {
		if r, err := client.Locate(typed); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("Locate(%q) = %v, %v", typed, r, err)
		}
	}
}

func definition(group, plural, kind string) *unstructured.Unstructured {
	u := clustertest.Object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", plural+"."+group)
	u.Object["spec"] = map[string]any{
		"group": group, "scope": "Namespaced", "names": map[string]any{"plural": plural, "kind": kind},
		"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true}},
	}
	return u
}
