package ownership

import (
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

const rbac = "rbac.authorization.k8s.io"

// binding is a RoleBinding or ClusterRoleBinding.
type binding struct {
	*cluster.Object
	role cluster.Ref
	// accounts are the ServiceAccounts that it names; others counts the users and
	// groups.
	accounts []cluster.Ref
	others   int
}

// newBinding reads a binding.
func newBinding(o *cluster.Object) *binding {
	b := &binding{Object: o, role: boundRole(o)}
	for _, s := range nested(o, "subjects") {
		if a, ok := account(str(s, "kind"), str(s, "namespace"), str(s, "name"), o.Namespace); ok {
			b.accounts = append(b.accounts, a)
		} else {
			b.others++
		}
	}
	return b
}

// account reads the ServiceAccount that a subject means, if it means one; home
// is the namespace where none is written. A group is never one, not even that
// of all ServiceAccounts of a namespace: whoever wrote it meant whoever comes.
func account(kind, namespace, name, home string) (cluster.Ref, bool) {
	if namespace == "" {
		namespace = home
	}
	if kind == "User" {
		rest, ok := strings.CutPrefix(name, "system:serviceaccount:")
		if !ok {
			return cluster.Ref{}, false
		}
		kind = "ServiceAccount"
		namespace, name, _ = strings.Cut(rest, ":")
	}
	return cluster.Ref{Kind: "ServiceAccount", Namespace: namespace, Name: name}, kind == "ServiceAccount" &&
		namespace != ""
}

// namespaceOf returns the one namespace in which all subjects of a binding are
// ServiceAccounts.
func (b *binding) namespaceOf() (string, bool) {
	if b.others > 0 || len(b.accounts) == 0 {
		return "", false
	}
	ns := b.accounts[0].Namespace
	return ns, !slices.ContainsFunc(b.accounts, func(a cluster.Ref) bool { return a.Namespace != ns })
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

// roleStem drops the words from the end of a name that only tell a role from
// its binding: list-pods-clusterrole and list-pods-clusterrolebinding.
func roleStem(name string) string {
	separator := func(r rune) bool { return r == '-' || r == ':' || r == '.' }
	words := strings.FieldsFunc(strings.ToLower(name), separator)
	for len(words) > 1 && slices.Contains(roleWords, words[len(words)-1]) {
		words = words[:len(words)-1]
	}
	return strings.Join(words, "-")
}

var roleWords = []string{"role", "clusterrole", "binding", "rolebinding", "clusterrolebinding", "user", "rb", "crb"}

// sameStem tells whether a role goes by the name of one of its bindings.
func sameStem(role *cluster.Object, bindings []*binding) bool {
	return slices.ContainsFunc(bindings, func(b *binding) bool { return roleStem(role.Name) == roleStem(b.Name) })
}

// forAccount tells whether a role goes by the name of a ServiceAccount that one
// of its bindings is for.
func forAccount(role *cluster.Object, bindings []*binding) bool {
	return slices.ContainsFunc(bindings, func(b *binding) bool {
		return slices.ContainsFunc(b.accounts, func(a cluster.Ref) bool {
			return a.Name != defaultAccount && roleStem(role.Name) == roleStem(a.Name)
		})
	})
}
