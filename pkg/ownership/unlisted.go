package ownership

import (
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// unlisted tells whether the label of a chart that the catalogue does not have
// names one of Cast AI's by the way that Cast AI calls all its charts.
func (c charted) unlisted() bool { return c.foreign() && ownName(c.chart) }

// hallmarked tells whether a binding came with a chart of Cast AI's that the
// catalogue does not have. Four things that only an administrator writes must
// agree: its label and that of its role name the same chart, which is called as
// Cast AI calls its charts; it, its role and all its subjects have this chart's
// name; and these live in one namespace that is Cast AI's by name, or by the
// user's word.
func (v *clusterView) hallmarked(b *binding) bool {
	c := v.label(b.Object)
	ns, one := b.namespaceOf()
	role := v.byRef[b.role]
	if !c.unlisted() || !one || b.others > 0 || role == nil || v.label(role).value != c.value {
		return false
	}
	if home := v.namedHome(ns); !v.trust[ns] && (home == nil || home.generated()) {
		return false
	}
	for _, o := range []*cluster.Object{b.Object, role} {
		if key, marked := releaseOf(o); marked && key.namespace != ns || !bears(o.Name, c.chart) {
			return false
		}
	}
	return !slices.ContainsFunc(b.accounts, func(a cluster.Ref) bool { return !bears(a.Name, c.chart) })
}

// bears tells whether a name is a chart's, alone, after a release's name or with
// the name of a part: NAME, RELEASE-NAME, NAME-PART.
func bears(name, chart string) bool { return strings.Contains("-"+name+"-", "-"+chart+"-") }

// publishedWhole tells whether all that a workload runs comes from the place that
// only Cast AI publishes its programs to, and none of it is a copy of a program of others: of a
// Liqo that is not known to be Cast AI's, or of a third party's chart.
func (v *spaceView) publishedWhole(w workload) bool {
	names := []string{w.Name, w.Labels["app.kubernetes.io/name"], chartName(w.Object)}
	for _, image := range w.images {
		name, own := v.cat.program(image)
		if c := v.cat.images[name]; !own || c != nil && len(c.Within) > 0 && v.liqo != liqoCastAI {
			return false
		}
		names = append(names, name[strings.LastIndex(name, "/")+1:])
	}
	return len(w.images) > 0 && !slices.ContainsFunc(names, func(n string) bool { return v.cat.thirdParty(n) != nil })
}
