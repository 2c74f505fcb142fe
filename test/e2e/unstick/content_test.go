package unstick

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/finalize"
	"github.com/castai/kubectl-castai/test/controlplane"
)

// Case 1: objects with finalizers whose controller is gone.
func TestFinalizers(t *testing.T) {
	t.Parallel()
	ns := fresh(t)
	create(t, configMaps, ns, "a", nil, hold)
	create(t, configMaps, ns, "free", nil)
	create(t, secrets, ns, "b", nil, "crdreplicator.liqo.io/operator")
	create(t, widgets, ns, "c", nil, hold, "castware.cast.ai/cleanup-helm")
	begin(t, ns)
	r := unstick(t, finalize.Options{}, ns)
	expectCauses(t, r.before[0], "Finalizer clear-finalizers", "Finalizer clear-finalizers", "Finalizer clear-finalizers")
	for i, want := range []string{"castware-operator", "liqo-crd-replicator", "unknown controller of example.com"} {
		if c := r.before[0].Causes[i]; !strings.Contains(c.Controller.Name, want) || c.Since.IsZero() {
			t.Errorf("cause %d: %+v", i, c.Controller)
		}
	}
	r.freed(t)
	if r.did(engine.Finalize, "Namespace", ns) {
		t.Error("it was finalized, though the namespace controller would have done it")
	}
}

// Case 1: one finalizer, and no other.
func TestOnlyOneFinalizer(t *testing.T) {
	t.Parallel()
	ns := fresh(t)
	create(t, configMaps, ns, "a", nil, hold)
	create(t, configMaps, ns, "b", nil, hold, "example.com/other")
	begin(t, ns)
	r := unstick(t, finalize.Options{Allow: finalize.Only(hold)}, ns)
	if r.after[0].Freed(r.before[0]) {
		t.Error("freed")
	}
	if get(t, configMaps, ns, "a") != nil {
		t.Error("ConfigMap a is still there")
	}
	if b := get(t, configMaps, ns, "b"); b == nil || !slices.Equal(b.GetFinalizers(), []string{"example.com/other"}) {
		t.Errorf("ConfigMap b is %v", b)
	}
	expectCauses(t, r.after[0], "Finalizer none")
	unstick(t, finalize.Options{}, ns).freed(t)
}

// Case 4: pods on a node that is gone, and on one that was never ready.
func TestLostPods(t *testing.T) {
	t.Parallel()
	ns := fresh(t)
	for _, node := range []string{"lost", "silent"} {
		if err := server.AddNode(t.Context(), controlplane.Node{Name: node, NoKubelet: true}); err != nil {
			t.Fatal(err)
		}
		remove(t, nodes, node)
		pod(t, ns, "on-"+node, node)
	}
	create(t, configMaps, ns, "after", nil)
	if _, err := server.Kubectl(t.Context(), "delete", "node", "lost"); err != nil {
		t.Fatal(err)
	}
	begin(t, ns)
	expectCauses(t, diagnose(t, finalize.Options{}, ns)[0], "TerminatingPods wait", "TerminatingPods wait",
		"NotDeleting wait")
	later := finalize.Options{Now: func() time.Time { return time.Now().Add(6 * time.Minute) }}
	r := unstick(t, later, ns)
	d := r.before[0]
	if got := causes(d); len(got) != 3 || got[0] != "LostPods delete-pods" || got[1] != "LostPods delete-pods" ||
		got[2] != "NotDeleting wait" {
		t.Fatalf("causes %q: %s", got, d.Summary)
	}
	if !d.Causes[0].Node.Missing || d.Causes[1].Node.Missing {
		t.Errorf("nodes %+v and %+v", d.Causes[0].Node, d.Causes[1].Node)
	}
	r.freed(t)
}

// pod creates a pod that is bound to a node.
func pod(t *testing.T, ns, name, node string) {
	t.Helper()
	create(t, pods, ns, name, map[string]any{"spec": map[string]any{
		"nodeName": node, "terminationGracePeriodSeconds": int64(1),
		"containers": []any{map[string]any{"name": "c", "image": "none"}},
	}})
}

// Case 5: finalizers of the namespace object itself.
func TestMetadataFinalizers(t *testing.T) {
	t.Parallel()
	ns := fresh(t)
	create(t, configMaps, ns, "a", nil)
	setFinalizers(t, ns, "controller.cattle.io/namespace-auth")
	begin(t, ns)
	until(t, namespaces, ns, func(u *unstructured.Unstructured) bool {
		list, _, _ := unstructured.NestedSlice(u.Object, "spec", "finalizers")
		return len(list) == 0
	})
	r := unstick(t, finalize.Options{}, ns)
	expectCauses(t, r.before[0], "MetadataFinalizer finalize")
	if c := r.before[0].Causes[0].Controller; c.Name != "Rancher" || c.Alive != finalize.Gone {
		t.Errorf("%+v", c)
	}
	r.freed(t)
	if !r.did(engine.Finalize, "Namespace", ns) {
		t.Error("it went without being finalized")
	}
}

// setFinalizers sets metadata.finalizers of a namespace.
func setFinalizers(t *testing.T, ns string, finalizers ...string) {
	t.Helper()
	patch(t, ns, map[string]any{"finalizers": finalizers})
}

// annotate writes a namespace as another client would.
func annotate(t *testing.T, ns string) {
	t.Helper()
	patch(t, ns, map[string]any{"annotations": map[string]any{"example.com/at": time.Now().String()}})
}

func patch(t *testing.T, ns string, metadata map[string]any) {
	t.Helper()
	data, err := json.Marshal(map[string]any{"metadata": metadata})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.Resource(namespaces).Patch(t.Context(), ns, types.MergePatchType, data,
		metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// Case 6: further finalizers in spec.finalizers.
func TestSpecFinalizers(t *testing.T) {
	t.Parallel()
	const ns = "case-spec-finalizers"
	create(t, namespaces, "", ns,
		map[string]any{"spec": map[string]any{"finalizers": []any{"kubernetes", "example.com/spec"}}})
	create(t, configMaps, ns, "a", nil)
	begin(t, ns)
	until(t, namespaces, ns, func(u *unstructured.Unstructured) bool {
		list, _, _ := unstructured.NestedStringSlice(u.Object, "spec", "finalizers")
		return slices.Equal(list, []string{"example.com/spec"})
	})
	r := unstick(t, finalize.Options{}, ns)
	expectCauses(t, r.before[0], "SpecFinalizer finalize")
	r.freed(t)
}

// A namespace that was finalized before it was deleted: the namespace controller
// skips its content.
func TestFinalizedBefore(t *testing.T) {
	t.Parallel()
	ns := fresh(t)
	create(t, configMaps, ns, "a", nil, hold)
	create(t, secrets, ns, "b", nil)
	u := get(t, namespaces, "", ns)
	u.SetFinalizers([]string{"example.com/meta"})
	unstructured.RemoveNestedField(u.Object, "spec", "finalizers")
	if _, err := api.Resource(namespaces).Update(t.Context(), u, metav1.UpdateOptions{}, "finalize"); err != nil {
		t.Fatal(err)
	}
	if err := api.Resource(namespaces).Delete(t.Context(), ns, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r := unstick(t, finalize.Options{}, ns)
	if !slices.Contains(causes(r.before[0]), "NotDeleting delete-content") {
		t.Errorf("causes %q: %s", causes(r.before[0]), r.before[0].Summary)
	}
	r.freed(t)
}

// Case 10: what is not Terminating, and what is protected, is refused.
func TestRefusals(t *testing.T) {
	t.Parallel()
	ns := fresh(t)
	create(t, configMaps, ns, "a", nil, hold)
	for _, force := range []bool{false, true} {
		o := finalize.Options{Force: force}
		expectRefused(t, diagnose(t, o, ns), o, finalize.NotTerminating)
		expectRefused(t, diagnose(t, o, "kube-node-lease"), o, finalize.Protected)
		expectRefused(t, diagnose(t, o, "kube-system"), o, finalize.Protected)
		expectRefused(t, diagnose(t, o, "no-such-namespace"), o, finalize.NotFound)
	}
	was := state(t, namespaces, "", ns) + state(t, configMaps, ns, "a")
	for _, args := range [][]string{{ns}, {ns, "--force"}, {"kube-node-lease"}, {"kube-node-lease", "--force"},
		{"no-such-namespace"}} {
		r, err := admin.Castai(t.Context(), append([]string{"unstick-ns", "--yes"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		if r.Code != 3 || !strings.Contains(r.Stderr, "refused") {
			t.Errorf("%q: %s", args, r)
		}
	}
	if now := state(t, namespaces, "", ns) + state(t, configMaps, ns, "a"); now != was {
		t.Errorf("changed: %s, was %s", now, was)
	}
}

// Case 11: the namespace is made anew after it was judged. Nothing but the UID
// tells the new one, which is stuck in turn, from the old one.
func TestMadeAnew(t *testing.T) {
	t.Parallel()
	for _, force := range []bool{false, true} {
		t.Run(fmt.Sprintf("force %t", force), func(t *testing.T) {
			t.Parallel()
			ns := fresh(t)
			create(t, configMaps, ns, "old", nil, hold)
			begin(t, ns)
			o := finalize.Options{Force: force}
			before := diagnose(t, o, ns)
			finalizeByHand(t, ns)
			create(t, namespaces, "", ns, nil)
			create(t, configMaps, ns, "new", nil, hold)
			begin(t, ns)
			was := state(t, configMaps, ns, "old", "new")
			carryOut(t, o, before)
			if now := state(t, configMaps, ns, "old", "new"); now != was {
				t.Errorf("changed: %s, was %s", now, was)
			}
			if u := get(t, namespaces, "", ns); u == nil || u.GetUID() == before[0].UID {
				t.Errorf("the new namespace is %v", u)
			}
			unstick(t, finalize.Options{}, ns).freed(t)
		})
	}
}

// Case 11: another client writes the namespace after it was judged.
func TestChangedInBetween(t *testing.T) {
	t.Parallel()
	ns := fresh(t)
	create(t, configMaps, ns, "a", nil, hold)
	begin(t, ns)
	target := cluster.NamespaceTarget(ns, get(t, namespaces, "", ns).GetUID())
	target.ResourceVersion = get(t, namespaces, "", ns).GetResourceVersion()
	annotate(t, ns)
	if err := client.FinalizeNamespace(t.Context(), target, false); !apierrors.IsConflict(err) {
		t.Errorf("want a conflict, got %v", err)
	}
	target.UID, target.ResourceVersion = "another", ""
	if err := client.FinalizeNamespace(t.Context(), target, false); !apierrors.IsConflict(err) {
		t.Errorf("want a conflict, got %v", err)
	}
	if get(t, namespaces, "", ns) == nil {
		t.Fatal("it was finalized")
	}
	// By force, with an old look: it looks again, and lists the orphans.
	o := finalize.Options{Force: true}
	before := diagnose(t, o, ns)
	annotate(t, ns)
	r := carryOut(t, o, before)
	if len(r.failures) == 0 || !strings.Contains(r.failures[0], "changed since") {
		t.Errorf("no conflict: %q", r.failures)
	}
	r.freed(t)
}
