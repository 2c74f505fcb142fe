package unstick

import (
	"context"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/castai/kubectl-castai/pkg/finalize"
	"github.com/castai/kubectl-castai/test/controlplane"
)

// discard asks for the deletion of an object and does not wait.
func discard(t *testing.T, gvr schema.GroupVersionResource, ns, name string) {
	t.Helper()
	if err := resource(gvr, ns).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// One custom resource is freed; another of the same namespace, and the namespace, are
// not written to. (finalizer-doctor explains any object and removes its finalizers.)
func TestOneObject(t *testing.T) {
	t.Parallel()
	ns := fresh(t)
	for _, name := range []string{"w", "other"} {
		create(t, widgets, ns, name, map[string]any{"spec": map[string]any{"size": int64(1)}}, hold)
		discard(t, widgets, ns, name)
	}
	was := state(t, widgets, ns, "other") + state(t, namespaces, "", ns)
	r := admin.Expect(t, 4, "unstick", "widget/w", "-n", ns, "--diagnose")
	if !strings.Contains(r.Stdout, "Widget.example.com/"+ns+"/w: its deletion began") ||
		!strings.Contains(r.Stdout, hold) {
		t.Errorf("%s", r)
	}
	admin.Expect(t, 0, "unstick", "widgets.example.com", "w", "-n", ns, "--dry-run=server")
	r = admin.Expect(t, 0, "unstick", "widgets.example.com", "w", "-n", ns, "--yes", "--patience=2s",
		"--backup-dir="+t.TempDir()+"/b")
	if get(t, widgets, ns, "w") != nil || !strings.Contains(r.Stdout, "Widget.example.com/"+ns+"/w is freed") ||
		!strings.Contains(r.Stderr, "Backup: 1 object in ") {
		t.Errorf("%s", r)
	}
	if now := state(t, widgets, ns, "other") + state(t, namespaces, "", ns); now != was {
		t.Errorf("changed: %s, was %s", now, was)
	}
	// Neither what is not there nor what nobody deletes is touched.
	admin.Expect(t, 3, "unstick", "widget/w", "-n", ns, "--yes")
	create(t, configMaps, ns, "a", nil, hold)
	r = admin.Expect(t, 3, "unstick", "cm/a", "-n", ns, "--yes")
	if !strings.Contains(r.Stderr, "is not being deleted") {
		t.Errorf("%s", r)
	}
	admin.Expect(t, 2, "unstick", "ns/"+ns, "--yes")
}

// A definition waits for objects in two namespaces, which are freed, and then goes by
// itself. (unstuck frees definitions, too.)
func TestOneDefinition(t *testing.T) {
	t.Parallel()
	gizmos := schema.GroupVersionResource{Group: "stuck.example.com", Version: "v1", Resource: "gizmos"}
	define(t, definition(gizmos.Group, gizmos.Resource, "Gizmo"), "gizmos.stuck.example.com")
	var homes []string
	for range 2 {
		ns := fresh(t)
		homes = append(homes, ns)
		gizmo := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "stuck.example.com/v1", "kind": "Gizmo",
			"spec": map[string]any{"size": int64(1)}}}
		gizmo.SetName("g")
		gizmo.SetFinalizers([]string{hold})
		if _, err := resource(gizmos, ns).Create(t.Context(), gizmo, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	discard(t, definitions, "", "gizmos.stuck.example.com")
	eventually(t, func(ctx context.Context) (bool, error) {
		u, err := resource(gizmos, homes[1]).Get(ctx, "g", metav1.GetOptions{})
		return err == nil && u.GetDeletionTimestamp() != nil, err
	})
	r := admin.Expect(t, 4, "unstick", "crd/gizmos.stuck.example.com", "--diagnose", "-o", "json")
	if !strings.Contains(r.Stdout, `"customresourcecleanup.apiextensions.k8s.io"`) ||
		!strings.Contains(r.Stdout, `"objects": [`) {
		t.Errorf("%s", r)
	}
	r = admin.Expect(t, 0, "unstick", "crd/gizmos.stuck.example.com", "--yes", "--no-backup", "--patience=2s")
	until(t, definitions, "gizmos.stuck.example.com", gone)
	if strings.Contains(r.Stderr, "removed the finalizers customresourcecleanup") {
		t.Errorf("kube-apiserver had its time: %s", r)
	}
}

// A claim that a pod of a lost node holds, and the volume that it is bound to: the
// volume is not freed before the claim, and neither while a pod runs that uses it.
func TestOneClaimAndItsVolume(t *testing.T) {
	t.Parallel()
	ns := fresh(t)
	node := "disk-" + ns
	if err := server.AddNode(t.Context(), controlplane.Node{Name: node}); err != nil {
		t.Fatal(err)
	}
	size := map[string]any{"storage": "1Gi"}
	create(t, volumes, "", "pv-"+ns, map[string]any{"spec": map[string]any{
		"capacity": size, "accessModes": []any{"ReadWriteOnce"}, "persistentVolumeReclaimPolicy": "Retain",
		"storageClassName": "none", "hostPath": map[string]any{"path": "/nowhere"},
		"claimRef": map[string]any{"namespace": ns, "name": "data"},
	}})
	create(t, volumeClaims, ns, "data", map[string]any{"spec": map[string]any{
		"accessModes": []any{"ReadWriteOnce"}, "resources": map[string]any{"requests": size},
		"storageClassName": "none", "volumeName": "pv-" + ns,
	}})
	create(t, pods, ns, "p", map[string]any{"spec": map[string]any{
		"nodeName": node, "containers": []any{map[string]any{"name": "c", "image": "none"}},
		"volumes": []any{map[string]any{"name": "data", "persistentVolumeClaim": map[string]any{"claimName": "data"}}},
	}})
	eventually(t, func(ctx context.Context) (bool, error) {
		u, err := resource(volumeClaims, ns).Get(ctx, "data", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		phase, _, _ := unstructured.NestedString(u.Object, "status", "phase")
		return phase == "Bound", nil
	})
	discard(t, volumes, "", "pv-"+ns)
	discard(t, volumeClaims, ns, "data")
	was := state(t, volumes, "", "pv-"+ns) + state(t, volumeClaims, ns, "data")
	r := admin.Expect(t, 3, "unstick", "pvc/data", "-n", ns, "--yes", "--finalizer=kubernetes.io/pvc-protection")
	if !strings.Contains(r.Stderr, "Pod p is gone") {
		t.Errorf("%s", r)
	}
	r = admin.Expect(t, 3, "unstick", "pv", "pv-"+ns, "--yes", "--finalizer=kubernetes.io/pv-protection")
	if !strings.Contains(r.Stderr, "unstick persistentvolumeclaims/data -n "+ns) {
		t.Errorf("%s", r)
	}
	if now := state(t, volumes, "", "pv-"+ns) + state(t, volumeClaims, ns, "data"); now != was {
		t.Errorf("changed: %s, was %s", now, was)
	}
	// The node is lost with the pod on it.
	if err := resource(nodes, "").Delete(t.Context(), node, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(context.Context) (bool, error) { return get(t, nodes, "", node) == nil, nil })
	long := int64(1)
	if err := resource(pods, ns).Delete(t.Context(), "p", metav1.DeleteOptions{GracePeriodSeconds: &long}); err != nil {
		t.Fatal(err)
	}
	admin.Expect(t, 0, "unstick", "pvc/data", "-n", ns, "--yes", "--no-backup", "--patience=2s")
	if get(t, volumeClaims, ns, "data") != nil || get(t, pods, ns, "p") != nil {
		t.Error("the claim or its pod is left")
	}
	until(t, volumes, "pv-"+ns, gone) // it was the claim that held it
}

// Who administers one namespace frees an object in it, and is told what could not be
// seen: whether a controller lives is asked for.
func TestOneObjectAsNamespaceAdministrator(t *testing.T) {
	t.Parallel()
	ns := fresh(t)
	create(t, configMaps, ns, "a", map[string]any{"data": map[string]any{"a": "b"}}, hold)
	discard(t, configMaps, ns, "a")
	if _, err := server.Kubectl(t.Context(), "create", "rolebinding", "owner", "-n", ns, "--clusterrole=admin",
		"--user=owner-"+ns); err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := server.User("owner-" + ns)
	if err != nil {
		t.Fatal(err)
	}
	owner := admin.Kubeconfig(kubeconfig)
	r := owner.Expect(t, 3, "unstick", "cm/a", "-n", ns, "--yes")
	if !strings.Contains(r.Stderr, "--finalizer="+hold) || !strings.Contains(r.Stdout, "You may not read these outside") {
		t.Errorf("%s", r)
	}
	owner.Expect(t, 0, "unstick", "cm/a", "-n", ns, "--yes", "--no-backup", "--finalizer="+hold, "--patience=2s")
	if get(t, configMaps, ns, "a") != nil {
		t.Error("it is left")
	}
}

// An owner that is deleted in the foreground waits for a dependent that is held.
func TestOneOwnerInTheForeground(t *testing.T) {
	t.Parallel()
	ns := fresh(t)
	owner := create(t, configMaps, ns, "owner", nil)
	blocks := true
	create(t, configMaps, ns, "dependent",
		map[string]any{"metadata": map[string]any{"ownerReferences": []any{map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": string(owner.GetUID()),
			"blockOwnerDeletion": blocks,
		}}}}, hold)
	policy := metav1.DeletePropagationForeground
	if err := resource(configMaps, ns).Delete(t.Context(), "owner",
		metav1.DeleteOptions{PropagationPolicy: &policy}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(context.Context) (bool, error) {
		return get(t, configMaps, ns, "dependent").GetDeletionTimestamp() != nil, nil
	})
	r := admin.Expect(t, 0, "unstick", "cm/owner", "-n", ns, "--yes", "--no-backup", "--patience=2s", "-o", "json")
	if get(t, configMaps, ns, "owner") != nil || get(t, configMaps, ns, "dependent") != nil {
		t.Errorf("%s", r)
	}
	if strings.Contains(r.Stdout, string(finalize.DeleteContent)) {
		t.Errorf("%s", r)
	}
}
