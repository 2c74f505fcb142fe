package finalize_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/pkg/finalize"
)

// class puts a namespace with n ConfigMaps that wait for one finalizer into a server, c000 the first by name.
func class(t *testing.T, n int) *clustertest.Server {
	t.Helper()
	server := clustertest.Serve(t, deleted(clustertest.Object("v1", "Namespace", "", "shop")))
	for i := range n {
		server.Put(deleted(clustertest.Object("v1", "ConfigMap", "shop", fmt.Sprintf("c%03d", i)), "example.com/hold"))
	}
	return server
}

// wrote says that a field manager wrote an object now, and puts it into the server.
func wrote(server *clustertest.Server, u *unstructured.Unstructured, manager string) {
	at := metav1.NewTime(time.Now().Add(-time.Second))
	u.SetManagedFields(append(u.GetManagedFields(), metav1.ManagedFieldsEntry{
		Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, FieldsType: "FieldsV1", Time: &at,
		FieldsV1: metav1.NewFieldsV1("{}"), Subresource: "status",
	}))
	server.Put(u)
}

// TestSignOfLifeOnAnyObject holds that a write after the deletion is seen on whatever object of many it is.
func TestSignOfLifeOnAnyObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := class(t, 300)
		wrote(server, deleted(clustertest.Object("v1", "ConfigMap", "shop", "c217"), "example.com/hold"), "acme-ext")
		r := &finalize.Runner{Cluster: server.Client(), Namespaces: []string{"shop"}}
		c := judged(t, r)[0].Causes[0].Controller
		if c.Alive != finalize.AliveUnsure || !strings.HasPrefix(c.Evidence, "acme-ext wrote c217 at ") ||
			!strings.Contains(c.Evidence, ", after its deletion, and is not found in this cluster") {
			t.Errorf("%+v", c)
		}
	})
}

// refuse makes a server refuse the removal of finalizers from some objects, and counts what it is asked.
func refuse(server *clustertest.Server, err error, names ...string) (asked *atomic.Int32) {
	asked = &atomic.Int32{}
	server.Before(func(r *clustertest.Request) clustertest.Fault {
		if r.Verb != "patch" || r.Resource == "namespaces" {
			return clustertest.Fault{}
		}
		asked.Add(1)
		for _, name := range names {
			if r.Name == name || name == "*" {
				return clustertest.Fault{Err: err}
			}
		}
		return clustertest.Fault{}
	})
	return asked
}

func forbidden(message string) error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "c", fmt.Errorf("%s", message))
}

// TestRefusalsOfOtherObjects holds that a refusal is foreseen on whatever object of a few it is, of many on
// the oldest, and that only those which it concerns are named.
func TestRefusalsOfOtherObjects(t *testing.T) {
	for name, tc := range map[string]struct {
		objects int
		refused []string
		says    string
	}{
		"one of three":      {3, []string{"c001"}, "the removal of the finalizer example.com/hold from ConfigMap c001:"},
		"an old one of 300": {300, []string{"c150"}, "from ConfigMap c150:"},
		"all of 300":        {300, []string{"*"}, "from 300 configmaps:"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := class(t, tc.objects)
				if tc.refused[0] != "*" {
					u := deleted(clustertest.Object("v1", "ConfigMap", "shop", tc.refused[0]), "example.com/hold")
					u.SetCreationTimestamp(metav1.NewTime(time.Now().Add(-24 * time.Hour)))
					server.Put(u)
				}
				asked := refuse(server, forbidden("no"), tc.refused...)
				r := &finalize.Runner{Cluster: server.Client(), Namespaces: []string{"shop"}}
				d := judged(t, r)[0]
				i := len(d.Causes) - 1
				if c := d.Causes[i]; c.Type != finalize.RefusedUpdate || !strings.Contains(c.Summary, tc.says) {
					t.Errorf("%s: %s", c.Type, c.Summary)
				}
				if n := asked.Load(); n > 40 {
					t.Errorf("%d objects were tried", n)
				}
			})
		})
	}
}

// TestWebhookIsTriedOnce holds that a webhook that refuses one object, perhaps after a long time, is not
// asked about the others of its class.
func TestWebhookIsTriedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := class(t, 30)
		asked := refuse(server, forbidden(`admission webhook "w.example.com" denied the request: no`), "*")
		r := &finalize.Runner{Cluster: server.Client(), Namespaces: []string{"shop"}}
		d := judged(t, r)[0]
		if c := d.Causes[len(d.Causes)-1]; asked.Load() != 1 || !strings.Contains(c.Summary, "from 30 configmaps:") {
			t.Errorf("asked %d times: %s", asked.Load(), c.Summary)
		}
	})
}
