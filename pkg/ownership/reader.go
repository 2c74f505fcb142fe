package ownership

import (
	"maps"
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// releaseKey names a Helm release.
type releaseKey struct{ namespace, name string }

func (k releaseKey) String() string { return k.namespace + "/" + k.name }

// releaseOf returns the release that Helm's marks on an object name.
func releaseOf(o *cluster.Object) (releaseKey, bool) {
	key := releaseKey{o.Annotations["meta.helm.sh/release-namespace"], o.Annotations["meta.helm.sh/release-name"]}
	return key, key.name != ""
}

// charted is what the label helm.sh/chart=NAME-VERSION says, which Helm's own
// template gives every object of a chart.
type charted struct {
	value      string
	chart      string
	component  *Component  // of Cast AI's
	thirdParty *ThirdParty // somebody else's, which Cast AI's charts bring along
}

// foreign tells whether the label names a chart that is not Cast AI's.
func (c charted) foreign() bool { return c.value != "" && c.component == nil && c.thirdParty == nil }

// reader reads the marks of single objects, with what the catalogue knows of
// them. It knows no object but the one that it is asked about.
type reader struct {
	cat  *Catalogue
	liqo liqoOwner
	// liqoLabels are values of helm.sh/chart that Cast AI's own RuntimeClass has: the
	// label of Liqo's chart under whatever name.
	liqoLabels map[string]bool
	charts     map[string]charted // by value of the label
	// What puts things into every namespace here.
	openshift, istio bool
	// aliases are charts that are Cast AI's under a name that somebody else gave
	// them: their label says nothing.
	aliases map[alias]bool
}

// alias is a chart's name in a release.
type alias struct{ chart, release string }

func newReader(cat *Catalogue) *reader {
	return &reader{cat: cat, charts: map[string]charted{}, aliases: map[alias]bool{}, liqoLabels: map[string]bool{}}
}

// within returns a reader for a namespace, which knows the aliases that this one knows.
func (r *reader) within() *reader {
	out := *r
	out.aliases = maps.Clone(r.aliases)
	return &out
}

// chart reads the label helm.sh/chart; an alias is not a label. The chart of a third
// party that others rely on is none, whatever its release is called, and that of
// the RuntimeClass that only omni has is Cast AI's, even where it is all that is left.
func (r *reader) chart(o *cluster.Object) charted {
	c := r.label(o)
	if c.value != "" && o.Resource.Kind == "RuntimeClass" && runtimeClassOfOmni(o) {
		c.component = r.liqoComponent()
	}
	if c.value != "" && c.component == nil && (c.thirdParty == nil || c.thirdParty.Stays == "") &&
		r.aliases[alias{c.chart, releaseName(o)}] {
		return charted{}
	}
	if c.component != nil && !r.cat.makesItself(c.component, o) {
		return charted{} // of a wrapper that somebody called like Cast AI's umbrella, as far as anybody can tell
	}
	return c
}

// label reads the label helm.sh/chart, as it is.
func (r *reader) label(o *cluster.Object) charted {
	value := o.Labels["helm.sh/chart"]
	if value == "" {
		return charted{}
	}
	c, known := r.charts[value]
	if known {
		return c
	}
	c = charted{value: value, chart: value}
	if m := chartLabel.FindStringSubmatch(value); m != nil {
		c.chart, c.component, c.thirdParty = m[1], r.chartNamed(m[1]), r.cat.thirdParty(m[1])
	}
	if r.liqo == liqoCastAI && r.liqoLabels[value] {
		c.component = r.liqoComponent()
	}
	r.charts[value] = c
	return c
}

// chartName returns the name of the chart in the label helm.sh/chart, or "".
func chartName(o *cluster.Object) string {
	if m := chartLabel.FindStringSubmatch(o.Labels["helm.sh/chart"]); m != nil {
		return m[1]
	}
	return ""
}

// chartNamed returns the component of a chart of that name under any roof. That
// of Liqo is everybody's, and counts where Liqo is Cast AI's.
func (r *reader) chartNamed(name string) *Component {
	if name == "liqo" && r.liqo == liqoCastAI {
		return r.liqoComponent()
	}
	return r.cat.chart(name)
}

// liqoComponent returns the catalogue's entry for Liqo.
func (r *reader) liqoComponent() *Component { return r.cat.group("core.liqo.io") }

// app returns the component whose program goes by a name. Names that everybody's
// Liqo has count where Liqo is Cast AI's.
func (r *reader) app(name string) *Component {
	c := r.cat.app(name)
	if c != nil && len(c.Within) > 0 && r.liqo != liqoCastAI {
		return nil
	}
	return c
}

// exactAccount tells whether a program of Cast AI's runs as a ServiceAccount of
// exactly this name.
func (r *reader) exactAccount(name string) bool { return r.program(name).component != nil }

// program returns a name of a program or an account, with its component.
func (r *reader) program(name string) charted {
	c := r.app(name)
	if c == nil {
		c = r.cat.accounts[name]
	}
	return charted{chart: name, component: c}
}

// group returns the component that an API group is of. Those of everybody's
// Liqo count where Liqo is Cast AI's.
func (r *reader) group(group string) *Component {
	if strings.HasSuffix(group, liqoGroup) && r.liqo != liqoCastAI {
		return nil
	}
	return r.cat.group(group)
}

// webhookName returns the component of a webhook configuration of that name. That
// of Liqo is everybody's.
func (r *reader) webhookName(name string) *Component {
	c := r.cat.webhookName(name)
	if c != nil && len(c.Within) > 0 && r.liqo != liqoCastAI {
		return nil
	}
	return c
}

// publishes returns the first component of which one of the images is the own
// one, as Cast AI publishes it. Those of Liqo count where Liqo is Cast AI's: what
// runs them goes with its definitions and webhooks or not at all.
func (r *reader) publishes(images []string) (*Component, string) {
	c, image := r.cat.publishes(images)
	if c != nil && len(c.Within) > 0 && r.liqo != liqoCastAI {
		return nil, ""
	}
	return c, image
}

// release returns the name of the release that an object is part of: Helm's
// mark, or the label that its template sets even without Helm.
func releaseName(o *cluster.Object) string {
	if key, marked := releaseOf(o); marked {
		return key.name
	}
	return o.Labels["app.kubernetes.io/instance"]
}

// named returns the component that a name stands for in a release: as the
// catalogue has it, or RELEASE-NAME, as Helm's own template makes it; for a
// release that is called after the chart, RELEASE and the rest of the name.
func (r *reader) named(name, release string) *Component {
	if c := r.app(name); c != nil {
		return c
	}
	if release == "" {
		return nil
	}
	if rest, ok := r.behind(name, release); ok {
		if c := r.app(rest); c != nil {
			return c
		}
	}
	return r.calledAfter(name, release)
}

// maxFullname is how much of RELEASE-NAME Helm's own template keeps (helm create,
// pkg/chart/v2/util/create.go: trunc 63 | trimSuffix "-").
const maxFullname = 63

// behind returns what stands behind RELEASE- in a name: of one that Helm's template
// has cut, the name of the catalogue that it may have been. What is left of it must
// begin as only Cast AI's names do.
func (r *reader) behind(name, release string) (string, bool) {
	rest, ok := strings.CutPrefix(name, release+"-")
	if !ok || release == "" {
		return "", false
	}
	if len(name) < maxFullname-1 || !ownName(rest) || r.exactAccount(rest) {
		return rest, true
	}
	whole := ""
	for candidate := range r.cat.names() {
		full := release + "-" + candidate
		if len(full) > maxFullname && strings.TrimSuffix(full[:maxFullname], "-") == name &&
			(whole == "" || candidate < whole) {
			whole = candidate
		}
	}
	if whole == "" {
		return rest, true
	}
	return whole, true
}

// calledAfter: Helm's template leaves the chart's name out where the release's
// has it, so that castai-agent-cpvpa of a release my-castai-agent is
// my-castai-agent-cpvpa.
func (r *reader) calledAfter(name, release string) *Component {
	rest, ok := strings.CutPrefix(name, release)
	if !ok {
		return nil
	}
	for _, chart := range slices.Concat(suffixes(release), prefixes(release)) {
		if r.cat.chart(chart) == nil {
			continue
		}
		if c := r.app(chart + rest); c != nil {
			return c
		}
	}
	return nil
}

// unmistakably returns the component whose program has a name that nobody else
// gives: NAME, or RELEASE-NAME.
func (r *reader) unmistakably(name, release string) *Component {
	if rest, ok := r.behind(name, release); ok && r.app(name) == nil {
		name = rest
	}
	switch c := r.app(name); {
	case c != nil && r.cat.unmistakable(name):
		return c
	case c == nil && ownName(name):
		return r.cat.accounts[name]
	}
	return nil
}

// mentions returns the component whose name of two words or more is in a longer
// one, word by word. That raises a question, and proves nothing.
func (r *reader) mentions(name string) *Component {
	for _, from := range suffixes(name) {
		for _, part := range prefixes(from) {
			if c := r.app(part); c != nil && strings.Contains(part, "-") {
				return c
			}
		}
	}
	return nil
}

// suffixes are the names that a dashed name ends with, word by word.
func suffixes(name string) []string {
	out := []string{name}
	for i := range name {
		if name[i] == '-' {
			out = append(out, name[i+1:])
		}
	}
	return out
}

// prefixes are the names that a dashed name begins with, word by word.
func prefixes(name string) []string {
	out := []string{name}
	for i := range name {
		if name[i] == '-' {
			out = append(out, name[:i])
		}
	}
	return out
}

// marked returns what an object's own labels say: the component, and the mark.
func (r *reader) marked(o *cluster.Object) (*Component, string) {
	if c := r.chart(o); c.component != nil {
		return c.component, "the label helm.sh/chart=" + c.value
	}
	if name := o.Labels["app.kubernetes.io/name"]; r.app(name) != nil {
		return r.app(name), "the label app.kubernetes.io/name=" + name
	}
	if c := r.app(o.Name); c != nil {
		return c, "the name of a component"
	}
	return nil, ""
}

// byHand tells whether a field manager is a tool by which people apply what
// they wrote, rather than a controller.
func byHand(manager string) bool {
	m := strings.ToLower(manager)
	return slices.ContainsFunc(tools, func(tool string) bool { return strings.HasPrefix(m, tool) })
}

var tools = []string{"kubectl", "helm", "argocd", "kustomize-controller", "terraform", "hashicorp", "pulumi"}

func firstOr(list []string, or string) string {
	if len(list) > 0 {
		return list[0]
	}
	return or
}
