package unstick

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/finalize"
)

// patience of the runs, and how long anything may take at most.
const (
	patience = 2 * time.Second
	limit    = 3 * time.Minute
)

// hold is a finalizer that nobody removes.
const hold = "example.com/hold"

var (
	namespaces  = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	nodes       = schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
	pods        = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	configMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	secrets     = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	widgets     = schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}
	apiServices = schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}
	validating  = schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1",
		Resource: "validatingwebhookconfigurations"}
	deployments  = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	events       = schema.GroupVersionResource{Version: "v1", Resource: "events"}
	services     = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	volumeClaims = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}
	volumes      = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumes"}
	definitions  = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1",
		Resource: "customresourcedefinitions"}
	policies = schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1",
		Resource: "validatingadmissionpolicies"}
	bindings = schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1",
		Resource: "validatingadmissionpolicybindings"}
	// What single tests define.
	custom    = schema.GroupVersionResource{Group: "audit.example.com", Version: "v1", Resource: "events"}
	gears     = schema.GroupVersionResource{Group: "strict.example.com", Version: "v1", Resource: "gears"}
	converted = schema.GroupVersionResource{Group: "conv.example.com", Version: "v1", Resource: "gizmos"}
	cogs      = schema.GroupVersionResource{Group: "plain.example.com", Version: "v1", Resource: "cogs"}
	mutating  = schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1",
		Resource: "mutatingwebhookconfigurations"}
)

var kinds = map[schema.GroupVersionResource]string{
	templates:  "PodTemplate",
	namespaces: "Namespace", nodes: "Node", pods: "Pod", configMaps: "ConfigMap", secrets: "Secret", widgets: "Widget",
	deployments: "Deployment", events: "Event", services: "Service", volumeClaims: "PersistentVolumeClaim",
	volumes: "PersistentVolume", definitions: "CustomResourceDefinition", policies: "ValidatingAdmissionPolicy",
	bindings: "ValidatingAdmissionPolicyBinding", custom: "Event", gears: "Gear", cogs: "Cog", converted: "Gizmo",
	apiServices: "APIService", validating: "ValidatingWebhookConfiguration", mutating: "MutatingWebhookConfiguration",
}

func resource(gvr schema.GroupVersionResource, ns string) dynamic.ResourceInterface {
	if ns == "" {
		return api.Resource(gvr)
	}
	return api.Resource(gvr).Namespace(ns)
}

var cases atomic.Int32

// fresh creates a namespace of its own for a case.
func fresh(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("case-%d", cases.Add(1))
	create(t, namespaces, "", name, nil)
	return name
}

// create makes an object with these fields and finalizers.
func create(t *testing.T, gvr schema.GroupVersionResource, ns, name string, more map[string]any,
	finalizers ...string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{Object: map[string]any{}}
	maps.Copy(u.Object, more)
	u.SetAPIVersion(gvr.GroupVersion().String())
	u.SetKind(kinds[gvr])
	u.SetName(name)
	u.SetNamespace(ns)
	u.SetFinalizers(finalizers)
	out, err := resource(gvr, ns).Create(t.Context(), u, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// remove deletes a cluster-wide object at the end of a test, if it is still there.
func remove(t *testing.T, gvr schema.GroupVersionResource, name string) {
	t.Cleanup(func() {
		if err := resource(gvr, "").Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil &&
			!apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
}

// get reads an object; nil: there is none.
func get(t *testing.T, gvr schema.GroupVersionResource, ns, name string) *unstructured.Unstructured {
	t.Helper()
	u, err := resource(gvr, ns).Get(t.Context(), name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		t.Fatal(err)
	}
	return u
}

// until watches one cluster-wide object until it is as wanted; nil stands for no
// object.
func until(t *testing.T, gvr schema.GroupVersionResource, name string, ok func(*unstructured.Unstructured) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	selector := fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = selector
			return api.Resource(gvr).List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = selector
			return api.Resource(gvr).Watch(ctx, o)
		},
	}
	_, err := watchtools.UntilWithSync(ctx, lw, &unstructured.Unstructured{},
		func(store cache.Store) (bool, error) { return len(store.List()) == 0 && ok(nil), nil },
		func(e watch.Event) (bool, error) {
			if e.Type == watch.Deleted {
				return ok(nil), nil
			}
			u, isObject := e.Object.(*unstructured.Unstructured)
			return isObject && ok(u), nil
		})
	if err != nil {
		t.Fatalf("%s %s: %v; it is %v", gvr.Resource, name, err, get(t, gvr, "", name))
	}
}

func gone(u *unstructured.Unstructured) bool { return u == nil }

// begin deletes a namespace and waits until the namespace controller has been
// through it once.
func begin(t *testing.T, ns string) {
	t.Helper()
	if err := resource(namespaces, "").Delete(t.Context(), ns, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	until(t, namespaces, ns, func(u *unstructured.Unstructured) bool {
		conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
		return len(conditions) > 0
	})
}

// known are finalizers of which a caller knows more than the package.
var known = []finalize.Known{
	{Name: "castware.cast.ai/cleanup-helm", By: "castware-operator", Workloads: []string{"castware-operator"}},
	{Name: "crdreplicator.liqo.io/*", By: "liqo-crd-replicator", Workloads: []string{"liqo-crd-replicator"}},
}

// result is how a run went.
type result struct {
	before, after []*finalize.Diagnosis
	report        *engine.Report
	steps         []string
	failures      []string
}

// diagnose looks at namespaces.
func diagnose(t *testing.T, o finalize.Options, names ...string) []*finalize.Diagnosis {
	t.Helper()
	o.Product, o.Known = "Cast AI", known
	obs, err := finalize.Observe(t.Context(), client, names...)
	if err != nil {
		t.Fatal(err)
	}
	var out []*finalize.Diagnosis
	for _, name := range names {
		d, err := finalize.Diagnose(obs, name, o)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

// unstick frees namespaces as the command does.
func unstick(t *testing.T, o finalize.Options, names ...string) result {
	t.Helper()
	return carryOut(t, o, diagnose(t, o, names...))
}

// carryOut frees namespaces that were diagnosed before.
func carryOut(t *testing.T, o finalize.Options, before []*finalize.Diagnosis) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	o.Patience, o.By, o.Product, o.Known = patience, "a test", "Cast AI", known
	var names []string
	for _, d := range before {
		names = append(names, d.Namespace)
	}
	plan, err := finalize.Plan(before, func(ctx context.Context) (*finalize.Observation, error) {
		return finalize.Observe(ctx, client, names...)
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	r := result{before: before}
	r.report, err = engine.Run(ctx, client, plan, engine.Options{OnEvent: func(e engine.Event) {
		switch e.Type {
		case engine.StepStarted:
			r.steps = append(r.steps, e.Message)
		case engine.Failed:
			r.failures = append(r.failures, e.Target.String()+": "+e.Message)
		case engine.PhaseStarted, engine.PhaseEnded, engine.Requested, engine.Done, engine.Waiting, engine.Stripped,
			engine.Left:
		}
	}})
	r.after = diagnose(t, o, names...)
	for _, d := range before {
		t.Log(d.Summary)
	}
	for _, s := range r.steps {
		t.Log("-", s)
	}
	for _, f := range r.failures {
		t.Log("failed:", f)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// freed fails the test unless all namespaces are gone with everything in them,
// and everything that was done worked.
func (r result) freed(t *testing.T) {
	t.Helper()
	for i, d := range r.after {
		if !d.Freed(r.before[i]) {
			t.Errorf("not freed: %s", d.Summary)
		}
		if get(t, namespaces, "", d.Namespace) != nil {
			t.Errorf("namespace %s is still there", d.Namespace)
		}
		for _, gvr := range []schema.GroupVersionResource{pods, configMaps, secrets, widgets} {
			list, err := resource(gvr, d.Namespace).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if len(list.Items) > 0 {
				t.Errorf("%d %s are still in namespace %s", len(list.Items), gvr.Resource, d.Namespace)
			}
		}
	}
	for _, o := range r.report.Outcomes {
		if o.Result != engine.ResultDone && o.Result != engine.ResultGone {
			t.Errorf("%s %s ended as %s: %s", o.Verb, o.Object, o.Result, o.Message)
		}
	}
}

// did tells whether something was done to an object.
func (r result) did(verb engine.Verb, kind, name string) bool {
	return slices.ContainsFunc(r.report.Outcomes, func(o engine.Outcome) bool {
		return o.Verb == verb && o.Object.Kind == kind && o.Object.Name == name
	})
}

// causes lists the types of the causes with what will be done.
func causes(d *finalize.Diagnosis) []string {
	var out []string
	for _, c := range d.Causes {
		out = append(out, string(c.Type)+" "+string(c.Action))
	}
	return out
}

func expectCauses(t *testing.T, d *finalize.Diagnosis, want ...string) {
	t.Helper()
	if got := causes(d); !slices.Equal(got, want) {
		t.Errorf("causes %q, want %q: %s", got, want, d.Summary)
	}
}

// expectRefused fails the test unless there is no plan, for this reason.
func expectRefused(t *testing.T, ds []*finalize.Diagnosis, o finalize.Options, reason finalize.Reason) {
	t.Helper()
	_, err := finalize.Plan(ds, nil, o)
	refusal, ok := err.(*finalize.Refusal) //nolint:errorlint // exactly this type is promised
	if !ok || refusal.Reason != reason {
		t.Errorf("want a refusal (%s), got %v", reason, err)
	}
}

// state is what must not change: the versions of objects.
func state(t *testing.T, gvr schema.GroupVersionResource, ns string, names ...string) string {
	t.Helper()
	var out []string
	for _, name := range names {
		u := get(t, gvr, ns, name)
		if u == nil {
			out = append(out, name+" is gone")
			continue
		}
		out = append(out, name+" "+string(u.GetUID())+" "+u.GetResourceVersion())
	}
	return strings.Join(out, ", ")
}

// finalizeByHand clears spec.finalizers, as the vendors' documentation does.
func finalizeByHand(t *testing.T, ns string) {
	t.Helper()
	_, err := api.Resource(namespaces).Patch(t.Context(), ns, types.MergePatchType,
		[]byte(`{"spec":{"finalizers":[]}}`), metav1.PatchOptions{}, "finalize")
	if err != nil {
		// The subresource may take updates only.
		u := get(t, namespaces, "", ns)
		unstructured.RemoveNestedField(u.Object, "spec", "finalizers")
		if _, err = api.Resource(namespaces).Update(t.Context(), u, metav1.UpdateOptions{}, "finalize"); err != nil {
			t.Fatal(err)
		}
	}
	until(t, namespaces, ns, gone)
}

// shell runs a command line as the administrator.
func shell(t *testing.T, line string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", line) //nolint:gosec // the command that a message gave
	cmd.Env = append(os.Environ(), server.Env()...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
