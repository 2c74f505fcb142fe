package cluster_test

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// create creates prices in a server that loses the answer to the first creation,
// and lets somebody act before the second.
func create(t *testing.T, meanwhile func(*clustertest.Server)) error {
	t.Helper()
	server := clustertest.Serve(t, clustertest.Object("v1", "ConfigMap", "shop", "other"))
	creations := 0
	server.Before(func(r *clustertest.Request) clustertest.Fault {
		if r.Verb != "create" {
			return clustertest.Fault{}
		}
		if creations++; creations > 1 {
			meanwhile(server)
		}
		return clustertest.Fault{AnswerLost: creations == 1}
	})
	content := clustertest.Object("v1", "ConfigMap", "shop", "prices").Object
	content["data"] = map[string]any{"tea": "2", "milk": "1"}
	target := server.Target(cluster.Ref{Kind: "ConfigMap", Namespace: "shop", Name: "other"})
	target.Ref, target.UID, target.ResourceVersion = prices, "", ""
	return server.Client().Create(t.Context(), target, content, false)
}

// Servers before 1.29 keep no managed fields of an object that has a key of a
// list twice.
func TestACreationWhoseAnswerWasLostIsKnownByWhatIsThere(t *testing.T) {
	if err := create(t, func(s *clustertest.Server) {
		u := s.Get(prices)
		u.SetManagedFields(nil)
		s.Put(u)
	}); err != nil {
		t.Error(err)
	}
}

func TestAnotherObjectThatIsThereIsNotTakenForTheCreation(t *testing.T) {
	err := create(t, func(s *clustertest.Server) {
		s.Drop(prices)
		s.Put(clustertest.Object("v1", "ConfigMap", "shop", "prices"))
	})
	if !apierrors.IsAlreadyExists(err) {
		t.Errorf("it says %v", err)
	}
}

func TestWhatSomebodyMadeIsNotCreated(t *testing.T) {
	server := clustertest.Serve(t, clustertest.Object("v1", "ConfigMap", "shop", "prices"))
	content := clustertest.Object("v1", "ConfigMap", "shop", "prices").Object
	content["data"] = map[string]any{"tea": "2"}
	before := server.Get(prices)
	if err := server.Client().Create(t.Context(), server.Target(prices), content, false); !apierrors.IsAlreadyExists(err) {
		t.Errorf("it says %v", err)
	}
	if now := server.Get(prices); now.GetResourceVersion() != before.GetResourceVersion() {
		t.Error("it was written")
	}
}
