package cluster

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/randfill"
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
	fields := [][]string{{"spec", "paused"}, {"metadata", "managedFields"},
		{"metadata", "annotations", "example.com/note"}}
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
	if diff := cmp.Diff([]any{map[string]string{"example.com/note": "x"}, []string{"bench"}},
		[]any{o.Annotations, o.Managers}); diff != "" {
		t.Error(diff)
	}
}

// Of every kind that Kubernetes defines, the content is that of the object as the
// library converts it, all of it.
func TestContentIsThatOfTheWholeObject(t *testing.T) {
	fill := randfill.NewWithSeed(1).NilChance(0.3).NumElements(1, 3).MaxDepth(20).Funcs(
		func(q *resource.Quantity, c randfill.Continue) {
			*q = *resource.NewQuantity(c.Int63n(1000), resource.DecimalSI)
		},
		func(s *intstr.IntOrString, c randfill.Continue) { *s = intstr.FromInt32(c.Int31n(1000)) },
		func(raw *runtime.RawExtension, _ randfill.Continue) { raw.Raw = []byte("{}") },
		func(f *metav1.FieldsV1, _ randfill.Continue) { f.SetRawString("{}") },
	)
	kinds := 0
	for kind := range scheme.Scheme.AllKnownTypes() {
		plural, _ := meta.UnsafeGuessKindToResource(kind)
		fields, found := bodies[plural.GroupResource().String()]
		if !found {
			continue
		}
		// A field of a struct that is part of another in JSON, for good measure.
		fields = append(slices.Clone(fields), []string{"spec", "hostPath", "path"}, []string{"metadata", "annotations"},
			[]string{"nothing"})
		kinds++
		for n := range 11 {
			item, err := scheme.Scheme.New(kind)
			if err != nil {
				t.Fatal(err)
			}
			if n > 0 { // the first is empty
				fill.Fill(item)
			}
			whole, err := runtime.DefaultUnstructuredConverter.ToUnstructured(item)
			if err != nil {
				t.Fatal(err)
			}
			part, err := contentOf(item, fields)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(project(whole, fields), project(part, fields)); diff != "" {
				t.Fatalf("%s: %s", kind, diff)
			}
		}
	}
	if kinds < 15 {
		t.Errorf("%d kinds were compared", kinds)
	}
}
