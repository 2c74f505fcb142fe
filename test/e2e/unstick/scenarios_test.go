package unstick

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/finalize"
	"github.com/castai/kubectl-castai/test/controlplane"
)

// A pod on a ready node that does not stop is left to its kubelet. (unstuck exits with 0,
// and it stays.)
func TestPodThatDoesNotStop(t *testing.T) {
	t.Parallel()
	ns := fresh(t)
	node := "busy-" + ns
	if err := server.AddNode(t.Context(), controlplane.Node{Name: node, NoKubelet: true}); err != nil {
		t.Fatal(err)
	}
	remove(t, nodes, node)
	pod(t, ns, "p", node)
	heartbeat := func() {
		at := time.Now().UTC().Format(time.RFC3339)
		if _, err := resource(nodes, "").Patch(t.Context(), node, types.StrategicMergePatchType, fmt.Appendf(nil,
			`{"status":{"conditions":[{"type":"Ready","status":"True","lastHeartbeatTime":%q,"lastTransitionTime":%[1]q}]}}`,
			at),
			metav1.PatchOptions{}, "status"); err != nil {
			t.Fatal(err)
		}
	}
	heartbeat()
	begin(t, ns)
	was := state(t, pods, ns, "p")
	heartbeat()
	later := finalize.Options{Now: func() time.Time { return time.Now().Add(2 * time.Minute) }}
	d := diagnose(t, later, ns)[0]
	expectCauses(t, d, "NotDeleting wait", "TerminatingPods none")
	if c := d.Causes[len(d.Causes)-1]; !strings.Contains(c.Summary, "the kubelet of node "+node+" is alive") {
		t.Errorf("%s", c.Summary)
	}
	expectRefused(t, []*finalize.Diagnosis{d}, later, finalize.Blocked)
	if now := state(t, pods, ns, "p"); now != was {
		t.Errorf("it is %s, was %s", now, was)
	}
	err := resource(pods, ns).Delete(t.Context(), "p", metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
	if err != nil {
		t.Fatal(err)
	}
	until(t, namespaces, ns, gone)
}

// One pod of a node that is gone, and with a finalizer of nobody's, is freed.
func TestOnePod(t *testing.T) {
	t.Parallel()
	ns := fresh(t)
	node := "gone-" + ns
	if err := server.AddNode(t.Context(), controlplane.Node{Name: node, NoKubelet: true}); err != nil {
		t.Fatal(err)
	}
	pod(t, ns, "beside", node)
	create(t, pods, ns, "p", map[string]any{"spec": map[string]any{
		"nodeName": node, "terminationGracePeriodSeconds": int64(1),
		"containers": []any{map[string]any{"name": "c", "image": "none"}},
	}}, hold)
	discard(t, nodes, "", node)
	eventually(t, func(context.Context) (bool, error) { return get(t, nodes, "", node) == nil, nil })
	discard(t, pods, ns, "p")
	r := admin.Expect(t, 4, "unstick", "pod/p", "-n", ns, "--diagnose")
	if !strings.Contains(r.Stdout, "node "+node+", which does not exist") || !strings.Contains(r.Stdout, hold) {
		t.Errorf("%s", r)
	}
	admin.Expect(t, 0, "unstick", "po", "p", "-n", ns, "--yes", "--no-backup", "--patience=2s")
	if get(t, pods, ns, "p") != nil {
		t.Error("it is left")
	}
}

// A volume that is retained when its namespace goes is named, and found without the name
// of the namespace. (No other tool looks.)
func TestVolumeThatIsLeft(t *testing.T) {
	t.Parallel()
	ns := fresh(t)
	size := map[string]any{"storage": "1Gi"}
	create(t, volumes, "", "kept-"+ns, map[string]any{"spec": map[string]any{
		"capacity": size, "accessModes": []any{"ReadWriteOnce"}, "persistentVolumeReclaimPolicy": "Retain",
		"storageClassName": "none", "hostPath": map[string]any{"path": "/nowhere"},
		"claimRef": map[string]any{"namespace": ns, "name": "data"},
	}})
	remove(t, volumes, "kept-"+ns)
	create(t, volumeClaims, ns, "data", map[string]any{"spec": map[string]any{
		"accessModes": []any{"ReadWriteOnce"}, "resources": map[string]any{"requests": size},
		"storageClassName": "none", "volumeName": "kept-" + ns,
	}})
	phase := func(want string) {
		until(t, volumes, "kept-"+ns, func(u *unstructured.Unstructured) bool {
			is, _, _ := unstructured.NestedString(u.Object, "status", "phase")
			return is == want
		})
	}
	phase("Bound")
	discard(t, namespaces, "", ns)
	until(t, namespaces, ns, gone)
	phase("Released")
	const says = "which is gone: it is Released, and by its policy Retain it and its disk stay"
	if r := admin.Expect(t, 3, "unstick-ns", ns, "--diagnose"); !strings.Contains(r.Stderr, says) {
		t.Errorf("%s", r)
	}
	r := admin.Try(t, "unstick-ns", "--orphans", "--diagnose") // other tests leave orphans meanwhile
	if !strings.Contains(r.Stderr, "PersistentVolume kept-"+ns) {
		t.Errorf("%s", r)
	}
}

// A webhook that nobody answers and that is about namespaces themselves does not keep a
// namespace whose content can be freed. (unstuck frees it, too.)
func TestWebhookOnNamespaces(t *testing.T) {
	t.Parallel()
	ns := fresh(t)
	create(t, configMaps, ns, "a", nil, hold)
	name := "on-" + ns
	create(t, validating, "", name, map[string]any{"webhooks": []any{map[string]any{
		"name": name + ".example.com", "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": []any{"v1"},
		"clientConfig":      map[string]any{"service": map[string]any{"namespace": "nowhere", "name": "hook"}},
		"namespaceSelector": map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": ns}},
		"rules": []any{map[string]any{"operations": []any{"UPDATE"}, "apiGroups": []any{""}, "apiVersions": []any{"v1"},
			"resources": []any{"namespaces"}}},
	}}})
	remove(t, validating, name)
	eventually(t, func(ctx context.Context) (bool, error) {
		_, err := resource(namespaces, "").Patch(ctx, ns, types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`),
			metav1.PatchOptions{DryRun: []string{"All"}})
		return err != nil && strings.Contains(err.Error(), "failed calling webhook"), nil
	})
	begin(t, ns)
	r := unstick(t, finalize.Options{Owned: named(name)}, ns)
	if get(t, namespaces, "", ns) != nil || get(t, configMaps, ns, "a") != nil {
		t.Errorf("left: %s", r.after[0].Summary)
	}
}

// Thirty namespaces at once. (No other tool was seen to free them.)
func TestManyNamespaces(t *testing.T) {
	t.Parallel()
	const n = 30
	var names []string
	for range n {
		names = append(names, fresh(t))
	}
	for _, ns := range names {
		create(t, configMaps, ns, "a", nil, hold)
		discard(t, namespaces, "", ns)
	}
	for _, ns := range names {
		until(t, namespaces, ns, func(u *unstructured.Unstructured) bool {
			conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
			return len(conditions) > 0
		})
	}
	r := admin.Expect(t, 0, append([]string{"unstick-ns", "--yes", "--no-backup", "--patience=2s"}, names...)...)
	for _, ns := range names {
		if get(t, namespaces, "", ns) != nil {
			t.Errorf("namespace %s is left: %s", ns, r)
		}
	}
}

// Hundreds of kinds of custom resources. (finalizer-doctor finds none of them in time.)
func TestManyKinds(t *testing.T) {
	const n = 200
	ns := fresh(t)
	name := func(i int) string { return fmt.Sprintf("kinds%03d", i) }
	var manifests []string
	for i := range n {
		manifests = append(manifests, definition("many.example.com", name(i), fmt.Sprintf("Kind%03d", i)))
	}
	if err := server.Apply(t.Context(), strings.Join(manifests, "---")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // what is left of them ends with the server
		for i := range n {
			crd := name(i) + ".many.example.com"
			_ = resource(definitions, "").Delete(context.Background(), crd, metav1.DeleteOptions{})
		}
	})
	for i := range n {
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "many.example.com/v1",
			"kind": fmt.Sprintf("Kind%03d", i)}}
		u.SetName("one")
		u.SetFinalizers([]string{hold})
		gvr := schema.GroupVersionResource{Group: "many.example.com", Version: "v1", Resource: name(i)}
		eventually(t, func(ctx context.Context) (bool, error) {
			_, err := resource(gvr, ns).Create(ctx, u, metav1.CreateOptions{})
			return err == nil, nil // it is not served yet
		})
	}
	begin(t, ns)
	start := time.Now()
	r := unstick(t, finalize.Options{}, ns)
	t.Logf("freed in %s", time.Since(start).Round(time.Second))
	r.freed(t)
	if done := r.report.Count(engine.ResultDone, engine.StripFinalizers); done != n {
		t.Errorf("the finalizers of %d objects were removed", done)
	}
}
