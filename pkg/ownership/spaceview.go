package ownership

import (
	"regexp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// spaceView judges the objects of one namespace. It holds these, what Helm keeps
// in this namespace, and what is known of the cluster-scoped objects; nothing
// from any other namespace can reach it.
type spaceView struct {
	*reader
	*index
	*notes
	name  string
	above *clusterView // judged already; a rule for a namespace only asks it
	// home says why Cast AI is known to live here; without it, what is written
	// here proves nothing.
	home   Evidence
	isHome bool
	// alone: nobody but Cast AI lives here, so that what only Cast AI's workloads
	// use is Cast AI's.
	alone bool

	records  []*cluster.Object // where Helm keeps releases
	releases []*release        // those of them that were read, newest revisions only
	listed   map[cluster.Ref][]listing
	names    map[string]bool     // of releases of Cast AI's that are installed here
	lives    map[*Component]bool // by what is here, see findLives
	users    map[cluster.Ref][]*cluster.Object
}

// listing is the place of an object in a Helm release.
type listing struct {
	release *release
	object  releaseObject
}

func newSpaceView(name string, objects []*cluster.Object, above *clusterView, releases []*release) *spaceView {
	v := &spaceView{
		reader: above.reader.within(), index: newIndex(objects), notes: newNotes(name), name: name, above: above,
		releases: releases, listed: map[cluster.Ref][]listing{}, names: map[string]bool{},
		lives: map[*Component]bool{},
	}
	v.home, v.isHome = above.home(name)
	for _, o := range objects {
		if isReleaseRecord(o) {
			v.records = append(v.records, o)
		}
	}
	if v.isHome {
		v.findAliases()
		v.findLives()
		v.list()
	}
	return v
}

// list notes what the releases of this namespace list in it.
func (v *spaceView) list() {
	for _, r := range v.releases {
		for _, o := range r.objects {
			if o.namespace != "" && o.namespace != v.name {
				continue // a record speaks for its own namespace only
			}
			ref := cluster.Ref{Group: o.gk.Group, Kind: o.gk.Kind, Namespace: v.name, Name: o.name}
			if l := v.listed[ref]; len(l) == 0 || l[len(l)-1].release != r { // Helm installs no object twice
				v.listed[ref] = append(l, listing{r, o})
			}
		}
		if v.ownRelease(r) {
			v.names[r.Name] = true
		}
	}
	for key := range v.above.installed() {
		if key.namespace == v.name {
			v.names[key.name] = true
		}
	}
}

// judge applies the rules for namespaces until none finds anything new. What an
// object says by itself comes first; only then is it known who lives here, and
// what merely lives beside it follows.
func (v *spaceView) judge() {
	v.settle(false)
	if v.isHome {
		owned, foreign := v.residents()
		v.alone = v.byName() && (owned > 0 || foreign == 0) || !builtinNamespace(v.name) && owned > 0 && foreign == 0
		v.settle(true)
	}
	v.hints()
	v.conclude()
}

func (v *spaceView) settle(all bool) {
	for v.changed = true; v.changed; {
		v.changed = false
		for _, rule := range spaceRules {
			if (!rule.home || v.isHome) && (!rule.last || all) {
				rule.judge(v)
			}
		}
	}
}

// byName tells whether Cast AI lives here by the namespace's name or by the
// user's word, rather than because something leads here.
func (v *spaceView) byName() bool { return v.above.byWord(v.name) }

// corroborated is corroborated with what only this namespace's objects say: a
// component lives here, too, if a workload runs nothing but what Cast AI publishes,
// and the component's own image, or if there are objects of its own kinds here.
func (v *spaceView) corroborated(c charted) bool {
	return v.above.corroborated(c, v.name) || v.livesHere(c.component)
}

// livesHere tells whether a component lives in this namespace.
func (v *spaceView) livesHere(c *Component) bool { return v.above.lives[v.name][c] || v.lives[c] }

// findLives notes the components that live here by what is here.
func (v *spaceView) findLives() {
	for _, w := range v.workloads {
		if published, _ := v.publishes(w.images); published != nil && !w.owner && !w.foreignMain(v.cat) {
			v.lives[published] = true
		}
	}
	for _, list := range v.byKind {
		if crd := v.above.ownsKind(list[0].Resource); crd != nil && v.group(list[0].Resource.Group) != nil {
			v.lives[v.group(list[0].Resource.Group)] = true
		}
	}
}

// foreignMarks tells whether an object says of itself that it is somebody
// else's: the label of another chart, Helm's mark of another release, or, where
// it has neither, the list of a release in this namespace.
func (v *spaceView) foreignMarks(o *cluster.Object) (Evidence, bool) {
	c := v.chart(o)
	key, marked := releaseOf(o)
	switch r := v.releaseHere(key); {
	case marked && c.component != nil && r == nil && !v.above.isHome(key.namespace):
		return Evidence{Rule: "release", Text: text("it belongs to the Helm release %s", key)}, true
	case c.component != nil:
		return Evidence{}, false
	case c.thirdParty != nil:
		return Evidence{Rule: "third-party", Text: c.thirdParty.fate()}, true
	case c.foreign():
		return Evidence{Rule: "chart-label", Text: text("label helm.sh/chart=%s names a chart that is not Cast AI's",
			c.value)}, true
	case marked && !tenantCanDelete(o):
		if v.above.isHome(key.namespace) {
			return Evidence{}, false // what the record says, whoever writes here decides
		}
		return Evidence{Rule: "release", Text: text("it belongs to the Helm release %s", key)}, true
	case marked && r != nil && !v.ownRelease(r) && !v.listedByOwnChart(o) && !v.listedByAlias(o):
		return Evidence{Rule: "release", Text: text("it belongs to the Helm release %s of chart %s", key, r.Chart),
			From: &r.Stored}, true
	case marked && r == nil && !v.above.isHome(key.namespace):
		return Evidence{Rule: "release", Text: text("it belongs to the Helm release %s", key)}, true
	case !marked && tenantCanDelete(o):
		return v.listedByOthers(o)
	}
	return Evidence{}, false
}

func (v *spaceView) listedByOthers(o *cluster.Object) (Evidence, bool) {
	for _, l := range v.listed[o.Ref()] {
		if component, third := v.chartOf(l.release, l.object); (component == nil || third != nil) && !v.listedByAlias(o) {
			return Evidence{Rule: "release", Text: text("the Helm release %s of chart %s lists it", l.release, l.release.Chart),
				From: &l.release.Stored}, true
		}
	}
	return Evidence{}, false
}

// releaseHere returns the release of this namespace with that name, if its
// record was read.
func (v *spaceView) releaseHere(key releaseKey) *release {
	if key.namespace != v.name {
		return nil
	}
	i := slices.IndexFunc(v.releases, func(r *release) bool { return r.Name == key.name })
	if i < 0 {
		return nil
	}
	return v.releases[i]
}

// claim is own for evidence that marks or an owner of somebody else's outweigh.
func (v *spaceView) claim(o *cluster.Object, c *Component, e Evidence) {
	if against, foreign := v.foreignMarks(o); foreign {
		v.hint(o, e)
		v.deny(o, against)
		return
	}
	for _, r := range o.Owners {
		if up, owned := v.ownerOf(r); up != nil && !owned {
			v.hint(o, e)
			v.deny(o, Evidence{Rule: "owner", Text: text("%s %s owns it", up.Resource.Kind, up.Name), From: ref(up)})
			return
		}
	}
	v.own(o, c, e)
}

// ownerOf returns the object of this namespace, or the cluster-scoped one, that
// an owner reference means, and whether it is owned.
func (v *spaceView) ownerOf(r metav1.OwnerReference) (*cluster.Object, bool) {
	if up := v.owner(r); up != nil {
		return up, v.owned(up)
	}
	if up := v.above.owner(r); up != nil {
		return up, v.above.owned(up)
	}
	return nil, false
}

// residents counts those who live here: workloads, Helm releases and custom
// resources, Cast AI's and others'.
func (v *spaceView) residents() (owned, foreign int) {
	for _, o := range v.objects {
		_, workload := podSpec(o)
		barePod := o.Resource.Group == "" && o.Resource.Kind == "Pod"
		if (!workload && !barePod || len(o.Owners) > 0) && !isReleaseRecord(o) && !v.isCustom(o) {
			continue
		}
		switch {
		case !v.owned(o):
			foreign++
		case workload, isReleaseRecord(o):
			owned++
		}
	}
	return owned, foreign
}

// isCustom tells whether an object is a custom resource of somebody's CRD.
func (v *spaceView) isCustom(o *cluster.Object) bool {
	return v.above.byRef[crdOf(o.Resource)] != nil
}

// knownAccount tells whether a ServiceAccount is Cast AI's: by cluster-scoped
// evidence, or one of this namespace that is owned, or has exactly the name of a
// program of a component that lives here.
func (v *spaceView) knownAccount(a cluster.Ref) bool {
	if v.above.knownAccount(a) {
		return true
	}
	o := v.byRef[a]
	return o != nil && v.owned(o) || a.Namespace == v.name && v.isHome && v.exactAccount(a.Name) &&
		v.corroborated(v.program(a.Name))
}

// release returns the name of the release that an object belongs to, if it is
// one of Cast AI's that is installed here.
func (v *spaceView) installedAs(o *cluster.Object) string {
	if name := releaseName(o); v.names[name] {
		return name
	}
	return ""
}

// markedHere tells whether Helm marked an object as part of a release of Cast AI's
// that is installed here.
func (v *spaceView) markedHere(o *cluster.Object) bool {
	key, marked := releaseOf(o)
	return marked && key.namespace == v.name && v.names[key.name]
}

// component returns the component whose name an object has: the catalogue's, or
// the one that an installation here makes of it.
func (v *spaceView) called(name string) *Component {
	if c := v.app(name); c != nil {
		return c
	}
	for release := range v.names {
		if c := v.named(name, release); c != nil {
			return c
		}
	}
	return nil
}

// noise tells whether Kubernetes, or the OpenShift or Istio that is in this
// cluster, puts such an object into every namespace, and nobody wrote anything
// into it that would be missed: only that is in no backup.
func (r *reader) noise(o *cluster.Object) bool {
	switch kind := o.Ref().GroupKind().String(); {
	case kind == "ConfigMap" && o.Name == "kube-root-ca.crt":
		return true // kube-controller-manager overwrites what others put into it
	case slices.ContainsFunc(o.Managers, byHand):
		return false
	case kind == "ConfigMap":
		return onlyBy(o, distributors) && (o.Name == "openshift-service-ca.crt" && r.openshift ||
			o.Name == "istio-ca-root-cert" && r.istio)
	case kind == "ServiceAccount":
		return bare(o) && (o.Name == defaultAccount || r.openshift && slices.Contains(openshiftAccounts, o.Name))
	case kind == "Secret":
		return onlyBy(o, distributors) && r.noiseSecret(o)
	case kind == "RoleBinding."+rbac:
		return r.openshift && slices.Contains([]string{"system:deployers", "system:image-builders", "system:image-pullers"},
			o.Name)
	}
	return false
}

// onlyBy tells whether nobody but these programs wrote an object. An object that
// does not say who wrote it may be anybody's.
func onlyBy(o *cluster.Object, programs []string) bool {
	return len(o.Managers) > 0 && !slices.ContainsFunc(o.Managers,
		func(m string) bool { return !slices.Contains(programs, m) })
}

// bare tells whether nobody gave an account labels or annotations, by which clouds
// and policies know it.
func bare(o *cluster.Object) bool {
	for key := range o.Annotations {
		if key != "openshift.io/internal-registry-pull-secret-ref" { // OpenShift's own, on all of them
			return false
		}
	}
	return len(o.Labels) == 0
}

// noiseSecret tells whether a Secret is the token or the pull secret of such an
// account, by the name that its controller gives it: ACCOUNT-token-RANDOM
// (Kubernetes before 1.24 and OpenShift), ACCOUNT-dockercfg-RANDOM (OpenShift).
func (r *reader) noiseSecret(o *cluster.Object) bool {
	m := accountSecret.FindStringSubmatch(o.Name)
	if m == nil || m[1] != defaultAccount && !r.openshift || m[2] == "dockercfg" && !r.openshift {
		return false
	}
	return o.Annotations["kubernetes.io/service-account.name"] == m[1] ||
		o.Annotations["openshift.io/internal-registry-auth-token.service-account"] == m[1]
}

// defaultAccount is the ServiceAccount that Kubernetes makes in every namespace.
const defaultAccount = "default"

var (
	// distributors are the field managers that put the same into every namespace: the
	// controllers of Kubernetes (client-go calls a manager after its binary, so that
	// those of k3s and MicroK8s have other names), of OpenShift and of Istio.
	distributors = []string{"kube-controller-manager", "k3s", "k3s-server", "kubelite", "microshift",
		"openshift-controller-manager", "service-ca-operator", "pilot-discovery"}
	// openshiftAccounts are those that OpenShift makes in every namespace.
	openshiftAccounts = []string{"builder", "deployer"}
	// accountSecret: the random end is that of pkg/storage/names of the API server.
	accountSecret = regexp.MustCompile(`^(default|builder|deployer)-(token|dockercfg)-[a-z0-9]{5}$`)
)
