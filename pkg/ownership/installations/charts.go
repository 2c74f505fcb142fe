package installations

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// Default is the release and the namespace that a chart's documentation uses.
type Default struct{ Release, Namespace string }

// Defaults are those of the charts of pkg/ownership/testdata/charts, whose
// manifests have placeholders for them.
func Defaults() map[string]Default {
	out := map[string]Default{}
	for _, chart := range []string{
		"castai-agent", "castai-cluster-controller", "castai-evictor", "castai-kentroller", "castai-kvisor",
		"castai-pod-mutator",
		"castai-spot-handler", "castai-workload-autoscaler", "castware-components", "castware-operator",
	} {
		out[chart] = Default{chart, "castai-agent"}
	}
	out["castai-cluster-controller"] = Default{"cluster-controller", "castai-agent"}
	out["castai-pod-mutator"] = Default{"pod-mutator", "castai-agent"}
	out["gpu-metrics-exporter"] = Default{"gpu-metrics-exporter-1755763200", "castai-agent"}
	out["omni-agent"] = Default{"castai-omni-agent", "castai-omni"}
	return out
}

// Chart is a chart as Helm rendered it, and how.
type Chart struct {
	// File is the folder and the name of the file that it was read from.
	File                              string
	Name, Version, Release, Namespace string
	documents                         []document
}

// document is one object of a rendered chart.
type document struct {
	source     string // the path of its template
	definition bool   // it lies in crds/, which Helm keeps out of its record
	hook       string
	json       string
}

var (
	chartComment    = regexp.MustCompile(`(?m)^# chart: (\S+) version: (\S+)`)
	renderedComment = regexp.MustCompile(`(?m)^# rendered: helm template (\S+) \S+ -n (\S+)`)
	separator       = regexp.MustCompile(`(?m)^---\s*$`)
	sourceComment   = regexp.MustCompile(`(?m)^# Source: (\S+)`)
)

// Charts reads the rendered charts of some folders; those that are not there
// have none. Plain manifests, which no chart made, are left out.
func Charts(folders ...string) ([]*Chart, error) {
	var out []*Chart
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
		if err != nil {
			return nil, err
		}
		definitions, first := map[string][]document{}, len(out)
		for _, file := range files {
			c, err := readChart(file)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			if c == nil {
				continue
			}
			for _, d := range c.documents {
				if d.definition {
					definitions[c.Name] = append(definitions[c.Name], d)
				}
			}
			out = append(out, c)
		}
		for _, c := range out[first:] {
			if c.Name == "castware-components" { // nothing without the operator's definitions
				c.documents = append(c.documents, definitions["castware-operator"]...)
			}
		}
	}
	return out, nil
}

func readChart(file string) (*Chart, error) {
	content, err := os.ReadFile(file) // #nosec G304 -- tests name it
	if err != nil {
		return nil, err
	}
	raw := string(content)
	chart := chartComment.FindStringSubmatch(raw)
	if chart == nil {
		return nil, nil
	}
	name := strings.TrimSuffix(filepath.Base(file), ".yaml")
	c := &Chart{File: filepath.Base(filepath.Dir(file)) + "/" + name, Name: chart[1], Version: chart[2]}
	if how := renderedComment.FindStringSubmatch(raw); how != nil {
		c.Release, c.Namespace = how[1], how[2]
	} else if in, known := Defaults()[name]; known {
		raw = strings.ReplaceAll(raw, "the-release-"+name, in.Release)
		raw = strings.NewReplacer("the-release", in.Release, "the-namespace", in.Namespace).Replace(raw)
		c.Release, c.Namespace = in.Release, in.Namespace
	}
	return c, c.read(raw)
}

func (c *Chart) read(raw string) error {
	crds := false
	for _, text := range separator.Split(raw, -1) {
		source := sourceComment.FindStringSubmatch(text)
		switch {
		case source != nil:
			crds = strings.Contains(source[1], "/crds/")
		case strings.Contains(text, "# crds"):
			crds = true
		}
		parsed, err := clustertest.Parse([]byte(text))
		if err != nil {
			return err
		}
		for _, u := range parsed {
			if u.GetKind() == "CustomResourceDefinition" {
				if err := open(u); err != nil {
					return err
				}
			}
			if clustertest.Namespaced(u.GroupVersionKind()) && u.GetNamespace() == "" {
				u.SetNamespace(c.Namespace)
			}
			doc, err := json.Marshal(u.Object)
			if err != nil {
				return err
			}
			d := document{json: string(doc), definition: crds, hook: u.GetAnnotations()["helm.sh/hook"]}
			if source != nil {
				d.source = source[1]
			}
			c.documents = append(c.documents, d)
		}
	}
	return nil
}

// open lets a definition accept any object: its schemas prove nothing.
func open(u *unstructured.Unstructured) error {
	versions, _, err := unstructured.NestedSlice(u.Object, "spec", "versions")
	if err != nil {
		return err
	}
	for _, v := range versions {
		if version, ok := v.(map[string]any); ok {
			version["schema"] = map[string]any{"openAPIV3Schema": map[string]any{"type": "object",
				"x-kubernetes-preserve-unknown-fields": true}}
		}
	}
	return unstructured.SetNestedSlice(u.Object, versions, "spec", "versions")
}
