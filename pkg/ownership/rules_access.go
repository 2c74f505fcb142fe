package ownership

import (
	"maps"
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

const rbac = "rbac.authorization.k8s.io"

// binding is a RoleBinding or ClusterRoleBinding.
type binding struct {
	*cluster.Object
	role     cluster.Ref
	subjects []subject
}

// grant is a role with the bindings that grant it.
type grant struct {
	role     *cluster.Object
	bindings []*binding
}

// subject is one that a binding names, or a user of a SecurityContextConstraints.
type subject struct {
	namespace, name string // as written
	// account is the ServiceAccount that it means, if it means one, and object is
	// nil if that is gone.
	account cluster.Ref
	object  *cluster.Object
}

// noteAccess reads the bindings, and finds the roles that they grant.
func (w *world) noteAccess() {
	for _, o := range slices.Concat(w.byKind["ClusterRoleBinding."+rbac], w.byKind["RoleBinding."+rbac]) {
		b := &binding{Object: o, role: boundRole(o)}
		for _, s := range nested(o, "subjects") {
			b.subjects = append(b.subjects, w.subject(str(s, "kind"), str(s, "namespace"), str(s, "name"), o.Namespace))
		}
		w.bindings = append(w.bindings, b)
		w.boundBy[b.role] = append(w.boundBy[b.role], b)
	}
	for _, r := range sortedRefs(w.boundBy) {
		if o := w.byRef[r]; o != nil && !isBuiltinRole(o) {
			w.grants = append(w.grants, grant{o, w.boundBy[r]})
		}
	}
}

// subject reads one; home is the namespace that is meant where none is written.
func (w *world) subject(kind, namespace, name, home string) subject {
	s := subject{namespace: namespace, name: name}
	if namespace == "" {
		namespace = home
	}
	if kind == "User" {
		rest, ok := strings.CutPrefix(name, "system:serviceaccount:")
		if !ok {
			return s
		}
		kind = "ServiceAccount"
		namespace, name, _ = strings.Cut(rest, ":")
	}
	if kind == "ServiceAccount" {
		s.account = cluster.Ref{Kind: kind, Namespace: namespace, Name: name}
		s.object = w.byRef[s.account]
	}
	return s
}

// subjectOwned tells whether a subject is a ServiceAccount of Cast AI's. One
// that is gone counts where its namespace is Cast AI's by name; where only
// Helm's marks told that, it must have a component's name. The default one is
// nobody's, so that it counts where nobody else lives. A group is never Cast
// AI's, not even that of all ServiceAccounts of a namespace: whoever wrote it
// meant whoever comes.
func (w *world) subjectOwned(s subject) (*cluster.Ref, bool) {
	if s.account.Kind == "" {
		return nil, false
	}
	ns, name := s.account.Namespace, s.account.Name
	_, home := w.home(ns)
	switch {
	case s.object == nil && w.inferred[ns]:
		return nil, w.cat.namedAfter(name) != nil
	case s.object == nil:
		return nil, home && (w.namedHome(ns) != nil || w.cat.namedAfter(name) != nil)
	case w.owned(s.object):
		return ref(s.object), true
	case home && isNoise(s.object):
		owned, foreign := w.residents(ns)
		return nil, owned > 0 && foreign == 0
	}
	return nil, false
}

// ruleSubjects: a binding all of whose subjects are Cast AI's.
func (w *world) ruleSubjects() {
	for _, o := range w.bindings {
		if w.owned(o.Object) {
			continue
		}
		var from *cluster.Ref
		mine := 0
		for _, s := range o.subjects {
			if r, ok := w.subjectOwned(s); ok {
				mine++
				if r != nil {
					from = r
				}
			}
		}
		switch {
		case mine == 0:
		case mine < len(o.subjects):
			w.hint(o.Object, Evidence{Rule: "subjects", Text: "some of its subjects are Cast AI's", From: from})
			w.deny(o.Object, Evidence{Rule: "subjects", Text: "it has other subjects, too"})
		default:
			w.claim(o.Object, nil, Evidence{Rule: "subjects", Text: "all its subjects are Cast AI's ServiceAccounts", From: from})
		}
	}
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

// ruleRoles: a role to which only owned bindings lead, and that says by its
// labels or its name that it was made for them. Built-in roles never are.
func (w *world) ruleRoles() {
	for _, g := range w.grants {
		o, bindings := g.role, g.bindings
		if w.owned(o) {
			continue
		}
		owned := 0
		for _, b := range bindings {
			if w.owned(b.Object) {
				owned++
			}
		}
		switch {
		case owned == 0:
		case owned < len(bindings):
			w.hint(o, Evidence{Rule: "bound", Text: "a binding of Cast AI's grants it"})
			w.deny(o, Evidence{Rule: "bound", Text: "bindings of others grant it, too"})
		case !w.madeFor(o, bindings):
			w.hint(o, Evidence{Rule: "bound", Text: "only bindings of Cast AI's grant it", From: ref(bindings[0].Object)})
			w.deny(o, Evidence{Rule: "bound", Text: "nothing in it says that it was made for them"})
		default:
			w.claim(o, nil, Evidence{Rule: "bound", Text: "only bindings of Cast AI's grant it", From: ref(bindings[0].Object)})
		}
	}
}

// madeFor tells whether a role has a mark of Cast AI's, or goes by the name of
// a binding of it, or of a subject of that: hibernate and hibernate,
// list-pods-clusterrole and list-pods-clusterrolebinding,
// omni-cluster-controller-role and omni-cluster-controller.
func (w *world) madeFor(role *cluster.Object, bindings []*binding) bool {
	if _, marks := w.marks(role); len(marks) > 0 || w.cat.runtimeObject(role.Ref()) != nil {
		return true
	}
	stem := roleStem(role.Name)
	return slices.ContainsFunc(bindings, func(b *binding) bool {
		return stem == roleStem(b.Name) || slices.ContainsFunc(b.subjects, func(s subject) bool {
			return s.name != "default" && (stem == roleStem(s.name) || strings.HasPrefix(role.Name, s.name+"-"))
		})
	})
}

// roleStem drops the words from the end of a name that only tell a role from
// its binding.
func roleStem(name string) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '-' || r == ':' || r == '.' })
	for len(words) > 1 && slices.Contains([]string{"role", "clusterrole", "binding", "rolebinding", "clusterrolebinding", "user", "rb", "crb"}, words[len(words)-1]) {
		words = words[:len(words)-1]
	}
	return strings.Join(words, "-")
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
			if _, ok := w.subjectOwned(w.subject("User", "", name, "")); ok {
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

// ruleLabels: it carries the same chart and instance labels as a workload of
// Cast AI's that was installed without a Helm release (helm template | kubectl
// apply). Bindings, and roles that have any, are judged by who uses them
// instead, and so are webhooks and API services.
func (w *world) ruleLabels() {
	type install struct{ chart, instance string }
	installs := map[install][]*cluster.Object{}
	for _, o := range w.workloads {
		if !w.owned(o.Object) {
			continue
		}
		i := install{o.Labels["helm.sh/chart"], o.Labels["app.kubernetes.io/instance"]}
		if i.chart == "" || i.instance == "" || w.records[releaseKey{o.Namespace, i.instance}] != nil {
			continue
		}
		installs[i] = append(installs[i], o.Object)
	}
	if len(installs) == 0 {
		return
	}
	for _, o := range w.charted {
		if w.owned(o) || w.judgedByUse(o) {
			continue
		}
		for _, from := range installs[install{o.Labels["helm.sh/chart"], o.Labels["app.kubernetes.io/instance"]}] {
			if o.Namespace == "" || o.Namespace == from.Namespace {
				w.claim(o, w.labelled(o).component, Evidence{Rule: "labels", Text: text("it has the same chart (%s) and instance as %s %s", o.Labels["helm.sh/chart"], from.Resource.Kind, from.Name), From: ref(from)})
				break
			}
		}
	}
}

// judgedByUse tells whether it is the use of an object that says whose it is,
// rather than its labels.
func (w *world) judgedByUse(o *cluster.Object) bool {
	switch o.Resource.Group {
	case "admissionregistration.k8s.io", "apiregistration.k8s.io", "apiextensions.k8s.io":
		return true
	case rbac:
		return strings.HasSuffix(o.Resource.Kind, "Binding") || len(w.boundBy[o.Ref()]) > 0
	}
	return slices.Contains([]string{"Namespace", "Node", "PersistentVolume"}, o.Resource.Kind)
}

// ruleKnown: a name for something cluster-wide that one component always uses,
// literally, while this component is in the cluster; and all that comes from the
// chart of Liqo, where Liqo is Cast AI's.
func (w *world) ruleKnown() {
	present := map[string]*cluster.Object{}
	for _, o := range w.workloads {
		if i := w.items[o.Object]; i != nil && i.Verdict == Owned && present[i.Component] == nil {
			present[i.Component] = o.Object
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.cat.objects)) {
		r, err := cluster.ParseRef(name)
		if err != nil || w.served[r.GroupKind()] {
			continue
		}
		o, c := w.byRef[r], w.cat.objects[name]
		from := present[c.Name]
		if o == nil || from == nil || w.owned(o) || len(w.boundBy[r]) > 0 {
			continue
		}
		w.claim(o, c, Evidence{Rule: "known", Text: text("%s always makes one of this name", c.Name), From: ref(from)})
	}
	if w.liqo != liqoCastAI {
		return
	}
	for _, o := range w.charted {
		if m := w.labelled(o); m.chart == "liqo" && !w.owned(o) && !isCRD(o) && (o.Namespace == "" || w.namedHome(o.Namespace) != nil) {
			w.claim(o, m.component, Evidence{Rule: "liqo", Text: text("it comes from the chart (%s) of the Liqo in this cluster, which is Cast AI's", o.Labels["helm.sh/chart"])})
		}
	}
}
