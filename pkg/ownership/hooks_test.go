package ownership_test

import (
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/pkg/ownership"
)

// An uninstallation that was interrupted leaves what its hooks made: without Helm's
// marks, in no release's manifest, and under a release name that its names do not
// have, as castware-operator gives it.
func TestHooksOfAnUninstallation(t *testing.T) {
	name := "castai-workload-autoscaler-pre-delete"
	image := "us-docker.pkg.dev/castai-hub/library/workload-autoscaler:v1.9.3"
	job := strings.NewReplacer("kind: Deployment", "kind: Job", "apps/v1", "batch/v1").Replace(
		deployment("castai-agent", name, image))
	of := `metadata:
  labels: {helm.sh/chart: castai-workload-autoscaler-1.9.3, app.kubernetes.io/name: castai-workload-autoscaler,
    app.kubernetes.io/instance: workload-autoscaler, app.kubernetes.io/managed-by: Helm}
  annotations: {helm.sh/hook: pre-delete}
`
	s := small(t)
	for _, o := range []string{
		thing("v1", "ServiceAccount", "castai-agent", name), role(name),
		binding(name, name, "ServiceAccount:castai-agent/"+name), job,
	} {
		s.yaml(t, strings.Replace(o, "metadata:\n", of, 1))
	}
	inv := s.take(t, ownership.Options{})
	for _, o := range inv.Objects() {
		if o.Name == name && !inv.IsOwned(o.Ref()) {
			t.Errorf("%s is %s", o.Ref(), explain(t, inv, o.Ref()))
		}
	}
}
