package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/test/compare"
	"github.com/castai/kubectl-castai/test/fixtures"
)

// account binds the documented role of a command to a ServiceAccount, alone, and
// returns the flag that runs a command as it.
func account(t *testing.T, command string) string {
	t.Helper()
	role, err := os.ReadFile("../../docs/rbac/" + command + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.Apply(t.Context(), string(role)+fmt.Sprintf(`---
apiVersion: v1
kind: ServiceAccount
metadata: {name: does-%[1]s, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: does-%[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: castai-%[1]s}
subjects: [{kind: ServiceAccount, name: does-%[1]s, namespace: default}]
`, command)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, kind := range []string{"clusterrolebinding/does-" + command, "clusterrole/castai-" + command,
			"serviceaccount/does-" + command} {
			if out, err := cluster.Kubectl(context.Background(), "delete", kind); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		}
	})
	return "--as=system:serviceaccount:default:does-" + command
}

// The roles in docs/rbac are enough for the commands that they are for, and
// those that only look get no further.
func TestDocumentedRoles(t *testing.T) {
	status, offboard, restore, unstick := account(t, "status"), account(t, "offboard"), account(t, "restore"), account(t,
		"unstick-ns")
	before := cluster.Snapshot(t)
	installed := cluster.Install(t, fixtures.All, fixtures.Foreign)
	dir := filepath.Join(t.TempDir(), "saved")

	admin.Expect(t, 0, "status", status)
	admin.Expect(t, 4, "verify", status)
	admin.Expect(t, 0, "offboard", "--dry-run=client", status)
	cluster.Unchanged(t, func() {
		r := admin.Expect(t, 3, "offboard", "--yes", "--backup-dir="+dir, status)
		if !strings.Contains(r.Stderr, "kind: ClusterRole") {
			t.Errorf("what is missing is not said: %s", r)
		}
	})
	admin.Expect(t, 0, append([]string{"offboard", "--yes", "--backup-dir=" + dir, offboard}, quick...)...)
	after := cluster.Settled(t)
	nothingElse(t, compare.Offboarding(before, installed, after,
		refs(t, fixtures.OwnedRefs, fixtures.All, fixtures.Foreign)))
	admin.Expect(t, 0, "verify", status)

	admin.Expect(t, 0, "restore", dir, "--yes", restore)
	admin.Expect(t, 4, "verify", status)
	admin.Expect(t, 0, append([]string{"offboard", "--yes", "--no-backup", offboard}, quick...)...)

	if err := cluster.Stick(t.Context(), "held", "held"); err != nil {
		t.Fatal(err)
	}
	admin.Expect(t, 0, "unstick-ns", "held", "--yes", "--patience=1s", "--no-backup", unstick)
}
