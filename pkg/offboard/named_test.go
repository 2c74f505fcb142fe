package offboard_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

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
					w.add(t,
						"{apiVersion: v1, kind: Secret, metadata: {name: password, namespace: shop, labels: {team: acme}}, data: {k: dg==}}")
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

// What changes hands before its turn to be stopped comes goes on running.
func TestWhatChangedHandsIsNotStopped(t *testing.T) {
	agent := cluster.Ref{Group: "apps", Kind: "Deployment", Namespace: "castai-agent", Name: "castai-agent"}
	bubble(t, func(t *testing.T) {
		w := serve(t, "")
		w.when("get deployments.apps castai-agent/castai-agent", func() {
			u := w.Get(agent)
			u.SetLabels(map[string]string{"helm.sh/chart": "acme-1.0.0", "app.kubernetes.io/name": "acme"})
			u.SetAnnotations(map[string]string{"meta.helm.sh/release-name": "acme", "meta.helm.sh/release-namespace": "acme"})
			containers := []any{map[string]any{"name": "main", "image": "acme/web:1"}}
			if err := unstructured.SetNestedSlice(u.Object, containers, "spec", "template", "spec", "containers"); err != nil {
				t.Error(err)
			}
			u.SetResourceVersion("")
			w.Put(u)
		})
		if _, err := w.offboard(t); err != nil {
			t.Fatal(err)
		}
		u := w.Get(agent)
		if u == nil {
			t.Fatal("it is gone")
		}
		if n, _, err := unstructured.NestedInt64(u.Object, "spec", "replicas"); err != nil || n != 2 {
			t.Errorf("it has %d replicas, %v: %v", n, err, w.Writes())
		}
	})
}
