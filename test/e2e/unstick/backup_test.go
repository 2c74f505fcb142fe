package unstick

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/internal/backup"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// TestBackup: what unstick-ns takes finalizers off is saved before, and recorded
// while it happens. What was being deleted before is not put back by restore.
func TestBackup(t *testing.T) {
	t.Parallel()
	ns, dir := fresh(t), filepath.Join(t.TempDir(), "saved")
	create(t, configMaps, ns, "held", map[string]any{"data": map[string]any{"key": "value"}}, hold)
	begin(t, ns)

	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	was := state(t, namespaces, "", ns) + state(t, configMaps, ns, "held")
	if r := admin.Expect(t, 3, "unstick-ns", ns, "--yes", "--backup-dir="+blocked); !strings.Contains(r.Stderr,
		"nothing was changed") {
		t.Errorf("without a place for the backup: %s", r)
	}
	if now := state(t, namespaces, "", ns) + state(t, configMaps, ns, "held"); now != was {
		t.Errorf("changed without a backup: %s, was %s", now, was)
	}

	if r := admin.Expect(t, 0, "unstick-ns", ns, "--yes", "--patience=2s",
		"--backup-dir="+dir); !strings.Contains(r.Stderr, dir) {
		t.Errorf("it does not say where the backup is: %s", r)
	}
	saved, err := backup.Open(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	held := slices.IndexFunc(saved.Index.Objects, func(e backup.Entry) bool {
		return e.Kind == "ConfigMap" &&
			e.Name == "held"
	})
	if held < 0 || !slices.Equal(saved.Index.Objects[held].Finalizers, []string{hold}) {
		t.Fatalf("saved: %+v", saved.Index.Objects)
	}
	content, err := os.ReadFile(filepath.Join(dir, saved.Index.Objects[held].File))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(content), "key: value") {
		t.Errorf("saved of it:\n%s", content)
	}
	if err := saved.Close(); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(records(t, dir), func(r backup.Record) bool {
		return r.Type == engine.Stripped && r.Object.Kind == "ConfigMap" && r.Object.Name == "held" && r.Message == hold
	}) {
		t.Error("the report in the backup does not name the finalizer")
	}

	if r := admin.Expect(t, 0, "restore", dir, "--yes"); !strings.Contains(r.Stdout,
		"it was being deleted already when the backup was made") {
		t.Errorf("restore: %s", r)
	}
	if get(t, namespaces, "", ns) != nil {
		t.Error("restore undid a deletion that was somebody else's")
	}
}

// records reads the report of a run from the folder of its backup.
func records(t *testing.T, dir string) []backup.Record {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, backup.ReportName))
	if err != nil {
		t.Fatal(err)
	}
	var out []backup.Record
	for line := range strings.Lines(string(raw)) {
		var r backup.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		out = append(out, r)
	}
	return out
}
