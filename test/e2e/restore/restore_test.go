package restore

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/kubectl-castai/internal/backup"
	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/test/fixtures"
	"github.com/castai/kubectl-castai/test/schema"
)

// impossible are the objects and fields that can't come back, with the reasons.
// A path is that of go-cmp, without quotes and brackets.
var impossible = []struct{ id, path, why string }{
	{"", "metadata.finalizers", "they are set by the controllers that remove them, and no such controller runs here"},
	{"Service/", "spec.clusterIP", "the address may be somebody else's by now"},
	{"Service/", "spec.clusterIPs", "the address may be somebody else's by now"},
	{"Job.batch/", "controller-uid", "the server generates it from the new UID"},
	{"Node/", "", "a node is registered by who runs it"},
	{"Lease.coordination.k8s.io/", "", "who needs it takes it again"},
}

func TestRoundTrip(t *testing.T) {
	for _, set := range []fixtures.Set{fixtures.Small, fixtures.All} {
		t.Run(string(set), func(t *testing.T) { roundTrip(t, set) })
	}
}

func roundTrip(t *testing.T, set fixtures.Set) {
	install(t, set)
	ids, err := fixtures.OwnedRefs(set)
	if err != nil {
		t.Fatal(err)
	}
	before := contents(t, ids)
	if len(before) < 20 {
		t.Fatalf("only %d objects were found", len(before))
	}

	dir := filepath.Join(t.TempDir(), "backup")
	r := offboard(t, dir)
	if !strings.Contains(r.Stderr, "Secrets") || !strings.Contains(r.Stderr, dir) {
		t.Errorf("it does not say where the backup is, and that it holds Secrets: %s", r.Stderr)
	}
	private(t, dir)
	recorded(t, dir)
	index, err := os.ReadFile(filepath.Join(dir, backup.IndexName))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(index); err != nil {
		t.Errorf("the index of the backup does not fit its schema: %v", err)
	}
	admin.Expect(t, 0, "verify")

	server.Unchanged(t, func() {
		admin.Expect(t, 0, "restore", dir, "--dry-run=client")
		admin.Expect(t, 0, "restore", dir, "--dry-run=server")
		var plan printer.Restore
		admin.Expect(t, 0, "restore", dir, "--dry-run=client", "-o", "json").Document(t, &plan)
		if len(plan.Phases) < 5 || len(plan.Impossible) == 0 || len(plan.Differences) == 0 || plan.Report != nil {
			t.Errorf("the plan is %+v", plan)
		}
		admin.Expect(t, 3, "restore", dir)
	})
	r = admin.Expect(t, 0, "restore", dir, "--yes")
	if !strings.Contains(r.Stdout, "put back") {
		t.Errorf("restore says:\n%s", r.Stdout)
	}
	server.Settled(t)

	after := contents(t, ids)
	missing := back(t, before, after)

	server.Unchanged(t, func() {
		r := admin.Expect(t, 0, "restore", dir, "--yes")
		if !strings.Contains(r.Stdout, "There already, as it was") {
			t.Errorf("a second restore says:\n%s", r.Stdout)
		}
		var done printer.Restore
		admin.Expect(t, 0, "restore", dir, "--yes", "-o", "json").Document(t, &done)
		if len(done.Phases) > 0 || done.There < len(before)-missing {
			t.Errorf("a third restore says %+v", done)
		}
	})
}

// back fails the test unless all is as before that can be, and returns how many
// objects can't come back.
func back(t *testing.T, before, after map[string]map[string]any) (missing int) {
	t.Helper()
	equal := 0
	for _, id := range slices.Sorted(maps.Keys(before)) {
		if after[id] == nil {
			if reason(id, "") == "" {
				t.Errorf("%s did not come back", id)
			}
			missing++
			continue
		}
		changes := &changes{id: id}
		if cmp.Equal(before[id], after[id], cmp.Reporter(changes)) || len(changes.found) == 0 {
			equal++
		}
		for _, c := range changes.found {
			t.Errorf("%s: %s", id, c)
		}
	}
	t.Logf("%d objects, %d as before, %d can't come back", len(before), equal, missing)
	return missing
}

// reason says why a difference is to be expected, or nothing.
func reason(id, path string) string {
	for _, i := range impossible {
		if strings.HasPrefix(id, i.id) && (i.path == "" || path != "" && strings.Contains(path, i.path)) {
			return i.why
		}
	}
	return ""
}

// changes collects the differences between two states of an object that are not
// to be expected.
type changes struct {
	id    string
	path  cmp.Path
	found []string
}

func (c *changes) PushStep(s cmp.PathStep) { c.path = append(c.path, s) }
func (c *changes) PopStep()                { c.path = c.path[:len(c.path)-1] }

func (c *changes) Report(r cmp.Result) {
	if r.Equal() {
		return
	}
	var keys []string
	for _, step := range c.path {
		if index, ok := step.(cmp.MapIndex); ok {
			keys = append(keys, index.Key().String())
		}
	}
	path := strings.Join(keys, ".")
	if reason(c.id, path) == "" {
		was, is := c.path.Last().Values()
		text := func(v any) string { raw, _ := json.Marshal(v); return string(raw) }
		var a, b any
		if was.IsValid() {
			a = was.Interface()
		}
		if is.IsValid() {
			b = is.Interface()
		}
		c.found = append(c.found, path+": was "+text(a)+", is "+text(b))
	}
}

// private fails the test if others may read anything in a folder.
func private(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has the mode %s", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(dir), ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary folders are left: %v, %v", left, err)
	}
}

// recorded fails the test unless the report in the backup goes to the end.
func recorded(t *testing.T, dir string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, backup.ReportName))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	var last backup.Record
	for _, line := range lines {
		last = backup.Record{}
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Errorf("%v in %q", err, line)
		}
	}
	if last.Type != backup.Ended || last.Error != "" || len(lines) < 10 {
		t.Errorf("%d lines, the last is %+v", len(lines), last)
	}
}
