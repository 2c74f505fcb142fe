package hibernate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// night is a cluster in this process with the Cast AI API beside it, on the clock
// of a bubble of testing/synctest.
type night struct {
	t      *testing.T
	server *clustertest.Server
	client *cluster.Client
	told   []string

	mu       sync.Mutex
	policies castai.Policies
	nodes    []castai.Node
	// drains is how long a node takes to go.
	drains time.Duration
	// before is called before each request to the API, with its name; its error is
	// the answer.
	before func(request string) error
	asked  []string
	// partly is how many of the next answers have the policies in part only.
	partly int
	// silent is after how long a node is listed whose order has had no answer; never, if
	// that is negative. Zero: there is an answer.
	silent time.Duration
}

const clusterID = "id"

// evening is a cluster of three nodes, with what is essential on them, that is
// awake.
func evening(t *testing.T, manifests ...string) *night {
	t.Helper()
	// The clock of a bubble begins before there was Cast AI's job.
	time.Sleep(time.Until(time.Date(2026, 7, 1, 22, 0, 0, 0, time.UTC)))
	n := &night{t: t, policies: castai.Policies(policiesOn), drains: 20 * time.Second}
	objects, err := clustertest.Parse([]byte(aNode("a") + aNode("b") + aNode("c") +
		aWorkload("Deployment", "kube-system/dns", "containers: [{name: c, image: i}]", 0) +
		"---\napiVersion: v1\nkind: Namespace\nmetadata: {name: castai-agent}\n" + strings.Join(manifests, "")))
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range objects {
		managed(u)
	}
	n.server = clustertest.Serve(t, objects...)
	n.client = n.server.Client()
	for _, ref := range n.server.Refs() {
		if name, ok := strings.CutPrefix(ref, "Node/"); ok {
			n.nodes = append(n.nodes, n.known(name))
		}
	}
	return n
}

// managed says who made an object: without that, a server does not track who
// writes its fields.
func managed(u *unstructured.Unstructured) {
	u.SetManagedFields([]metav1.ManagedFieldsEntry{{
		Manager: "kubelet", Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: u.GetAPIVersion(),
		FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:labels":{}}}`),
	}})
}

// known is what the API knows of a node.
func (n *night) known(name string) castai.Node {
	u := n.server.Get(cluster.Ref{Kind: "Node", Name: name})
	return castai.Node{
		Id: "cast-" + name, Name: name, AddedBy: castAI, InstanceType: u.GetLabels()["node.kubernetes.io/instance-type"],
		CreatedAt: u.GetCreationTimestamp().Time, State: castai.NodeState{Phase: "ready"},
	}
}

func (n *night) runner() *Runner {
	return &Runner{
		Cluster: n.client, API: n, ClusterID: clusterID, Namespace: Namespace, By: "me", Step: 10 * time.Minute,
		Drain:   time.Minute,
		OnEvent: func(engine.Event) {}, Tell: func(message string) { n.told = append(n.told, message) },
	}
}

// pause does what the command does.
func (n *night) pause(ctx context.Context, o PauseOptions) error {
	r := n.runner()
	held, release, err := r.Hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	s, err := r.Observe(held)
	if err != nil {
		return err
	}
	p, err := PlanPause(s, o)
	if err != nil || p.Already != "" {
		return err
	}
	_, err = r.Pause(held, p, o)
	return err
}

func (n *night) resume(ctx context.Context, o ResumeOptions) error {
	r := n.runner()
	held, release, err := r.Hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	s, err := r.Observe(held)
	if err != nil {
		return err
	}
	p, err := PlanResume(s, o)
	if err != nil || p.Already != "" {
		return err
	}
	return r.Resume(held, &engine.Report{}, p)
}

// sleep is what status says.
func (n *night) sleep() Sleep {
	n.t.Helper()
	s, err := n.runner().Observe(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	return s.Sleep()
}

// on tells where the autoscaler's switch stands.
func (n *night) on() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	on, err := switched(n.policies, SwitchAll)
	if err != nil {
		n.t.Fatal(err)
	}
	return on
}

// left lists what is left of pauses on nodes, workloads and CronJobs.
func (n *night) left() []string {
	n.t.Helper()
	s, err := n.runner().look(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	var out []string
	for _, c := range Leftovers(s) {
		out = append(out, c.Ref().String()+": "+c.Why)
	}
	for _, node := range s.Nodes {
		if node.Spec.Unschedulable {
			out = append(out, node.Object.Name+" is cordoned")
		}
	}
	return out
}

// names of the nodes that there are.
func (n *night) names() string {
	var out []string
	for _, ref := range n.server.Refs() {
		if name, ok := strings.CutPrefix(ref, "Node/"); ok {
			out = append(out, name)
		}
	}
	return strings.Join(out, " ")
}

// begin is called at the start of each request to the API, and holds the lock
// unless it answers with an error.
func (n *night) begin(request string) error {
	n.mu.Lock()
	n.asked = append(n.asked, request)
	before := n.before
	n.mu.Unlock()
	if before != nil {
		if err := before(request); err != nil {
			return err
		}
	}
	n.mu.Lock()
	return nil
}

func (n *night) Cluster(context.Context, string) (castai.Cluster, error) {
	if err := n.begin("get-cluster"); err != nil {
		return castai.Cluster{}, err
	}
	defer n.mu.Unlock()
	return castai.Cluster{Id: clusterID, Name: "prod", Status: "ready", ProviderType: "eks"}, nil
}

func (n *night) Policies(context.Context, string) (castai.Policies, error) {
	if err := n.begin("get-policies"); err != nil {
		return nil, err
	}
	defer n.mu.Unlock()
	if n.partly > 0 {
		n.partly--
		return castai.Policies(`{"enabled": false, "unschedulablePods": {"enabled": true}}`), nil
	}
	return slices.Clone(n.policies), nil
}

func (n *night) PutPolicies(_ context.Context, _ string, p castai.Policies) error {
	if err := n.begin("put-policies"); err != nil {
		return err
	}
	defer n.mu.Unlock()
	n.policies = slices.Clone(p)
	return nil
}

func (n *night) Nodes(context.Context, string) ([]castai.Node, error) {
	if err := n.begin("list-nodes"); err != nil {
		return nil, err
	}
	defer n.mu.Unlock()
	return slices.Clone(n.nodes), nil
}

// AddNode makes a node that joins the cluster ten seconds later.
func (n *night) AddNode(_ context.Context, _ string, config castai.NodeConfig) (castai.AddedNode, error) {
	if err := n.begin("add-node"); err != nil {
		return castai.AddedNode{}, err
	}
	defer n.mu.Unlock()
	name := fmt.Sprintf("made-%d", len(n.nodes))
	if n.silent > 0 {
		time.AfterFunc(n.silent, func() {
			n.mu.Lock()
			n.order(name, config)
			n.mu.Unlock()
			n.join(name, config)
		})
	}
	if n.silent != 0 {
		return castai.AddedNode{}, &castai.Error{Operation: "add a node", Status: http.StatusGatewayTimeout}
	}
	n.order(name, config)
	time.AfterFunc(10*time.Second, func() { n.join(name, config) })
	return castai.AddedNode{NodeId: "cast-" + name, OperationId: ""}, nil
}

// order makes the API know a node that is not in the cluster.
func (n *night) order(name string, config castai.NodeConfig) {
	n.nodes = append(n.nodes, castai.Node{
		Id: "cast-" + name, Name: name, AddedBy: castAI, InstanceType: config.InstanceType, Labels: config.KubernetesLabels,
		CreatedAt: time.Now(), State: castai.NodeState{Phase: "creating"},
	})
}

// join lets a node join the cluster that was ordered.
func (n *night) join(name string, config castai.NodeConfig) {
	objects, err := clustertest.Parse([]byte(aNode(name, "type="+config.InstanceType)))
	if err != nil {
		n.t.Error(err)
		return
	}
	u := objects[0]
	managed(u)
	labels := u.GetLabels()
	maps.Copy(labels, config.KubernetesLabels)
	u.SetLabels(labels)
	var taints []any
	for _, taint := range config.KubernetesTaints {
		taints = append(taints, map[string]any{"key": taint.Key, "value": taint.Value, "effect": taint.Effect})
	}
	if err := unstructured.SetNestedSlice(u.Object, taints, "spec", "taints"); err != nil {
		n.t.Error(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if i := slices.IndexFunc(n.nodes, func(o castai.Node) bool { return o.Name == name }); i >= 0 &&
		n.nodes[i].State.Phase == "creating" {
		n.nodes[i].State.Phase = "ready"
		n.server.Put(u)
	}
}

func (n *night) DeleteNode(_ context.Context, _, nodeID string, _ time.Duration, _ bool) (string, error) {
	if err := n.begin("delete-node " + nodeID); err != nil {
		return "", err
	}
	defer n.mu.Unlock()
	i := slices.IndexFunc(n.nodes, func(o castai.Node) bool { return o.Id == nodeID && o.State.Phase != "deleted" })
	if i < 0 {
		return "", &castai.Error{Status: http.StatusNotFound}
	}
	n.nodes[i].State.Phase = "draining"
	time.AfterFunc(n.drains, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.nodes[i].State.Phase = "deleted"
		n.server.Drop(cluster.Ref{Kind: "Node", Name: n.nodes[i].Name})
	})
	return "", nil
}

func (n *night) Operation(context.Context, string) (castai.Operation, error) {
	return castai.Operation{}, errors.New("there are no operations")
}

// put makes objects that come while a pause is on.
func (n *night) put(t *testing.T, manifests string) {
	t.Helper()
	objects, err := clustertest.Parse([]byte(manifests))
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range objects {
		managed(u)
	}
	n.server.Put(objects...)
}

var aLateNode = castai.NodeConfig{InstanceType: "m7g.xlarge"}

// refusing fails the requests of a kind, all after the first few.
func refusing(request string, after int) func(string) error {
	return func(r string) error {
		if !strings.HasPrefix(r, request) {
			return nil
		}
		if after--; after >= 0 {
			return nil
		}
		return &castai.Error{Operation: r, Status: http.StatusInternalServerError}
	}
}
