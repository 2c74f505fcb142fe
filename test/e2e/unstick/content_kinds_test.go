package unstick

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/castai/kubectl-castai/pkg/finalize"
)

// define makes a CustomResourceDefinition and waits until it is served.
func define(t *testing.T, manifest, name string) {
	t.Helper()
	if err := server.Apply(t.Context(), manifest); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Kubectl(t.Context(), "wait", "--for=condition=Established", "crd/"+name); err != nil {
		t.Fatal(err)
	}
}

// An Event with a finalizer is content, and so is a custom resource that is called
// Event. (finalizer-doctor does not look at the content; knsk and unstuck strip both.)
func TestEventsWithFinalizers(t *testing.T) {
	t.Parallel()
	define(t, definition("audit.example.com", "events", "Event"), "events.audit.example.com")
	ns := fresh(t)
	create(t, events, ns, "core", map[string]any{
		"involvedObject": map[string]any{"kind": "Namespace", "namespace": ns, "name": ns}, "reason": "Test",
		"type": "Normal",
	}, hold)
	create(t, custom, ns, "custom", nil, hold)
	begin(t, ns)
	d := diagnose(t, finalize.Options{}, ns)[0]
	if d.Content.Objects != 2 || !strings.Contains(d.Summary, "Event core") || !strings.Contains(d.Summary,
		"Event custom") {
		t.Fatalf("%d objects: %s", d.Content.Objects, d.Summary)
	}
	r := admin.Expect(t, 0, "unstick-ns", ns, "--yes", "--patience=2s", "--no-backup")
	t.Log(r)
	for _, gvr := range []schema.GroupVersionResource{events, custom} {
		list, err := resource(gvr, ns).List(t.Context(), metav1.ListOptions{})
		if err != nil || len(list.Items) > 0 {
			t.Errorf("%s: %d are orphaned, %v", gvr, len(list.Items), err)
		}
	}
}
