// Package transcripts checks docs/hibernate-transcripts.md: what a person sees of a
// pause and a resume, by the real commands, against an API server in this process and the
// fake of the Cast AI API.
package transcripts

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/pkg/plugin"
	"github.com/castai/kubectl-castai/test/fakecastai"
)

const (
	document  = "../../docs/hibernate-transcripts.md"
	clusterID = "2f1e4c1a-6b0d-4d55-9a6e-3f0c6d5b7a10"
	apiKey    = "a-key-of-the-fake"
)

// say adds what somebody typed.
func (s *screen) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(&s.text, format, args...)
}

// evening is a cluster of a few nodes with its console.
type evening struct {
	t      *testing.T
	server *clustertest.Server
	fake   *fakecastai.Server
	api    string
	config string
	key    string
	screen *screen
}

// screen is what a person sees. At a text on it, once, something happens elsewhere.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
	at   string
	do   func()
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.text.Write(p)
	if s.do != nil && strings.Contains(s.text.String(), s.at) {
		go s.do()
		s.do = nil
	}
	return n, err
}

// machines are the nodes of the API server.
type machines struct{ server *clustertest.Server }

func (m machines) Add(_ context.Context, n castai.Node) error {
	m.server.Put(nodeObject(n))
	return nil
}

func (m machines) Remove(_ context.Context, n castai.Node) error {
	m.server.Drop(cluster.Ref{Kind: "Node", Name: n.Name})
	return nil
}

func (m machines) Drain(context.Context, castai.Node) (bool, error) { return false, nil }

func (m machines) AgentRuns(context.Context) bool { return true }

// nodeObject is a node that is ready.
func nodeObject(n castai.Node) *unstructured.Unstructured {
	u := clustertest.Object("v1", "Node", "", n.Name)
	labels := map[string]string{
		"provisioner.cast.ai/managed-by": "cast.ai", "provisioner.cast.ai/node-id": n.Id,
		"node.kubernetes.io/instance-type": n.InstanceType,
	}
	maps.Copy(labels, n.Labels)
	u.SetLabels(labels)
	u.SetManagedFields([]metav1.ManagedFieldsEntry{{
		Manager: "kubelet", Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "v1", FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1("{}"),
	}})
	var taints []any
	for _, t := range n.Taints {
		taints = append(taints, map[string]any{"key": t.Key, "value": t.Value, "effect": t.Effect})
	}
	u.Object["spec"] = map[string]any{"providerID": n.ProviderId, "taints": taints}
	u.Object["status"] = map[string]any{
		"allocatable": map[string]any{"cpu": "4", "memory": "16Gi", "pods": "50"},
		"conditions":  []any{map[string]any{"type": "Ready", "status": "True"}},
	}
	return u
}

// begin makes a cluster of six nodes of Cast AI's.
func begin(t *testing.T) *evening {
	t.Helper()
	e := &evening{t: t, screen: &screen{}, server: clustertest.Serve(t,
		clustertest.Object("v1", "Namespace", "", "castai-agent"))}
	e.fake = fakecastai.New(fakecastai.Options{Key: apiKey, Delay: 300 * time.Millisecond, Nodes: machines{e.server}})
	var nodes []castai.Node
	for i := range 6 {
		n := fakecastai.SampleNode(fmt.Sprintf("node-%d", i), fmt.Sprintf("aws:///eu-central-1a/i-%d", i), "cast")
		nodes = append(nodes, n)
		e.server.Put(nodeObject(n))
	}
	e.fake.AddCluster(fakecastai.Sample(clusterID, "prod", nodes...))
	api := httptest.NewServer(e.fake.Handler())
	t.Cleanup(api.Close)
	e.api, e.config, e.key = api.URL, e.server.Kubeconfig(), filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(e.key, []byte(apiKey), 0o600); err != nil {
		t.Fatal(err)
	}
	return e
}

// run types a command, answers its question, and expects an exit code.
func (e *evening) run(code int, args ...string) {
	e.t.Helper()
	e.screen.say("$ kubectl castai %s\n", strings.Join(args, " "))
	args = append(args, "--kubeconfig="+e.config, "--api-key-file="+e.key, "--cluster-id="+clusterID, "--api-url="+e.api)
	streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: e.screen, ErrOut: e.screen}
	cmd := plugin.New("kubectl castai", plugin.Version{Version: "v1.0.0"}, streams)
	cmd.SetArgs(args)
	err := plugin.Ended(e.t.Context(), cmd.ExecuteContext(e.t.Context()))
	if err != nil {
		e.screen.say("%s\n", plugin.ErrorText("kubectl castai", err))
	}
	if got := plugin.ExitCode(err); got != code {
		e.t.Errorf("%v: exit code %d, want %d", args, got, code)
	}
	e.screen.say("(exit code %d)\n\n", code)
}

// shown is what was typed and said, without what is otherwise each time.
func (e *evening) shown() string {
	text := e.screen.text.String()
	for _, change := range [][2]string{
		{`(?m) +$`, ""},
		{regexp.QuoteMeta(e.api), "https://api.cast.ai"},
		{clusterID, "CLUSTER-ID"},
		{`http://127\.0\.0\.1:\d+`, "https://cluster.example.com"},
		{`since \w{3} \d+ \w{3} \d{4} \d\d:\d\d \S+, by \S+@[^\s:]+`, "since Wed 25 Nov 2026 22:00 EET, by you@laptop"},
		{`node-of-node-\d`, "node-of-node-N"}, // they fail at the same time
		{`can't (get the policies|delete node node-of-node-N) of cluster (.*Taking back|.*and this could not)`,
			"can't delete node node-of-node-N of cluster $2"},
		{`(done in|after) (\d+ min )?[\d.]+ s`, "$1 N s"},
	} {
		text = regexp.MustCompile(change[0]).ReplaceAllString(text, change[1])
	}
	return text
}

// scenarios are the sections of the document.
var scenarios = []struct {
	title, text string
	run         func(*evening)
}{
	{"Nodes in flight", "Cast AI is making a node when the pause begins: it joins while the others go, and goes, too.",
		func(e *evening) {
			e.run(0, "hibernate", "status")
			late := castai.Node{Id: "late", Name: "late", InstanceType: "m7g.xlarge", ProviderId: "aws:///eu-central-1a/i-9"}
			e.fake.Order(clusterID, late, 1e6)
			e.screen.at, e.screen.do = "Waiting for what Cast AI", func() { e.join(late) }
			e.run(0, "hibernate", "pause", "--yes")
			e.run(0, "hibernate", "status")
			e.run(0, "hibernate", "pause", "--yes")
			e.run(0, "hibernate", "resume", "--yes")
		}},
	{"A key that dies",
		"The API key is revoked when the first node is to go: what is in the cluster is taken back, and what is not is named.", func(e *evening) {
			dead := false
			e.fake.Inject(fakecastai.Fault{Kind: fakecastai.Unauthorized, When: func(r fakecastai.Request) bool {
				dead = dead || r.Method == http.MethodDelete
				return dead
			}})
			e.run(1, "hibernate", "pause", "--yes")
			e.run(0, "hibernate", "status")
			e.fake.Heal() // another key
			e.run(0, "hibernate", "resume", "--yes")
		}},
	{"The autoscaler is off", "Somebody has turned it off before: after a pause, nothing would make nodes.",
		func(e *evening) {
			e.fake.Update(clusterID, func(c *fakecastai.Cluster) {
				c.Policies = castai.Policies(strings.Replace(string(c.Policies), `"enabled": true`, `"enabled": false`, 1))
			})
			e.run(0, "hibernate", "status")
			e.run(3, "hibernate", "pause", "--yes")
			e.run(0, "hibernate", "pause", "--dry-run", "--accept=autoscaler-off")
		}},
	{"Namespaces to keep", "Four replicas on four nodes fit on one, and the only replica of a database stays where it is.",
		func(e *evening) {
			e.put(manifests())
			e.run(0, "hibernate", "pause", "--dry-run", "--namespaces-to-keep=shop")
			e.run(0, "hibernate", "pause", "--dry-run", "--namespaces-to-keep=shop", "--keep=one-pod")
		}},
}

// join lets a node join the cluster that Cast AI was making.
func (e *evening) join(n castai.Node) {
	e.server.Put(nodeObject(n))
	e.fake.Update(clusterID, func(c *fakecastai.Cluster) {
		for i := range c.Nodes {
			if c.Nodes[i].Id == n.Id {
				c.Nodes[i].State.Phase = "ready"
			}
		}
	})
}

// put adds objects to the cluster.
func (e *evening) put(manifests string) {
	e.t.Helper()
	objects, err := clustertest.Parse([]byte(manifests))
	if err != nil {
		e.t.Fatal(err)
	}
	e.server.Put(objects...)
}

// manifests are those of a namespace with a Deployment of four replicas and a database.
func manifests() string {
	out := "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"
	workload := func(kind, owner, name string, replicas int) {
		out += fmt.Sprintf(`---
apiVersion: apps/v1
kind: %s
metadata: {name: %s, namespace: shop}
spec: {replicas: %d, selector: {matchLabels: {app: %[2]s}}, template: {metadata: {labels: {app: %[2]s}}, spec: {containers: [{name: c, image: i}]}}}
status: {readyReplicas: %[3]d}
`, kind, name, replicas)
		for i := range replicas {
			out += fmt.Sprintf(`---
apiVersion: v1
kind: Pod
metadata: {name: %s-%d, namespace: shop, labels: {app: %[1]s}, ownerReferences: [{apiVersion: apps/v1, kind: %[3]s, name: o, uid: u, controller: true}]}
spec: {nodeName: node-%[2]d, containers: [{name: c, image: i, resources: {requests: {cpu: 500m, memory: 1Gi}}}]}
status: {phase: Running, conditions: [{type: Ready, status: "True"}]}
`, name, i, owner)
		}
	}
	workload("Deployment", "ReplicaSet", "web", 4)
	workload("StatefulSet", "StatefulSet", "db", 1)
	return out
}

// The document is what the commands say. With UPDATE set it is written.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	shown := make([]string, len(scenarios))
	t.Run("all", func(t *testing.T) {
		for i, s := range scenarios {
			t.Run(s.title, func(t *testing.T) {
				t.Parallel()
				e := begin(t)
				s.run(e)
				shown[i] = e.shown()
			})
		}
	})
	var b strings.Builder
	b.WriteString("# What a person sees of a pause and a resume\n\nRecorded by `go -C test test ./transcripts`, with the real commands against an API server in memory and a\n" +
		"stand-in for the Cast AI API; `UPDATE=1` writes this document. What it all means is in\n[hibernation](hibernate.md).\n")
	for i, s := range scenarios {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n```console\n%s\n```\n", s.title, s.text, strings.TrimSpace(shown[i]))
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(document, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	there, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if string(there) != b.String() {
		t.Errorf("docs/hibernate-transcripts.md is not what the commands say (UPDATE=1 writes it):\n%s", b.String())
	}
}
