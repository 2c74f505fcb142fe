package unstick

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/finalize"
)

// Case 8: by force, orphans are listed before, found, and swept.
func TestForce(t *testing.T) {
	t.Parallel()
	ns := fresh(t)
	create(t, configMaps, ns, "a", nil, hold)
	create(t, widgets, ns, "w", nil, hold)
	create(t, secrets, ns, "free", nil)
	begin(t, ns)
	r := unstick(t, finalize.Options{Force: true}, ns)
	var names []string
	for _, g := range r.before[0].Orphaned() {
		names = append(names, g.String())
	}
	if want := []string{"ConfigMap a", "Widget w"}; !slices.Equal(names, want) {
		t.Errorf("it says that this orphans %q, want %q", names, want)
	}
	r.freed(t)
	if !r.did(engine.CreateNamespace, "Namespace", ns) {
		t.Error("on this version orphans can't be updated without their namespace")
	}
}

// Case 8: by force, while nobody has deleted the content yet.
func TestForceAtOnce(t *testing.T) {
	t.Parallel()
	ns := fresh(t)
	create(t, configMaps, ns, "a", nil, hold)
	create(t, secrets, ns, "free", nil)
	setFinalizers(t, ns, "example.com/meta")
	if err := api.Resource(namespaces).Delete(t.Context(), ns, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	unstick(t, finalize.Options{Force: true}, ns).freed(t)
}

// Case 9: the namespace is gone, and objects in it remain. The server answers an
// update of them with NotFound, which must not be taken for success.
func TestOrphans(t *testing.T) {
	t.Parallel()
	ns := fresh(t)
	create(t, configMaps, ns, "a", nil, hold)
	create(t, widgets, ns, "w", nil, hold)
	begin(t, ns)
	finalizeByHand(t, ns)
	_, err := api.Resource(configMaps).Namespace(ns).Patch(t.Context(), "a", types.MergePatchType,
		[]byte(`{"metadata":{"finalizers":[]}}`), metav1.PatchOptions{})
	target := cluster.Target{Ref: cluster.Ref{Kind: "ConfigMap", Namespace: ns, Name: "a"}, Version: "v1",
		Resource: "configmaps"}
	if err == nil || !strings.Contains(err.Error(), "namespaces") || cluster.IsGone(err, target) {
		t.Errorf("the answer to an update of an orphan is %v; gone: %t", err, cluster.IsGone(err, target))
	}
	r := unstick(t, finalize.Options{}, ns)
	if r.before[0].State != finalize.Missing || !slices.Contains(causes(r.before[0]), "Orphans sweep") {
		t.Errorf("%s, causes %q", r.before[0].State, causes(r.before[0]))
	}
	r.freed(t)
}

// Case 9: orphans with a finalizer that may not be removed are never reported as
// gone, and no namespace is created that would get stuck.
func TestOrphansThatStay(t *testing.T) {
	t.Parallel()
	ns := fresh(t)
	create(t, configMaps, ns, "a", nil, hold, "example.com/other")
	begin(t, ns)
	finalizeByHand(t, ns)
	r := unstick(t, finalize.Options{Allow: finalize.Only(hold)}, ns)
	if r.after[0].Freed(r.before[0]) {
		t.Error("freed")
	}
	if get(t, namespaces, "", ns) != nil {
		t.Error("a namespace was created in vain")
	}
	for _, o := range r.report.Outcomes {
		if o.Result == engine.ResultDone || o.Result == engine.ResultGone {
			t.Errorf("%s %s ended as %s", o.Verb, o.Object, o.Result)
		}
	}
	unstick(t, finalize.Options{}, ns).freed(t)
}

// A run that was interrupted left the namespace that it had created.
func TestHelperLeftBehind(t *testing.T) {
	t.Parallel()
	ns := fresh(t)
	create(t, configMaps, ns, "a", nil, hold)
	begin(t, ns)
	finalizeByHand(t, ns)
	create(t, namespaces, "", ns, map[string]any{"metadata": map[string]any{
		"annotations": map[string]any{finalize.HelperAnnotation: "created by a run that was interrupted"},
	}})
	unstick(t, finalize.Options{}, ns).freed(t)
}
