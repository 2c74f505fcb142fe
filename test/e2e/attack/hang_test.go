package attack

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/kubectl-castai/test/fixtures"
)

// hanging are others' Secrets that name objects of Cast AI's as their owners.
const hanging = `
apiVersion: v1
kind: Secret
metadata:
  name: arrival
  namespace: castai-agent
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: castai-agent, uid: %s, controller: true}]
---
apiVersion: v1
kind: Secret
metadata:
  name: arrival
  namespace: neighbour
  ownerReferences: [{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, name: castai-agent, uid: %s}]
`

// anew is what a person makes where Cast AI was.
const anew = `
apiVersion: v1
kind: Namespace
metadata: {name: castai-agent, labels: {team: acme}}
---
apiVersion: v1
kind: Secret
metadata: {name: castai-secrets, namespace: castai-agent}
`

// What comes after the last look, and names objects of Cast AI's as its owners, does
// not go with them.
func TestWhatNamesAnOwnerStays(t *testing.T) {
	server.Install(t, fixtures.Small)
	t.Cleanup(func() { remove(t, "secret", "arrival", "-n", "neighbour"); cleanUp(t) })
	uids := map[string]string{}
	m := moment{method: http.MethodDelete, path: "/mutatingwebhookconfigurations/castai-pod-mutator"}
	who, came := m.visited(t, func() error {
		agent, role := uid(t, "deployment", "castai-agent", "castai-agent"), uid(t, "clusterrole", "castai-agent", "")
		err := server.Apply(t.Context(), fmt.Sprintf(hanging, agent, role))
		for _, ns := range []string{"castai-agent", "neighbour"} {
			uids[ns] = uid(t, "secret", "arrival", ns)
		}
		return err
	})
	r := who.Expect(t, 4, append([]string{"offboard", "--yes", "--backup-dir=" + filepath.Join(t.TempDir(), "saved")},
		quick...)...)
	if !came.Load() || !strings.Contains(r.Stdout+r.Stderr, "Secret/castai-agent/arrival") {
		t.Errorf("the moment came: %t; it is not said what stays: %s", came.Load(), r)
	}
	// The garbage collector has seen that the role has gone when it has orphaned this.
	deadline := time.Now().Add(30 * time.Second)
	for len(object(t, "secret", "arrival", "neighbour").OwnerReferences) > 0 && time.Now().Before(deadline) {
		time.Sleep(100 * time.Millisecond)
	}
	for ns, want := range uids {
		if o := object(t, "secret", "arrival", ns); string(o.UID) != want || o.DeletionTimestamp != nil {
			t.Errorf("%s in %s is %s, deleted at %v", want, ns, o.UID, o.DeletionTimestamp)
		}
	}
	if there(t, "clusterrole", "castai-agent") {
		t.Error("the role is left")
	}
}

// What a person makes anew while the rest of Cast AI is removed stays, and is named.
func TestWhatIsMadeAnewStays(t *testing.T) {
	server.Install(t, fixtures.Small)
	t.Cleanup(func() { remove(t, "namespace", "castai-agent"); cleanUp(t) })
	uids := map[string]string{}
	m := moment{method: http.MethodDelete, path: "/clusterrolebindings/castai-agent"}
	who, came := m.visited(t, func() error {
		if there(t, "namespace", "castai-agent") {
			t.Error("that is not the end of the run")
		}
		err := server.Apply(t.Context(), anew)
		uids["namespace"] = uid(t, "namespace", "castai-agent", "")
		uids["secret"] = uid(t, "secret", "castai-secrets", "castai-agent")
		return err
	})
	r := who.Expect(t, 4, append([]string{"offboard", "--yes", "--backup-dir=" + filepath.Join(t.TempDir(), "saved")},
		quick...)...)
	if !came.Load() || !strings.Contains(r.Stderr, "came back or new") {
		t.Errorf("the moment came: %t; it is not said what is new: %s", came.Load(), r)
	}
	if o := object(t, "namespace", "castai-agent", ""); string(o.UID) != uids["namespace"] || o.DeletionTimestamp != nil {
		t.Errorf("the namespace is %s, deleted at %v", o.UID, o.DeletionTimestamp)
	}
	if o := object(t, "secret", "castai-secrets", "castai-agent"); string(o.UID) != uids["secret"] {
		t.Errorf("the Secret is %s", o.UID)
	}
}

// object returns the metadata of an object, which is empty if it is gone.
func object(t *testing.T, kind, name, namespace string) (o metav1.PartialObjectMetadata) {
	t.Helper()
	raw, err := server.Kubectl(context.WithoutCancel(t.Context()), "get", kind, name, "-n", namespace, "-o", "json",
		"--ignore-not-found")
	if err != nil {
		t.Error(err)
	}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &o); err != nil {
			t.Error(err)
		}
	}
	return o
}

func uid(t *testing.T, kind, name, namespace string) string {
	t.Helper()
	return string(object(t, kind, name, namespace).UID)
}
