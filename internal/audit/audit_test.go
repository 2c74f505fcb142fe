package audit

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// lines returns those of a file.
func lines(t *testing.T, path string) (out []map[string]any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		out = append(out, m)
	}
	return out
}

// recorded is a server, and a client of it whose writes are recorded in a file.
func recorded(t *testing.T) (s *clustertest.Server, c *cluster.Client, r *Record, file string) {
	t.Helper()
	s = clustertest.Serve(t, clustertest.Object("v1", "ConfigMap", "default", "a"),
		clustertest.Object("v1", "Secret", "default", "s"))
	r = &Record{}
	c, err := cluster.New(t.Context(), s.Getter(), cluster.Options{Wrap: r.Wrap})
	if err != nil {
		t.Fatal(err)
	}
	return s, c, r, filepath.Join(t.TempDir(), "audit")
}

func target(s *clustertest.Server, kind, resource, name string) cluster.Target {
	r := cluster.Ref{Kind: kind, Namespace: "default", Name: name}
	return cluster.Target{Ref: r, Version: "v1", Resource: resource, UID: s.Get(r).GetUID()}
}

func TestRecord(t *testing.T) {
	s, c, r, file := recorded(t)
	a, secret := target(s, "ConfigMap", "configmaps", "a"), target(s, "Secret", "secrets", "s")
	who, err := c.WhoAmI(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.Begin(Run{Command: "offboard", User: who, PlanDigest: "sha256:1"}, func(err error) { t.Error(err) })
	if err := r.Add(file); err != nil {
		t.Fatal(err)
	}
	patch := map[string]any{"data": map[string]any{"password": "hunter2"}}
	_, getErr := c.Get(t.Context(), a)
	_, reviewErr := c.WhoAmI(t.Context())
	if err := errors.Join(getErr, reviewErr, c.MergePatch(t.Context(), secret, patch, false),
		c.Delete(t.Context(), a, cluster.DeleteOptions{})); err != nil {
		t.Fatal(err)
	}
	again := c.Delete(t.Context(), a, cluster.DeleteOptions{})
	if err := r.End(again); err != nil || again == nil {
		t.Fatal(err, again)
	}
	got := lines(t, file)
	if len(got) != 8 {
		t.Fatalf("%d lines: %v", len(got), got)
	}
	user, _ := got[0]["user"].(map[string]any)
	if got[0]["type"] != TypeRun || user["name"] != clustertest.UserName || got[0]["planDigest"] != "sha256:1" {
		t.Errorf("it begins with %v", got[0])
	}
	want := []struct {
		method, path string
		status       float64
	}{{"PATCH", "/api/v1/namespaces/default/secrets/s", 200}, {"DELETE", "/api/v1/namespaces/default/configmaps/a", 200},
		{"DELETE", "/api/v1/namespaces/default/configmaps/a", 404}}
	for i, w := range want {
		request, answer := got[1+2*i], got[2+2*i]
		url, _ := request["url"].(string)
		if request["type"] != TypeRequest || request["method"] != w.method || !strings.Contains(url, w.path) {
			t.Errorf("request %d is %v", i+1, request)
		}
		if answer["type"] != TypeAnswer || answer["status"] != w.status || answer["number"] != request["number"] {
			t.Errorf("answer %d is %v", i+1, answer)
		}
	}
	if raw, _ := json.Marshal(got); strings.Contains(string(raw), "hunter2") || got[1]["bodySHA256"] == nil {
		t.Errorf("the content of a Secret is in %s", raw)
	}
	if body, _ := json.Marshal(got[3]["body"]); !strings.Contains(string(body), string(a.UID)) {
		t.Errorf("the deletion does not say of what: %s", body)
	}
	if last := got[7]; last["type"] != TypeEnd || last["error"] != again.Error() {
		t.Errorf("it ends with %v", last)
	}
}

// Nothing is sent that can't be recorded, and the run hears of it at once.
func TestAFileThatFillsUp(t *testing.T) {
	s, c, r, file := recorded(t)
	a := target(s, "ConfigMap", "configmaps", "a")
	ctx, cancel := context.WithCancelCause(t.Context())
	failed := 0
	r.Begin(Run{}, func(err error) { failed++; cancel(err) })
	if err := r.Add(file); err != nil {
		t.Fatal(err)
	}
	if err := r.files[0].Close(); err != nil { // as good as full
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Delete(ctx, a, cluster.DeleteOptions{}); err == nil {
			t.Error("it was sent")
		}
	}
	if cause := context.Cause(ctx); failed != 1 || len(s.Writes()) > 0 ||
		!strings.Contains(cause.Error(), "can't be written") {
		t.Errorf("failed %d times with %v, sent %v", failed, cause, s.Writes())
	}
}

func TestAFileThatCantBeWritten(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Log("this system has no full device: only a missing folder is tried")
	} else if err := new(Record).Add("/dev/full"); err == nil {
		t.Error("a full disk is taken")
	}
	if err := new(Record).Add(filepath.Join(t.TempDir(), "missing", "audit")); err == nil {
		t.Error("a missing folder is taken")
	}
}
