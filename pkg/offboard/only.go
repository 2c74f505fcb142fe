package offboard

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// Digest is a checksum of what a plan does in a cluster, which the UID of its
// kube-system namespace tells from others: which object is deleted or changed,
// and what is done elsewhere. Two plans without a Difference but in their notes
// have the same one.
func Digest(kubeSystem types.UID, plan *engine.Plan) string {
	var lines []string
	for w := range writes(plan) {
		line, _ := json.Marshal([]any{w.verb, w.ref, w.uid, w.operation}) // strings only
		lines = append(lines, string(line))
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(string(kubeSystem) + "\n" + strings.Join(lines, "\n")))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// only narrows a plan to what Runner.Only does. It never adds anything: who
// writes a plan file decides at most that less is removed.
func (m *removal) only(plan *engine.Plan) (*engine.Plan, error) {
	if m.Only == nil {
		return plan, nil
	}
	planned := writes(m.Only)
	out := &engine.Plan{Notes: plan.Notes}
	var running []string
	for _, phase := range plan.Phases {
		actions := slices.DeleteFunc(slices.Clone(phase.Actions), func(a engine.Action) bool {
			if planned[writeOf(a)] {
				return false
			}
			// What is going to be deleted may be stopped before.
			gone := writeOf(a)
			gone.verb = engine.Delete
			if halting(phase.Name) && !planned[gone] {
				running = append(running, a.Target.Ref.String())
			}
			return !halting(phase.Name) || !planned[gone]
		})
		if phase.Actions = actions; len(actions) > 0 {
			out.Phases = append(out.Phases, phase)
		}
	}
	if len(running) > 0 {
		return nil, fmt.Errorf("%s came since the plan was made, and would have to be stopped first: %w; make a new plan",
			strings.Join(running, ", "), m.soFar(ErrChanged))
	}
	return out, nil
}

// judged are the UIDs of what the last look found to be Cast AI's and what may
// go: all of it is in the plan, or Kubernetes collects it with what is.
func (m *removal) judged() map[types.UID]bool {
	known := map[types.UID]bool{}
	var planned map[write]bool
	if m.Only != nil {
		planned = writes(m.Only)
	}
	for _, i := range m.now.Owned() {
		o := i.Object
		known[o.UID] = m.Only == nil || planned[write{verb: engine.Delete, ref: o.Ref(), uid: o.UID}]
	}
	for more := m.Only != nil; more; {
		more = false
		for _, i := range m.now.Owned() {
			if i.Dependent && !known[i.Object.UID] && hasOwner(i.Object, known) {
				known[i.Object.UID], more = true, true
			}
		}
	}
	return known
}

// hasOwner tells whether one of the owners of an object is among these.
func hasOwner(o *cluster.Object, among map[types.UID]bool) bool {
	for _, owner := range o.Owners {
		if among[owner.UID] {
			return true
		}
	}
	return false
}
