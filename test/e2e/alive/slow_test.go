package alive

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/test/living"
)

// sized are workloads of a user's that the workload autoscaler writes to.
const sized = `
apiVersion: v1
kind: Namespace
metadata: {name: sized}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: sized, annotations: {workload-autoscaler.cast.ai/enabled: "true"}}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: registry.example.com/web}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: worker, namespace: sized, annotations: {workload-autoscaler.cast.ai/enabled: "true"}}
spec:
  selector: {matchLabels: {app: worker}}
  template:
    metadata: {labels: {app: worker}}
    spec: {containers: [{name: web, image: registry.example.com/worker}]}
`

// The workload autoscaler takes its time to clean up, in a hook of its uninstallation that the operator waits for. As
// long as there is time for that, nothing is forced; when it is over, the rest is removed without it. Either way the
// users' workloads stay as they are.
func TestSlowCleanUp(t *testing.T) {
	for _, test := range []struct {
		name    string
		seconds int // for each of two Recommendations
		forced  bool
	}{
		{"in time", 15, false},
		{"too slow", 120, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := cluster.Settled(t)
			reset(t, before)
			if err := cluster.Apply(t.Context(), sized); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if _, err := cluster.Kubectl(context.Background(), "delete", "namespace", "sized"); err != nil {
					t.Error(err)
				}
			})
			err := cluster.Install(t.Context(), living.More{Component: "workload-autoscaler", Version: "1.9.3",
				Values: map[string]any{"cleanUpSeconds": test.seconds}})
			if err != nil {
				t.Fatal(err)
			}
			recommended(t)
			workloads := generations(t)
			result := cluster.Admin.Expect(t, 0, "offboard", "--yes", "--no-backup", "-o", "json")
			var report printer.Report
			result.Document(t, &report)
			if got := forced(&report, "Recommendation"); got != test.forced {
				t.Errorf("finalizers of Recommendations were taken off by force: %t\n%s", got, result.Stderr)
			}
			if now := generations(t); now != workloads {
				t.Errorf("the users' workloads were %s and are %s", workloads, now)
			}
		})
	}
}

// recommended waits until the autoscaler has written to both workloads.
func recommended(t *testing.T) {
	t.Helper()
	var last string
	err := wait.PollUntilContextTimeout(t.Context(), time.Second, time.Minute, true,
		func(ctx context.Context) (bool, error) {
			out, err := cluster.Kubectl(ctx, "get", "deployments", "--namespace=sized",
				`--output=jsonpath={.items[*].spec.template.metadata.annotations.autoscaling\.cast\.ai/vertical-recommendation-hash}`)
			last = string(out)
			return err == nil && len(strings.Fields(last)) == 2, nil
		})
	if err != nil {
		t.Fatalf("the autoscaler did not write to the workloads: %v: %q", err, last)
	}
}

// generations tells in which state the users' workloads are.
func generations(t *testing.T) string {
	t.Helper()
	out, err := cluster.Kubectl(t.Context(), "get", "deployments", "--namespace=sized",
		"--output=jsonpath={range .items[*]}{.metadata.name}: {.metadata.uid} {.metadata.generation}, {end}")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// forced tells whether the plugin took finalizers off objects of a kind.
func forced(r *printer.Report, kind string) bool {
	return slices.ContainsFunc(r.Outcomes, func(o engine.Outcome) bool {
		return o.Object.Kind == kind && len(o.Finalizers) > 0
	})
}
