package printer

import (
	"fmt"
	"io"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// ClusterRole prints a ready ClusterRole that grants the rights: one rule for
// each set of verbs in an API group.
func ClusterRole(w io.Writer, name string, rights []cluster.Right) error {
	type resource struct{ group, name string }
	verbs := map[resource][]string{}
	var order []resource
	for _, r := range rights {
		res := resource{r.Group, r.Resource}
		if r.Subresource != "" {
			res.name += "/" + r.Subresource
		}
		if verbs[res] == nil {
			order = append(order, res)
		}
		if !slices.Contains(verbs[res], r.Verb) {
			verbs[res] = append(verbs[res], r.Verb)
		}
	}
	role := rbacv1.ClusterRole{
		TypeMeta:   metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
	}
	for _, res := range order {
		i := slices.IndexFunc(role.Rules, func(r rbacv1.PolicyRule) bool {
			return r.APIGroups[0] == res.group && slices.Equal(r.Verbs, verbs[res])
		})
		if i < 0 {
			role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{res.group}, Verbs: verbs[res]})
			i = len(role.Rules) - 1
		}
		role.Rules[i].Resources = append(role.Rules[i].Resources, res.name)
	}
	out, err := yaml.Marshal(role)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "---\n%s", out)
	return err
}
