package ownership_test

import (
	"slices"
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// Kubernetes collects what only Cast AI's objects own, whoever made it: that
// must be decided about, not just happen.
func TestDependentsOfOthersBlock(t *testing.T) {
	inv := new(scene).yaml(t, anAgent+`---
apiVersion: v1
kind: ConfigMap
metadata:
  name: dashboards
  namespace: castai-agent
  labels: {helm.sh/chart: grafana-8.5.1}
  `+owner+`}]
`).take(t, ownership.Options{})
	mine := cluster.Ref{Kind: "ConfigMap", Namespace: "castai-agent", Name: "dashboards"}
	if inv.IsOwned(mine) {
		t.Fatal("the ConfigMap of somebody else is taken for Cast AI's")
	}
	i := slices.IndexFunc(inv.Blockers, func(b ownership.Blocker) bool { return b.Name == "dependents" })
	if i < 0 || !slices.Contains(inv.Blockers[i].Objects, mine) {
		t.Errorf("blockers: %+v", inv.Blockers)
	}
}

// What kubectl castai hibernate has begun must be ended before anything is removed:
// afterwards nobody knows what to take back.
func TestAPauseBlocks(t *testing.T) {
	for phase, want := range map[string]bool{"": false, "awake": false, "pausing": true, "paused": true,
		"resuming": true} {
		state := clustertest.Object("v1", "ConfigMap", "castai-agent", "castai-hibernate-state")
		if phase != "" {
			state.SetAnnotations(map[string]string{"castai.kubectl.dev/hibernation": phase})
		}
		inv := new(scene).add(state).take(t, ownership.Options{})
		blocks := slices.ContainsFunc(inv.Blockers, func(b ownership.Blocker) bool { return b.Name == "hibernation" })
		if blocks != want {
			t.Errorf("%q blocks: %t", phase, blocks)
		}
	}
}
