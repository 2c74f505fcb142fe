package e2e

import (
	"bufio"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/test/driver"
	"github.com/castai/kubectl-castai/test/fixtures"
)

// One real case of each exit code. That these are all of them is checked where
// help and docs/first-run.md are compared (test/docs).
func TestExitCodes(t *testing.T) {
	unreachable := admin.Kubeconfig(kubeconfig(t, "https://127.0.0.1:1", "insecure-skip-tls-verify: true", "any"))
	install(t, fixtures.Agent)
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
		if r := castai(t, test.user, test.code, test.args...); !strings.Contains(r.Stderr, test.says) {
			t.Errorf("%d: %q is not in: %s", test.code, test.says, r)
		}
	}

	if err := cluster.Apply(t.Context(), `
apiVersion: v1
kind: Namespace
metadata: {name: waits}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: held, namespace: waits, finalizers: [example.com/held]}
`); err != nil {
		t.Fatal(err)
	}
	if out, err := cluster.Kubectl(t.Context(), "delete", "namespace", "waits", "--wait=false"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, code := interrupted(t, "Free namespace waits", "unstick-ns", "waits", "--yes", "--no-backup", "--patience=10m", "--timeout=20m")
	if code != 130 || !strings.Contains(text, "interrupted") {
		t.Errorf("interrupted: exit code %d, %s", code, text)
	}
	castai(t, admin, 0, "unstick-ns", "waits", "--yes", "--no-backup", "--patience=1s")
	castai(t, admin, 0, append([]string{"offboard", "--yes", "--no-backup"}, quick...)...)
}

// interrupted runs kubectl castai, interrupts it once its messages have the text,
// and returns the messages and the exit code.
func interrupted(t *testing.T, at string, args ...string) (text string, code int) {
	t.Helper()
	cmd := admin.Command(t.Context(), args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	lines := bufio.NewReader(stderr)
	for sent := false; ; {
		line, err := lines.ReadString('\n')
		all.WriteString(line)
		if !sent && strings.Contains(line, at) {
			sent = true
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Errorf("it was not interrupted: %s", all.String())
	}
	return all.String(), cmd.ProcessState.ExitCode()
}
