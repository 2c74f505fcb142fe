package cluster_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// object is an object with fields beside its metadata.
func object(apiVersion, kind, namespace, name string, fields map[string]any) *unstructured.Unstructured {
	u := clustertest.Object(apiVersion, kind, namespace, name)
	maps.Copy(u.Object, fields)
	return u
}

// hook is a webhook configuration that calls a Service.
func hook(name, service string) *unstructured.Unstructured {
	return object("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "", name, map[string]any{
		"webhooks": []any{map[string]any{"clientConfig": map[string]any{
			"service": map[string]any{"namespace": "shop", "name": service},
		}}},
	})
}

// A Service that the API server calls is dead only if that is certain.
func TestBackends(t *testing.T) {
	slice := func(service string, ready ...any) *unstructured.Unstructured {
		var endpoints []any
		for _, r := range ready {
			conditions := map[string]any{}
			if r != nil {
				conditions["ready"] = r
			}
			endpoints = append(endpoints, map[string]any{"addresses": []any{"10.0.0.1"}, "conditions": conditions})
		}
		u := object("discovery.k8s.io/v1", "EndpointSlice", "shop", service+"-x", map[string]any{"endpoints": endpoints,
			"addressType": "IPv4"})
		u.SetLabels(map[string]string{"kubernetes.io/service-name": service})
		return u
	}
	service := func(name, kind string) *unstructured.Unstructured {
		return object("v1", "Service", "shop", name, map[string]any{"spec": map[string]any{"type": kind}})
	}
	server := clustertest.Serve(t, hook("a", "lives"), hook("b", "lives"), hook("c", "dead"), hook("d", "none"),
		hook("e", "outside"), hook("f", "old"), service("lives", "ClusterIP"), slice("lives", true, false),
		service("dead", "ClusterIP"), slice("dead", false), service("outside", "ExternalName"),
		service("old", "ClusterIP"), slice("old", nil))
	scope := cluster.Scope{Backends: true, Kinds: []string{"validatingwebhookconfigurations.admissionregistration.k8s.io"}}
	snap, err := server.Client().Snapshot(t.Context(), scope)
	if err != nil {
		t.Fatal(err)
	}
	if len(snap.Backends) != 5 {
		t.Errorf("%+v", snap.Backends)
	}
	for name, want := range map[string]cluster.Backend{
		"lives": {Found: true, Ready: 1}, "dead": {Found: true}, "none": {}, "outside": {Found: true, External: true},
		"old": {Found: true, Ready: 1},
	} {
		want.Namespace, want.Name = "shop", name
		if got, ok := snap.Backend("shop", name); !ok || got != want {
			t.Errorf("%+v, not %+v", got, want)
		}
	}
	for _, resource := range []string{"services", "endpointslices"} {
		server.Forbid = func(r *clustertest.Request) bool { return r.Resource == resource }
		if snap, err = server.Client().Snapshot(t.Context(), scope); err != nil {
			t.Fatal(err)
		}
		if b, _ := snap.Backend("shop", "dead"); b.Dead() || b.Unreadable == "" {
			t.Errorf("without the right to %s: %+v", resource, b)
		}
	}
}

// What is read is what is meant: whole, each once, and nothing that took its place.
func TestRead(t *testing.T) {
	for _, n := range []int{3, 30} { // one by one, and as a list
		server := clustertest.Serve(t)
		var targets []cluster.Target
		for i := range n {
			name := fmt.Sprintf("c-%02d", i)
			server.Put(object("v1", "ConfigMap", "shop", name, map[string]any{"data": map[string]any{"is": name}}))
			targets = append(targets, server.Target(cluster.Ref{Kind: "ConfigMap", Namespace: "shop", Name: name}))
		}
		server.Put(clustertest.Object("v1", "ConfigMap", "shop", "other"))
		server.Drop(targets[0].Ref)
		server.Drop(targets[1].Ref)
		server.Put(clustertest.Object("v1", "ConfigMap", "shop", targets[1].Name))
		client := server.Client()
		var mu sync.Mutex
		got := map[string]string{}
		err := client.Read(t.Context(), targets, func(target cluster.Target, u *unstructured.Unstructured) error {
			mu.Lock()
			defer mu.Unlock()
			data, _, err := unstructured.NestedString(u.Object, "data", "is")
			if got[target.Name] != "" || u.GetKind() != "ConfigMap" {
				err = fmt.Errorf("%s is read again, or has the kind %q", target.Name, u.GetKind())
			}
			got[target.Name] = data
			return err
		})
		if err != nil || len(got) != n-2 || got["c-02"] != "c-02" {
			t.Errorf("%d: %v, %v", n, err, got)
		}
		boom := errors.New("boom")
		err = client.Read(t.Context(), targets, func(cluster.Target, *unstructured.Unstructured) error { return boom })
		if !errors.Is(err, boom) {
			t.Errorf("%d: %v", n, err)
		}
		server.Forbid = func(r *clustertest.Request) bool { return r.Resource == "configmaps" }
		err = client.Read(t.Context(), targets, func(cluster.Target, *unstructured.Unstructured) error { return nil })
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "can't read") {
			t.Errorf("%d: %v", n, err)
		}
	}
}

// Helm's records come decoded as far as the API's own encoding goes, and in order.
func TestStoredReleases(t *testing.T) {
	const record = "H4sIA"
	server := clustertest.Serve(t,
		object("v1", "Secret", "shop", "s", map[string]any{"data": map[string]any{
			"release": base64.StdEncoding.EncodeToString([]byte(record)),
		}}),
		object("v1", "ConfigMap", "shop", "c", map[string]any{"data": map[string]any{"release": record}}),
		clustertest.Object("v1", "ConfigMap", "shop", "gone"))
	var targets []cluster.Target
	for _, ref := range []string{"Secret/shop/s", "ConfigMap/shop/gone", "ConfigMap/shop/c"} {
		r, err := cluster.ParseRef(ref)
		if err != nil {
			t.Fatal(err)
		}
		targets = append(targets, server.Target(r))
	}
	server.Drop(targets[1].Ref)
	client := server.Client()
	got, err := client.StoredReleases(t.Context(), targets)
	if err != nil || len(got) != 2 || string(got[0].Data) != record || string(got[1].Data) != record ||
		got[0].Ref.Kind != "Secret" {
		t.Errorf("%v, %+v", err, got)
	}
	for _, r := range server.Requests() {
		if r.Resource == "secrets" && r.Verb != "get" {
			t.Errorf("it reads more Secrets: %s", r)
		}
	}
	server.Forbid = func(r *clustertest.Request) bool { return r.Resource == "secrets" }
	if _, err := client.StoredReleases(t.Context(), targets); err == nil || !strings.Contains(err.Error(), "Secret/shop/s") {
		t.Errorf("%v", err)
	}
}

// Only pods that have not ended, on these nodes, count.
func TestPodsOn(t *testing.T) {
	server := clustertest.Serve(t)
	for i, p := range []struct{ node, phase string }{
		{"a", "Running"}, {"a", "Pending"}, {"a", "Succeeded"}, {"a", "Failed"}, {"b", "Running"}, {"c", "Running"},
	} {
		server.Put(object("v1", "Pod", "shop", fmt.Sprint("p-", i), map[string]any{
			"spec": map[string]any{"nodeName": p.node}, "status": map[string]any{"phase": p.phase},
		}))
	}
	if n, err := server.Client().PodsOn(t.Context(), []string{"a", "b"}); err != nil || n != 3 {
		t.Errorf("%d pods, %v", n, err)
	}
}

func TestWhoAmI(t *testing.T) {
	server := clustertest.Serve(t)
	u, err := server.Client().WhoAmI(t.Context())
	if err != nil || u.Name != clustertest.UserName || !slices.Contains(u.Groups, "system:authenticated") {
		t.Errorf("%+v, %v", u, err)
	}
	if len(server.Writes()) > 0 {
		t.Errorf("it writes %v", server.Writes())
	}
}

// A Job by hand has the template's content and its CronJob as owner, once, even if the
// answer to its making is lost.
func TestStartJob(t *testing.T) {
	cron := object("batch/v1", "CronJob", "shop", "night", map[string]any{"spec": map[string]any{
		"jobTemplate": map[string]any{
			"metadata": map[string]any{"labels": map[string]any{"app": "x"}, "annotations": map[string]any{"note": "y"}},
			"spec":     map[string]any{"backoffLimit": int64(2)},
		},
	}})
	server := clustertest.Serve(t, cron)
	server.BeforeNth(1, func(r *clustertest.Request) bool { return r.Verb == "create" },
		func(*clustertest.Request) clustertest.Fault { return clustertest.Fault{AnswerLost: true} })
	client := server.Client()
	of := server.Target(cluster.Ref{Group: "batch", Kind: "CronJob", Namespace: "shop", Name: "night"})
	target, err := client.StartJob(t.Context(), of)
	if err != nil || !strings.HasPrefix(target.Name, "night-manual-") {
		t.Fatalf("%+v, %v", target, err)
	}
	job := server.Get(target.Ref)
	limit, _, err := unstructured.NestedInt64(job.Object, "spec", "backoffLimit")
	if err != nil || limit != 2 || job.GetLabels()["app"] != "x" || job.GetAnnotations()["note"] != "y" ||
		job.GetAnnotations()["cronjob.kubernetes.io/instantiate"] != "manual" || job.GetUID() != target.UID ||
		len(job.GetOwnerReferences()) != 1 || job.GetOwnerReferences()[0].UID != of.UID {
		t.Errorf("%v: %v", err, job.Object)
	}
	if jobs := strings.Count(strings.Join(server.Refs(), " "), "Job.batch/shop/night-manual-"); jobs != 1 {
		t.Errorf("%d Jobs", jobs)
	}
	server.Drop(of.Ref)
	if _, err := client.StartJob(t.Context(), of); !apierrors.IsNotFound(err) {
		t.Errorf("of a CronJob that is gone: %v", err)
	}
}

func TestLogs(t *testing.T) {
	server := clustertest.Serve(t, clustertest.Object("v1", "Pod", "shop", "p"))
	server.Logs = map[string]string{"shop/p": "one\ntwo\n"}
	client := server.Client()
	var out bytes.Buffer
	if err := client.Logs(t.Context(), "shop", "p", true, &out); err != nil || out.String() != "one\ntwo\n" {
		t.Errorf("%v: %q", err, out.String())
	}
	if err := client.Logs(t.Context(), "shop", "gone", false, &out); !apierrors.IsNotFound(err) {
		t.Errorf("of a pod that is gone: %v", err)
	}
}

// A page of a proxy, with success, is no empty list and no object.
func TestHTMLIsNoAnswer(t *testing.T) {
	server := clustertest.Serve(t, clustertest.Object("v1", "ConfigMap", "shop", "prices"))
	client, target := server.Client(), server.Target(prices)
	server.Before(func(r *clustertest.Request) clustertest.Fault {
		if r.Resource == "configmaps" {
			return clustertest.Fault{HTML: "<html>Please log in</html>"}
		}
		return clustertest.Fault{}
	})
	snap, err := client.Snapshot(t.Context(), cluster.Scope{Kinds: []string{"configmaps"}})
	if err == nil && len(snap.Unreadable) == 0 {
		t.Errorf("a list: %+v", snap.Objects)
	}
	if o, err := client.Get(t.Context(), target); err == nil {
		t.Errorf("an object: %+v", o)
	}
	if o, err := client.Get(t.Context(), target, []string{"data"}); err == nil {
		t.Errorf("an object with fields: %+v", o)
	}
	if err := client.MergePatch(t.Context(), target, map[string]any{"data": map[string]any{"a": "b"}}, false); err == nil {
		t.Error("a patch that never reached the server is called done")
	}
}

// Get keeps the fields that are asked for.
func TestGetWithFields(t *testing.T) {
	server := clustertest.Serve(t, object("v1", "ConfigMap", "shop", "prices", map[string]any{"data": map[string]any{"a": "b"},
		"immutable": true}))
	o, err := server.Client().Get(t.Context(), server.Target(prices), []string{"immutable"})
	if err != nil || o.Body["immutable"] != true || o.Body["data"] != nil {
		t.Errorf("%v: %v", err, o)
	}
}

// One kubeconfig that can't be used says what to do.
func TestConnectingFails(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(refusing.Close)
	for name, test := range map[string]struct{ config, context, says string }{
		"the credentials expired": {config(refusing.URL), "", "log in again"},
		"nobody listens":          {config("http://127.0.0.1:1"), "", "check the address, the VPN"},
		"there is no context":     {config(refusing.URL), "nowhere", "kubectl config get-contexts"},
		"nothing is configured":   {"{apiVersion: v1, kind: Config}", "", "--kubeconfig"},
		"a certificate that is none": {strings.Replace(config("https://127.0.0.1:1"), "server:",
			"certificate-authority-data: eA==, server:", 1), "", "the kubeconfig can't be used"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("KUBECONFIG", "")
			t.Setenv("KUBERNETES_SERVICE_HOST", "")
			path := filepath.Join(t.TempDir(), "config")
			if err := os.WriteFile(path, []byte(test.config), 0o600); err != nil {
				t.Fatal(err)
			}
			flags := genericclioptions.NewConfigFlags(false)
			flags.KubeConfig, flags.Context = &path, &test.context
			_, err := cluster.New(t.Context(), flags, cluster.Options{UserAgent: cluster.UserAgent("v1")})
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v", err)
			}
		})
	}
}

func config(server string) string {
	return fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, users: [{name: u}],
		clusters: [{name: c, cluster: {server: %q}}], contexts: [{name: c, context: {cluster: c, user: u}}]}`, server)
}

// A pod is evicted once, only the one that is meant, and not against its budget.
func TestEvict(t *testing.T) {
	server := clustertest.Serve(t, clustertest.Object("v1", "Pod", "shop", "p"))
	client := server.Client()
	pod := server.Target(cluster.Ref{Kind: "Pod", Namespace: "shop", Name: "p"})
	other := pod
	other.UID = "other"
	if err := client.Evict(t.Context(), other); !apierrors.IsConflict(err) || server.Get(pod.Ref) == nil {
		t.Errorf("another pod: %v", err)
	}
	refused := 0
	stop := server.Before(func(r *clustertest.Request) clustertest.Fault {
		if r.Subresource != "eviction" {
			return clustertest.Fault{}
		}
		refused++
		return clustertest.Fault{Err: apierrors.NewTooManyRequests("the budget does not allow it", 10)}
	})
	start := time.Now()
	if err := client.Evict(t.Context(), pod); !apierrors.IsTooManyRequests(err) || refused != 1 ||
		time.Since(start) > 5*time.Second {
		t.Errorf("against its budget: %v, asked %d times in %s", err, refused, time.Since(start))
	}
	stop()
	if err := client.Evict(t.Context(), pod); err != nil || server.Get(pod.Ref) != nil {
		t.Errorf("%v", err)
	}
	if err := client.Evict(t.Context(), pod); !apierrors.IsNotFound(err) {
		t.Errorf("once more: %v", err)
	}
}
