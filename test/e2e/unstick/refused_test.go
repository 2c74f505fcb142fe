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
	"reflect"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/finalize"
)

// policy refuses an operation on ConfigMaps of one namespace.
func policy(t *testing.T, ns, operation string) string {
	t.Helper()
	name := "refuses-" + strings.ToLower(operation) + "-" + ns
	create(t, policies, "", name, map[string]any{"spec": map[string]any{
		"failurePolicy": "Fail",
		"matchConstraints": map[string]any{"resourceRules": []any{map[string]any{
			"apiGroups": []any{""}, "apiVersions": []any{"v1"}, "operations": []any{operation}, "resources": []any{"configmaps"},
		}}},
		"validations": []any{map[string]any{"expression": "false", "message": "these are kept"}},
	}})
	remove(t, policies, name)
	create(t, bindings, "", name, map[string]any{"spec": map[string]any{
		"policyName": name, "validationActions": []any{"Deny"},
		"matchResources": map[string]any{"namespaceSelector": map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": ns}}},
	}})
	remove(t, bindings, name)
	eventually(t, func(ctx context.Context) (bool, error) {
		var err error
		if operation == "UPDATE" {
			_, err = resource(configMaps, ns).Patch(ctx, "a", types.MergePatchType, []byte(`{"data":{"a":"b"}}`),
				metav1.PatchOptions{DryRun: []string{"All"}})
		} else {
			err = resource(configMaps, ns).Delete(ctx, "a", metav1.DeleteOptions{DryRun: []string{"All"}})
		}
		return err != nil && strings.Contains(err.Error(), "these are kept"), nil
	})
	return name
}

// relax runs the command that a diagnosis offers, which must be one of kubectl's.
func relax(t *testing.T, c finalize.Cause) {
	t.Helper()
	if !strings.HasPrefix(c.Command, "kubectl ") {
		t.Fatalf("no command: %q", c.Command)
	}
	if out, err := shell(t, c.Command); err != nil {
		t.Fatalf("%s: %v\n%s", c.Command, err, out)
	}
}

// admitted waits until nothing refuses updates of the ConfigMap a any more.
func admitted(t *testing.T, ns string) {
	t.Helper()
	eventually(t, func(ctx context.Context) (bool, error) {
		_, err := resource(configMaps, ns).Patch(ctx, "a", types.MergePatchType, []byte(`{"data":{"a":"b"}}`),
			metav1.PatchOptions{DryRun: []string{"All"}})
		return err == nil, nil
	})
}

// A policy that refuses the removal of finalizers is foreseen, named, and relaxed by
// the command that is shown. (unstuck fails with exit 2; knsk orphans the object.)
func TestPolicyThatRefusesUpdates(t *testing.T) {
	t.Parallel()
	ns := fresh(t)
	create(t, configMaps, ns, "a", nil, hold)
	name := policy(t, ns, "UPDATE")
	begin(t, ns)
	d := diagnose(t, finalize.Options{}, ns)[0]
	expectCauses(t, d, "Finalizer clear-finalizers", "RefusedUpdate none")
	if c := d.Causes[1]; !strings.Contains(c.Summary, name) || !strings.Contains(c.Summary, "these are kept") {
		t.Errorf("%s", c.Summary)
	}
	r := admin.Expect(t, 3, "unstick-ns", ns, "--yes", "--no-backup")
	if !strings.Contains(r.Stderr, "these are kept") || !strings.Contains(r.Stderr, "nothing was changed") {
		t.Errorf("%s", r)
	}
	relax(t, d.Causes[1])
	admitted(t, ns)
	unstick(t, finalize.Options{}, ns).freed(t)
}

// A policy that refuses DELETE: the condition that says so is shown, and nobody else
// is blamed. (unstuck prints the condition and exits with 0.) It also refuses where the
// namespace is gone and has no labels to select by: no other test runs at the same time.
func TestPolicyThatRefusesDeletion(t *testing.T) {
	ns := fresh(t)
	create(t, configMaps, ns, "a", nil)
	name := policy(t, ns, "DELETE")
	begin(t, ns)
	r := admin.Expect(t, 3, "unstick-ns", ns, "--yes", "--no-backup")
	if !strings.Contains(r.Stdout, name) || !strings.Contains(r.Stdout, "NamespaceDeletionContentFailure") ||
		strings.Contains(r.Stdout, "kube-controller-manager may") {
		t.Errorf("%s", r)
	}
	causes := diagnose(t, finalize.Options{}, ns)[0].Causes
	mine := slices.IndexFunc(causes, func(c finalize.Cause) bool { return strings.Contains(c.Summary, name) })
	if mine < 0 {
		t.Fatalf("%s is no cause: %+v", name, causes)
	}
	relax(t, causes[mine])
	eventually(t, func(ctx context.Context) (bool, error) {
		err := resource(configMaps, ns).Delete(ctx, "a", metav1.DeleteOptions{DryRun: []string{"All"}})
		return err == nil, nil
	})
	unstick(t, finalize.Options{}, ns).freed(t)
}

// hook serves an admission webhook of one namespace's ConfigMaps.
func hook(t *testing.T, ns, name string, answer func(w http.ResponseWriter, r *http.Request, uid string)) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review struct{ Request struct{ UID string } }
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		answer(w, r, review.Request.UID)
	}))
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	s.StartTLS()
	t.Cleanup(s.Close)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	create(t, validating, "", name, map[string]any{"webhooks": []any{map[string]any{
		"name": name + ".example.com", "failurePolicy": "Fail", "sideEffects": "None",
		"admissionReviewVersions": []any{"v1"}, "timeoutSeconds": int64(3),
		"clientConfig":      map[string]any{"url": s.URL, "caBundle": base64.StdEncoding.EncodeToString(authority)},
		"namespaceSelector": map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": ns}},
		"rules": []any{map[string]any{
			"operations": []any{"UPDATE"}, "apiGroups": []any{""}, "apiVersions": []any{"v1"}, "resources": []any{"configmaps"},
		}},
	}}})
	remove(t, validating, name)
	eventually(t, func(ctx context.Context) (bool, error) {
		_, err := resource(configMaps, ns).Patch(ctx, "a", types.MergePatchType, []byte(`{"data":{"a":"b"}}`),
			metav1.PatchOptions{DryRun: []string{"All"}})
		return err != nil && strings.Contains(err.Error(), name), nil
	})
}

// Webhooks that deny, that hang, and whose address answers nothing: named before
// anything is tried, with the command that makes them leave out this namespace.
// (unstuck fails with exit 2; knsk orphans the object.)
func TestWebhooksThatRefuse(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request, string){
		"denies": func(w http.ResponseWriter, _ *http.Request, uid string) {
			_, _ = fmt.Fprintf(w,
				`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":%q,"allowed":false,"status":{"message":"never"}}}`, uid)
		},
		"hangs": func(_ http.ResponseWriter, r *http.Request, _ string) { <-r.Context().Done() },
		"fails": func(w http.ResponseWriter, _ *http.Request, _ string) {
			http.Error(w, "broken", http.StatusInternalServerError)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := fresh(t)
			create(t, configMaps, ns, "a", nil, hold)
			hook(t, ns, name+"-"+ns, answer)
			begin(t, ns)
			d := diagnose(t, finalize.Options{}, ns)[0]
			expectCauses(t, d, "Finalizer clear-finalizers", "RefusedUpdate none")
			if c := d.Causes[1]; !strings.Contains(c.Summary, "ValidatingWebhookConfiguration "+name) {
				t.Errorf("%s", c.Summary)
			}
			admin.Expect(t, 3, "unstick-ns", ns, "--yes", "--no-backup")
			relax(t, d.Causes[1])
			eventually(t, func(ctx context.Context) (bool, error) {
				_, err := resource(configMaps, ns).Patch(ctx, "a", types.MergePatchType, []byte(`{"data":{"a":"b"}}`),
					metav1.PatchOptions{DryRun: []string{"All"}})
				return err == nil, nil
			})
			unstick(t, finalize.Options{}, ns).freed(t)
		})
	}
}

// A custom resource that is invalid under its definition by now: a field at the root is
// required, or a rule holds no more. (unstuck fails with exit 2; knsk orphans it.)
func TestInvalidCustomResource(t *testing.T) {
	t.Parallel()
	define(t, definition(gears.Group, gears.Resource, "Gear"), "gears.strict.example.com")
	for _, tc := range []struct{ name, rule, says string }{
		{"required", "required: [spec]", "Required value"},
		{"rule", `x-kubernetes-validations: [{rule: "self.metadata.name == 'never'", message: "not this one"}]`,
			"not this one"},
	} {
		t.Run(tc.name, func(t *testing.T) { invalid(t, tc.rule, tc.says) })
	}
}

func invalid(t *testing.T, rule, says string) {
	t.Helper()
	ns := fresh(t)
	if err := server.Apply(t.Context(), definition(gears.Group, gears.Resource, "Gear")); err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "strict.example.com/v1", "kind": "Gear"}}
	u.SetName("g")
	u.SetFinalizers([]string{hold})
	eventually(t, func(ctx context.Context) (bool, error) { // the definition may have been strict until now
		_, err := resource(gears, ns).Create(ctx, u, metav1.CreateOptions{})
		return err == nil, nil
	})
	if err := server.Apply(t.Context(), strings.Replace(definition(gears.Group, gears.Resource, "Gear"),
		"type: object, x-kub", "type: object, "+rule+", x-kub", 1)); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(ctx context.Context) (bool, error) {
		_, err := resource(gears, ns).Patch(ctx, "g", types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`),
			metav1.PatchOptions{DryRun: []string{"All"}})
		return err != nil && strings.Contains(err.Error(), says), nil
	})
	begin(t, ns)
	const crd = "gears.strict.example.com"
	was := get(t, definitions, "", crd)
	r := admin.Expect(t, 3, "unstick-ns", ns, "--yes", "--no-backup")
	for _, says := range []string{"CustomResourceDefinition " + crd + " refuses", says, "nothing was changed",
		"--relax-crd=" + crd, "kubectl patch crd " + crd} {
		if !strings.Contains(r.Stderr, says) {
			t.Errorf("it does not say %q: %s", says, r)
		}
	}
	if now := get(t, definitions, "", crd); now.GetResourceVersion() != was.GetResourceVersion() {
		t.Errorf("it was changed, though it was not named: %v", now.Object)
	}
	r = admin.Expect(t, 0, "unstick-ns", ns, "--yes", "--patience=2s", "--relax-crd="+crd, "--backup-dir="+t.TempDir()+
		"/b")
	now := get(t, definitions, "", crd)
	if !reflect.DeepEqual(now.Object["spec"], was.Object["spec"]) ||
		now.GetAnnotations()[finalize.RelaxedAnnotation] != "" {
		t.Errorf("it is not what it was: %v\n%s", now.Object, r)
	}
	if get(t, namespaces, "", ns) != nil || !strings.Contains(r.Stdout, "it back") {
		t.Errorf("%s", r)
	}
}
