package ownership

import (
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// judgeHome: it lives where nobody but Cast AI lives, something ties it to Cast
// AI, and nothing says that it is somebody else's. What nothing ties, a person
// may have put there.
func (v *spaceView) judgeHome() {
	if !v.alone {
		return
	}
	for _, o := range v.objects {
		if v.owned(o) || v.noise(o) {
			continue
		}
		if against, foreign := v.stranger(o); foreign {
			v.deny(o, against)
			continue
		}
		component, tie := v.tie(o)
		if tie != "" && tenantCanDelete(o) {
			v.claim(o, component, Evidence{Rule: "home", Text: text("%s; %s, and nothing says that it is somebody else's",
				v.home.Text, tie), From: v.home.From})
			continue
		}
		v.hint(o, Evidence{Rule: "home", Text: v.home.Text, From: v.home.From})
		v.deny(o, Evidence{Rule: "home", Text: "no workload uses it, and nothing in it says that it is Cast AI's"})
	}
}

// tie says what binds an object in a home to Cast AI.
func (v *spaceView) tie(o *cluster.Object) (*Component, string) {
	home := v.above.namedHome(v.name)
	if home == nil {
		return nil, ""
	}
	if ns := v.above.namespace(v.name); ns != nil && ns.Terminating() {
		return nil, "it goes with the namespace, which is being deleted"
	}
	account := o.Resource.Group == "" && o.Resource.Kind == "ServiceAccount"
	if home.generated() && o.Resource.Kind != "PersistentVolumeClaim" && !slices.ContainsFunc(o.Managers, byHand) &&
		(!account || v.above.generatedAccount(o.Ref())) {
		return v.liqoComponent(), "Cast AI's controllers made the namespace for themselves"
	}
	for _, f := range o.Finalizers {
		if v.cat.OwnFinalizer(f) {
			return nil, "it has the finalizer " + f + " of Cast AI's"
		}
	}
	if key := v.liqoLabel(o); key != "" {
		return v.liqoComponent(), "it has the label " + key + " of Cast AI's Liqo"
	}
	if len(o.Managers) == 1 && v.cat.unmistakable(o.Managers[0]) && v.app(o.Managers[0]) != nil {
		return v.app(o.Managers[0]), text("only %s wrote it", o.Managers[0])
	}
	return nil, ""
}

// stranger tells whether something in a home is somebody else's after all.
func (v *spaceView) stranger(o *cluster.Object) (Evidence, bool) {
	if e, foreign := v.foreignMarks(o); foreign {
		return e, true
	}
	if spec, ok := podSpec(o); ok {
		return Evidence{Rule: "workload", Text: text("it runs %s and nothing in it is Cast AI's",
			firstOr(images(spec), "no image"))}, true
	}
	switch {
	case isReleaseRecord(o):
		return Evidence{Rule: "release",
			Text: text("it is the record of the Helm release %s, which is not known to be Cast AI's", o.Labels["name"])}, true
	case len(o.Owners) > 0:
		return Evidence{Rule: "owner", Text: text("%s %s owns it", o.Owners[0].Kind, o.Owners[0].Name)}, true
	case o.Resource.Group == "" && o.Resource.Kind == "Pod":
		return Evidence{Rule: "workload", Text: "it is a pod that no workload of Cast AI's made"}, true
	case v.isCustom(o):
		return Evidence{Rule: "group", Text: text("%s is not one of Cast AI's API groups", o.Resource.Group)}, true
	case o.Resource.Kind == "RoleBinding" && o.Resource.Group == rbac:
		return Evidence{Rule: "subjects", Text: "its subjects are not all Cast AI's ServiceAccounts"}, true
	}
	if e, foreign := v.usedByOthers(o); foreign {
		return e, true
	}
	if name := o.Labels["app.kubernetes.io/name"]; name != "" && v.app(name) == nil && !v.knownApps()[name] {
		return Evidence{Rule: "app-label", Text: text("label app.kubernetes.io/name=%s names something else", name)}, true
	}
	for _, b := range v.boundBy[o.Ref()] {
		if !v.owned(b.Object) {
			return Evidence{Rule: "bound", Text: text("%s %s grants it to others", b.Resource.Kind, b.Name),
				From: ref(b.Object)}, true
		}
	}
	return Evidence{}, false
}

// knownApps are the app labels of what is owned here by itself.
func (v *spaceView) knownApps() map[string]bool {
	out := map[string]bool{}
	for o, i := range v.items {
		name := o.Labels["app.kubernetes.io/name"]
		if name != "" && i.Verdict == Owned && (has(i.For, "release") || has(i.For, "workload") || has(i.For, "installed")) {
			out[name] = true
		}
	}
	return out
}

// hints notes what looks like Cast AI's but could not be claimed, so that a
// person sees it and decides.
func (v *spaceView) hints() {
	for _, o := range v.objects {
		if v.owned(o) {
			continue
		}
		if c := v.chart(o); c.component != nil && v.cat.unmistakable(c.chart) {
			v.hint(o, Evidence{Rule: "chart-label", Text: "it has the label helm.sh/chart=" + c.value})
			v.deny(o, v.doubt("a label alone may have been copied"))
		}
		if third := v.label(o).thirdParty; third != nil && v.isHome {
			if third.Stays != "" {
				v.hint(o, Evidence{Rule: "third-party", Text: text("charts of Cast AI's bring the chart %s along", third.Chart)})
			}
			v.deny(o, Evidence{Rule: "third-party", Text: third.fate()})
		}
		if isPDB(o) && guardrail(o) {
			v.hint(o,
				Evidence{Rule: "guardrails",
					Text: "its name and its writer are those of castai-pdb-controller, which leaves its budgets on purpose"})
		}
		if len(o.Managers) > 0 && !slices.ContainsFunc(o.Managers,
			func(m string) bool { return v.cat.app(m) == nil || !v.cat.unmistakable(m) }) {
			v.hint(o, Evidence{Rule: "manager", Text: "only " + strings.Join(o.Managers, " and ") + " wrote it"})
			v.deny(o, v.doubt("Cast AI writes objects on behalf of others, too"))
		}
	}
	for _, w := range v.workloads {
		if v.owned(w.Object) || w.owner {
			continue
		}
		component, mark := v.marked(w.Object)
		published, image := v.cat.publishes(w.images)
		switch mirrored := v.cat.mirrored(component, w.images); {
		case v.isHome && published == v.liqoComponent() && v.liqo != liqoCastAI:
			v.hint(w.Object, Evidence{Rule: "image", Text: text("it runs %s", image)})
			v.deny(w.Object,
				Evidence{Rule: "liqo", Text: "it belongs to a Liqo, and nothing cluster-wide says that this is Cast AI's alone"})
		case !w.foreignMain(v.cat):
			v.hint(w.Object, Evidence{Rule: "image", Text: "it runs images from Cast AI's registry"})
			v.deny(w.Object, v.doubt("they are not the image of a component whose name or labels it has"))
		case mirrored != "":
			v.hint(w.Object, Evidence{Rule: "image", Text: text("it runs %s and has %s", mirrored, mark)})
			v.deny(w.Object, v.doubt("it has marks of others, too"))
		case published != nil:
			v.hint(w.Object, Evidence{Rule: "image", Text: text("it runs %s, beside images of others", image)})
			v.deny(w.Object, v.doubt("it has neither the name nor the labels of that component"))
		}
	}
	v.hintBeside()
	v.hintInstances()
	v.explainRest()
}

// explainRest says of all that stays without a reason yet why it does: in a home
// nobody should have to guess, and elsewhere a name of Cast AI's raises the question.
func (v *spaceView) explainRest() {
	for _, o := range v.byKind["Role."+rbac] {
		explainRole(v.notes, v.boundBy, o)
	}
	for _, o := range v.objects {
		if v.owned(o) || v.noise(o) || v.noted(o) {
			continue
		}
		component, mark := v.marked(o)
		if component == nil {
			component, mark = v.mentions(o.Name), "the name of a component"
		}
		if component == nil {
			component = v.cat.accounts[o.Name]
		}
		if component == nil {
			component = v.cat.runtimeObject(o.Ref())
		}
		switch {
		case isReleaseRecord(o) && !v.isHome && len(v.items) > 0:
			v.deny(o, v.doubt("it is a record of Helm's"))
		case v.isHome:
			v.deny(o, Evidence{Rule: "home", Text: text("%s, and nothing connects it with Cast AI", v.home.Text)})
		case component != nil:
			v.deny(o, v.doubt(text("it has %s", mark)))
		case v.liqo != liqoCastAI && v.label(o).chart == "liqo":
			v.deny(o,
				Evidence{Rule: "liqo", Text: "it belongs to a Liqo, and nothing cluster-wide says that this is Cast AI's alone"})
		}
	}
}

// hintBeside says of what belongs to workloads that may be Cast AI's that it
// does: what they use, and what one release or chart put beside them.
func (v *spaceView) hintBeside() {
	type part struct{ chart, release string }
	partOf := func(o *cluster.Object) part { return part{v.label(o).value, releaseName(o)} }
	maybe := func(o *cluster.Object) bool {
		return !v.owned(o) && v.items[o] != nil && has(v.items[o].Hints, "image")
	}
	parts, releases := map[part]*cluster.Object{}, map[releaseKey]*cluster.Object{}
	for _, w := range v.workloads {
		if !maybe(w.Object) {
			continue
		}
		if p := partOf(w.Object); p.chart != "" {
			parts[p] = w.Object
		}
	}
	for o, i := range v.items {
		if key, marked := releaseOf(o); marked && (i.Verdict == Owned || len(i.Hints) > 0) &&
			(releases[key] == nil || releases[key].Ref().Compare(o.Ref()) > 0) {
			releases[key] = o
		}
	}
	for _, o := range v.objects {
		if v.owned(o) || v.noise(o) || v.noted(o) {
			continue
		}
		key, _ := releaseOf(o)
		if isReleaseRecord(o) {
			key = releaseKey{v.name, o.Labels["name"]}
		}
		beside := releases[key]
		if beside == nil {
			beside = parts[partOf(o)]
		}
		if i := slices.IndexFunc(v.usedBy()[o.Ref()], maybe); beside == nil && i >= 0 {
			beside = v.usedBy()[o.Ref()][i]
		}
		if beside == nil {
			beside = v.boundFor(o, maybe)
		}
		if beside == nil {
			beside = v.besideName(o, maybe)
		}
		if beside != nil {
			v.deny(o, Evidence{Rule: "beside", Text: text("it belongs to %s %s, and nothing else says that it is Cast AI's",
				beside.Resource.Kind, beside.Name), From: ref(beside)})
		}
	}
}

// besideName returns the workload that match is true for and whose name an
// object has, alone or before a dash.
func (v *spaceView) besideName(o *cluster.Object, match func(*cluster.Object) bool) *cluster.Object {
	for _, w := range v.workloads {
		if match(w.Object) && (o.Name == w.Name || strings.HasPrefix(o.Name, w.Name+"-")) {
			return w.Object
		}
	}
	return nil
}

// boundFor returns the workload that match is true for and that a RoleBinding, or
// the binding of a Role, serves.
func (v *spaceView) boundFor(o *cluster.Object, match func(*cluster.Object) bool) *cluster.Object {
	bindings := v.boundBy[o.Ref()]
	if o.Ref().GroupKind().String() == "RoleBinding."+rbac {
		bindings = []*binding{newBinding(o)}
	}
	for _, b := range bindings {
		for _, a := range b.accounts {
			if i := slices.IndexFunc(v.usedBy()[a], match); i >= 0 {
				return v.usedBy()[a][i]
			}
		}
	}
	return nil
}

// doubt says why a mark is not enough: outside of homes, because of where it is.
func (v *spaceView) doubt(otherwise string) Evidence {
	if v.isHome {
		return Evidence{Rule: "chart-label", Text: otherwise}
	}
	return Evidence{Rule: "trust", Text: text(
		"nothing cluster-wide says that Cast AI lives in namespace %s, and whoever may write there can have made it: if Cast AI does, pass --trust-namespace=%s",
		v.name, v.name)}
}

// guardrail tells whether a budget has the name and the only writer of those of
// castai-pdb-controller (GR pdb-controller/cmd/main.go:823), which have no other mark.
func guardrail(o *cluster.Object) bool {
	return strings.HasPrefix(o.Name, "castai-") && strings.HasSuffix(o.Name, "-pdb") &&
		slices.ContainsFunc(o.Managers, func(m string) bool { return m == "pdb-controller" || m == "castai-pdb-controller" })
}

// hintInstances notes the custom resources that an unclear CRD would take along.
func (v *spaceView) hintInstances() {
	for _, list := range v.byKind {
		crd := v.above.byRef[crdOf(list[0].Resource)]
		if crd == nil || v.above.owned(crd) || len(v.above.item(crd).Hints) == 0 {
			continue
		}
		for _, o := range list {
			if !v.owned(o) {
				v.hint(o, Evidence{Rule: "instance", Text: "its kind is defined by a CRD that may be Cast AI's", From: ref(crd)})
				v.deny(o, Evidence{Rule: "instance", Text: text("%s is unclear itself", crd.Name)})
			}
		}
	}
}
