package ownership

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// judgement is what the rules made of a snapshot: one view of the cluster-scoped
// objects, and one of each namespace.
type judgement struct {
	objects  []*cluster.Object // of the snapshot, in the order of their references
	snap     *cluster.Snapshot
	cat      *Catalogue
	cluster  *clusterView
	spaces   map[string]*spaceView
	order    []string            // of the namespaces
	homes    map[string]Evidence // namespaces that go whole if nothing in them stays
	excluded map[*cluster.Object]bool
	failed   []cluster.Unreadable // records of releases
}

// ReleaseRecords returns the records of Helm releases that must be read before
// Judge: the newest revision of each release in a namespace that is known to be
// Cast AI's, by cluster-scoped objects or because it is in trust. No other
// Secret's data is needed, ever.
func ReleaseRecords(snap *cluster.Snapshot, cat *Catalogue, trust []string) []cluster.Target {
	objects := sorted(snap)
	wide := judgeCluster(clusterScoped(objects), cat, trust)
	newest := map[releaseKey]*cluster.Object{}
	for _, o := range objects {
		if !isReleaseRecord(o) || !wide.isHome(o.Namespace) {
			continue
		}
		key := releaseKey{o.Namespace, o.Labels["name"]}
		if old := newest[key]; old == nil || revision(o) >= revision(old) {
			newest[key] = o
		}
	}
	var out []cluster.Target
	for _, o := range newest {
		out = append(out, o.Target())
	}
	slices.SortFunc(out, func(a, b cluster.Target) int { return a.Compare(b.Ref) })
	return out
}

// Judge says of every object of the snapshot whose it is. stored are the
// releases of ReleaseRecords.
func Judge(snap *cluster.Snapshot, stored []cluster.StoredRelease, cat *Catalogue, opts Options) *Inventory {
	j := &judgement{
		objects: sorted(snap), snap: snap, cat: cat, spaces: map[string]*spaceView{},
		homes: map[string]Evidence{}, excluded: map[*cluster.Object]bool{},
	}
	j.cluster = judgeCluster(clusterScoped(j.objects), cat, opts.Trust)
	j.cluster.hints()
	releases := j.read(stored)
	for _, space := range j.relevant() {
		v := newSpaceView(space.name, space.objects, j.cluster, releases[space.name])
		v.judge()
		j.spaces[space.name] = v
		j.order = append(j.order, space.name)
	}
	j.cluster.conclude()
	j.findHomes()
	j.cluster.markRoots()
	j.recall(opts.Known)
	j.override(opts)
	inv := &Inventory{Server: snap.Server, Homes: j.keep(), Releases: j.releaseNames(), judged: j}
	for _, o := range j.objects {
		if i := j.item(o); i != nil && (i.Verdict == Owned || i.Verdict == Unclear) {
			i.Setting = cat.Setting(o.Ref())
			inv.Items = append(inv.Items, i)
		}
	}
	inv.Unreadable = j.unreadable()
	inv.Remains = j.remains()
	inv.Identity = j.identity()
	inv.Impact = j.impact()
	inv.Blockers = j.blockers()
	return inv
}

func clusterScoped(objects []*cluster.Object) []*cluster.Object {
	var out []*cluster.Object
	for _, o := range objects {
		if o.Namespace == "" {
			out = append(out, o)
		}
	}
	return out
}

// space is a namespace with what is in it.
type space struct {
	name    string
	objects []*cluster.Object
}

// relevant returns the namespaces that any rule may have to do with, in their
// order: most of a cluster has nothing to do with Cast AI.
func (j *judgement) relevant() []space {
	objects, relevant := map[string][]*cluster.Object{}, map[string]bool{}
	owned := map[types.UID]bool{}
	for _, o := range j.cluster.ownedObjects() {
		owned[o.UID] = true
	}
	for kind := range runs(j.objects, sameKind) {
		custom := crdOf(kind[0].Resource)
		definition := j.cluster.byRef[custom]
		all := definition != nil && j.cluster.crdGroupHint(definition)
		for in := range runs(kind, sameNamespace) {
			ns := in[0].Namespace
			if ns == "" {
				continue
			}
			objects[ns] = append(objects[ns], in...)
			if !relevant[ns] {
				relevant[ns] = all || j.cluster.isHome(ns) || slices.ContainsFunc(in,
					func(o *cluster.Object) bool { return j.touched(o, owned) })
			}
		}
	}
	var out []space
	for ns := range relevant {
		if relevant[ns] {
			out = append(out, space{ns, objects[ns]})
		}
	}
	slices.SortFunc(out, func(a, b space) int { return strings.Compare(a.name, b.name) })
	return out
}

// touched tells whether an object may be Cast AI's, or look so, outside of homes.
func (j *judgement) touched(o *cluster.Object, owned map[types.UID]bool) bool {
	if j.cluster.chart(o).component != nil || slices.ContainsFunc(o.Managers,
		func(m string) bool { return j.cat.app(m) != nil }) {
		return true
	}
	for _, r := range o.Owners {
		if owned[r.UID] {
			return true
		}
	}
	switch {
	case isPDB(o):
		return guardrail(o)
	case o.Namespace == "kube-node-lease":
		return true
	case o.Resource.Group == rbac && o.Resource.Kind == "RoleBinding":
		return slices.ContainsFunc(newBinding(o).accounts, j.cluster.knownAccount)
	}
	spec, ok := podSpec(o)
	if !ok {
		return false
	}
	component, _ := j.cluster.marked(o)
	if component == nil {
		component = j.cluster.mentions(o.Name)
	}
	list := images(spec)
	return component != nil || slices.ContainsFunc(list, j.cat.published)
}

// item returns the notes on an object, nil if there are none.
func (j *judgement) item(o *cluster.Object) *Item {
	if o.Namespace == "" {
		return j.cluster.items[o]
	}
	if v := j.spaces[o.Namespace]; v != nil {
		return v.items[o]
	}
	return nil
}

// notes returns the notes of the scope that an object belongs to, made new for a
// namespace that no rule had to do with.
func (j *judgement) notes(o *cluster.Object) *notes {
	if o.Namespace == "" {
		return j.cluster.notes
	}
	if j.spaces[o.Namespace] == nil {
		v := newSpaceView(o.Namespace, j.in(o.Namespace), j.cluster, nil)
		j.spaces[o.Namespace] = v
		j.order = append(j.order, o.Namespace)
		slices.Sort(j.order)
	}
	return j.spaces[o.Namespace].notes
}

func (j *judgement) in(ns string) []*cluster.Object {
	if v := j.spaces[ns]; v != nil {
		return v.objects
	}
	var out []*cluster.Object
	for _, o := range j.objects {
		if o.Namespace == ns {
			out = append(out, o)
		}
	}
	return out
}

func (j *judgement) owned(o *cluster.Object) bool {
	i := j.item(o)
	return i != nil && i.Verdict == Owned
}

// find returns the object of a reference, or nil.
func (j *judgement) find(r cluster.Ref) *cluster.Object {
	if r.Namespace == "" {
		return j.cluster.byRef[r]
	}
	if v := j.spaces[r.Namespace]; v != nil {
		return v.byRef[r]
	}
	i, found := slices.BinarySearchFunc(j.objects, r,
		func(o *cluster.Object, r cluster.Ref) int { return o.Ref().Compare(r) })
	if !found {
		return nil
	}
	return j.objects[i]
}

func (j *judgement) ownedRef(r cluster.Ref) bool {
	o := j.find(r)
	return o != nil && j.owned(o)
}

// ownedObjects yields what is owned, in the order of references.
func (j *judgement) ownedObjects() []*cluster.Object {
	out := j.cluster.ownedObjects()
	for _, ns := range j.order {
		out = append(out, j.spaces[ns].ownedObjects()...)
	}
	slices.SortFunc(out, func(a, b *cluster.Object) int { return a.Ref().Compare(b.Ref()) })
	return out
}

// read decodes the stored releases, by namespace: of homes only, and of several
// revisions of a release the newest. What can't be decoded proves nothing; what
// goes beyond the bounds is unreadable.
func (j *judgement) read(stored []cluster.StoredRelease) map[string][]*release {
	stored = slices.SortedFunc(slices.Values(stored), func(a, b cluster.StoredRelease) int { return a.Ref.Compare(b.Ref) })
	out, budgets := map[string][]*release{}, map[string]*budget{}
	newest := map[releaseKey]int{}
	for _, s := range stored {
		ns := s.Ref.Namespace
		if !j.cluster.isHome(ns) {
			continue
		}
		if budgets[ns] == nil {
			budgets[ns] = newBudget()
		}
		r, err := decodeRelease(s, budgets[ns])
		if spent := budgets[ns].spent(); spent != nil {
			j.failed = append(j.failed, cluster.Unreadable{What: s.Ref.String(), Message: spent.Error()})
			continue
		}
		if err != nil {
			continue
		}
		n := 0
		if o := j.find(s.Ref); o != nil {
			n = revision(o)
		}
		old, known := newest[r.key()]
		switch {
		case known && n < old:
			continue
		case known:
			out[ns] = slices.DeleteFunc(out[ns], func(o *release) bool { return o.Name == r.Name })
		}
		newest[r.key()] = n
		out[ns] = append(out[ns], r)
	}
	return out
}

// releaseNames names the Helm releases of Cast AI's charts.
func (j *judgement) releaseNames() []string {
	var out []string
	for _, ns := range j.order {
		v := j.spaces[ns]
		for _, r := range v.releases {
			if v.ownRelease(r) {
				out = append(out, text("%s (%s-%s)", r, r.Chart, r.Version))
			}
		}
	}
	slices.Sort(out)
	return out
}

// unreadable says of API groups that fail because of a dead APIService of Cast
// AI's that this is so.
func (j *judgement) unreadable() []cluster.Unreadable {
	out := slices.Concat(j.snap.Unreadable, j.failed)
	for i, u := range out {
		group, version, ok := strings.Cut(u.GroupVersion, "/")
		if ok && j.ownedRef(cluster.Ref{Group: "apiregistration.k8s.io", Kind: "APIService", Name: version + "." + group}) {
			out[i].Message = "nothing answers for it; its APIService is Cast AI's and goes"
		}
	}
	return out
}

// remains finds the objects that have an identity of Cast AI's and are not
// owned: cluster-scoped ones, and those that only administrators write.
func (j *judgement) remains() []cluster.Ref {
	var out []cluster.Ref
	for _, o := range j.objects {
		if (o.Namespace == "" || o.Resource.Group == rbac) && !j.owned(o) && !j.excluded[o] && j.cluster.identifies(o) {
			out = append(out, o.Ref())
		}
	}
	return out
}

// identifies tells whether an object's kind and exact name are Cast AI's, where
// only administrators write.
func (v *clusterView) identifies(o *cluster.Object) bool {
	switch o.Ref().GroupKind().String() {
	case "Namespace":
		return v.namedHome(o.Name) != nil
	case "CustomResourceDefinition.apiextensions.k8s.io":
		return v.crdGroup(o) != nil
	case "MutatingWebhookConfiguration.admissionregistration.k8s.io", "ValidatingWebhookConfiguration.admissionregistration.k8s.io":
		return v.webhookName(o.Name) != nil
	case "ClusterRole." + rbac, "ClusterRoleBinding." + rbac, "SecurityContextConstraints.security.openshift.io":
		return v.exactly(o) != nil
	case "Role." + rbac, "RoleBinding." + rbac:
		return administered(o.Namespace) && v.exactly(o) != nil
	}
	return false
}

// exactly returns the component of which an object has exactly the name, and one
// that nobody else gives; nil if it is none. Bindings, roles and constraints have
// the names of the programs that they are for.
func (v *clusterView) exactly(o *cluster.Object) *Component {
	if !ownName(o.Name) {
		return nil
	}
	if c := v.app(o.Name); c != nil {
		return c
	}
	if c := v.cat.accounts[o.Name]; c != nil {
		return c
	}
	return v.cat.runtimeObject(o.Ref())
}
