package offboard_test

import (
	"slices"
	"strings"
	"testing"
	"time"
)

const service = `
---
apiVersion: v1
kind: Service
metadata:
  name: castai-agent
  namespace: castai-agent
  labels: {helm.sh/chart: castai-agent-0.111.0, app.kubernetes.io/name: castai-agent}
`

const endpoints = `{apiVersion: v1, kind: Endpoints, metadata: {name: castai-agent, namespace: castai-agent, managedFields: [
  {manager: kube-controller-manager, operation: Update, apiVersion: v1, fieldsType: FieldsV1, fieldsV1: {}}]}}`

// kube-controller-manager makes the Endpoints of a Service again until it has seen
// that the Service is gone: they hold no namespace.
func TestEndpointsOfAServiceThatGoes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := serve(t, service)
		w.when("delete services", func() { w.add(t, endpoints) })
		if _, err := w.offboard(t); err != nil {
			t.Fatal(err)
		}
		if w.has(t, "Namespace/castai-agent") || slices.ContainsFunc(w.Writes(),
			func(r string) bool { return strings.HasPrefix(r, "delete endpoints") }) {
			t.Errorf("they held the namespace: %v", w.Writes())
		}
	})
}

// What held a namespace and has gone by the last look holds it no longer.
func TestANamespaceThatIsFreedGoes(t *testing.T) {
	secret := parse(t, "Secret/castai-agent/mine")
	bubble(t, func(t *testing.T) {
		w := serve(t, "")
		w.when("delete configmaps", func() { w.add(t, stranger) })
		w.when("delete serviceaccounts", func() {
			time.AfterFunc(500*time.Millisecond, func() { w.Drop(secret) })
		})
		r, err := w.offboard(t)
		if err != nil || w.has(t, "Namespace/castai-agent") || !r.After.Clean() {
			t.Errorf("it stays: %v, %v", err, w.Writes())
		}
	})
}
