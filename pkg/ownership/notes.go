package ownership

import (
	"fmt"
	"slices"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// notes are what is known so far of the objects of one scope. Notes on an
// object of another scope are a mistake in a rule, and panic.
type notes struct {
	namespace string // empty: the cluster-scoped objects
	items     map[*cluster.Object]*Item
	changed   bool
}

func newNotes(namespace string) *notes {
	return &notes{namespace: namespace, items: map[*cluster.Object]*Item{}}
}

// item returns the notes on an object.
func (n *notes) item(o *cluster.Object) *Item {
	i := n.items[o]
	if i == nil {
		if o.Namespace != n.namespace {
			//nolint:forbidigo // a rule that reaches beyond its scope must not go on
			panic(fmt.Sprintf("a rule for namespace %q judges %s", n.namespace, o.Ref()))
		}
		i = &Item{Object: o, Verdict: Foreign}
		n.items[o] = i
	}
	return i
}

// own notes strong evidence: from now on the object is Cast AI's.
func (n *notes) own(o *cluster.Object, component *Component, e Evidence) {
	i := n.item(o)
	if i.Component == "" && component != nil {
		i.Component = component.Name
	}
	if !has(i.For, e.Rule) {
		i.For = append(i.For, e)
	}
	if i.Verdict != Owned {
		i.Verdict = Owned
		n.changed = true
	}
}

// hint notes weak evidence: enough to tell a person, never to remove.
func (n *notes) hint(o *cluster.Object, e Evidence) {
	if i := n.item(o); !has(i.Hints, e.Rule) {
		i.Hints = append(i.Hints, e)
	}
}

// deny notes evidence against.
func (n *notes) deny(o *cluster.Object, e Evidence) {
	if i := n.item(o); !has(i.Against, e.Rule) {
		i.Against = append(i.Against, e)
	}
}

func has(list []Evidence, rule string) bool {
	return slices.ContainsFunc(list, func(e Evidence) bool { return e.Rule == rule })
}

func (n *notes) owned(o *cluster.Object) bool {
	i := n.items[o]
	return i != nil && i.Verdict == Owned
}

// noted tells whether anything but proof is known of an object.
func (n *notes) noted(o *cluster.Object) bool {
	i := n.items[o]
	return i != nil && len(i.Hints)+len(i.Against) > 0
}

// ownedObjects returns what is owned so far, in the order of references.
func (n *notes) ownedObjects() []*cluster.Object {
	var out []*cluster.Object
	for o, i := range n.items {
		if i.Verdict == Owned {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b *cluster.Object) int { return a.Ref().Compare(b.Ref()) })
	return out
}

// conclude makes everything unclear that is hinted at and not owned.
func (n *notes) conclude() {
	for _, i := range n.items {
		if i.Verdict != Owned && len(i.Hints) > 0 {
			i.Verdict = Unclear
		}
	}
}

func text(format string, args ...any) string { return fmt.Sprintf(format, args...) }
