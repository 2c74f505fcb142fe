// Package docs checks that the documentation says what the code says.
package docs

import (
	"cmp"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/castai/kubectl-castai/pkg/ownership"
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
	files, err := filepath.Glob(filepath.Join(root, "pkg/ownership/*.go"))
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
		t.Fatalf("only %d rules found in pkg/ownership", len(inCode))
	}
	_, table, _ := strings.Cut(read(t, "docs/ownership.md"), "## The rules")
	inDocs := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]+) \\|").FindAllStringSubmatch(table, -1) {
		for name := range strings.SplitSeq(row[1], ",") {
			inDocs[strings.Trim(name, " `")] = true
		}
	}
	same(t, "docs/ownership.md", inDocs, inCode)
}

// same fails the test unless a document says what is so, and nothing else.
func same(t *testing.T, document string, said, so map[string]bool) {
	t.Helper()
	for s := range so {
		if !said[s] {
			t.Errorf("%s does not have %s", document, s)
		}
	}
	for s := range said {
		if !so[s] {
			t.Errorf("%s has %s, which is not so", document, s)
		}
	}
}

// The role for offboard names every API group of which the catalogue knows kinds,
// and that for restore may create what that for offboard may delete.
func TestRoles(t *testing.T) {
	granted := func(name, verb string) (out []string) {
		var role rbacv1.ClusterRole
		if err := yaml.UnmarshalStrict([]byte(read(t, "docs/rbac/"+name+".yaml")), &role); err != nil {
			t.Fatal(err)
		}
		for _, rule := range role.Rules {
			if !slices.Contains(rule.Verbs, verb) {
				continue
			}
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					out = append(out, resource+"."+group)
				}
			}
		}
		slices.Sort(out)
		return out
	}
	deleted := granted("offboard", "delete")
	if created := granted("restore", "create"); !slices.Equal(deleted, created) {
		t.Errorf("offboard may delete\n%s\nand restore may create\n%s", deleted, created)
	}
	cat, err := ownership.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	for _, component := range cat.Components {
		for _, group := range component.Groups {
			if !slices.Contains(deleted, "*."+group) {
				t.Errorf("docs/rbac/offboard.yaml lacks the API group %s of %s", group, component.Name)
			}
		}
	}
}

// The picture of the packages shows what imports what. As the text beside it says,
// it leaves out plugin's imports but one, and that of cluster where another leads there.
func TestArchitecture(t *testing.T) {
	drawn := map[string]bool{}
	for _, arrow := range regexp.MustCompile(`(?m)^    (\S+) --> (\S+)$`).FindAllStringSubmatch(read(t, "docs/design.md"),
		-1) {
		drawn[arrow[1]+" -> "+arrow[2]] = true
	}
	var folders []string
	for _, tree := range []string{"pkg", "internal"} {
		found, err := filepath.Glob(filepath.Join(root, tree, "*"))
		if err != nil {
			t.Fatal(err)
		}
		folders = append(folders, found...)
	}
	imports := map[string]bool{"cmd/kubectl-castai -> plugin": true, "plugin -> printer": true}
	for _, folder := range folders {
		from := filepath.Base(folder)
		for _, to := range imported(t, folder) {
			if from != "plugin" && (to != "cluster" || from == "engine" || from == "ownership") {
				imports[from+" -> "+to] = true
			}
		}
	}
	same(t, "docs/design.md", drawn, imports)
}

// imported returns the packages of this project that a folder imports, outside of
// its tests.
func imported(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range source.Imports {
			name, ok := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), "github.com/castai/kubectl-castai/")
			if ok && !strings.HasPrefix(name, "cmd/") {
				out = append(out, path.Base(name))
			}
		}
	}
	return out
}

// The exit codes in the documentation are those that help shows.
func TestExitCodes(t *testing.T) {
	_, help, _ := strings.Cut(read(t, "pkg/plugin/exit.go"), "Exit codes:\n")
	help, _, _ = strings.Cut(help, "`")
	var want []string
	for line := range strings.Lines(help) {
		code, meaning, _ := strings.Cut(strings.TrimSpace(line), " ")
		want = append(want, "| "+code+" | "+strings.TrimSpace(meaning)+" |")
	}
	_, table, _ := strings.Cut(read(t, "docs/first-run.md"), "|---|---|\n| 0 ")
	table, _, _ = strings.Cut("| 0 "+strings.TrimSpace(table), "\n\n")
	if got := strings.Split(table, "\n"); !slices.Equal(got, want) {
		t.Errorf("docs/first-run.md has\n%s\nand help has\n%s", table, strings.Join(want, "\n"))
	}
}

// Each test that the documentation names is one.
func TestNamedTests(t *testing.T) {
	are := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return cmp.Or(err, filepath.SkipDir)
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		source, err := os.ReadFile(path)
		for _, match := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(source, -1) {
			are[string(match[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	documents, err := filepath.Glob(filepath.Join(root, "docs/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, document := range documents {
		content, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(string(content), -1) {
			if named++; !are[name] {
				t.Errorf("%s names %s, and there is no such test", document, name)
			}
		}
	}
	if named < 100 {
		t.Errorf("only %d tests are named", named)
	}
}

// Each sentence of Cast AI's documentation has a command, and a test.
func TestSentencesOfPausing(t *testing.T) {
	_, table, _ := strings.Cut(read(t, "docs/hibernate.md"), "| It says |")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(table, "\n")[2:]
	if len(rows) < 26 {
		t.Fatalf("%d rows are found", len(rows))
	}
	for _, row := range rows {
		if cells := strings.Split(row, " | "); len(cells) != 3 || cells[1] == "" || !strings.Contains(cells[2], "Test") {
			t.Errorf("no command, or no test: %s", row)
		}
	}
}
