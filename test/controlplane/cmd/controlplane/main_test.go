package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/test/controlplane"
)

func TestUpListDown(t *testing.T) {
	bin, err := controlplane.Binaries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// A cache of its own, but all the binaries that are there: none is built again.
	assets := t.TempDir()
	for _, path := range []string{bin.Etcd, bin.APIServer, bin.ControllerManager, bin.Scheduler, bin.Kubectl, bin.Kwok} {
		if err := os.Symlink(path, filepath.Join(assets, filepath.Base(path))); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("KUBEBUILDER_ASSETS", assets)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	do := func(args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if err := run(t.Context(), &out, args); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out.String()
	}
	t.Cleanup(func() {
		if err := run(t.Context(), os.Stderr, []string{"down", "--all"}); err != nil {
			t.Error(err)
		}
	})

	if got := do("build"); got != assets+"\n" {
		t.Errorf("build: got %q", got)
	}
	export, rest, _ := strings.Cut(do("up", "--nodes=2", "one"), "\n")
	if want := "Stop it:  make cluster-down NAME=one\n"; rest != want {
		t.Errorf("up: got %q, want %q", rest, want)
	}
	script := strings.TrimPrefix(export, "Use it:   ") + " && kubectl get nodes --output=name"
	paste := exec.CommandContext(t.Context(), "sh", "-c", script) //nolint:gosec // what a person would paste
	out, err := paste.CombinedOutput()
	if err != nil || string(out) != "node/node-1\nnode/node-2\n" {
		t.Errorf("%s: got %q, %v", script, out, err)
	}
	if err := run(t.Context(), &bytes.Buffer{}, []string{"up", "one"}); err == nil ||
		!strings.Contains(err.Error(), "running already") {
		t.Errorf("up again: got %v", err)
	}
	if got := do("list"); !strings.Contains(got, "one    running   ") {
		t.Errorf("list: got %q", got)
	}
	if got := do("down", "one"); got != "stopped one\n" {
		t.Errorf("down: got %q", got)
	}
	if got := do("list"); strings.Contains(got, "one") {
		t.Errorf("list: got %q", got)
	}
	if err := run(t.Context(), &bytes.Buffer{}, []string{"down", "one"}); err == nil ||
		!strings.Contains(err.Error(), "there is no cluster one") {
		t.Errorf("down again: got %v", err)
	}
}

func TestBadUsage(t *testing.T) {
	for _, args := range [][]string{
		nil, {"nonsense"}, {"up", "../x"}, {"up", "a", "b"}, {"up", "--nonsense"},
		{"down"}, {"down", "--all", "x"}, {"down", ".."}, {"list", "x"}, {"build", "x"},
	} {
		if err := run(t.Context(), &bytes.Buffer{}, args); err == nil || !strings.Contains(err.Error(), "bad usage") {
			t.Errorf("%v: got %v", args, err)
		}
	}
}
