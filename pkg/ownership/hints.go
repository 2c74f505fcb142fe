package ownership

import (
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// hints notes what looks like Cast AI's on objects that no rule could claim, so
// that a person sees them and decides.
func (w *world) hints() {
	for _, o := range w.hintable {
		if w.owned(o) {
			continue
		}
		w.hintMarks(o)
		switch {
		case isCRD(o):
			w.hintCRD(o)
		case isPDB(o):
			// GR pdb-controller/cmd/main.go:823 names them so and gives them no other mark.
			if strings.HasPrefix(o.Name, "castai-") && strings.HasSuffix(o.Name, "-pdb") && slices.ContainsFunc(o.Managers, isPDBController) {
				w.hint(o, Evidence{Rule: "guardrails", Text: "its name and its writer are those of castai-pdb-controller, which leaves its budgets on purpose"})
			}
		}
	}
	for _, o := range w.workloads {
		if w.owned(o.Object) || o.owner || !w.runsCastAI(o) {
			continue
		}
		if _, foreign := w.foreignMarks(o.Object); !foreign {
			w.hint(o.Object, Evidence{Rule: "image", Text: "it runs images from Cast AI's registry"})
			w.deny(o.Object, Evidence{Rule: "image", Text: "they are not the image of a component whose name or labels it has"})
		}
	}
	w.hintInstances()
	for _, i := range w.items {
		if i.Verdict != Owned && len(i.Hints) > 0 {
			i.Verdict = Unclear
		}
	}
}

func isPDB(o *cluster.Object) bool {
	return o.Resource.Kind == "PodDisruptionBudget" && o.Resource.Group == "policy"
}

func isPDBController(manager string) bool { return strings.Contains(manager, "pdb-controller") }

func (w *world) hintMarks(o *cluster.Object) {
	if o.Resource.Kind == "Namespace" {
		return
	}
	key, marked := releaseOf(o)
	if r := w.release[key]; marked && r != nil {
		if !w.castAIRelease(r) {
			return // another release's, whatever its labels say
		}
		w.hint(o, Evidence{Rule: "release", Text: text("Helm's marks name the release %s", r), From: &r.Stored})
		w.deny(o, Evidence{Rule: "release", Text: "that release does not list it: the marks may have been copied"})
	}
	if mark := w.labelled(o); mark.component != nil && unmistakable(mark.chart) {
		w.hint(o, Evidence{Rule: "chart-label", Text: "it has the label helm.sh/chart=" + o.Labels["helm.sh/chart"]})
		w.deny(o, Evidence{Rule: "chart-label", Text: "a label alone may have been copied"})
	}
	if len(o.Managers) > 0 && !slices.ContainsFunc(o.Managers, func(m string) bool { return w.cat.app(m) == nil || !unmistakable(m) }) {
		w.hint(o, Evidence{Rule: "manager", Text: "only " + strings.Join(o.Managers, " and ") + " wrote it"})
		w.deny(o, Evidence{Rule: "manager", Text: "Cast AI writes objects on behalf of others, too"})
	}
}

func (w *world) hintCRD(o *cluster.Object) {
	_, group, _ := strings.Cut(o.Name, ".")
	switch {
	case w.cat.inDomain(group) && w.cat.group(group) == nil:
		w.hint(o, Evidence{Rule: "group", Text: text("the API group %s is below a domain of Cast AI's", group)})
		w.deny(o, Evidence{Rule: "group", Text: "it is not one of Cast AI's known groups: it may be yours"})
	case w.cat.group(group) != nil && strings.HasSuffix(group, liqoGroup) && (w.liqo == liqoBoth || w.liqo == liqoNone):
		w.hint(o, Evidence{Rule: "group", Text: text("Cast AI's Liqo uses the API group %s", group)})
		against := "nothing in the cluster tells whose Liqo it was"
		if w.liqo == liqoBoth {
			against = "a Liqo that is not Cast AI's uses it, too"
		}
		w.deny(o, Evidence{Rule: "group", Text: against})
	}
}

// hintInstances notes the custom resources that an unclear CRD would take along.
func (w *world) hintInstances() {
	unclear := map[*cluster.Resource]*cluster.Object{} // the CRDs
	for _, r := range w.snap.Resources {
		if crd := w.byRef[crdOf(r)]; crd != nil && !w.owned(crd) && len(w.item(crd).Hints) > 0 {
			unclear[r] = crd
		}
	}
	if len(unclear) == 0 {
		return
	}
	for _, o := range w.snap.Objects {
		crd := unclear[o.Resource]
		if crd == nil || w.owned(o) {
			continue
		}
		w.hint(o, Evidence{Rule: "instance", Text: "its kind is defined by a CRD that may be Cast AI's", From: ref(crd)})
		w.deny(o, Evidence{Rule: "instance", Text: text("%s is unclear itself", crd.Name)})
	}
}

// override changes verdicts by the user's word.
func (w *world) override(opts Options) {
	for _, r := range opts.Include {
		o := w.byRef[r]
		if o == nil {
			continue
		}
		if o.Resource.Kind == "Namespace" {
			// It goes only if everything in it goes, too.
			w.homes[o.Name] = Evidence{Rule: "include", Text: "named with --include", From: ref(o)}
			continue
		}
		w.own(o, nil, Evidence{Rule: "include", Text: "named with --include"})
	}
	if len(opts.Include) > 0 {
		w.settle([]func(){w.ruleInstance, w.ruleOwner, w.ruleCompanions})
	}
	for _, r := range opts.Exclude {
		if o := w.byRef[r]; o != nil {
			w.exclude(o, Evidence{Rule: "exclude", Text: "named with --exclude"})
		}
	}
}

// exclude keeps an object, and with it what would take it along: its owners,
// and the CRD of a custom resource. What it made, what nothing else tells about,
// and the objects of a CRD that stays stay, too.
func (w *world) exclude(o *cluster.Object, e Evidence) {
	if w.excluded[o] {
		return
	}
	w.excluded[o] = true
	i := w.item(o)
	i.Verdict = Foreign
	i.Against = append(i.Against, e)
	because := Evidence{Rule: "exclude", Text: text("%s stays, because of --exclude", o.Ref()), From: ref(o)}
	for _, owner := range o.Owners {
		if up := w.byUID[owner.UID]; up != nil && w.owned(up) {
			w.exclude(up, because)
		}
	}
	if crd := w.byRef[crdOf(o.Resource)]; crd != nil && w.owned(crd) {
		w.exclude(crd, because)
	}
	for _, below := range w.below[o.UID] {
		for _, r := range below.Owners {
			controls := r.Controller != nil && *r.Controller
			if w.owner(below, r) == o && w.owned(below) && (controls || w.onlyOwners(below)) {
				w.exclude(below, because)
			}
		}
	}
	if isCRD(o) {
		for _, cr := range w.snap.Objects {
			if crdOf(cr.Resource) == o.Ref() && w.owned(cr) {
				w.exclude(cr, because)
			}
		}
	}
}

// onlyOwners tells whether nothing but its owners says whose an object is.
func (w *world) onlyOwners(o *cluster.Object) bool {
	return !slices.ContainsFunc(w.item(o).For, func(e Evidence) bool { return e.Rule != "owner" })
}

// crdOf returns the CRD that would define a kind.
func crdOf(r *cluster.Resource) cluster.Ref {
	return cluster.Ref{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: r.GroupResource().String()}
}
