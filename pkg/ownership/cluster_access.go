package ownership

import (
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// judgeBindings: a ClusterRoleBinding is Cast AI's if it has the marks of one of
// Cast AI's releases and its subjects agree, or if all its subjects are known
// ServiceAccounts of Cast AI's.
func (v *clusterView) judgeBindings() {
	for _, b := range v.bindings {
		if v.owned(b.Object) {
			continue
		}
		if ns, e, ok := v.installedBinding(b); ok {
			component := v.componentOf(b.Object)
			if component == nil {
				component = v.signed(b)
			}
			v.own(b.Object, component, e)
			v.item(b.Object).leads = ns
			v.install(ns, releaseName(b.Object))
			v.addHome(ns, component, b.Object)
			for _, a := range b.accounts {
				// An account that was there before, default or one of many programs,
				// tells nothing about its other bindings.
				if v.exactAccount(a.Name) || v.named(a.Name, releaseName(b.Object)) != nil || v.hallmarked(b) ||
					a.Name != defaultAccount && component != nil && v.kin(b, component) && v.renamed(b) {
					v.accounts[a] = true
				}
			}
			continue
		}
		v.judgeSubjects(b)
	}
}

func (v *clusterView) judgeSubjects(b *binding) {
	known := 0
	for _, a := range b.accounts {
		if v.knownAccount(a) || v.forGateway(b, a) {
			known++
		}
	}
	switch all := len(b.accounts) + b.others; {
	case known == 0:
	case known < all:
		v.hint(b.Object, Evidence{Rule: "subjects", Text: "some of its subjects are Cast AI's"})
		v.deny(b.Object, Evidence{Rule: "subjects", Text: "it has other subjects, too"})
	default:
		v.claim(b.Object, v.app(b.accounts[0].Name), Evidence{
			Rule: "subjects", Text: text("all its subjects are Cast AI's ServiceAccounts, %s/%s", b.accounts[0].Namespace,
				b.accounts[0].Name),
		})
	}
}

// installedBinding tells whether a binding came with an installation of Cast
// AI's: it has the label of one of Cast AI's charts, and Helm's marks or the
// names of the installation agree; or, of a chart without that label, its name
// and its subjects' are exactly a component's, and the label of that name or
// Helm's marks agree. All its subjects are in one namespace.
func (v *clusterView) installedBinding(b *binding) (string, Evidence, bool) {
	ns, one := b.namespaceOf()
	key, marked := releaseOf(b.Object)
	if !one || marked && key.namespace != ns && !v.isHome(key.namespace) {
		return "", Evidence{}, false
	}
	c := v.chart(b.Object)
	named := c.component != nil && !slices.ContainsFunc(b.accounts, func(a cluster.Ref) bool {
		return !v.exactAccount(a.Name) && v.named(a.Name, releaseName(b.Object)) == nil
	})
	switch {
	case c.component != nil && marked && (v.corroborated(c, ns) || v.ownAccounts(b)):
		return ns, Evidence{Rule: "installed",
			Text: text("Helm marked it as part of %s, with chart %s, and its subjects are there", key, c.value)}, true
	case c.component != nil && named && (v.corroborated(c, ns) || v.ownAccounts(b) || v.wholeSet(c, ns)):
		return ns, Evidence{Rule: "installed",
			Text: text("it has the label helm.sh/chart=%s, and its subjects have that chart's names", c.value)}, true
	case c.component == v.liqoComponent() && v.liqo == liqoCastAI && v.liqoAt[ns] != nil:
		return ns, Evidence{Rule: "installed",
			Text: text("it has the label helm.sh/chart=%s, and its subjects are where Cast AI's Liqo lives", c.value)}, true
	case c.value == "" && v.exactly(b.Object) != nil && v.ownAccounts(b) && (marked || v.agrees(b.Object)):
		return ns, Evidence{Rule: "installed",
			Text: text("it and its subjects have exactly the name of %s, and its marks agree", v.exactly(b.Object).Name)}, true
	case c.value == "" && v.exactly(b.Object) != nil && v.ownAccounts(b) && b.role.Kind == "ClusterRole" &&
		b.role.Name == b.Name && !v.isHome(ns):
		return ns, Evidence{Rule: "installed", Text: text("it, its role and its subjects have exactly the name of %s",
			v.exactly(b.Object).Name)}, true
	case c.value == "" && v.signed(b) != nil:
		return ns, Evidence{Rule: "installed", Text: text("it, its role and its subjects have exactly the names of %s",
			v.signed(b).Name)}, true
	case c.value == "" && v.byWord(ns) && v.literal(b):
		return ns, Evidence{Rule: "installed",
			Text: text("it and its subjects have exactly the names that %s gives them, where Cast AI lives",
				v.cat.runtimeObject(b.Ref()).Name)}, true
	case c.value == "" && v.hallmarked(b):
		return ns, Evidence{Rule: "installed", Text: text(
			"it and its role have the label helm.sh/chart=%s, and they and its subjects, in namespace %s, are called after it",
			v.label(b.Object).value, ns)}, true
	case v.renamed(b):
		return ns, Evidence{Rule: "installed",
			Text: text("it and its role have the label helm.sh/chart=%s, and their names agree", c.value)}, true
	case c.value == "" && v.cat.runtimeObject(b.Ref()) != nil &&
		v.cat.runtimeObject(b.role) == v.cat.runtimeObject(b.Ref()) && v.ownAccounts(b):
		return ns, Evidence{Rule: "installed",
			Text: text("it, its role and its subjects have exactly the names that %s gives them",
				v.cat.runtimeObject(b.Ref()).Name)}, true
	}
	return "", Evidence{}, false
}

// agrees tells whether the label app.kubernetes.io/name of an object names the
// component of which it has exactly the name.
func (v *clusterView) agrees(o *cluster.Object) bool {
	c := v.app(o.Labels["app.kubernetes.io/name"])
	return c != nil && c == v.exactly(o)
}

// signed returns the component after whose programs a binding, its role and all
// its subjects are called, by names that nobody else gives.
func (v *clusterView) signed(b *binding) *Component {
	release := releaseName(b.Object)
	own := func(r cluster.Ref) *Component {
		if c := v.unmistakably(r.Name, release); c != nil || !ownName(r.Name) {
			return c
		}
		return v.cat.runtimeObject(r)
	}
	c := own(b.Ref())
	if c == nil || b.others > 0 || own(b.role) != c || slices.ContainsFunc(b.accounts, func(a cluster.Ref) bool {
		return v.unmistakably(a.Name, release) != c
	}) {
		return nil
	}
	return c
}

// wholeSet tells whether a chart with a name that others may use is Cast AI's
// all the same: at least three bindings have its label and, like their roles,
// exactly the names of its programs, and two or more lead to this namespace.
func (v *clusterView) wholeSet(c charted, ns string) bool {
	set, lead := 0, 0
	for _, b := range v.bindings {
		if v.chart(b.Object).value != c.value {
			continue
		}
		release := releaseName(b.Object)
		if b.Name != b.role.Name || v.named(b.Name, release) != c.component {
			return false
		}
		set++
		if home, one := b.namespaceOf(); one && home == ns && len(b.accounts) == 1 &&
			v.named(b.accounts[0].Name, release) == c.component {
			lead++
		}
	}
	return set >= 3 && lead >= 2
}

// findAliases: a chart of Cast AI's that somebody's own chart gives another name
// puts this name into its label, and so does a chart that Cast AI took from
// somebody else. It is an alias if every binding with it is for programs of Cast
// AI's, and one by its own name and that of its role, too. A role that alone has
// such a label, beside a binding with another one, has changed hands.
func (v *clusterView) findAliases() {
	signed, others := map[alias]bool{}, map[alias]bool{}
	for _, b := range v.bindings {
		label := v.label(b.Object)
		if label.component != nil || label.value == "" {
			continue
		}
		key := alias{label.chart, releaseName(b.Object)}
		hallmarked := v.hallmarked(b)
		signed[key] = signed[key] || hallmarked || v.signed(b) != nil
		others[key] = others[key] || b.others > 0 || !hallmarked && slices.ContainsFunc(b.accounts,
			func(a cluster.Ref) bool { return v.unmistakably(a.Name, releaseName(b.Object)) == nil })
	}
	for key, is := range signed {
		v.aliases[key] = is && !others[key]
	}
}

// ownAccounts tells whether all subjects have names that nobody else gives.
func (v *clusterView) ownAccounts(b *binding) bool {
	return !slices.ContainsFunc(b.accounts, func(a cluster.Ref) bool {
		return v.unmistakably(a.Name, releaseName(b.Object)) == nil && v.cat.accounts[a.Name] == nil
	})
}

// literal tells whether a component always gives a binding this name, and binds
// accounts of its own with it.
func (v *clusterView) literal(b *binding) bool {
	c := v.cat.runtimeObject(b.Ref())
	return c != nil && b.others == 0 &&
		!slices.ContainsFunc(b.accounts, func(a cluster.Ref) bool { return v.cat.accounts[a.Name] != c })
}

// componentOf returns the component that an object's marks name.
func (v *clusterView) componentOf(o *cluster.Object) *Component {
	if c, _ := v.marked(o); c != nil {
		return c
	}
	return v.cat.runtimeObject(o.Ref())
}

// judgeRoles: a ClusterRole to which only ClusterRoleBindings of Cast AI's lead,
// and that says by its labels or its name that it was made for them; without
// any binding, one with the label of a chart, Helm's marks, and the exact name
// that this chart gives it. RoleBindings don't count: anybody can make one.
func (v *clusterView) judgeRoles() {
	for _, o := range v.byKind["ClusterRole."+rbac] {
		if v.owned(o) || isBuiltinRole(o) {
			continue
		}
		bindings := v.boundBy[o.Ref()]
		owned := 0
		for _, b := range bindings {
			if v.owned(b.Object) {
				owned++
			}
		}
		switch component, _ := v.marked(o); {
		case v.installedRole(o, owned > 0):
			c := v.chart(o)
			v.own(o, c.component, Evidence{Rule: "installed",
				Text: text("it has the label helm.sh/chart=%s, and its name or a binding of the same installation agrees",
					c.value)})
		case len(bindings) == 0 && v.exactly(o) != nil && v.agrees(o):
			v.claim(o, v.exactly(o), Evidence{Rule: "installed",
				Text: text("it has exactly the name of %s, and its label app.kubernetes.io/name agrees", v.exactly(o).Name)})
		case len(bindings) == 0:
		case owned == 0:
		case owned < len(bindings):
			v.hint(o, Evidence{Rule: "bound", Text: "a binding of Cast AI's grants it"})
			v.deny(o, Evidence{Rule: "bound", Text: "bindings of others grant it, too"})
		case component == nil && v.cat.runtimeObject(o.Ref()) == nil && !forAccount(o, bindings) &&
			!sameStem(o, v.ownBindings(bindings)):
			against, foreign := v.foreignMarks(o)
			if !foreign {
				against = Evidence{Rule: "bound", Text: "nothing in it says that it was made for them"}
			}
			v.hint(o, Evidence{Rule: "bound", Text: "only bindings of Cast AI's grant it", From: ref(bindings[0].Object)})
			v.deny(o, against)
		default:
			v.claim(o, component, Evidence{Rule: "bound", Text: "only bindings of Cast AI's grant it",
				From: ref(bindings[0].Object)})
		}
	}
}

// ownBindings are those of the bindings that Cast AI itself made: what an
// administrator bound to an account of Cast AI's may grant a role of his.
func (v *clusterView) ownBindings(bindings []*binding) []*binding {
	return slices.DeleteFunc(slices.Clone(bindings), func(b *binding) bool {
		return !has(v.item(b.Object).For, "installed") && v.componentOf(b.Object) == nil
	})
}

// installedRole tells whether a role came with an installation of Cast AI's, so
// that others who bind it, too, do not make it theirs: it has the label of a
// chart, Helm's mark of a release in a home, and the name that this chart gives
// it or a binding of Cast AI's. Without Helm's mark, nobody else may bind it.
func (v *clusterView) installedRole(o *cluster.Object, bound bool) bool {
	c := v.chart(o)
	key, marked := releaseOf(o)
	named := v.named(o.Name, releaseName(o)) != nil || v.cat.runtimeObject(o.Ref()) != nil
	switch {
	case c.component == nil:
		return false
	case marked:
		return v.isHome(key.namespace) && v.corroborated(c, key.namespace) && (named || bound)
	}
	return named && o.Labels["app.kubernetes.io/instance"] != "" && len(v.boundBy[o.Ref()]) == 0
}

// judgeConstraints: SecurityContextConstraints of which only Cast AI's
// ServiceAccounts are users (OpenShift). Without users, the role that grants
// their use by name decides.
func (v *clusterView) judgeConstraints() {
	for _, o := range v.byKind["SecurityContextConstraints.security.openshift.io"] {
		if v.owned(o) {
			continue
		}
		users, _ := o.Body["users"].([]any)
		groups, _ := o.Body["groups"].([]any)
		known := 0
		for _, u := range users {
			name, _ := u.(string)
			if a, ok := account("User", "", name, ""); ok && v.knownAccount(a) {
				known++
			}
		}
		component, mark := v.marked(o)
		user := v.byRef[cluster.Ref{Group: rbac, Kind: "ClusterRole", Name: o.Name + "-user"}]
		switch {
		case len(groups) > 0:
		case len(users) > 0 && known == len(users):
			v.claim(o, component, Evidence{Rule: "users", Text: "all its users are Cast AI's ServiceAccounts"})
		case len(users) == 0 && component != nil && user != nil && v.owned(user):
			v.claim(o, component,
				Evidence{Rule: "users", Text: text("it has %s, and only the role %s of Cast AI's grants its use", mark, user.Name)})
		}
	}
}

// judgeInstalled: anything else that is cluster-scoped, has the label of one of
// Cast AI's charts, and Helm's mark of a release in a home. Kinds that their use
// decides about have rules of their own.
func (v *clusterView) judgeInstalled() {
	for _, o := range v.objects {
		c := v.chart(o)
		key, marked := releaseOf(o)
		if c.component == nil || !marked || v.owned(o) || judgedByUse(o) || !v.isHome(key.namespace) ||
			!v.corroborated(c, key.namespace) {
			continue
		}
		v.claim(o, c.component, Evidence{Rule: "installed", Text: text("Helm marked it as part of %s, with chart %s", key,
			c.value)})
	}
}

// judgedByUse tells whether it is the use of an object that says whose it is,
// rather than its labels.
func judgedByUse(o *cluster.Object) bool {
	switch o.Resource.Group {
	case "admissionregistration.k8s.io":
		return strings.HasSuffix(o.Resource.Kind, "WebhookConfiguration")
	case "apiregistration.k8s.io", "apiextensions.k8s.io", rbac, "security.openshift.io":
		return true
	}
	return slices.Contains([]string{"Namespace", "Node", "PersistentVolume"}, o.Resource.Kind)
}

// judgeKnown: a name for something cluster-wide that one component always uses,
// literally, while something else of this component is in the cluster.
func (v *clusterView) judgeKnown() {
	for name, c := range v.cat.objects {
		r, err := cluster.ParseRef(name)
		if err != nil || v.byRef[r] == nil || len(v.boundBy[r]) > 0 {
			continue
		}
		o := v.byRef[r]
		from := v.present(c.Name)
		switch {
		case v.owned(o), from == nil:
		case !ownName(o.Name):
			v.hint(o, Evidence{Rule: "known", Text: text("%s always makes one of this name", c.Name), From: ref(from)})
			v.deny(o, Evidence{Rule: "known", Text: "no binding of Cast AI's grants it, and others may use the name"})
		default:
			v.claim(o, c, Evidence{Rule: "known", Text: text("%s always makes one of this name", c.Name), From: ref(from)})
		}
	}
}

// judgeOwners: all its owners are owned, so Kubernetes collects it with them.
func (v *clusterView) judgeOwners() {
	for _, up := range v.ownedObjects() {
		for _, o := range v.below[up.UID] {
			v.judgeOwned(o)
		}
	}
}

// markRoots marks one binding of each installation, by the namespace, release
// and component that it leads to: without it, what only this installation
// explains would be unclear.
func (v *clusterView) markRoots() {
	type installation struct {
		namespace, release string
		component          string
	}
	seen := map[installation]bool{}
	for _, b := range v.bindings {
		if !v.owned(b.Object) || v.item(b.Object).leads == "" {
			continue
		}
		i := v.item(b.Object)
		in := installation{i.leads, releaseName(b.Object), ""}
		if !v.cat.unmistakable(v.chart(b.Object).chart) {
			in.component = i.Component
		}
		i.Root = !seen[in]
		seen[in] = true
	}
}
