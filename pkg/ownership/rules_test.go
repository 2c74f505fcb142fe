package ownership

import (
	"os"
	"strings"
	"testing"
)

const (
	tableBegins = "<!-- The rules of pkg/ownership/rules.go: UPDATE=1 go test ./pkg/ownership -run TestRulesAreDocumented -->\n"
	tableEnds   = "<!-- End of the rules. -->\n"
)

// The table of rules in docs/ownership.md is that of the code, row by row.
func TestRulesAreDocumented(t *testing.T) {
	const file = "../../docs/ownership.md"
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(raw), tableBegins)
	table, after, ended := strings.Cut(rest, tableEnds)
	if !found || !ended {
		t.Fatalf("%s has no table of rules", file)
	}
	want := rulesTable()
	if table == want {
		return
	}
	if os.Getenv("UPDATE") == "" {
		t.Fatalf("%s has\n%s\nand the code\n%s", file, table, want)
	}
	if err := os.WriteFile(file, []byte(before+tableBegins+want+tableEnds+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func rulesTable() string {
	var b strings.Builder
	b.WriteString("\n| Evidence | Judges | What makes it Cast AI's |\n|---|---|---|\n")
	row := func(evidence []string, scope, doc string) {
		b.WriteString("| `" + strings.Join(evidence, "`, `") + "` | " + scope + " | " + doc + " |\n")
	}
	for _, r := range clusterRules {
		row(r.evidence, "cluster", r.doc)
	}
	for _, r := range spaceRules {
		scope := "namespace"
		if r.home {
			scope = "home"
		}
		row(r.evidence, scope, r.doc)
	}
	b.WriteString("\n")
	return b.String()
}
