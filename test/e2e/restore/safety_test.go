package restore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/castai/kubectl-castai/internal/backup"
	"github.com/castai/kubectl-castai/test/fixtures"
)

var (
	namespaces  = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	configMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	budgets     = schema.GroupVersionResource{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"}
)

// Where no backup can be written, nothing is removed.
func TestBackupThatCannotBeMade(t *testing.T) {
	install(t, fixtures.Agent)
	parent := t.TempDir()
	file := filepath.Join(parent, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Join(file, "backup"), filepath.Join(parent, "no", "backup"), parent, file,
		"/proc/backup"} {
		server.Unchanged(t, func() {
			r := admin.Expect(t, 3, "offboard", "--yes", "--backup-dir", dir)
			if !strings.Contains(r.Stderr, "nothing was changed") || strings.Count(strings.TrimSpace(r.Stderr), "\n") > 0 {
				t.Errorf("%s: it says %q", dir, r.Stderr)
			}
		})
	}
	admin.Expect(t, 2, "offboard", "--yes", "--no-backup", "--backup-dir", parent)
}

func TestRefusals(t *testing.T) {
	install(t, fixtures.Agent)
	dir := filepath.Join(t.TempDir(), "backup")
	offboard(t, dir)
	const config = "namespaces/castai-agent/configmaps/castai-agent-metadata.yaml"

	for _, test := range []struct {
		name string
		code int
		do   func(dir string) error
		says string
	}{
		{"another cluster", 3, edit(backup.IndexName, `"kubeSystemUID": "`, `"kubeSystemUID": "1`), "another cluster"},
		{"path traversal", 3, edit(backup.IndexName, `"`+config+`"`, `"../../etc/passwd"`), "edited"},
		{"a link", 3, func(dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "link")) }, "link"},
		{"an edited file", 3, edit(config, "data:", "data:\n  mine: theirs"), "--accept-edits"},
		{"an added grant, with a new checksum", 3, grant(config), "has been changed"},
		{"an unknown version", 2, edit(backup.IndexName, "v1alpha1", "v1"), "version"},
		{"a part of the index", 2, edit(backup.IndexName, "\n}\n", ""), "cut off"},
		{"no backup", 2, func(dir string) error { return os.Remove(filepath.Join(dir, backup.IndexName)) }, "not a backup"},
	} {
		t.Run(test.name, func(t *testing.T) {
			other := filepath.Join(t.TempDir(), "copy")
			if err := os.CopyFS(other, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			if err := test.do(other); err != nil {
				t.Fatal(err)
			}
			server.Unchanged(t, func() {
				r := admin.Expect(t, test.code, "restore", other, "--yes")
				if !strings.Contains(r.Stderr, test.says) || strings.Count(strings.TrimSpace(r.Stderr), "\n") > 0 {
					t.Errorf("it says %q", r.Stderr)
				}
			})
		})
	}
	nobody, err := server.User("nobody")
	if err != nil {
		t.Fatal(err)
	}
	server.Unchanged(t, func() {
		r, err := admin.Kubeconfig(nobody).Castai(t.Context(), "restore", dir, "--yes")
		if err != nil || r.Code != 3 {
			t.Errorf("somebody without rights: %v, %s", err, r)
		}
	})
	if r := admin.Expect(t, 0, "restore"); !strings.Contains(r.Stdout, dir) || !strings.Contains(r.Stdout, "ended") {
		t.Errorf("the list of backups does not name %s: %s", dir, r)
	}
	admin.Expect(t, 2, "restore", filepath.Join(dir, "nowhere"))

	if err := edit(config, "data:", "data:\n  mine: theirs")(dir); err != nil {
		t.Fatal(err)
	}
	admin.Expect(t, 0, "restore", dir, "--yes", "--accept-edits")
	u, err := api.Resource(configMaps).Namespace("castai-agent").Get(t.Context(), "castai-agent-metadata",
		metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if value, _, err := unstructured.NestedString(u.Object, "data", "mine"); err != nil || value != "theirs" {
		t.Errorf("the edit has the value %q, %v", value, err)
	}
}

// edit returns a function that replaces text in a file of a backup.
func edit(file, old, text string) func(dir string) error {
	return func(dir string) error {
		path := filepath.Join(dir, filepath.FromSlash(file))
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		changed := bytes.Replace(raw, []byte(old), []byte(text), 1)
		return os.WriteFile(path, changed, 0o600) //nolint:gosec // in a temporary folder
	}
}

// grant returns a function that gives an object of a backup other content, and
// writes the checksum of that into the index, as whoever can write the folder can.
func grant(file string) func(dir string) error {
	return func(dir string) error {
		sum := func() (string, error) {
			raw, err := os.ReadFile(filepath.Join(dir, file))
			return fmt.Sprintf("%x", sha256.Sum256(raw)), err
		}
		before, err := sum()
		if err != nil {
			return err
		}
		if err := edit(file, "data:", "data:\n  mine: theirs")(dir); err != nil {
			return err
		}
		after, err := sum()
		if err != nil {
			return err
		}
		return edit(backup.IndexName, before, after)(dir)
	}
}

// A folder that was not made here is restored only by who knows its digest.
func TestFolderFromElsewhere(t *testing.T) {
	install(t, fixtures.Agent)
	dir := filepath.Join(t.TempDir(), "backup")
	offboard(t, dir)
	elsewhere := admin.With("HOME=" + t.TempDir())
	server.Unchanged(t, func() {
		elsewhere.Expect(t, 0, "restore", dir, "--dry-run=client")
		elsewhere.Expect(t, 3, "restore", dir, "--yes", "--digest=sha256:1")
	})
	r := elsewhere.Expect(t, 3, "restore", dir, "--yes")
	sum, err := backup.Digest(dir)
	if err != nil {
		t.Fatal(err)
	}
	// The digest of a folder that somebody changed is no answer to pass.
	if !strings.Contains(r.Stderr, "pass --digest") || strings.Contains(r.Stderr, sum) {
		t.Errorf("it says %q", r.Stderr)
	}
	elsewhere.Expect(t, 0, "restore", dir, "--yes", "--digest="+sum)
}

func TestWithoutSecrets(t *testing.T) {
	install(t, fixtures.Agent)
	r := admin.Expect(t, 0, "offboard", "--yes", "--backup-secrets=false", "--clean-up-timeout=5s", "--settle=0")
	// Commands run in the folder of the cluster.
	folders, err := filepath.Glob(filepath.Join(server.Dir(), "castai-offboard-castai-test-*Z"))
	if err != nil || len(folders) != 1 {
		t.Fatalf("%v, %v after %s", folders, err, r)
	}
	dir := folders[0]
	private(t, dir)
	if !strings.Contains(r.Stderr, "not in it") {
		t.Errorf("it says %q", r.Stderr)
	}
	secrets, err := filepath.Glob(filepath.Join(dir, "namespaces", "*", "secrets", "*.yaml"))
	if err != nil || len(secrets) == 0 {
		t.Fatalf("%v, %v", secrets, err)
	}
	for _, file := range secrets {
		raw, err := os.ReadFile(file)
		if err != nil || bytes.Contains(raw, []byte("\ndata:")) {
			t.Errorf("%s: %v\n%s", file, err, raw)
		}
	}
	r = admin.Expect(t, 0, "restore", dir, "--yes")
	if !strings.Contains(r.Stdout, "its data was left out of the backup") {
		t.Errorf("it says %q", r.Stdout)
	}
}

// kill starts an offboarding and kills it when it has written so many lines.
func kill(t *testing.T, dir string, lines int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandTimeout)
	defer cancel()
	cmd := admin.Command(ctx, "offboard", "--yes", "--backup-dir", dir, "--clean-up-timeout=5s", "--settle=0")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var raw []byte
	err := wait.PollUntilContextCancel(ctx, time.Millisecond, true, func(context.Context) (bool, error) {
		raw, _ = os.ReadFile(filepath.Join(dir, backup.ReportName)) // not there yet
		return bytes.Count(raw, []byte("\n")) >= lines, nil
	})
	if err != nil {
		t.Fatalf("%v after:\n%s", err, raw)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if raw, err = os.ReadFile(filepath.Join(dir, backup.ReportName)); err != nil ||
		bytes.Contains(raw, []byte(`"type":"ended"`)) {
		t.Logf("it was over before it was killed, %v", err)
	}
}

// A run that was killed is undone from its backup, and so are it and the next
// one, whose backup is made in the middle of it.
func TestRestoreAfterAKill(t *testing.T) {
	install(t, fixtures.Small)
	duplicate(t)
	ids, err := fixtures.OwnedRefs(fixtures.Small)
	if err != nil {
		t.Fatal(err)
	}
	before := contents(t, ids)
	for _, lines := range []int{2, 8, 20, 60} {
		first, second := filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "second")
		kill(t, first, lines)
		if lines == 20 {
			offboard(t, second)
			admin.Expect(t, 0, "restore", second, "--yes")
		}
		ctx, cancel := context.WithTimeout(t.Context(), commandTimeout)
		// What was asked to go when the run was killed goes by itself, or with the next run.
		err := wait.PollUntilContextCancel(ctx, time.Second, true, func(ctx context.Context) (bool, error) {
			r, err := admin.Castai(ctx, "restore", first, "--yes")
			if r.Code == 4 {
				t.Logf("held: %s", r.Stderr)
			} else if r.Code != 0 {
				t.Fatalf("restore: %s", r)
			}
			return r.Code == 0, err
		})
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		server.Settled(t)
		t.Logf("killed after %d lines", lines)
		back(t, before, contents(t, ids))
	}
}

// duplicate gives a Deployment an environment variable twice, which Kubernetes
// accepts in an update, but not in a server-side apply.
func duplicate(t *testing.T) {
	t.Helper()
	patch, err := json.Marshal([]map[string]any{{"op": "add", "path": "/spec/template/spec/containers/0/env",
		"value": []map[string]string{
			{"name": "TWICE", "value": "1"}, {"name": "TWICE", "value": "2"},
		}}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = api.Resource(deployments).Namespace("castai-agent").Patch(t.Context(), "castai-agent", types.JSONPatchType,
		patch, metav1.PatchOptions{FieldManager: "helm"})
	if err != nil {
		t.Fatal(err)
	}
	server.Settled(t)
}
