package ownership

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// What a stored release may unpack to. A Secret holds at most 1 MiB compressed,
// which can unpack to a gigabyte; real Cast AI releases unpack to less than 5
// MiB, and no object of theirs is larger than the API server takes (1.5 MiB).
const (
	maxRelease   = 16 << 20
	maxDocument  = 2 << 20
	maxDocuments = 10_000
	maxHooks     = 1_000
)

// release is one stored revision of a Helm release.
type release struct {
	Stored    cluster.Ref // the Secret or ConfigMap that holds it
	Name      string
	Namespace string
	Chart     string
	Version   string
	home      []string          // the chart's own words about where it comes from
	aliases   map[string]string // the charts behind the names that sub-charts go by
	objects   []releaseObject
	component *Component // of Cast AI's as a whole, or nil; see castAIRelease
	decided   bool
}

func (r *release) key() releaseKey { return releaseKey{r.Namespace, r.Name} }

// String names the release and its chart for a person.
func (r *release) String() string { return fmt.Sprintf("%s/%s", r.Namespace, r.Name) }

// releaseObject is one object that a release's manifest or hooks list.
type releaseObject struct {
	gk        schema.GroupKind
	namespace string // as written; empty means the release's, or cluster-scoped
	name      string
	source    []string // the charts from the outermost to the one that holds the template
	hook      bool
	images    []string
}

var errReleaseTooBig = errors.New("the release unpacks to more than any Helm release does")

// decodeRelease reads what Helm stores of a release: base64 of gzip of JSON
// (helm.sh/helm/v3 pkg/storage/driver/util.go encodeRelease; old releases have
// no gzip). Hostile input ends in an error, never in more than maxRelease bytes.
func decodeRelease(stored cluster.StoredRelease) (*release, error) {
	raw, err := base64.StdEncoding.DecodeString(string(stored.Data))
	if err != nil {
		return nil, fmt.Errorf("%s is not a Helm release: %w", stored.Ref, err)
	}
	var r io.Reader = bytes.NewReader(raw)
	if bytes.HasPrefix(raw, []byte{0x1f, 0x8b, 0x08}) {
		if r, err = gzip.NewReader(r); err != nil {
			return nil, fmt.Errorf("%s is not a Helm release: %w", stored.Ref, err)
		}
	}
	limited := &io.LimitedReader{R: r, N: maxRelease}
	// Only what the rules need is decoded; templates and values, the bulk of
	// it, are skipped by the decoder.
	var doc struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
		Manifest  string `json:"manifest"`
		Chart     struct {
			Metadata struct {
				Name        string   `json:"name"`
				Version     string   `json:"version"`
				Home        string   `json:"home"`
				Icon        string   `json:"icon"`
				Sources     []string `json:"sources"`
				Maintainers []struct {
					Email string `json:"email"`
					URL   string `json:"url"`
				} `json:"maintainers"`
				Dependencies []struct {
					Name  string `json:"name"`
					Alias string `json:"alias"`
				} `json:"dependencies"`
			} `json:"metadata"`
		} `json:"chart"`
		Hooks []struct {
			Path     string `json:"path"`
			Manifest string `json:"manifest"`
		} `json:"hooks"`
	}
	if err := json.NewDecoder(limited).Decode(&doc); err != nil {
		if limited.N <= 0 {
			err = errReleaseTooBig
		}
		return nil, fmt.Errorf("%s is not a Helm release: %w", stored.Ref, err)
	}
	if doc.Name == "" || doc.Chart.Metadata.Name == "" {
		return nil, fmt.Errorf("%s is not a Helm release: it names no release or no chart", stored.Ref)
	}
	// Whoever may write Secrets in one namespace must not speak for releases in
	// another. (Flux can be told to keep records elsewhere: these prove nothing.)
	if doc.Namespace != "" && doc.Namespace != stored.Ref.Namespace {
		return nil, fmt.Errorf("%s claims to be a release in namespace %s", stored.Ref, doc.Namespace)
	}
	if !strings.HasPrefix(stored.Ref.Name, "sh.helm.release.v1."+doc.Name+".v") {
		return nil, fmt.Errorf("%s claims to be the release %s", stored.Ref, doc.Name)
	}
	meta := doc.Chart.Metadata
	words := append([]string{meta.Home, meta.Icon}, meta.Sources...)
	for _, m := range meta.Maintainers {
		words = append(words, m.Email, m.URL)
	}
	out := &release{
		Stored: stored.Ref, Name: doc.Name, Namespace: stored.Ref.Namespace,
		Chart: meta.Name, Version: meta.Version, home: words, aliases: map[string]string{},
	}
	for _, d := range meta.Dependencies {
		if d.Alias != "" {
			out.aliases[d.Alias] = d.Name
		}
	}
	out.objects = parseManifest(doc.Manifest, false)
	for _, h := range doc.Hooks[:min(len(doc.Hooks), maxHooks)] {
		for _, o := range parseManifest(h.Manifest, true) {
			if len(o.source) == 0 {
				o.source = sourceCharts(h.Path)
			}
			out.objects = append(out.objects, o)
		}
	}
	return out, nil
}

var (
	documentSeparator = regexp.MustCompile(`(?m)^---\s*$`)
	sourceComment     = regexp.MustCompile(`(?m)^# Source: (\S+)`)
)

// parseManifest lists the objects of a rendered manifest. A document that is
// no object is left out: nothing can be proven with it.
func parseManifest(manifest string, hook bool) []releaseObject {
	var out []releaseObject
	for _, text := range documentSeparator.Split(manifest, maxDocuments) {
		var doc map[string]any
		if len(text) > maxDocument {
			continue
		}
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil || doc == nil {
			continue
		}
		docs := []any{doc}
		if items, ok := doc["items"].([]any); ok {
			docs = items
		}
		var source []string
		if m := sourceComment.FindStringSubmatch(text); m != nil {
			source = sourceCharts(m[1])
		}
		for _, d := range docs {
			if o, ok := manifestObject(d); ok {
				o.source, o.hook = source, hook
				out = append(out, o)
			}
		}
	}
	return out
}

func manifestObject(d any) (releaseObject, bool) {
	doc, _ := d.(map[string]any)
	apiVersion, _ := doc["apiVersion"].(string)
	kind, _ := doc["kind"].(string)
	meta, _ := doc["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	namespace, _ := meta["namespace"].(string)
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil || kind == "" || name == "" {
		return releaseObject{}, false
	}
	spec, _ := podSpecOf(kind, doc)
	return releaseObject{gk: schema.GroupKind{Group: gv.Group, Kind: kind}, namespace: namespace, name: name, images: images(spec)}, true
}

// sourceCharts turns the path of a template, castai/charts/castai-agent/templates/x.yaml,
// into the charts that it lies in: castai, castai-agent.
func sourceCharts(path string) []string {
	parts := strings.Split(path, "/")
	if len(parts) < 2 {
		return nil
	}
	out := []string{parts[0]}
	for i := 1; i+2 < len(parts) && parts[i] == "charts"; i += 2 {
		out = append(out, parts[i+1])
	}
	return out
}

// isReleaseRecord tells whether an object is where Helm keeps a release: a
// Secret (default) or ConfigMap (HELM_DRIVER=configmap) with owner=helm.
func isReleaseRecord(o *cluster.Object) bool {
	return o.Resource.Group == "" && (o.Resource.Kind == "Secret" || o.Resource.Kind == "ConfigMap") &&
		o.Labels["owner"] == "helm" && o.Labels["name"] != ""
}
