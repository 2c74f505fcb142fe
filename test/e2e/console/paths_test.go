package console

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/test/fakecastai"
	"github.com/castai/kubectl-castai/test/fixtures"
)

// A cluster that Cast AI may only read has nothing to disconnect; it is removed
// from the console once its agent is gone.
func TestReadOnly(t *testing.T) {
	w := newWorld(t, fakecastai.Options{Forget: true}, fixtures.Agent)
	w.fake.Update(id, func(c *fakecastai.Cluster) {
		readOnly := false
		c.CredentialsId, c.IsPhase2, c.Policies = "", &readOnly, nil
	})
	r := w.castai(0, w.offboard("--remove-cluster")...)
	has(t, r.Stderr, "Cast AI may only read the cluster")
	has(t, r.Stdout, "remove-cluster: it is removed from the console")
	if writes := w.fake.Writes(); slices.ContainsFunc(writes,
		func(s string) bool { return !strings.HasPrefix(s, "DELETE ") }) {
		t.Errorf("the console was changed: %q", writes)
	}
	if !w.fake.Cluster(id).Forgotten {
		t.Error("the cluster is still in the console")
	}
}

// What is left behind in the cloud is an exit code of its own, and keeps the
// cluster in the console.
func TestNodesThatSurvive(t *testing.T) {
	w := newWorld(t, fakecastai.Options{}, fixtures.Small)
	w.fake.Update(id, func(c *fakecastai.Cluster) { c.LosesCredentials = true })
	r := w.castai(4, w.offboard("--delete-nodes", "--remove-cluster")...)
	has(t, r.Stderr, "check-nodes: 2 nodes that Cast AI made are still there, and you keep paying for them",
		"cast-1 (aws:///eu-central-1b/i-0ca0)")
	has(t, r.Stdout, "Clean: nothing of Cast AI's")
}

// An interrupted disconnection goes on at the console, and the next run with it.
func TestInterrupted(t *testing.T) {
	w := newWorld(t, fakecastai.Options{Delay: time.Second}, fixtures.Small)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	w.fake.OnRequest(func(_ int, r fakecastai.Request) {
		if strings.HasSuffix(r.Path, "/disconnect") {
			time.AfterFunc(200*time.Millisecond, interrupt)
		}
	})
	args := w.offboard("--delete-nodes", "--remove-cluster")
	r, err := w.user.Castai(ctx, args...)
	if r.Code != 130 {
		t.Fatalf("want exit code 130, got %s, %v", r, err)
	}
	has(t, r.Stderr, "interrupted: run it again to go on (with --cluster-id="+id+")")
	w.fake.OnRequest(nil)
	if c := w.fake.Cluster(id); c.Status != "deleting" {
		t.Fatalf("the cluster is %s", c.Status)
	}
	r = w.castai(0, w.offboard("--delete-nodes", "--remove-cluster")...)
	has(t, r.Stderr, "it is being disconnected already")
	has(t, r.Stdout, "Clean: nothing of Cast AI's", "remove-cluster: it is removed")
	disconnects := slices.DeleteFunc(w.fake.Writes(), func(s string) bool { return !strings.HasSuffix(s, "/disconnect") })
	if len(disconnects) != 1 {
		t.Errorf("disconnected %d times", len(disconnects))
	}
}

// On a terminal the deletion of nodes is confirmed separately.
func TestNodesAreConfirmed(t *testing.T) {
	w := newWorld(t, fakecastai.Options{}, fixtures.Agent)
	args := slices.DeleteFunc(w.offboard("--delete-nodes"), func(s string) bool { return s == "--yes" })
	w.unchanged(func() {
		screen := w.user.Typed(t, 3, []string{"castai-test", "castai-test"}, append(args, "--accept=console-controller")...)
		has(t, screen, "is disconnected at Cast AI's console first", "Cast AI deletes 2 nodes of this cluster with",
			"Type delete 2 nodes to go on", "nothing was changed")
	})
	w.castai(0, w.offboard()...)
	if names := nodeNames(t); len(names) != 3 {
		t.Errorf("the nodes are %q", names)
	}
	has(t, w.castai(0, "restore", backupOf(t, w), "--dry-run=client").Stdout, "ServiceAccount")
}

func TestStatus(t *testing.T) {
	w := newWorld(t, fakecastai.Options{}, fixtures.Agent)
	w.unchanged(func() {
		r := w.castai(0, "status", "--api-url="+w.url)
		has(t, r.Stdout, "At Cast AI's console:", "demo ("+id+")", "ready, agent online", "managed by  console",
			"policies    on", "3, 2 of them made by Cast AI")
		var inv printer.Inventory
		w.castai(0, "status", "--api-url="+w.url, "-o", "json").Document(t, &inv)
		if v := inv.Console; v == nil || v.Status != "ready" || v.MadeNodes != 2 || v.LastSnapshot == nil {
			t.Errorf("%+v", v)
		}

		cmd := admin.With("CASTAI_API_KEY=").Command(t.Context(), "status", "--api-url="+w.url, "--api-key-file=-")
		cmd.Stdin = strings.NewReader(key + "\n")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("with the key from standard input: %v", err)
		}
		has(t, string(out), "At Cast AI's console:")
		w.secret(string(out))

		w.fake.Inject(fakecastai.Fault{Kind: fakecastai.Forbidden})
		defer w.fake.Heal()
		has(t, w.castai(1, "status", "--api-url="+w.url).Stderr, "403", "lacks the permission")
	})
	w.castai(0, "offboard", "--yes", "--settle=0", "--clean-up-timeout=1s", "--backup-dir="+filepath.Join(w.dir, "saved"))
}
