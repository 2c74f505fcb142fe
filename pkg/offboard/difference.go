package offboard

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// Difference says in a line each what a plan does that another, shown before,
// did not, and what it no longer does. None: who agreed to that one agreed to
// this one.
func Difference(shown, fresh *engine.Plan) []string {
	was, is := writes(shown), writes(fresh)
	var out []string
	for _, phase := range fresh.Phases {
		for _, a := range phase.Actions {
			if !was[writeOf(a)] {
				out = append(out, "now also: "+sentence(a))
			}
		}
	}
	for _, phase := range shown.Phases {
		for _, a := range phase.Actions {
			if !is[writeOf(a)] {
				out = append(out, "no longer: "+sentence(a))
			}
		}
	}
	if before, now := strings.Join(shown.Notes, "\n"), strings.Join(fresh.Notes, "\n"); before != now {
		out = append(out, fresh.Notes...)
	}
	return out
}

// write is what an action does to which object.
type write struct {
	verb      engine.Verb
	ref       cluster.Ref
	uid       types.UID
	operation string
}

func writeOf(a engine.Action) write { return write{a.Verb, a.Target.Ref, a.Target.UID, a.Operation} }

func writes(p *engine.Plan) map[write]bool {
	out := map[write]bool{}
	for _, phase := range p.Phases {
		for _, a := range phase.Actions {
			out[writeOf(a)] = true
		}
	}
	return out
}

func sentence(a engine.Action) string {
	if a.Verb == engine.Call {
		return fmt.Sprintf("%s: %s", a.Operation, a.Why)
	}
	return fmt.Sprintf("%s %s: %s", a.Verb, a.Target.Ref, a.Why)
}
