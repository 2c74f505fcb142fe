package cluster_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// A snapshot names what it could not read, and why.
func TestASnapshotSaysWhatIsUnreadable(t *testing.T) {
	api := clustertest.Object("apiregistration.k8s.io/v1", "APIService", "", "v1.dead.example.com")
	api.Object["spec"] = map[string]any{
		"group": "dead.example.com", "version": "v1", "service": map[string]any{"name": "gone", "namespace": "shop"},
	}
	server := clustertest.Serve(t, api)
	server.Forbid = func(r *clustertest.Request) bool { return r.Resource == "secrets" }
	snap, err := server.Client().Snapshot(t.Context(), cluster.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, u := range snap.Unreadable {
		got[u.What] = u.Forbidden
	}
	if forbidden, ok := got["secrets"]; len(got) != 2 || !ok || !forbidden || got["dead.example.com/v1"] {
		t.Errorf("unreadable are %+v", snap.Unreadable)
	}
}

func TestGetOfAnObjectThatTookThePlaceIsNotFound(t *testing.T) {
	_, client, target := replaced(t)
	if o, err := client.Get(t.Context(), target); !apierrors.IsNotFound(err) {
		t.Errorf("%v, %v", o, err)
	}
	target.UID = ""
	if _, err := client.Get(t.Context(), target); err != nil {
		t.Errorf("whatever is there: %v", err)
	}
}

// The answer is what the server says of each right, in the order of the question.
func TestMissingRights(t *testing.T) {
	server := clustertest.Serve(t)
	server.Forbid = func(r *clustertest.Request) bool { return r.Verb == "delete" && r.Resource == "pods" }
	pods := cluster.Right{Resource: "pods", Verb: "delete", Namespace: "shop"}
	missing, err := server.Client().Missing(t.Context(), []cluster.Right{{Resource: "pods", Verb: "list"}, pods})
	if err != nil || len(missing) != 1 || missing[0] != pods {
		t.Errorf("%v, %v", missing, err)
	}
}

// An aggregated API that never answers is given up on; what the server itself serves,
// custom resources included, may take as long as a request may.
func TestASnapshotIsPatientWithTheServerItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := clustertest.Object("apiregistration.k8s.io/v1", "APIService", "", "v1.other.example.com")
		api.Object["spec"] = map[string]any{
			"group": "other.example.com", "version": "v1", "service": map[string]any{"name": "other", "namespace": "shop"},
		}
		api.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Available", "status": "True"}}}
		server := clustertest.Serve(t, definition("example.com", "widgets", "Widget"),
			definition("other.example.com", "things", "Thing"), api)
		server.Before(func(r *clustertest.Request) clustertest.Fault {
			switch {
			case r.Verb == "list" && r.Resource == "widgets":
				time.Sleep(25 * time.Second)
			case r.Verb == "list" && r.Resource == "things":
				return clustertest.Fault{Hang: true}
			}
			return clustertest.Fault{}
		})
		client := server.Client()
		start := time.Now()
		snap, err := client.Snapshot(t.Context(), cluster.Scope{})
		if err != nil {
			t.Fatal(err)
		}
		if len(snap.Unreadable) != 1 || snap.Unreadable[0].What != "things.other.example.com" ||
			snap.Unreadable[0].Message != "no answer within 15s" {
			t.Errorf("unreadable are %+v", snap.Unreadable)
		}
		if took := time.Since(start); took != 25*time.Second {
			t.Errorf("it took %s", took)
		}
		start = time.Now()
		only := cluster.Scope{Kinds: []string{"things.other.example.com"}}
		if snap, err = client.Snapshot(t.Context(), only); err != nil || len(snap.Unreadable) != 1 {
			t.Errorf("%v: unreadable are %+v", err, snap.Unreadable)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("what was silent before got %s", took)
		}
	})
}

// An aggregated API of many kinds that never answers is waited for once, and not for each of them.
func TestASilentAPICostsOneWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := clustertest.Object("apiregistration.k8s.io/v1", "APIService", "", "v1.other.example.com")
		api.Object["spec"] = map[string]any{
			"group": "other.example.com", "version": "v1", "service": map[string]any{"name": "other", "namespace": "shop"},
		}
		api.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Available", "status": "True"}}}
		server := clustertest.Serve(t, api)
		const kinds = 64
		for i := range kinds {
			server.Put(definition("other.example.com", fmt.Sprintf("things%d", i), fmt.Sprintf("Thing%d", i)))
		}
		server.Before(func(r *clustertest.Request) clustertest.Fault {
			return clustertest.Fault{Hang: r.Verb == "list" && r.Group == "other.example.com"}
		})
		start := time.Now()
		snap, err := server.Client().Snapshot(t.Context(), cluster.Scope{})
		if err != nil || len(snap.Unreadable) != kinds {
			t.Fatalf("%v: %d are unreadable", err, len(snap.Unreadable))
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}
