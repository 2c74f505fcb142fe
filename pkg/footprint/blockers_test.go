package footprint_test

import (
	"slices"
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/pkg/footprint"
)

// Kubernetes collects what only Cast AI's objects own, whoever made it: that
// must be decided about, not just happen.
func TestDependentsOfOthersBlock(t *testing.T) {
	objects, err := clustertest.Parse([]byte(`
apiVersion: v1
kind: ServiceAccount
metadata: {name: castai-agent, namespace: castai-agent, labels: {app.kubernetes.io/name: castai-agent}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: castai-agent, namespace: castai-agent, uid: agent, labels: {app.kubernetes.io/name: castai-agent}}
spec:
  template:
    spec:
      serviceAccountName: castai-agent
      containers: [{name: agent, image: "us-docker.pkg.dev/castai-hub/library/agent:v1"}]
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: dashboards
  namespace: castai-agent
  labels: {helm.sh/chart: grafana-8.5.1}
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: castai-agent, uid: agent}]
`))
	if err != nil {
		t.Fatal(err)
	}
	snap, err := clustertest.Snapshot(objects...)
	if err != nil {
		t.Fatal(err)
	}
	cat, err := footprint.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	inv := footprint.Take(snap, nil, cat, footprint.Options{})
	mine := cluster.Ref{Kind: "ConfigMap", Namespace: "castai-agent", Name: "dashboards"}
	if inv.IsOwned(mine) {
		t.Fatal("the ConfigMap of somebody else is taken for Cast AI's")
	}
	i := slices.IndexFunc(inv.Blockers, func(b footprint.Blocker) bool { return b.Name == "dependents" })
	if i < 0 || !slices.Contains(inv.Blockers[i].Objects, mine) {
		t.Errorf("blockers: %+v", inv.Blockers)
	}
}
