package plugin

import (
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// The cluster stays at the console while anything with an identity of Cast AI's is
// in it, or nobody could look.
func TestTheConsoleKeepsWhatIsNotClean(t *testing.T) {
	for name, after := range map[string]*ownership.Inventory{
		"remains":    {Remains: []cluster.Ref{{Kind: "Namespace", Name: "castai-agent"}}},
		"owned":      {Items: []*ownership.Item{{Object: &cluster.Object{Name: "x"}, Verdict: ownership.Owned}}},
		"unreadable": {Unreadable: []cluster.Unreadable{{What: "pods"}}},
		"unknown":    nil,
	} {
		asked := false
		c := &consoleOptions{last: &engine.Phase{Name: "remove",
			Actions: []engine.Action{{Verb: engine.Call, Operation: "delete"}}}}
		c.onEvent = func(engine.Event) { asked = true }
		r := &engine.Report{}
		if err := c.Finish(t.Context(), r, after); err != nil {
			t.Fatal(err)
		}
		if asked || len(r.Outcomes) != 1 || r.Outcomes[0].Result != engine.ResultSkipped {
			t.Errorf("%s: %+v", name, r.Outcomes)
		}
	}
}
