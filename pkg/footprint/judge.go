package footprint

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// judge applies the rules until nothing new is found. What can be said of an
// object by itself or through something already owned comes first; only then is
// it known which namespaces are homes, and what merely lives in them follows.
func (w *world) judge() {
	w.liqo = w.whoseLiqo()
	direct := []func(){
		w.ruleRelease, w.ruleWorkload, w.ruleMarked, w.ruleGroup, w.ruleInstance, w.ruleOwner,
		w.ruleService, w.ruleSubjects, w.ruleRoles, w.ruleClasses, w.ruleNodes, w.ruleConstraints,
		w.ruleDangling, w.ruleLabels, w.ruleReferences, w.ruleCompanions,
	}
	w.settle(direct)
	w.findHomes()
	w.settle(append(direct, w.ruleHome))
	w.hints()
}

func (w *world) settle(rules []func()) {
	for {
		w.changed = false
		for _, rule := range rules {
			rule()
		}
		if !w.changed {
			return
		}
	}
}

// claim is own for evidence that marks of another owner outweigh.
func (w *world) claim(o *cluster.Object, c *Component, e Evidence) {
	if against, foreign := w.foreignMarks(o); foreign {
		w.hint(o, e)
		w.deny(o, against)
		return
	}
	w.own(o, c, e)
}

// foreignMarks tells whether an object says of itself that it belongs to a Helm
// release or a chart that is not Cast AI's.
func (w *world) foreignMarks(o *cluster.Object) (Evidence, bool) {
	if _, listed := w.listed[o.Ref()]; listed && w.owned(o) {
		return Evidence{}, false
	}
	component, chart := w.cat.labelledChart(o)
	if chart != "" && component == nil && !w.liqoChart(chart) {
		return Evidence{Rule: "chart-label", Text: text("label helm.sh/chart=%s names a chart that is not Cast AI's", chart)}, true
	}
	name, ns := o.Annotations["meta.helm.sh/release-name"], o.Annotations["meta.helm.sh/release-namespace"]
	if name == "" {
		return Evidence{}, false
	}
	for _, r := range w.releases {
		if r.Name != name || r.Namespace != ns {
			continue
		}
		if w.castAIRelease(r) {
			return Evidence{}, false
		}
		return Evidence{Rule: "release", Text: text("it belongs to the Helm release %s/%s of chart %s", ns, name, r.Chart), From: &r.Stored}, true
	}
	// The release is gone, unreadable, or nothing near it was Cast AI's.
	if component != nil {
		return Evidence{}, false
	}
	if _, home := w.home(ns); home || w.named(ns) != nil {
		return Evidence{}, false
	}
	return Evidence{Rule: "release", Text: text("it belongs to the Helm release %s/%s", ns, name)}, true
}

// liqoChart tells whether a chart label is that of Cast AI's Liqo.
func (w *world) liqoChart(label string) bool {
	m := chartLabel.FindStringSubmatch(label)
	return m != nil && m[1] == "liqo" && w.liqo == liqoCastAI
}

// read decodes the stored releases.
func (w *world) read(stored []cluster.StoredRelease) {
	for _, s := range stored {
		r, err := decodeRelease(s)
		if err != nil {
			if o := w.byRef[s.Ref]; o != nil {
				w.broken[[2]string{o.Namespace, o.Labels["name"]}] = err
			}
			continue
		}
		w.releases = append(w.releases, r)
		for _, obj := range r.objects {
			w.listed[w.resolve(r, obj)] = listing{r, obj}
		}
	}
}

// resolve gives the object of a manifest the namespace that it was installed in.
func (w *world) resolve(r *release, o releaseObject) cluster.Ref {
	ref := cluster.Ref{Group: o.gk.Group, Kind: o.gk.Kind, Namespace: o.namespace, Name: o.name}
	namespaced := false
	for _, res := range w.snap.Resources {
		if res.Group == o.gk.Group && res.Kind == o.gk.Kind {
			namespaced = res.Namespaced
		}
	}
	switch {
	case !namespaced:
		ref.Namespace = ""
	case ref.Namespace == "":
		ref.Namespace = r.Namespace
	}
	return ref
}

// chartOf returns the component whose chart an object of a release comes from:
// the innermost chart that the catalogue knows. third is the chart of somebody
// else that it comes from instead.
func (w *world) chartOf(r *release, o releaseObject) (component *Component, third string) {
	charts := o.source
	if len(charts) == 0 {
		charts = []string{r.Chart}
	} else {
		charts = append([]string{r.Chart}, charts[1:]...) // the outermost is the release's own
	}
	for i := len(charts) - 1; i >= 0; i-- {
		c := charts[i]
		if w.cat.thirdParty(c) && i > 0 {
			return nil, c
		}
		if component = w.cat.chartWithin(c, charts[:i]); component != nil {
			return component, ""
		}
		if component = w.cat.chart(c); component != nil && (unmistakable(c) || w.corroborated(r, charts[:i])) {
			return component, ""
		}
	}
	return nil, ""
}

// corroborated tells whether a release of a chart with an ordinary name is Cast
// AI's all the same: by an image, by what the chart says of its origin, by where
// it is installed, or by the chart that it came with.
func (w *world) corroborated(r *release, parents []string) bool {
	if strings.Contains(r.home, "cast.ai") || strings.Contains(r.home, "github.com/castai/") || slices.ContainsFunc(parents, unmistakable) || w.named(r.Namespace) != nil {
		return true
	}
	return slices.ContainsFunc(r.objects, func(o releaseObject) bool { return slices.ContainsFunc(o.images, w.cat.image) })
}

// castAIRelease tells whether a release is Cast AI's as a whole.
func (w *world) castAIRelease(r *release) bool {
	component, _ := w.chartOf(r, releaseObject{})
	return component != nil
}

func (w *world) releaseNames() []string {
	var out []string
	for _, r := range w.releases {
		if w.castAIRelease(r) {
			out = append(out, text("%s/%s (%s-%s)", r.Namespace, r.Name, r.Chart, r.Version))
		}
	}
	slices.Sort(out)
	return out
}

// ruleRelease: the manifest or a hook of a Helm release of one of Cast AI's charts lists it.
func (w *world) ruleRelease() {
	for _, ref := range sortedRefs(w.listed) {
		l := w.listed[ref]
		o := w.byRef[ref]
		if o == nil || ref.Kind == "Namespace" {
			continue
		}
		name, ns := o.Annotations["meta.helm.sh/release-name"], o.Annotations["meta.helm.sh/release-namespace"]
		if name != "" && (name != l.release.Name || ns != l.release.Namespace) {
			continue // another release has taken the object over
		}
		component, third := w.chartOf(l.release, l.object)
		where := text("the Helm release %s/%s lists it (chart %s-%s)", l.release.Namespace, l.release.Name, l.release.Chart, l.release.Version)
		if l.object.hook {
			where = text("a hook of the Helm release %s/%s makes it (chart %s-%s)", l.release.Namespace, l.release.Name, l.release.Chart, l.release.Version)
		}
		e := Evidence{Rule: "release", Text: where, From: &l.release.Stored}
		switch {
		case component != nil && isSharedCRD(o, w):
			w.hint(o, e)
		case component != nil:
			w.own(o, component, e)
		case third != "" && w.castAIRelease(l.release):
			w.hint(o, e)
			w.deny(o, Evidence{Rule: "third-party", Text: text("it comes from the chart %s, which is not Cast AI's and which others may use", third)})
		}
	}
	for _, r := range w.releases {
		if !w.castAIRelease(r) {
			continue
		}
		component, _ := w.chartOf(r, releaseObject{})
		for _, o := range w.byNS[r.Stored.Namespace] {
			if isReleaseRecord(o) && o.Labels["name"] == r.Name {
				w.own(o, component, Evidence{Rule: "release-record", Text: text("Helm keeps the release %s of chart %s-%s in it", r.Name, r.Chart, r.Version)})
			}
		}
	}
}

// isSharedCRD tells whether an object is a CRD of a group that is not Cast
// AI's: removing it removes everybody's objects.
func isSharedCRD(o *cluster.Object, w *world) bool { return isCRD(o) && w.crdGroup(o) == nil }

// marks lists what an object itself says of being Cast AI's. Labels can be
// copied: each of these needs a second, independent one.
func (w *world) marks(o *cluster.Object) (*Component, []string) {
	var out []string
	component, chart := w.cat.labelledChart(o)
	if component != nil {
		out = append(out, "the label helm.sh/chart="+chart)
	}
	if c := w.cat.app(o.Labels["app.kubernetes.io/name"]); c != nil {
		out = append(out, "the label app.kubernetes.io/name="+o.Labels["app.kubernetes.io/name"])
		if component == nil {
			component = c
		}
	}
	if c := w.cat.app(o.Name); c != nil {
		out = append(out, "the name of a component")
		if component == nil {
			component = c
		}
	}
	return component, out
}

// ruleWorkload: it runs a component's own image under that component's name or
// labels, or it has a component's name or labels and runs as a ServiceAccount of
// Cast AI's. In a namespace of Cast AI's, one of these is enough.
func (w *world) ruleWorkload() {
	for _, o := range w.snap.Objects {
		spec, ok := podSpec(o)
		if !ok || w.owned(o) || o.Controller() != nil {
			continue
		}
		component, marks := w.marks(o)
		account := w.byRef[cluster.Ref{Kind: "ServiceAccount", Namespace: o.Namespace, Name: serviceAccount(spec)}]
		accountOwned := account != nil && w.owned(account)
		home := w.named(o.Namespace) != nil
		switch own := w.cat.componentImage(component, images(spec)); {
		case own != "":
			w.claim(o, component, Evidence{Rule: "workload", Text: text("it runs %s and has %s", own, marks[0])})
		case accountOwned && (len(marks) > 0 || home):
			w.claim(o, component, Evidence{Rule: "workload", Text: text("it runs as the ServiceAccount %s/%s of Cast AI's", o.Namespace, account.Name), From: ref(account)})
		case home && (len(marks) > 0 || w.runsSomeCastAI(o)):
			w.claim(o, component, Evidence{Rule: "workload", Text: text("it is in namespace %s and has %s", o.Namespace, firstOr(marks, "one of Cast AI's images"))})
		}
	}
}

func firstOr(list []string, or string) string {
	if len(list) > 0 {
		return list[0]
	}
	return or
}

// ruleMarked: it lives in a namespace of Cast AI's and carries the label of one of Cast AI's charts.
func (w *world) ruleMarked() {
	for _, ns := range w.namespaces {
		home := w.named(ns)
		if home == nil {
			continue
		}
		for _, o := range w.byNS[ns] {
			component, marks := w.marks(o)
			if _, workload := podSpec(o); workload || len(marks) == 0 || w.owned(o) {
				continue
			}
			w.claim(o, component, Evidence{Rule: "marked", Text: text("it is in namespace %s and has %s", ns, marks[0])})
		}
	}
}

// ruleGroup: a CRD of one of Cast AI's API groups, exactly.
func (w *world) ruleGroup() {
	for _, o := range w.byKind["CustomResourceDefinition.apiextensions.k8s.io"] {
		component := w.crdGroup(o)
		if component == nil || w.owned(o) {
			continue
		}
		_, group, _ := strings.Cut(o.Name, ".")
		e := Evidence{Rule: "group", Text: text("the API group %s is Cast AI's (%s)", group, component.Name)}
		if strings.HasSuffix(group, liqoGroup) {
			if w.liqo != liqoCastAI {
				continue
			}
			e.Text = text("the API group %s belongs to the Liqo in this cluster, which is Cast AI's", group)
		}
		w.claim(o, component, e)
	}
}

// ruleInstance: a custom resource of an owned CRD goes with it.
func (w *world) ruleInstance() {
	for _, o := range w.snap.Objects {
		crd := w.byRef[cluster.Ref{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: o.Resource.GroupResource().String()}]
		if crd == nil || !w.owned(crd) || w.owned(o) {
			continue
		}
		w.own(o, w.cat.group(o.Resource.Group), Evidence{Rule: "instance", Text: text("it is an object of the kind %s", o.Resource.Kind), From: ref(crd)})
	}
}

// ruleOwner: all its owners are owned, so Kubernetes collects it with them.
func (w *world) ruleOwner() {
	for _, o := range w.snap.Objects {
		if len(o.Owners) == 0 || w.item(o).Dependent {
			continue
		}
		var owner *cluster.Object
		all := true
		for _, r := range o.Owners {
			owner = w.byUID[r.UID]
			all = all && owner != nil && w.owned(owner)
		}
		if !all {
			continue
		}
		component := w.cat.find(func(c *Component) bool { return c.Name == w.item(owner).Component })
		w.own(o, component, Evidence{Rule: "owner", Text: text("%s %s owns it", owner.Resource.Kind, owner.Name), From: ref(owner)})
		w.item(o).Dependent = true
	}
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

// sortedRefs returns the keys of a map in their order, so that the same cluster
// always gets the same evidence.
func sortedRefs[V any](m map[cluster.Ref]V) []cluster.Ref {
	return slices.SortedFunc(maps.Keys(m), cluster.Ref.Compare)
}
