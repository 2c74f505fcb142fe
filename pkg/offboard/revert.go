package offboard

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// PhaseRevert takes Cast AI's writing out of users' objects. It comes last:
// while Cast AI's controllers live, they would write it again.
const PhaseRevert = "revert"

// Revert returns the phase that takes back what Cast AI is known to have
// written into objects of users, or nil if nothing is. The inventory tells whose
// everything is and was; objects are what the patches start from, and should
// have been read just before: each patch is refused if its object has changed
// since, because a list in it would undo that change.
func Revert(inv *ownership.Inventory, objects []*cluster.Object, timeout time.Duration) *engine.Phase {
	phase := &engine.Phase{Name: PhaseRevert, Title: "Take back what Cast AI wrote into users' objects", Timeout: timeout}
	for _, m := range inv.Marks(objects) {
		patch := maps.Clone(m.Patch)
		meta, _ := patch["metadata"].(map[string]any)
		meta = maps.Clone(meta)
		if meta == nil {
			meta = map[string]any{}
		}
		meta["resourceVersion"] = m.Object.ResourceVersion
		patch["metadata"] = meta
		phase.Actions = append(phase.Actions, engine.Action{
			Verb: engine.Patch, Target: m.Object.Target(), Patch: patch, Why: m.Text, Command: patchCommand(m),
		})
	}
	if len(phase.Actions) == 0 {
		return nil
	}
	return phase
}

// StillPlanned picks those of the objects that a phase was to change. What was not in
// the plan is neither confirmed nor saved: it has to wait for another run.
func StillPlanned(phase *engine.Phase, objects []*cluster.Object) []*cluster.Object {
	planned := map[types.UID]bool{}
	for _, a := range phase.Actions {
		planned[a.Target.UID] = true
	}
	return slices.DeleteFunc(slices.Clone(objects), func(o *cluster.Object) bool { return !planned[o.UID] })
}

// patchCommand returns the command that does the same.
func patchCommand(m ownership.Mark) string {
	raw, err := json.Marshal(m.Patch)
	if err != nil {
		return kubectl("edit", m.Object)
	}
	// JSON has no single quote of its own, but a text in it may.
	return kubectl("patch", m.Object) + " --type=merge -p '" + strings.ReplaceAll(string(raw), "'", `'\''`) + "'"
}
