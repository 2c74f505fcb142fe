package e2e

import (
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/test/fixtures"
)

const metricsAPI = "apiservice/v1beta1.metrics.k8s.io"

// Somebody else's API that does not answer keeps every namespace of the cluster
// in Terminating. It is not ours to remove: the run ends all the same, with the
// truth, and goes on once the API is gone.
func TestOffboardBesideADeadAPIOfOthers(t *testing.T) {
	cluster.Install(t, fixtures.Agent, fixtures.MetricsServer)
	defer func() { // not in Cleanup, before which the test's context ends
		if _, err := cluster.Kubectl(t.Context(), "delete", "--ignore-not-found", metricsAPI); err != nil {
			t.Error(err)
		}
		admin.Expect(t, 0, append([]string{"offboard", "--yes"}, quick...)...)
	}()
	var report printer.Report
	admin.Expect(t, 4, append([]string{"offboard", "--yes", "-o", "json"}, quick...)...).Document(t, &report)
	if len(report.Left) != 1 || report.Left[0].Kind != "Namespace" || report.Left[0].Name != "castai-agent" {
		t.Errorf("left: %+v", report.Left)
	}
	if len(report.Namespaces) != 1 || !strings.Contains(report.Namespaces[0].Summary, "metrics.k8s.io") {
		t.Errorf("the reason is not told: %+v", report.Namespaces)
	}
	if _, err := cluster.Kubectl(t.Context(), "get", metricsAPI); err != nil {
		t.Errorf("the API of others is gone: %v", err)
	}
}
