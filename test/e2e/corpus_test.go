package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/test/compare"
	"github.com/castai/kubectl-castai/test/fixtures"
)

// corpus holds manifests rendered from real charts; it lies beside some
// checkouts. A clone without it has the project's own charts.
const corpus = "../../../shared/corpus"

var chartComment = regexp.MustCompile(`(?m)^# chart: (\S+) version: (\S+)`)

// Real charts, all of them together, with the marks and records of Helm and
// without: everything goes, and nothing else is touched.
func TestOffboardRealCharts(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(corpus, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, helm := range []bool{true, false} {
		before := cluster.Snapshot(t)
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			options := fixtures.ManifestOptions{Namespace: "castai-agent"}
			if m := chartComment.FindSubmatch(raw); m != nil && helm {
				name := strings.TrimSuffix(filepath.Base(file), ".yaml")
				options.Release = &fixtures.Release{Name: name, Namespace: "castai-agent", Chart: string(m[1]),
					Version: string(m[2])}
			}
			if err := fixtures.InstallManifests(t.Context(), cluster.Config, raw, options); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		}
		installed := cluster.Settled(t)
		admin.Expect(t, 0, append([]string{"offboard", "--yes"}, quick...)...)
		admin.Expect(t, 0, "verify")
		after := cluster.Settled(t)
		changes := compare.Changes(before, after)
		t.Logf("Helm %t: %d objects before, %d with %d charts, %d after", helm, len(before), len(installed), len(files),
			len(after))
		for _, c := range changes {
			if !strings.Contains(c, "securitycontextconstraints.security.openshift.io") {
				t.Errorf("Helm %t: %s", helm, c)
			}
		}
	}
}
