package cluster

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What of the metadata a caller asks for as content is kept, whole, of an object
// that came as protobuf, too.
func TestMetadataThatIsAskedForIsContent(t *testing.T) {
	item := func() *appsv1.Deployment {
		return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{
			Name: "web", Namespace: "shop", Annotations: map[string]string{"example.com/note": "x"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "bench", Operation: metav1.ManagedFieldsOperationUpdate}},
		}}
	}
	resource := &Resource{Group: "apps", Version: "v1", Name: "deployments", Kind: "Deployment"}
	fields := [][]string{{"spec", "paused"}, {"metadata", "managedFields"}, {"metadata", "annotations", "example.com/note"}}
	o, err := newObject(resource, item(), fields, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"metadata": map[string]any{
		"managedFields": []any{map[string]any{"manager": "bench", "operation": "Update"}},
		"annotations":   map[string]any{"example.com/note": "x"},
	}}
	if diff := cmp.Diff(want, o.Body); diff != "" {
		t.Error(diff)
	}
	if o, err = newObject(resource, item(), [][]string{{"spec", "template", "metadata", "labels"}}, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{map[string]string{"example.com/note": "x"}, []string{"bench"}}, []any{o.Annotations, o.Managers}); diff != "" {
		t.Error(diff)
	}
}
