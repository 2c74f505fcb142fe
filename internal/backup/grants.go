package backup

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// Grant is what putting back one object of RBAC allows, and to whom.
type Grant struct {
	Object cluster.Ref `json:"object"`
	// Text says it to a person.
	Text string `json:"text"`
	// Wide: it reaches further than Cast AI's own ServiceAccounts and roles do,
	// or allows everything.
	Wide bool `json:"wide,omitempty"`
}

// grants reads what a plan grants: of each role that it puts back what it
// allows, and of each binding to whom. A role that Kubernetes has of itself
// (cluster-admin, admin, edit, view, system:*) and a subject that is no
// ServiceAccount of the backup make a grant wide.
func (b *Backup) grants(plan *engine.Plan) ([]Grant, error) {
	entries := map[cluster.Ref]*Entry{}
	for i := range b.Index.Objects {
		entries[b.Index.Objects[i].Ref] = &b.Index.Objects[i]
	}
	var out []Grant
	for _, phase := range plan.Phases {
		for _, a := range phase.Actions {
			if !puts(a.Verb) || a.Target.Group != rbacv1.GroupName {
				continue
			}
			u, err := b.object(entries[a.Target.Ref])
			if err != nil {
				return nil, err
			}
			g, err := grant(a.Target.Ref, u.Object, entries)
			if err != nil {
				return nil, refuse("%s can't be read: %v", entries[a.Target.Ref].File, err)
			}
			out = append(out, g)
		}
	}
	slices.SortStableFunc(out, func(a, b Grant) int {
		return cmp.Or(-compareBool(a.Wide, b.Wide), a.Object.Compare(b.Object))
	})
	return out, nil
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// grant reads one role or binding. All four kinds have the fields that are read.
func grant(r cluster.Ref, object map[string]any, saved map[cluster.Ref]*Entry) (Grant, error) {
	g := Grant{Object: r}
	if strings.HasSuffix(r.Kind, "Binding") {
		var binding rbacv1.ClusterRoleBinding
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, &binding); err != nil {
			return g, err
		}
		var to []string
		g.Wide = builtInRole(binding.RoleRef.Name)
		for _, s := range binding.Subjects {
			name := s.Name
			if s.Kind == rbacv1.ServiceAccountKind {
				name = cmp.Or(s.Namespace, r.Namespace) + "/" + name
			}
			to = append(to, s.Kind+" "+name)
			account := cluster.Ref{Kind: s.Kind, Namespace: cmp.Or(s.Namespace, r.Namespace), Name: s.Name}
			g.Wide = g.Wide || s.Kind != rbacv1.ServiceAccountKind || saved[account] == nil
		}
		g.Text = fmt.Sprintf("%s %s to %s", binding.RoleRef.Kind, binding.RoleRef.Name,
			cmp.Or(strings.Join(to, ", "), "nobody"))
		return g, nil
	}
	var role rbacv1.ClusterRole
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, &role); err != nil {
		return g, err
	}
	var allows []string
	for _, rule := range role.Rules {
		allows = append(allows, strings.Join(rule.Verbs, ",")+" on "+objects(rule))
		g.Wide = g.Wide || everything(rule)
	}
	if role.AggregationRule != nil {
		allows = append(allows, "all that the roles that it aggregates allow")
		g.Wide = true
	}
	g.Text = "allows " + cmp.Or(strings.Join(allows, "; "), "nothing")
	return g, nil
}

// objects says what a rule is about, as kubectl auth can-i names it: TYPE.GROUP and URLs.
func objects(r rbacv1.PolicyRule) string {
	if slices.Contains(r.Resources, "*") && slices.Contains(r.APIGroups, "*") {
		return "everything"
	}
	var names []string
	for _, group := range r.APIGroups {
		for _, resource := range r.Resources {
			names = append(names, strings.TrimSuffix(resource+"."+group, "."))
		}
	}
	text := strings.Join(append(names, r.NonResourceURLs...), ", ")
	if len(r.ResourceNames) > 0 {
		text += " named " + strings.Join(r.ResourceNames, ", ")
	}
	return text
}

// builtInRole tells whether Kubernetes has a role of that name of itself
// (plugin/pkg/auth/authorizer/rbac/bootstrappolicy in kubernetes/kubernetes).
func builtInRole(name string) bool {
	return slices.Contains([]string{"cluster-admin", "admin", "edit", "view"}, name) || strings.HasPrefix(name, "system:")
}

// everything tells whether a rule allows all verbs on all resources, or lets its
// subjects get more rights than they have (docs of RBAC: escalate, bind, impersonate).
func everything(r rbacv1.PolicyRule) bool {
	if slices.Contains(r.Resources, "*") && slices.Contains(r.APIGroups, "*") && slices.Contains(r.Verbs, "*") {
		return true
	}
	return slices.ContainsFunc(r.Verbs, func(verb string) bool {
		return verb == "escalate" || verb == "bind" || verb == "impersonate"
	})
}
