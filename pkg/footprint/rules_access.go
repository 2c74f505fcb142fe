package footprint

import (
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

const rbac = "rbac.authorization.k8s.io"

// accountOwned tells whether a subject is a ServiceAccount of Cast AI's. One
// that is gone counts where its namespace is Cast AI's by name.
func (w *world) accountOwned(ns, name string) (*cluster.Ref, bool) {
	r := cluster.Ref{Kind: "ServiceAccount", Namespace: ns, Name: name}
	_, home := w.home(ns)
	o := w.byRef[r]
	switch {
	case o == nil:
		return nil, home
	case w.owned(o):
		return &r, true
	}
	return nil, home && isNoise(o)
}

// subjectOwned judges one subject of a binding, or one user of a SecurityContextConstraints.
func (w *world) subjectOwned(kind, ns, name string) (*cluster.Ref, bool) {
	switch kind {
	case "ServiceAccount":
		return w.accountOwned(ns, name)
	case "User":
		if rest, ok := strings.CutPrefix(name, "system:serviceaccount:"); ok {
			ns, name, _ := strings.Cut(rest, ":")
			return w.accountOwned(ns, name)
		}
	case "Group":
		if ns, ok := strings.CutPrefix(name, "system:serviceaccounts:"); ok {
			_, home := w.home(ns)
			return nil, home
		}
	}
	return nil, false
}

// ruleSubjects: a binding all of whose subjects are Cast AI's.
func (w *world) ruleSubjects() {
	for _, o := range w.bindings() {
		if w.owned(o) {
			continue
		}
		var from *cluster.Ref
		subjects := nested(o, "subjects")
		mine := 0
		for _, s := range subjects {
			ns := str(s, "namespace")
			if ns == "" {
				ns = o.Namespace
			}
			if r, ok := w.subjectOwned(str(s, "kind"), ns, str(s, "name")); ok {
				mine++
				if r != nil {
					from = r
				}
			}
		}
		switch {
		case mine == 0:
		case mine < len(subjects):
			w.hint(o, Evidence{Rule: "subjects", Text: "some of its subjects are Cast AI's", From: from})
			w.deny(o, Evidence{Rule: "subjects", Text: "it has other subjects, too"})
		default:
			w.claim(o, nil, Evidence{Rule: "subjects", Text: "all its subjects are Cast AI's ServiceAccounts", From: from})
		}
	}
}

func (w *world) bindings() []*cluster.Object {
	return append(slices.Clone(w.byKind["ClusterRoleBinding."+rbac]), w.byKind["RoleBinding."+rbac]...)
}

// boundRole returns the role that a binding grants.
func boundRole(o *cluster.Object) cluster.Ref {
	r := cluster.Ref{Group: rbac, Kind: str(o.Body, "roleRef", "kind"), Name: str(o.Body, "roleRef", "name")}
	if r.Kind == "Role" {
		r.Namespace = o.Namespace
	}
	return r
}

// isBuiltinRole tells whether Kubernetes itself made the role.
func isBuiltinRole(o *cluster.Object) bool {
	return o.Labels["kubernetes.io/bootstrapping"] != "" || strings.HasPrefix(o.Name, "system:") ||
		slices.Contains([]string{"admin", "edit", "view", "cluster-admin"}, o.Name)
}

// ruleRoles: a role to which only owned bindings lead. Built-in roles never are.
func (w *world) ruleRoles() {
	leading := map[cluster.Ref][]*cluster.Object{}
	for _, b := range w.bindings() {
		r := boundRole(b)
		leading[r] = append(leading[r], b)
	}
	for _, role := range sortedRefs(leading) {
		o, bindings := w.byRef[role], leading[role]
		if o == nil || w.owned(o) || isBuiltinRole(o) {
			continue
		}
		owned := 0
		for _, b := range bindings {
			if w.owned(b) {
				owned++
			}
		}
		switch {
		case owned == 0:
		case owned < len(bindings):
			w.hint(o, Evidence{Rule: "bound", Text: "a binding of Cast AI's grants it"})
			w.deny(o, Evidence{Rule: "bound", Text: "bindings of others grant it, too"})
		default:
			w.claim(o, nil, Evidence{Rule: "bound", Text: "only bindings of Cast AI's grant it", From: ref(bindings[0])})
		}
	}
}

// ruleConstraints: SecurityContextConstraints of which only Cast AI's
// ServiceAccounts are users (OpenShift). Without users, the roles that grant
// their use by name decide.
func (w *world) ruleConstraints() {
	for _, o := range w.byKind["SecurityContextConstraints.security.openshift.io"] {
		if w.owned(o) {
			continue
		}
		users, _ := o.Body["users"].([]any)
		groups, _ := o.Body["groups"].([]any)
		mine := 0
		for _, u := range users {
			name, _ := u.(string)
			if _, ok := w.subjectOwned("User", "", name); ok {
				mine++
			}
		}
		component, marks := w.marks(o)
		switch {
		case len(users) > 0 && mine == len(users) && len(groups) == 0:
			w.claim(o, component, Evidence{Rule: "users", Text: "all its users are Cast AI's ServiceAccounts"})
		case len(users) == 0 && len(groups) == 0 && len(marks) > 0 && w.ownedRef(cluster.Ref{Group: rbac, Kind: "ClusterRole", Name: o.Name + "-user"}):
			w.claim(o, component, Evidence{Rule: "users", Text: text("it has %s, and only the role %s-user of Cast AI's grants its use", marks[0], o.Name)})
		}
	}
}

// ruleDangling: Helm's marks name a release that is gone, in a namespace that
// is Cast AI's or gone, of a chart that is Cast AI's. That is what an earlier,
// unfinished removal leaves.
func (w *world) ruleDangling() {
	for _, o := range w.snap.Objects {
		name, ns := o.Annotations["meta.helm.sh/release-name"], o.Annotations["meta.helm.sh/release-namespace"]
		if name == "" || w.owned(o) || o.Resource.Kind == "Namespace" {
			continue
		}
		component, chart := w.cat.labelledChart(o)
		if component == nil || w.hasRecord(ns, name) {
			continue
		}
		m := chartLabel.FindStringSubmatch(chart)
		if !unmistakable(m[1]) && w.named(ns) == nil {
			continue
		}
		w.claim(o, component, Evidence{Rule: "dangling", Text: text("Helm marked it as part of %s/%s (%s), a release that is gone", ns, name, chart)})
	}
}

// hasRecord tells whether any record of a Helm release is in the cluster.
func (w *world) hasRecord(ns, name string) bool {
	return slices.ContainsFunc(w.byNS[ns], func(o *cluster.Object) bool { return isReleaseRecord(o) && o.Labels["name"] == name })
}

// ruleLabels: it carries the same chart and instance labels as a workload of
// Cast AI's that was installed without a Helm release (helm template | kubectl
// apply). Roles and bindings are judged by who uses them instead.
func (w *world) ruleLabels() {
	type install struct{ chart, instance string }
	workloads := map[install]*cluster.Object{}
	for _, o := range w.snap.Objects {
		if _, ok := podSpec(o); !ok || !w.owned(o) || o.Labels["helm.sh/chart"] == "" {
			continue
		}
		i := install{o.Labels["helm.sh/chart"], o.Labels["app.kubernetes.io/instance"]}
		if !w.hasRecord(o.Namespace, i.instance) && i.instance != "" {
			workloads[i] = o
		}
	}
	for _, o := range w.snap.Objects {
		if w.owned(o) || o.Resource.Group == rbac || o.Resource.Kind == "Namespace" {
			continue
		}
		from := workloads[install{o.Labels["helm.sh/chart"], o.Labels["app.kubernetes.io/instance"]}]
		if from == nil || o.Namespace != "" && o.Namespace != from.Namespace && !w.sameMaker(o, from) {
			continue
		}
		component, chart := w.cat.labelledChart(o)
		w.claim(o, component, Evidence{Rule: "labels", Text: text("it has the same chart (%s) and instance as %s %s", chart, from.Resource.Kind, from.Name), From: ref(from)})
	}
}

// sameMaker tells whether the same field managers wrote two objects.
func (w *world) sameMaker(a, b *cluster.Object) bool {
	return slices.ContainsFunc(a.Managers, func(m string) bool { return slices.Contains(b.Managers, m) })
}
