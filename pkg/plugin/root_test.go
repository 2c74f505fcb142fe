package plugin

import (
	"strings"
	"testing"
)

// What kubectl's users are used to, where no cluster is asked yet.
func TestManners(t *testing.T) {
	for _, test := range []struct {
		args string
		code int
		says string
	}{
		{"offbord", ExitUsage, "did you mean kubectl castai offboard?"},
		{"frobnicate", ExitUsage, "kubectl castai --help lists them"},
		{"hibernate resum", ExitUsage, "resum"},
		{"status -o xml", ExitUsage, "custom-columns, go-template"},
		{"status a b c", ExitUsage, "TYPE NAME"},
		{"status clusterrole/x y", ExitUsage, "TYPE NAME"},
		{"status clusterrole", ExitUsage, "KIND[.GROUP]/[NAMESPACE/]NAME"},
		{"status --why-not -o wide", ExitUsage, "leave -o wide"},
		{"status -n shop", ExitUsage, "--namespace only says where an object is"},
		{"verify -n shop", ExitUsage, "--namespace means nothing to it"},
		{"offboard --namespace=shop", ExitUsage, "--namespace means nothing to it"},
		{"offboard -o name --include x", ExitUsage, "KIND[.GROUP]/[NAMESPACE/]NAME"},
	} {
		_, err := invoke(t, "kubectl castai", strings.Fields(test.args)...)
		if ExitCode(err) != test.code || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: exit code %d, %v", test.args, ExitCode(err), err)
		}
	}
	if out, err := invoke(t, "kubectl castai", "--version"); err != nil || !strings.HasPrefix(out, "kubectl castai ") {
		t.Errorf("--version: %q, %v", out, err)
	}
}
