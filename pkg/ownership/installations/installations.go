// Package installations makes up how Cast AI's charts may have been installed,
// for tests: each chart in every Way.
package installations

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// Installation is what a chart leaves in a cluster.
type Installation struct {
	Release, Namespace string
	// Objects are those of the chart, without namespaces that it does not make.
	Objects []*unstructured.Unstructured
	// Mine are objects of the user's own chart that holds this one.
	Mine []*unstructured.Unstructured
	// Record is what Helm stores of the release, nil without a record.
	Record []byte
}

// Install installs a chart in one way. The error says that a document of it can't
// be read.
func (c *Chart) Install(w Way) (*Installation, error) {
	in, top, chart := c.place(w)
	helm := w.Helm != Helms[2]
	manifest := &strings.Builder{}
	var hooks []map[string]string
	for _, d := range c.documents {
		u, err := c.object(w, in, d, chart)
		if err != nil {
			return nil, err
		}
		doc, err := json.Marshal(u.Object)
		if err != nil {
			return nil, err
		}
		source := d.source
		if _, rest, ok := strings.Cut(source, "/"); ok && w.Roof != Roofs[0] {
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
		if helm && d.hook == "" && !d.definition {
			in.mark(u)
		}
		in.Objects = append(in.Objects, u)
	}
	if w.Users() {
		own := clustertest.Object("v1", "ConfigMap", in.Namespace, "mine")
		if helm {
			in.mark(own)
		}
		manifest.WriteString("---\n# Source: platform/templates/mine.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine}\n")
		in.Mine = append(in.Mine, own)
	}
	if w.Helm != Helms[0] {
		return in, nil
	}
	record, err := json.Marshal(map[string]any{
		"name": in.Release, "namespace": in.Namespace, "manifest": manifest.String(), "hooks": hooks,
		"chart": map[string]any{"metadata": map[string]any{
			"name": top, "version": c.Version, "dependencies": c.dependencies(w, chart),
		}},
	})
	if err != nil {
		return nil, err
	}
	in.Record, err = Pack(record)
	return in, err
}

// place returns where a chart is installed, the outermost chart, and the name that
// this one has in it.
func (c *Chart) place(w Way) (in *Installation, top, chart string) {
	in = &Installation{Release: c.Release, Namespace: c.Namespace}
	top, chart = c.Name, c.Name
	switch w.Roof {
	case Roofs[1]:
		top, in.Release = "castai", "castai"
	case Roofs[2], Roofs[3]:
		top, in.Release = "platform", "everything"
	}
	if w.Release != Releases[0] {
		in.Release = "costs"
	}
	if w.Namespace != Namespaces[0] {
		in.Namespace = "platform"
	}
	if w.Roof == Roofs[3] {
		chart = "part"
	}
	return in, top, chart
}

// dependencies are those of a chart as a record has them: Helm writes an alias over
// the dependency's name before it stores the release (pkg/chart/v2/util/dependencies.go
// processDependencyEnabled).
func (c *Chart) dependencies(w Way, chart string) []map[string]string {
	var out []map[string]string
	switch {
	case w.Roof != Roofs[0] && chart != c.Name:
		return []map[string]string{{"name": chart, "alias": chart}}
	case w.Roof != Roofs[0]:
		return []map[string]string{{"name": c.Name}}
	case c.Name == "castai-dbo": // HC charts/castai-dbo/Chart.yaml
		for _, alias := range []string{"db-proxy", "db-agent", "db-optimizer"} {
			out = append(out, map[string]string{"name": alias, "alias": alias})
		}
	}
	return out
}

func (in *Installation) mark(u *unstructured.Unstructured) {
	a := u.GetAnnotations()
	if a == nil {
		a = map[string]string{}
	}
	a["meta.helm.sh/release-name"], a["meta.helm.sh/release-namespace"] = in.Release, in.Namespace
	u.SetAnnotations(a)
}

// Stored returns the Secret that Helm keeps the release in, nil without a record.
func (in *Installation) Stored() *unstructured.Unstructured {
	if in.Record == nil {
		return nil
	}
	u := clustertest.Object("v1", "Secret", in.Namespace, "sh.helm.release.v1."+in.Release+".v1")
	u.SetLabels(map[string]string{"owner": "helm", "name": in.Release, "version": "1", "status": "deployed"})
	u.Object["type"] = "helm.sh/release.v1"
	u.Object["data"] = map[string]any{"release": base64.StdEncoding.EncodeToString(in.Record)}
	return u
}

// Pack is what Helm makes of a release before it stores it, but for how hard it packs: to
// read it is the same.
func Pack(document []byte) ([]byte, error) {
	var buf bytes.Buffer
	w, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(document); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return []byte(base64.StdEncoding.EncodeToString(buf.Bytes())), nil
}

// object returns the object of a document as this way has it.
func (c *Chart) object(w Way, in *Installation, d document, chart string) (*unstructured.Unstructured, error) {
	text := d.json
	if in.Namespace != c.Namespace {
		text = strings.NewReplacer(
			`"namespace":"`+c.Namespace+`"`, `"namespace":"`+in.Namespace+`"`,
			"system:serviceaccount:"+c.Namespace+":", "system:serviceaccount:"+in.Namespace+":",
			"."+c.Namespace+".svc", "."+in.Namespace+".svc").Replace(text)
	}
	switch {
	case strings.Contains(text, `"kind":"Namespace"`):
	case c.Release != c.Name && c.Name != "castai":
		text = c.names().ReplaceAllString(text, `"$1":"`+in.Release+`$3"`)
	case w.Release == Releases[2]:
		text = c.names().ReplaceAllString(text, `"$1":"costs-$2"`)
	}
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(text), &u.Object); err != nil {
		return nil, err
	}
	if u.GetKind() == "Namespace" && u.GetName() == c.Namespace {
		u.SetName(in.Namespace)
	}
	labels := u.GetLabels()
	for key, value := range labels {
		switch {
		case key == "app.kubernetes.io/instance" && (value == c.Release || strings.HasPrefix(value, c.Release+"-")):
			labels[key] = in.Release + strings.TrimPrefix(value, c.Release)
		case key == "helm.sh/chart" && value == c.Name+"-"+c.Version:
			labels[key] = chart + "-" + c.Version
		case key == "app.kubernetes.io/name" && value == c.Name:
			labels[key] = chart
		}
	}
	if len(labels) > 0 {
		u.SetLabels(labels)
	}
	return u, nil
}

// names matches the names that Helm's own template would make of the release's.
func (c *Chart) names() *regexp.Regexp {
	const fields = `"(name|serviceAccountName|serviceAccount|secretName|claimName)"`
	return regexp.MustCompile(fields + `:"(` + regexp.QuoteMeta(c.Release) + `(-[^"]*)?)"`)
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
