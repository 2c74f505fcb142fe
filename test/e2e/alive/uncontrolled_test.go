package alive

import (
	"context"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/internal/printer"
)

// Pods on a node that does not answer may still run: nothing is removed under them, and they are named. Once the node
// is gone, they do not run any more.
func TestLostNode(t *testing.T) {
	before := cluster.Settled(t)
	reset(t, before)
	if err := cluster.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.AddLivingNode(context.Background()); err != nil {
			t.Error(err)
		}
	})
	cluster.Node.Lose()
	result := cluster.Admin.Expect(t, 4, "offboard", "--yes", "--no-backup", "--clean-up-timeout=0")
	for _, want := range []string{"still running", "Pod/castai-agent/castai-cluster-controller-", "on node alive",
		"--accept running"} {
		if !strings.Contains(result.Stderr, want) {
			t.Errorf("the error does not have %q: %s", want, result)
		}
	}
	if _, err := cluster.Kubectl(t.Context(), "get", "validatingwebhookconfigurations",
		"castware-operator-validating-webhook-configuration"); err != nil {
		t.Errorf("a webhook was removed under its controller: %v", err)
	}
	if err := cluster.Node.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.Kubectl(t.Context(), "delete", "node", "alive"); err != nil {
		t.Fatal(err)
	}
	cluster.Admin.Expect(t, 0, "offboard", "--yes", "--no-backup")
}

// What runs outside of the cluster puts things back for ever: that is said, and the run does not call it clean.
func TestOutside(t *testing.T) {
	before := cluster.Settled(t)
	reset(t, before)
	if err := cluster.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	outside, err := cluster.Program(ctx, "outside")
	if err != nil {
		t.Fatal(err)
	}
	if err := outside.Start(); err != nil {
		t.Fatal(err)
	}
	result := cluster.Admin.Expect(t, 4, "offboard", "--yes", "--no-backup", "-o", "json")
	var report printer.Report
	result.Document(t, &report)
	roles := 0
	for _, r := range report.Returned {
		if r.Kind == "ClusterRole" && r.Name == "castai-agent" && strings.Contains(r.Remedy, "outside of this cluster") {
			roles++
		}
	}
	if roles != 1 {
		t.Errorf("nothing says that ClusterRole castai-agent is made outside of this cluster: %s", result)
	}
	if err := kill(outside); err != nil {
		t.Fatal(err)
	}
	// Without Helm's marks, which the program did not put back, nothing tells a later run that a role which others bind,
	// too, is not theirs: it says so.
	result = cluster.Admin.Expect(t, 4, "offboard", "--yes", "--no-backup")
	if want := "ClusterRole.rbac.authorization.k8s.io/castai-agent stays for others"; !strings.Contains(result.Stderr,
		want) {
		t.Errorf("it does not say %q: %s", want, result.Stderr)
	}
	if _, err := cluster.Kubectl(t.Context(), "delete", "clusterrole", "castai-agent"); err != nil {
		t.Fatal(err)
	}
	clean(t, before)
}
