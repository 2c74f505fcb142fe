package attack

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"github.com/castai/kubectl-castai/internal/printer"
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

// moment is when somebody acts.
type moment struct {
	name     string
	resource schema.GroupVersionResource
	object   string
	is       func(watch.Event) bool
	// settings can still be written then: their kind is there.
	settings bool
}

func deleted(e watch.Event) bool { return e.Type == watch.Deleted }

// stopped is true of a Deployment that was scaled to zero.
func stopped(e watch.Event) bool {
	u, ok := e.Object.(*unstructured.Unstructured)
	if !ok {
		return false
	}
	n, found, err := unstructured.NestedInt64(u.Object, "spec", "replicas")
	return e.Type == watch.Modified && found && err == nil && n == 0
}

var moments = []moment{
	{"when the backup appears", schema.GroupVersionResource{}, "", nil, true},
	{"when the agent stops", resource("apps", "v1", "deployments"), "castai-agent", stopped, true},
	{
		"when the webhook is gone", resource("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations"),
		"castai-pod-mutator", deleted, true,
	},
	{
		"when the role is gone", resource("rbac.authorization.k8s.io", "v1", "clusterroles"), "castai-agent", deleted,
		false,
	},
	{
		"when the definition is gone", resource("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
		"podmutations.pod-mutations.cast.ai", deleted, false,
	},
	{"when the agent is gone", resource("apps", "v1", "deployments"), "castai-agent", deleted, false},
	{"when the account is gone", resource("", "v1", "serviceaccounts"), "castai-agent", deleted, false},
}

func resource(group, version, name string) schema.GroupVersionResource { //nolint:unparam // reads as the API does
	return schema.GroupVersionResource{Group: group, Version: version, Resource: name}
}

// await returns when the moment has come.
func (m moment) await(ctx context.Context, backup string) error {
	if m.is == nil {
		return wait.PollUntilContextCancel(ctx, time.Millisecond, true, func(context.Context) (bool, error) {
			_, err := os.Stat(backup)
			return err == nil, nil
		})
	}
	api, err := dynamic.NewForConfig(server.Config)
	if err != nil {
		return err
	}
	events, err := api.Resource(m.resource).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + m.object})
	if err != nil {
		return err
	}
	defer events.Stop()
	for e := range events.ResultChan() {
		if m.is(e) {
			return nil
		}
	}
	return fmt.Errorf("the moment never came: %w", context.Cause(ctx))
}

// Somebody else works in castai-agent while it is taken apart: nothing of theirs
// goes, whenever they begin, and the report says for whom the namespace stays.
func TestArrivals(t *testing.T) {
	for _, m := range moments {
		t.Run(m.name, func(t *testing.T) {
			server.Install(t, fixtures.Small)
			t.Cleanup(func() { cleanUp(t) })
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			backup := filepath.Join(t.TempDir(), "saved")
			uids := make(chan map[string]string, 1)
			failed := make(chan error, 1)
			go func() {
				err := m.await(ctx, backup)
				if err == nil {
					err = arrive(ctx, m, uids)
				}
				failed <- err
			}()
			var report printer.Report
			r := admin.Expect(t, 4, append([]string{"offboard", "--yes", "-o", "json", "--backup-dir=" + backup}, quick...)...)
			check(t, <-failed)
			r.Document(t, &report)
			survived(t, <-uids)
			if !strings.Contains(r.Stdout+r.Stderr, "arrival") {
				t.Errorf("it is not said for whom the namespace stays: %s", r.Stderr)
			}
			if m.settings && !there(t, "podmutation", "arrival") && !saved(t, backup, "arrival", "PodMutation") {
				t.Error("a PodMutation is gone, and is not in the backup")
			}
		})
	}
}

// arrive puts everything there, and tells the UIDs.
func arrive(ctx context.Context, m moment, uids chan<- map[string]string) error {
	manifest := arrivals
	if m.settings {
		manifest += "---" + setting
	}
	if err := server.Apply(ctx, manifest); err != nil {
		return err
	}
	out := map[string]string{}
	for _, o := range []string{"secret", "serviceaccount", "deployment", "persistentvolumeclaim", "persistentvolume"} {
		uid, err := server.Kubectl(ctx, "get", "-n", "castai-agent", o, "arrival", "-o", "jsonpath={.metadata.uid}")
		if err != nil {
			return err
		}
		out[o] = string(uid)
	}
	uids <- out
	return nil
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
