package footprint_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/pkg/footprint"
)

// corpus holds manifests rendered from real charts. It lies beside the
// repository, where it is there at all.
const corpus = "../../../shared/corpus"

var chartComment = regexp.MustCompile(`(?m)^# chart: (\S+) version: (\S+)`)

// install is how a corpus file gets into the snapshot.
type install struct {
	release   string
	namespace string
	helm      bool // with the marks and the record that helm install adds
}

// TestCorpusIsOwned judges real charts, each alone: with and without Helm, under
// their own and under other names, everything in them is Cast AI's.
func TestCorpusIsOwned(t *testing.T) {
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
			if name == "hibernate-deploy" && in.helm || name == "castware-components" && in.namespace != "castai-agent" && !in.helm {
				continue // the first has no chart; the second is nothing without the operator's workload
			}
			t.Run(name+"/"+mode, func(t *testing.T) {
				objects, records := in.objects(t, raw)
				notOwned(t, objects, records)
			})
		}
	}
}

// objects returns what a cluster would hold after the installation.
func (in install) objects(t *testing.T, raw []byte) ([]*unstructured.Unstructured, []cluster.StoredRelease) {
	t.Helper()
	if in.namespace != "castai-agent" {
		raw = regexp.MustCompile(`(namespace|name): castai-agent\n`).ReplaceAllFunc(raw, func(m []byte) []byte {
			if bytes.HasPrefix(m, []byte("namespace")) {
				return []byte("namespace: " + in.namespace + "\n")
			}
			return m
		})
		raw = bytes.ReplaceAll(raw, []byte("system:serviceaccount:castai-agent:"), []byte("system:serviceaccount:"+in.namespace+":"))
		raw = regexp.MustCompile(`app.kubernetes.io/instance: \S+`).ReplaceAll(raw, []byte("app.kubernetes.io/instance: "+in.release))
	}
	parsed, err := clustertest.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	var out []*unstructured.Unstructured
	var manifest strings.Builder
	var hooks []map[string]string
	for _, u := range parsed {
		if u.GetKind() == "Namespace" {
			u.SetName(in.namespace)
		}
		if u.GetNamespace() == "" {
			u.SetNamespace(in.namespace)
		}
		hook := u.GetAnnotations()["helm.sh/hook"]
		doc, err := json.Marshal(u.Object)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case hook == "":
			manifest.WriteString("---\n" + string(doc) + "\n")
		default:
			hooks = append(hooks, map[string]string{"manifest": string(doc)})
		}
		if strings.HasPrefix(hook, "test") || strings.HasPrefix(hook, "pre-delete") || u.GetKind() == "Job" && hook != "" {
			continue // not there after an installation
		}
		if in.helm && hook == "" && u.GetKind() != "CustomResourceDefinition" {
			a := u.GetAnnotations()
			if a == nil {
				a = map[string]string{}
			}
			a["meta.helm.sh/release-name"], a["meta.helm.sh/release-namespace"] = in.release, in.namespace
			u.SetAnnotations(a)
		}
		out = append(out, u)
	}
	if !in.helm {
		return out, nil
	}
	m := chartComment.FindSubmatch(raw)
	if m == nil {
		t.Fatal("the corpus file does not say which chart it is")
	}
	record := clustertest.Object("v1", "Secret", in.namespace, "sh.helm.release.v1."+in.release+".v1")
	record.SetLabels(map[string]string{"owner": "helm", "name": in.release, "version": "1", "status": "deployed"})
	out = append(out, record)
	return out, []cluster.StoredRelease{{
		Ref:  cluster.Ref{Kind: "Secret", Namespace: in.namespace, Name: record.GetName()},
		Data: encodeRelease(t, in.release, in.namespace, string(m[1]), string(m[2]), manifest.String(), hooks),
	}}
}

func encodeRelease(t *testing.T, name, namespace, chart, version, manifest string, hooks []map[string]string) []byte {
	t.Helper()
	doc, err := json.Marshal(map[string]any{
		"name": name, "namespace": namespace, "manifest": manifest, "hooks": hooks,
		"chart": map[string]any{"metadata": map[string]any{"name": chart, "version": version}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(doc); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return []byte(base64.StdEncoding.EncodeToString(buf.Bytes()))
}

// notOwned fails the test for every object that is not Cast AI's by the rules.
func notOwned(t *testing.T, objects []*unstructured.Unstructured, records []cluster.StoredRelease) {
	t.Helper()
	snap, err := clustertest.Snapshot(objects...)
	if err != nil {
		t.Fatal(err)
	}
	cat, err := footprint.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	if got := len(footprint.ReleaseRecords(snap, cat)); got != len(records) {
		t.Errorf("%d releases would be read, not %d", got, len(records))
	}
	inv := footprint.Take(snap, records, cat, footprint.Options{})
	for _, o := range snap.Objects {
		if o.Ref() == (cluster.Ref{Kind: "Namespace", Name: "kube-system"}) {
			continue // Kubernetes' own: only objects in it are Cast AI's
		}
		if !inv.IsOwned(o.Ref()) {
			e, err := inv.Explain(o.Ref())
			if err != nil {
				t.Fatal(err)
			}
			t.Errorf("%s is %s: for %v, hints %v, against %v", o.Ref(), e.Verdict, e.For, e.Hints, e.Against)
		}
	}
}
