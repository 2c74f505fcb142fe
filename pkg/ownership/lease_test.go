package ownership_test

import (
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// A leader that ends in good order empties its Lease: that is Cast AI's where
// nobody else lives. One that somebody holds is his.
func TestReleasedLeases(t *testing.T) {
	lease := func(holder string) string {
		return "---\napiVersion: coordination.k8s.io/v1\nkind: Lease\n" +
			"metadata: {name: election, namespace: castai-agent}\nspec: {holderIdentity: \"" + holder + "\"}\n"
	}
	stranger := `---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: castai-agent}
spec: {template: {spec: {containers: [{name: web, image: "registry.example.com/web:1"}]}}}
`
	for name, test := range map[string]struct {
		yaml  string
		owned bool
	}{
		"released":                {lease(""), true},
		"held by somebody":        {lease("web-7d4b9c6f5-x2x4z"), false},
		"released, beside others": {lease("") + stranger, false},
	} {
		t.Run(name, func(t *testing.T) {
			inv := new(scene).yaml(t, anAgent+test.yaml).take(t, ownership.Options{})
			ref := cluster.Ref{Group: "coordination.k8s.io", Kind: "Lease", Namespace: "castai-agent", Name: "election"}
			if inv.IsOwned(ref) != test.owned {
				t.Errorf("owned: %t", !test.owned)
			}
		})
	}
}
