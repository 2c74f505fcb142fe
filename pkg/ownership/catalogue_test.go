package ownership

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// TestCatalogueIsComplete looks up everything that Cast AI is known to publish.
func TestCatalogueIsComplete(t *testing.T) {
	raw, err := os.ReadFile("testdata/published.txt")
	if err != nil {
		t.Fatal(err)
	}
	cat, err := LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	kind := func(s string) cluster.Ref {
		kind, group, _ := strings.Cut(s, ".")
		return cluster.Ref{Group: group, Kind: kind}
	}
	knows := map[string]func(string) bool{
		"chart":         func(s string) bool { return cat.chart(s) != nil },
		"third-party":   func(chart string) bool { return cat.thirdParty(chart) != nil },
		"group":         func(s string) bool { return cat.group(s) != nil },
		"webhook":       func(s string) bool { return cat.webhookName(s) != nil },
		"finalizer":     cat.OwnFinalizer,
		"not-finalizer": func(s string) bool { return !cat.OwnFinalizer(s) },
		"setting":       func(s string) bool { return cat.Setting(kind(s)) },
		"graceful":      func(s string) bool { return cat.Graceful(kind(s)) },
		"recreates":     cat.Recreates,
		"workload": func(s string) bool {
			return slices.ContainsFunc(cat.Components, func(c Component) bool { return slices.Contains(c.Workloads, s) })
		},
		"namespace": func(s string) bool {
			return slices.ContainsFunc(cat.Namespaces, func(h Home) bool { return h.Name == s })
		},
	}
	for line := range strings.Lines(string(raw)) {
		what, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		if what == "" || what == "#" {
			continue
		}
		if knows[what] == nil || !knows[what](name) {
			t.Errorf("the catalogue does not know %s %s", what, name)
		}
	}
}

// TestCatalogueMistakes: an entry that can never match is a typing error.
func TestCatalogueMistakes(t *testing.T) {
	cat, err := LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, c := range cat.Components {
		if names[c.Name] {
			t.Errorf("component %s is there twice", c.Name)
		}
		names[c.Name] = true
		for _, object := range c.Objects {
			if r, err := cluster.ParseRef(object); err != nil || r.Namespace != "" || r.String() != object {
				t.Errorf("%s: %q is not KIND[.GROUP]/NAME", c.Name, object)
			}
		}
		for _, list := range [][]string{c.Settings, c.Graceful} {
			for _, kind := range list {
				_, group, _ := strings.Cut(kind, ".")
				if !slices.Contains(c.Groups, group) {
					t.Errorf("%s: %s is of none of its groups", c.Name, kind)
				}
			}
		}
	}
	for _, bad := range []string{"cast.ai.example.com/x", "broadcast.ai/x", "xcast.ai/x", "cast.aix/x", "liqo.io/x"} {
		if cat.OwnFinalizer(bad) {
			t.Errorf("finalizer %s is not Cast AI's", bad)
		}
	}
	for image, want := range map[string]bool{
		"us-docker.pkg.dev/castai-hub/library/agent:v1":                 true,
		"registry.example.com/mirror/castai-hub/library/agent@sha256:1": false,
		"us-docker.pkg.dev/castai-hub/other/agent:v1":                   false,
		"castai/hibernate": true, "docker.io/castai/hibernate:v1": true, "ghcr.io/castai/x": true,
		"castaint/hibernate": false, "docker.io/library/castai": false, "registry.example.com/castai/agent": false,
		"us-docker.pkg.dev/castai-hubs/agent": false, "": false, "castai": false, "localhost/castai/agent": false,
	} {
		if got := cat.published(image); got != want {
			t.Errorf("image %q is Cast AI's: %t, not %t", image, got, want)
		}
	}
}
