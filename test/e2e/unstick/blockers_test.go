package unstick

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/finalize"
	"github.com/castai/kubectl-castai/test/controlplane"
)

// named is a rule of ownership for the tests: these objects are Cast AI's.
func named(names ...string) func(cluster.Ref) bool {
	return func(r cluster.Ref) bool { return slices.Contains(names, r.Name) }
}

// deadAPI registers an API that nobody serves, and waits until discovery fails.
func deadAPI(t *testing.T, group, version string) string {
	t.Helper()
	name := version + "." + group
	create(t, apiServices, "", name, map[string]any{"spec": map[string]any{
		"group": group, "version": version, "groupPriorityMinimum": int64(100), "versionPriority": int64(100),
		"service":               map[string]any{"namespace": "nowhere", "name": "adapter"},
		"insecureSkipTLSVerify": true,
	}})
	remove(t, apiServices, name)
	failing(t, name, group+"/"+version)
	return name
}

// failing waits until an APIService is unavailable, and discovery says so.
func failing(t *testing.T, name, groupVersion string) {
	t.Helper()
	until(t, apiServices, name, func(u *unstructured.Unstructured) bool {
		return u != nil && strings.Contains(fmt.Sprint(u.Object["status"]), "status:False")
	})
	eventually(t, func(ctx context.Context) (bool, error) {
		snap, err := client.Snapshot(ctx, cluster.Scope{Namespaces: []string{"kube-public"}})
		return err == nil && slices.ContainsFunc(snap.Unreadable,
			func(u cluster.Unreadable) bool { return u.GroupVersion == groupVersion }), err
	})
}

// Case 2: an API that is Cast AI's.
func TestDeadAPIOfCastAI(t *testing.T) {
	name := deadAPI(t, "metrics.liqo.io", "v1beta1")
	ns := fresh(t)
	create(t, configMaps, ns, "a", nil)
	begin(t, ns)
	r := unstick(t, finalize.Options{Owned: named(name)}, ns)
	if c := r.before[0].Causes[0]; c.Type != finalize.UnavailableAPI || c.Action != finalize.RemoveAPIService ||
		c.API.Service != "nowhere/adapter" {
		t.Errorf("%+v", c)
	}
	r.freed(t)
	if get(t, apiServices, "", name) != nil {
		t.Error("the APIService is still there")
	}
}

// Case 2: an API of somebody else's. Case 14: nothing is finalized while a part
// of discovery is down.
func TestDeadAPIOfOthers(t *testing.T) {
	name := deadAPI(t, "custom.metrics.example.com", "v1")
	ns := fresh(t)
	create(t, configMaps, ns, "a", nil, hold)
	begin(t, ns)

	before := diagnose(t, finalize.Options{}, ns)
	was := state(t, configMaps, ns, "a") + state(t, apiServices, "", name)
	expectRefused(t, before, finalize.Options{}, finalize.Blocked)
	out, err := admin.Castai(t.Context(), "unstick-ns", ns, "--yes")
	if err != nil || out.Code != 3 || !strings.Contains(out.Stderr, "--remove-apiservice="+name) {
		t.Errorf("%v %s", err, out)
	}
	if now := state(t, configMaps, ns, "a") + state(t, apiServices, "", name); now != was {
		t.Errorf("changed: %s, was %s", now, was)
	}

	r := unstick(t, finalize.Options{Partial: true}, ns)
	if u := get(t, namespaces, "", ns); u == nil {
		t.Fatal("finalized, though nobody knows what is in it")
	}
	if get(t, configMaps, ns, "a") != nil {
		t.Error("what could be done was not")
	}
	expectCauses(t, r.after[0], "UnavailableAPI none")
	unstick(t, finalize.Options{RemoveAPIServices: []string{name}}, ns).freed(t)
}

// Case 2: two at once. Case 15: they block two namespaces, whose objects hold
// finalizers of controllers that lived in each other's namespace.
func TestTwoDeadAPIsTwoNamespaces(t *testing.T) {
	ours, theirs := deadAPI(t, "metrics.liqo.io", "v1beta1"), deadAPI(t, "external.metrics.example.com", "v1")
	a, b := fresh(t), fresh(t)
	create(t, widgets, a, "w", nil, b+".example.com/hold")
	create(t, widgets, b, "w", nil, a+".example.com/hold")
	begin(t, a)
	begin(t, b)
	r := unstick(t, finalize.Options{Owned: named(ours), RemoveAPIServices: []string{theirs}}, a, b)
	r.freed(t)
	removed := 0
	for _, o := range r.report.Outcomes {
		if o.Object.Kind == "APIService" {
			removed++
		}
	}
	if removed != 2 {
		t.Errorf("%d removals of APIServices", removed)
	}
}

// Case 2: an API that hides the objects of a CustomResourceDefinition.
func TestDeadAPIThatHidesCustomResources(t *testing.T) {
	gadgets := schema.GroupVersionResource{Group: "hidden.example.com", Version: "v1", Resource: "gadgets"}
	if err := server.Apply(t.Context(), definition(gadgets.Group, gadgets.Resource, "Gadget")); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Kubectl(t.Context(), "wait", "--for=condition=Established",
		"crd/gadgets.hidden.example.com"); err != nil {
		t.Fatal(err)
	}
	until(t, apiServices, "v1.hidden.example.com", func(u *unstructured.Unstructured) bool { return u != nil })
	ns := fresh(t)
	gadget := &unstructured.Unstructured{}
	gadget.SetAPIVersion("hidden.example.com/v1")
	gadget.SetKind("Gadget")
	gadget.SetName("g")
	gadget.SetFinalizers([]string{hold})
	if _, err := api.Resource(gadgets).Namespace(ns).Create(t.Context(), gadget, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// Somebody puts an aggregated API in front of it, which then dies.
	if _, err := api.Resource(apiServices).Patch(t.Context(), "v1.hidden.example.com", types.MergePatchType, []byte(`{
		"metadata": {"labels": {"kube-aggregator.kubernetes.io/automanaged": null}},
		"spec": {"service": {"namespace": "nowhere", "name": "adapter"}, "insecureSkipTLSVerify": true}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	failing(t, "v1.hidden.example.com", "hidden.example.com/v1")
	begin(t, ns)

	before := diagnose(t, finalize.Options{}, ns)
	if c := before[0].Causes[0]; !slices.Equal(c.API.CustomResources, []string{"gadgets.hidden.example.com"}) {
		t.Errorf("%+v", c.API)
	}
	r := unstick(t, finalize.Options{Owned: named("v1.hidden.example.com")}, ns)
	r.freed(t)
	if !r.did(engine.StripFinalizers, "Gadget", "g") {
		t.Error("the hidden object was not found")
	}
	if list, err := api.Resource(gadgets).Namespace(ns).List(t.Context(), metav1.ListOptions{}); err != nil ||
		len(list.Items) > 0 {
		t.Errorf("the hidden object: %v, %v", list, err)
	}
}

// Case 7: the conditions say that everything is removed, while a pod is stuck
// and an API is dead.
func TestConditionsThatLie(t *testing.T) {
	name := deadAPI(t, "metrics.liqo.io", "v1beta1")
	ns := fresh(t)
	if err := server.AddNode(t.Context(), controlplane.Node{Name: "mute", NoKubelet: true}); err != nil {
		t.Fatal(err)
	}
	remove(t, nodes, "mute")
	pod(t, ns, "stuck", "mute")
	create(t, configMaps, ns, "a", nil, hold)
	begin(t, ns)
	later := func() time.Time { return time.Now().Add(6 * time.Minute) } // the kubelet had its time
	r := unstick(t, finalize.Options{Owned: named(name), Now: later}, ns)
	expectCauses(t, r.before[0], "UnavailableAPI remove-apiservice", "LostPods delete-pods", "NotDeleting wait",
		"Finalizer wait")
	wrong := 0
	for _, c := range r.before[0].Conditions {
		if c.Wrong != "" {
			wrong++
		}
	}
	if wrong == 0 {
		t.Errorf("no condition is called wrong: %+v", r.before[0].Conditions)
	}
	r.freed(t)
}

// failWebhook makes a webhook that nobody answers and that rejects updates of
// ConfigMaps in one namespace.
func failWebhook(t *testing.T, name, ns string) {
	t.Helper()
	create(t, validating, "", name, map[string]any{"webhooks": []any{map[string]any{
		"name": name + ".example.com", "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": []any{"v1"},
		"clientConfig":      map[string]any{"service": map[string]any{"namespace": "nowhere", "name": "hook"}},
		"namespaceSelector": map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": ns}},
		"rules": []any{map[string]any{
			"operations": []any{"UPDATE"}, "apiGroups": []any{""}, "apiVersions": []any{"v1"}, "resources": []any{"configmaps"},
		}},
	}}})
	remove(t, validating, name)
	// It works once it rejects something.
	eventually(t, func(ctx context.Context) (bool, error) {
		_, err := api.Resource(configMaps).Namespace(ns).Patch(ctx, "a", types.MergePatchType, []byte(`{"data":{"a":"b"}}`),
			metav1.PatchOptions{DryRun: []string{"All"}})
		return err != nil && strings.Contains(err.Error(), "failed calling webhook"), nil
	})
}

// Case 3: a webhook of Cast AI's that rejects the removal of finalizers.
func TestWebhookOfCastAI(t *testing.T) {
	t.Parallel()
	ns := fresh(t)
	create(t, configMaps, ns, "a", nil, hold)
	failWebhook(t, "ours", ns)
	begin(t, ns)
	r := unstick(t, finalize.Options{Owned: named("ours")}, ns)
	expectCauses(t, r.before[0], "BlockingWebhook remove-webhook", "Finalizer clear-finalizers")
	r.freed(t)
	if get(t, validating, "", "ours") != nil {
		t.Error("the webhook is still there")
	}
}

// Case 3: a webhook of somebody else's.
func TestWebhookOfOthers(t *testing.T) {
	t.Parallel()
	ns := fresh(t)
	create(t, configMaps, ns, "a", nil, hold)
	failWebhook(t, "theirs", ns)
	begin(t, ns)
	before := diagnose(t, finalize.Options{}, ns)
	expectCauses(t, before[0], "Finalizer clear-finalizers", "BlockingWebhook none")
	expectRefused(t, before, finalize.Options{}, finalize.Blocked)

	// Somebody tries all the same: it fails, and says why.
	r := unstick(t, finalize.Options{Partial: true}, ns)
	if r.after[0].Freed(r.before[0]) || len(r.failures) == 0 ||
		!strings.Contains(r.failures[0], "failed calling webhook") {
		t.Errorf("failures %q", r.failures)
	}
	if get(t, validating, "", "theirs") == nil {
		t.Error("the webhook of somebody else's is gone")
	}
	if err := api.Resource(validating).Delete(t.Context(), "theirs", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	unstick(t, finalize.Options{}, ns).freed(t)
}

// Case 16: something alive puts a finalizer back as often as it is removed.
func TestFinalizerThatComesBack(t *testing.T) {
	t.Parallel()
	ns := fresh(t)
	create(t, configMaps, ns, "a", nil, hold)
	create(t, configMaps, ns, "b", nil, hold)
	stop := putBack(t, ns)
	begin(t, ns)
	r := unstick(t, finalize.Options{}, ns)
	if r.after[0].Freed(r.before[0]) {
		t.Fatal("freed")
	}
	said := false
	for _, o := range r.report.Outcomes {
		if o.Object.Name != "a" {
			continue
		}
		said = strings.Contains(o.Message, hold) && strings.Contains(o.Message, "put back")
		if n := len(o.Finalizers); o.Result != engine.ResultLeft || n == 0 || n > 12 {
			t.Errorf("%s after %d tries", o.Result, n)
		}
	}
	if !said {
		t.Errorf("it does not say that it comes back: %+v", r.report.Outcomes)
	}
	stop()
	// The webhook's writes hide who wrote before it, so a person names the finalizer.
	unstick(t, finalize.Options{Named: []string{hold}}, ns).freed(t)
}

// putBack runs a webhook that adds the finalizer to every ConfigMap of a
// namespace that is updated.
func putBack(t *testing.T, ns string) (stop func()) {
	t.Helper()
	hook := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review struct {
			Request struct{ UID string }
		}
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		patch := base64.StdEncoding.EncodeToString([]byte(`[{"op":"add","path":"/metadata/finalizers","value":["` + hold +
			`"]}]`))
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w,
			`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":%q,"allowed":true,"patchType":"JSONPatch","patch":%q}}`,
			review.Request.UID, patch)
	}))
	hook.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	hook.StartTLS()
	t.Cleanup(hook.Close)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: hook.Certificate().Raw})
	create(t, mutating, "", "put-back-"+ns, map[string]any{"webhooks": []any{map[string]any{
		"name": "put-back.example.com", "failurePolicy": "Fail", "sideEffects": "None",
		"admissionReviewVersions": []any{"v1"},
		"clientConfig":            map[string]any{"url": hook.URL, "caBundle": base64.StdEncoding.EncodeToString(authority)},
		"namespaceSelector":       map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": ns}},
		"rules": []any{map[string]any{
			"operations": []any{"UPDATE"}, "apiGroups": []any{""}, "apiVersions": []any{"v1"}, "resources": []any{"configmaps"},
		}},
	}}})
	remove(t, mutating, "put-back-"+ns)
	eventually(t, func(ctx context.Context) (bool, error) {
		u, err := api.Resource(configMaps).Namespace(ns).Patch(ctx, "a", types.MergePatchType,
			[]byte(`{"metadata":{"finalizers":[]}}`), metav1.PatchOptions{DryRun: []string{"All"}})
		return err == nil && len(u.GetFinalizers()) == 1, nil
	})
	return func() {
		if err := api.Resource(mutating).Delete(t.Context(), "put-back-"+ns, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, func(ctx context.Context) (bool, error) {
			u, err := api.Resource(configMaps).Namespace(ns).Patch(ctx, "b", types.MergePatchType,
				[]byte(`{"metadata":{"finalizers":[]}}`), metav1.PatchOptions{DryRun: []string{"All"}})
			return err == nil && len(u.GetFinalizers()) == 0, nil
		})
	}
}
