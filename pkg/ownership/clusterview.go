package ownership

import (
	"path"
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// clusterView judges the cluster-scoped objects. It holds these and nothing
// else: what anybody wrote into a namespace can't reach it. See
// docs/ownership.md for what each kind of evidence proves.
type clusterView struct {
	*reader
	*index
	*notes
	trust map[string]bool // namespaces that the user vouches for
	// homes are the namespaces that cluster-scoped evidence says Cast AI lives in.
	homes map[string]Evidence
	// proven are those of all homes that not only a name tells of: whoever may make
	// namespaces may give one any name.
	proven map[string]bool
	// accounts are the ServiceAccounts that bindings of Cast AI's name.
	accounts map[cluster.Ref]bool
	// lives are the components of which an installation leads to a namespace.
	lives      map[string]map[*Component]bool
	releases   map[string]map[string]bool // names of releases of Cast AI's, by namespace
	catalogued map[string]*Home           // by namespace, see namedHome
	keys       map[releaseKey]bool        // see installed; made when everything is judged
	liqoAt     map[string]*cluster.Object // see liqoPlaces
}

func newClusterView(objects []*cluster.Object, cat *Catalogue, trust []string) *clusterView {
	v := &clusterView{
		reader: newReader(cat), index: newIndex(objects), notes: newNotes(""), trust: map[string]bool{},
		homes: map[string]Evidence{}, proven: map[string]bool{}, accounts: map[cluster.Ref]bool{},
		lives:    map[string]map[*Component]bool{},
		releases: map[string]map[string]bool{}, catalogued: map[string]*Home{},
	}
	for _, ns := range trust {
		v.trust[ns], v.proven[ns] = true, true
	}
	v.liqo = v.whoseLiqo()
	v.openshift = len(v.byKind["SecurityContextConstraints.security.openshift.io"]) > 0
	v.istio = slices.ContainsFunc(v.byKind["CustomResourceDefinition.apiextensions.k8s.io"], func(o *cluster.Object) bool {
		return strings.HasSuffix(o.Name, ".istio.io")
	})
	v.findAliases()
	return v
}

// judgeCluster applies the rules for the cluster's scope until none finds anything new.
func judgeCluster(objects []*cluster.Object, cat *Catalogue, trust []string) *clusterView {
	v := newClusterView(objects, cat, trust)
	for v.changed = true; v.changed; {
		v.changed = false
		for _, rule := range clusterRules {
			rule.judge(v)
		}
	}
	return v
}

// home says why Cast AI is known to live in a namespace. Only cluster-scoped
// objects and the user's word make a namespace a home.
func (v *clusterView) home(ns string) (Evidence, bool) {
	if e, ok := v.homes[ns]; ok {
		return e, true
	}
	switch named := v.namedHome(ns); {
	case ns == "":
	case v.trust[ns]:
		return Evidence{Rule: "trust", Text: text("--trust-namespace=%s says that Cast AI lives there", ns)}, true
	case named != nil && v.namespace(ns) == nil:
		return Evidence{Rule: "home", Text: text("Cast AI's namespace %s, which is gone", ns)}, true
	case named != nil:
		return Evidence{Rule: "home", Text: text("Cast AI installs into namespace %s", ns), From: v.namespaceRef(ns)}, true
	}
	return Evidence{}, false
}

// byWord tells whether Cast AI lives in a namespace by its name or by the user's
// word, rather than because something leads there.
func (v *clusterView) byWord(ns string) bool { return v.namedHome(ns) != nil || v.trust[ns] }

// isHome tells whether Cast AI is known to live in a namespace.
func (v *clusterView) isHome(ns string) bool {
	if ns == "" {
		return false
	}
	_, leads := v.homes[ns]
	return leads || v.trust[ns] || v.namedHome(ns) != nil
}

// addHome notes that an object of a component of Cast AI's leads to a namespace.
func (v *clusterView) addHome(ns string, c *Component, from *cluster.Object) {
	if ns == "" {
		return
	}
	v.proven[ns] = true
	if c != nil && !v.lives[ns][c] {
		if v.lives[ns] == nil {
			v.lives[ns] = map[*Component]bool{}
		}
		v.lives[ns][c], v.changed = true, true
	}
	if v.isHome(ns) {
		return
	}
	v.homes[ns] = Evidence{Rule: "home", Text: text("%s %s of Cast AI's leads to namespace %s", from.Resource.Kind,
		from.Name, ns), From: ref(from)}
	v.changed = true
}

// install notes that a release of Cast AI's is installed in a namespace.
func (v *clusterView) install(ns, release string) {
	if release == "" || v.releases[ns][release] {
		return
	}
	if v.releases[ns] == nil {
		v.releases[ns] = map[string]bool{}
	}
	v.releases[ns][release], v.changed = true, true
}

func (v *clusterView) namespace(ns string) *cluster.Object {
	return v.byRef[cluster.Ref{Kind: "Namespace", Name: ns}]
}

func (v *clusterView) namespaceRef(ns string) *cluster.Ref {
	if o := v.namespace(ns); o != nil {
		return ref(o)
	}
	return nil
}

// namedHome returns the catalogue's entry for a namespace, or nil. Entries that
// demand labels or Liqo hold only where these are.
func (v *clusterView) namedHome(ns string) *Home {
	home, known := v.catalogued[ns]
	if !known {
		home = v.lookUpHome(ns)
		v.catalogued[ns] = home
	}
	return home
}

func (v *clusterView) lookUpHome(ns string) *Home {
	o := v.namespace(ns)
	for i := range v.cat.Namespaces {
		home := &v.cat.Namespaces[i]
		if ok, err := path.Match(home.Name, ns); err != nil || !ok {
			continue
		}
		if len(home.Labels) > 0 && o == nil {
			continue // nothing left to tell by
		}
		match := true
		for k, value := range home.Labels {
			match = match && o.Labels[k] == value
		}
		if match && (!home.Liqo || v.liqo == liqoCastAI) {
			return home
		}
	}
	return nil
}

// foreignMarks tells whether a cluster-scoped object says of itself that it is
// somebody else's: the label of another chart, or Helm's mark of a release in a
// namespace that Cast AI is not known to live in.
func (v *clusterView) foreignMarks(o *cluster.Object) (Evidence, bool) {
	c := v.chart(o)
	key, marked := releaseOf(o)
	switch {
	case marked && c.component != nil && !v.isHome(key.namespace):
		return Evidence{Rule: "release", Text: text("it belongs to the Helm release %s", key)}, true
	case c.component != nil:
		return Evidence{}, false
	case c.thirdParty != nil:
		return Evidence{Rule: "third-party", Text: c.thirdParty.fate()}, true
	case c.foreign():
		return Evidence{Rule: "chart-label", Text: text("label helm.sh/chart=%s names a chart that is not Cast AI's",
			c.value)}, true
	case marked && !v.isHome(key.namespace):
		return Evidence{Rule: "release", Text: text("it belongs to the Helm release %s", key)}, true
	}
	return Evidence{}, false
}

// claim is own for evidence that marks or an owner of somebody else's outweigh.
func (v *clusterView) claim(o *cluster.Object, c *Component, e Evidence) {
	if against, foreign := v.foreignMarks(o); foreign {
		v.hint(o, e)
		v.deny(o, against)
		return
	}
	for _, r := range o.Owners {
		if up := v.owner(r); up != nil && !v.owned(up) {
			v.hint(o, e)
			v.deny(o, Evidence{Rule: "owner", Text: text("%s %s owns it", up.Resource.Kind, up.Name), From: ref(up)})
			return
		}
	}
	v.own(o, c, e)
}

// knownAccount tells whether a ServiceAccount is Cast AI's by cluster-scoped
// evidence: a binding of Cast AI's names it; it lives in a home under the exact
// name of a program of Cast AI's; or it is that of a virtual kubelet, in a namespace
// that Cast AI's controllers made.
func (v *clusterView) knownAccount(a cluster.Ref) bool {
	if v.accounts[a] {
		return true
	}
	if !v.isHome(a.Namespace) {
		return false
	}
	if v.generatedAccount(a) || v.exactAccount(a.Name) && v.corroborated(v.program(a.Name), a.Namespace) {
		return true
	}
	for release := range v.releases[a.Namespace] {
		if rest, ok := v.behind(a.Name, release); ok && v.exactAccount(rest) {
			return true
		}
	}
	return false
}

// corroborated tells whether a name of the catalogue is enough of a mark beside
// Helm's or a binding's: nobody else gives a chart or a program such a name, or
// something unmistakable of the same component leads to the namespace. Where Cast
// AI lives by a namespace's name or by the user's word, others may live, too.
func (v *clusterView) corroborated(c charted, ns string) bool {
	return v.cat.unmistakable(c.chart) || v.lives[ns][c.component]
}

// installed are the releases that cluster-scoped objects of Cast AI's belong to.
// One that such an object of another chart belongs to, too, is a user's own.
func (v *clusterView) installed() map[releaseKey]bool {
	if v.keys != nil {
		return v.keys
	}
	v.keys = map[releaseKey]bool{}
	for _, o := range v.ownedObjects() {
		key, marked := releaseOf(o)
		if !marked {
			key = releaseKey{v.item(o).leads, o.Labels["app.kubernetes.io/instance"]}
		}
		if key.namespace != "" && key.name != "" && (v.chart(o).component != nil || v.item(o).leads != "") {
			v.keys[key] = true
		}
	}
	for _, o := range v.objects {
		if key, marked := releaseOf(o); marked && v.chart(o).foreign() {
			delete(v.keys, key)
		}
	}
	return v.keys
}

// crdGroup returns the component whose API group a CRD serves, by its exact
// name PLURAL.GROUP.
func (v *clusterView) crdGroup(o *cluster.Object) *Component {
	_, group, _ := strings.Cut(o.Name, ".")
	return v.group(group)
}

// ownsKind tells whether an owned definition defines a kind.
func (v *clusterView) ownsKind(r *cluster.Resource) *cluster.Object {
	if crd := v.byRef[crdOf(r)]; crd != nil && v.owned(crd) {
		return crd
	}
	return nil
}

// present tells whether a cluster-scoped object of a component is owned.
func (v *clusterView) present(component string) *cluster.Object {
	objects := v.ownedObjects()
	i := slices.IndexFunc(objects, func(o *cluster.Object) bool { return v.item(o).Component == component })
	if i < 0 {
		return nil
	}
	return objects[i]
}

// judgeOwned finds what an owned object of this scope takes along.
func (v *clusterView) judgeOwned(o *cluster.Object) {
	if v.item(o).Dependent {
		return
	}
	d, ok := v.dependent(o, func(up *cluster.Object) *Item {
		if !v.owned(up) {
			return nil
		}
		return v.item(up)
	})
	if !ok {
		return
	}
	against, foreign := attached(v.reader, o)
	if !foreign {
		against, foreign = v.foreignMarks(o)
		foreign = foreign && o.Controller() == nil
	}
	for _, b := range v.boundBy[o.Ref()] {
		if !foreign && !v.owned(b.Object) {
			against, foreign = Evidence{Rule: "bound", Text: "bindings of others grant it, too"}, true
		}
	}
	switch {
	case v.owned(o):
	case foreign:
		v.hint(o, d.evidence)
		v.deny(o, against)
		return
	case holdsMore(o):
		v.hint(o, d.evidence)
		v.deny(o, Evidence{Rule: "owner", Text: "what goes with it need not be Cast AI's"})
		return
	}
	d.own(v.notes, v.cat, o, true)
}
