package ownership

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// What stored releases may unpack to. A Secret holds at most 1 MiB compressed,
// which can unpack to a gigabyte; real Cast AI releases unpack to less than 5
// MiB. The bounds for a namespace hold for all of its releases together, so that
// many small records can't do what one large one must not; each namespace has
// its own, so that one can't use up those of another. They bound the time, too:
// what is done with a byte, an object or a byte of YAML does not depend on the
// others (TestRecordsTogetherAreBounded).
const (
	maxRelease     = 16 << 20
	maxDocuments   = 5_000
	maxHead        = 16 << 10 // of a document: what names it
	maxPath        = 1 << 10  // of a template
	spaceBytes     = 64 << 20
	spaceObjects   = 20_000
	spaceHeads     = 4 << 20
	maxHooks       = 1_000
	unpackedAtMost = "its namespace's Helm records together unpack to more than %d MiB, %d objects or %d MiB that name them"
)

// budget is what the releases of a namespace may still unpack to.
type budget struct{ bytes, objects, heads int64 }

func newBudget() *budget { return &budget{spaceBytes, spaceObjects, spaceHeads} }

func (b *budget) spent() error {
	if b.bytes <= 0 || b.objects <= 0 || b.heads <= 0 {
		return fmt.Errorf(unpackedAtMost, spaceBytes>>20, spaceObjects, spaceHeads>>20)
	}
	return nil
}

// release is one stored revision of a Helm release.
type release struct {
	Stored    cluster.Ref // the Secret or ConfigMap that holds it
	Name      string
	Namespace string
	Chart     string
	Version   string
	bundle    string            // of Fleet, which writes its id into the chart (rancher/fleet internal/helmdeployer)
	aliases   map[string]string // the charts behind the names that sub-charts go by
	objects   []releaseObject
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
}

// vendored tells whether the object comes from a chart inside of another one, under a
// name that nobody but Cast AI gives to charts.
func (o *releaseObject) vendored() bool {
	return len(o.source) > 1 && ownName(o.source[len(o.source)-1])
}

// dependency is what a chart and its lock say of one that it brings along.
type dependency struct {
	Name       string `json:"name"`
	Repository string `json:"repository"`
	Version    string `json:"version"`
}

// lockedName returns the name of a dependency whose alias stands in for it: Helm
// writes the alias over the name before it stores the release
// (pkg/chart/v2/util/dependencies.go processDependencyEnabled), but not into the
// chart's lock. It is empty unless the repository and the version tell one name.
func (d dependency) lockedName(lock []dependency) string {
	name := ""
	for _, l := range lock {
		if l.Repository != d.Repository || l.Version != d.Version || l.Name == name {
			continue
		}
		if name != "" {
			return ""
		}
		name = l.Name
	}
	return name
}

var errReleaseTooBig = errors.New("the release unpacks to more than any Helm release does")

// decodeRelease reads what Helm stores of a release: base64 of gzip of JSON
// (helm.sh/helm/v3 pkg/storage/driver/util.go encodeRelease; old releases have
// no gzip). Hostile input ends in an error, never in more than the budget.
func decodeRelease(stored cluster.StoredRelease, b *budget) (*release, error) {
	if err := b.spent(); err != nil {
		return nil, err
	}
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
	most := min(maxRelease, b.bytes)
	limited := &io.LimitedReader{R: r, N: most}
	defer func() { b.bytes -= most - limited.N }()
	// Only what the rules need is decoded; templates and values, the bulk of
	// it, are skipped by the decoder.
	var doc struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
		Manifest  string `json:"manifest"`
		Chart     struct {
			Metadata struct {
				Name         string            `json:"name"`
				Version      string            `json:"version"`
				Annotations  map[string]string `json:"annotations"`
				Dependencies []struct {
					dependency
					Alias string `json:"alias"`
				} `json:"dependencies"`
			} `json:"metadata"`
			Lock struct {
				Dependencies []dependency `json:"dependencies"`
			} `json:"lock"`
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
	out := &release{
		Stored: stored.Ref, Name: doc.Name, Namespace: stored.Ref.Namespace,
		Chart: meta.Name, Version: meta.Version, bundle: meta.Annotations["fleet.cattle.io/bundle-id"],
		aliases: map[string]string{},
	}
	for _, d := range meta.Dependencies {
		if d.Alias == "" {
			continue
		}
		out.aliases[d.Alias] = d.Name
		if d.Name == d.Alias {
			out.aliases[d.Alias] = d.lockedName(doc.Chart.Lock.Dependencies)
		}
	}
	out.objects = parseManifest(doc.Manifest, false, b)
	for _, h := range doc.Hooks[:min(len(doc.Hooks), maxHooks)] {
		source := sourceCharts(h.Path)
		for _, o := range parseManifest(h.Manifest, true, b) {
			if len(o.source) == 0 {
				o.source = source
			}
			out.objects = append(out.objects, o)
		}
	}
	return out, nil
}

// documents yields the documents of a manifest, the rest of it as the last one if
// there are too many. (A regular expression takes ten times as long.)
func documents(manifest string) iter.Seq[string] {
	return func(yield func(string) bool) {
		start, end, n := 0, 0, 1
		for line := range strings.Lines(manifest) {
			if n < maxDocuments && strings.HasPrefix(line, "---") && strings.TrimSpace(line) == "---" {
				if !yield(manifest[start:end]) {
					return
				}
				start = end + len(line)
				n++
			}
			end += len(line)
		}
		yield(manifest[start:])
	}
}

// source returns the template that Helm's comment says a document is from.
func source(text string) string {
	for line := range strings.Lines(text[:min(len(text), maxHead)]) {
		if path, ok := strings.CutPrefix(line, "# Source: "); ok {
			path, _, _ = strings.Cut(path, " ")
			return strings.TrimSpace(path)
		}
	}
	return ""
}

// parseManifest lists the objects of a rendered manifest. A document that is
// no object, or that names itself at greater length than any object does, is
// left out: nothing can be proven with it.
func parseManifest(manifest string, hook bool, b *budget) []releaseObject {
	var out []releaseObject
	for text := range documents(manifest) {
		if b.spent() != nil {
			return out
		}
		b.objects--
		o, ok := manifestObject(text, b)
		if !ok {
			continue
		}
		o.source, o.hook = sourceCharts(source(text)), hook
		out = append(out, o)
	}
	return out
}

// document is what names the object of a document.
type document struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
}

// manifestObject reads what names the object of a document. Nothing else of it
// is parsed: what a chart's author or a stranger wrote into a specification
// costs nothing.
func manifestObject(text string, b *budget) (releaseObject, bool) {
	var doc document
	var err error
	if trimmed := strings.TrimSpace(withoutComments(text)); strings.HasPrefix(trimmed, "{") {
		err = json.Unmarshal([]byte(trimmed), &doc)
	} else {
		var head string
		if head, err = headOf(text); err == nil {
			b.heads -= int64(len(head))
			doc, err = parseHead(head)
		}
	}
	gv, broken := schema.ParseGroupVersion(doc.APIVersion)
	if err != nil || broken != nil || doc.Kind == "" || doc.Metadata.Name == "" {
		return releaseObject{}, false
	}
	return releaseObject{
		gk: schema.GroupKind{Group: gv.Group, Kind: doc.Kind}, namespace: doc.Metadata.Namespace, name: doc.Metadata.Name,
	}, true
}

// parseHead reads a head as it stands: no alias and no merge is followed, because a
// few of them can stand for millions of values. No chart names an object by one.
func parseHead(head string) (out document, err error) {
	var top struct {
		APIVersion yaml.Node `yaml:"apiVersion"`
		Kind       yaml.Node `yaml:"kind"`
		Metadata   yaml.Node `yaml:"metadata"`
	}
	if err := yaml.Unmarshal([]byte(head), &top); err != nil {
		return out, err
	}
	out.APIVersion, out.Kind = scalar(&top.APIVersion), scalar(&top.Kind)
	if top.Metadata.Kind != yaml.MappingNode {
		return out, nil
	}
	for pair := range slices.Chunk(top.Metadata.Content, 2) {
		switch pair[0].Value {
		case "name":
			out.Metadata.Name = scalar(pair[1])
		case "namespace":
			out.Metadata.Namespace = scalar(pair[1])
		}
	}
	return out, nil
}

// scalar returns the text of a node, or "" if it is null or no scalar.
func scalar(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		return ""
	}
	return n.Value
}

// withoutComments drops the comments before the first line of a document.
func withoutComments(text string) string {
	for strings.HasPrefix(text, "#") || strings.HasPrefix(text, "\n") {
		_, text, _ = strings.Cut(text, "\n")
	}
	return text
}

// headOf returns the lines of a document that name its object: the top-level
// fields apiVersion, kind and metadata.
func headOf(text string) (string, error) {
	var head strings.Builder
	keep := false
	for line := range strings.Lines(text) {
		switch first := line[0]; {
		case first == '#' || first == '\n':
			continue
		case first != ' ' && first != '\t' && first != '-' && first != '}':
			field, _, _ := strings.Cut(line, ":")
			keep = slices.Contains([]string{"apiVersion", "kind", "metadata"}, strings.Trim(field, `"' `))
		}
		if !keep {
			continue
		}
		if head.Len()+len(line) > maxHead {
			return "", errReleaseTooBig
		}
		head.WriteString(line)
	}
	return head.String(), nil
}

// sourceCharts turns the path of a template, castai/charts/castai-agent/templates/x.yaml,
// into the charts that it lies in: castai, castai-agent. A path that is longer than
// any template's names none.
func sourceCharts(path string) []string {
	if len(path) > maxPath {
		return nil
	}
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

// revision is the number of a release's revision, 0 if its record does not say.
func revision(o *cluster.Object) int {
	n, err := strconv.Atoi(o.Labels["version"])
	if err != nil {
		return 0
	}
	return n
}
