package shell

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/test/driver"
)

// completed returns what kubectl completes the words after "kubectl castai" to,
// without cobra's directive at the end.
func completed(t *testing.T, user *driver.User, words ...string) []string {
	t.Helper()
	r, err := user.Kubectl(t.Context(), append([]string{"__complete", "castai"}, words...)...)
	if err != nil || r.Code != 0 {
		t.Fatalf("kubectl castai %q: %v, %s", words, err, r)
	}
	for said := range strings.Lines(r.Stderr) { // kubectl's own, which the shells' scripts drop
		if !strings.HasPrefix(said, "[Debug] ") && !strings.HasPrefix(said, "Completion ended with directive: ") {
			t.Errorf("kubectl castai %q is not silent: %s", words, said)
		}
	}
	lines := strings.Split(strings.TrimSpace(r.Stdout), "\n")
	return lines[:len(lines)-1]
}

// completing returns a user who has the completer where kubectl looks for it,
// as completion kubectl --install puts it.
func completing(t *testing.T) *driver.User {
	t.Helper()
	user := admin.With("PATH=" + linked(t, "kubectl-castai"))
	user.Expect(t, 0, "completion", "kubectl", "--install")
	return user
}

func TestCompletion(t *testing.T) {
	user := completing(t)
	stuck(t, "castai-stuck")
	for _, tc := range []struct {
		name  string
		words []string
		want  []string // among what is offered
		not   string
	}{
		{"commands", []string{""}, []string{"offboard\tTake Cast AI out of the cluster, completely and safely",
			"unstick-ns\tExplain why namespaces are stuck in Terminating, and free them"}, ""},
		{"stuck namespaces", []string{"unstick-ns", ""}, []string{"castai-stuck"}, "default"},
		{"a stuck namespace", []string{"unstick-ns", "castai-stuck", ""}, nil, "castai-stuck"},
		{"finalizers", []string{"unstick-ns", "castai-stuck", "--finalizer", "example.com/"}, []string{"example.com/hold"},
			""},
		{"finalizers of all that is stuck", []string{"unstick-ns", "--finalizer", ""}, []string{"example.com/hold"},
			"kubernetes"},
		{"API services that answer", []string{"unstick-ns", "castai-stuck", "--remove-apiservice", ""}, nil, "v1.apps"},
		{"time zones", []string{"hibernate", "install", "--time-zone", "U"}, []string{"UTC"}, "Europe/Vilnius"},
		{"formats", []string{"verify", "-o", ""}, []string{"json", "yaml"}, "wide"},
		{"formats of status", []string{"status", "-o", ""}, []string{"wide", "json", "yaml"}, ""},
		{"dry runs", []string{"offboard", "--dry-run="}, []string{"client", "server"}, ""},
		{"contexts", []string{"status", "--context", ""}, []string{"castai-test"}, ""},
		{"namespaces", []string{"status", "-n", "kube-"}, []string{"kube-system"}, "default"},
		{"owned kinds", []string{"offboard", "--exclude", "ClusterRole"},
			[]string{"ClusterRole.rbac.authorization.k8s.io/", "ClusterRoleBinding.rbac.authorization.k8s.io/"}, ""},
		{"owned objects", []string{"offboard", "--exclude", "ClusterRole/castai-ag"}, []string{"ClusterRole/castai-agent"},
			"ClusterRole/castai-evictor"},
		{"unclear objects", []string{"offboard", "--include", "CustomResourceDefinition/"},
			[]string{"CustomResourceDefinition/things.pod.cast.ai"}, "CustomResourceDefinition/rebalancers.live.cast.ai"},
		{"objects to ask about", []string{"status", "ClusterRole.rbac.authorization.k8s.io/castai-ag"},
			[]string{"ClusterRole.rbac.authorization.k8s.io/castai-agent"}, ""},
		{"nothing more to ask about", []string{"status", "ClusterRole/castai-agent", ""}, nil,
			"ClusterRole.rbac.authorization.k8s.io/"},
		{"shells", []string{"completion", ""}, []string{"bash", "kubectl"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := completed(t, user, tc.words...)
			for _, want := range tc.want {
				if !slices.Contains(got, want) {
					t.Errorf("%q is not offered: %q", want, got)
				}
			}
			if tc.not != "" && slices.Contains(got, tc.not) {
				t.Errorf("%q is offered: %q", tc.not, got)
			}
		})
	}
}

// stuck makes a namespace that stays Terminating until the test ends.
func stuck(t *testing.T, name string) {
	t.Helper()
	if err := cluster.Stick(t.Context(), name, "held"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background() // that of the test is over
		if _, err := cluster.Kubectl(ctx, "-n", name, "patch", "configmap", "held", "--type=merge",
			"--patch={\"metadata\":{\"finalizers\":null}}"); err != nil {
			t.Error(err)
		}
		if _, err := cluster.Kubectl(ctx, "wait", "--for=delete", "namespace/"+name, "--timeout=60s"); err != nil {
			t.Error(err)
		}
	})
}

// Where there is no cluster, completion is quick, silent and empty.
func TestCompletionWithoutCluster(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(broken, []byte("a: [broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	user := completing(t)
	for name, away := range map[string]*driver.User{
		"a port that nobody listens on": user.Kubeconfig(unreachable(t, "127.0.0.1:1")),
		"an address that never answers": user.Kubeconfig(unreachable(t, silent(t))),
		"no kubeconfig":                 user.Kubeconfig(filepath.Join(t.TempDir(), "none")),
		"a broken kubeconfig":           user.Kubeconfig(broken),
	} {
		t.Run(name, func(t *testing.T) {
			for _, words := range [][]string{{"unstick-ns", ""}, {"offboard", "--accept", ""}, {"status", "ClusterRole/"},
				{"status", "-n", ""}} {
				start := time.Now()
				if got := completed(t, away, words...); len(got) > 0 {
					t.Errorf("%q is completed to %q", words, got)
				}
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("%q took %s", words, took)
				}
			}
		})
	}
}
