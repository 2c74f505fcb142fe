package cluster

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

var pods = &Resource{Version: "v1", Name: "pods", Kind: "Pod", Namespaced: true}

// metadataList has everything that metadata can have.
func metadataList() *metav1.PartialObjectMetadataList {
	deleted := metav1.NewTime(time.Unix(1700000001, 0))
	yes, grace := true, int64(30)
	return &metav1.PartialObjectMetadataList{
		ListMeta: metav1.ListMeta{ResourceVersion: "9", Continue: "token", RemainingItemCount: &grace},
		Items: []metav1.PartialObjectMetadata{
			{ObjectMeta: metav1.ObjectMeta{
				Name: "web", GenerateName: "w", Namespace: "shop", UID: "u-1", ResourceVersion: "7", Generation: -3,
				CreationTimestamp: metav1.NewTime(time.Unix(1700000000,
					0)), DeletionTimestamp: &deleted, DeletionGracePeriodSeconds: &grace,
				Labels: map[string]string{"app": "web", "empty": "", "": "no key"},
				Annotations: map[string]string{ownDomain + "x": strings.Repeat("o", 2*longestAnnotation),
					"long": strings.Repeat("x", 2*longestAnnotation), "name": "web"},
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web", UID: "u-0",
					Controller: &yes}, {Kind: "Node"}},
				Finalizers: []string{"b", "a", "b"},
				ManagedFields: []metav1.ManagedFieldsEntry{
					{Manager: "kubectl", Operation: "Apply", Time: &deleted, FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{}}`),
						Subresource: "status"},
					{Manager: "helm"},
					{Manager: "kubectl", Operation: "Update"},
				},
			}},
			{},
			{ObjectMeta: metav1.ObjectMeta{Name: "other", Namespace: "shop"}},
		},
	}
}

// protobuf returns a list as the API server sends it, after the magic number.
func protobuf(t testing.TB, kind string, raw []byte) []byte {
	t.Helper()
	out, err := (&runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: kind},
		Raw: raw}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func marshal(t testing.TB, list *metav1.PartialObjectMetadataList) []byte {
	t.Helper()
	raw, err := list.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// What is decoded without the library is what the library decodes.
func FuzzDecodeProtobuf(f *testing.F) {
	f.Add(marshal(f, metadataList()))
	f.Add(marshal(f, &metav1.PartialObjectMetadataList{}))
	f.Add([]byte{0x12, 0x7f})
	f.Add([]byte("\x12\x05\x0a\x03\x8a\x01\x00")) // managed fields without a manager
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, next, err := decodeProtobuf(protobuf(t, "PartialObjectMetadataList", raw), pods, pool{})
		var list metav1.PartialObjectMetadataList
		if list.Unmarshal(raw) != nil || err != nil {
			return // the library minds types of fields that nobody reads, protowire minds their numbers
		}
		if next != list.Continue {
			t.Errorf("the next page is %q, not %q", next, list.Continue)
		}
		var want []*Object
		for i := range list.Items {
			o, err := newObject(pods, &list.Items[i], nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, o)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDecodeProtobuf(t *testing.T) {
	raw := marshal(t, metadataList())
	got, next, err := decodeProtobuf(protobuf(t, "PartialObjectMetadataList", raw), pods, pool{})
	if err != nil || next != "token" || len(got) != 3 {
		t.Fatalf("%d objects, the next page is %q, %v", len(got), next, err)
	}
	o := got[0]
	if o.Name != "web" || o.Deleting.IsZero() || len(o.Owners) != 2 ||
		!cmp.Equal(o.Managers, []string{"helm", "kubectl"}) ||
		len(o.Annotations["long"]) != longestAnnotation || o.Labels["app"] != "web" {
		t.Errorf("got %+v", o)
	}
	for cut := 1; cut < len(raw); cut++ { // an answer that ends too early may lack objects, but never invents any
		short, _, err := decodeProtobuf(protobuf(t, "PartialObjectMetadataList", raw[:cut]), pods, pool{})
		if err == nil && !slices.EqualFunc(short, got[:len(short)], func(a, b *Object) bool { return cmp.Equal(a, b) }) {
			t.Errorf("%d bytes of it: %v", cut, cmp.Diff(got[:len(short)], short))
		}
	}
	for _, bad := range [][]byte{protobuf(t, "PodList", raw), protobuf(t, "PartialObjectMetadataList", nil), {}} {
		if _, _, err := decodeProtobuf(bad, pods, pool{}); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

func TestDecodeJSON(t *testing.T) {
	list := metadataList()
	list.Kind, list.APIVersion = "WidgetList", "example.com/v1"
	content, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	got, next, err := decodeJSON(content, pods, pool{})
	want, _, _ := decodeProtobuf(protobuf(t, "PartialObjectMetadataList", marshal(t, list)), pods, pool{})
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || next != "token" || diff != "" {
		t.Errorf("%v, the next page is %q, %s", err, next, diff)
	}
	if got, _, err := decodeJSON([]byte(`{"kind":"Rows","apiVersion":"v1","items":null}`), pods, pool{}); err != nil ||
		len(got) > 0 {
		t.Errorf("an empty list: %v, %v", got, err)
	}
	for _, bad := range []string{
		"", "{}", "null", "<html>", `{"items":[]}`, `{"kind":"Status","apiVersion":"v1"}`, `{"kind":"PlayList","apiVersion":"v1","metadata":{"name":"p"}}`,
		`{"kind":"APIResourceList","apiVersion":"v1","resources":[]}`, `{"kind":"WidgetList","apiVersion":"v1","items":[{"metadata":{"name":7}}]}`,
	} {
		if _, _, err := decodeJSON([]byte(bad), pods, pool{}); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}
