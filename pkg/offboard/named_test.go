package offboard_test

import (
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// What the user names with --include is the object that was confirmed, and no
// other that gets its name while the run goes on.
func TestAnotherObjectOfANameThatWasIncludedStays(t *testing.T) {
	secret := cluster.Ref{Kind: "Secret", Namespace: "shop", Name: "password"}
	for _, when := range []string{"patch deployments.apps castai-agent/castai-agent", "delete clusterroles"} {
		t.Run(when, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := serve(t, "")
				w.runner.Judge.Include = []cluster.Ref{secret}
				w.when(when, func() {
					w.Drop(secret)
					w.add(t, "{apiVersion: v1, kind: Secret, metadata: {name: password, namespace: shop, labels: {team: acme}}, data: {k: dg==}}")
				})
				if _, err := w.offboard(t); err != nil {
					t.Fatal(err)
				}
				if !w.has(t, secret.String()) {
					t.Error("the other one was deleted")
				}
			})
		})
	}
}
