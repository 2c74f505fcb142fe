package cluster_test

import (
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// twice serves prices' namespace to which an object with a key twice can't be
// applied, and loses the answer to its first creation. Servers before 1.29 keep
// no managed fields of such an object, so old drops them.
func twice(t *testing.T, old func(*clustertest.Server)) error {
	t.Helper()
	server := clustertest.Serve(t, clustertest.Object("v1", "ConfigMap", "shop", "other"))
	creations := 0
	server.Before(func(r *clustertest.Request) clustertest.Fault {
		switch r.Verb {
		case "patch":
			return clustertest.Fault{Err: apierrors.NewInternalError(errors.New(`duplicate entries for key [name="A"]`))}
		case "create":
			if creations++; creations > 1 {
				old(server)
			}
			return clustertest.Fault{AnswerLost: creations == 1}
		}
		return clustertest.Fault{}
	})
	content := clustertest.Object("v1", "ConfigMap", "shop", "prices").Object
	content["data"] = map[string]any{"tea": "2", "milk": "1"}
	target := server.Target(cluster.Ref{Kind: "ConfigMap", Namespace: "shop", Name: "other"})
	target.Ref, target.UID, target.ResourceVersion = prices, "", ""
	return server.Client().Apply(t.Context(), target, content, cluster.ApplyOptions{})
}

func TestACreationWhoseAnswerWasLostIsKnownByWhatIsThere(t *testing.T) {
	if err := twice(t, func(s *clustertest.Server) {
		u := s.Get(prices)
		u.SetManagedFields(nil)
		s.Put(u)
	}); err != nil {
		t.Error(err)
	}
}

func TestAnotherObjectThatIsThereIsNotTakenForTheCreation(t *testing.T) {
	err := twice(t, func(s *clustertest.Server) {
		s.Drop(prices)
		s.Put(clustertest.Object("v1", "ConfigMap", "shop", "prices"))
	})
	if !apierrors.IsBadRequest(err) {
		t.Errorf("it says %v", err)
	}
}
