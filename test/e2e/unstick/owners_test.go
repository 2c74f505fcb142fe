package unstick

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/castai/kubectl-castai/pkg/finalize"
)

var templates = schema.GroupVersionResource{Version: "v1", Resource: "podtemplates"}

// A controller that is only starting, one that bears the name that a framework gave it, and one outside of the
// cluster get their time and are then asked for; once they are not there any more, their finalizer is removed.
// (finalizer-doctor refuses with UNKNOWN; knsk and unstuck strip, and it leaks.)
func TestOwnerThatMayLive(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, manager string
		kind          schema.GroupVersionResource
		owner         func(t *testing.T) (end func(*testing.T))
		evidence      string
	}{
		{"starting", "late-operator", widgets, func(t *testing.T) func(*testing.T) {
			entitle(t, "late-operator")
			return pending(t, "late-operator")
		}, "Deployment default/late-operator has no ready pod yet, and late-operator is a writer of the objects"},
		{"framework", "main", widgets, func(t *testing.T) func(*testing.T) {
			entitle(t, "framed-operator")
			return runs(t, "framed-operator", "main")
		}, "has 1 ready pods, may write widgets.example.com, and main, which is a writer of the objects, is one of its names"},
		{"outside", "hub", templates, hub, "ClusterRole hub lets User hub@example.com write podtemplates"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			end := tc.owner(t)
			ns := fresh(t)
			create(t, tc.kind, ns, "w", map[string]any{
				"spec": map[string]any{"size": int64(1)}, // of a widget
				"template": map[string]any{"spec": map[string]any{
					"containers": []any{map[string]any{"name": "c", "image": "none"}}}},
			})
			u := get(t, tc.kind, ns, "w")
			u.SetFinalizers([]string{"acme.test/cleanup"})
			if _, err := resource(tc.kind, ns).Update(t.Context(), u, metav1.UpdateOptions{FieldManager: tc.manager}); err != nil {
				t.Fatal(err)
			}
			begin(t, ns)
			was := state(t, tc.kind, ns, "w")
			d := diagnose(t, finalize.Options{}, ns)[0]
			if c := d.Causes[0]; c.Action != finalize.Wait || d.Stuck() ||
				!strings.Contains(c.Controller.Evidence, tc.evidence) {
				t.Fatalf("%s: %s (stuck: %t)", c.Action, c.Summary, d.Stuck())
			}
			admin.Expect(t, 0, "unstick-ns", ns, "--diagnose")
			r := admin.Expect(t, 124, "unstick-ns", ns, "--yes", "--no-backup", "--patience=1s", "--timeout=5s")
			if now := state(t, tc.kind, ns, "w"); now != was {
				t.Fatalf("it is %s, was %s: %s", now, was, r)
			}
			later := finalize.Options{Now: func() time.Time { return time.Now().Add(6 * time.Minute) }}
			d = diagnose(t, later, ns)[0]
			if refusal := finalize.Refuse(d, later); refusal == nil ||
				!strings.Contains(refusal.Message, "--finalizer=acme.test/cleanup") {
				t.Errorf("after its time: %v", refusal)
			}
			end(t)
			admin.Expect(t, 0, "unstick-ns", ns, "--yes", "--no-backup", "--patience=1s")
			if get(t, namespaces, "", ns) != nil {
				t.Error("it is left")
			}
		})
	}
}

// pending makes a Deployment whose pod has no node, in namespace default, as a ServiceAccount of that name.
func pending(t *testing.T, name string) func(*testing.T) {
	return deployment(t, name, map[string]any{"serviceAccountName": name, "nodeSelector": map[string]any{"none": "none"},
		"containers": []any{map[string]any{"name": "c", "image": "none"}}})
}

// runs makes a Deployment with a ready pod.
func runs(t *testing.T, name, container string) func(*testing.T) {
	node(t, name)
	end := deployment(t, name, map[string]any{"serviceAccountName": name,
		"containers": []any{map[string]any{"name": container, "image": "none"}}})
	isReady(t, "default", name)
	return end
}

// hub makes a role for podtemplates, bound to a user. A kind that no other test writes: it counts for all objects.
func hub(t *testing.T) func(*testing.T) {
	t.Helper()
	for _, args := range [][]string{
		{"create", "clusterrole", "hub", "--verb=get,update", "--resource=podtemplates"},
		{"create", "clusterrolebinding", "hub", "--clusterrole=hub", "--user=hub@example.com"},
	} {
		if _, err := server.Kubectl(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	return func(t *testing.T) {
		if _, err := server.Kubectl(t.Context(), "delete", "clusterrolebinding/hub", "clusterrole/hub"); err != nil {
			t.Fatal(err)
		}
	}
}

// deployment makes one in namespace default, and returns what removes it and waits until its pods are gone.
func deployment(t *testing.T, name string, pod map[string]any) func(*testing.T) {
	t.Helper()
	labels := map[string]any{"app": name}
	create(t, deployments, "default", name, map[string]any{"spec": map[string]any{
		"replicas": int64(1), "selector": map[string]any{"matchLabels": labels},
		"template": map[string]any{"metadata": map[string]any{"labels": labels}, "spec": pod},
	}})
	return func(t *testing.T) {
		if _, err := server.Kubectl(t.Context(), "delete", "deployment", name, "-n", "default",
			"--cascade=foreground"); err != nil {
			t.Fatal(err)
		}
	}
}
