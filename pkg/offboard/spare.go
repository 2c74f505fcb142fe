package offboard

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// dependentsOfOthers finds what Kubernetes would collect although it is not Cast
// AI's, by its owners: whoever writes an object says who owns it. A workload is
// not among the owners, for without its ReplicaSets and pods it can't be deleted:
// where it owns something of others, that is a blocker.
func (p *planner) dependentsOfOthers() map[types.UID][]cluster.Ref {
	out := map[types.UID][]cluster.Ref{}
	for _, o := range p.inv.Objects() {
		if len(o.Owners) == 0 || p.inv.IsOwned(o.Ref()) ||
			slices.ContainsFunc(o.Owners, func(r metav1.OwnerReference) bool { return p.byUID[r.UID] == nil }) {
			continue
		}
		for _, r := range o.Owners {
			if !isWorkload(p.byUID[r.UID].Object) {
				out[r.UID] = append(out[r.UID], o.Ref())
			}
		}
	}
	return out
}

// sparedShown is how many of them a note names.
const sparedShown = 5

// spared says which objects of others stay although Cast AI's own them.
func (p *planner) spared() []string {
	names := map[string]bool{}
	for _, refs := range p.strangers {
		for _, r := range refs {
			names[r.String()] = true
		}
	}
	if len(names) == 0 {
		return nil
	}
	all := slices.Sorted(maps.Keys(names))
	text := strings.Join(all[:min(len(all), sparedShown)], ", ")
	if len(all) > sparedShown {
		text += fmt.Sprintf(" and %d more", len(all)-sparedShown)
	}
	return []string{fmt.Sprintf("Objects of Cast AI's own %s, not Cast AI's. These stay, without such owners.", text)}
}
