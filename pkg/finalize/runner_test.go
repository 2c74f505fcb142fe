package finalize_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/pkg/finalize"
)

// A namespace is freed from Go.
func Example() {
	free := func(ctx context.Context, client *cluster.Client, namespace string) error {
		r := &finalize.Runner{Cluster: client, Namespaces: []string{namespace}}
		observation, err := r.Observe(ctx)
		if err != nil {
			return err
		}
		diagnoses, err := r.Diagnose(observation)
		if err != nil {
			return err
		}
		for _, d := range diagnoses {
			fmt.Println(d.Summary)
		}
		result, err := r.Run(ctx, diagnoses) // refuses what is not to be touched
		if err == nil && len(result.Left) > 0 {
			err = fmt.Errorf("left: %s", strings.Join(result.Left, "; "))
		}
		return err
	}
	_ = free
}

func deleted(u *unstructured.Unstructured, finalizers ...string) *unstructured.Unstructured {
	at := metav1.NewTime(time.Now().Add(-time.Hour))
	u.SetDeletionTimestamp(&at)
	u.SetFinalizers(finalizers)
	u.SetManagedFields([]metav1.ManagedFieldsEntry{{
		Manager: "kubectl-create", Operation: metav1.ManagedFieldsOperationUpdate, FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1("{}"),
	}})
	return u
}

// judged looks at what a runner is about, and says why it does not go away.
func judged(t *testing.T, r *finalize.Runner) []*finalize.Diagnosis {
	t.Helper()
	o, err := r.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ds, err := r.Diagnose(o)
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

func TestRunner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clustertest.Serve(t,
			deleted(clustertest.Object("v1", "Namespace", "", "shop")),
			deleted(clustertest.Object("v1", "ConfigMap", "shop", "a"), "example.com/hold"),
			deleted(clustertest.Object("v1", "Service", "shop", "lb"), "service.kubernetes.io/load-balancer-cleanup"),
		)
		r := &finalize.Runner{Cluster: server.Client(), Namespaces: []string{"shop"}}

		ds := judged(t, r)
		refusals := r.Refusals(ds)
		if len(refusals) != 1 || !strings.Contains(refusals[0].Message,
			"--finalizer=service.kubernetes.io/load-balancer-cleanup") {
			t.Fatalf("refusals: %+v", refusals)
		}
		before := server.Refs()
		if _, err := r.Run(t.Context(), ds); err == nil || !slices.Equal(server.Refs(), before) {
			t.Fatalf("a load balancer was not asked for: %v", err)
		}

		r.Options.Named = []string{"service.kubernetes.io/load-balancer-cleanup"}
		ds = judged(t, r)
		if n := r.Plan(ds).Actions(); n != 3 { // two finalizers, and the end of the namespace
			t.Errorf("%d actions are planned", n)
		}
		result, err := r.Run(t.Context(), ds)
		if err != nil {
			t.Fatal(err)
		}
		if len(result.Left) > 0 || !result.After[0].Freed(ds[0]) {
			t.Fatalf("left %q", result.Left)
		}
		if refs := strings.Join(server.Refs(), " "); strings.Contains(refs, "shop") {
			t.Errorf("there are %s", refs)
		}
	})
}

// TestForceUnread holds that a namespace which was finalized while a part of it could
// not be read is not called freed.
func TestForceUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clustertest.Serve(t, deleted(clustertest.Object("v1", "Namespace", "", "shop")))
		server.Before(func(r *clustertest.Request) clustertest.Fault {
			if r.Verb == "list" && r.Resource == "configmaps" {
				return clustertest.Fault{Err: apierrors.NewInternalError(errors.New("boom"))}
			}
			return clustertest.Fault{}
		})
		r := &finalize.Runner{Cluster: server.Client(), Namespaces: []string{"shop"}, Options: finalize.Options{Force: true}}
		ds := judged(t, r)
		result, err := r.Run(t.Context(), ds)
		if err != nil {
			t.Fatal(err)
		}
		if len(result.Left) != 1 || !strings.Contains(result.Left[0], "configmaps") {
			t.Fatalf("left %q", result.Left)
		}
	})
}

// TestOrphanedNamespaces holds that a namespace is found by what is left in it.
func TestOrphanedNamespaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clustertest.Serve(t,
			clustertest.Object("v1", "ConfigMap", "here", "a"),
			deleted(clustertest.Object("v1", "ConfigMap", "gone", "a"), "example.com/hold"),
		)
		volume := clustertest.Object("v1", "PersistentVolume", "", "pv")
		volume.Object["spec"] = map[string]any{"persistentVolumeReclaimPolicy": "Retain",
			"claimRef": map[string]any{"namespace": "long-gone", "name": "data", "uid": "u"}}
		volume.Object["status"] = map[string]any{"phase": "Released"}
		server.Put(volume)
		server.Drop(cluster.Ref{Kind: "Namespace", Name: "gone"})
		names, err := finalize.OrphanedNamespaces(t.Context(), server.Client())
		if err != nil || !slices.Equal(names, []string{"gone", "long-gone"}) {
			t.Fatalf("%v, %v", names, err)
		}
	})
}

// TestNamespaceAdministrator holds that who may read one namespace gets its diagnosis,
// and what could not be seen.
func TestNamespaceAdministrator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clustertest.Serve(t,
			deleted(clustertest.Object("v1", "Namespace", "", "shop")),
			deleted(clustertest.Object("v1", "ConfigMap", "shop", "a"), "example.com/hold"),
		)
		server.Forbid = func(r *clustertest.Request) bool {
			return r.Namespace != "shop" && !(r.Resource == "namespaces" && r.Name == "shop")
		}
		r := &finalize.Runner{Cluster: server.Client(), Namespaces: []string{"shop"}}
		ds := judged(t, r)
		d := ds[0]
		if d.State != finalize.Terminating || d.Content.Objects != 1 || !strings.Contains(d.Summary, "example.com/hold") {
			t.Errorf("%s", d.Summary)
		}
		if !slices.Contains(d.Unseen, "nodes") || !slices.Contains(d.Unseen, "deployments.apps") ||
			slices.Contains(d.Unseen, "configmaps") {
			t.Errorf("unseen: %v", d.Unseen)
		}
		for _, c := range d.Causes {
			if c.Type == finalize.UnreadableContent {
				t.Errorf("%s", c.Summary)
			}
		}
	})
}

// TestRunnerOfAnObject frees a definition with the object that holds it, with the same
// words as for a namespace, and nothing else.
func TestRunnerOfAnObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		crd := clustertest.Object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "widgets.example.com")
		crd.Object["spec"] = map[string]any{
			"group": "example.com", "scope": "Namespaced", "names": map[string]any{"plural": "widgets", "kind": "Widget"},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true}},
		}
		server := clustertest.Serve(t,
			deleted(crd, "customresourcecleanup.apiextensions.k8s.io"),
			deleted(clustertest.Object("example.com/v1", "Widget", "shop", "w"), "example.com/hold"),
			deleted(clustertest.Object("v1", "ConfigMap", "shop", "other"), "example.com/hold"),
		)
		target := server.Target(cluster.Ref{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition",
			Name: "widgets.example.com"})
		target.UID = ""
		r := &finalize.Runner{Cluster: server.Client(), Object: &target}
		ds := judged(t, r)
		if n := r.Plan(ds).Actions(); n != 2 { // both finalizers, if nobody else removes them
			t.Errorf("%d actions are planned", n)
		}
		result, err := r.Run(t.Context(), ds)
		if err != nil || len(result.Left) > 0 {
			t.Fatalf("%v; left %q", err, result.Left)
		}
		if refs := strings.Join(server.Refs(), " "); strings.Contains(refs, "idget") || !strings.Contains(refs,
			"ConfigMap/shop/other") {
			t.Errorf("there are %s", refs)
		}
		for _, w := range server.Writes() {
			if strings.Contains(w, "namespaces shop") || strings.Contains(w, "other") {
				t.Errorf("it wrote %s", w)
			}
		}
	})
}

// TestObjectOfANamespaceAdministrator holds that the rights in one namespace are enough,
// and that what could not be seen is not taken to be gone.
func TestObjectOfANamespaceAdministrator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clustertest.Serve(t,
			clustertest.Object("v1", "Namespace", "", "shop"),
			deleted(clustertest.Object("v1", "ConfigMap", "shop", "a"), "example.com/hold"),
		)
		server.Forbid = func(r *clustertest.Request) bool {
			return r.Namespace != "shop" && !(r.Resource == "namespaces" && r.Name == "shop")
		}
		target := server.Target(cluster.Ref{Kind: "ConfigMap", Namespace: "shop", Name: "a"})
		r := &finalize.Runner{Cluster: server.Client(), Object: &target}
		ds := judged(t, r)
		if refusals := r.Refusals(ds); len(refusals) != 1 || !strings.Contains(refusals[0].Message,
			"--finalizer=example.com/hold") {
			t.Fatalf("nobody knows whether a controller lives: %+v", refusals)
		}
		if !slices.Contains(ds[0].Unseen, "deployments.apps") {
			t.Errorf("unseen: %v", ds[0].Unseen)
		}
		r.Options.Named = []string{"example.com/hold"}
		ds = judged(t, r)
		for _, right := range finalize.Rights(ds, r.Options) {
			if right.Namespace != "shop" {
				t.Errorf("it asks for %+v", right)
			}
		}
		result, err := r.Run(t.Context(), ds)
		if err != nil || len(result.Left) > 0 {
			t.Fatalf("%v; %+v", err, result)
		}
	})
}

// TestPodsThatHaveEnded holds that pods of Jobs which have ended, however many there are,
// do not make it unknown who runs.
func TestPodsThatHaveEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clustertest.Serve(t,
			deleted(clustertest.Object("v1", "Namespace", "", "shop")),
			deleted(clustertest.Object("v1", "ConfigMap", "shop", "a"), "example.com/hold"),
		)
		for i := range 300 {
			pod := clustertest.Object("v1", "Pod", "jobs", fmt.Sprintf("p%d", i))
			pod.Object["status"] = map[string]any{"phase": "Succeeded"}
			server.Put(pod)
		}
		r := &finalize.Runner{Cluster: server.Client(), Namespaces: []string{"shop"}}
		if c := judged(t, r)[0].Causes[0]; c.Controller.Alive != finalize.Gone {
			t.Errorf("%+v", c.Controller)
		}
		for i := range 300 {
			pod := clustertest.Object("v1", "Pod", "jobs", fmt.Sprintf("p%d", i))
			pod.Object["status"] = map[string]any{"phase": "Running"}
			server.Put(pod)
		}
		if c := judged(t, r)[0].Causes[0]; c.Controller.Alive != finalize.AliveUnsure {
			t.Errorf("%+v", c.Controller)
		}
	})
}

// TestWorkloadWithoutPods holds that a controller is not gone which runs from time to time, or is made by a bare
// ReplicaSet or ReplicationController that has no pod now.
func TestWorkloadWithoutPods(t *testing.T) {
	pods := map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"name": "hold-up"}}}}
	for name, tc := range map[string]struct {
		version, kind string
		spec          map[string]any
		says          string
	}{
		"a CronJob": {"batch/v1", "CronJob", map[string]any{"schedule": "0 0 * * *",
			"jobTemplate": map[string]any{"spec": map[string]any{"template": pods}}}, "CronJob tools/c runs from time to time"},
		"a CronJob that is suspended": {"batch/v1", "CronJob", map[string]any{"schedule": "0 0 * * *", "suspend": true,
			"jobTemplate": map[string]any{"spec": map[string]any{"template": pods}}}, "CronJob tools/c is suspended"},
		"a ReplicaSet": {"apps/v1", "ReplicaSet", map[string]any{"replicas": int64(1), "template": pods},
			"ReplicaSet tools/c has no ready pod yet"},
		"a ReplicaSet that is scaled down": {"apps/v1", "ReplicaSet", map[string]any{"replicas": int64(0),
			"template": pods}, "ReplicaSet tools/c is scaled down to 0"},
		"a ReplicationController": {"v1", "ReplicationController", map[string]any{"template": pods},
			"ReplicationController tools/c has no ready pod yet"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := clustertest.Object(tc.version, tc.kind, "tools", "c")
				u.Object["spec"] = tc.spec
				server := clustertest.Serve(t, u,
					deleted(clustertest.Object("v1", "Namespace", "", "shop")),
					deleted(clustertest.Object("v1", "ConfigMap", "shop", "a"), "example.com/hold-up"),
				)
				r := &finalize.Runner{Cluster: server.Client(), Namespaces: []string{"shop"}}
				c := judged(t, r)[0].Causes[0].Controller
				if c.Alive != finalize.AliveUnsure || !strings.HasPrefix(c.Evidence, tc.says) {
					t.Errorf("%+v", c)
				}
			})
		})
	}
}

// TestBarePodThatIsPending holds that a controller which runs as a bare pod and has no node yet
// is not gone.
func TestBarePodThatIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pod := clustertest.Object("v1", "Pod", "tools", "hold-up")
		pod.Object["status"] = map[string]any{"phase": "Pending"}
		server := clustertest.Serve(t, pod,
			deleted(clustertest.Object("v1", "Namespace", "", "shop")),
			deleted(clustertest.Object("v1", "ConfigMap", "shop", "a"), "example.com/hold-up"),
		)
		r := &finalize.Runner{Cluster: server.Client(), Namespaces: []string{"shop"}}
		c := judged(t, r)[0].Causes[0].Controller
		if c.Alive != finalize.AliveUnsure || !strings.HasPrefix(c.Evidence, "Pod tools/hold-up is not ready yet") {
			t.Errorf("%+v", c)
		}
	})
}
