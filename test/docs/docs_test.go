// Package docs checks that the documentation says what the code says.
package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

func read(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// The rules in docs/ownership.md are those that evidence names.
func TestRules(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "pkg/footprint/*.go"))
	if err != nil {
		t.Fatal(err)
	}
	inCode := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`Rule: +"([a-z-]+)"`).FindAllSubmatch(source, -1) {
			inCode[string(match[1])] = true
		}
	}
	if len(inCode) < 10 {
		t.Fatalf("only %d rules found in pkg/footprint", len(inCode))
	}
	_, table, _ := strings.Cut(read(t, "docs/ownership.md"), "## The rules")
	inDocs := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]+) \\|").FindAllStringSubmatch(table, -1) {
		for name := range strings.SplitSeq(row[1], ",") {
			inDocs[strings.Trim(name, " `")] = true
		}
	}
	for name := range inCode {
		if !inDocs[name] {
			t.Errorf("docs/ownership.md does not have the rule %s", name)
		}
	}
	for name := range inDocs {
		if !inCode[name] {
			t.Errorf("docs/ownership.md has the rule %s, which does not exist", name)
		}
	}
}

// The exit codes in the README are those that help shows.
func TestExitCodes(t *testing.T) {
	_, help, _ := strings.Cut(read(t, "pkg/plugin/exit.go"), "Exit codes:\n")
	help, _, _ = strings.Cut(help, "`")
	var want []string
	for line := range strings.Lines(help) {
		code, meaning, _ := strings.Cut(strings.TrimSpace(line), " ")
		want = append(want, "| "+code+" | "+strings.TrimSpace(meaning)+" |")
	}
	_, table, _ := strings.Cut(read(t, "README.md"), "|---|---|\n| 0 ")
	table, _, _ = strings.Cut("| 0 "+table, "\n\n")
	if got := strings.Split(table, "\n"); !slices.Equal(got, want) {
		t.Errorf("README.md has\n%s\nand help has\n%s", table, strings.Join(want, "\n"))
	}
}
