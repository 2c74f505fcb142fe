package hibernate

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// large is a cluster of 50 nodes and 500 pods.
func large() world {
	w := world{cordoned: []string{"od-3"}}
	for i := range 22 {
		w.nodes = append(w.nodes, node(fmt.Sprintf("od-%d", i), nil))
	}
	for i := range 20 {
		w.nodes = append(w.nodes, node(fmt.Sprintf("spot-%d", i), map[string]string{"scheduling.cast.ai/spot": "true"}))
	}
	for i := range 2 {
		w.nodes = append(w.nodes, node(fmt.Sprintf("protected-%d", i),
			map[string]string{"autoscaling.cast.ai/removal-disabled": "true"}))
	}
	annotated := node("protected-2", nil)
	annotated.Annotations = map[string]string{"autoscaling.cast.ai/removal-disabled": "true"}
	w.nodes = append(w.nodes, annotated)
	for i := range 5 {
		w.nodes = append(w.nodes, node(fmt.Sprintf("foreign-%d", i), nil))
	}
	const fixed = 2 + 1 + 2 + 1 + 1 // the Deployments and the StatefulSet of essentials
	w.pods = fixed + 2*len(w.nodes) + 20*19 + 13
	w.manifests = essentials() + users(20, 19) + strings.ReplaceAll(users(1, 13), "app-0", "rest")
	return w
}

// The whole of it, at the size of a real cluster.
func TestFiftyNodes(t *testing.T) {
	w := large()
	if len(w.nodes) != 50 || w.pods != 500 {
		t.Fatalf("%d nodes and %d pods", len(w.nodes), w.pods)
	}
	w.install(t)
	before := written(t)
	t.Log(hibernate(t, 0, known("status")...).Stdout)

	start := time.Now()
	r := hibernate(t, 0, known("pause", "--yes", "--protect-removal-disabled", "--namespaces-to-keep=monitoring",
		"--keep=one-pod")...)
	t.Logf("paused in %s\n%s%s", time.Since(start).Round(100*time.Millisecond), r.Stderr, r.Stdout)
	left := nodeNames(t)
	slices.Sort(left)
	const rest = "foreign-0 foreign-1 foreign-2 foreign-3 foreign-4 protected-0 protected-1 protected-2"
	if made, others, _ := strings.Cut(strings.Join(left, " "), " "); !strings.HasPrefix(made, "castai-node") ||
		others != rest {
		t.Errorf("these nodes are left: %s", left)
	}
	essentialRun(t, left)
	for _, name := range left {
		n, err := client.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
		check(t, err)
		if n.Spec.Unschedulable || len(n.Spec.Taints) > 0 {
			t.Errorf("node %s stays cordoned or tainted while the cluster sleeps: %+v", name, n.Spec)
		}
	}
	t.Log(hibernate(t, 0, known("status")...).Stdout)

	w.addNodes(t, fresh(10)) // as the autoscaler does once it is on
	start = time.Now()
	r = hibernate(t, 0, known("resume", "--yes")...)
	t.Logf("resumed in %s\n%s%s", time.Since(start).Round(100*time.Millisecond), r.Stderr, r.Stdout)
	asBefore(t, before)
	t.Log(hibernate(t, 0, known("status")...).Stdout)
	pods, err := client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{FieldSelector: "spec.nodeName="})
	check(t, err)
	if len(pods.Items) > 0 {
		t.Errorf("%d pods have no node", len(pods.Items))
	}
}

// essentialRun fails the test unless each essential workload has a ready pod on
// one of the nodes.
func essentialRun(t *testing.T, nodes []string) {
	t.Helper()
	for _, w := range []string{"kube-system/coredns", "castai-agent/castai-agent",
		"castai-agent/castai-cluster-controller", "shop/ingress", "monitoring/prometheus", "kube-system/netd", "monitoring/logs"} {
		ns, app, _ := strings.Cut(w, "/")
		pods, err := client.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{LabelSelector: "app=" + app})
		check(t, err)
		runs := false
		for _, p := range pods.Items {
			for _, c := range p.Status.Conditions {
				runs = runs || c.Type == "Ready" && c.Status == "True" && p.DeletionTimestamp == nil &&
					slices.Contains(nodes, p.Spec.NodeName)
			}
		}
		if !runs {
			t.Errorf("%s does not run", w)
		}
	}
}
