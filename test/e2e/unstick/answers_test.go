package unstick

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/internal/backup"
	"github.com/castai/kubectl-castai/pkg/finalize"
	"github.com/castai/kubectl-castai/test/controlplane"
	"github.com/castai/kubectl-castai/test/driver"
)

// aggregated registers an API that another server serves. What list answers is up to the
// test; discover, if it is not nil, answers what can be discovered. It returns the name of
// the APIService.
func aggregated(t *testing.T, group string, list, discover http.HandlerFunc) string {
	t.Helper()
	gv := group + "/v1"
	mux := http.NewServeMux()
	if discover == nil {
		discover = discovery(gv)
	}
	mux.HandleFunc("/apis/"+gv, discover)
	mux.HandleFunc("/apis/"+gv+"/", list)
	over := make(chan struct{}) // the API server may still wait for an answer then
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		go func() {
			select {
			case <-over:
				cancel()
			case <-ctx.Done():
			}
		}()
		mux.ServeHTTP(w, r.WithContext(ctx))
	}))
	t.Cleanup(func() {
		close(over)
		s.Close()
	})
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	service := strings.ReplaceAll(group, ".", "-")
	create(t, services, "default", service, map[string]any{"spec": map[string]any{"type": "ExternalName",
		"externalName": "localhost"}})
	name := "v1." + group
	create(t, apiServices, "", name, map[string]any{"spec": map[string]any{
		"group": group, "version": "v1", "groupPriorityMinimum": int64(100), "versionPriority": int64(100),
		"service":               map[string]any{"namespace": "default", "name": service, "port": number},
		"insecureSkipTLSVerify": true,
	}})
	remove(t, apiServices, name)
	until(t, apiServices, name, func(u *unstructured.Unstructured) bool {
		conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
		for _, c := range conditions {
			if m, ok := c.(map[string]any); ok && m["type"] == "Available" && m["status"] == "True" {
				return true
			}
		}
		return false
	})
	return name
}

// discovery says that there are things, which are in namespaces.
func discovery(gv string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{ // the connection is the test's own
			"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": gv,
			"resources": []any{map[string]any{
				"name": "things", "singularName": "thing", "kind": "Thing", "namespaced": true,
				"verbs": []any{"list", "get", "delete", "deletecollection"},
			}},
		})
	}
}

// An aggregated API that is Available and answers badly is named as what it is, and
// removed where that is said. (unstuck finalizes over 403 and 500; finalizer-doctor
// fails on its discovery.)
func TestAggregatedAPIThatAnswersBadly(t *testing.T) {
	html := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>Welcome</html>")) }
	hangs := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	names := []string{
		aggregated(t, "forbids.example.com",
			func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }, nil),
		aggregated(t, "fails.example.com",
			func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "boom", http.StatusInternalServerError) }, nil),
		aggregated(t, "hangs.example.com", hangs, nil),
		aggregated(t, "html.example.com", html, html),
	}
	ns := fresh(t)
	create(t, configMaps, ns, "a", nil)
	discard(t, namespaces, "", ns)
	start := time.Now()
	r := admin.Expect(t, 3, "unstick-ns", ns, "--yes", "--no-backup")
	took := time.Since(start)
	t.Logf("refused after %s", took)
	if took > 30*time.Second || strings.Contains(r.Stderr, "does not answer any more") ||
		strings.Contains(r.Stdout, "ask for the right") {
		t.Errorf("it took %s: %s", took, r)
	}
	args := []string{"unstick-ns", ns, "--yes", "--no-backup", "--patience=2s"}
	for _, name := range names {
		flag := "--remove-apiservice=" + name
		if args = append(args, flag); !strings.Contains(r.Stderr, flag) || get(t, apiServices, "", name) == nil {
			t.Errorf("%s is not named, or gone: %s", name, r)
		}
	}
	r = admin.Expect(t, 0, args...)
	t.Logf("freed after %s", time.Since(start)-took)
	for _, name := range names {
		if get(t, apiServices, "", name) != nil {
			t.Errorf("%s is left: %s", name, r)
		}
	}
	if get(t, namespaces, "", ns) != nil {
		t.Errorf("%s", r)
	}
}

// A dead API of somebody else's does not keep a namespace with nothing in it, and
// stays. (finalizer-doctor proves it and finalizes, too.)
func TestDeadAPIAndNothingElse(t *testing.T) {
	name := deadAPI(t, "custom.metrics.example.com", "v1")
	ns := fresh(t)
	begin(t, ns)
	eventually(t, func(context.Context) (bool, error) {
		return diagnose(t, finalize.Options{}, ns)[0].Content.Objects == 0, nil
	})
	r := admin.Expect(t, 0, "unstick-ns", ns, "--yes", "--no-backup", "--patience=2s")
	if get(t, namespaces, "", ns) != nil || get(t, apiServices, "", name) == nil {
		t.Errorf("%s", r)
	}
}

// A dead conversion webhook hangs every namespace of the cluster. One that has nothing
// in it is freed; the other is refused with the remedy, which helps. (No other tool
// finds the cause from another namespace.)
func TestDeadConversionWebhook(t *testing.T) {
	one := definition(converted.Group, converted.Resource, "Gizmo")
	define(t, one+second(one), "gizmos.conv.example.com")
	own, other := fresh(t), fresh(t)
	create(t, converted, own, "g", nil)
	if _, err := server.Kubectl(t.Context(), "patch", "crd", "gizmos.conv.example.com", "--type=merge", "-p",
		`{"spec":{"conversion":{"strategy":"Webhook","webhook":{"conversionReviewVersions":["v1"],`+
			`"clientConfig":{"service":{"namespace":"nowhere","name":"conv"}}}}}}`); err != nil {
		t.Fatal(err)
	}
	v2 := converted
	v2.Version = "v2"
	eventually(t, func(ctx context.Context) (bool, error) {
		_, err := server.Kubectl(ctx, "get", "gizmos.v2.conv.example.com", "-n", own)
		return err != nil && strings.Contains(err.Error(), "conversion webhook"), nil
	})
	for _, ns := range []string{own, other} {
		if _, err := server.Kubectl(t.Context(), "delete", "namespace", ns, "--wait=false"); err != nil {
			t.Fatal(err)
		}
	}
	var d *finalize.Diagnosis
	eventually(t, func(context.Context) (bool, error) { // it is looked for when something hangs
		d = diagnose(t, finalize.Options{}, other)[0]
		return d.Content.Objects == 0 && len(d.Causes) > 0 && d.Causes[0].Type == finalize.DeadConversion, nil
	})
	if c := d.Causes[0]; c.Blocks || c.Conversion.Service != "nowhere/conv" || c.Conversion.Objects != 1 {
		t.Errorf("%+v", c)
	}
	admin.Expect(t, 0, "unstick-ns", other, "--yes", "--no-backup", "--patience=2s")
	r := admin.Expect(t, 3, "unstick-ns", own, "--yes", "--no-backup")
	if !strings.Contains(r.Stderr, "conversion webhook of CustomResourceDefinition gizmos.conv.example.com") {
		t.Errorf("%s", r)
	}
	for _, c := range diagnose(t, finalize.Options{}, own)[0].Causes {
		if c.Type == finalize.DeadConversion {
			relax(t, c)
		}
	}
	admin.Expect(t, 0, "unstick-ns", own, "--yes", "--no-backup", "--patience=2s")
	if _, err := server.Kubectl(t.Context(), "delete", "crd", "gizmos.conv.example.com"); err != nil {
		t.Fatal(err)
	}
}

// One namespace that can't be freed does not keep the others. (knsk and unstuck go
// on, too, and exit with 0.)
func TestAllButOne(t *testing.T) {
	free, blocked := fresh(t), fresh(t)
	create(t, configMaps, free, "a", nil, hold)
	create(t, configMaps, blocked, "a", nil, hold)
	name := policy(t, blocked, "UPDATE")
	begin(t, free)
	begin(t, blocked)
	r := admin.Expect(t, 4, "unstick-ns", "--all", "--yes", "--no-backup", "--patience=2s")
	if get(t, namespaces, "", free) != nil || get(t, namespaces, "", blocked) == nil || !strings.Contains(r.Stderr, name) {
		t.Errorf("%s", r)
	}
	for _, c := range diagnose(t, finalize.Options{}, blocked)[0].Causes {
		if c.Type == finalize.RefusedUpdate {
			relax(t, c)
		}
	}
	admitted(t, blocked)
	admin.Expect(t, 0, "unstick-ns", blocked, "--yes", "--no-backup", "--patience=2s")
}

// A controller manager that is away for a minute is waited for, and nothing is done in its
// place. (No other tool waits.) It has a control plane of its own, for it stops a part of it.
func TestControllerManagerIsAway(t *testing.T) {
	t.Parallel()
	own, err := driver.Start(t.Context(), driver.Options{Bin: "../../../bin"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.Stop(); err != nil {
			t.Error(err)
		}
	})
	kubectl := func(args ...string) string {
		t.Helper()
		out, err := own.Kubectl(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	const ns = "away"
	kubectl("create", "namespace", ns)
	kubectl("create", "configmap", "a", "-n", ns, "--from-literal=a=b")
	if err := own.Signal(controlplane.ControllerManager, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	goOn := func() {
		if err := own.Signal(controlplane.ControllerManager, syscall.SIGCONT); err != nil {
			t.Error(err)
		}
	}
	kubectl("delete", "namespace", ns, "--wait=false")
	const away = time.Minute
	timer := time.AfterFunc(away, goOn)
	t.Cleanup(func() {
		if timer.Stop() {
			goOn()
		}
	})
	start := time.Now()
	r := own.Admin.Expect(t, 0, "unstick-ns", ns, "--yes", "--no-backup", "--patience=2s")
	left := kubectl("get", "namespace", ns, "--ignore-not-found")
	if took := time.Since(start); took < away || left != "" {
		t.Errorf("it took %s: %s%s", took, left, r)
	}
	if !strings.Contains(r.Stdout, "Nothing had to be done") {
		t.Errorf("it did the work of the controller: %s", r)
	}
}

// A load balancer is asked for by name, and is in the preview and in the backup.
// (finalizer-doctor refuses; knsk and unstuck remove the finalizer.)
func TestLoadBalancer(t *testing.T) {
	t.Parallel()
	const guard = "service.kubernetes.io/load-balancer-cleanup"
	ns, dir := fresh(t), filepath.Join(t.TempDir(), "saved")
	create(t, services, ns, "lb", map[string]any{"spec": map[string]any{"type": "LoadBalancer",
		"ports": []any{map[string]any{"port": int64(80)}}}}, guard)
	begin(t, ns)
	was := state(t, services, ns, "lb")
	r := admin.Expect(t, 124, "unstick-ns", ns, "--yes", "--no-backup", "--patience=2s", "--timeout=10s")
	if now := state(t, services, ns, "lb"); now != was || !strings.Contains(r.Stdout, "cost money") {
		t.Errorf("it is %s, was %s: %s", now, was, r)
	}
	later := finalize.Options{Now: func() time.Time { return time.Now().Add(6 * time.Minute) }}
	d := diagnose(t, later, ns)[0]
	if refusal := finalize.Refuse(d, later); refusal == nil || !strings.Contains(refusal.Message, "--finalizer="+guard) {
		t.Errorf("after its time: %v", refusal)
	}
	r = admin.Expect(t, 0, "unstick-ns", ns, "--yes", "--patience=2s", "--finalizer="+guard, "--backup-dir="+dir)
	if !strings.Contains(r.Stdout, "cost money") || !strings.Contains(r.Stderr, "Backup: ") {
		t.Errorf("%s", r)
	}
	saved, err := backup.Open(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(saved.Index.Objects, func(e backup.Entry) bool {
		return e.Kind == "Service" &&
			e.Name == "lb"
	}) {
		t.Errorf("saved: %+v", saved.Index.Objects)
	}
	if err := saved.Close(); err != nil {
		t.Error(err)
	}
}

// Orphans are found without the name of their namespace. (knsk finds them, too; its
// patch is refused up to 1.36.)
func TestOrphansWithoutAName(t *testing.T) {
	ns := fresh(t)
	create(t, configMaps, ns, "a", nil, hold)
	begin(t, ns)
	finalizeByHand(t, ns)
	r := admin.Expect(t, 4, "unstick-ns", "--orphans", "--diagnose")
	if !strings.Contains(r.Stdout, "there is no namespace "+ns) {
		t.Errorf("%s", r)
	}
	admin.Expect(t, 0, "unstick-ns", "--orphans", "--yes", "--no-backup", "--patience=2s")
	if get(t, configMaps, ns, "a") != nil || get(t, namespaces, "", ns) != nil {
		t.Error("it is left")
	}
}
