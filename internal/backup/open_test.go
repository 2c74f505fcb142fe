package backup

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

const (
	agentFile = "namespaces/castai-agent/deployments.apps/castai-agent.yaml"
	saFile    = "namespaces/castai-agent/serviceaccounts/castai-agent.yaml"
)

// replace replaces text in a file of a backup.
func replace(t *testing.T, dir, file, old, text string) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(file))
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), old) {
		t.Fatalf("%s has no %q:\n%s", file, old, raw)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(raw), old, text, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestHostileFolders(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside.yaml")
	if err := os.WriteFile(outside, []byte("{apiVersion: v1, kind: Secret, metadata: {name: x}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		do      func(t *testing.T, dir string)
		refused bool
		says    string
	}{
		"path traversal": {func(t *testing.T, dir string) {
			replace(t, dir, IndexName, `"`+agentFile+`"`, `"../../outside.yaml"`)
		}, true, "somebody has edited it"},
		"absolute path": {func(t *testing.T, dir string) {
			replace(t, dir, IndexName, `"`+agentFile+`"`, `"`+filepath.ToSlash(outside)+`"`)
		}, true, "somebody has edited it"},
		"a link to a file": {func(t *testing.T, dir string) {
			path := filepath.Join(dir, filepath.FromSlash(agentFile))
			if err := errors.Join(os.Remove(path), os.Symlink(outside, path)); err != nil {
				t.Fatal(err)
			}
		}, true, "is not a file"},
		"a link to a folder": {func(t *testing.T, dir string) {
			path := filepath.Join(dir, "cluster")
			if err := errors.Join(os.RemoveAll(path), os.Symlink(filepath.Dir(outside), path)); err != nil {
				t.Fatal(err)
			}
		}, true, "is not a file"},
		"a link that nothing uses": {func(t *testing.T, dir string) {
			if err := os.Symlink(outside, filepath.Join(dir, "more")); err != nil {
				t.Fatal(err)
			}
		}, true, "more is not a file"},
		"an edited file": {func(t *testing.T, dir string) { replace(t, dir, agentFile, "replicas: 2", "replicas: 3") }, true,
			"--accept-edits"},
		"another object in a file": {func(t *testing.T, dir string) {
			replace(t, dir, agentFile, "name: castai-agent\n  namespace", "name: other\n  namespace")
		}, true, "another object"},
		"another kind in a file": {func(t *testing.T, dir string) {
			replace(t, dir, agentFile, "kind: Deployment",
				"kind: DaemonSet")
		}, true, "another object"},
		"no YAML in a file": {func(t *testing.T, dir string) {
			replace(t, dir, agentFile, "kind: Deployment",
				"\tkind: [")
		}, true, "can't be read"},
		"a key twice in a file": {func(t *testing.T, dir string) {
			replace(t, dir, agentFile, "kind: Deployment", "kind: Deployment\nkind: Secret")
		}, true, "can't be read"},
		"two objects in a file": {func(t *testing.T, dir string) { replace(t, dir, saFile, "kind:", "kind: x\n---\nkind:") },
			true, ""},
		"a missing file": {func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, filepath.FromSlash(agentFile))); err != nil {
				t.Fatal(err)
			}
		}, true, "is missing"},
		"an object twice in the index": {func(t *testing.T, dir string) {
			replace(t, dir, IndexName, `"objects": [`,
				`"objects": [{"kind":"ServiceAccount","namespace":"castai-agent","name":"castai-agent","version":"v1",
				"resource":"serviceaccounts","uid":"u","file":"`+saFile+`","sha256":"`+strings.Repeat("0", 64)+`"},`)
		}, true, "twice"},
		"an index that is cut off": {func(t *testing.T, dir string) {
			raw, err := os.ReadFile(filepath.Join(dir, IndexName))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, IndexName), raw[:len(raw)/2], 0o600); err != nil {
				t.Fatal(err)
			}
		}, false, "cut off"},
		"an empty index": {func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, IndexName), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, false, "cut off"},
		"an unknown version": {func(t *testing.T, dir string) { replace(t, dir, IndexName, "v1alpha1", "v9") }, false, "v9"},
		"another document": {func(t *testing.T, dir string) {
			replace(t, dir, IndexName, `"kind": "Backup"`,
				`"kind": "Report"`)
		}, false, "Report"},
		"no cluster": {func(t *testing.T, dir string) {
			replace(t, dir, IndexName, `"kubeSystemUID": "test"`, `"kubeSystemUID": ""`)
		}, false, "which cluster"},
		"no checksum": {func(t *testing.T, dir string) { replace(t, dir, IndexName, `"sha256": "`, `"sha256": "zz`) }, false,
			"checksum"},
		"no index": {func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, IndexName)); err != nil {
				t.Fatal(err)
			}
		}, false, "is not a backup"},
		"no folder": {func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir, _ := write(t, Options{})
			test.do(t, dir)
			b, err := Open(dir, false)
			if err == nil {
				t.Fatalf("it was opened: %v", b.Close())
			}
			var r *Refusal
			if errors.As(err, &r) != test.refused {
				t.Errorf("refused: want %v, got %v", test.refused, err)
			}
			if !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("it says %q", err)
			}
		})
	}
}

func TestAcceptedEdits(t *testing.T) {
	dir, _ := write(t, Options{})
	replace(t, dir, agentFile, "replicas: 2", "replicas: 3")
	b, err := Open(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	for i := range b.Index.Objects {
		e := &b.Index.Objects[i]
		if edited := e.Kind == "Deployment"; b.edited[e.Ref] != edited {
			t.Errorf("%s edited: %v", e.Ref, b.edited[e.Ref])
		}
	}
	// What is accepted is the file as it was when it was looked at.
	replace(t, dir, agentFile, "replicas: 3", "replicas: 4")
	for i := range b.Index.Objects {
		if e := &b.Index.Objects[i]; e.Kind == "Deployment" {
			if _, err := b.object(e); err == nil {
				t.Error("a file that changed afterwards was read")
			}
		}
	}
}

func FuzzReadIndex(f *testing.F) {
	f.Add([]byte(`{"apiVersion":"castai.kubectl.dev/v1alpha1","kind":"Backup","cluster":{"kubeSystemUID":"u"},"objects":[
		{"kind":"ServiceAccount","namespace":"n","name":"a","version":"v1","resource":"serviceaccounts","uid":"u","file":"namespaces/n/serviceaccounts/a.yaml",
		"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","patches":[{"spec":{"replicas":0}}],"ownedBy":[{"target":{"kind":"X"}}]}]}`))
	f.Add([]byte(`{"apiVersion":"castai.kubectl.dev/v1alpha1","kind":"Backup"`))
	f.Add([]byte(`[]`))
	f.Add([]byte(`{"kind":7}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		index, err := ReadIndex(data)
		if err != nil {
			return
		}
		for _, e := range index.Objects {
			if !filepath.IsLocal(filepath.FromSlash(e.File)) || e.File == IndexName || e.File == ReportName {
				t.Errorf("%q is outside of the folder, or no object", e.File)
			}
		}
		o := newOrder(index)
		for _, e := range index.Objects {
			o.of(e.Ref)
		}
	})
}

// A file of a backup, whatever somebody made of it, is read as it will be applied
// or not at all.
func FuzzParseObject(f *testing.F) {
	for _, s := range []string{
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n", "kind: [", "a: &a [*a]\n",
		"apiVersion: v1\nkind: List\nitems: [{}]\n",
		"apiVersion: v1\nkind: X\nkind: Y\n", "metadata: null\napiVersion: v1\nkind: A\n", "---\n---\n",
		"apiVersion: v1\nkind: A\nmetadata: {name: a, labels: 7}\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		u, err := parse(raw)
		if err != nil {
			return
		}
		if u.GetKind() == "" {
			t.Errorf("an object without a kind is read from %q", raw)
		}
		again, err := encode(u)
		if err != nil {
			t.Fatalf("%q is read, but can't be written: %v", raw, err)
		}
		if back, err := parse(again); err != nil || len(differences(u.Object, back.Object, false)) > 0 {
			t.Errorf("%q is read as %v, and that again as %v: %v", raw, u, back, err)
		}
		_, _ = applyable(u, rules{survives: func(types.UID) bool { return false }}) // must not panic, whatever the types
		_ = unrestorable(u, false)
	})
}
