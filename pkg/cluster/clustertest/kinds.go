package clustertest

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiversion "k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/kubernetes/scheme"
)

// kind is one resource that the server serves.
type kind struct {
	schema.GroupVersionKind
	resource   string
	namespaced bool
	status     bool // it has the subresource status
	generation bool // the server counts the changes of what is not metadata or status
	custom     bool // a CustomResourceDefinition defines it
	verbs      []string
}

func (k *kind) isNamespace() bool { return k.Group == "" && k.Kind == "Namespace" }

// typed tells whether Kubernetes' own Go types know the kind: only such a kind
// is served as protobuf.
func (k *kind) typed() bool { return scheme.Scheme.Recognizes(k.GroupVersionKind) }

// allVerbs are those of nearly all resources, in the order of discovery.
var allVerbs = []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}

// unserved are kinds of k8s.io/api that a default API server does not serve.
var unserved = []string{"ComponentStatus"}

// builtIn holds the resources that every API server serves: the kinds of
// k8s.io/api in their best stable version, CustomResourceDefinitions and
// APIServices.
var builtIn = sync.OnceValue(func() []*kind {
	var out []*kind
	versions := scheme.Scheme.PrioritizedVersionsAllGroups()
	slices.SortStableFunc(versions, func(a, b schema.GroupVersion) int {
		return apiversion.CompareKubeAwareVersionStrings(b.Version, a.Version)
	})
	for _, gv := range versions {
		if strings.Contains(gv.Version, "alpha") || strings.Contains(gv.Version, "beta") {
			continue
		}
		for name, t := range scheme.Scheme.KnownTypes(gv) {
			gvk := gv.WithKind(name)
			_, hasMeta := t.FieldByName("ObjectMeta")
			if !hasMeta || !scheme.Scheme.Recognizes(gv.WithKind(name+"List")) || slices.Contains(unserved, name) {
				continue
			}
			if slices.ContainsFunc(out, func(k *kind) bool { return k.GroupKind() == gvk.GroupKind() }) {
				continue // in a better version
			}
			out = append(out, newKind(gvk, t))
		}
	}
	out = append(
		out,
		&kind{
			GroupVersionKind: crdKind,
			resource:         "customresourcedefinitions",
			status:           true,
			generation:       true,
			verbs:            allVerbs,
		},
		&kind{GroupVersionKind: apiServiceKind, resource: "apiservices", status: true, verbs: allVerbs},
	)
	return out
})

var (
	crdKind = schema.GroupVersionKind{
		Group:   "apiextensions.k8s.io",
		Version: "v1",
		Kind:    "CustomResourceDefinition",
	}
	apiServiceKind = schema.GroupVersionKind{Group: "apiregistration.k8s.io", Version: "v1", Kind: "APIService"}
)

func newKind(gvk schema.GroupVersionKind, t reflect.Type) *kind {
	plural, _ := meta.UnsafeGuessKindToResource(gvk)
	_, status := t.FieldByName("Status")
	k := &kind{
		GroupVersionKind: gvk, resource: plural.Resource, namespaced: Namespaced(gvk), status: status,
		generation: slices.Contains(generationGroups, gvk.Group), verbs: allVerbs,
	}
	if k.isNamespace() {
		k.verbs = slices.DeleteFunc(slices.Clone(allVerbs), func(v string) bool { return v == "deletecollection" })
	}
	return k
}

// generationGroups are the API groups whose objects have a generation.
var generationGroups = []string{"apps", "batch", "policy", "networking.k8s.io", "admissionregistration.k8s.io"}

// customKinds returns what a CustomResourceDefinition lets the server serve, one
// kind for each version that is served.
func customKinds(crd *unstructured.Unstructured) []*kind {
	str := func(path ...string) string {
		s, _, _ := unstructured.NestedString(crd.Object, path...)
		return s
	}
	var out []*kind
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	for _, v := range versions {
		version, _ := v.(map[string]any)
		if version["served"] == false {
			continue
		}
		name, _ := version["name"].(string)
		_, status, _ := unstructured.NestedMap(version, "subresources", "status")
		out = append(out, &kind{
			GroupVersionKind: schema.GroupVersionKind{
				Group:   str("spec", "group"),
				Version: name,
				Kind:    str("spec", "names", "kind"),
			},
			resource:   str("spec", "names", "plural"),
			namespaced: str("spec", "scope") == "Namespaced",
			status:     status,
			generation: true,
			custom:     true,
			verbs:      allVerbs,
		})
	}
	return out
}

// kinds returns all that is served now, by group, version and resource.
func (s *Server) kinds() []*kind {
	if s.served != nil {
		return s.served
	}
	out := slices.Clone(builtIn())
	for _, crd := range s.all(crdKind.GroupKind()) {
		out = append(out, customKinds(crd)...)
	}
	slices.SortFunc(out, func(a, b *kind) int {
		return cmp.Or(
			cmp.Compare(a.Group, b.Group),
			apiversion.CompareKubeAwareVersionStrings(b.Version, a.Version),
			cmp.Compare(a.resource, b.resource),
		)
	})
	s.served = out
	return out
}

// kindOf returns the first kind that matches, or nil.
func (s *Server) kindOf(match func(*kind) bool) *kind {
	for _, k := range s.kinds() {
		if match(k) {
			return k
		}
	}
	return nil
}
