package cluster_test

import (
	"testing"

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
