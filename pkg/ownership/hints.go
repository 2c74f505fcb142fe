package ownership

import (
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

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
