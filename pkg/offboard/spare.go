package offboard

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// dependentsOfOthers finds what Kubernetes would collect although it is not Cast
// AI's, by its owners: whoever writes an object says who owns it. A workload is
// not among the owners, for without its ReplicaSets and pods it can't be deleted:
// where it owns something of others, that is a blocker.
func (p *planner) dependentsOfOthers() map[types.UID][]cluster.Ref {
	out := map[types.UID][]cluster.Ref{}
	for _, o := range p.inv.Objects() {
		stays := func(r metav1.OwnerReference) bool { return p.there[r.UID] != nil && p.byUID[r.UID] == nil }
		if p.inv.IsOwned(o.Ref()) || slices.ContainsFunc(o.Owners, stays) {
			continue // one of these owners keeps it
		}
		for _, r := range o.Owners {
			if up := p.byUID[r.UID]; up != nil && !isWorkload(up.Object) {
				out[r.UID] = append(out[r.UID], o.Ref())
			}
		}
	}
	return out
}

// numerous are the kinds that Kubernetes itself makes in numbers, for owners that
// control them. Where the whole cluster is looked at, they are left out.
var numerous = []string{
	"pods", "replicasets.apps", "controllerrevisions.apps", "endpoints", "endpointslices.discovery.k8s.io",
}

// dependents looks for what names objects as owners that are about to be deleted,
// and is not known to go: Kubernetes would collect it with them, unsaved. Such an
// owner orphans it, or stays where that can't be, because what a controller makes
// for it would stay, too.
func (m *removal) dependents(ctx context.Context, actions []engine.Action,
) (orphan, held map[types.UID]string, err error) {
	scope := cluster.Scope{}
	for _, a := range actions {
		if a.Target.Namespace == "" { // what it owns may be anywhere
			scope = cluster.Scope{Except: numerous}
			break
		}
		if !slices.Contains(scope.Namespaces, a.Target.Namespace) {
			scope.Namespaces = append(scope.Namespaces, a.Target.Namespace)
		}
	}
	snap, err := m.Cluster.Snapshot(ctx, scope)
	if err != nil {
		return nil, nil, err
	}
	shown := map[types.UID]*cluster.Object{}
	for _, o := range m.seen[0].Objects() {
		shown[o.UID] = o
	}
	orphan, held = collected(actions, snap.Objects, m.going(snap.Objects), shown)
	return orphan, held, nil
}

// collected says of each action what Kubernetes would delete with its target, of
// these objects, although it is not known to go: by the UIDs of those that can
// orphan it, and of those that can't. What had the same owners when the plan was shown
// does not hold one back: that is the blocker dependents, which a person decided about.
func collected(actions []engine.Action, objects []*cluster.Object, known map[types.UID]bool,
	shown map[types.UID]*cluster.Object) (orphan, held map[types.UID]string) {
	orphan, held = map[types.UID]string{}, map[types.UID]string{}
	below := map[types.UID][]*cluster.Object{}
	for _, o := range objects {
		for _, r := range o.Owners {
			below[r.UID] = append(below[r.UID], o)
		}
	}
	for _, a := range actions {
		seen := map[types.UID]bool{a.Target.UID: true}
		for up := []types.UID{a.Target.UID}; len(up) > 0; up = up[1:] {
			for _, o := range below[up[0]] {
				switch {
				case seen[o.UID]:
				case known[o.UID], controlled(o, seen):
					seen[o.UID] = true
					up = append(up, o.UID)
				case up[0] == a.Target.UID && !runsPods(a.Target.Ref):
					orphan[a.Target.UID] = fmt.Sprintf("%s names %s as its owner, and is not Cast AI's: it stays, without that owner",
						o.Ref(), a.Target.Ref)
				case shown[o.UID] == nil || !reflect.DeepEqual(shown[o.UID].Owners, o.Owners):
					held[a.Target.UID] = fmt.Sprintf("%s names it, or what it made, as its owner since it was judged, "+
						"and would go with it", o.Ref())
				}
			}
		}
	}
	return orphan, held
}

// runsPods is isWorkload for a reference.
func runsPods(r cluster.Ref) bool { return r.Group == "apps" || r.Group == "batch" }

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
