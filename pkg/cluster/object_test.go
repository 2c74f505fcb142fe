package cluster

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A snapshot cuts what others write for themselves, but not what the plugin wrote
// down in order to take it back.
func TestOwnAnnotationsAreWhole(t *testing.T) {
	long := strings.Repeat("x", 2*longestAnnotation)
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetAnnotations(map[string]string{"castai.kubectl.dev/hibernate": long,
		"kubectl.kubernetes.io/last-applied-configuration": long})
	o, err := NewObject(&Resource{Version: "v1", Name: "nodes", Kind: "Node"}, u)
	if err != nil {
		t.Fatal(err)
	}
	if got := o.Annotations["castai.kubectl.dev/hibernate"]; got != long {
		t.Errorf("%d of %d bytes are left", len(got), len(long))
	}
	if got := o.Annotations["kubectl.kubernetes.io/last-applied-configuration"]; len(got) != longestAnnotation {
		t.Errorf("%d bytes of what nobody reads are kept", len(got))
	}
}
