package printer

import (
	"cmp"
	"fmt"
	"time"

	"github.com/castai/kubectl-castai/internal/console"
)

// Console shows what Cast AI's console knows of the cluster.
func (t *Text) Console(v *console.View) {
	t.line("\nAt Cast AI's console:")
	rows := [][]string{{"  cluster", fmt.Sprintf("%s (%s) at %s", cmp.Or(v.Name, "?"), cmp.Or(v.ID, "id unknown"),
		cmp.Or(v.API, "the API"))}}
	if v.Problem != "" {
		t.facts(append(rows, []string{"  unknown", v.Problem}))
		return
	}
	status := cmp.Or(v.Status, "unknown")
	if v.ReadOnly {
		status += ", read-only"
	}
	rows = append(rows, []string{"  status", fmt.Sprintf("%s, agent %s", status, cmp.Or(v.AgentStatus, "unknown"))})
	if v.LastSnapshot != nil {
		rows = append(rows, []string{"  snapshot", fmt.Sprintf("%s ago", time.Since(*v.LastSnapshot).Round(time.Second))})
	}
	if v.ManagedBy != "" {
		rows = append(rows, []string{"  managed by", v.ManagedBy})
	}
	if v.Policies != nil {
		rows = append(rows, []string{"  policies", map[bool]string{true: "on", false: "off"}[*v.Policies]})
	}
	t.facts(append(rows, []string{"  nodes", fmt.Sprintf("%d, %d of them made by Cast AI", v.Nodes, v.MadeNodes)}))
}
