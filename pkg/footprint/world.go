package footprint

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// world is a snapshot with indexes and what the rules have found so far.
type world struct {
	snap *cluster.Snapshot
	cat  *Catalogue

	byRef      map[cluster.Ref]*cluster.Object
	byUID      map[types.UID]*cluster.Object
	byKind     map[string][]*cluster.Object // by KIND.GROUP
	byNS       map[string][]*cluster.Object
	namespaces []string // that hold objects, sorted
	items      map[*cluster.Object]*Item
	changed    bool

	releases []*release
	broken   map[[2]string]error // records that can't be decoded, by namespace and release name
	listed   map[cluster.Ref]listing
	homes    map[string]Evidence      // namespaces found to be Cast AI's to live in
	excluded map[*cluster.Object]bool // by the user's word
	liqo     liqoOwner
}

// listing is the place of an object in a Helm release.
type listing struct {
	release *release
	object  releaseObject
}

func newWorld(snap *cluster.Snapshot, cat *Catalogue) *world {
	w := &world{
		snap: snap, cat: cat,
		byRef: make(map[cluster.Ref]*cluster.Object, len(snap.Objects)), byUID: make(map[types.UID]*cluster.Object, len(snap.Objects)),
		byKind: map[string][]*cluster.Object{}, byNS: map[string][]*cluster.Object{},
		items: map[*cluster.Object]*Item{}, listed: map[cluster.Ref]listing{}, homes: map[string]Evidence{}, excluded: map[*cluster.Object]bool{}, broken: map[[2]string]error{},
	}
	for _, o := range snap.Objects {
		ref := o.Ref()
		w.byRef[ref] = o
		w.byUID[o.UID] = o
		kind := ref.GroupKind().String()
		w.byKind[kind] = append(w.byKind[kind], o)
		if o.Namespace != "" {
			w.byNS[o.Namespace] = append(w.byNS[o.Namespace], o)
		}
	}
	w.namespaces = slices.Sorted(maps.Keys(w.byNS))
	return w
}

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

func (w *world) ownedRef(r cluster.Ref) bool {
	o := w.byRef[r]
	return o != nil && w.owned(o)
}

// named returns the catalogue's entry for a namespace, or nil. Entries that
// demand labels or Liqo hold only where these are.
func (w *world) named(ns string) *Home {
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

// home tells whether Cast AI's software lives in a namespace by right, with why.
func (w *world) home(ns string) (Evidence, bool) {
	e, ok := w.homes[ns]
	return e, ok
}

// isNoise tells whether Kubernetes or OpenShift puts such an object into every namespace.
func isNoise(o *cluster.Object) bool {
	switch o.Resource.Kind {
	case "ConfigMap":
		return o.Name == "kube-root-ca.crt" || o.Name == "openshift-service-ca.crt"
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
func (w *world) runsCastAI(o *cluster.Object) bool {
	spec, ok := podSpec(o)
	if !ok {
		return false
	}
	list := images(spec)
	return len(list) > 0 && !slices.ContainsFunc(list, func(i string) bool { return !w.cat.image(i) })
}

// runsSomeCastAI tells whether a container of a workload runs one of Cast AI's images.
func (w *world) runsSomeCastAI(o *cluster.Object) bool {
	spec, ok := podSpec(o)
	return ok && slices.ContainsFunc(images(spec), w.cat.image)
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
