package ownership

import (
	"maps"
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// findHomes decides which namespaces are Cast AI's to live in: those of the
// catalogue, unless only others live there; and those in which every workload
// is Cast AI's, whatever their name. A namespace that is gone is one where it is
// in the catalogue, or where Helm installed what is owned.
func (w *world) findHomes() {
	exists := func(ns string) bool { return w.byRef[cluster.Ref{Kind: "Namespace", Name: ns}] != nil }
	for i := range w.cat.Namespaces {
		home := &w.cat.Namespaces[i]
		if len(home.Labels) == 0 && !exists(home.Name) {
			w.homes[home.Name] = Evidence{Rule: "home", Text: text("Cast AI's namespace %s, which is gone", home.Name)}
		}
	}
	for _, o := range w.ownedObjects() {
		key, marked := releaseOf(o)
		if _, known := w.homes[key.namespace]; marked && !known && key.namespace != "" && !exists(key.namespace) {
			w.homes[key.namespace] = Evidence{Rule: "home", Text: text("the namespace %s, which is gone, and into which Helm installed Cast AI's release %s", key.namespace, key.name)}
			w.inferred[key.namespace] = true
		}
	}
	lives := map[string]bool{} // something of Cast AI's does
	for _, o := range w.ownedObjects() {
		lives[o.Namespace] = true
	}
	for _, ns := range w.byKind["Namespace"] {
		home := w.namedHome(ns.Name)
		if home == nil && !lives[ns.Name] {
			continue
		}
		owned, foreign := w.residents(ns.Name)
		switch {
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
	custom, known := w.custom[o.Resource]
	if !known {
		custom = w.byRef[crdOf(o.Resource)] != nil
		w.custom[o.Resource] = custom
	}
	return custom
}

// ruleHome: it lives in a namespace of Cast AI's, something ties it to Cast AI,
// and nothing says that it is somebody else's. What nothing ties, a person may
// have put there.
func (w *world) ruleHome() {
	for _, ns := range slices.Sorted(maps.Keys(w.homes)) {
		home := w.homes[ns]
		apps := w.knownApps(ns)
		for _, o := range w.byNS[ns] {
			if w.owned(o) || isNoise(o) {
				continue
			}
			if against, foreign := w.stranger(o, apps); foreign {
				w.deny(o, against)
				continue
			}
			component, tie := w.tie(o)
			if tie != "" {
				w.claim(o, component, Evidence{Rule: "home", Text: text("%s; %s, and nothing says that it is somebody else's", home.Text, tie), From: home.From})
				continue
			}
			w.hint(o, Evidence{Rule: "home", Text: home.Text, From: home.From})
			w.deny(o, Evidence{Rule: "home", Text: "no workload uses it, and nothing in it says that it is Cast AI's"})
		}
	}
}

// tie says what binds an object in a home to Cast AI.
func (w *world) tie(o *cluster.Object) (*Component, string) {
	if component := w.cat.runtimeObject(o.Ref()); component != nil {
		return component, text("%s makes one of this name there", component.Name)
	}
	home := w.namedHome(o.Namespace)
	if home == nil {
		return nil, ""
	}
	if ns := w.byRef[cluster.Ref{Kind: "Namespace", Name: o.Namespace}]; ns != nil && ns.Terminating() {
		return nil, "it goes with the namespace, which is being deleted"
	}
	kind := o.Ref().GroupKind().String()
	if home.generated() && kind != "PersistentVolumeClaim" {
		return w.liqoComponent(), "Cast AI's controllers made the namespace for themselves"
	}
	if kind == "Lease.coordination.k8s.io" {
		return nil, "only controllers make Leases"
	}
	for _, f := range o.Finalizers {
		if w.cat.OwnFinalizer(f) {
			return nil, "it has the finalizer " + f + " of Cast AI's"
		}
	}
	for _, key := range slices.Sorted(maps.Keys(o.Labels)) {
		domain, _, prefixed := strings.Cut(key, "/")
		if prefixed && (w.cat.inDomain(domain) || w.liqo == liqoCastAI && (domain == "liqo.io" || strings.HasSuffix(domain, liqoGroup))) {
			return nil, "it has the label " + key
		}
	}
	if len(o.Managers) > 0 && !slices.ContainsFunc(o.Managers, byHand) {
		for _, m := range o.Managers {
			if component := w.cat.manager(m); component != nil {
				return component, text("%s wrote it", m)
			}
		}
	}
	return nil, ""
}

// manager returns the component whose program writes under a field manager:
// that is the program's name, castai-agent or agent.
func (c *Catalogue) manager(name string) *Component {
	if comp := c.app(name); comp != nil {
		return comp
	}
	return c.app("castai-" + name)
}

// stranger tells whether something in a home is somebody else's after all.
func (w *world) stranger(o *cluster.Object, apps map[string]bool) (Evidence, bool) {
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
	if _, by := w.usedBy(o.Ref()); by != nil {
		return Evidence{Rule: "used", Text: text("%s %s uses it, which is not Cast AI's", by.Resource.Kind, by.Name), From: ref(by)}, true
	}
	if name := o.Labels["app.kubernetes.io/name"]; name != "" && w.cat.app(name) == nil && !apps[name] {
		return Evidence{Rule: "app-label", Text: text("label app.kubernetes.io/name=%s names something else", name)}, true
	}
	switch o.Resource.Kind {
	case "RoleBinding":
		return Evidence{Rule: "subjects", Text: "its subjects are not all Cast AI's ServiceAccounts"}, true
	case "Role":
		for _, b := range w.boundBy[o.Ref()] {
			if !w.owned(b.Object) {
				return Evidence{Rule: "bound", Text: text("%s %s grants it to others", b.Resource.Kind, b.Name), From: ref(b.Object)}, true
			}
		}
	}
	return Evidence{}, false
}

// knownApps collects the app labels of what is owned in a namespace by itself.
func (w *world) knownApps(ns string) map[string]bool {
	out := map[string]bool{}
	for _, o := range w.byNS[ns] {
		name := o.Labels["app.kubernetes.io/name"]
		if name == "" || out[name] || !w.owned(o) {
			continue
		}
		out[name] = slices.ContainsFunc(w.item(o).For, func(e Evidence) bool {
			return e.Rule == "release" || e.Rule == "workload" || e.Rule == "marked"
		})
	}
	return out
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
		if len(h.Keep) == 0 && !w.excluded[h.Namespace] && !builtinNamespace(name) {
			empty := Evidence{Rule: "home", Text: e.Text + ", and everything in it is Cast AI's"}
			if against, foreign := w.foreignMarks(h.Namespace); foreign && e.Rule != "include" {
				// Somebody's own release made it, for Cast AI to be put into.
				w.hint(h.Namespace, empty)
				w.deny(h.Namespace, against)
				w.item(h.Namespace).Verdict = Unclear
			} else {
				w.own(h.Namespace, nil, empty)
			}
		}
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b HomeNamespace) int { return strings.Compare(a.Name, b.Name) })
	return out
}
