package offboard

import (
	"slices"

	"github.com/castai/kubectl-castai/pkg/engine"
)

// The phases before anything of the plan is deleted.
var (
	halts = []string{PhaseRecreators, PhaseOperators, PhaseStop}
	stops = append([]string{PhaseCleanUp}, halts...)
	early = append([]string{PhaseOperations}, stops...)
)

// halting phases stop workloads, and removing ones delete what is in the cluster.
func halting(name string) bool { return slices.Contains(halts, name) }

func removing(name string) bool {
	return !slices.Contains(early, name) &&
		slices.ContainsFunc(phases(Options{}), func(p engine.Phase) bool { return p.Name == name })
}

// stopping are the phases up to those that stop workloads.
func stopping(name string) bool { return slices.Contains(stops, name) }

// beginning are the phases before those that stop something, with what the
// console put there. What it does at the end is left to Console.Finish.
func (m *removal) beginning(name string) bool {
	return !stopping(name) && !removing(name) && name != PhaseRevert && (m.Console == nil || !m.Console.Finishes(name))
}

// part returns the phases that are in a part of the plan.
func part(plan *engine.Plan, in func(name string) bool) *engine.Plan {
	out := &engine.Plan{}
	for _, phase := range plan.Phases {
		if in(phase.Name) {
			out.Phases = append(out.Phases, phase)
		}
	}
	return out
}
