package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each test that the table of scenarios names exists: in test/e2e/unstick, or, in italics,
// in pkg/finalize.
func TestScenarios(t *testing.T) {
	_, table, _ := strings.Cut(read(t, "docs/stuck-namespaces.md"), "## Scenarios")
	named := regexp.MustCompile(`(\*?)(Test\w+)`).FindAllStringSubmatch(table, -1)
	if len(named) < 30 {
		t.Fatalf("the table names only %d tests", len(named))
	}
	files := map[string]string{"": "test/e2e/unstick", "*": "pkg/finalize"}
	there := map[string]string{}
	for mark, folder := range files {
		paths, err := filepath.Glob(filepath.Join(root, folder, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			there[mark] += string(source)
		}
	}
	for _, name := range named {
		if !strings.Contains(there[name[1]], "\nfunc "+name[2]+"(") {
			t.Errorf("%s is not in %s", name[2], files[name[1]])
		}
	}
}
