package backup

import (
	"cmp"
	"slices"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// Difference is something that is not as it was in objects that come back.
type Difference struct {
	Path    string        `json:"path"`
	Why     string        `json:"why"`
	Objects []cluster.Ref `json:"objects"`
}

// Differences returns what will not be as it was in the objects that the plan
// puts back. Status is not worth a word, and owners are put back.
func (b *Backup) Differences(plan *engine.Plan) []Difference {
	applied := map[cluster.Ref]bool{}
	for _, phase := range plan.Phases {
		for _, a := range phase.Actions {
			applied[a.Target.Ref] = puts(a.Verb)
		}
	}
	var out []Difference
	for _, e := range b.Index.Objects {
		for _, c := range e.Changes {
			if !applied[e.Ref] || c.Path == "status" || c.Path == "metadata.ownerReferences" {
				continue
			}
			i := slices.IndexFunc(out, func(d Difference) bool { return d.Path == c.Path && d.Why == c.Why })
			if i < 0 {
				out = append(out, Difference{Path: c.Path, Why: c.Why})
				i = len(out) - 1
			}
			out[i].Objects = append(out[i].Objects, e.Ref)
		}
	}
	slices.SortFunc(out, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path),
			cmp.Compare(a.Why, b.Why))
	})
	return out
}

// puts tells whether an action puts an object back.
func puts(v engine.Verb) bool { return v == engine.Create || v == engine.Apply }

// Checkable returns the part of a plan that the server can judge before
// anything is done, and how many actions are not in it: those in namespaces and
// of kinds that the plan itself puts back.
func Checkable(plan *engine.Plan) (part *engine.Plan, unchecked int) {
	made := map[string]bool{}
	for _, phase := range plan.Phases {
		for _, a := range phase.Actions {
			if t := a.Target; puts(a.Verb) && t.Namespace == "" {
				made[t.GVR().GroupResource().String()+"/"+t.Name] = true
			}
		}
	}
	part = &engine.Plan{}
	for _, phase := range plan.Phases {
		all := phase.Actions
		phase.Actions = slices.DeleteFunc(slices.Clone(all), func(a engine.Action) bool {
			return made["namespaces/"+a.Target.Namespace] ||
				made["customresourcedefinitions.apiextensions.k8s.io/"+a.Target.GVR().GroupResource().String()]
		})
		unchecked += len(all) - len(phase.Actions)
		if len(phase.Actions) > 0 {
			part.Phases = append(part.Phases, phase)
		}
	}
	return part, unchecked
}
