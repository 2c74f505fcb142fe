package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/castai/kubectl-castai/test/driver"
)

// message checks that a command said what is wrong in one sentence of its own.
func message(t *testing.T, stderr string, says ...string) {
	t.Helper()
	text := strings.TrimSpace(stderr)
	if strings.Count(text, "\n") > 0 || !strings.HasPrefix(text, "kubectl castai: ") {
		t.Errorf("not one sentence of kubectl castai: %s", text)
	}
	for _, s := range says {
		if !strings.Contains(text, s) {
			t.Errorf("%q is not in: %s", s, text)
		}
	}
}

// Bad input is answered with one clear sentence and the exit code that the
// table in docs/first-run.md names.
func TestBadInput(t *testing.T) {
	wrongToken := kubeconfig(t, clientcmdapi.Cluster{Server: cluster.URL(),
		CertificateAuthorityData: cluster.Config.CAData}, "not-a-token")
	unreachable := kubeconfig(t, nowhere(), "any")
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("clusters: {"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := admin.With("KUBECONFIG=", "HOME="+t.TempDir())

	for _, test := range []struct {
		name string
		user *driver.User
		args []string
		code int
		says []string
	}{
		{"no kubeconfig", empty, []string{"status"}, 1, []string{"KUBECONFIG", "--kubeconfig"}},
		{"a kubeconfig that is not there", admin, []string{"status", "--kubeconfig=/nowhere/kubeconfig"}, 1,
			[]string{"/nowhere/kubeconfig"}},
		{"a broken kubeconfig", admin.Kubeconfig(broken), []string{"status"}, 1, []string{"kubeconfig"}},
		{"unreachable server", admin.Kubeconfig(unreachable), []string{"status"}, 1, []string{"127.0.0.1:1", "reached"}},
		{"unreachable server, offboard", admin.Kubeconfig(unreachable), []string{"offboard", "--yes"}, 1,
			[]string{"127.0.0.1:1", "reached"}},
		{"wrong token", admin.Kubeconfig(wrongToken), []string{"verify"}, 1, []string{"credentials", "log in"}},
		{"unknown context", admin, []string{"status", "--context=elsewhere"}, 1, []string{"elsewhere", "get-contexts"}},
		{"unknown flag", admin, []string{"offboard", "--force-it"}, 2, []string{"--force-it", "--help"}},
		{"unknown command", admin, []string{"onboard"}, 2, []string{"onboard", "did you mean kubectl castai offboard"}},
		{"arguments", admin, []string{"verify", "castai-agent"}, 2, []string{"castai-agent"}},
		{"bad output", admin, []string{"status", "-o", "xml"}, 2, []string{"xml", "json"}},
		{"bad output of offboard", admin, []string{"offboard", "-o", "xml"}, 2, []string{"xml", "json"}},
		{"bad dry run", admin, []string{"offboard", "--dry-run=maybe"}, 2, []string{"maybe", "server"}},
		{"unknown blocker", admin, []string{"offboard", "--accept=everything"}, 2,
			[]string{"everything", "gitops", "console-identity"}},
		{"no time", admin, []string{"offboard", "--timeout=0s"}, 2, []string{"--timeout"}},
		{"bad time", admin, []string{"offboard", "--timeout=soon"}, 2, []string{"soon"}},
		{"include is no object", admin, []string{"offboard", "--yes", "--include=nonsense"}, 2,
			[]string{"--include", "nonsense", "KIND"}},
		{"include names no kind", admin, []string{"offboard", "--yes", "--include=Gadget/x"}, 2,
			[]string{"--include", "Gadget"}},
		{"exclude names no object", admin, []string{"offboard", "--yes", "--exclude=ClusterRole/nobody"}, 2,
			[]string{"--exclude", "nobody"}},
		{"status of nothing", admin, []string{"status", "ClusterRole/nobody"}, 2, []string{"nobody"}},
		{"status of a namespaced object", admin, []string{"status", "ConfigMap/nobody"}, 2, []string{"namespaced"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := test.user.Expect(t, test.code, test.args...)
			if r.Stdout != "" {
				t.Errorf("something is on stdout: %s", r)
			}
			message(t, r.Stderr, test.says...)
		})
	}
}

// Who may read nothing is not told that the cluster is clean, and gets the role that is missing.
func TestNoRights(t *testing.T) {
	robot, err := cluster.TokenUser("robot")
	if err != nil {
		t.Fatal(err)
	}
	verify := admin.Kubeconfig(robot).Expect(t, 4, "verify")
	message(t, verify.Stderr, "could not be read")
	offboard := admin.Kubeconfig(robot).Expect(t, 3, "offboard", "--yes")
	if !strings.Contains(offboard.Stderr, "kind: ClusterRole") ||
		!strings.Contains(offboard.Stderr, "refused: you may not read") {
		t.Errorf("no role to ask for: %s", offboard)
	}
	for _, r := range []string{verify.Stdout, offboard.Stdout} {
		if strings.Contains(r, "Clean:") {
			t.Errorf("it claims to know: %s", r)
		}
	}
}

// kubeconfig writes one for a server and a bearer token.
func kubeconfig(t *testing.T, server clientcmdapi.Cluster, token string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := driver.WriteKubeconfig(path, &server, &clientcmdapi.AuthInfo{Token: token}); err != nil {
		t.Fatal(err)
	}
	return path
}

// nowhere is a server that does not run.
func nowhere() clientcmdapi.Cluster {
	return clientcmdapi.Cluster{Server: "https://127.0.0.1:1", InsecureSkipTLSVerify: true}
}
