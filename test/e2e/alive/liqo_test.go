package alive

import (
	"testing"

	"github.com/castai/kubectl-castai/internal/printer"
)

// peering is what makes a virtual node of Cast AI's Liqo.
const peering = `
apiVersion: v1
kind: Namespace
metadata: {name: omni-edge-1, labels: {liqo.io/tenant-namespace: "true", liqo.io/remote-cluster-id: edge-1}}
---
apiVersion: core.liqo.io/v1beta1
kind: ForeignCluster
metadata: {name: edge-1}
spec: {clusterID: edge-1}
---
apiVersion: offloading.liqo.io/v1beta1
kind: VirtualNode
metadata: {name: edge-1, namespace: omni-edge-1}
spec: {clusterID: edge-1, createNode: true}
`

// A virtual node is a chain: its kubelet makes the node again as long as it runs, its VirtualNode stays until kubelet and
// node have gone, and its ForeignCluster until there is no VirtualNode. Liqo's controllers take it apart in order, and
// nothing is forced. Where they get no time for that, it goes without them. Either way the backup brings it back.
func TestVirtualNode(t *testing.T) {
	for _, test := range []struct {
		name   string
		more   []string
		forced bool
	}{
		{"in order", nil, false},
		{"at once", []string{"--clean-up-timeout=0"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := cluster.Settled(t)
			reset(t, before)
			virtualNode(t)
			backup := t.TempDir() + "/backup"
			result := cluster.Admin.Expect(t, 0, append([]string{"offboard", "--yes", "-o", "json", "--backup-dir", backup},
				test.more...)...)
			var report printer.Report
			result.Document(t, &report)
			if got := forced(&report, "VirtualNode"); got != test.forced {
				t.Errorf("finalizers of VirtualNodes were taken off by force: %t\n%s", got, result.Stderr)
			}
			clean(t, before)
			cluster.Admin.Expect(t, 0, "restore", backup, "--yes")
			runs(t)
			offboard(t, t.TempDir()+"/backup")
			clean(t, before)
		})
	}
}

// virtualNode installs Cast AI's Liqo and waits until a virtual node of it is there.
func virtualNode(t *testing.T) {
	t.Helper()
	install, err := cluster.Program(t.Context(), "install-omni")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("install omni-agent: %v\n%s", err, out)
	}
	if err := cluster.Apply(t.Context(), peering); err != nil {
		t.Fatal(err)
	}
	runs(t)
}

// runs waits until the kubelet of the virtual node runs, and the node is there.
func runs(t *testing.T) {
	t.Helper()
	for _, what := range [][]string{
		{"--for=create", "node/omni-edge-1"},
		{"--for=condition=Available", "deployment/vk-edge-1", "--namespace=omni-edge-1"},
	} {
		if _, err := cluster.Kubectl(t.Context(), append([]string{"wait", "--timeout=1m"}, what...)...); err != nil {
			t.Fatal(err)
		}
	}
}
