package e2e

import (
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/test/fixtures"
)

// team is what its user wrote.
const team = `
apiVersion: v1
kind: Namespace
metadata: {name: team, labels: {owner: team}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: team}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      tolerations:
        - {key: scheduling.cast.ai/spot, operator: Exists}
      containers: [{name: web, image: registry.example.com/web}]
`

// What Cast AI wrote into objects of users is taken back only when asked for;
// what users wrote stays.
func TestRevertWorkloads(t *testing.T) {
	if err := cluster.Apply(t.Context(), team); err != nil {
		t.Fatal(err)
	}
	// What Cast AI writes, under the names of its programs.
	for _, args := range [][]string{
		{"label", "namespace/team", "rebalancing.cast.ai/active=true", "--field-manager=kentroller"},
		{"patch", "-n", "team", "deployment/web", "--type=json", "--field-manager=OpenAPI-Generator", "-p",
			`[{"op": "add", "path": "/spec/template/spec/tolerations/-", "value":
				{"key": "scheduling.cast.ai/paused-cluster", "operator": "Exists", "effect": "NoSchedule"}}]`},
	} {
		if _, err := cluster.Kubectl(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		if _, err := cluster.Kubectl(t.Context(), "delete", "namespace", "team"); err != nil {
			t.Error(err)
		}
	}()
	marks := func() string {
		t.Helper()
		labels, err := cluster.Kubectl(t.Context(), "get", "namespace/team", "-o", "jsonpath={.metadata.labels}")
		if err != nil {
			t.Fatal(err)
		}
		tolerations, err := cluster.Kubectl(t.Context(), "get", "-n", "team", "deployment/web", "-o",
			"jsonpath={.spec.template.spec.tolerations[*].key}")
		if err != nil {
			t.Fatal(err)
		}
		return string(labels) + string(tolerations)
	}
	before := marks()
	cluster.Install(t, fixtures.Agent)
	admin.Expect(t, 0, append([]string{"offboard", "--yes"}, quick...)...)
	if got := marks(); got != before {
		t.Errorf("it was not asked for, but %s became %s", before, got)
	}

	cluster.Install(t, fixtures.Agent)
	admin.Expect(t, 0, append([]string{"offboard", "--yes", "--revert-workloads"}, quick...)...)
	got := marks()
	for text, want := range map[string]bool{"rebalancing.cast.ai/active": false, "paused-cluster": false,
		`"owner":"team"`: true, "scheduling.cast.ai/spot": true} {
		if strings.Contains(got, text) != want {
			t.Errorf("%s: want it there: %t, got %s", text, want, got)
		}
	}
}
