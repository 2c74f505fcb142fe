package ownership

import (
	"iter"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// index finds the objects of one scope: the cluster-scoped ones, or those of
// one namespace. It holds nothing of any other scope, so that a rule that gets
// an index can't look beyond it.
type index struct {
	objects   []*cluster.Object // in the order of their references
	byRef     map[cluster.Ref]*cluster.Object
	byUID     map[types.UID]*cluster.Object
	byKind    map[string][]*cluster.Object // by KIND.GROUP
	below     map[types.UID][]*cluster.Object
	workloads []workload
	bindings  []*binding
	boundBy   map[cluster.Ref][]*binding   // by the role that they grant
	needs     map[string][]*cluster.Object // see needed; made when it is asked for
}

func newIndex(objects []*cluster.Object) *index {
	x := &index{
		objects: objects, byRef: make(map[cluster.Ref]*cluster.Object, len(objects)),
		byUID: make(map[types.UID]*cluster.Object, len(objects)), byKind: map[string][]*cluster.Object{},
		below: map[types.UID][]*cluster.Object{}, boundBy: map[cluster.Ref][]*binding{},
	}
	for kind := range runs(objects, sameKind) {
		x.byKind[kind[0].Ref().GroupKind().String()] = kind
	}
	for _, o := range objects {
		x.byRef[o.Ref()] = o
		if o.UID != "" {
			x.byUID[o.UID] = o
		}
		for _, r := range o.Owners {
			x.below[r.UID] = append(x.below[r.UID], o)
		}
		if spec, ok := podSpec(o); ok {
			x.workloads = append(x.workloads, workload{o, spec, images(spec), o.Controller() != nil})
		}
	}
	for _, kind := range []string{"ClusterRoleBinding." + rbac, "RoleBinding." + rbac} {
		for _, o := range x.byKind[kind] {
			b := newBinding(o)
			x.bindings = append(x.bindings, b)
			x.boundBy[b.role] = append(x.boundBy[b.role], b)
		}
	}
	return x
}

// workload is an object that runs pods, and that no other such object made.
type workload struct {
	*cluster.Object
	spec   map[string]any
	images []string
	owner  bool // it has a controller, which makes it that one's business
}

// runs splits a list where it is no longer the same.
func runs(list []*cluster.Object, same func(a, b *cluster.Object) bool) iter.Seq[[]*cluster.Object] {
	return func(yield func([]*cluster.Object) bool) {
		for start, i := 0, 1; i <= len(list); i++ {
			if i < len(list) && same(list[i-1], list[i]) {
				continue
			}
			if !yield(list[start:i:i]) {
				return
			}
			start = i
		}
	}
}

func sameKind(a, b *cluster.Object) bool {
	return a.Resource == b.Resource || a.Resource.Kind == b.Resource.Kind && a.Resource.Group == b.Resource.Group
}

func sameNamespace(a, b *cluster.Object) bool { return a.Namespace == b.Namespace }

// sorted returns the objects of a snapshot in the order of their references.
func sorted(snap *cluster.Snapshot) []*cluster.Object {
	byRef := func(a, b *cluster.Object) int { return a.Ref().Compare(b.Ref()) }
	if slices.IsSortedFunc(snap.Objects, byRef) {
		return snap.Objects
	}
	return slices.SortedFunc(slices.Values(snap.Objects), byRef)
}

// owner returns the object of the index that an owner reference means. One of
// another kind or name than the UID says is none.
func (x *index) owner(r metav1.OwnerReference) *cluster.Object {
	up := x.byUID[r.UID]
	if up == nil || up.Resource.Kind != r.Kind || up.Name != r.Name {
		return nil
	}
	return up
}

func isCRD(o *cluster.Object) bool { return o.Resource.Kind == "CustomResourceDefinition" }

func isPDB(o *cluster.Object) bool {
	return o.Resource.Kind == "PodDisruptionBudget" && o.Resource.Group == "policy"
}

// crdOf returns the CRD that would define a kind.
func crdOf(r *cluster.Resource) cluster.Ref {
	return cluster.Ref{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: r.GroupResource().String()}
}

// nested returns a list of maps at a path of a body.
func nested(o *cluster.Object, path ...string) []map[string]any {
	v, found, err := unstructured.NestedFieldNoCopy(o.Body, path...)
	if !found || err != nil {
		return nil
	}
	list, _ := v.([]any)
	var out []map[string]any
	for _, e := range list {
		if m, ok := e.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func str(m map[string]any, path ...string) string {
	s, _, err := unstructured.NestedString(m, path...)
	if err != nil {
		return ""
	}
	return s
}

func ref(o *cluster.Object) *cluster.Ref {
	r := o.Ref()
	return &r
}
