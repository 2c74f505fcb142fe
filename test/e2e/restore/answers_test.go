package restore

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/test/chaos"
	"github.com/castai/kubectl-castai/test/fixtures"
)

// A restore that gets no answer to any of its writes at first, though the server
// has carried them out, puts everything back once, and says so. One of the
// objects can't be applied, only created; another has owners, one of which stays.
func TestAnswersThatAreLost(t *testing.T) {
	install(t, fixtures.Small)
	duplicate(t)
	agent, budget := ofAgent(t, deployments), ofAgent(t, budgets)
	system, err := api.Resource(namespaces).Get(t.Context(), "kube-system", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	budget.SetOwnerReferences([]metav1.OwnerReference{
		{APIVersion: "v1", Kind: "Namespace", Name: system.GetName(), UID: system.GetUID()},
		{APIVersion: "apps/v1", Kind: "Deployment", Name: agent.GetName(), UID: agent.GetUID()},
	})
	if _, err := api.Resource(budgets).Namespace(budget.GetNamespace()).Update(t.Context(), budget,
		metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	ids, err := fixtures.OwnedRefs(fixtures.Small)
	if err != nil {
		t.Fatal(err)
	}
	// It is not compared as a whole: the UID of an owner is another one afterwards.
	ids = slices.DeleteFunc(ids,
		func(id string) bool { return id == "PodDisruptionBudget.policy/castai-agent/castai-agent" })
	before, installed := contents(t, ids), server.Settled(t)
	dir := filepath.Join(t.TempDir(), "backup")
	offboard(t, dir)

	proxy, err := chaos.NewProxy(server.Config, chaos.Trial{Fault: chaos.ResetAfter, Writes: true})
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := proxy.Kubeconfig(kubeconfig); err != nil {
		t.Fatal(err)
	}
	admin.Kubeconfig(kubeconfig).Expect(t, 0, "restore", dir, "--yes")
	restored := server.Settled(t)
	missing := back(t, before, contents(t, ids))
	// Of each kind in each namespace, the answer to the first creation is lost.
	creates, kinds := 0, map[string]int{}
	for _, q := range proxy.Requests() {
		if q.Class == chaos.Create && !strings.Contains(q.Path, "/selfsubject") {
			creates++
			kinds[q.Path]++
		}
	}
	if creates < len(before)-missing+len(kinds) {
		t.Errorf("%d creations of %d kinds were sent: the first of each kind not twice", creates, len(kinds))
	}
	for id, o := range restored {
		byUs := slices.ContainsFunc(o.ManagedFields,
			func(m metav1.ManagedFieldsEntry) bool { return m.Manager == "kubectl-castai" })
		if _, was := installed[id]; byUs && !was {
			t.Errorf("%s is new", id)
		}
	}
	owners := ofAgent(t, budgets).GetOwnerReferences()
	if len(owners) != 2 || owners[0].UID != system.GetUID() || owners[1].UID != ofAgent(t, deployments).GetUID() ||
		owners[1].UID == agent.GetUID() {
		t.Errorf("the owners are %+v", owners)
	}

	server.Unchanged(t, func() {
		if r := admin.Expect(t, 0, "restore", dir, "--yes"); !strings.Contains(r.Stdout, "There already, as it was") {
			t.Errorf("a second restore says: %s", r)
		}
	})

	// What is there, and differs, stays, and can't be created: that it was once is no answer.
	patch := []byte(`{"spec": {"replicas": 0}}`)
	if _, err := api.Resource(deployments).Namespace(agent.GetNamespace()).Patch(t.Context(), agent.GetName(),
		types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	server.Settled(t)
	server.Unchanged(t, func() {
		r := admin.Expect(t, 4, "restore", dir, "--yes")
		if !strings.Contains(r.Stdout, "- spec.replicas: 0") || !strings.Contains(r.Stdout, "--overwrite") {
			t.Errorf("a third restore says: %s", r)
		}
	})
	if r := admin.Expect(t, 4, "restore", dir, "--yes", "--overwrite"); !strings.Contains(r.Stderr, "duplicate entries") {
		t.Errorf("a fourth restore says: %s", r)
	}
}

// ofAgent reads the agent's object of a kind.
func ofAgent(t *testing.T, resource schema.GroupVersionResource) *unstructured.Unstructured {
	t.Helper()
	u, err := api.Resource(resource).Namespace("castai-agent").Get(t.Context(), "castai-agent", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return u
}
