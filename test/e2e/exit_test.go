package e2e

import (
	"os"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/test/driver"
	"github.com/castai/kubectl-castai/test/fixtures"
)

// One real case of each exit code. That these are all of them is checked where
// help and docs/first-run.md are compared (test/docs).
func TestExitCodes(t *testing.T) {
	unreachable := admin.Kubeconfig(kubeconfig(t, nowhere(), "any"))
	cluster.Install(t, fixtures.Agent)
	for _, test := range []struct {
		code int
		user *driver.User
		args []string
		says string
	}{
		{0, admin, []string{"status"}, ""},
		{1, unreachable, []string{"status"}, "can't be reached"},
		{2, admin, []string{"status", "--no-such-flag"}, "--help"},
		{3, admin, []string{"offboard"}, "--yes"},
		{4, admin, []string{"verify"}, "is left"},
		{124, admin, []string{"offboard", "--yes", "--no-backup", "--timeout=1ms"}, "timed out"},
	} {
		if r := test.user.Expect(t, test.code, test.args...); !strings.Contains(r.Stderr, test.says) {
			t.Errorf("%d: %q is not in: %s", test.code, test.says, r)
		}
	}

	if err := cluster.Stick(t.Context(), "waits", "held"); err != nil {
		t.Fatal(err)
	}
	begun := func(line string) bool { return strings.Contains(line, "Free namespace waits") }
	r := admin.FollowTo(t, begun, os.Interrupt, "unstick-ns", "waits", "--yes", "--no-backup", "--patience=10m",
		"--timeout=20m")
	if r.Code != 130 || !strings.Contains(r.Stderr, "interrupted") {
		t.Errorf("interrupted: %s", r)
	}
	admin.Expect(t, 0, "unstick-ns", "waits", "--yes", "--no-backup", "--patience=1s")
	admin.Expect(t, 0, append([]string{"offboard", "--yes", "--no-backup"}, quick...)...)
}
