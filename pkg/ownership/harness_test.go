package ownership_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/pkg/ownership"
	"github.com/castai/kubectl-castai/pkg/ownership/installations"
)

// fixtures are the manifests that the end-to-end tests install, too.
const fixtures = "../../test/fixtures"

// scene is a cluster under construction.
type scene struct {
	objects []*unstructured.Unstructured
	records []cluster.StoredRelease
}

// clone returns a copy that can be changed.
func (s *scene) clone() *scene {
	out := &scene{records: slices.Clone(s.records)}
	for _, u := range s.objects {
		out.objects = append(out.objects, u.DeepCopy())
	}
	return out
}

// add puts what is not there yet into the scene.
func (s *scene) add(objects ...*unstructured.Unstructured) *scene {
	for _, u := range objects {
		if !clustertest.Namespaced(u.GroupVersionKind()) {
			u.SetNamespace("")
		}
		if s.find(u.GetKind(), u.GetNamespace(), u.GetName()) == nil {
			s.objects = append(s.objects, u)
		}
	}
	return s
}

// find returns the object of that kind, namespace and name, or nil.
func (s *scene) find(kind, namespace, name string) *unstructured.Unstructured {
	i := slices.IndexFunc(s.objects, func(u *unstructured.Unstructured) bool {
		return u.GetKind() == kind && u.GetName() == name && (namespace == "" || u.GetNamespace() == namespace)
	})
	if i < 0 {
		return nil
	}
	return s.objects[i]
}

// yaml adds the objects of a manifest.
func (s *scene) yaml(t testing.TB, manifest string) *scene {
	t.Helper()
	objects, err := clustertest.Parse([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	return s.add(objects...)
}

// once keeps what was parsed: charts and neighbours come in hundreds of cases, and
// reading YAML was a tenth of the time of all.
var once sync.Map // of manifests, to []*unstructured.Unstructured

// parsed returns the objects of a manifest that many cases have.
func parsed(t testing.TB, manifest string) []*unstructured.Unstructured {
	t.Helper()
	found, ok := once.Load(manifest)
	if !ok {
		objects, err := clustertest.Parse([]byte(manifest))
		if err != nil {
			t.Fatal(err)
		}
		found, _ = once.LoadOrStore(manifest, objects)
	}
	var out []*unstructured.Unstructured
	for _, u := range found.([]*unstructured.Unstructured) {
		out = append(out, u.DeepCopy())
	}
	return out
}

// files adds the objects of all manifests that a pattern names.
func (s *scene) files(t testing.TB, pattern string) *scene {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	for _, name := range names {
		s.add(parsed(t, read(t, name))...)
	}
	return s
}

func read(t testing.TB, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// install adds a chart of testdata as helm install (or, without helm,
// helm template | kubectl apply) leaves it.
func (s *scene) install(t testing.TB, chart string, in install) *scene {
	t.Helper()
	manifest := read(t, filepath.Join("testdata", chart+".yaml"))
	if name := filepath.Base(chart); strings.Contains(in.release, name) {
		// What Helm's template does with the names of such releases.
		manifest = strings.ReplaceAll(manifest, "the-release-"+name, in.release)
	}
	manifest = strings.ReplaceAll(manifest, "the-release", in.release)
	manifest = strings.ReplaceAll(manifest, "the-namespace", in.namespace)
	return s.manifest(t, in, manifest)
}

// install is how a rendered chart gets into a scene.
type install struct {
	release   string
	namespace string
	helm      bool // with the marks and the record that helm install adds
}

var (
	chartComment  = regexp.MustCompile(`(?m)^# chart: (\S+) version: (\S+)`)
	documents     = regexp.MustCompile(`(?m)^---\s*$`)
	sourceComment = regexp.MustCompile(`(?m)^# Source: (\S+)`)
)

// manifest adds a rendered chart.
func (s *scene) manifest(t testing.TB, in install, rendered string) *scene {
	t.Helper()
	var manifest strings.Builder
	var hooks []map[string]string
	crds := false
	for _, text := range documents.Split(rendered, -1) {
		// Helm keeps what is in crds/ out of the release.
		source := sourceComment.FindStringSubmatch(text)
		crds = source == nil && (crds || strings.Contains(text, "# crds"))
		for _, u := range parsed(t, text) {
			if u.GetNamespace() == "" {
				u.SetNamespace(in.namespace)
			}
			hook := u.GetAnnotations()["helm.sh/hook"]
			doc, err := json.Marshal(u.Object)
			if err != nil {
				t.Fatal(err)
			}
			comment := ""
			if source != nil {
				comment = source[0] + "\n"
			}
			definition := crds || source != nil && strings.Contains(source[1], "/crds/")
			switch {
			case definition:
			case hook == "":
				manifest.WriteString("---\n" + comment + string(doc) + "\n")
			default:
				hooks = append(hooks, map[string]string{"manifest": comment + string(doc)})
			}
			if strings.HasPrefix(hook, "test") || strings.HasPrefix(hook, "pre-delete") || u.GetKind() == "Job" && hook != "" {
				continue // not there after an installation
			}
			if in.helm && hook == "" && !definition {
				annotate(u, "meta.helm.sh/release-name", in.release, "meta.helm.sh/release-namespace", in.namespace)
			}
			s.add(u)
		}
	}
	if !in.helm {
		return s
	}
	m := chartComment.FindStringSubmatch(rendered)
	if m == nil {
		t.Fatal("the manifest does not say which chart it is")
	}
	return s.record(in.namespace, in.release, releaseJSON(t, in.release, in.namespace, m[1], m[2], manifest.String(),
		hooks))
}

// record adds the record of a Helm release, with these data.
func (s *scene) record(namespace, name string, data []byte) *scene {
	u := clustertest.Object("v1", "Secret", namespace, "sh.helm.release.v1."+name+".v1")
	u.SetLabels(map[string]string{"owner": "helm", "name": name, "version": "1", "status": "deployed"})
	s.objects = append(s.objects, u)
	s.records = append(s.records, cluster.StoredRelease{Ref: cluster.Ref{Kind: "Secret", Namespace: namespace,
		Name: u.GetName()}, Data: data})
	return s
}

// release adds a release of a chart that consists of these documents, with Helm's marks.
func (s *scene) release(t testing.TB, chart, name, namespace, manifest string) {
	t.Helper()
	s.manifest(t, install{name, namespace, true}, "# chart: "+chart+" version: 1.0.0\n"+manifest)
}

// forge adds a record that claims objects, which do not carry its marks.
func (s *scene) forge(t testing.TB, chart, name, namespace, manifest string) {
	t.Helper()
	s.record(namespace, name, releaseJSON(t, name, namespace, chart, "1.0.0", manifest, nil))
}

func annotate(u *unstructured.Unstructured, pairs ...string) {
	a := u.GetAnnotations()
	if a == nil {
		a = map[string]string{}
	}
	for i := 0; i < len(pairs); i += 2 {
		a[pairs[i]] = pairs[i+1]
	}
	u.SetAnnotations(a)
}

func releaseJSON(t testing.TB, name, namespace, chart, version, manifest string, hooks []map[string]string) []byte {
	t.Helper()
	return encode(t, map[string]any{
		"name": name, "namespace": namespace, "manifest": manifest, "hooks": hooks,
		"chart": map[string]any{"metadata": map[string]any{"name": chart, "version": version}},
	})
}

// encode is what Helm does with a release before it stores it.
func encode(t testing.TB, release any) []byte {
	t.Helper()
	doc, err := json.Marshal(release)
	if err != nil {
		t.Fatal(err)
	}
	return ownership.Pack(t, doc)
}

// snapshot is what the cluster would look like.
func (s *scene) snapshot(t testing.TB) *cluster.Snapshot {
	t.Helper()
	snap, err := clustertest.Snapshot(s.objects...)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range snap.Objects {
		if o.Resource.Kind == "ConfigMap" {
			fill(o, s.find("ConfigMap", o.Namespace, o.Name))
		}
	}
	return snap
}

// fill gives an object of a snapshot what is read in addition of those that may
// name the cluster.
func fill(o *cluster.Object, u *unstructured.Unstructured) {
	if u == nil || len(ownership.IdentityRecords(&cluster.Snapshot{Objects: []*cluster.Object{o}})) == 0 {
		return
	}
	if data, found, err := unstructured.NestedMap(u.Object, "data"); found && err == nil {
		o.Body = map[string]any{"data": data}
	}
}

// take judges the scene as the plugin would: only the records that
// ReleaseRecords asks for are read.
func (s *scene) take(t testing.TB, opts ownership.Options) *ownership.Inventory {
	t.Helper()
	return judge(t, s.snapshot(t), s.records, opts)
}

func judge(t testing.TB, snap *cluster.Snapshot, records []cluster.StoredRelease,
	opts ownership.Options) *ownership.Inventory {
	t.Helper()
	cat := catalogue(t)
	var asked []cluster.StoredRelease
	for _, target := range ownership.ReleaseRecords(snap, cat, opts.Trust) {
		for _, r := range records {
			if r.Ref == target.Ref {
				asked = append(asked, r)
			}
		}
	}
	return ownership.Judge(snap, asked, cat, opts)
}

// loaded is the catalogue, which nobody changes.
var loaded = sync.OnceValues(ownership.LoadCatalogue)

func catalogue(t testing.TB) *ownership.Catalogue {
	t.Helper()
	cat, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

// explain says why an object has its verdict, on one line.
func explain(t testing.TB, inv *ownership.Inventory, ref cluster.Ref) string {
	t.Helper()
	e, err := inv.Explain(ref)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	b.WriteString(string(e.Verdict))
	for _, list := range []struct {
		name string
		of   []ownership.Evidence
	}{{"for", e.For}, {"hint", e.Hints}, {"against", e.Against}} {
		for _, ev := range list.of {
			b.WriteString("; " + list.name + " [" + ev.Rule + "] " + ev.Text)
		}
	}
	return b.String()
}

// everyChart are the charts of testdata, under the release names and in the
// namespaces that their documentation uses.
func everyChart() map[string]install {
	out := map[string]install{}
	for chart, in := range installations.Defaults() {
		out[chart] = install{in.Release, in.Namespace, true}
	}
	return out
}

// castAI is a scene with everything of Cast AI's, installed with Helm.
func castAI(t testing.TB) *scene {
	t.Helper()
	s := &scene{}
	s.files(t, fixtures+"/runtime/*.yaml")
	charts := everyChart()
	for _, chart := range slices.Sorted(maps.Keys(charts)) {
		s.install(t, "charts/"+chart, charts[chart])
	}
	return s
}

// small is a scene with the agent and the pod mutator.
func small(t testing.TB) *scene {
	t.Helper()
	s := &scene{}
	s.install(t, "charts/castai-agent", install{"castai-agent", "castai-agent", true})
	s.install(t, "charts/castai-pod-mutator", install{"pod-mutator", "castai-agent", true})
	return s
}
