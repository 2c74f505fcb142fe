package backup

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// owners knows which objects stay when a plan is carried out, and which go.
type owners struct {
	stay  map[types.UID]*cluster.Object
	leave map[types.UID]*cluster.Target
}

func newOwners(inv *ownership.Inventory, plan *engine.Plan) *owners {
	o := &owners{stay: map[types.UID]*cluster.Object{}, leave: map[types.UID]*cluster.Target{}}
	for _, phase := range plan.Phases {
		for i := range phase.Actions {
			if a := &phase.Actions[i]; a.Verb != engine.Patch {
				o.leave[a.Target.UID] = &a.Target
			}
		}
	}
	for _, object := range inv.Objects() {
		if item := inv.Item(object.Ref()); o.leave[object.UID] == nil && (item == nil || !item.Dependent) &&
			!object.Terminating() {
			o.stay[object.UID] = object
		}
	}
	return o
}

// survives tells whether an object is there, with the same UID, when the plan
// has been carried out.
func (o *owners) survives(uid types.UID) bool { return o.stay[uid] != nil }

// of notes the owners of an object that can be found again.
func (o *owners) of(u *unstructured.Unstructured, e *Entry) {
	for _, ref := range u.GetOwnerReferences() {
		if t, ok := o.stay[ref.UID]; ok {
			e.Owners = append(e.Owners, t.Target())
		} else if t, ok := o.leave[ref.UID]; ok {
			e.OwnedBy = append(e.OwnedBy, Owner{
				Target:     *t,
				Controller: ref.Controller != nil && *ref.Controller, BlockOwnerDeletion: ref.BlockOwnerDeletion != nil &&
					*ref.BlockOwnerDeletion,
			})
		}
	}
	slices.SortFunc(e.Owners, func(a, b cluster.Target) int { return a.Compare(b.Ref) })
}
