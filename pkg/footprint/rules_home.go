package footprint

import (
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// findHomes decides which namespaces are Cast AI's to live in: those of the
// catalogue, unless only others live there; and those in which every workload
// is Cast AI's, whatever their name.
func (w *world) findHomes() {
	for i := range w.cat.Namespaces {
		home := &w.cat.Namespaces[i]
		if len(home.Labels) == 0 && w.byRef[cluster.Ref{Kind: "Namespace", Name: home.Name}] == nil {
			w.homes[home.Name] = Evidence{Rule: "home", Text: text("Cast AI's namespace %s, which is gone", home.Name)}
		}
	}
	for _, ns := range w.byKind["Namespace"] {
		owned, foreign := w.residents(ns.Name)
		switch home := w.named(ns.Name); {
		case home != nil && (owned > 0 || foreign == 0):
			w.homes[ns.Name] = Evidence{Rule: "home", Text: text("Cast AI installs into namespace %s (%s)", ns.Name, home.Source), From: ref(ns)}
		case home == nil && !builtinNamespace(ns.Name) && owned > 0 && foreign == 0:
			w.homes[ns.Name] = Evidence{Rule: "home", Text: text("all workloads and releases in namespace %s are Cast AI's", ns.Name), From: ref(ns)}
		}
	}
}

// residents counts those who live in a namespace: workloads, Helm releases and
// custom resources, Cast AI's and others'.
func (w *world) residents(ns string) (owned, foreign int) {
	for _, o := range w.byNS[ns] {
		_, workload := podSpec(o)
		barePod := o.Resource.Group == "" && o.Resource.Kind == "Pod"
		if (!workload && !barePod || len(o.Owners) > 0) && !isReleaseRecord(o) && !w.isCustom(o) {
			continue
		}
		switch {
		case !w.owned(o):
			foreign++
		case workload, isReleaseRecord(o):
			owned++
		}
	}
	return owned, foreign
}

// isCustom tells whether an object is a custom resource of somebody's CRD.
func (w *world) isCustom(o *cluster.Object) bool {
	return w.byRef[cluster.Ref{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: o.Resource.GroupResource().String()}] != nil
}

// use is who refers to an object within its namespace.
type use struct{ owned, others []*cluster.Object }

// uses maps the objects that workloads need to the workloads: what their pods
// mount or run as, and the Services and budgets that select their pods.
func (w *world) uses(ns string) map[cluster.Ref]*use {
	out := map[cluster.Ref]*use{}
	add := func(r cluster.Ref, by *cluster.Object) {
		u := out[r]
		if u == nil {
			u = &use{}
			out[r] = u
		}
		if w.owned(by) {
			u.owned = append(u.owned, by)
		} else {
			u.others = append(u.others, by)
		}
	}
	for _, o := range w.byNS[ns] {
		spec, ok := podSpec(o)
		if !ok || o.Controller() != nil {
			continue
		}
		for _, r := range references(ns, spec) {
			add(r, o)
		}
		pods := labels.Set(podLabels(o))
		for _, s := range w.byNS[ns] {
			if selects(s, pods) {
				add(s.Ref(), o)
			}
		}
	}
	return out
}

// selects tells whether a Service or a PodDisruptionBudget selects pods with these labels.
func selects(o *cluster.Object, pods labels.Set) bool {
	spec, _ := o.Body["spec"].(map[string]any)
	raw, _ := spec["selector"].(map[string]any)
	if len(raw) == 0 {
		return false
	}
	switch o.Ref().GroupKind().String() {
	case "Service":
		sel := labels.Set{}
		for k, v := range raw {
			sel[k], _ = v.(string)
		}
		return sel.AsSelector().Matches(pods)
	case "PodDisruptionBudget.policy":
		var ls metav1.LabelSelector
		if m, ok := raw["matchLabels"].(map[string]any); ok {
			ls.MatchLabels = map[string]string{}
			for k, v := range m {
				ls.MatchLabels[k], _ = v.(string)
			}
		}
		sel, err := metav1.LabelSelectorAsSelector(&ls)
		return err == nil && len(ls.MatchLabels) > 0 && sel.Matches(pods)
	}
	return false
}

// ruleReferences: only workloads of Cast AI's use it. That is proof for a
// ServiceAccount and in a namespace where nobody else lives; elsewhere, the
// object must also say itself that it is Cast AI's.
func (w *world) ruleReferences() {
	for _, ns := range w.namespaces {
		if !slices.ContainsFunc(w.byNS[ns], func(o *cluster.Object) bool { _, ok := podSpec(o); return ok && w.owned(o) }) {
			continue
		}
		_, home := w.home(ns)
		uses := w.uses(ns)
		for _, r := range sortedRefs(uses) {
			o, u := w.byRef[r], uses[r]
			if o == nil || w.owned(o) || isNoise(o) || len(u.owned) == 0 || len(u.others) > 0 {
				continue
			}
			by := u.owned[0]
			e := Evidence{Rule: "used", Text: text("only %s %s and other workloads of Cast AI's use it", by.Resource.Kind, by.Name), From: ref(by)}
			component, marks := w.marks(o)
			if component == nil {
				component = w.cat.runtimeObject(r)
			}
			if home || r.Kind == "ServiceAccount" || len(marks) > 0 || w.cat.runtimeObject(r) != nil {
				w.claim(o, component, e)
			} else {
				w.hint(o, e)
			}
		}
	}
}

// ruleCompanions: what Kubernetes or client libraries make beside an owned
// object, without an owner reference: Endpoints of a Service, the token Secret
// of a ServiceAccount, the Lease of a node or of a leader.
func (w *world) ruleCompanions() {
	for _, o := range w.snap.Objects {
		if w.owned(o) {
			continue
		}
		var of cluster.Ref
		switch o.Ref().GroupKind().String() {
		case "Endpoints":
			of = cluster.Ref{Kind: "Service", Namespace: o.Namespace, Name: o.Name}
		case "Secret":
			of = cluster.Ref{Kind: "ServiceAccount", Namespace: o.Namespace, Name: o.Annotations["kubernetes.io/service-account.name"]}
		case "Lease.coordination.k8s.io":
			if o.Namespace == "kube-node-lease" {
				of = cluster.Ref{Kind: "Node", Name: o.Name}
			} else if by := w.leader(o); by != nil {
				of = by.Ref()
			}
		default:
			continue
		}
		if w.ownedRef(of) {
			w.claim(o, nil, Evidence{Rule: "companion", Text: text("it belongs to the %s %s", of.Kind, of.Name), From: &of})
		}
	}
}

// leader returns the workload of Cast AI's whose pod holds a Lease: client-go's
// leader election writes the pod's name into holderIdentity.
func (w *world) leader(lease *cluster.Object) *cluster.Object {
	holder := str(lease.Body, "spec", "holderIdentity")
	if holder == "" {
		return nil
	}
	for _, o := range w.byNS[lease.Namespace] {
		if _, ok := podSpec(o); ok && w.owned(o) && strings.HasPrefix(holder, o.Name+"-") {
			return o
		}
	}
	return nil
}

// ruleHome: it lives in a namespace of Cast AI's, and nothing says that it is
// somebody else's. In a namespace that only the workloads mark as a home, what
// no workload needs stays unclear.
func (w *world) ruleHome() {
	for _, ns := range slices.Sorted(maps.Keys(w.homes)) {
		home := w.homes[ns]
		byName := w.named(ns) != nil
		uses := w.uses(ns)
		for _, o := range w.byNS[ns] {
			if w.owned(o) || isNoise(o) {
				continue
			}
			if against, foreign := w.stranger(o, uses[o.Ref()]); foreign {
				w.deny(o, against)
				continue
			}
			e := Evidence{Rule: "home", Text: home.Text + ", and nothing says that it is somebody else's", From: home.From}
			component := w.cat.runtimeObject(o.Ref())
			if byName || component != nil {
				w.claim(o, component, e)
			} else {
				w.hint(o, e)
				w.deny(o, Evidence{Rule: "home", Text: "no workload uses it, and the namespace is not one that Cast AI installs into by default"})
			}
		}
	}
}

// stranger tells whether something in a home is somebody else's after all.
func (w *world) stranger(o *cluster.Object, u *use) (Evidence, bool) {
	if e, foreign := w.foreignMarks(o); foreign {
		return e, true
	}
	if spec, ok := podSpec(o); ok {
		return Evidence{Rule: "workload", Text: text("it runs %s and nothing in it is Cast AI's", firstOr(images(spec), "no image"))}, true
	}
	if isReleaseRecord(o) {
		return Evidence{Rule: "release", Text: text("it is the record of the Helm release %s, which is not known to be Cast AI's", o.Labels["name"])}, true
	}
	if len(o.Owners) > 0 {
		return Evidence{Rule: "owner", Text: text("%s %s owns it", o.Owners[0].Kind, o.Owners[0].Name)}, true
	}
	if o.Resource.Group == "" && o.Resource.Kind == "Pod" {
		return Evidence{Rule: "workload", Text: "it is a pod that no workload of Cast AI's made"}, true
	}
	if w.isCustom(o) {
		return Evidence{Rule: "group", Text: text("%s is not one of Cast AI's API groups", o.Resource.Group)}, true
	}
	if u != nil && len(u.others) > 0 {
		by := u.others[0]
		return Evidence{Rule: "used", Text: text("%s %s uses it, which is not Cast AI's", by.Resource.Kind, by.Name), From: ref(by)}, true
	}
	if name := o.Labels["app.kubernetes.io/name"]; name != "" && w.cat.app(name) == nil && !w.knownApp(o) {
		return Evidence{Rule: "app-label", Text: text("label app.kubernetes.io/name=%s names something else", name)}, true
	}
	switch o.Resource.Kind {
	case "RoleBinding":
		return Evidence{Rule: "subjects", Text: "its subjects are not all Cast AI's ServiceAccounts"}, true
	case "Role":
		for _, b := range w.bindings() {
			if boundRole(b) == o.Ref() && !w.owned(b) {
				return Evidence{Rule: "bound", Text: text("%s %s grants it to others", b.Resource.Kind, b.Name), From: ref(b)}, true
			}
		}
	}
	return Evidence{}, false
}

// knownApp tells whether an object's app label is that of something owned in its namespace.
func (w *world) knownApp(o *cluster.Object) bool {
	name := o.Labels["app.kubernetes.io/name"]
	return slices.ContainsFunc(w.byNS[o.Namespace], func(other *cluster.Object) bool {
		return other.Labels["app.kubernetes.io/name"] == name && w.owned(other) && slices.ContainsFunc(w.item(other).For, func(e Evidence) bool {
			return e.Rule == "release" || e.Rule == "workload" || e.Rule == "marked"
		})
	})
}

// keep finds what stays in each home, and claims the namespaces in which nothing does.
func (w *world) keep() []HomeNamespace {
	var out []HomeNamespace
	for name, e := range w.homes {
		h := HomeNamespace{Name: name, Evidence: e, Namespace: w.byRef[cluster.Ref{Kind: "Namespace", Name: name}]}
		if h.Namespace == nil {
			continue
		}
		for _, o := range w.byNS[name] {
			if !w.owned(o) && !isNoise(o) {
				h.Keep = append(h.Keep, o.Ref())
			}
		}
		if len(h.Keep) == 0 && !w.excluded[h.Namespace] {
			w.own(h.Namespace, nil, Evidence{Rule: "home", Text: e.Text + ", and everything in it is Cast AI's"})
		}
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b HomeNamespace) int { return strings.Compare(a.Name, b.Name) })
	return out
}
