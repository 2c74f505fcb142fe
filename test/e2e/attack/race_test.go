package attack

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/test/chaos"
	"github.com/castai/kubectl-castai/test/driver"
	"github.com/castai/kubectl-castai/test/fixtures"
)

// arrivals are what others put into castai-agent: all of it must survive, with the
// UID that it had, except the last, which goes with its kind and must be saved.
const arrivals = `
apiVersion: v1
kind: Secret
metadata: {name: arrival, namespace: castai-agent}
stringData: {password: mine}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: arrival, namespace: castai-agent}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: arrival, namespace: castai-agent}
spec:
  selector: {matchLabels: {app: arrival}}
  template:
    metadata: {labels: {app: arrival}}
    spec: {serviceAccountName: arrival, containers: [{name: main, image: registry.example.com/arrival:1}]}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: arrival}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Delete
  storageClassName: manual
  claimRef: {namespace: castai-agent, name: arrival}
  hostPath: {path: /tmp}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: arrival, namespace: castai-agent}
spec: {storageClassName: manual, volumeName: arrival, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`

// setting is an object of a kind of Cast AI's that a user writes.
const setting = `
apiVersion: pod-mutations.cast.ai/v1
kind: PodMutation
metadata: {name: arrival}
spec: {}
`

// moment is when somebody acts: after the server has carried out a request, and
// before the plugin has the answer. It may ask for other things meanwhile, but does
// not come to its next step.
type moment struct {
	name string
	// method and path are those of the request; the path is the end of one.
	method, path string
	// settings can still be written then: their kind is there.
	settings bool
}

var moments = []moment{
	{"when the backup is written", "", "", true},
	{"when the agent stops", http.MethodPatch, "/castai-agent/deployments/castai-agent", true},
	{"when the webhook is gone", http.MethodDelete, "/mutatingwebhookconfigurations/castai-pod-mutator", true},
	{"when the role is gone", http.MethodDelete, "/clusterroles/castai-agent", false},
	{
		"when the definition is gone", http.MethodDelete,
		"/customresourcedefinitions/podmutations.pod-mutations.cast.ai", false,
	},
	{"when the agent is gone", http.MethodDelete, "/castai-agent/deployments/castai-agent", false},
	{"when the account is gone", http.MethodDelete, "/castai-agent/serviceaccounts/castai-agent", false},
}

// is tells whether a request is the one. The first write comes right after the backup.
func (m moment) is(r *http.Request) bool {
	if m.method == "" {
		return r.Method != http.MethodGet && !strings.HasPrefix(r.URL.Path, "/apis/authorization.k8s.io/")
	}
	return r.Method == m.method && strings.HasSuffix(r.URL.Path, m.path)
}

// visited lets somebody act at a moment, and returns an administrator of whose plugin
// it is the moment, and whether it has come.
func (m moment) visited(t *testing.T, act func() error) (*driver.User, *atomic.Bool) {
	t.Helper()
	proxy, err := chaos.NewProxy(server.Config, chaos.Trial{})
	check(t, err)
	t.Cleanup(proxy.Close)
	came := &atomic.Bool{}
	proxy.OnAnswer(func(answer *http.Response) error {
		if !m.is(answer.Request) || !came.CompareAndSwap(false, true) {
			return nil
		}
		if answer.StatusCode >= http.StatusBadRequest {
			return fmt.Errorf("%s: %s", answer.Request.URL, answer.Status)
		}
		return act()
	})
	path := filepath.Join(t.TempDir(), "kubeconfig")
	check(t, proxy.Kubeconfig(path))
	return admin.Kubeconfig(path), came
}

// Somebody else works in castai-agent while it is taken apart: nothing of theirs
// goes, whenever they begin, and the report says for whom the namespace stays.
func TestArrivals(t *testing.T) {
	for _, i := range sample(t, 2, len(moments)) {
		m := moments[i]
		t.Run(m.name, func(t *testing.T) {
			server.Install(t, fixtures.Small)
			t.Cleanup(func() { cleanUp(t) })
			if m.settings {
				unguarded(t)
			}
			uids := map[string]string{}
			who, came := m.visited(t, func() (err error) {
				uids, err = arrive(t.Context(), m)
				if err != nil {
					t.Errorf("the arrivals can't be written: %v", err)
				}
				return err
			})
			backup := filepath.Join(t.TempDir(), "saved")
			var report printer.Report
			r := who.Expect(t, 4, append([]string{"offboard", "--yes", "-o", "json", "--backup-dir=" + backup}, quick...)...)
			if !came.Load() {
				t.Fatal("the moment never came")
			}
			r.Document(t, &report)
			survived(t, uids)
			if !strings.Contains(r.Stdout+r.Stderr, "arrival") {
				t.Errorf("it is not said for whom the namespace stays: %s", r.Stderr)
			}
			if m.settings && !there(t, "podmutation", "arrival") && !saved(t, backup, "arrival", "PodMutation") {
				t.Error("a PodMutation is gone, and is not in the backup")
			}
		})
	}
}

// unguarded lets people write PodMutations although nothing runs behind the webhook
// that looks at them.
func unguarded(t *testing.T) {
	t.Helper()
	_, err := server.Kubectl(
		t.Context(), "patch", "validatingwebhookconfiguration", "vpodmutation.cast.ai", "--type=json",
		`-p=[{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]`,
	)
	check(t, err)
}

// arrive puts everything there, and returns the UIDs.
func arrive(ctx context.Context, m moment) (map[string]string, error) {
	manifest := arrivals
	if m.settings {
		manifest += "---" + setting
	}
	if err := server.Apply(ctx, manifest); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, o := range []string{"secret", "serviceaccount", "deployment", "persistentvolumeclaim", "persistentvolume"} {
		uid, err := server.Kubectl(ctx, "get", "-n", "castai-agent", o, "arrival", "-o", "jsonpath={.metadata.uid}")
		if err != nil {
			return nil, err
		}
		out[o] = string(uid)
	}
	return out, nil
}

// survived fails the test for what is gone, is being deleted, or was made again.
func survived(t *testing.T, uids map[string]string) {
	t.Helper()
	for kind, uid := range uids {
		raw, err := server.Kubectl(t.Context(), "get", "-n", "castai-agent", kind, "arrival", "-o", "json")
		if err != nil {
			t.Errorf("%s arrival is gone: %v", kind, err)
			continue
		}
		var o metav1.PartialObjectMetadata
		check(t, json.Unmarshal(raw, &o))
		if string(o.UID) != uid || o.DeletionTimestamp != nil {
			t.Errorf("%s arrival: %s is %s, deleted at %v", kind, uid, o.UID, o.DeletionTimestamp)
		}
	}
}

func there(t *testing.T, kind, name string) bool {
	t.Helper()
	_, err := server.Kubectl(t.Context(), "get", kind, name)
	return err == nil
}

// saved tells whether a file of a backup holds an object.
func saved(t *testing.T, backup, name, kind string) bool {
	t.Helper()
	found := false
	check(t, filepath.WalkDir(backup, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path) //nolint:gosec // a folder of the test
		found = found || strings.Contains(
			string(content), "name: "+name,
		) && strings.Contains(string(content), "kind: "+kind)
		return err
	}))
	return found
}

// cleanUp takes away what a test leaves in castai-agent.
func cleanUp(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, args := range [][]string{
		{
			"delete", "deployment,secret,serviceaccount,persistentvolumeclaim", "arrival", "-n", "castai-agent",
			"--ignore-not-found",
		},
		{"delete", "persistentvolume", "arrival", "--ignore-not-found", "--wait=false"},
	} {
		if out, err := server.Kubectl(ctx, args...); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}
	if r, err := admin.Castai(
		ctx, append([]string{"offboard", "--yes", "--no-backup"}, quick...)...,
	); err != nil || r.Code != 0 {
		t.Errorf("the cluster can't be cleaned: %v, %s", err, r)
	}
}
