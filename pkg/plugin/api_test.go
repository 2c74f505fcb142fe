package plugin

import (
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// The cluster at Cast AI is the one that this cluster says it is.
func TestClusterAtCastAI(t *testing.T) {
	const a, b = "2f1e4c1a-6b0d-4d55-9a6e-3f0c6d5b7a10", "7d0c6f3e-5a3b-4c55-8d6e-1f0c6d5b7a99"
	says := func(ids ...string) ownership.Identity {
		var id ownership.Identity
		for _, s := range ids {
			id.Sources = append(id.Sources, ownership.IdentitySource{Object: cluster.Ref{Kind: "ConfigMap",
				Namespace: "castai-agent", Name: "m"}, ClusterID: s})
			id.Conflict = id.Conflict || s != ids[0]
		}
		if len(ids) > 0 && !id.Conflict {
			id.ClusterID = ids[0]
		}
		return id
	}
	for _, test := range []struct {
		name, flag string
		id         ownership.Identity
		want, text string
	}{
		{"one says it", "", says(a), a, ""},
		{"all agree", "", says(a, a), a, ""},
		{"they disagree", "", says(a, b), "", "names several ids"},
		{"the user decides", b, says(a, b), b, ""},
		{"the user names one that none of them says", b, says(a), "", "is another cluster than this one"},
		{"the user repeats it in capitals", strings.ToUpper(a), says(a), a, ""},
		{"nothing says it", "", says(), "", "--cluster-id"},
		{"only the user says it", b, says(), b, ""},
		{"it is no id", "", says("../../v1/me"), "", "is not an id"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := (&apiFlags{clusterID: test.flag}).cluster(test.id)
			if got != test.want || (err == nil) != (test.text == "") || err != nil && !strings.Contains(err.Error(), test.text) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}
