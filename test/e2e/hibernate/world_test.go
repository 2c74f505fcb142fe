package hibernate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/castai/kubectl-castai/test/controlplane"
	"github.com/castai/kubectl-castai/test/fakecastai"
)

// world is a cluster with nodes of Cast AI's and of others, and with workloads.
type world struct {
	nodes    []controlplane.Node
	cordoned []string
	// manifests of the workloads.
	manifests string
	// pods is how many there are.
	pods int
}

// node of Cast AI's, unless it is foreign.
func node(name string, labels map[string]string) controlplane.Node {
	n := controlplane.Node{
		Name: name, CPU: "4", Memory: "16Gi", ProviderID: "aws:///eu-central-1a/i-" + name,
		Labels: map[string]string{corev1.LabelInstanceTypeStable: "m7g.xlarge"},
	}
	if !strings.HasPrefix(name, "foreign") {
		n.Labels["provisioner.cast.ai/managed-by"] = "cast.ai"
		n.Labels["provisioner.cast.ai/node-id"] = "id-" + name
	}
	maps.Copy(n.Labels, labels)
	return n
}

// deployment is a Deployment or StatefulSet with labels of its own.
func workload(kind, namespace, name string, replicas int, spec string) string {
	return fmt.Sprintf(`---
apiVersion: apps/v1
kind: %s
metadata: {name: %s, namespace: %s}
spec:
  replicas: %d
  serviceName: %[2]s
  selector: {matchLabels: {app: %[2]s}}
  template:
    metadata: {labels: {app: %[2]s}}
    spec:
      containers: [{name: c, image: registry.example.com/c:1, resources: {requests: {cpu: 50m, memory: 32Mi}}}]
%[5]s
`, kind, name, namespace, replicas, spec)
}

func namespace(name string) string {
	return fmt.Sprintf("---\napiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n", name)
}

// essentials run through every pause: with a toleration of their own, of another
// list, and without any.
func essentials() string {
	daemons := strings.NewReplacer("  replicas: 0\n", "", "  serviceName: netd\n",
		"").Replace(workload("DaemonSet", "kube-system", "netd", 0, "      tolerations: [{operator: Exists}]"))
	proxy := strings.NewReplacer("  replicas: 0\n", "", "  serviceName: logs\n",
		"").Replace(workload("DaemonSet", "monitoring", "logs", 0, "      priorityClassName: system-node-critical"))
	deployment := func(text string) string {
		var out []string
		for line := range strings.Lines(text) {
			if !strings.Contains(line, "serviceName") {
				out = append(out, line)
			}
		}
		return strings.Join(out, "")
	}
	return namespace("castai-agent") + namespace("monitoring") + namespace("shop") + namespace("batch") +
		deployment(workload("Deployment", "kube-system", "coredns", 2,
			"      tolerations: [{key: CriticalAddonsOnly, operator: Exists}]")) +
		ours(deployment(workload("Deployment", "castai-agent", "castai-agent", 1,
			"      priorityClassName: system-cluster-critical")), "agent") +
		ours(deployment(workload("Deployment", "castai-agent", "castai-cluster-controller", 2,
			"      priorityClassName: system-cluster-critical")), "cluster-controller") +
		deployment(workload("Deployment", "shop", "ingress", 1, "      priorityClassName: system-cluster-critical")) +
		workload("StatefulSet", "monitoring", "prometheus", 1, "") + daemons + proxy
}

// ours is a workload that runs an image of Cast AI's.
func ours(workload, image string) string {
	return strings.Replace(workload, "registry.example.com/c:1", "us-docker.pkg.dev/castai-hub/library/"+image+":v1", 1)
}

func users(deployments, replicas int) string {
	var b strings.Builder
	for i := range deployments {
		ns := []string{"shop", "batch"}[i%2]
		text := workload("Deployment", ns, fmt.Sprintf("app-%d", i), replicas, "")
		b.WriteString(strings.Replace(text, fmt.Sprintf("  serviceName: app-%d\n", i), "", 1))
	}
	return b.String()
}

// small is a world for tests that pause often.
func small() world {
	w := world{manifests: essentials() + users(2, 6), cordoned: []string{"od-2"}}
	for i := range 3 {
		w.nodes = append(w.nodes, node(fmt.Sprintf("od-%d", i), nil))
	}
	w.nodes = append(w.nodes,
		node("spot-0", map[string]string{"scheduling.cast.ai/spot": "true"}),
		node("protected-0", map[string]string{"autoscaling.cast.ai/removal-disabled": "true"}),
		node("foreign-0", nil),
	)
	w.pods = 2 + 1 + 2 + 1 + 1 + 2*len(w.nodes) + 12
	return w
}

// install makes the world, and the console of it.
func (w world) install(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	w.addNodes(t, w.nodes)
	if err := server.Apply(ctx, w.manifests); err != nil {
		t.Fatal(err)
	}
	for _, name := range w.cordoned {
		if _, err := server.Kubectl(ctx, "cordon", name); err != nil {
			t.Fatal(err)
		}
	}
	w.console(t)
	w.settled(t)
	t.Cleanup(func() { w.remove(t) })
}

func (w world) addNodes(t *testing.T, list []controlplane.Node) {
	t.Helper()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(10)
	for _, n := range list {
		group.Go(func() error { return server.AddNode(ctx, n) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// console tells the fake of the nodes that there are.
func (w world) console(t *testing.T) {
	t.Helper()
	list, err := nodes.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fake.AddCluster(fakecastai.Sample(clusterID, "demo", list...))
}

// settled waits until all pods run.
func (w world) settled(t *testing.T) {
	t.Helper()
	var problem error
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 2*time.Minute, true,
		func(ctx context.Context) (bool, error) {
			pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
			if err != nil {
				return false, err
			}
			running := 0
			for _, p := range pods.Items {
				if p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil {
					running++
					continue
				}
				problem = fmt.Errorf("pod %s/%s is %s", p.Namespace, p.Name, p.Status.Phase)
				if err := collect(ctx, &p); err != nil {
					return false, err
				}
			}
			if running != len(pods.Items) || running < w.pods {
				problem = errors.Join(problem, fmt.Errorf("%d of %d pods run, want %d", running, len(pods.Items), w.pods))
				return false, nil
			}
			return true, nil
		})
	if err != nil {
		t.Fatalf("%v: %v", err, problem)
	}
}

// collect removes a pod on a node that is gone, such as one that a DaemonSet made
// there meanwhile. The pod garbage collector does it, too, but after a minute.
func collect(ctx context.Context, p *corev1.Pod) error {
	if p.Spec.NodeName == "" {
		return nil
	}
	_, err := client.CoreV1().Nodes().Get(ctx, p.Spec.NodeName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		err = client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, *metav1.NewDeleteOptions(0))
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// remove takes the world away, for the next test. Its namespaces stay, empty: a
// namespace takes ten seconds to go.
func (w world) remove(t *testing.T) {
	t.Helper()
	group, ctx := errgroup.WithContext(context.Background())
	remove := func(args ...string) error {
		_, err := server.Kubectl(ctx, append([]string{"delete", "--ignore-not-found"}, args...)...)
		return err
	}
	const workloads = "deployments,replicasets,statefulsets,daemonsets"
	for _, ns := range []string{"castai-agent", "monitoring", "shop", "batch"} {
		group.Go(func() error {
			return errors.Join(
				remove(workloads+",cronjobs,jobs,secrets,roles,rolebindings,leases", "--all", "-n", ns),
				remove("configmaps,serviceaccounts", "--field-selector=metadata.name!=default,metadata.name!=kube-root-ca.crt",
					"-n", ns),
			)
		})
	}
	group.Go(func() error { return remove(workloads, "--all", "-n", "kube-system") })
	group.Go(func() error {
		return remove("clusterroles,clusterrolebindings", "hibernate", "hibernate-admin", "castai-agent")
	})
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	// Whoever had the pods made is gone. What a controller has just made goes, too.
	err := wait.PollUntilContextTimeout(context.Background(), 200*time.Millisecond, time.Minute, true,
		func(ctx context.Context) (bool, error) {
			for _, ns := range []string{"kube-system", "castai-agent", "monitoring", "shop", "batch"} {
				if err := client.CoreV1().Pods(ns).DeleteCollection(ctx, *metav1.NewDeleteOptions(0),
					metav1.ListOptions{}); err != nil {
					return false, err
				}
			}
			pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
			return err == nil && len(pods.Items) == 0, err
		})
	if err != nil {
		t.Error(err)
	}
	if _, err := server.Kubectl(context.Background(), "delete", "nodes", "--all"); err != nil {
		t.Error(err)
	}
}

// written returns, by kind and name, what people and programs have written of all
// nodes and workloads.
func written(t *testing.T) map[string]map[string]any {
	t.Helper()
	out := map[string]map[string]any{}
	add := func(kind string, o metav1.Object) {
		o.SetManagedFields(nil)
		o.SetUID("")
		o.SetResourceVersion("")
		o.SetGeneration(0)
		o.SetCreationTimestamp(metav1.Time{})
		annotations := o.GetAnnotations()
		delete(annotations, "deployment.kubernetes.io/revision")
		delete(annotations, "deprecated.daemonset.template.generation")
		if len(annotations) == 0 {
			annotations = nil
		}
		o.SetAnnotations(annotations)
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			t.Fatal(err)
		}
		delete(content, "status")
		// The controllers of nodes write this, at their own time.
		unstructured.RemoveNestedField(content, "spec", "podCIDRs")
		unstructured.RemoveNestedField(content, "spec", "podCIDR")
		out[kind+"/"+o.GetNamespace()+"/"+o.GetName()] = content
	}
	ctx := t.Context()
	all, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	check(t, err)
	for i := range all.Items {
		// The node controller says with a taint, a little later, what spec.unschedulable says.
		all.Items[i].Spec.Taints = slices.DeleteFunc(all.Items[i].Spec.Taints,
			func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeUnschedulable })
		if len(all.Items[i].Spec.Taints) == 0 {
			all.Items[i].Spec.Taints = nil
		}
		add("Node", &all.Items[i])
	}
	deployments, err := client.AppsV1().Deployments("").List(ctx, metav1.ListOptions{})
	check(t, err)
	for i := range deployments.Items {
		add("Deployment", &deployments.Items[i])
	}
	sets, err := client.AppsV1().StatefulSets("").List(ctx, metav1.ListOptions{})
	check(t, err)
	for i := range sets.Items {
		add("StatefulSet", &sets.Items[i])
	}
	daemons, err := client.AppsV1().DaemonSets("").List(ctx, metav1.ListOptions{})
	check(t, err)
	for i := range daemons.Items {
		add("DaemonSet", &daemons.Items[i])
	}
	return out
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// unlike lists what is not as it was. Nodes that are gone, and new ones without
// anything of a pause on them, are none of that.
func unlike(before, after map[string]map[string]any) []string {
	var out []string
	for id, is := range after {
		was, found := before[id]
		text := fmt.Sprint(is)
		if !found && strings.HasPrefix(id, "Node/") {
			for _, trace := range []string{"paused-cluster", "castai.kubectl.dev", "unschedulable"} {
				if strings.Contains(text, trace) {
					out = append(out, fmt.Sprintf("%s has %s", id, trace))
				}
			}
			continue
		}
		a, _ := json.Marshal(was)
		b, _ := json.Marshal(is)
		if string(a) != string(b) {
			out = append(out, fmt.Sprintf("%s\n\twas %s\n\tis  %s", id, a, b))
		}
	}
	for id := range before {
		if _, found := after[id]; !found && !strings.HasPrefix(id, "Node/") {
			out = append(out, id+" is gone")
		}
	}
	slices.Sort(out)
	return out
}

// fresh are nodes that an autoscaler adds for the pods that wait.
func fresh(n int) []controlplane.Node {
	var out []controlplane.Node
	for i := range n {
		out = append(out, node(fmt.Sprintf("fresh-%d-%d", time.Now().UnixMilli()%1e7, i), nil))
	}
	return out
}

// nodeNames returns the names of the nodes that there are.
func nodeNames(t *testing.T) []string {
	t.Helper()
	list, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	check(t, err)
	var out []string
	for _, n := range list.Items {
		out = append(out, n.Name)
	}
	return out
}

// enabled tells where the autoscaler's switch stands.
func enabled(t *testing.T) bool {
	t.Helper()
	var p struct {
		Enabled bool `json:"enabled"`
	}
	check(t, json.Unmarshal(fake.Cluster(clusterID).Policies, &p))
	return p.Enabled
}
