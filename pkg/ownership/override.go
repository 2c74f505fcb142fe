package ownership

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// findHomes decides which namespaces are Cast AI's alone to live in.
func (j *judgement) findHomes() {
	for _, o := range j.cluster.byKind["Namespace"] {
		e, home := j.cluster.home(o.Name)
		v := j.spaces[o.Name]
		switch {
		case !home || builtinNamespace(o.Name):
		case v == nil && j.cluster.namedHome(o.Name) != nil, v != nil && v.alone:
			j.homes[o.Name] = e
		}
	}
}

// recall claims what was known to be Cast AI's before others of it were removed.
func (j *judgement) recall(known map[types.UID]Proof) {
	if len(known) == 0 {
		return
	}
	for _, o := range j.objects {
		proof, ours := known[o.UID]
		switch {
		case !ours || j.owned(o):
		case o.Resource.Kind == "Namespace" && o.Resource.Group == "":
			j.homes[o.Name] = proof.Evidence // it goes only if everything in it goes, too
		default:
			j.notes(o).own(o, j.cat.component(proof.Component), proof.Evidence)
		}
	}
}

// override changes verdicts by the user's word.
func (j *judgement) override(opts Options) {
	for _, r := range opts.Include {
		o := j.find(r)
		if o == nil {
			continue
		}
		e := Evidence{Rule: "include", Text: "named with --include"}
		if o.Resource.Kind == "Namespace" && o.Resource.Group == "" {
			// It goes only if everything in it goes, too.
			e.From = ref(o)
			j.homes[o.Name] = e
			continue
		}
		j.notes(o).own(o, nil, e)
		j.follow(o)
	}
	for _, r := range opts.Exclude {
		if o := j.find(r); o != nil {
			j.exclude(o, Evidence{Rule: "exclude", Text: "named with --exclude"})
		}
	}
	if len(opts.Arrived) > 0 {
		j.arrive(opts.Arrived)
	}
}

// arrive keeps what came too late for a person to have agreed to it.
func (j *judgement) arrive(uids []types.UID) {
	for _, o := range j.objects {
		if slices.Contains(uids, o.UID) {
			j.excluded[o] = true
			i := j.notes(o).item(o)
			i.Verdict = Unclear
			i.Against = append(i.Against, Evidence{Rule: "arrived",
				Text: "it came while Cast AI was being taken out, and nothing but a name says that it is Cast AI's"})
		}
	}
}

// follow judges again what an included object takes along.
func (j *judgement) follow(o *cluster.Object) {
	if isCRD(o) {
		for _, cr := range j.objects {
			if crdOf(cr.Resource) == o.Ref() {
				j.notes(cr).own(cr, nil, Evidence{Rule: "instance", Text: text("it is an object of the kind %s", cr.Resource.Kind),
					From: ref(o)})
			}
		}
	}
	j.cluster.judgeOwners()
	for _, ns := range j.order {
		v := j.spaces[ns]
		for v.changed = true; v.changed; {
			v.changed = false
			v.judgeOwners()
			v.judgeCompanions()
		}
	}
}

// exclude keeps an object, and with it what would take it along: its owners,
// and the CRD of a custom resource. What it made, what nothing else tells about,
// and the objects of a CRD that stays stay, too.
func (j *judgement) exclude(o *cluster.Object, e Evidence) {
	if j.excluded[o] {
		return
	}
	j.excluded[o] = true
	i := j.notes(o).item(o)
	i.Verdict = Foreign
	i.Against = append(i.Against, e)
	because := Evidence{Rule: "exclude", Text: text("%s stays, because of --exclude", o.Ref()), From: ref(o)}
	for _, up := range j.owners(o) {
		if j.owned(up) {
			j.exclude(up, because)
		}
	}
	if crd := j.find(crdOf(o.Resource)); crd != nil && j.owned(crd) {
		j.exclude(crd, because)
	}
	for _, below := range j.below(o) {
		for _, r := range below.Owners {
			controls := r.Controller != nil && *r.Controller
			if r.UID == o.UID && r.Kind == o.Resource.Kind && r.Name == o.Name && j.owned(below) &&
				(controls || j.onlyOwners(below)) {
				j.exclude(below, because)
			}
		}
	}
	if isCRD(o) {
		for _, cr := range j.objects {
			if crdOf(cr.Resource) == o.Ref() && j.owned(cr) {
				j.exclude(cr, because)
			}
		}
	}
}

// owners returns the objects that an object's owner references mean.
func (j *judgement) owners(o *cluster.Object) []*cluster.Object {
	var out []*cluster.Object
	for _, r := range o.Owners {
		up := j.cluster.byUID[r.UID]
		if v := j.spaces[o.Namespace]; up == nil && v != nil {
			up = v.byUID[r.UID]
		}
		if up != nil {
			out = append(out, up)
		}
	}
	return out
}

// below returns the objects that name an object as an owner.
func (j *judgement) below(o *cluster.Object) []*cluster.Object {
	if o.Namespace != "" {
		return j.spaces[o.Namespace].below[o.UID]
	}
	out := slices.Clone(j.cluster.below[o.UID])
	for _, ns := range j.order {
		out = append(out, j.spaces[ns].below[o.UID]...)
	}
	return out
}

// onlyOwners tells whether nothing but its owners says whose an object is.
func (j *judgement) onlyOwners(o *cluster.Object) bool {
	return !slices.ContainsFunc(j.item(o).For, func(e Evidence) bool { return e.Rule != "owner" })
}

// keep finds what stays in each home, and claims the namespaces in which nothing does.
func (j *judgement) keep() []HomeNamespace {
	var out []HomeNamespace
	for name, e := range j.homes {
		h := HomeNamespace{Name: name, Evidence: e, Namespace: j.cluster.namespace(name)}
		if h.Namespace == nil {
			continue
		}
		for _, o := range j.in(name) {
			if !j.owned(o) && (j.excluded[o] || !j.cluster.noise(o)) {
				h.Keep = append(h.Keep, o.Ref())
			}
		}
		if len(h.Keep) == 0 && !j.excluded[h.Namespace] && !builtinNamespace(name) {
			j.claimNamespace(h)
		}
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b HomeNamespace) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (j *judgement) claimNamespace(h HomeNamespace) {
	v := j.cluster
	empty := Evidence{Rule: "home", Text: h.Evidence.Text + ", and everything in it is Cast AI's", From: h.Evidence.From}
	if against, foreign := v.foreignMarks(h.Namespace); foreign && h.Evidence.Rule != "include" {
		// Somebody's own release made it, for Cast AI to be put into.
		v.hint(h.Namespace, empty)
		v.deny(h.Namespace, against)
		v.item(h.Namespace).Verdict = Unclear
		return
	}
	for _, r := range h.Namespace.Owners {
		if up := v.owner(r); h.Evidence.Rule != "include" && (up == nil || !v.owned(up)) {
			v.hint(h.Namespace, empty)
			v.deny(h.Namespace, Evidence{Rule: "owner", Text: text("%s %s owns it", r.Kind, r.Name)})
			v.item(h.Namespace).Verdict = Unclear
			return
		}
	}
	v.own(h.Namespace, nil, empty)
}

// builtinNamespace tells whether Kubernetes or its distribution made the
// namespace, so that it never goes whole, whoever's workloads are in it.
func builtinNamespace(ns string) bool {
	return ns == metav1.NamespaceDefault || administered(ns)
}

// administered tells whether only the administrators of the cluster write in a
// namespace, whoever lives there. OpenShift lets its users make projects of any
// other names (openshift-apiserver, pkg/project/apiserver/registry/projectrequest).
func administered(ns string) bool {
	return strings.HasPrefix(ns, "kube-") || ns == "openshift" || strings.HasPrefix(ns, "openshift-")
}
