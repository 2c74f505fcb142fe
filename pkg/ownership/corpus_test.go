package ownership_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// corpus holds manifests rendered from real charts. It lies beside the
// repository, where it is there at all.
const corpus = "../../../shared/corpus"

// judgeCorpus judges real charts, each alone: with and without Helm, under their own
// and under other names, everything in them is Cast AI's. It returns how many there
// were: none, where the corpus is not there.
func judgeCorpus(t *testing.T) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(corpus, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		for mode, in := range map[string]install{
			"helm":            {name, "castai-agent", true},
			"apply":           {name, "castai-agent", false},
			"helm elsewhere":  {"costs", "platform", true},
			"apply elsewhere": {"costs", "platform", false},
		} {
			if name == "hibernate-deploy" && in.helm {
				continue // it has no chart
			}
			t.Run(name+"/"+mode, func(t *testing.T) {
				s, manifest, trust := &scene{}, string(raw), []string(nil)
				if name == "castware-components" {
					// Its custom resources are nothing without the operator's definitions.
					s.manifest(t, install{"castware-operator", "castai-agent", true},
						read(t, filepath.Join(corpus, "castware-operator.yaml")))
				}
				if in.namespace != "castai-agent" {
					manifest = in.elsewhere(manifest)
					if ledNowhere[name] {
						trust = []string{in.namespace}
					}
				}
				notOwned(t, s.manifest(t, in, manifest), trust...)
			})
		}
	}
	return len(files)
}

// ledNowhere are the charts of which nothing cluster-wide that only Cast AI has
// leads to the namespace that a user chose: they take the administrator's word.
var ledNowhere = map[string]bool{"castai-hibernate": true, "hibernate-deploy": true, "castware-components": true}

// elsewhere moves a rendered chart into another namespace and release.
func (in install) elsewhere(raw string) string {
	raw = strings.ReplaceAll(raw, "namespace: castai-agent\n", "namespace: "+in.namespace+"\n")
	raw = strings.ReplaceAll(raw, "system:serviceaccount:castai-agent:", "system:serviceaccount:"+in.namespace+":")
	raw = regexp.MustCompile(`(?m)^(kind: Namespace\nmetadata:\n  name:) castai-agent$`).ReplaceAllString(raw,
		"$1 "+in.namespace)
	return regexp.MustCompile(`app.kubernetes.io/instance: \S+`).ReplaceAllString(raw, "app.kubernetes.io/instance: "+
		in.release)
}

// notOwned fails the test for every object that is not Cast AI's by the rules.
func notOwned(t *testing.T, s *scene, trust ...string) {
	t.Helper()
	snap := s.snapshot(t)
	if got := len(ownership.ReleaseRecords(snap, catalogue(t), trust)); got != len(s.records) {
		t.Errorf("%d releases would be read, not %d", got, len(s.records))
	}
	inv := s.take(t, ownership.Options{Trust: trust})
	for _, o := range snap.Objects {
		if o.Ref() == (cluster.Ref{Kind: "Namespace", Name: "kube-system"}) {
			continue // Kubernetes' own: only objects in it are Cast AI's
		}
		if !inv.IsOwned(o.Ref()) {
			t.Errorf("%s is %s", o.Ref(), explain(t, inv, o.Ref()))
		}
	}
}

// TestChartsAreOwned judges the charts of testdata and of the corpus.
func TestChartsAreOwned(t *testing.T) {
	t.Logf("%d charts of testdata, %d of the corpus beside the repository", len(everyChart()), judgeCorpus(t))
	for chart, documented := range everyChart() {
		for mode, in := range map[string]install{
			"helm":            documented,
			"apply":           {documented.release, documented.namespace, false},
			"helm elsewhere":  {"costs", "platform", true},
			"apply elsewhere": {"costs", "platform", false},
		} {
			t.Run(chart+"/"+mode, func(t *testing.T) {
				s := (&scene{}).install(t, "charts/"+chart, in)
				if chart == "castware-components" && in.namespace != "castai-agent" {
					// Nothing cluster-wide leads there: it takes the administrator's word.
					notOwned(t, s, in.namespace)
					return
				}
				notOwned(t, s)
			})
		}
	}
}
