package plugin

import (
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/finalize"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// product is whose objects the commands are about.
const product = "Cast AI"

// knownFinalizers are those of the catalogue, and who removes them.
func knownFinalizers(cat *ownership.Catalogue) []finalize.Known {
	var out []finalize.Known
	var all []string
	for _, c := range cat.Components {
		for _, f := range c.Finalizers {
			out = append(out, finalize.Known{Name: f, By: c.Name, Workloads: c.Workloads})
		}
		if len(c.Within) == 0 { // what it brings along has finalizers of its own
			all = append(all, c.Workloads...)
		}
	}
	for _, d := range cat.Domains {
		out = append(out, finalize.Known{Name: "*." + d, By: "a component of " + product, Workloads: all})
	}
	return out
}

// bundled are finalizers of projects that Cast AI brings along, but that others may
// have, too: Liqo (its domain), Karpenter (castai-kentroller) and the Altinity
// ClickHouse operator.
var bundled = []string{"liqo.io", "karpenter.sh", "finalizer.clickhouseinstallation.altinity.com"}

// ownFinalizers allows the finalizers of Cast AI's own components, and those of the
// projects that it brings along on objects that are Cast AI's.
func ownFinalizers(cat *ownership.Catalogue, owned func(cluster.Ref) bool) func(*cluster.Object, string) bool {
	return func(o *cluster.Object, finalizer string) bool {
		domain, _, _ := strings.Cut(finalizer, "/")
		in := func(d string) bool { return domain == d || strings.HasSuffix(domain, "."+d) }
		return slices.ContainsFunc(cat.Domains, in) || owned(o.Ref()) && slices.ContainsFunc(bundled, in)
	}
}
