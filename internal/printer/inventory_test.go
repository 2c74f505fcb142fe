package printer

import (
	"bytes"
	"strings"
	"testing"

	"github.com/clipperhouse/displaywidth"

	"github.com/castai/kubectl-castai/pkg/ownership"
)

// On the smallest terminal, the answer comes first and nothing is cut or broken
// inside a word.
func TestInventoryFitsATerminal(t *testing.T) {
	inv, _ := planned(t, 3)
	inv.Blockers = append(inv.Blockers, ownership.Blocker{
		Name: "gitops", Text: "Argo CD manages objects of Cast AI, and would put them back as soon as they are removed",
		Remedy: "remove Cast AI from its Application in Argo CD", Objects: inv.Homes[0].Keep,
	})
	show := func(width int, wide bool) string {
		var out bytes.Buffer
		text := NewText(&out)
		text.width = width
		if text.Inventory(inv, wide); text.Err() != nil {
			t.Fatal(text.Err())
		}
		return out.String()
	}
	out := show(80, false)
	for line := range strings.Lines(out) {
		if displaywidth.String(strings.TrimSuffix(line, "\n")) > 80 || strings.Contains(line, "WHY") {
			t.Errorf("this does not fit 80 columns: %s", line)
		}
	}
	unbroken := strings.Join(strings.Fields(out), " ")
	for _, want := range []string{inv.Blockers[0].Text, inv.Blockers[0].Remedy, "--accept gitops"} {
		if !strings.Contains(unbroken, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if summary, blockers, table := strings.Index(out, "Cast AI's: "), strings.Index(out,
		"To be decided before"), strings.Index(out, "  KIND"); summary > blockers || blockers > table {
		t.Errorf("the answer does not come first:\n%s", out)
	}
	if !strings.Contains(show(120, false), "WHY") {
		t.Error("there is room for reasons")
	}
	if out := show(80, true); strings.Contains(out, "…") || !strings.Contains(out, "castai-001") {
		t.Errorf("-o wide cuts:\n%s", out)
	}
}

// What stays although it looks like Cast AI's is named with the reason.
func TestWhyNot(t *testing.T) {
	inv, _ := planned(t, 1)
	item := *inv.Owned()[0]
	item.Against = []ownership.Evidence{{Rule: "release", Text: "it belongs to the Helm release shop/shop"}}
	var out bytes.Buffer
	text := NewText(&out)
	if text.WhyNot([]*ownership.Item{&item}); text.Err() != nil {
		t.Fatal(text.Err())
	}
	for _, want := range []string{"Not Cast AI's: 1 object", item.Object.Ref().String(),
		"against  it belongs to the Helm release"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	out.Reset()
	if NewText(&out).WhyNot(nil); !strings.Contains(out.String(), "No object of others") {
		t.Errorf("nothing to name is said so: %s", out.String())
	}
}
