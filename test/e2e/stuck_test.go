package e2e

import (
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/test/fixtures"
)

const metricsAPI = "apiservice/v1beta1.metrics.k8s.io"

// Somebody else's API that does not answer hides what is in a namespace, and would
// keep it in Terminating. It is not ours to remove: the namespace is not asked to
// go, the plan and the report say why, and the next run ends it once the API is
// gone.
func TestOffboardBesideADeadAPIOfOthers(t *testing.T) {
	cluster.Install(t, fixtures.Agent, fixtures.MetricsServer)
	defer func() { // not in Cleanup, before which the test's context ends
		if _, err := cluster.Kubectl(t.Context(), "delete", "--ignore-not-found", metricsAPI); err != nil {
			t.Error(err)
		}
		admin.Expect(t, 0, append([]string{"offboard", "--yes"}, quick...)...)
	}()
	var plan printer.Plan
	admin.Expect(t, 0, "offboard", "--dry-run=client", "-o", "json").Document(t, &plan)
	var report printer.Report
	admin.Expect(t, 4, append([]string{"offboard", "--yes", "-o", "json"}, quick...)...).Document(t, &report)
	if len(report.Left) != 1 || report.Left[0].Kind != "Namespace" || report.Left[0].Name != "castai-agent" {
		t.Errorf("left: %+v", report.Left)
	}
	if len(plan.Notes) != 1 || !strings.Contains(plan.Notes[0], "metrics.k8s.io") {
		t.Errorf("the plan does not say what stays, and why: %q", plan.Notes)
	}
	// A namespace that would get stuck is not asked to go.
	if len(report.Left) == 1 && report.Left[0].Terminating {
		t.Errorf("it is being deleted: %+v", report.Left)
	}
	if _, err := cluster.Kubectl(t.Context(), "get", metricsAPI); err != nil {
		t.Errorf("the API of others is gone: %v", err)
	}
}
