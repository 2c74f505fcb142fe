package ownership

import (
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// judge applies the rules until nothing new is found. What can be said of an
// object by itself or through something already owned comes first; only then is
// it known which namespaces are homes, and what merely lives in them follows.
func (w *world) judge() {
	w.liqo = w.whoseLiqo()
	w.sift()
	direct := []func(){
		w.ruleRelease, w.ruleWorkload, w.ruleMarked, w.ruleGroup, w.ruleInstance, w.ruleOwner,
		w.ruleService, w.ruleSubjects, w.ruleRoles, w.ruleClasses, w.ruleNodes, w.ruleConstraints,
		w.ruleDangling, w.ruleLabels, w.ruleKnown, w.ruleReferences, w.ruleCompanions,
	}
	w.settle(direct)
	w.findHomes()
	w.settle(append(direct, w.ruleHome, w.ruleRecords))
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
	for _, r := range o.Owners {
		if up := w.owner(o, r); up != nil && !w.owned(up) {
			w.hint(o, e)
			w.deny(o, Evidence{Rule: "owner", Text: text("%s %s owns it", up.Resource.Kind, up.Name), From: ref(up)})
			return
		}
	}
	w.own(o, c, e)
}

// labelled reads the label that Helm's own template gives every object of a
// chart: helm.sh/chart=NAME-VERSION.
func (w *world) labelled(o *cluster.Object) labelled {
	value := o.Labels["helm.sh/chart"]
	if value == "" {
		return labelled{}
	}
	l, known := w.labels[value]
	if !known {
		l.chart = value
		if m := chartLabel.FindStringSubmatch(value); m != nil {
			l.chart, l.component = m[1], w.cat.chart(m[1])
			if m[1] == "liqo" && w.liqo == liqoCastAI {
				l.component = w.liqoComponent()
			}
		}
		w.labels[value] = l
	}
	return l
}

// foreignMarks tells whether an object says of itself that it belongs to a Helm
// release or a chart that is not Cast AI's.
func (w *world) foreignMarks(o *cluster.Object) (Evidence, bool) {
	key, marked := releaseOf(o)
	if r := w.release[key]; marked && r != nil {
		if w.castAIRelease(r) {
			return Evidence{}, false
		}
		return Evidence{Rule: "release", Text: text("it belongs to the Helm release %s of chart %s", r, r.Chart), From: &r.Stored}, true
	}
	mark := w.labelled(o)
	if mark.chart != "" && mark.component == nil {
		return Evidence{Rule: "chart-label", Text: text("label helm.sh/chart=%s names a chart that is not Cast AI's", o.Labels["helm.sh/chart"])}, true
	}
	if !marked {
		for _, l := range w.listed[o.Ref()] {
			if !w.castAIRelease(l.release) {
				if component, _ := w.chartOf(l.release, l.object); component == nil {
					return Evidence{Rule: "release", Text: text("the Helm release %s of chart %s lists it", l.release, l.release.Chart), From: &l.release.Stored}, true
				}
			}
		}
		return Evidence{}, false
	}
	// The release is gone, unreadable, or nothing near it was Cast AI's.
	if mark.component != nil {
		return Evidence{}, false
	}
	if _, home := w.home(key.namespace); home || w.namedHome(key.namespace) != nil {
		return Evidence{}, false
	}
	return Evidence{Rule: "release", Text: text("it belongs to the Helm release %s/%s", key.namespace, key.name)}, true
}

// marks lists what an object itself says of being Cast AI's. Labels can be
// copied: each of these needs a second, independent one.
func (w *world) marks(o *cluster.Object) (*Component, []string) {
	var out []string
	mark := w.labelled(o)
	component := mark.component
	if component != nil {
		out = append(out, "the label helm.sh/chart="+o.Labels["helm.sh/chart"])
	}
	if c := w.app(o.Labels["app.kubernetes.io/name"]); c != nil {
		out = append(out, "the label app.kubernetes.io/name="+o.Labels["app.kubernetes.io/name"])
		if component == nil {
			component = c
		}
	}
	if c := w.app(o.Name); c != nil {
		out = append(out, "the name of a component")
		if component == nil {
			component = c
		}
	}
	return component, out
}

// app is Catalogue.app, but for the names that everybody's Liqo has.
func (w *world) app(name string) *Component {
	c := w.cat.app(name)
	if c != nil && len(c.Within) > 0 && w.liqo != liqoCastAI {
		return nil
	}
	return c
}

// sift finds, in one look at every object, the few that the rules are about: most
// of a cluster has nothing to do with Cast AI, and the rules are applied again
// and again.
func (w *world) sift() {
	releases := map[string]bool{}
	for key := range w.release {
		releases[key.name] = true
	}
	for _, o := range w.snap.Objects {
		charted := w.labelled(o).component != nil
		if charted {
			w.charted = append(w.charted, o)
		}
		if charted || isCRD(o) || isPDB(o) || len(o.Managers) > 0 && w.cat.app(o.Managers[0]) != nil || releases[o.Annotations["meta.helm.sh/release-name"]] {
			w.hintable = append(w.hintable, o)
		}
	}
	for _, o := range w.workloads {
		if s := w.suspect(o); !o.owner && (len(s.marks) > 0 || s.home && s.some) {
			w.suspects = append(w.suspects, s)
		}
	}
}

// suspect is a workload with what in it itself says that it is Cast AI's.
type suspect struct {
	workload
	component *Component
	marks     []string
	image     string          // the component's own
	account   *cluster.Object // that it runs as
	home      bool            // it is in a namespace of the catalogue's
	some      bool            // it runs some image of Cast AI's
}

func (w *world) suspect(o workload) suspect {
	component, marks := w.marks(o.Object)
	if component == nil {
		// RELEASE-CHART is what Helm's own template makes of a release's name.
		if component = w.cat.namedAfter(o.Name); component != nil && (len(component.Within) == 0 || w.liqo == liqoCastAI) {
			marks = append(marks, "a name after "+component.Name)
		}
	}
	return suspect{
		workload: o, component: component, marks: marks, image: w.cat.componentImage(component, o.images),
		account: w.byRef[cluster.Ref{Kind: "ServiceAccount", Namespace: o.Namespace, Name: serviceAccount(o.spec)}],
		home:    w.namedHome(o.Namespace) != nil, some: w.runsSomeCastAI(o),
	}
}

// ruleWorkload: it runs a component's own image under that component's name or
// labels, or it has a component's name or labels and runs as a ServiceAccount of
// Cast AI's. In a namespace of Cast AI's, one of these is enough.
func (w *world) ruleWorkload() {
	for _, o := range w.suspects {
		switch {
		case w.owned(o.Object):
		case o.image != "" && len(o.marks) > 0:
			w.claim(o.Object, o.component, Evidence{Rule: "workload", Text: text("it runs %s and has %s", o.image, o.marks[0])})
		case o.account != nil && w.owned(o.account):
			w.claim(o.Object, o.component, Evidence{Rule: "workload", Text: text("it runs as the ServiceAccount %s/%s of Cast AI's", o.Namespace, o.account.Name), From: ref(o.account)})
		case o.home:
			w.claim(o.Object, o.component, Evidence{Rule: "workload", Text: text("it is in namespace %s and has %s", o.Namespace, firstOr(o.marks, "one of Cast AI's images"))})
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
		if w.namedHome(ns) == nil {
			continue
		}
		for _, o := range w.byNS[ns] {
			if w.owned(o) || w.isCustom(o) {
				continue // a custom resource is whose its kind is
			}
			component, marks := w.marks(o)
			if _, workload := podSpec(o); workload || len(marks) == 0 {
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
	for _, r := range w.snap.Resources {
		crd := w.byRef[crdOf(r)]
		if crd == nil || !w.owned(crd) {
			continue
		}
		for _, o := range w.byKind[schema.GroupKind{Group: r.Group, Kind: r.Kind}.String()] {
			if !w.owned(o) {
				w.own(o, w.cat.group(r.Group), Evidence{Rule: "instance", Text: text("it is an object of the kind %s", r.Kind), From: ref(crd)})
			}
		}
	}
}

// ruleOwner: all its owners are owned, so Kubernetes collects it with them. What
// somebody else made and merely hung onto an object of Cast AI's is theirs.
func (w *world) ruleOwner() {
	for _, up := range w.ownedObjects() {
		for _, o := range w.below[up.UID] {
			if !w.item(o).Dependent {
				w.judgeDependent(o)
			}
		}
	}
}

func (w *world) judgeDependent(o *cluster.Object) {
	var owner *cluster.Object
	made := o.Controller() != nil // by a controller, which would make it again
	for _, r := range o.Owners {
		if owner = w.owner(o, r); owner == nil || !w.owned(owner) {
			return
		}
		made = made || w.item(owner).Dependent
	}
	e := Evidence{Rule: "owner", Text: text("%s %s owns it", owner.Resource.Kind, owner.Name), From: ref(owner)}
	if against, foreign := w.attached(o); foreign && !w.owned(o) {
		w.hint(o, e)
		w.deny(o, against)
		return
	}
	if holdsMore(o) && !w.owned(o) {
		w.hint(o, e)
		w.deny(o, Evidence{Rule: "owner", Text: "what goes with it need not be Cast AI's"})
		return
	}
	component := w.cat.find(func(c *Component) bool { return c.Name == w.item(owner).Component })
	w.own(o, component, e)
	if made && len(w.listed[o.Ref()]) == 0 {
		w.item(o).Dependent, w.changed = true, true
	}
}

// holdsMore tells whether more than the object goes with it: what is in a
// namespace, of a kind, on a machine, or on a disk.
func holdsMore(o *cluster.Object) bool {
	return isCRD(o) || o.Resource.Group == "" && slices.Contains([]string{"Namespace", "Node", "PersistentVolume"}, o.Resource.Kind)
}

// owner returns the object that an owner reference means. One in another
// namespace, or of another kind or name than the UID says, is none.
func (w *world) owner(o *cluster.Object, r metav1.OwnerReference) *cluster.Object {
	up := w.byUID[r.UID]
	if up == nil || up.Resource.Kind != r.Kind || up.Name != r.Name || up.Namespace != "" && up.Namespace != o.Namespace {
		return nil
	}
	return up
}

// attached tells whether somebody else made an object that has an owner: it
// has their marks, or it is not controlled by its owner and runs their images
// or was written by a person's tool.
func (w *world) attached(o *cluster.Object) (Evidence, bool) {
	if o.Controller() != nil {
		return Evidence{}, false
	}
	if e, foreign := w.foreignMarks(o); foreign {
		return e, true
	}
	if spec, ok := podSpec(o); ok {
		if list := images(spec); !slices.ContainsFunc(list, w.cat.image) {
			return Evidence{Rule: "workload", Text: text("it runs %s and nothing in it is Cast AI's", firstOr(list, "no image"))}, true
		}
	}
	for _, m := range o.Managers {
		if byHand(m) {
			return Evidence{Rule: "manager", Text: text("%s wrote it: it is not Cast AI's controllers' alone", m)}, true
		}
	}
	return Evidence{}, false
}

// byHand tells whether a field manager is a tool by which people apply what
// they wrote, rather than a controller.
func byHand(manager string) bool {
	return slices.ContainsFunc([]string{"kubectl", "helm", "argocd", "kustomize-controller", "Terraform", "HashiCorp", "pulumi"}, func(tool string) bool {
		return strings.HasPrefix(strings.ToLower(manager), strings.ToLower(tool))
	})
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
