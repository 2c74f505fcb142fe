package printer

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/ownership"
)

// Inventory answers what of Cast AI is in the cluster and what an offboarding
// would meet: how much there is, what a person must decide, what is unusual, and
// then the tables. wide names every object with its evidence; otherwise each
// kind is a line.
func (t *Text) Inventory(inv *ownership.Inventory, wide bool) {
	t.identity(inv)
	t.line("")
	t.summary(inv)
	t.Blockers(inv.Blockers)
	t.unclear(inv)
	if n := len(inv.WhyNot()); n > 0 {
		t.line("\n%s of others: near Cast AI's, or like them. status --why-not says why they stay.", count(n, "object"))
	}
	t.homes(inv)
	t.Impact(inv)
	t.unreadable(inv.Unreadable)
	switch owned := inv.Owned(); {
	case len(owned) == 0:
	case wide:
		t.evidence(owned)
	default:
		t.kinds(owned)
		t.line("\n-o wide names each object, with the reason. status TYPE NAME explains one.")
	}
}

// summary is the answer in a line.
func (t *Text) summary(inv *ownership.Inventory) {
	owned, unclear := inv.Owned(), inv.Unclear()
	switch {
	case len(owned)+len(unclear)+len(inv.Unreadable) == 0:
		t.relief("Nothing of Cast AI's is in this cluster.")
		return
	case len(owned) == 0 && len(inv.Unreadable) > 0:
		t.alarm("Nothing of Cast AI's was found, but not everything could be read.")
		return
	}
	text := "Cast AI's: " + count(len(owned), "object")
	if namespaces := namespacesOf(owned); len(namespaces) > 0 {
		text += fmt.Sprintf(", in %s and cluster-wide", count(len(namespaces), "namespace"))
	}
	t.heading("%s. Unclear: %d. To be decided first: %d.", text, len(unclear), len(inv.Blockers))
}

func namespacesOf(items []*ownership.Item) []string {
	seen := map[string]bool{}
	for _, i := range items {
		if i.Object.Namespace != "" {
			seen[i.Object.Namespace] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// evidence shows a line for each object. Who asks for all gets all: no line is cut.
func (t *Text) evidence(items []*ownership.Item) {
	rows := [][]string{{"  KIND", "NAMESPACE", "NAME", "WHY"}}
	for _, i := range items {
		rows = append(rows, []string{"  " + kindName(i.Object.Ref()), cmp.Or(i.Object.Namespace, "-"), i.Object.Name,
			i.For[0].Text})
	}
	t.line("")
	t.whole(rows)
}

// whole writes a table that is not cut to the width of the terminal.
func (t *Text) whole(rows [][]string) {
	width := t.width
	t.width = 0
	t.table(rows)
	t.width = width
}

// whyNeeds is how many columns a terminal must have for reasons to be read there.
const whyNeeds = 120

// kinds shows a line for each kind: how many, where, and, where there is room,
// why for the first.
func (t *Text) kinds(items []*ownership.Item) {
	byKind := map[string][]*ownership.Item{}
	for _, i := range items {
		byKind[kindName(i.Object.Ref())] = append(byKind[kindName(i.Object.Ref())], i)
	}
	why := t.width == 0 || t.width >= whyNeeds
	rows := [][]string{{"  KIND", "COUNT", "WHERE"}}
	if why {
		rows[0] = append(rows[0], "WHY")
	}
	for _, kind := range slices.Sorted(maps.Keys(byKind)) {
		list := byKind[kind]
		row := []string{"  " + kind, fmt.Sprint(len(list)), cmp.Or(some(namespacesOf(list), 2), "-")}
		if why {
			row = append(row, fmt.Sprintf("%s: %s", list[0].Object.Name, list[0].For[0].Text))
		}
		rows = append(rows, row)
	}
	t.line("")
	t.table(rows)
}

// Blockers lists what a person must decide first, with the remedy.
func (t *Text) Blockers(list []ownership.Blocker) {
	if len(list) == 0 {
		return
	}
	t.line("")
	t.alarm("To be decided before an offboarding:")
	for _, b := range list {
		t.line("  %s: %s (%s)", b.Name, b.Text, strings.Join(refs(b.Objects), ", "))
		t.line("    %s", b.Remedy)
		t.line("    or to go on all the same: --accept %s", b.Name)
	}
}
