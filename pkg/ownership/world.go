package ownership

import (
	"fmt"
	"iter"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// world is a snapshot with indexes and what the rules have found so far.
type world struct {
	snap *cluster.Snapshot // objects in the order of their references
	cat  *Catalogue

	byRef      map[cluster.Ref]*cluster.Object
	byUID      map[types.UID]*cluster.Object
	byKind     map[string][]*cluster.Object // by KIND.GROUP
	byNS       map[string][]*cluster.Object
	namespaces []string // that hold objects, sorted
	workloads  []workload
	workersIn  map[string][]workload                        // by namespace
	below      map[types.UID][]*cluster.Object              // by owner
	bindings   []*binding                                   // of roles, in the whole cluster and in namespaces
	boundBy    map[cluster.Ref][]*binding                   // by the role that they grant
	grants     []grant                                      // of roles that are there and that somebody made
	companions []companion                                  // of objects that are there
	suspects   []suspect                                    // workloads that a rule may claim, see sift
	charted    []*cluster.Object                            // with the label of a chart of Cast AI's, see sift
	hintable   []*cluster.Object                            // that look like Cast AI's, see sift
	custom     map[*cluster.Resource]bool                   // see isCustom
	records    map[releaseKey][]*cluster.Object             // where Helm keeps releases
	labels     map[string]labelled                          // by value of helm.sh/chart
	named      map[string]*Home                             // by namespace, see home
	used       map[string]map[cluster.Ref][]*cluster.Object // by namespace, see users
	served     map[schema.GroupKind]bool                    // whether the kind lives in namespaces
	items      map[*cluster.Object]*Item
	changed    bool

	releases []*release // of which the record was read, in the order of their records
	release  map[releaseKey]*release
	listed   map[cluster.Ref][]listing
	homes    map[string]Evidence      // namespaces found to be Cast AI's to live in
	inferred map[string]bool          // those of homes that are gone and known from Helm's marks only
	excluded map[*cluster.Object]bool // by the user's word
	liqo     liqoOwner
}

// releaseKey names a Helm release.
type releaseKey struct{ namespace, name string }

// listing is the place of an object in a Helm release.
type listing struct {
	release *release
	object  releaseObject
}

// workload is an object that runs pods, and that no other such object made.
type workload struct {
	*cluster.Object
	spec   map[string]any
	images []string
	owner  bool // it has a controller, which makes it that one's business
}

// labelled is what the value of a label helm.sh/chart says.
type labelled struct {
	chart     string
	component *Component
}

// emptyWorld is a snapshot without any index.
func emptyWorld(snap *cluster.Snapshot, cat *Catalogue) *world {
	sorted := *snap
	byRef := func(a, b *cluster.Object) int { return a.Ref().Compare(b.Ref()) }
	if !slices.IsSortedFunc(snap.Objects, byRef) {
		sorted.Objects = slices.SortedFunc(slices.Values(snap.Objects), byRef)
	}
	return &world{
		snap: &sorted, cat: cat,
		byRef: map[cluster.Ref]*cluster.Object{}, byUID: map[types.UID]*cluster.Object{},
		byKind: map[string][]*cluster.Object{}, byNS: map[string][]*cluster.Object{}, workersIn: map[string][]workload{},
		boundBy: map[cluster.Ref][]*binding{}, custom: map[*cluster.Resource]bool{}, below: map[types.UID][]*cluster.Object{}, records: map[releaseKey][]*cluster.Object{}, labels: map[string]labelled{},
		named: map[string]*Home{}, used: map[string]map[cluster.Ref][]*cluster.Object{}, served: map[schema.GroupKind]bool{},
		items: map[*cluster.Object]*Item{}, release: map[releaseKey]*release{}, listed: map[cluster.Ref][]listing{},
		homes: map[string]Evidence{}, inferred: map[string]bool{}, excluded: map[*cluster.Object]bool{},
	}
}

// note puts an object on the lists of workloads and of Helm's records, if it is one.
func (w *world) note(o *cluster.Object) {
	if spec, ok := podSpec(o); ok {
		w.workloads = append(w.workloads, workload{o, spec, images(spec), o.Controller() != nil})
	}
	if isReleaseRecord(o) {
		key := releaseKey{o.Namespace, o.Labels["name"]}
		w.records[key] = append(w.records[key], o)
	}
}

func newWorld(snap *cluster.Snapshot, cat *Catalogue) *world {
	w := emptyWorld(snap, cat)
	w.byRef = make(map[cluster.Ref]*cluster.Object, len(snap.Objects))
	w.byUID = make(map[types.UID]*cluster.Object, len(snap.Objects))
	for _, r := range snap.Resources {
		gk := schema.GroupKind{Group: r.Group, Kind: r.Kind}
		w.served[gk] = w.served[gk] || r.Namespaced
	}
	for kind := range runs(w.snap.Objects, sameKind) {
		w.byKind[kind[0].Ref().GroupKind().String()] = kind
		for in := range runs(kind, sameNamespace) {
			if ns := in[0].Namespace; ns != "" {
				w.byNS[ns] = append(w.byNS[ns], in...)
			}
		}
	}
	for _, o := range w.snap.Objects {
		w.byRef[o.Ref()] = o
		if o.UID != "" {
			w.byUID[o.UID] = o
		}
		for _, r := range o.Owners {
			w.below[r.UID] = append(w.below[r.UID], o)
		}
		w.note(o)
	}
	for _, wl := range w.workloads {
		w.workersIn[wl.Namespace] = append(w.workersIn[wl.Namespace], wl)
	}
	w.namespaces = slices.Sorted(maps.Keys(w.byNS))
	w.noteAccess()
	w.noteCompanions()
	return w
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

// item returns the notes on an object.
func (w *world) item(o *cluster.Object) *Item {
	i := w.items[o]
	if i == nil {
		i = &Item{Object: o, Verdict: Foreign}
		w.items[o] = i
	}
	return i
}

// own notes strong evidence: from now on the object is Cast AI's.
func (w *world) own(o *cluster.Object, component *Component, e Evidence) {
	i := w.item(o)
	if i.Component == "" && component != nil {
		i.Component = component.Name
	}
	if slices.ContainsFunc(i.For, func(old Evidence) bool { return old.Rule == e.Rule }) {
		return
	}
	i.For = append(i.For, e)
	if i.Verdict != Owned {
		i.Verdict = Owned
		w.changed = true
	}
}

// hint notes weak evidence: enough to tell a person, never to remove.
func (w *world) hint(o *cluster.Object, e Evidence) {
	i := w.item(o)
	if slices.ContainsFunc(i.Hints, func(old Evidence) bool { return old.Rule == e.Rule }) {
		return
	}
	i.Hints = append(i.Hints, e)
}

// deny notes evidence against.
func (w *world) deny(o *cluster.Object, e Evidence) {
	i := w.item(o)
	if slices.ContainsFunc(i.Against, func(old Evidence) bool { return old.Rule == e.Rule }) {
		return
	}
	i.Against = append(i.Against, e)
}

func (w *world) owned(o *cluster.Object) bool {
	i := w.items[o]
	return i != nil && i.Verdict == Owned
}

// ownedObjects returns what is owned so far, in the order of references.
func (w *world) ownedObjects() []*cluster.Object {
	var out []*cluster.Object
	for o, i := range w.items {
		if i.Verdict == Owned {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b *cluster.Object) int { return a.Ref().Compare(b.Ref()) })
	return out
}

func (w *world) ownedRef(r cluster.Ref) bool {
	o := w.byRef[r]
	return o != nil && w.owned(o)
}

// namedHome returns the catalogue's entry for a namespace, or nil. Entries that
// demand labels or Liqo hold only where these are.
func (w *world) namedHome(ns string) *Home {
	home, known := w.named[ns]
	if !known {
		home = w.lookUpHome(ns)
		w.named[ns] = home
	}
	return home
}

func (w *world) lookUpHome(ns string) *Home {
	o := w.byRef[cluster.Ref{Kind: "Namespace", Name: ns}]
	for i := range w.cat.Namespaces {
		home := &w.cat.Namespaces[i]
		if ok, err := path.Match(home.Name, ns); err != nil || !ok {
			continue
		}
		if len(home.Labels) > 0 && o == nil {
			continue // nothing left to tell by
		}
		match := true
		for k, v := range home.Labels {
			match = match && o.Labels[k] == v
		}
		if match && (!home.Liqo || w.liqo == liqoCastAI) {
			return home
		}
	}
	return nil
}

// generated tells whether Cast AI's controllers make the namespace themselves,
// so that nobody has a reason to put anything into it.
func (h *Home) generated() bool { return len(h.Labels) > 0 }

// home tells whether Cast AI's software lives in a namespace by right, with why.
func (w *world) home(ns string) (Evidence, bool) {
	e, ok := w.homes[ns]
	return e, ok
}

// isNoise tells whether Kubernetes, OpenShift or Istio puts such an object into
// every namespace.
func isNoise(o *cluster.Object) bool {
	switch o.Resource.Kind {
	case "ConfigMap":
		return slices.Contains([]string{"kube-root-ca.crt", "openshift-service-ca.crt", "istio-ca-root-cert"}, o.Name)
	case "ServiceAccount":
		return o.Name == "default" || o.Name == "builder" || o.Name == "deployer"
	case "Secret":
		for _, sa := range []string{"default", "builder", "deployer"} {
			if o.Annotations["kubernetes.io/service-account.name"] == sa || o.Annotations["openshift.io/internal-registry-auth-token.service-account"] == sa {
				return true
			}
		}
	case "RoleBinding":
		return strings.HasPrefix(o.Name, "system:") && (o.Name == "system:deployers" || o.Name == "system:image-builders" || o.Name == "system:image-pullers")
	}
	return false
}

// builtinNamespace tells whether Kubernetes or its distribution made the
// namespace, so that it is never a home, whoever's workloads are in it.
func builtinNamespace(ns string) bool {
	return ns == "default" || strings.HasPrefix(ns, "kube-") || strings.HasPrefix(ns, "openshift")
}

func isCRD(o *cluster.Object) bool { return o.Resource.Kind == "CustomResourceDefinition" }

// crdGroup returns the component whose API group a CRD serves, by its exact
// name PLURAL.GROUP.
func (w *world) crdGroup(o *cluster.Object) *Component {
	_, group, _ := strings.Cut(o.Name, ".")
	return w.cat.group(group)
}

// runsCastAI tells whether all containers of a workload run Cast AI's images.
func (w *world) runsCastAI(wl workload) bool {
	return len(wl.images) > 0 && !slices.ContainsFunc(wl.images, func(i string) bool { return !w.cat.image(i) })
}

// runsSomeCastAI tells whether a container of a workload, other than those that
// merely prepare it, runs one of Cast AI's images.
func (w *world) runsSomeCastAI(wl workload) bool {
	list, _ := wl.spec["containers"].([]any)
	return slices.ContainsFunc(list, func(c any) bool {
		m, _ := c.(map[string]any)
		image, _ := m["image"].(string)
		return image != "" && w.cat.image(image)
	})
}

func revision(o *cluster.Object) int {
	n, err := strconv.Atoi(o.Labels["version"])
	if err != nil {
		return 0
	}
	return n
}

func ref(o *cluster.Object) *cluster.Ref {
	r := o.Ref()
	return &r
}

func text(format string, args ...any) string { return fmt.Sprintf(format, args...) }
