package backup

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

func record(t *testing.T, kind, status, release string) *unstructured.Unstructured {
	t.Helper()
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write([]byte(release)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	text := base64.StdEncoding.EncodeToString(packed.Bytes())
	if kind == "Secret" {
		text = base64.StdEncoding.EncodeToString([]byte(text))
	}
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": kind,
		"data": map[string]any{"release": text}}}
	u.SetName("sh.helm.release.v1.castai-agent.v1")
	u.SetNamespace("castai-agent")
	u.SetLabels(map[string]string{"owner": "helm", "name": "castai-agent", "status": status, "version": "1"})
	return u
}

// status returns what the content of a record says, and its version.
func status(t *testing.T, u *unstructured.Unstructured) (string, json.Number) {
	t.Helper()
	text, _, _ := unstructured.NestedString(u.Object, "data", "release")
	raw := []byte(text)
	for range map[string]int{"Secret": 2, "ConfigMap": 1}[u.GetKind()] {
		var err error
		if raw, err = base64.StdEncoding.DecodeString(string(raw)); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := unpack(raw)
	if err != nil {
		t.Fatal(err)
	}
	var release struct {
		Version json.Number
		Info    struct{ Status string }
	}
	if err := json.Unmarshal(raw, &release); err != nil {
		t.Fatal(err)
	}
	return release.Info.Status, release.Version
}

// A release that was being worked on is saved as one that failed: as it was,
// nobody could go on with it.
func TestReleasesInProgressAreSavedAsFailed(t *testing.T) {
	const release = `{"name":"castai-agent","version":1,"info":{"status":"pending-install"},"manifest":"a: b"}`
	clean := func(u *unstructured.Unstructured) (*unstructured.Unstructured, []Change) {
		return applyable(u, rules{survives: func(types.UID) bool { return true }})
	}
	for _, kind := range []string{"Secret", "ConfigMap"} {
		for was, want := range map[string]string{
			"pending-install": "failed", "pending-upgrade": "failed", "pending-rollback": "failed", "uninstalling": "failed",
		} {
			u, changes := clean(record(t, kind, was, release))
			got, version := status(t, u)
			if got != want || u.GetLabels()["status"] != want || version != "1" || len(changes) != 1 {
				t.Errorf("%s %s: %s, labels %v, changes %v", kind, was, got, u.GetLabels(), changes)
			}
		}
		for _, was := range []string{"deployed", "superseded", "failed"} {
			if u, changes := clean(record(t, kind, was, release)); u.GetLabels()["status"] != was || len(changes) > 0 {
				t.Errorf("%s %s: %v, changes %v", kind, was, u.GetLabels(), changes)
			}
		}
	}
	broken := record(t, "Secret", "pending-install", release)
	broken.Object["data"] = map[string]any{"release": "!"}
	if why := unrestorable(broken, false); why == "" {
		t.Error("a record that can't be read would be put back as it is")
	}
}
