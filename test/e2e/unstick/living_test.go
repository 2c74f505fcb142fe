package unstick

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/castai/kubectl-castai/test/controlplane"
)

// operator is a controller as people write them: it has a client and a watch of its
// own, holds a Lease, and takes its finalizer off widgets after it has cleaned up.
type operator struct {
	name    string
	cleanUp time.Duration
	cleaned atomic.Int32
}

// run lets it work until ctx ends.
func (o *operator) run(ctx context.Context, t *testing.T, config *rest.Config) {
	t.Helper()
	config = rest.CopyConfig(config)
	config.UserAgent = o.name + "/v1"
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, "default", o.name, clientset.CoreV1(),
		clientset.CoordinationV1(),
		resourcelock.ResourceLockConfig{Identity: o.name + "-0"})
	if err != nil {
		t.Fatal(err)
	}
	led := make(chan struct{})
	go leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { close(led); o.lead(ctx, t, client) },
			OnStoppedLeading: func() {},
		},
	})
	<-led
}

// lead watches the widgets of all namespaces.
func (o *operator) lead(ctx context.Context, t *testing.T, client dynamic.Interface) {
	w, err := client.Resource(widgets).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Errorf("the operator can't watch: %v", err)
		return
	}
	defer w.Stop()
	begun := map[string]bool{}
	for event := range w.ResultChan() {
		u, ok := event.Object.(*unstructured.Unstructured)
		if !ok || u.GetDeletionTimestamp() == nil || begun[string(u.GetUID())] || !slices.Contains(u.GetFinalizers(),
			o.finalizer()) {
			continue
		}
		begun[string(u.GetUID())] = true
		go o.clean(ctx, t, client, u)
	}
}

func (o *operator) finalizer() string { return "widgets.acme.test/" + o.name }

// clean takes its time, and then removes the finalizer of an object.
func (o *operator) clean(ctx context.Context, t *testing.T, client dynamic.Interface, u *unstructured.Unstructured) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(o.cleanUp):
	}
	api := client.Resource(widgets).Namespace(u.GetNamespace())
	now, err := api.Get(ctx, u.GetName(), metav1.GetOptions{})
	if err != nil {
		t.Errorf("the operator finds %s gone, before it has cleaned up: %v", u.GetName(), err)
		return
	}
	now.SetFinalizers(slices.DeleteFunc(now.GetFinalizers(), func(f string) bool { return f == o.finalizer() }))
	if _, err := api.Update(ctx, now, metav1.UpdateOptions{}); err != nil {
		t.Errorf("the operator can't remove its finalizer: %v", err)
		return
	}
	o.cleaned.Add(1)
}

// entitle makes the ServiceAccount of an operator in namespace default, which may write widgets.
// (A rule for all groups: the operators of other tests are not found by it.)
func entitle(t *testing.T, name string) {
	t.Helper()
	for _, args := range [][]string{
		{"create", "serviceaccount", name, "-n", "default"},
		{"create", "clusterrolebinding", name, "--clusterrole=" + name, "--serviceaccount=default:" + name},
	} {
		if _, err := server.Kubectl(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	if err := server.Apply(t.Context(), `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: `+name+`}
rules: [{apiGroups: ["*"], resources: [widgets], verbs: [get, list, watch, update]}]
`); err != nil {
		t.Fatal(err)
	}
}

// deploy makes a Deployment that stands for the operator, as a ServiceAccount, and waits
// until it is ready.
func deploy(t *testing.T, ns, name, account string) {
	t.Helper()
	node(t, name)
	create(t, deployments, ns, name, map[string]any{"spec": map[string]any{
		"replicas": int64(1), "selector": map[string]any{"matchLabels": map[string]any{"app": name}},
		"template": map[string]any{
			"metadata": map[string]any{"labels": map[string]any{"app": name}},
			"spec": map[string]any{"serviceAccountName": account,
				"containers": []any{map[string]any{"name": "manager", "image": "none"}}},
		},
	}})
	t.Cleanup(func() {
		if err := resource(deployments, ns).Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	isReady(t, ns, name)
}

// node adds one for the pod of an operator.
func node(t *testing.T, name string) {
	t.Helper()
	if err := server.AddNode(t.Context(), controlplane.Node{Name: "for-" + name}); err != nil {
		t.Fatal(err)
	}
	remove(t, nodes, "for-"+name)
}

// isReady waits until the pod of a Deployment is ready.
func isReady(t *testing.T, ns, name string) {
	t.Helper()
	eventually(t, func(ctx context.Context) (bool, error) {
		u, err := resource(deployments, ns).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		ready, _, _ := unstructured.NestedInt64(u.Object, "status", "readyReplicas")
		return ready == 1, nil
	})
}

// A running operator that needs a minute is waited for; by name only it is not.
// (finalizer-doctor refuses with UNKNOWN; knsk and unstuck strip, and it leaks.)
func TestLivingOperator(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		deployed bool
	}{{"widget-operator", true}, {"lease-operator", false}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := &operator{name: tc.name, cleanUp: time.Minute}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			entitle(t, o.name)
			if tc.deployed {
				deploy(t, "default", o.name, o.name)
			}
			o.run(ctx, t, server.Config)
			ns := fresh(t)
			// The first does not say who wrote it, the second does.
			create(t, widgets, ns, "w", map[bool]map[string]any{true: nil,
				false: {"spec": map[string]any{"size": int64(1)}}}[tc.deployed])
			// The operator itself puts its finalizer on, as operators do.
			mark(t, o.name, ns, "w", o.finalizer())
			begin(t, ns)
			r := admin.Expect(t, 0, "unstick-ns", ns, "--diagnose")
			if !strings.Contains(r.Stdout, "which is alive") || strings.Contains(r.Stdout, "Remove finalizers") {
				t.Errorf("diagnosis: %s", r)
			}
			start := time.Now()
			r = admin.Expect(t, 0, "unstick-ns", ns, "--yes", "--patience=2s", "--no-backup")
			t.Log(r)
			if n := o.cleaned.Load(); n != 1 {
				t.Errorf("the operator cleaned up %d times in %s: it leaks", n, time.Since(start))
			}
			if strings.Contains(r.Stderr, "removed the finalizers") {
				t.Errorf("it was stripped: %s", r)
			}
		})
	}
}

// A tenant's Deployment that has the name of an operator which is gone, and may not write
// its objects, is not waited for, and does not speak for its end: it is asked for.
// (finalizer-doctor refuses with UNKNOWN; knsk and unstuck strip.)
func TestNameOfAnOperator(t *testing.T) {
	t.Parallel()
	const name = "gone-operator"
	entitle(t, name)
	tenant, ns := fresh(t), fresh(t)
	deploy(t, tenant, name, "default")
	create(t, widgets, ns, "w", nil)
	finalizer := "widgets.acme.test/" + name
	mark(t, name, ns, "w", finalizer)
	begin(t, ns)
	was := state(t, widgets, ns, "w")
	r := admin.Expect(t, 3, "unstick-ns", ns, "--yes", "--no-backup")
	if !strings.Contains(r.Stderr, "but no role lets its ServiceAccount "+tenant+"/default write widgets.example.com") ||
		!strings.Contains(r.Stderr, "--finalizer="+finalizer) {
		t.Errorf("%s", r)
	}
	if now := state(t, widgets, ns, "w"); now != was {
		t.Errorf("it is %s, was %s", now, was)
	}
	admin.Expect(t, 0, "unstick-ns", ns, "--yes", "--no-backup", "--patience=2s", "--finalizer="+finalizer)
	if get(t, namespaces, "", ns) != nil {
		t.Error("it is left")
	}
}

// mark puts a finalizer on a widget under the name of a field manager.
func mark(t *testing.T, manager, ns, name, finalizer string) {
	t.Helper()
	u := get(t, widgets, ns, name)
	u.SetFinalizers(append(u.GetFinalizers(), finalizer))
	if _, err := resource(widgets, ns).Update(t.Context(), u, metav1.UpdateOptions{FieldManager: manager}); err != nil {
		t.Fatal(err)
	}
}
