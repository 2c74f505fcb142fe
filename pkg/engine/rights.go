package engine

import (
	"cmp"
	"slices"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Rights returns what a user must be allowed to do to carry out the plan, each
// right once, in a stable order.
func Rights(p *Plan) []cluster.Right {
	seen := map[cluster.Right]bool{}
	for _, phase := range p.Phases {
		for _, a := range phase.Actions {
			t := a.Target
			add := func(subresource string, verbs ...string) {
				for _, v := range verbs {
					seen[cluster.Right{Group: t.Group, Resource: t.Resource, Subresource: subresource, Verb: v,
						Namespace: t.Namespace}] = true
				}
			}
			switch a.Verb {
			case Delete:
				add("", "delete", "list", "watch")
				if len(a.Finalizers) > 0 {
					add("", "patch")
				}
				if t.Kind == "Namespace" && t.Group == "" {
					add("finalize", "update")
				}
			case Patch:
				add("", "patch")
				if a.Change != nil {
					add("", "get")
				}
			case StripFinalizers:
				add("", "get", "patch", "list", "watch")
			case Finalize:
				add("", "get")
				add("finalize", "update")
			case Apply:
				add("", "create", "patch")
			case Create:
				add("", "create", "get")
			case CreateNamespace:
				add("", "create")
			}
		}
		for _, t := range phase.WaitFor {
			seen[cluster.Right{Group: t.Group, Resource: t.Resource, Verb: "list", Namespace: t.Namespace}] = true
			seen[cluster.Right{Group: t.Group, Resource: t.Resource, Verb: "watch", Namespace: t.Namespace}] = true
		}
	}
	out := make([]cluster.Right, 0, len(seen))
	for r := range seen {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b cluster.Right) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Resource, b.Resource),
			cmp.Compare(a.Subresource, b.Subresource),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Verb, b.Verb))
	})
	return out
}
