// Package versions keeps docs/versions.md: on which versions of Kubernetes the
// tests ran, and what came of it.
package versions

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Checks are what runs on each version: a name and a package of the test module
// with tests, or the demo.
var Checks = []struct{ Name, Package string }{
	{"demo", ""},
	{"offboard", "./e2e"},
	{"restore", "./e2e/restore"},
	{"unstick-ns", "./e2e/unstick"},
	{"hibernate", "./e2e/hibernate"},
	{"attack", "./e2e/attack"},
}

// Result is one check on one version.
type Result struct {
	Version string `json:"version"` // as the server says it, v1.36.3
	Emulate string `json:"emulate,omitempty"`
	Check   string `json:"check"`
	Passed  int    `json:"passed"`
	Failed  int    `json:"failed"`
	Skipped int    `json:"skipped,omitempty"`
	Broken  bool   `json:"broken,omitempty"` // it did not run to its end
	Commit  string `json:"commit"`
	Date    string `json:"date"` // YYYY-MM-DD
}

// Read returns the results in docs/versions.json of a checkout; none if there is
// no such file.
func Read(root string) ([]Result, error) {
	content, err := os.ReadFile(filepath.Join(root, "docs", "versions.json"))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Result
	if err := json.Unmarshal(content, &out); err != nil {
		return nil, fmt.Errorf("read docs/versions.json: %w", err)
	}
	return out, nil
}

// Add puts a result in the place of the one before of the same version and check.
func Add(results []Result, r Result) []Result {
	results = slices.DeleteFunc(slices.Clone(results), func(old Result) bool {
		return old.name() == r.name() && old.Check == r.Check
	})
	results = append(results, r)
	slices.SortStableFunc(results, func(a, b Result) int { return a.order() - b.order() })
	return results
}

// Write writes docs/versions.json and docs/versions.md of a checkout.
func Write(root string, results []Result) error {
	content, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return err
	}
	docs := filepath.Join(root, "docs")
	err = os.WriteFile(filepath.Join(docs, "versions.json"), append(content, '\n'), 0o644) //nolint:gosec // a page
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(docs, "versions.md"), []byte(Page(results)), 0o644) //nolint:gosec // a page
}

// name is the version without its patch release, with the version it behaves as.
func (r Result) name() string {
	parts := strings.SplitN(strings.TrimPrefix(r.Version, "v"), ".", 3)
	name := strings.Join(parts[:min(2, len(parts))], ".")
	if r.Emulate != "" {
		name += " as " + r.Emulate
	}
	return name
}

// order sorts by the version that a server behaves as, then by check.
func (r Result) order() int {
	minor := r.Emulate
	if minor == "" {
		minor = r.name()
	}
	_, after, _ := strings.Cut(minor, ".")
	n, _ := strconv.Atoi(after) // no number sorts first
	check := slices.IndexFunc(Checks, func(c struct{ Name, Package string }) bool { return c.Name == r.Check })
	return n*100 + check
}

// Page renders docs/versions.md.
func Page(results []Result) string {
	var b strings.Builder
	b.WriteString(intro)
	b.WriteString("| Kubernetes |")
	for _, c := range Checks {
		b.WriteString(" " + c.Name + " |")
	}
	b.WriteString(" run at |\n|---|" + strings.Repeat("---|", len(Checks)+1) + "\n")
	var rows []string
	cells := map[string]map[string]Result{}
	for _, r := range results {
		if cells[r.name()] == nil {
			rows, cells[r.name()] = append(rows, r.name()), map[string]Result{}
		}
		cells[r.name()][r.Check] = r
	}
	for _, row := range rows {
		var last Result
		var line strings.Builder
		for _, c := range Checks {
			r, ok := cells[row][c.Name]
			if !ok {
				line.WriteString(" |")
				continue
			}
			line.WriteString(" " + r.cell() + " |")
			if r.Date >= last.Date {
				last = r
			}
		}
		fmt.Fprintf(&b, "| %s |%s %s, %s |\n", last.label(), line.String(), last.Commit, last.Date)
	}
	b.WriteString(policy)
	return b.String()
}

func (r Result) label() string {
	if r.Emulate != "" {
		return r.Version + " as " + r.Emulate
	}
	return r.Version
}

func (r Result) cell() string {
	switch {
	case r.Broken:
		return "did not end"
	case r.Check == "demo" && r.Failed == 0:
		return "ok"
	case r.Check == "demo":
		return "failed"
	}
	text := fmt.Sprintf("%d of %d", r.Passed, r.Passed+r.Failed)
	if r.Skipped > 0 {
		text += fmt.Sprintf(", %d skipped", r.Skipped)
	}
	return text
}

const intro = `# Versions of Kubernetes

` + "`make test-versions`" + ` builds each control plane from its Go modules and runs the demo and the
end-to-end tests on it. The table shows the last run of each: tests that passed, of how
many. An empty cell was not run. "1.36 as 1.35" is a server of 1.36 that behaves as 1.35
(` + "`--emulated-version`" + `).

`

const policy = `
## What is supported

1.30 and later: the versions that Kubernetes itself and the extended support of EKS, GKE
and AKS keep alive. The plugin never asks for the version; it asks the server what it
serves:

- Where API priority and fairness is off, the plugin alone limits its requests in flight.
- Before 1.33, the namespace controller does not remove pods before the rest.
`
