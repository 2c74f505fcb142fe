package ownership

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"

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
	// Root: what it says of where Cast AI lives, other verdicts rest on. It must be
	// the last to go, or an interrupted run leaves things that nothing explains.
	Root bool
	// leads is the namespace that a binding of Cast AI's leads to.
	leads string
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
	// Remains are cluster-scoped objects that are not owned and have an identity of
	// Cast AI's all the same: a namespace, a definition, a webhook configuration of
	// the catalogue's. With one of them there, a cluster is not clean of Cast AI.
	Remains []cluster.Ref

	judged *judgement
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

// WhyNot returns the foreign objects that have something to do with Cast AI, or
// are where it lives, with what says that they are not its own, in the order of
// their references.
func (inv *Inventory) WhyNot() []*Item {
	var out []*Item
	for _, o := range inv.Objects() {
		if i := inv.judged.item(o); i != nil && i.Verdict == Foreign && len(i.Against) > 0 && !inv.judged.cluster.noise(o) {
			out = append(out, i)
		}
	}
	return out
}

// Item returns the entry of an object, or nil if it is foreign.
func (inv *Inventory) Item(r cluster.Ref) *Item {
	i, found := slices.BinarySearchFunc(inv.Items, r,
		func(i *Item, r cluster.Ref) int { return i.Object.Ref().Compare(r) })
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
	if inv.judged == nil {
		return nil
	}
	return inv.judged.objects
}

// Clean tells whether nothing of Cast AI's is left, as far as can be known: what
// could not be read, and what only has Cast AI's identity, is not clean.
func (inv *Inventory) Clean() bool {
	return len(inv.Owned()) == 0 && len(inv.Unreadable) == 0 && len(inv.Remains) == 0
}

// LivesIn tells whether Cast AI is known to live in a namespace, whoever else does.
func (inv *Inventory) LivesIn(ns string) bool {
	return inv.judged != nil && inv.judged.cluster.isHome(ns)
}

// Holds returns what is in a namespace that stays, without what Kubernetes or its
// distribution puts into every namespace.
func (inv *Inventory) Holds(ns string) []cluster.Ref {
	var out []cluster.Ref
	for _, o := range inv.Objects() {
		if o.Namespace == ns && ns != "" && !inv.IsOwned(o.Ref()) && !inv.Noise(o) {
			out = append(out, o.Ref())
		}
	}
	return out
}

// Suspects are the unclear workloads that run what Cast AI publishes: it may live
// where they are, although nothing proves it.
func (inv *Inventory) Suspects() []*Item {
	return slices.DeleteFunc(inv.Unclear(), func(i *Item) bool { return !has(i.Hints, "image") })
}

// Noise tells whether Kubernetes or its distribution puts such an object into
// every namespace, so that it goes with its namespace whoever else is there.
func (inv *Inventory) Noise(o *cluster.Object) bool { return inv.judged.cluster.noise(o) }

// Options change verdicts by the user's word.
type Options struct {
	// Trust are namespaces in which Cast AI lives by the word of the administrator.
	Trust   []string
	Include []cluster.Ref // removed although unclear or foreign
	Exclude []cluster.Ref // kept although owned
	// Arrived are objects that stay, because nothing but a name says that they are Cast
	// AI's, and they came while that was being taken out (see Inventory.Arrived).
	Arrived []types.UID
	// Known is why objects are Cast AI's, by their UIDs, as far as only what has been
	// removed since told so (see Proof).
	Known map[types.UID]Proof
}

// Proof is why an object was judged to be Cast AI's.
type Proof struct {
	Component string
	Evidence  Evidence
}

// Arrived tells whether an object was among Options.Arrived.
func (inv *Inventory) Arrived(r cluster.Ref) bool {
	i := inv.Item(r)
	return i != nil && slices.ContainsFunc(i.Against, func(e Evidence) bool { return e.Rule == "arrived" })
}

// OnlyNamed tells whether nothing but names says that an owned object is Cast AI's:
// its own, that of the namespace which it is in, or that of what uses it. Whoever
// makes an object chooses these.
func (i *Item) OnlyNamed() bool {
	names := []string{"known", "home", "used", "companion"}
	return !slices.ContainsFunc(i.For, func(e Evidence) bool { return !slices.Contains(names, e.Rule) })
}
