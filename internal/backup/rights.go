package backup

import (
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// LookRights returns what a user must be allowed to do to compare the cluster
// with the backup, each right once.
func (b *Backup) LookRights() []cluster.Right {
	var s rightSet
	for _, e := range b.Index.Objects {
		s.add(e.Target, "get", "list")
		if e.Namespace != "" {
			s.add(cluster.NamespaceTarget(e.Namespace, ""), "get", "list")
		}
	}
	return s.list
}

// Rights returns what a user must be allowed to do to carry out the plan of a
// restore, each right once.
func Rights(plan *engine.Plan) []cluster.Right {
	var s rightSet
	for _, phase := range plan.Phases {
		if phase.Ready != nil { // watches the definitions
			for _, a := range phase.Actions {
				s.add(a.Target, "list", "watch")
			}
		}
	}
	return append(engine.Rights(plan), s.list...)
}

// rightSet collects rights in the order in which they were first added.
type rightSet struct {
	seen map[cluster.Right]bool
	list []cluster.Right
}

func (s *rightSet) add(t cluster.Target, verbs ...string) {
	if s.seen == nil {
		s.seen = map[cluster.Right]bool{}
	}
	for _, verb := range verbs {
		r := cluster.Right{Group: t.Group, Resource: t.Resource, Verb: verb, Namespace: t.Namespace}
		if !s.seen[r] {
			s.seen[r] = true
			s.list = append(s.list, r)
		}
	}
}
