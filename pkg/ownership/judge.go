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

// hints notes what looks like Cast AI's on cluster-scoped objects that no rule
// could claim.
func (v *clusterView) hints() {
	for _, o := range v.objects {
		if v.owned(o) || o.Resource.Kind == "Namespace" {
			continue
		}
		if c := v.chart(o); c.component != nil && v.cat.unmistakable(c.chart) {
			v.hint(o, Evidence{Rule: "chart-label", Text: "it has the label helm.sh/chart=" + c.value})
			v.deny(o, Evidence{Rule: "chart-label", Text: "a label alone may have been copied, and nothing else in it agrees"})
		}
		if len(o.Managers) > 0 && !slices.ContainsFunc(o.Managers,
			func(m string) bool { return v.cat.app(m) == nil || !v.cat.unmistakable(m) }) {
			v.hint(o, Evidence{Rule: "manager", Text: "only " + strings.Join(o.Managers, " and ") + " wrote it"})
			v.deny(o, Evidence{Rule: "manager", Text: "Cast AI writes objects on behalf of others, too"})
		}
		if isCRD(o) {
			v.hintDefinition(o)
		}
		v.hintRelease(o)
		v.hintName(o)
		v.hintNames(o)
	}
	for _, o := range v.byKind["ClusterRole."+rbac] {
		explainRole(v.notes, v.boundBy, o)
	}
	for _, list := range v.byKind {
		crd := v.byRef[crdOf(list[0].Resource)]
		if crd == nil || v.owned(crd) || v.items[crd] == nil || len(v.items[crd].Hints) == 0 {
			continue
		}
		for _, o := range list {
			v.hint(o, Evidence{Rule: "instance", Text: "its kind is defined by a CRD that may be Cast AI's", From: ref(crd)})
			v.deny(o, Evidence{Rule: "instance", Text: text("%s is unclear itself", crd.Name)})
		}
	}
}

// hintName notes what has a name of Cast AI's, and nothing that says otherwise.
func (v *clusterView) hintName(o *cluster.Object) {
	component := v.exactly(o)
	if _, foreign := v.foreignMarks(o); foreign || component == nil || !v.identifies(o) {
		return
	}
	v.hint(o, Evidence{Rule: "known", Text: "it has exactly the name of " + component.Name})
	v.deny(o, Evidence{Rule: "known", Text: "a name alone may be a coincidence, and nothing else in it agrees"})
}

// doubt says that nothing leads to a namespace.
func (v *clusterView) doubt(ns string) Evidence {
	return Evidence{Rule: "trust", Text: text(
		"nothing cluster-wide says that Cast AI lives in namespace %s: if it does, pass --trust-namespace=%s", ns, ns)}
}

// hintNames says of what has a name or a label that Cast AI gives, and that
// others may give as well, why that is not enough. It stays foreign.
func (v *clusterView) hintNames(o *cluster.Object) {
	component, mark := v.marked(o)
	if component == nil {
		component, mark = v.mentions(o.Name), "a name"
	}
	switch {
	case component != nil:
		v.deny(o, Evidence{Rule: "name", Text: text("it has %s, as %s has it; others may use it, and nothing else agrees",
			mark, component.Name)})
	case v.liqo != liqoCastAI && (v.label(o).chart == "liqo" || v.liqoName(o.Name)):
		v.deny(o,
			Evidence{Rule: "liqo", Text: "it belongs to a Liqo, and nothing cluster-wide says that this is Cast AI's alone"})
	}
	for _, h := range nested(o, "webhooks") {
		s := serviceOf(h)
		if s.Namespace != "" && !v.isHome(s.Namespace) && v.named(s.Name, releaseName(o)) != nil {
			v.deny(o, v.doubt(s.Namespace))
		}
	}
	if o.Resource.Group != rbac {
		return
	}
	for _, b := range append(slices.Clone(v.boundBy[o.Ref()]), newBinding(o)) {
		for _, a := range b.accounts {
			switch {
			case v.isHome(a.Namespace):
				v.deny(o, Evidence{Rule: "subjects", Text: text("only the subject %s/%s connects it with Cast AI", a.Namespace,
					a.Name)})
			case v.named(a.Name, releaseName(o)) != nil, v.cat.accounts[a.Name] != nil:
				v.deny(o, v.doubt(a.Namespace))
			}
		}
	}
}

// explainRole says of a role without a reason that a binding which is no more
// than suspected to be Cast AI's grants it.
func explainRole(n *notes, boundBy map[cluster.Ref][]*binding, o *cluster.Object) {
	if n.noted(o) || n.owned(o) || isBuiltinRole(o) {
		return
	}
	if i := slices.IndexFunc(boundBy[o.Ref()], func(b *binding) bool { return n.noted(b.Object) }); i >= 0 {
		b := boundBy[o.Ref()][i]
		n.deny(o, Evidence{Rule: "bound", Text: text("%s %s grants it, of which nothing proves that it is Cast AI's",
			b.Resource.Kind, b.Name), From: ref(b.Object)})
	}
}

// hintRelease notes what Helm marked as part of a release in a home, when the
// object itself does not say that it is Cast AI's.
func (v *clusterView) hintRelease(o *cluster.Object) {
	key, marked := releaseOf(o)
	ours := v.installed()[key] || v.isHome(key.namespace) && (isCRD(o) || v.chart(o).thirdParty != nil)
	if !marked || !ours || v.chart(o).foreign() {
		return
	}
	v.hint(o,
		Evidence{Rule: "release", Text: text("Helm's marks name the release %s, in a namespace that Cast AI lives in", key)})
	if against, foreign := v.foreignMarks(o); foreign {
		v.deny(o, against)
		return
	}
	v.deny(o,
		Evidence{Rule: "release",
			Text: "nothing else in it says that it is Cast AI's, and such a release may have parts of others"})
}

func (v *clusterView) hintDefinition(o *cluster.Object) {
	_, group, _ := strings.Cut(o.Name, ".")
	switch {
	case v.cat.inDomain(group) && v.cat.group(group) == nil:
		v.hint(o, Evidence{Rule: "group", Text: text("the API group %s is below a domain of Cast AI's", group)})
		v.deny(o, Evidence{Rule: "group", Text: "it is not one of Cast AI's known groups: it may be yours"})
	case v.cat.thirdGroup(group) != nil:
		third := v.cat.thirdGroup(group)
		for _, component := range third.Of {
			if from := v.present(component); from != nil {
				v.deny(o, Evidence{Rule: "third-party", Text: text("%s brings such definitions along: %s", component, third.fate()),
					From: ref(from)})
			}
		}
	case v.cat.group(group) != nil && strings.HasSuffix(group, liqoGroup) && (v.liqo == liqoBoth || v.liqo == liqoNone):
		against := "nothing in the cluster tells whose Liqo it was"
		if v.liqo == liqoBoth {
			against = "a Liqo that is not Cast AI's uses it, too"
		}
		v.hint(o, Evidence{Rule: "group", Text: text("Cast AI's Liqo uses the API group %s", group)})
		v.deny(o, Evidence{Rule: "group", Text: against})
	}
}

// crdGroupHint tells whether instances of a definition may be owned or unclear.
func (v *clusterView) crdGroupHint(crd *cluster.Object) bool {
	_, group, _ := strings.Cut(crd.Name, ".")
	return v.owned(crd) || v.items[crd] != nil || v.cat.group(group) != nil || v.cat.inDomain(group)
}
