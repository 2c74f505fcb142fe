package ownership

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Verdict says whose an object is.
type Verdict string

// The verdicts.
const (
	Owned   Verdict = "owned"   // Cast AI's: offboard removes it
	Unclear Verdict = "unclear" // some evidence, not enough: removed only when named with --include
	Foreign Verdict = "foreign" // somebody else's: never touched
)

// Evidence is one reason for or against an object being Cast AI's.
type Evidence struct {
	// Rule names the rule that found it, as docs/ownership.md lists them.
	Rule string `json:"rule"`
	// Text says it to a person.
	Text string `json:"text"`
	// From is the object that the evidence rests on, if it is another one.
	From *cluster.Ref `json:"from,omitempty"`
}

// Item is an object with its verdict.
type Item struct {
	Object    *cluster.Object
	Verdict   Verdict
	Component string     // of the catalogue, where it is known
	For       []Evidence // strong evidence
	Hints     []Evidence // weak evidence: never enough alone
	Against   []Evidence
	// Setting: users write objects of this kind.
	Setting bool
	// Dependent: Kubernetes itself removes it with its owner, and a controller
	// would make it again.
	Dependent bool
}

// HomeNamespace is a namespace in which Cast AI's software lives.
type HomeNamespace struct {
	Name string
	// Namespace is nil when it does not exist (any more).
	Namespace *cluster.Object
	Evidence  Evidence
	// Keep lists what lives in it and is not removed; empty: it goes whole.
	Keep []cluster.Ref
}

// Inventory is what of Cast AI is in a cluster.
type Inventory struct {
	Server   cluster.Server
	Identity Identity
	// Items are the owned and unclear objects, in the order of their references.
	Items []*Item
	Homes []HomeNamespace
	// Releases are the Helm releases of Cast AI's charts, as NAMESPACE/NAME (chart-version).
	Releases []string
	// Unreadable is what could not be looked at: nothing is known of it.
	Unreadable []cluster.Unreadable
	Impact     Impact
	Blockers   []Blocker

	world *world
}

// Owned returns the objects that are Cast AI's.
func (inv *Inventory) Owned() []*Item { return inv.with(Owned) }

// Unclear returns the objects that only a person can decide about.
func (inv *Inventory) Unclear() []*Item { return inv.with(Unclear) }

func (inv *Inventory) with(v Verdict) []*Item {
	var out []*Item
	for _, i := range inv.Items {
		if i.Verdict == v {
			out = append(out, i)
		}
	}
	return out
}

// Item returns the entry of an object, or nil if it is foreign.
func (inv *Inventory) Item(r cluster.Ref) *Item {
	i, found := slices.BinarySearchFunc(inv.Items, r, func(i *Item, r cluster.Ref) int { return i.Object.Ref().Compare(r) })
	if !found {
		return nil
	}
	return inv.Items[i]
}

// IsOwned tells whether an object is Cast AI's.
func (inv *Inventory) IsOwned(r cluster.Ref) bool {
	i := inv.Item(r)
	return i != nil && i.Verdict == Owned
}

// Objects returns the snapshot that the inventory was made of, nothing for one
// that nobody made.
func (inv *Inventory) Objects() []*cluster.Object {
	if inv.world == nil {
		return nil
	}
	return inv.world.snap.Objects
}

// Options change verdicts by the user's word.
type Options struct {
	Include []cluster.Ref // removed although unclear or foreign
	Exclude []cluster.Ref // kept although owned
}

// ReleaseRecords returns the records of Helm releases that must be read before
// Take: the newest revision of each release in a namespace where something
// points to Cast AI. No other Secret's data is needed, ever.
func ReleaseRecords(snap *cluster.Snapshot, cat *Catalogue) []cluster.Target {
	w := emptyWorld(snap, cat)
	for _, o := range w.snap.Objects {
		if r := o.Ref(); r.GroupKind() == (schema.GroupKind{Kind: "Namespace"}) {
			w.byRef[r] = o // of all indexes the only one that is needed here
		}
		w.note(o)
	}
	near := map[string]bool{}
	point := func(o *cluster.Object) {
		near[o.Namespace], near[o.Annotations["meta.helm.sh/release-namespace"]] = true, true
	}
	for _, o := range w.workloads {
		if slices.ContainsFunc(o.images, cat.image) || cat.namedAfter(o.Name) != nil {
			point(o.Object)
		}
	}
	for in := range runs(w.snap.Objects, sameNamespace) {
		if w.namedHome(in[0].Namespace) != nil {
			near[in[0].Namespace] = true
		}
		for _, o := range in {
			if w.labelled(o).component != nil || cat.app(o.Labels["app.kubernetes.io/name"]) != nil || isCRD(o) && w.crdGroup(o) != nil {
				point(o)
			}
		}
	}
	var out []cluster.Target
	for key, records := range w.records {
		if near[key.namespace] {
			newest := slices.MaxFunc(records, func(a, b *cluster.Object) int { return revision(a) - revision(b) })
			out = append(out, newest.Target())
		}
	}
	slices.SortFunc(out, func(a, b cluster.Target) int { return a.Compare(b.Ref) })
	return out
}

// Take judges every object of the snapshot.
func Take(snap *cluster.Snapshot, stored []cluster.StoredRelease, cat *Catalogue, opts Options) *Inventory {
	w := newWorld(snap, cat)
	w.read(stored)
	w.judge()
	w.override(opts)
	inv := &Inventory{Server: snap.Server, Homes: w.keep(), Releases: w.releaseNames(), world: w}
	for _, o := range w.snap.Objects {
		if i := w.items[o]; i != nil && (i.Verdict == Owned || i.Verdict == Unclear) {
			i.Setting = cat.Setting(o.Ref())
			inv.Items = append(inv.Items, i)
		}
	}
	inv.Unreadable = w.unreadable()
	inv.Identity = w.identity()
	inv.Impact = w.impact()
	inv.Blockers = w.blockers()
	return inv
}

// unreadable says of API groups that fail because of a dead APIService of Cast
// AI's that this is so.
func (w *world) unreadable() []cluster.Unreadable {
	out := slices.Clone(w.snap.Unreadable)
	for i, u := range out {
		group, version, ok := strings.Cut(u.GroupVersion, "/")
		if ok && w.ownedRef(cluster.Ref{Group: "apiregistration.k8s.io", Kind: "APIService", Name: version + "." + group}) {
			out[i].Message = "nothing answers for it; its APIService is Cast AI's and goes"
		}
	}
	return out
}
