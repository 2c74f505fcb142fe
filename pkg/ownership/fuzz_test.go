package ownership

import (
	"encoding/base64"
	"encoding/json"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/ownership/installations"
)

// Pack is what Helm does with the document of a release before it stores it.
func Pack(t testing.TB, doc []byte) []byte {
	t.Helper()
	packed, err := installations.Pack(doc)
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

func stored(data []byte) cluster.StoredRelease {
	return cluster.StoredRelease{Ref: cluster.Ref{Kind: "Secret", Namespace: "ns", Name: "sh.helm.release.v1.r.v1"},
		Data: data}
}

func FuzzDecodeRelease(f *testing.F) {
	valid := `{"name":"r","namespace":"ns","manifest":"---\n# Source: a/charts/b/templates/x.yaml\nkind: ConfigMap\napiVersion: v1\nmetadata: {name: x}\n","chart":{"metadata":{"name":"castai-agent","dependencies":[{"name":"castai-evictor","alias":"e"}]}},"hooks":[{"path":"a/templates/y.yaml","manifest":"kind: Job\napiVersion: batch/v1\nmetadata: {name: y}"}]}`
	for _, doc := range []string{valid, strings.Replace(valid, `"ns"`, `"kube-system"`, 1), `[]`, `{}`, `{"name":1}`,
		`{"chart":null,"hooks":[null]}`, valid[:60], `{"name":"r","chart":{"metadata":{"name":"c"}},"hooks":{}}`} {
		f.Add(Pack(f, []byte(doc)))
		f.Add([]byte(base64.StdEncoding.EncodeToString([]byte(doc))))
	}
	f.Add([]byte("not base64"))
	f.Add([]byte(""))
	f.Add(Pack(f, []byte(valid))[:40])
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRelease(stored(data), newBudget())
		if (r == nil) == (err == nil) {
			t.Fatal("neither a release nor an error")
		}
		if r == nil {
			return
		}
		if r.Namespace != "ns" || r.Name == "" || r.Chart == "" || r.Name != "r" {
			t.Fatalf("%+v speaks for somebody else", r)
		}
	})
}

// FuzzDecodeReleaseJSON fuzzes below the encoding, which hides everything from
// the fuzzer.
func FuzzDecodeReleaseJSON(f *testing.F) {
	f.Add("r", "ns", "castai-agent", "kind: X\napiVersion: v1\nmetadata: {name: x}", "a/charts/b/templates/x.yaml")
	f.Add("r", "", "c", "items: [{kind: X, apiVersion: v1, metadata: {name: x}}, null, 1]", "///")
	cat, err := LoadCatalogue()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name, namespace, chart, manifest, path string) {
		doc, err := json.Marshal(map[string]any{"name": name, "namespace": namespace, "manifest": manifest,
			"chart": map[string]any{"metadata": map[string]any{"name": chart}},
			"hooks": []any{map[string]any{"path": path, "manifest": manifest}}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := decodeRelease(stored(Pack(t, doc)), newBudget())
		if err != nil {
			return
		}
		if r.Namespace != "ns" {
			t.Fatalf("%s speaks for namespace %s", r.Stored, r.Namespace)
		}
		v := newSpaceView("ns", nil, newClusterView(nil, cat, []string{"ns"}), []*release{r})
		for _, o := range r.objects {
			v.chartOf(r, o)
		}
	})
}

func FuzzParseManifest(f *testing.F) {
	for _, m := range []string{
		"", "---", "---\n---\n", "a: &a [1]\nb: *a",
		"kind: List\napiVersion: v1\nitems:\n- kind: X\n  apiVersion: v1\n  metadata: {name: x}",
		"kind: CronJob\napiVersion: batch/v1\nmetadata: {name: x}\nspec: {jobTemplate: {spec: {template: {spec: {containers: [{image: a}]}}}}}",
		"kind: Deployment\napiVersion: apps/v1\nmetadata: {name: 1}\nspec: [1]",
		"kind: Pod\napiVersion: a/b/c\nmetadata: {name: x}",
		"# Source: a/charts/b/charts/c/x\nkind: X\napiVersion: v1\nmetadata: {name: x}", "!!binary x: y", "? {a: b}\n: c",
		"[[[[[[[[",
	} {
		f.Add(m, false)
	}
	f.Fuzz(func(t *testing.T, manifest string, hook bool) {
		for _, o := range parseManifest(manifest, hook, newBudget()) {
			if o.name == "" || o.gk.Kind == "" || o.hook != hook {
				t.Fatalf("%+v is no object", o)
			}
		}
	})
}

func FuzzMarks(f *testing.F) {
	for _, s := range []string{"castai-agent-0.153.2", "castai-agent-v1.2.0-17", "-1.2.3", "a-1.2.3-b-4.5.6",
		"us-docker.pkg.dev/castai-hub/library/agent:v1@sha256:x", "localhost:5000/a", "//", "https://github.com/castai/x", "a@cast.ai", "a@b@cast.ai", "%"} {
		f.Add(s)
	}
	cat, err := LoadCatalogue()
	if err != nil {
		f.Fatal(err)
	}
	r := newReader(cat)
	f.Fuzz(func(t *testing.T, s string) {
		l := r.chart(&cluster.Object{Resource: &cluster.Resource{Version: "v1", Kind: "ConfigMap"},
			Labels: map[string]string{"helm.sh/chart": s}})
		if l.component != nil && !strings.HasPrefix(s, l.chart+"-") {
			t.Fatalf("%q is not of chart %s", s, l.chart)
		}
		for i := range cat.Components {
			if cat.runs(&cat.Components[i], []string{s}) != "" && !strings.Contains(s, "/") && !strings.Contains(s, ":") &&
				!strings.Contains(s, "@") {
				name := "docker.io/" + s
				if !slices.ContainsFunc(cat.Components[i].imageNames(),
					func(n string) bool { return strings.HasSuffix(name, "/"+n) }) {
					t.Fatalf("%q is an image of %s and is not", s, cat.Components[i].Name)
				}
			}
		}
		_ = roleStem(s)
		if r, err := cluster.ParseRef(s); err == nil {
			again, err := cluster.ParseRef(r.String())
			if err != nil || again != r {
				t.Fatalf("%q is read as %v, which is read as %v, %v", s, r, again, err)
			}
		}
	})
}

// TestHostileManifests measures what pathological input costs: a record holds
// at most 1 MiB, and must not hold up or fill anybody's machine.
func TestHostileManifests(t *testing.T) {
	aliases := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'z'; c++ {
		aliases += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+string(c-1)+",", 8) + "*" + string(c-1) + "]\n"
	}
	release := func(manifest string) []byte {
		doc, err := json.Marshal(map[string]any{"name": "r", "manifest": manifest,
			"chart": map[string]any{"metadata": map[string]any{"name": "castai-agent"}}})
		if err != nil {
			t.Fatal(err)
		}
		return Pack(t, doc)
	}
	deepJSON := []byte(`{"name":"r","chart":{"metadata":{"name":"c"}},"x":` + strings.Repeat("[", 4<<20) + "}")
	for name, data := range map[string][]byte{
		"aliases":        release("kind: X\napiVersion: v1\nmetadata: {name: x}\n" + aliases),
		"deep flow":      release("kind: X\nspec: " + strings.Repeat("[", 1<<20)),
		"deep block":     release(strings.Repeat("- ", 1<<20)),
		"deep maps":      release(strings.Repeat("{a: ", 1<<19)),
		"many documents": release(strings.Repeat("---\nkind: X\napiVersion: v1\nmetadata: {name: x}\n", 200_000)),
		"one huge":       release("kind: X\napiVersion: v1\nmetadata: {name: x}\ndata: " + strings.Repeat("x", 12<<20)),
		"many keys":      release(strings.Repeat("---\n"+strings.Repeat("a: b\n", 50_000), 20)),
		"zeros":          Pack(t, make([]byte, 256<<20)),
		"deep JSON":      Pack(t, deepJSON),
		"many hooks": Pack(t, []byte(`{"name":"r","chart":{"metadata":{"name":"c"}},"hooks":[`+
			strings.Repeat(`{},`, 2<<20)+`{}]}`)),
		"many dependents": Pack(t, []byte(`{"name":"r","chart":{"metadata":{"name":"c","dependencies":[`+
			strings.Repeat(`{"alias":"a"},`, 1<<20)+`{}]}}}`)),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			r, err := decodeRelease(stored(data), newBudget())
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			total := (after.TotalAlloc - before.TotalAlloc) >> 20
			t.Logf("%d bytes stored: %v, %d MiB allocated in all, error %v", len(data), took, total, err)
			if took > 30*time.Second || total > 1024 {
				t.Errorf("it took %v and %d MiB", took, total)
			}
			if r != nil && len(r.objects) > maxDocuments+maxHooks {
				t.Errorf("%d objects", len(r.objects))
			}
		})
	}
}
