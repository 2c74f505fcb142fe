package offboard

import (
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// A node is not deleted under the title of roles alone, nor a Lease under that of
// custom resources.
func TestTitlesNameNodesAndTheirLeases(t *testing.T) {
	phase := func(name, kind, namespace string) engine.Phase {
		return engine.Phase{Name: name, Actions: []engine.Action{
			{Target: cluster.Target{Ref: cluster.Ref{Kind: "ClusterRole"}}}, {Target: cluster.Target{Ref: cluster.Ref{Kind: kind,
				Namespace: namespace}}},
		}}
	}
	for _, test := range []struct {
		phase engine.Phase
		want  string
	}{
		{phase(PhaseRoles, "Role", "shop"), ""},
		{phase(PhaseRoles, "Node", ""), " and virtual nodes"},
		{phase(PhaseResources, "Recommendation", "shop"), ""},
		{phase(PhaseResources, "Lease", "kube-node-lease"), " and the Leases of virtual nodes"},
	} {
		if got := also(test.phase); got != test.want {
			t.Errorf("%s with %s: %q, not %q", test.phase.Name, test.phase.Actions[1].Target.Ref, got, test.want)
		}
	}
}
