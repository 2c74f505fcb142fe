// Package ownership tells whose every object of a cluster is: owned by Cast AI,
// unclear, or foreign, each with its evidence.
//
// It is pure: a cluster.Snapshot and the stored Helm releases go in, an
// Inventory comes out. What Cast AI is known to leave is data (catalogue.yaml);
// the rules that turn it into evidence are in the files rules_*.go.
package ownership

import (
	_ "embed" // the catalogue is part of the binary
	"fmt"
	"iter"
	"path"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

//go:embed catalogue.yaml
var catalogueYAML []byte

// Catalogue is what is known of Cast AI's components, read from catalogue.yaml,
// where each field is described and each entry names its source.
type Catalogue struct {
	Components []Component  `json:"components"`
	Namespaces []Home       `json:"namespaces"`
	ThirdParty []ThirdParty `json:"thirdParty"`
	Registries []string     `json:"registries"`
	Programs   string       `json:"programs"`
	Domains    []string     `json:"domains"`

	// Indexes, because every object of a cluster is looked up here.
	charts   map[string][]*Component
	patterns []chartPattern
	apps     map[string]*Component
	accounts map[string]*Component
	images   map[string]*Component // by the last elements of the repository's name
	groups   map[string]*Component
	objects  map[string]*Component
}

// chartPattern is an entry of charts with a "*".
type chartPattern struct {
	pattern   string
	component *Component
}

// Component is one piece of software of Cast AI.
type Component struct {
	Name       string   `json:"name"`
	Source     string   `json:"source"`
	Charts     []string `json:"charts,omitempty"`
	Within     []string `json:"within,omitempty"`
	Workloads  []string `json:"workloads,omitempty"`
	Accounts   []string `json:"accounts,omitempty"`
	Images     []string `json:"images,omitempty"`
	Groups     []string `json:"groups,omitempty"`
	Webhooks   []string `json:"webhooks,omitempty"`
	Objects    []string `json:"objects,omitempty"`
	Finalizers []string `json:"finalizers,omitempty"`
	Settings   []string `json:"settings,omitempty"`
	Graceful   []string `json:"graceful,omitempty"`
	Recreates  bool     `json:"recreates,omitempty"`
	Umbrella   bool     `json:"umbrella,omitempty"`
}

// Home is a namespace that Cast AI's software lives in by default.
type Home struct {
	Name   string            `json:"name"` // a pattern of path.Match
	Labels map[string]string `json:"labels,omitempty"`
	Liqo   bool              `json:"liqo,omitempty"` // Cast AI's only where Liqo is
	Source string            `json:"source"`
}

// generated tells whether Cast AI's controllers make the namespace themselves,
// so that nobody has a reason to put anything into it.
func (h *Home) generated() bool { return len(h.Labels) > 0 }

// ThirdParty is somebody else's chart that comes with one of Cast AI's. As part
// of that one's release it goes with it, unless Stays says who relies on it.
type ThirdParty struct {
	Chart  string   `json:"chart"`
	Alias  string   `json:"alias,omitempty"`
	Of     []string `json:"of"` // components
	Groups []string `json:"groups,omitempty"`
	Stays  string   `json:"stays,omitempty"`
	Source string   `json:"source"`
}

// fate says of what comes from the chart why it is not removed.
func (t *ThirdParty) fate() string {
	if t.Stays != "" {
		return text("it comes from the chart %s, which is not Cast AI's: %s", t.Chart, t.Stays)
	}
	return text("it comes from the chart %s, which is not Cast AI's and which others may use", t.Chart)
}

// liqoGroup is the suffix of the API groups that Cast AI's Liqo shares with everybody's.
const liqoGroup = ".liqo.io"

// LoadCatalogue reads the catalogue that is built into the binary. An error is
// a mistake in catalogue.yaml.
func LoadCatalogue() (*Catalogue, error) {
	var c Catalogue
	if err := yaml.UnmarshalStrict(catalogueYAML, &c); err != nil {
		return nil, fmt.Errorf("catalogue.yaml: %w", err)
	}
	for _, comp := range c.Components {
		if comp.Name == "" || comp.Source == "" {
			return nil, fmt.Errorf("catalogue.yaml: component %q lacks a name or a source", comp.Name)
		}
	}
	for _, home := range c.Namespaces {
		if _, err := path.Match(home.Name, ""); err != nil || home.Source == "" {
			return nil, fmt.Errorf("catalogue.yaml: namespace %q lacks a source or is not a pattern", home.Name)
		}
	}
	c.index()
	return &c, nil
}

func (c *Catalogue) index() {
	c.charts, c.apps = map[string][]*Component{}, map[string]*Component{}
	c.groups, c.objects = map[string]*Component{}, map[string]*Component{}
	c.accounts, c.images = map[string]*Component{}, map[string]*Component{}
	for i := range c.Components {
		comp := &c.Components[i]
		for _, chart := range comp.Charts {
			c.charts[chart] = append(c.charts[chart], comp)
			if strings.Contains(chart, "*") {
				c.patterns = append(c.patterns, chartPattern{chart, comp})
			}
		}
		apps := comp.Workloads
		if len(comp.Within) == 0 {
			apps = slices.Concat(comp.Workloads, comp.Charts)
		}
		for _, name := range apps {
			if c.apps[name] == nil {
				c.apps[name] = comp
			}
		}
		for _, group := range comp.Groups {
			if c.groups[group] == nil {
				c.groups[group] = comp
			}
		}
		for _, object := range comp.Objects {
			c.objects[object] = comp
		}
		for _, account := range comp.Accounts {
			c.accounts[account] = comp
		}
		for _, image := range comp.imageNames() {
			if c.images[image] == nil {
				c.images[image] = comp
			}
		}
	}
}

// find returns the first component for which match is true.
func (c *Catalogue) find(match func(*Component) bool) *Component {
	for i := range c.Components {
		if match(&c.Components[i]) {
			return &c.Components[i]
		}
	}
	return nil
}

// chart returns the component of a chart that is Cast AI's under any roof.
func (c *Catalogue) chart(name string) *Component {
	for _, comp := range c.charts[name] {
		if len(comp.Within) == 0 {
			return comp
		}
	}
	for _, p := range c.patterns {
		if ok, err := path.Match(p.pattern, name); ok && err == nil {
			return p.component
		}
	}
	return nil
}

// chartWithin returns the component of a sub-chart that is Cast AI's inside one of the parents.
func (c *Catalogue) chartWithin(name string, parents []string) *Component {
	for _, comp := range c.charts[name] {
		if slices.ContainsFunc(parents, func(p string) bool { return slices.Contains(comp.Within, p) }) {
			return comp
		}
	}
	return nil
}

// unmistakable tells whether nobody else gives a chart or a program of the
// catalogue this name. The others (egressd, temporal, gpu-metrics-exporter, ...)
// need a second mark.
func (c *Catalogue) unmistakable(name string) bool {
	return ownName(name) && (c.apps[name] != nil || c.chart(name) != nil || c.accounts[name] != nil)
}

// ownName tells whether nobody else would give something of the catalogue this
// name. Outside of the catalogue it means nothing.
func ownName(name string) bool {
	return strings.HasPrefix(name, "castai-") || strings.HasPrefix(name, "castware-") || name == "castai"
}

// component returns the component of that name, or nil.
func (c *Catalogue) component(name string) *Component {
	return c.find(func(comp *Component) bool { return comp.Name == name })
}

// chartLabel matches the values that Helm's own template gives helm.sh/chart.
var chartLabel = regexp.MustCompile(`^([a-z0-9][a-z0-9-]*?)-v?(\d+\.\d+\.\d+.*)$`)

// thirdParty returns the entry of a chart, by its name or the alias that it
// comes under, or nil.
func (c *Catalogue) thirdParty(chart string) *ThirdParty {
	return c.third(func(t *ThirdParty) bool { return t.Chart == chart || t.Alias != "" && t.Alias == chart })
}

// thirdGroup returns the third party that an API group is of, or nil.
func (c *Catalogue) thirdGroup(group string) *ThirdParty {
	return c.third(func(t *ThirdParty) bool { return slices.Contains(t.Groups, group) })
}

func (c *Catalogue) third(match func(*ThirdParty) bool) *ThirdParty {
	for i := range c.ThirdParty {
		if match(&c.ThirdParty[i]) {
			return &c.ThirdParty[i]
		}
	}
	return nil
}

// group returns the component whose API group it is, exactly.
func (c *Catalogue) group(group string) *Component { return c.groups[group] }

// app returns the component that a workload's name, or the label
// app.kubernetes.io/name, stands for.
func (c *Catalogue) app(name string) *Component { return c.apps[name] }

// names yields the names of programs and accounts, in no order.
func (c *Catalogue) names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, list := range []map[string]*Component{c.apps, c.accounts} {
			for name := range list {
				if !yield(name) {
					return
				}
			}
		}
	}
}

// runtimeObject returns the component that makes an object of this kind and name at run time.
func (c *Catalogue) runtimeObject(r cluster.Ref) *Component {
	r.Namespace = ""
	return c.objects[r.String()]
}

// makesItself tells whether the chart of a component has an object of this name in
// templates of its own: any, unless it is an umbrella, which a wrapper of somebody's
// may be called, too.
func (c *Catalogue) makesItself(comp *Component, o *cluster.Object) bool {
	return !comp.Umbrella || c.runtimeObject(o.Ref()) == comp ||
		slices.ContainsFunc(comp.Accounts, func(name string) bool {
			return o.Name == name || strings.HasSuffix(o.Name, "-"+name)
		})
}

// webhookName returns the component of a webhook configuration of that name.
func (c *Catalogue) webhookName(name string) *Component {
	return c.find(func(comp *Component) bool { return slices.Contains(comp.Webhooks, name) })
}

// is tells whether one of a component's lists of KIND.GROUP holds the kind.
func (c *Catalogue) is(list func(*Component) []string, r cluster.Ref) bool {
	return c.find(func(comp *Component) bool { return slices.Contains(list(comp), r.GroupKind().String()) }) != nil
}

// Setting tells whether users write objects of this kind.
func (c *Catalogue) Setting(r cluster.Ref) bool {
	return c.is(func(comp *Component) []string { return comp.Settings }, r)
}

// Graceful tells whether the kind's own controllers clean up well, so that its
// objects should be deleted while these still run.
func (c *Catalogue) Graceful(r cluster.Ref) bool {
	return c.is(func(comp *Component) []string { return comp.Graceful }, r)
}

// Recreates tells whether a component puts objects back that others remove.
func (c *Catalogue) Recreates(component string) bool {
	comp := c.find(func(comp *Component) bool { return comp.Name == component })
	return comp != nil && comp.Recreates
}

// inDomain tells whether a DNS name is one of Cast AI's domains or below one.
func (c *Catalogue) inDomain(name string) bool {
	return slices.ContainsFunc(c.Domains, func(d string) bool { return name == d || strings.HasSuffix(name, "."+d) })
}

// OwnFinalizer tells whether a finalizer is Cast AI's: listed in the catalogue
// or under one of its domains. Liqo's are listed one by one, since its domain is
// everybody's.
func (c *Catalogue) OwnFinalizer(name string) bool {
	if c.find(func(comp *Component) bool { return slices.Contains(comp.Finalizers, name) }) != nil {
		return true
	}
	domain, _, _ := strings.Cut(name, "/")
	return c.inDomain(domain)
}

// imageNames are the names of the images that a component's programs come in,
// as the last elements of their repositories: those that the catalogue lists,
// and the names of its charts and programs, with and without castai-.
func (comp *Component) imageNames() []string {
	out := slices.Clone(comp.Images)
	for _, name := range slices.Concat(comp.Charts, comp.Workloads) {
		out = append(out, name)
		if short, ok := strings.CutPrefix(name, "castai-"); ok {
			out = append(out, short)
		}
	}
	return out
}

// published tells whether an image comes from a place that only Cast AI
// publishes to, and not from a mirror of it. Cast AI keeps copies of others'
// images there, too.
func (c *Catalogue) published(image string) bool {
	_, ok := c.repository(image)
	return ok
}

// publishes returns the first component of which one of the images is the own
// one, published where only Cast AI publishes.
func (c *Catalogue) publishes(images []string) (*Component, string) {
	for _, image := range images {
		if name, ok := c.repository(image); ok && c.images[name] != nil {
			return c.images[name], image
		}
	}
	return nil, ""
}

// writes tells whether a field manager has the name of a program of Cast AI's:
// client-go calls it after the binary, which is the last element of its image.
func (c *Catalogue) writes(manager string) bool {
	if c.apps[manager] != nil || c.images[manager] != nil {
		return true
	}
	for image := range c.images {
		if strings.HasSuffix(image, "/"+manager) {
			return true
		}
	}
	return false
}

// repository returns the name of an image within the place that Cast AI
// publishes to: castai-hub/library/liqo/webhook:v1 is liqo/webhook.
func (c *Catalogue) repository(image string) (string, bool) {
	full := repositoryOf(image)
	for _, place := range c.Registries {
		if name, ok := strings.CutPrefix(full, place+"/"); ok {
			return name, true
		}
	}
	return "", false
}

// program returns the name of an image within the place that Cast AI publishes the
// programs of its charts to. What is in its other places people run, too: the image
// of this plugin, for schedules of their own.
func (c *Catalogue) program(image string) (string, bool) {
	return strings.CutPrefix(repositoryOf(image), c.Programs+"/")
}

// runs returns the first of the images that is the component's own: wherever it
// is published or mirrored, the repository ends with exactly one of the
// component's image names. That is one witness of two.
func (c *Catalogue) runs(comp *Component, images []string) string {
	if comp == nil {
		return ""
	}
	for _, image := range images {
		full := repositoryOf(image)
		if slices.ContainsFunc(comp.imageNames(), func(name string) bool { return strings.HasSuffix(full, "/"+name) }) {
			return image
		}
	}
	return ""
}

// mirrored returns the first of the images that is the component's own, copied
// with the path that it has where Cast AI publishes it.
func (c *Catalogue) mirrored(comp *Component, images []string) string {
	if comp == nil {
		return ""
	}
	for _, image := range images {
		full := repositoryOf(image)
		for _, place := range c.Registries {
			_, path, _ := strings.Cut(place, "/")
			if slices.ContainsFunc(comp.imageNames(), func(name string) bool {
				return strings.HasSuffix(full,
					"/"+path+"/"+name)
			}) {
				return image
			}
		}
	}
	return ""
}

// repositoryOf returns an image's repository with its host, without tag and
// digest, as a container runtime completes short names.
func repositoryOf(image string) string {
	repository, _, _ := strings.Cut(image, "@")
	if colon := strings.LastIndex(repository, ":"); colon > strings.LastIndex(repository, "/") {
		repository = repository[:colon]
	}
	first, _, slash := strings.Cut(repository, "/")
	if !slash || !strings.ContainsAny(first, ".:") && first != "localhost" {
		repository = "docker.io/" + repository
	}
	return repository
}
