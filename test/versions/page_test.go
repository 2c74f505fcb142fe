package versions

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAddReplaces(t *testing.T) {
	var results []Result
	results = Add(results, Result{Version: "v1.36.3", Check: "offboard", Passed: 1, Failed: 1, Date: "2026-01-01"})
	results = Add(results, Result{Version: "v1.30.14", Check: "offboard", Passed: 3, Date: "2026-01-02"})
	results = Add(results, Result{Version: "v1.36.4", Check: "offboard", Passed: 2, Date: "2026-01-03"})
	results = Add(results, Result{Version: "v1.36.4", Emulate: "1.35", Check: "demo", Failed: 1, Date: "2026-01-03"})
	if len(results) != 3 || results[0].Version != "v1.30.14" || results[1].Emulate != "1.35" || results[2].Passed != 2 {
		t.Fatalf("got %+v", results)
	}
	page := Page(results)
	for _, want := range []string{"| v1.30.14 | | 3 of 3 |", "| v1.36.4 as 1.35 | failed |", "| v1.36.4 | | 2 of 2 |"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not in\n%s", want, page)
		}
	}
	if strings.Contains(page, "1 of 2") {
		t.Errorf("a replaced result is in\n%s", page)
	}
}

// The page is the one that the results make.
func TestPage(t *testing.T) {
	root := filepath.Join("..", "..")
	results, err := Read(root)
	if err != nil || len(results) == 0 {
		t.Fatalf("%d results: %v", len(results), err)
	}
	content, err := os.ReadFile(filepath.Join(root, "docs", "versions.md"))
	if err != nil {
		t.Fatal(err)
	}
	if want := Page(results); string(content) != want {
		t.Errorf("docs/versions.md is not what docs/versions.json makes:\n%s", want)
	}
}
