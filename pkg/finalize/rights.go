package finalize

import (
	"fmt"
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
	for _, b := range s.obs.Owners.Objects {
		if !strings.HasSuffix(b.Resource.Kind, "RoleBinding") || !binds(b, w.account) {
			continue
		}
		if b.Namespace != "" && !slices.ContainsFunc(objects,
			func(o *cluster.Object) bool { return o.Namespace == b.Namespace }) {
			continue
		}
		role := s.role(b)
		if role == nil || slices.Contains(forPeople, role.Name) {
			continue
		}
		for _, o := range objects[:1] {
			if group := writable(role, o.Resource, domain); group != "" {
				return fmt.Sprintf("%s %s lets it write %s", role.Resource.Kind, role.Name, group)
			}
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
	for _, b := range s.obs.Owners.Objects {
		if !strings.HasSuffix(b.Resource.Kind, "RoleBinding") || !asked(b) {
			continue
		}
		role := s.role(b)
		if role == nil {
			continue
		}
		if slices.ContainsFunc(objects, func(o *cluster.Object) bool {
			return (b.Namespace == "" || b.Namespace == o.Namespace) && lets(role, o.Resource)
		}) {
			return true
		}
	}
	return false
}

// lets tells whether a role lets one patch or update a kind.
func lets(role *cluster.Object, r *cluster.Resource) bool {
	rules, _ := role.Body["rules"].([]any)
	return slices.ContainsFunc(rules, func(item any) bool {
		rule, _ := item.(map[string]any)
		has := func(field string, wanted ...string) bool {
			list, _, _ := unstructured.NestedStringSlice(rule, field)
			return slices.ContainsFunc(list, func(s string) bool { return s == "*" || slices.Contains(wanted, s) })
		}
		return has("verbs", "patch", "update") && has("apiGroups", r.Group) && has("resources", r.Name)
	})
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
	subjects, _ := b.Body["subjects"].([]any)
	return slices.ContainsFunc(subjects, func(item any) bool {
		m, _ := item.(map[string]any)
		text := func(key string) string { s, _ := m[key].(string); return s }
		return is(text("kind"), text("namespace"), text("name"))
	})
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
	rules, _ := role.Body["rules"].([]any)
	for _, item := range rules {
		rule, ok := item.(map[string]any)
		if !ok {
			continue
		}
		list := func(field string) []string { s, _, _ := unstructured.NestedStringSlice(rule, field); return s }
		verbs, resources := list("verbs"), list("resources")
		if !slices.Contains(verbs, "*") && !slices.Contains(verbs, "update") && !slices.Contains(verbs, "patch") {
			continue
		}
		for _, group := range list("apiGroups") {
			own := custom(group) && group == r.Group &&
				(slices.Contains(resources, "*") || slices.Contains(resources, r.Name) || slices.Contains(resources,
					r.Name+"/finalizers"))
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
