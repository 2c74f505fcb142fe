package plugin

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/internal/castai/castaitest"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// aNode is a node of Cast AI's that is ready.
func aNode(name, instanceType string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Node
metadata:
  name: %s
  labels: {provisioner.cast.ai/node-id: cast-%[1]s, node.kubernetes.io/instance-type: %s}
spec: {providerID: "aws:///eu-central-1a/i-%[1]s"}
status: {allocatable: {cpu: "2", memory: 8Gi, pods: "20"}, conditions: [{type: Ready, status: "True"}]}
---`, name, instanceType)
}

// dns is what a pause keeps.
const dns = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: dns, namespace: kube-system}
spec:
  replicas: 1
  selector: {matchLabels: {app: dns}}
  template:
    metadata: {labels: {app: dns}}
    spec: {containers: [{name: c, image: i}]}
---`

// evening is a cluster of three nodes of Cast AI's with Cast AI in it, the API beside
// it, and an administrator with a key, in a bubble of testing/synctest.
type evening struct {
	*clustertest.Server
	api *castaitest.Server
	t   *testing.T
	dir string
}

// atNight runs a test in the evening.
func atNight(t *testing.T, f func(t *testing.T, e *evening)) {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	for name, value := range map[string]string{"HOME": dir, castai.EnvKey: "", castai.EnvToken: ""} {
		t.Setenv(name, value)
	}
	for name, content := range map[string]string{"key": castaitest.Key, "config": `{apiVersion: v1, kind: Config,
		current-context: test, clusters: [{name: test, cluster: {server: "http://api.test"}}],
		contexts: [{name: test, context: {cluster: test}}]}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		// The clock of a bubble begins before there was Cast AI's job.
		time.Sleep(time.Until(time.Date(2026, 7, 1, 20, 0, 0, 0, time.UTC)))
		e := &evening{api: castaitest.Serve(), t: t, dir: dir}
		objects, err := clustertest.Parse([]byte(role("castai-agent") + binding("castai-agent") + installation + "---" +
			dns + aNode("a", "m7g.xlarge") + aNode("b", "m7g.xlarge") + aNode("c", "m7g.xlarge")))
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range objects {
			tracked(u)
		}
		e.Server = clustertest.Serve(t, objects...)
		for _, name := range []string{"a", "b", "c"} {
			e.api.Nodes = append(e.api.Nodes, castai.Node{Id: "cast-" + name, Name: name, AddedBy: "cast",
				ProviderId: "aws:///eu-central-1a/i-" + name, InstanceType: "m7g.xlarge", State: castai.NodeState{Phase: "ready"}})
		}
		e.api.Added, e.api.Removed = e.joins, func(n castai.Node) { e.Drop(cluster.Ref{Kind: "Node", Name: n.Name}) }
		f(t, e)
	})
}

// tracked says who made an object: without that, a server does not track who writes
// its fields.
func tracked(u *unstructured.Unstructured) {
	u.SetManagedFields([]metav1.ManagedFieldsEntry{{
		Manager: "kubelet", Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: u.GetAPIVersion(),
		FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:labels":{}}}`),
	}})
}

// joins lets a node that the API has made join the cluster.
func (e *evening) joins(n castai.Node, config castai.NodeConfig) {
	objects, err := clustertest.Parse([]byte(aNode(n.Name, config.InstanceType)))
	if err != nil {
		e.t.Error(err)
		return
	}
	u := objects[0]
	tracked(u)
	labels := u.GetLabels()
	maps.Copy(labels, config.KubernetesLabels)
	labels["provisioner.cast.ai/node-id"] = n.Id
	u.SetLabels(labels)
	var taints []any
	for _, taint := range config.KubernetesTaints {
		taints = append(taints, map[string]any{"key": taint.Key, "value": taint.Value, "effect": taint.Effect})
	}
	if err := unstructured.SetNestedSlice(u.Object, taints, "spec", "taints"); err != nil {
		e.t.Error(err)
	}
	e.Put(u)
}

// run runs a command, and returns what it prints and its exit code.
func (e *evening) run(args ...string) (string, int) {
	e.t.Helper()
	var out bytes.Buffer
	r := newRoot("kubectl castai", Version{Version: "v1.2.3"},
		genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &out})
	r.castAI = e.api
	r.Kube.WrapConfigFn = e.Instead
	cmd := r.commands()
	cmd.SetArgs(append(args, "--kubeconfig="+filepath.Join(e.dir, "config"),
		"--cache-dir="+filepath.Join(e.dir, "cache")))
	err := cmd.ExecuteContext(e.t.Context())
	if err != nil {
		out.WriteString("\n" + err.Error())
	}
	return out.String(), ExitCode(err)
}

// withKey runs a command with the key, and the cluster by its name.
func (e *evening) withKey(command string) (string, int) {
	e.t.Helper()
	return e.run(append(strings.Fields(command), "--api-key-file="+filepath.Join(e.dir, "key"),
		"--cluster-id="+castaitest.ID, "--api-url="+castaitest.URL)...)
}

// on tells whether the autoscaler is.
func (e *evening) on() (on bool) {
	e.t.Helper()
	e.api.Update(func() {
		var err error
		if on, _, err = castai.Enabled(e.api.Policies); err != nil {
			e.t.Error(err)
		}
	})
	return on
}

// nodes are the names of those that there are.
func (e *evening) nodes() string {
	var out []string
	for _, ref := range e.Refs() {
		if name, ok := strings.CutPrefix(ref, "Node/"); ok {
			out = append(out, name)
		}
	}
	return strings.Join(out, " ")
}
