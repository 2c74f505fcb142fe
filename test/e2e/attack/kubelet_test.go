package attack

import (
	"encoding/json"
	"maps"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/test/compare"
	"github.com/castai/kubectl-castai/test/fakecastai"
	"github.com/castai/kubectl-castai/test/fixtures"
)

// kubelets are what nodes register with: each is what a kubelet may write of its
// own Node, as the admission plugin NodeRestriction has it.
var kubelets = map[string]string{
	"virtual":  `metadata: {labels: {liqo.io/type: virtual-node, omni.cast.ai/type: edge}}`,
	"provider": `{metadata: {labels: {liqo.io/type: virtual-node}}, spec: {providerID: "castai-omni://x"}}`,
	"paused": `{metadata: {labels: {scheduling.cast.ai/paused-cluster: "true"}},
  spec: {taints: [{key: scheduling.cast.ai/paused-cluster, value: "true", effect: NoSchedule}]}}`,
	"pinned": `spec: {taints: [{key: scheduling.cast.ai/pod-pinning-preparing, effect: NoSchedule}]}`,
	"charted": `metadata: {labels: {helm.sh/chart: castai-agent-0.153.2}, annotations:
  {meta.helm.sh/release-name: castai-agent, meta.helm.sh/release-namespace: castai-agent}}`,
}

// register makes a Node with the node's own identity.
func register(t *testing.T, name, spec string) {
	t.Helper()
	node := map[string]any{}
	check(t, yaml.Unmarshal([]byte(spec), &node))
	meta, _ := node["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
	}
	meta["name"] = name
	node["apiVersion"], node["kind"], node["metadata"] = "v1", "Node", meta
	raw, err := json.Marshal(node)
	check(t, err)
	kubelet(t, name).apply(t, string(raw))
	t.Cleanup(func() { remove(t, "node", name) })
}

// What kubelets write about their nodes decides about nothing, and these nodes are
// nobody's to remove. The taint of a paused cluster is a reason to ask, no more.
func TestKubelets(t *testing.T) {
	takeOut(t)
	before := server.Snapshot(t)
	server.Install(t, fixtures.All)
	owned, err := fixtures.OwnedRefs(fixtures.All)
	check(t, err)
	calm := decisions(t)
	var nodes []string
	for _, name := range slices.Sorted(maps.Keys(kubelets)) {
		nodes = append(nodes, name)
		register(t, name, kubelets[name])
		now := decisions(t)
		delete(now, decision{what: "blocked by hibernation"})
		t.Run(name, func(t *testing.T) {
			same(t, calm, now, func(r cluster.Ref) bool { return r.Kind != "Node" || !slices.Contains(nodes, r.Name) })
			for d := range now {
				if d.object.Kind == "Node" && d.object.Name == name && d.what != "is unclear" {
					t.Errorf("node %s %s", name, d.what)
				}
			}
		})
	}
	installed := server.Settled(t)
	args := append([]string{"offboard", "--yes", "--accept=hibernation"}, quick...)
	admin.Expect(t, 0, append(args, "--backup-dir="+filepath.Join(t.TempDir(), "saved"))...)
	untouched(t, compare.Offboarding(before, installed, server.Settled(t), owned))
}

const apiKey = "castai-test-key-0123456789-that-nobody-may-see"

// console starts a fake of the Cast AI API that knows another cluster.
func console(t *testing.T) (*fakecastai.Server, string) {
	t.Helper()
	fake := fakecastai.New(fakecastai.Options{Key: apiKey, Delay: 100 * time.Millisecond})
	other := fakecastai.SampleNode("another", "aws:///eu-central-1a/i-0another", "cast")
	fake.AddCluster(fakecastai.Sample(otherCluster, "another", other))
	api := httptest.NewServer(fake.Handler())
	t.Cleanup(api.Close)
	return fake, api.URL
}

// A tenant and a kubelet together can't make this cluster pass for another one at
// the console, which would be switched off and removed in its place.
func TestAnotherCluster(t *testing.T) {
	who := tenant(t, "passes-off")
	who.apply(t, in("passes-off", copied, `---
apiVersion: v1
kind: ConfigMap
metadata: {name: castai-agent-metadata, namespace: TENANT, labels: {helm.sh/chart: castai-agent-0.153.2}}
data: {CLUSTER_ID: `+otherCluster+`}
`))
	register(t, "another",
		`{metadata: {labels: {provisioner.cast.ai/node-id: node-of-another, provisioner.cast.ai/managed-by: cast.ai}},
  spec: {providerID: "aws:///eu-central-1a/i-0another"}}`)
	user := admin.With("CASTAI_API_KEY=" + apiKey)
	fake, url := console(t)
	args := append([]string{"offboard", "--yes", "--console", "--remove-cluster", "--no-backup", "--api-url=" + url},
		quick...)
	if r := user.Try(t, args...); r.Code != 3 {
		t.Errorf("it does not refuse: %s", r)
	}
	if writes := fake.Writes(); len(writes) > 0 {
		t.Errorf("the console was changed: %q", writes)
	}
}

// A mark that a kubelet forges, as if a pause had changed its node, gives it no
// labels that it may not set itself.
func TestForgedMark(t *testing.T) {
	trusted := "trusted"
	mark := map[string]any{"run": "x", "cordoned": true, "tainted": true, "labels": map[string]any{
		"node-restriction.kubernetes.io/tier":   map[string]any{"was": &trusted, "is": "none"},
		"node-role.kubernetes.io/control-plane": map[string]any{"was": &trusted, "is": "none"},
		"team":                                  map[string]any{"was": &trusted, "is": "none"},
	}}
	text, err := json.Marshal(mark)
	check(t, err)
	meta, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"annotations": map[string]string{"castai.kubectl.dev/hibernate": string(text)},
		"labels":      map[string]string{"team": "none"},
	}})
	check(t, err)
	register(t, "forger", string(meta))
	_, url := console(t)
	user := admin.With("CASTAI_API_KEY=" + apiKey)
	for _, more := range [][]string{{"--repair"}, nil} {
		r := user.Try(
			t,
			append([]string{"hibernate", "resume", "--yes", "--wait=false", "--api-url=" + url, "--cluster-id=" + otherCluster},
				more...)...,
		)
		t.Logf("%v: %s", more, r)
	}
	node, err := client.CoreV1().Nodes().Get(t.Context(), "forger", metav1.GetOptions{})
	check(t, err)
	for _, key := range []string{"node-restriction.kubernetes.io/tier", "node-role.kubernetes.io/control-plane"} {
		if _, has := node.Labels[key]; has {
			t.Errorf("the node has got the label %s", key)
		}
	}
	if node.Labels["team"] != "none" {
		t.Errorf("the label team is %q", node.Labels["team"])
	}
}

// A copied Deployment makes nobody's broken API Cast AI's to be removed.
func TestUnstick(t *testing.T) {
	who := tenant(t, "pulls")
	check(t, server.Apply(t.Context(), `
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.external.metrics.k8s.io}
spec:
  group: external.metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {namespace: pulls, name: castai-agent}
`))
	t.Cleanup(func() { remove(t, "apiservice", "v1beta1.external.metrics.k8s.io") })
	check(t, server.Stick(t.Context(), "held", "held"))
	admin.Expect(t, 3, "unstick-ns", "held", "--yes", "--no-backup", "--patience=1s")
	who.apply(t, in("pulls", copied))
	if r := admin.Try(t, "unstick-ns", "held", "--yes", "--no-backup", "--patience=1s"); r.Code != 3 {
		t.Errorf("it no longer refuses: %s", r)
	}
	if _, err := server.Kubectl(t.Context(), "get", "apiservice", "v1beta1.external.metrics.k8s.io"); err != nil {
		t.Error(err)
	}
}
