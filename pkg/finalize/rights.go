package finalize

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// mayPatch returns which role lets a workload write the kind of the objects, if it
// names their group, or the group of the finalizer. A rule for all groups points to
// nobody.
func (s *owners) mayPatch(w *workload, finalizer string, objects []*cluster.Object) string {
	if s.obs.Owners == nil || w.account == "" {
		return ""
	}
	domain, _, _ := strings.Cut(finalizer, "/")
	for b, role := range s.bound(objects) {
		if !binds(b, w.account) || slices.Contains(forPeople, role.Name) {
			continue
		}
		if group := writable(role, objects[0].Resource, domain); group != "" {
			return fmt.Sprintf("%s %s lets it write %s", role.Resource.Kind, role.Name, group)
		}
	}
	return ""
}

// outsider says who outside of the cluster may be the controller: the objects have a writer that is
// not in the cluster, and a role that names their kind, or the group of the finalizer, is held by a
// user or a group of somebody's, or any role that suffices by a user who is called like the writer. by
// are the writers that may be controllers, none of which is in the cluster. Empty: nobody.
func (s *owners) outsider(finalizer string, by []string, objects []*cluster.Object) string {
	if s.obs.Owners == nil || len(by) == 0 {
		return ""
	}
	domain, _, _ := strings.Cut(finalizer, "/")
	for b, role := range s.bound(objects) {
		for _, subject := range subjectsOf(b) {
			if subject.kind != "User" && subject.kind != "Group" || strings.HasPrefix(subject.name, builtIn) {
				continue
			}
			points := pointsTo(role, objects[0].Resource, domain)
			if points == "" && alike(subject.name, by) && lets(role, objects[0].Resource) {
				points = objects[0].Resource.GroupResource().String()
			}
			if points != "" {
				return fmt.Sprintf("%s %s lets %s %s write %s, and nothing that runs in this cluster is %s, a writer of the "+
					"objects",
					role.Resource.Kind, role.Name, subject.kind, subject.name, points, by[0])
			}
		}
	}
	return ""
}

// builtIn begins the names of Kubernetes' own users and groups
// (https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-subjects).
const builtIn = "system:"

// alike tells whether a user is called like one of the writers, as in oidc:WRITER@example.com.
func alike(user string, by []string) bool {
	name, _, _ := strings.Cut(user[strings.LastIndexAny(user, ":/")+1:], "@")
	return slices.Contains(by, name) && !slices.Contains(generic, name)
}

// nobody says that nothing in the cluster can be the controller: if a role lets somebody write the
// objects, it says so.
func (s *owners) nobody(finalizer string, objects []*cluster.Object) string {
	domain, _, _ := strings.Cut(finalizer, "/")
	said := "no workload, Lease or role of the cluster points to one"
	for b, role := range s.bound(objects) {
		points := pointsTo(role, objects[0].Resource, domain)
		if points == "" || strings.HasPrefix(role.Name, builtIn) {
			continue // kube-controller-manager's accounts have no workload, and remove no such finalizer
		}
		for _, subject := range subjectsOf(b) {
			if subject.kind == "ServiceAccount" {
				return fmt.Sprintf("no workload runs as ServiceAccount %s/%s, which %s %s lets write %s", subject.namespace,
					subject.name, role.Resource.Kind, role.Name, points)
			}
			said = "no workload or Lease of the cluster points to one"
		}
	}
	return said
}

// bound goes through the bindings that count for the objects, each with its role.
func (s *owners) bound(objects []*cluster.Object) iter.Seq2[*cluster.Object, *cluster.Object] {
	return func(yield func(binding, role *cluster.Object) bool) {
		for _, b := range s.obs.Owners.Objects {
			here := func(o *cluster.Object) bool { return o.Namespace == b.Namespace }
			if !strings.HasSuffix(b.Resource.Kind, "RoleBinding") || b.Namespace != "" && !slices.ContainsFunc(objects, here) {
				continue
			}
			if role := s.role(b); role != nil && !yield(b, role) {
				return
			}
		}
	}
}

// pointsTo is writable for those who are no workload: they may be meant by a role that names a kind of
// Kubernetes' own, too.
func pointsTo(role *cluster.Object, r *cluster.Resource, domain string) string {
	if slices.Contains(forPeople, role.Name) {
		return ""
	}
	if what := writable(role, r, domain); what != "" {
		return what
	}
	for _, p := range rulesOf(role) {
		if p.writes() && slices.Contains(p.groups, r.Group) && slices.Contains(p.resources, r.Name) {
			return r.GroupResource().String()
		}
	}
	return ""
}

// forPeople are the roles that aggregate those of every custom resource (Kubernetes
// 1.36.3 plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go).
var forPeople = []string{"cluster-admin", "admin", "edit", "view"}

// unable returns why a ServiceAccount, namespace/name, can't remove a finalizer from one
// of the objects, as far as RBAC tells; empty: it can. Other authorizers may let it, and
// so may credentials of another user: it is no proof.
func (s *owners) unable(account string, objects []*cluster.Object) string {
	if why := s.unreadableRights(objects); why != "" {
		return why
	}
	if s.mayWrite(objects, func(b *cluster.Object) bool { return grants(b, account) }) {
		return ""
	}
	return fmt.Sprintf("no role lets its ServiceAccount %s write %s", account, objects[0].Resource.GroupResource())
}

// unableAll is unable for all ServiceAccounts of a namespace. In kube-system only who
// administers the cluster writes, and controllers of the cloud hold their Leases there.
func (s *owners) unableAll(ns string, objects []*cluster.Object) string {
	if ns == "kube-system" {
		return ""
	}
	if why := s.unreadableRights(objects); why != "" {
		return why
	}
	if s.mayWrite(objects, func(b *cluster.Object) bool { return bindsAny(b, ns) }) {
		return ""
	}
	return fmt.Sprintf("no role lets a ServiceAccount of namespace %s write %s", ns,
		objects[0].Resource.GroupResource())
}

// unreadableRights says that nobody knows who may write the objects, or returns nothing.
func (s *owners) unreadableRights(objects []*cluster.Object) string {
	for _, kind := range ownersScope().Kinds {
		if strings.HasSuffix(kind, ".rbac.authorization.k8s.io") && (s.obs.Owners == nil || !sawAll(s.obs.Owners, kind)) {
			return fmt.Sprintf("nobody knows whether it may write %s, because %s can't be read",
				objects[0].Resource.GroupResource(), kind)
		}
	}
	return ""
}

// mayWrite tells whether one of the bindings that are asked for lets somebody patch one
// of the objects.
func (s *owners) mayWrite(objects []*cluster.Object, asked func(*cluster.Object) bool) bool {
	for b, role := range s.bound(objects) {
		if asked(b) && slices.ContainsFunc(objects, func(o *cluster.Object) bool {
			return (b.Namespace == "" || b.Namespace == o.Namespace) && lets(role, o.Resource)
		}) {
			return true
		}
	}
	return false
}

// lets tells whether a role lets one patch or update a kind.
func lets(role *cluster.Object, r *cluster.Resource) bool {
	has := func(list []string, wanted string) bool {
		return slices.Contains(list, "*") || slices.Contains(list, wanted)
	}
	return slices.ContainsFunc(rulesOf(role), func(p permission) bool {
		return p.writes() && has(p.groups, r.Group) && has(p.resources, r.Name)
	})
}

// permission is one rule of a role.
type permission struct{ groups, resources, verbs []string }

func (p permission) writes() bool {
	return slices.ContainsFunc(p.verbs, func(v string) bool { return v == "*" || v == "update" || v == "patch" })
}

func rulesOf(role *cluster.Object) []permission {
	var out []permission
	items, _ := role.Body["rules"].([]any)
	for _, item := range items {
		m, _ := item.(map[string]any)
		list := func(field string) []string { s, _, _ := unstructured.NestedStringSlice(m, field); return s }
		out = append(out, permission{list("apiGroups"), list("resources"), list("verbs")})
	}
	return out
}

// binds tells whether a binding is for a ServiceAccount, namespace/name.
func binds(b *cluster.Object, account string) bool {
	return hasSubject(b, func(kind, ns, name string) bool { return kind == "ServiceAccount" && ns+"/"+name == account })
}

// bindsAny tells whether a binding is for one of the ServiceAccounts of a namespace.
func bindsAny(b *cluster.Object, namespace string) bool {
	return hasSubject(b, func(kind, ns, name string) bool {
		return kind == "ServiceAccount" && ns == namespace || kind == "Group" && slices.Contains(groupsOf(namespace), name)
	})
}

// grants tells whether a binding is for a ServiceAccount, as such, as a user, or in a
// group (k8s.io/apiserver v0.36.3 pkg/authentication/serviceaccount/util.go).
func grants(b *cluster.Object, account string) bool {
	ns, name, _ := strings.Cut(account, "/")
	user := "system:serviceaccount:" + ns + ":" + name
	return binds(b, account) || hasSubject(b, func(kind, _, subject string) bool {
		return kind == "User" && subject == user || kind == "Group" && slices.Contains(groupsOf(ns), subject)
	})
}

// groupsOf are the groups of the ServiceAccounts of a namespace.
func groupsOf(ns string) []string {
	return []string{"system:serviceaccounts", "system:serviceaccounts:" + ns, "system:authenticated"}
}

// hasSubject tells whether one of the subjects of a binding is asked for.
func hasSubject(b *cluster.Object, is func(kind, namespace, name string) bool) bool {
	return slices.ContainsFunc(subjectsOf(b), func(h holder) bool { return is(h.kind, h.namespace, h.name) })
}

// holder is one subject of a binding.
type holder struct{ kind, namespace, name string }

func subjectsOf(b *cluster.Object) []holder {
	var out []holder
	items, _ := b.Body["subjects"].([]any)
	for _, item := range items {
		m, _ := item.(map[string]any)
		text := func(key string) string { s, _ := m[key].(string); return s }
		out = append(out, holder{text("kind"), text("namespace"), text("name")})
	}
	return out
}

// role returns the role of a binding, or nil.
func (s *owners) role(b *cluster.Object) *cluster.Object {
	kind, _, _ := unstructured.NestedString(b.Body, "roleRef", "kind")
	name, _, _ := unstructured.NestedString(b.Body, "roleRef", "name")
	for _, o := range s.obs.Owners.Objects {
		if o.Resource.Kind == kind && o.Name == name && (kind == "ClusterRole" || o.Namespace == b.Namespace) {
			return o
		}
	}
	return nil
}

// writable returns what of interest a role lets one write: the resource in its own
// group, if it is a custom one, or anything in the group that a finalizer names.
func writable(role *cluster.Object, r *cluster.Resource, domain string) string {
	for _, p := range rulesOf(role) {
		if !p.writes() {
			continue
		}
		for _, group := range p.groups {
			own := custom(group) && group == r.Group && slices.ContainsFunc(p.resources, func(s string) bool {
				return s == "*" || s == r.Name || s == r.Name+"/finalizers"
			})
			if own {
				return r.GroupResource().String()
			}
			if custom(group) && related(group, domain) {
				return group
			}
		}
	}
	return ""
}

// custom tells whether an API group is not one of Kubernetes' own, nor all.
func custom(group string) bool {
	return strings.Contains(group, ".") && !strings.HasSuffix(group, ".k8s.io") && group != "k8s.io"
}

// related tells whether one of two domains is the other, or below it.
func related(a, b string) bool {
	return a == b || strings.HasSuffix(a, "."+b) && strings.Contains(b, ".") || strings.HasSuffix(b, "."+a)
}
