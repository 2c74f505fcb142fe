package hibernate

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/kubectl-castai/test/fakecastai"
)

// of returns the labels of a node of an instance type.
func of(instanceType string, more ...string) map[string]string {
	labels := map[string]string{corev1.LabelInstanceTypeStable: instanceType}
	for i := 0; i < len(more); i += 2 {
		labels[more[i]] = more[i+1]
	}
	return labels
}

// provider has the console say whose cluster it is.
func provider(name string) {
	fake.Update(clusterID, func(c *fakecastai.Cluster) { c.ProviderType = name })
}

// unscheduledPods tells where that switch of the autoscaler stands.
func unscheduledPods(t *testing.T) bool {
	t.Helper()
	var p struct {
		UnschedulablePods struct{ Enabled bool }
	}
	check(t, json.Unmarshal(fake.Cluster(clusterID).Policies, &p))
	return p.UnschedulablePods.Enabled
}

// A cluster of AKS, on which only one policy is stopped and nodes of others go,
// too; and what offboard says to it.
func TestForeignNodesOnePolicyAndOffboard(t *testing.T) {
	w := small()
	protected := map[string]string{"autoscaling.cast.ai/removal-disabled": "true"}
	w.nodes = append(w.nodes, node("foreign-1", protected), node("user-0", of("Standard_D2as_v5")),
		node("gke-0", of("e2-standard-2")))
	w.pods += 2 * 3
	w.install(t)
	hibernate(t, 0, known("install", "--yes")...)
	before := written(t)

	// What is chosen, by provider.
	for name, tc := range map[string]struct {
		code int
		want string
	}{
		"eks":  {0, "Node/(a new m5a.large)"},
		"gke":  {0, "Node/gke-0: taints and labels it"},
		"aks":  {0, "Node/(a new Standard_D2as_v5)"}, // user-0 is no system node
		"kops": {3, "--hibernate-node"},
	} {
		provider(name)
		if r := hibernate(t, tc.code, known("pause", "--dry-run")...); !strings.Contains(r.Stdout+r.Stderr, tc.want) {
			t.Errorf("%s: no %q: %s", name, tc.want, r)
		}
	}

	provider("aks")
	policies := string(fake.Cluster(clusterID).Policies)
	pause := known("pause", "--yes", "--include-foreign-nodes", "--protect-removal-disabled", "--policy=unscheduled-pods")
	if r := hibernate(t, 3, pause...); !strings.Contains(r.Stderr, "--accept=one-policy") {
		t.Errorf("Cast AI's CronJobs would not resume it: %s", r)
	}
	pause = append(pause, "--accept=one-policy")
	hibernate(t, 0, pause...)
	left := nodeNames(t)
	made := slices.DeleteFunc(slices.Clone(left), func(name string) bool {
		return name == "foreign-1" ||
			name == "protected-0"
	})
	if len(left) != 3 || len(made) != 1 {
		t.Fatalf("these nodes are left: %v", left)
	}
	n, err := client.CoreV1().Nodes().Get(t.Context(), made[0], metav1.GetOptions{})
	check(t, err)
	if n.Labels["kubernetes.azure.com/mode"] != "system" ||
		n.Labels[corev1.LabelInstanceTypeStable] != "Standard_D2as_v5" {
		t.Errorf("it sleeps on a node with %v", n.Labels)
	}
	if !enabled(t) || unscheduledPods(t) {
		t.Errorf("the policies are %s", fake.Cluster(clusterID).Policies)
	}
	if r := hibernate(t, 0, pause...); !strings.Contains(r.Stdout, "Nothing to do") {
		t.Errorf("a second pause: %s", r)
	}

	offboard := []string{"offboard", "--yes", "--no-backup", "--clean-up-timeout=5s", "--settle=1s"}
	refused, err := admin.Castai(t.Context(), offboard...)
	check(t, err)
	if refused.Code != 3 || !strings.Contains(refused.Stderr, "hibernat") {
		t.Errorf("offboard of a paused cluster: %s", refused)
	}
	if phase, _ := at(t); phase != "paused" || cronJobOf(t, "hibernate-pause").UID == "" {
		t.Errorf("after offboard was refused it is %s", phase)
	}

	w.addNodes(t, fresh(4))
	hibernate(t, 0, known("resume", "--yes")...)
	asBefore(t, before)
	if is := string(fake.Cluster(clusterID).Policies); !sameJSON(t, policies, is) {
		t.Errorf("the policies were\n%s\nand are\n%s", policies, is)
	}
	done, err := admin.Castai(t.Context(), offboard...)
	check(t, err)
	if done.Code != 0 {
		t.Errorf("offboard of a resumed cluster: %s", done)
	}
	crons, err := client.BatchV1().CronJobs("").List(t.Context(), metav1.ListOptions{})
	if check(t, err); len(crons.Items) > 0 {
		t.Errorf("%d CronJobs are left", len(crons.Items))
	}
}

// sameJSON tells whether two documents say the same.
func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var compact [2]string
	for i, text := range []string{a, b} {
		var fields map[string]json.RawMessage
		check(t, json.Unmarshal([]byte(text), &fields))
		out, err := json.Marshal(fields)
		check(t, err)
		compact[i] = string(out)
	}
	return compact[0] == compact[1]
}
