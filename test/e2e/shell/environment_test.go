package shell

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/castai/kubectl-castai/test/driver"
)

// linked puts the plugin under a name into a folder, as krew does, and returns
// a PATH with nothing but that, kubectl, and the system's own commands.
func linked(t *testing.T, name string) string {
	t.Helper()
	plugin, err := filepath.Abs("../../../bin/kubectl-castai")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "a folder with spaces")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(plugin, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	return strings.Join([]string{dir, filepath.Dir(cluster.Bin().Kubectl), "/usr/bin", "/bin"},
		string(filepath.ListSeparator))
}

// unreachable writes a kubeconfig for a server at an address.
func unreachable(t *testing.T, address string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	server := &clientcmdapi.Cluster{Server: "https://" + address}
	if err := driver.WriteKubeconfig(path, server, &clientcmdapi.AuthInfo{Token: "secret"}); err != nil {
		t.Fatal(err)
	}
	return path
}

// silent returns the address of a server that accepts connections and never
// says anything.
func silent(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}

// The plugin works wherever kubectl does.
func TestEnvironment(t *testing.T) {
	for name, user := range map[string]*driver.User{
		"a path with spaces":         admin.With("PATH=" + linked(t, "kubectl-castai")),
		"a home that is read-only":   admin.With("HOME=/proc"), // not even root can write there
		"without a home":             admin.Without("HOME"),
		"without a terminal's name":  admin.Without("TERM"),
		"with a terminal's name":     admin.With("TERM=xterm-256color"),
		"in another language":        admin.With("LANG=de_DE.UTF-8", "LC_ALL=de_DE.UTF-8"),
		"under kubectl's own caches": admin.With("KUBECACHEDIR=/dev/null/cache"),
	} {
		t.Run(name, func(t *testing.T) {
			if r := user.Expect(t, 0, "status"); !strings.Contains(r.Stdout, "castai-agent/castai-agent") || r.Stderr != "" {
				t.Errorf("%s", r)
			}
		})
	}
}

// Nothing in the plugin depends on the name that it is called by.
func TestOtherName(t *testing.T) {
	user := admin.With("PATH=" + linked(t, "kubectl-cast_ai"))
	r, err := user.Kubectl(t.Context(), "cast-ai", "offboard", "--help")
	if err != nil || r.Code != 0 {
		t.Fatalf("%v, %s", err, r)
	}
	if !strings.Contains(r.Stdout, "kubectl cast-ai offboard --dry-run=server") ||
		strings.Contains(r.Stdout, "kubectl castai") {
		t.Errorf("%s", r)
	}
	if r, err = user.Kubectl(t.Context(), "cast-ai", "offboard", "--force-it"); err != nil || r.Code != 2 ||
		!strings.HasPrefix(r.Stderr, "kubectl cast-ai: ") {
		t.Errorf("%v, %s", err, r)
	}
}

// kubectl finds nothing wrong with the plugin, its completer included.
func TestPluginList(t *testing.T) {
	user := completing(t)
	r, err := user.Kubectl(t.Context(), "plugin", "list")
	if err != nil || r.Code != 0 || !strings.Contains(r.Stdout, "kubectl-castai") ||
		strings.Contains(r.Stdout+r.Stderr, "warning") {
		t.Errorf("%v, %s", err, r)
	}
}
