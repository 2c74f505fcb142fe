package offboard

import (
	"context"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// The deletion of a namespace takes along whatever is in it by then, and that of
// a definition its objects in every namespace. What follows looks right before.

// volumes are read beside a namespace: a claim in it may be all that keeps the
// data of a volume whose reclaim policy is Delete.
const volumes = "persistentvolumes"

// unreadableIn returns the namespaces of Cast AI's in which not everything can
// be read, and why: they never go whole. It asks only if something could not be
// read, and only for that.
func (r *Runner) unreadableIn(ctx context.Context, inv *ownership.Inventory) (map[string]string, error) {
	out := map[string]string{}
	unreadable := slices.DeleteFunc(slices.Clone(inv.Unreadable), func(u cluster.Unreadable) bool { return goes(inv, u) })
	if len(unreadable) == 0 {
		return out, nil
	}
	var kinds []string
	for _, u := range unreadable {
		if u.GroupVersion == "" {
			kinds = append(kinds, u.What)
		}
	}
	for _, h := range inv.Homes {
		if h.Namespace == nil || !inv.IsOwned(h.Namespace.Ref()) {
			continue
		}
		for _, u := range unreadable {
			if u.GroupVersion != "" {
				out[h.Name] = fmt.Sprintf("%s can't be read (%s)", u.What, u.Message)
			}
		}
		if out[h.Name] != "" || len(kinds) == 0 {
			continue
		}
		snap, err := r.Cluster.Snapshot(ctx, cluster.Scope{Namespaces: []string{h.Name}, Kinds: kinds})
		if err != nil {
			return nil, err
		}
		for _, u := range snap.Unreadable {
			if slices.Contains(kinds, u.What) {
				out[h.Name] = fmt.Sprintf("%s in it can't be read (%s)", u.What, u.Message)
			}
		}
		if len(snap.Objects) > 0 && out[h.Name] == "" {
			out[h.Name] = fmt.Sprintf("%s is in it, and that kind can't be read elsewhere", snap.Objects[0].Ref())
		}
	}
	return out, nil
}

// goes tells whether what can't be read is a group whose APIService is Cast AI's:
// it goes before anything depends on it.
func goes(inv *ownership.Inventory, u cluster.Unreadable) bool {
	gv, err := schema.ParseGroupVersion(u.GroupVersion)
	return err == nil && u.GroupVersion != "" &&
		inv.IsOwned(cluster.Ref{Group: "apiregistration.k8s.io", Kind: "APIService", Name: gv.Version + "." + gv.Group})
}

// going are the UIDs of what is Cast AI's, and goes: all of it is in the plan, or
// goes with what is. What of a fresh list says something else about whose it is
// than it did when it was judged is judged anew.
func (m *removal) going(fresh []*cluster.Object) map[types.UID]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	inv := m.now.Inventory
	var changed []*cluster.Object
	for _, o := range fresh {
		if i := inv.Item(o.Ref()); i != nil && i.Verdict == ownership.Owned && i.Object.UID == o.UID &&
			!sameMarks(i.Object, o) {
			changed = append(changed, o)
		}
	}
	known := m.judged()
	for uid := range m.kept {
		known[uid] = false
	}
	if len(changed) == 0 {
		return known
	}
	inv = m.now.survey.with(changed...).Judge(m.Judge)
	for _, o := range changed {
		known[o.UID] = known[o.UID] && inv.IsOwned(o.Ref())
	}
	return known
}

// holdNamespaces says which of the namespaces must stay, because something is in
// them that nobody judged, or that can't be read. It lists every kind that is
// served, each in one consistent list, in all of them at once. Only if something
// can't be read it asks for each namespace: that may be so in one of them only.
func (m *removal) holdNamespaces(ctx context.Context, actions []engine.Action) (map[types.UID]string, error) {
	held := map[types.UID]string{}
	names := map[types.UID]string{}
	for _, a := range actions {
		if isNamespace(a.Target.Ref) {
			names[a.Target.UID] = a.Target.Name
		}
	}
	all, err := m.lookInto(ctx, slices.Collect(maps.Values(names)))
	if err != nil {
		return nil, err
	}
	for uid, name := range names {
		snap := all
		if len(all.Unreadable) > 0 {
			if snap, err = m.lookInto(ctx, []string{name}); err != nil {
				return nil, err
			}
		}
		if why := alien(snap, m.now.Inventory, name, m.going(snap.Objects)); why != "" {
			held[uid] = why
		}
	}
	return held, nil
}

// lookInto reads all that the deletion of namespaces would take along.
func (m *removal) lookInto(ctx context.Context, namespaces []string) (*cluster.Snapshot, error) {
	if len(namespaces) == 0 {
		return &cluster.Snapshot{}, nil // no scope of namespaces is the whole cluster
	}
	return m.look(ctx, cluster.Scope{
		Namespaces: namespaces, Whole: []string{volumes},
		Bodies: map[string][][]string{volumes: {{"spec", "persistentVolumeReclaimPolicy"}, {"status", "phase"}}},
	})
}

// look takes a snapshot. A group whose APIService has just been removed may take
// the server a moment to forget.
func (m *removal) look(ctx context.Context, scope cluster.Scope) (*cluster.Snapshot, error) {
	for tries := 0; ; tries++ {
		snap, err := m.Cluster.Snapshot(ctx, scope)
		if err != nil {
			return nil, err
		}
		lag := slices.ContainsFunc(snap.Unreadable, func(u cluster.Unreadable) bool { return goes(m.now.Inventory, u) })
		if !lag || tries == maxLooks {
			return snap, nil
		}
		if err := pause(ctx, lookAgain); err != nil {
			return nil, err
		}
	}
}

// alien says what in a namespace nobody judged, or that not everything in it can
// be seen, and "" if all of it is known.
func alien(snap *cluster.Snapshot, inv *ownership.Inventory, namespace string, known map[types.UID]bool) string {
	if len(snap.Unreadable) > 0 {
		u := snap.Unreadable[0]
		return fmt.Sprintf("%s in it can't be read (%s)", u.What, u.Message)
	}
	var strangers []*cluster.Object
	for _, o := range snap.Objects {
		switch {
		case o.Namespace == namespace && !known[o.UID] && !controlled(o, known) && !addresses(o, inv) && !inv.Noise(o):
			strangers = append(strangers, o)
		case o.Resource.GroupResource().String() == volumes && losesData(o, namespace, known):
			return fmt.Sprintf("%s holds the data of a claim in it that nobody judged", o.Ref())
		}
	}
	switch n := len(strangers); n {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("%s is in it, and came or changed hands since it was judged", strangers[0].Ref())
	default:
		return fmt.Sprintf("%s and %d more are in it, and came or changed hands since it was judged", strangers[0].Ref(), n-1)
	}
}

// addresses tells whether kube-controller-manager made the Endpoints of a Service
// that goes: it makes them again until that has gone.
func addresses(o *cluster.Object, inv *ownership.Inventory) bool {
	return o.Resource.GroupResource().String() == "endpoints" &&
		slices.Equal(o.Managers, []string{"kube-controller-manager"}) &&
		inv.IsOwned(cluster.Ref{Kind: "Service", Namespace: o.Namespace, Name: o.Name})
}

// controlled tells whether one of Kubernetes' own controllers makes an object for one
// that is known. Whoever writes any other kind sets its controller as he likes.
func controlled(o *cluster.Object, known map[types.UID]bool) bool {
	c := o.Controller()
	return c != nil && known[c.UID] && ownership.MadeAgain(o)
}

// losesData tells whether a volume goes with a claim in the namespace that
// nobody judged. The claim of a released volume has gone already.
func losesData(o *cluster.Object, namespace string, known map[types.UID]bool) bool {
	policy, _, _ := unstructured.NestedString(o.Body, "spec", "persistentVolumeReclaimPolicy")
	claim, _, _ := unstructured.NestedString(o.Body, "spec", "claimRef", "namespace")
	uid, _, _ := unstructured.NestedString(o.Body, "spec", "claimRef", "uid")
	if phase, _, _ := unstructured.NestedString(o.Body, "status", "phase"); phase == "Released" || phase == "Failed" {
		return false
	}
	return policy == "Delete" && claim == namespace && uid != "" && !known[types.UID(uid)]
}

// holdDefinitions says which of the definitions must stay, because there are
// objects of them that nobody judged, or none can be listed.
func (m *removal) holdDefinitions(ctx context.Context, actions []engine.Action) (map[types.UID]string, error) {
	var names []string
	for _, a := range actions {
		names = append(names, a.Target.Name)
	}
	snap, err := m.look(ctx, cluster.Scope{Kinds: names})
	if err != nil {
		return nil, err
	}
	known := m.going(snap.Objects)
	held := map[types.UID]string{}
	for _, a := range actions {
		if why := strange(snap, a.Target.Name, known); why != "" {
			held[a.Target.UID] = why
		}
	}
	return held, nil
}

// strange says why a definition can't go, or "".
func strange(snap *cluster.Snapshot, name string, known map[types.UID]bool) string {
	for _, u := range snap.Unreadable {
		if u.What == name {
			return fmt.Sprintf("its objects can't be listed (%s)", u.Message)
		}
	}
	if !slices.ContainsFunc(snap.Resources, func(r *cluster.Resource) bool { return r.GroupResource().String() == name }) {
		return "the server does not serve its objects, so nobody can see whether there are any"
	}
	for _, o := range snap.Objects {
		if o.Resource.GroupResource().String() == name && !known[o.UID] {
			return fmt.Sprintf("%s came since it was judged, and would go with it", o.Ref())
		}
	}
	return ""
}

// holdRoots keeps what tells where Cast AI lived while something is there that it
// may tell about: no later run would find that again.
func (m *removal) holdRoots(ctx context.Context, actions []engine.Action) (map[types.UID]string, error) {
	m.mu.Lock()
	stayed := slices.Clone(m.stayed)
	m.mu.Unlock()
	held := map[types.UID]string{}
	for _, t := range stayed {
		o, err := m.Cluster.Get(ctx, t)
		switch {
		case apierrors.IsNotFound(err), err == nil && o.UID != t.UID:
			continue
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		}
		for _, a := range actions {
			if a.Target.UID != t.UID {
				held[a.Target.UID] = fmt.Sprintf("%s is still there, and this tells whose it is", t.Ref)
			}
		}
		break
	}
	return held, nil
}

func isNamespace(r cluster.Ref) bool { return r.Group == "" && r.Kind == "Namespace" }
