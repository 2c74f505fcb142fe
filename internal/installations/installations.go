package ownership_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// chartFile is a chart as Helm rendered it, and how.
type chartFile struct {
	file, chart, version, release, namespace string
	documents                                []document
	neighbours                               map[string][]*unstructured.Unstructured // by namespace
}

// document is one object of a rendered chart.
type document struct {
	source     string // the path of its template
	definition bool   // it lies in crds/, which Helm keeps out of its record
	hook       string
	json       string
}

// way is one way in which a chart gets into a cluster.
type way struct{ helm, release, namespace, roof string }

// users tells whether somebody's own chart holds it.
func (s way) users() bool { return s.roof == roofs[2] || s.roof == roofs[3] }

func (s way) String() string {
	return strings.Join([]string{s.helm, s.release, s.namespace, s.roof}, ", ")
}

// The values of a way.
var (
	helms      = []string{"Helm", "record gone", "never Helm"}
	releases   = []string{"default release", "other release", "other release in names"}
	namespaces = []string{"default namespace", "other namespace"}
	roofs      = []string{"alone", "in Cast AI's umbrella", "in a user's umbrella", "aliased"}
)

func ways() []way {
	var out []way
	for _, helm := range helms {
		for _, release := range releases {
			for _, ns := range namespaces {
				for _, roof := range roofs {
					out = append(out, way{helm, release, ns, roof})
				}
			}
		}
	}
	return out
}

var renderedComment = regexp.MustCompile(`(?m)^# rendered: helm template (\S+) \S+ -n (\S+)`)

// renderedCharts reads the charts beside the repository, and those of testdata.
func renderedCharts(t testing.TB) []*chartFile {
	t.Helper()
	var out []*chartFile
	for _, dir := range []string{"testdata/charts", corpus, installed} {
		files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		definitions, first := map[string][]document{}, len(out)
		for _, file := range files {
			raw := read(t, file)
			chart := chartComment.FindStringSubmatch(raw)
			if chart == nil {
				continue // plain manifests, which no chart made
			}
			name := strings.TrimSuffix(filepath.Base(file), ".yaml")
			r := &chartFile{file: filepath.Base(dir) + "/" + name, chart: chart[1], version: chart[2]}
			if how := renderedComment.FindStringSubmatch(raw); how != nil {
				r.release, r.namespace = how[1], how[2]
			} else if in, known := everyChart()[name]; known {
				raw = strings.ReplaceAll(raw, "the-release-"+name, in.release)
				raw = strings.NewReplacer("the-release", in.release, "the-namespace", in.namespace).Replace(raw)
				r.release, r.namespace = in.release, in.namespace
			}
			r.read(t, raw)
			r.neighbours = map[string][]*unstructured.Unstructured{}
			for _, ns := range []string{r.namespace, "platform"} {
				r.neighbours[ns] = strangersIn(t, ns)
			}
			for _, d := range r.documents {
				if d.definition {
					definitions[r.chart] = append(definitions[r.chart], d)
				}
			}
			out = append(out, r)
		}
		for _, r := range out[first:] {
			if r.chart == "castware-components" { // nothing without the operator's definitions
				r.documents = append(r.documents, definitions["castware-operator"]...)
			}
		}
	}
	return out
}

func (r *chartFile) read(t testing.TB, raw string) {
	t.Helper()
	crds := false
	for _, text := range documents.Split(raw, -1) {
		source := sourceComment.FindStringSubmatch(text)
		switch {
		case source != nil:
			crds = strings.Contains(source[1], "/crds/")
		case strings.Contains(text, "# crds"):
			crds = true
		}
		parsed, err := clustertest.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range parsed {
			if u.GetKind() == "CustomResourceDefinition" {
				shortened(u)
			}
			if clustertest.Namespaced(u.GroupVersionKind()) && u.GetNamespace() == "" {
				u.SetNamespace(r.namespace)
			}
			doc, err := json.Marshal(u.Object)
			if err != nil {
				t.Fatal(err)
			}
			d := document{json: string(doc), definition: crds, hook: u.GetAnnotations()["helm.sh/hook"]}
			if source != nil {
				d.source = source[1]
			}
			r.documents = append(r.documents, d)
		}
	}
}

// shortened drops the schemas of a definition, which prove nothing.
func shortened(u *unstructured.Unstructured) {
	versions, _, _ := unstructured.NestedSlice(u.Object, "spec", "versions")
	for _, v := range versions {
		delete(v.(map[string]any), "schema")
	}
	_ = unstructured.SetNestedSlice(u.Object, versions, "spec", "versions")
}

// scene installs the chart in one way.
func (r *chartFile) scene(t testing.TB, s way) (*scene, install) {
	t.Helper()
	in := install{r.release, r.namespace, s.helm != helms[2]}
	top, chart := r.chart, r.chart
	switch s.roof {
	case roofs[1]:
		top, in.release = "castai", "castai"
	case roofs[2], roofs[3]:
		top, in.release = "platform", "everything"
	}
	if s.release != releases[0] {
		in.release = "costs"
	}
	if s.namespace != namespaces[0] {
		in.namespace = "platform"
	}
	if s.roof == roofs[3] {
		chart = "part"
	}
	out, manifest := &scene{}, &strings.Builder{}
	var hooks []map[string]string
	for _, d := range r.documents {
		u := r.object(t, s, in, d, chart)
		doc, err := json.Marshal(u.Object)
		if err != nil {
			t.Fatal(err)
		}
		source := d.source
		if _, rest, ok := strings.Cut(source, "/"); ok && s.roof != roofs[0] {
			source = top + "/charts/" + chart + "/" + rest
		}
		comment := "# Source: " + source + "\n"
		switch {
		case d.definition:
		case d.hook == "":
			fmt.Fprintf(manifest, "---\n%s%s\n", comment, doc)
		default:
			hooks = append(hooks, map[string]string{"manifest": comment + string(doc), "path": source})
		}
		if !d.stays(u) {
			continue
		}
		if in.helm && d.hook == "" && !d.definition {
			annotate(u, "meta.helm.sh/release-name", in.release, "meta.helm.sh/release-namespace", in.namespace)
		}
		out.add(u)
	}
	if s.users() {
		own := clustertest.Object("v1", "ConfigMap", in.namespace, "mine")
		if in.helm {
			annotate(own, "meta.helm.sh/release-name", in.release, "meta.helm.sh/release-namespace", in.namespace)
		}
		manifest.WriteString("---\n# Source: platform/templates/mine.yaml\n")
		manifest.WriteString("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine}\n")
		out.add(own)
	}
	if s.helm == helms[0] {
		var dependencies []map[string]string
		for alias, name := range r.aliases() {
			dependencies = append(dependencies, map[string]string{"name": name, "alias": alias})
		}
		if s.roof != roofs[0] {
			dependencies = []map[string]string{{"name": r.chart}}
			if chart != r.chart {
				dependencies[0]["alias"] = chart
			}
		}
		out.record(in.namespace, in.release, encode(t, map[string]any{
			"name": in.release, "namespace": in.namespace, "manifest": manifest.String(), "hooks": hooks,
			"chart": map[string]any{"metadata": map[string]any{"name": top, "version": r.version, "dependencies": dependencies}},
		}))
	}
	return out.withNamespaces(), in
}

// aliases are the names that a chart of charts gives its parts: HC
// charts/castai-dbo/Chart.yaml.
func (r *chartFile) aliases() map[string]string {
	if r.chart != "castai-dbo" {
		return nil
	}
	return map[string]string{
		"db-proxy": "castai-db-proxy", "db-agent": "castai-db-agent", "db-optimizer": "castai-db-optimizer",
	}
}

// object returns the object of a document as this way has it.
func (r *chartFile) object(t testing.TB, s way, in install, d document, chart string) *unstructured.Unstructured {
	t.Helper()
	text := d.json
	if in.namespace != r.namespace {
		text = strings.NewReplacer(
			`"namespace":"`+r.namespace+`"`, `"namespace":"`+in.namespace+`"`,
			"system:serviceaccount:"+r.namespace+":", "system:serviceaccount:"+in.namespace+":",
			"."+r.namespace+".svc", "."+in.namespace+".svc").Replace(text)
	}
	switch {
	case strings.Contains(text, `"kind":"Namespace"`):
	case r.release != r.chart && r.chart != "castai":
		text = r.names().ReplaceAllString(text, `"$1":"`+in.release+`$3"`)
	case s.release == releases[2]:
		text = r.names().ReplaceAllString(text, `"$1":"costs-$2"`)
	}
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	if u.GetKind() == "Namespace" && u.GetName() == r.namespace {
		u.SetName(in.namespace)
	}
	labels := u.GetLabels()
	for key, value := range labels {
		switch {
		case key == "app.kubernetes.io/instance" && (value == r.release || strings.HasPrefix(value, r.release+"-")):
			labels[key] = in.release + strings.TrimPrefix(value, r.release)
		case key == "helm.sh/chart" && value == r.chart+"-"+r.version:
			labels[key] = chart + "-" + r.version
		case key == "app.kubernetes.io/name" && value == r.chart:
			labels[key] = chart
		}
	}
	if len(labels) > 0 {
		u.SetLabels(labels)
	}
	return u
}

// names matches the names that Helm's own template would make of the release's.
func (r *chartFile) names() *regexp.Regexp {
	const fields = `"(name|serviceAccountName|serviceAccount|secretName|claimName)"`
	return regexp.MustCompile(fields + `:"(` + regexp.QuoteMeta(r.release) + `(-[^"]*)?)"`)
}

// stays tells whether an object is there after an installation: what hooks made
// is, but for what Helm was told to delete once it succeeded.
func (d document) stays(u *unstructured.Unstructured) bool {
	if d.hook == "" {
		return true
	}
	events := strings.Split(d.hook, ",")
	return (slices.Contains(events, "pre-install") || slices.Contains(events, "post-install")) &&
		!strings.Contains(u.GetAnnotations()["helm.sh/hook-delete-policy"], "hook-succeeded")
}

// withNamespaces adds the namespaces that the objects are in.
func (s *scene) withNamespaces() *scene {
	for _, u := range slices.Clone(s.objects) {
		if ns := u.GetNamespace(); ns != "" {
			s.add(clustertest.Object("v1", "Namespace", "", ns))
		}
	}
	return s
}

// strangers adds what others have in the cluster, and in the same namespace.
func (s *scene) strangers(objects []*unstructured.Unstructured) *scene {
	for _, u := range objects {
		s.add(u.DeepCopy())
	}
	return s
}

// strangersIn are the objects of others beside an installation in a namespace.
func strangersIn(t testing.TB, ns string) []*unstructured.Unstructured {
	t.Helper()
	return (&scene{}).yaml(t, strings.ReplaceAll(read(t, "testdata/others/neighbours.yaml"), "the-namespace", ns)).objects
}
