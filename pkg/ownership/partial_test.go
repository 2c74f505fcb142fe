package ownership_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/ownership"
)

// Helm creates roles before bindings (pkg/release/v1/util/kind_sorter.go of Helm
// 4). What an installation that ends in between has left is Cast AI's, too: the
// ClusterRoles of every chart, with Helm's marks, and nothing that binds them.
func TestRolesBeforeTheirBindings(t *testing.T) {
	names, err := filepath.Glob("testdata/charts/*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatalf("no charts: %v", err)
	}
	// What has no marks, or marks that others use, too, needs its bindings.
	needs := map[string]bool{"castai-kentroller": true, "gpu-metrics-exporter": true, "omni-agent": true}
	early := []string{"Namespace", "ServiceAccount", "Secret", "ConfigMap", "CustomResourceDefinition", "ClusterRole"}
	for _, name := range names {
		chart := strings.TrimSuffix(filepath.Base(name), ".yaml")
		t.Run(chart, func(t *testing.T) {
			s := (&scene{}).yaml(t, thing("v1", "Namespace", "", "castai-agent"))
			s.install(t, "charts/"+chart, install{release: chart, namespace: "castai-agent", helm: true})
			s.objects = slices.DeleteFunc(s.objects, func(u *unstructured.Unstructured) bool {
				return !slices.Contains(early,
					u.GetKind())
			})
			inv := s.take(t, ownership.Options{})
			var stay []string
			for _, u := range s.objects {
				if ref := refOf(u); u.GetKind() == "ClusterRole" && !inv.IsOwned(ref) {
					stay = append(stay, ref.String()+": "+explain(t, inv, ref))
				}
			}
			if len(stay) > 0 != needs[chart] {
				t.Errorf("these stay:\n%s", strings.Join(stay, "\n"))
			}
		})
	}
}
