package footprint_test

import (
	"slices"
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/footprint"
	"github.com/castai/kubectl-castai/pkg/offboard"
)

// What a controller made for its owner, it makes again: it is left to Kubernetes.
// What somebody else made must be in the plan, and so in the backup, though an
// object of Cast AI's owns it: nobody would make it again.
func TestOnlyWhatControllersMakeIsLeftToKubernetes(t *testing.T) {
	const owner = "ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: castai-agent, uid: agent"
	agent := `
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
`
	listed := `
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: castai-agent, namespace: castai-agent, ` + owner + `, controller: true}]}
`
	s := new(scene).yaml(t, agent+"---"+listed+`---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: castai-agent-1, namespace: castai-agent, `+owner+`, controller: true}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: hung-onto-it, namespace: castai-agent, `+owner+`}]}
`)
	s.release(t, "castai-agent", "castai-agent", "castai-agent", listed)
	inv := s.take(t, footprint.Options{})
	var planned []cluster.Ref
	for _, phase := range offboard.New(inv, catalogue(t), offboard.Options{}).Phases {
		for _, a := range phase.Actions {
			if a.Verb == engine.Delete {
				planned = append(planned, a.Target.Ref)
			}
		}
	}
	for ref, want := range map[string]bool{
		"PodDisruptionBudget.policy/castai-agent/castai-agent": true,
		"ConfigMap/castai-agent/hung-onto-it":                  true,
		"ReplicaSet.apps/castai-agent/castai-agent-1":          false,
	} {
		r, err := cluster.ParseRef(ref)
		if err != nil {
			t.Fatal(err)
		}
		if !inv.IsOwned(r) || slices.Contains(planned, r) != want {
			t.Errorf("%s is owned: %t, in the plan: %t, want %t", r, inv.IsOwned(r), slices.Contains(planned, r), want)
		}
	}
}
