package ownership

import (
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// paired tells whether a binding and its role have the label of one and the same
// chart, which nobody else calls so, and nothing in the role names another release.
func (r *reader) paired(b *binding, role *cluster.Object) bool {
	c := r.chart(b.Object)
	if role == nil || isBuiltinRole(role) || b.others > 0 || len(b.accounts) == 0 {
		return false
	}
	own, _ := releaseOf(b.Object)
	granted, marked := releaseOf(role)
	return c.component != nil && r.cat.unmistakable(c.chart) && r.chart(role).value == c.value &&
		(!marked || granted == own)
}

// renamed tells whether a binding that was made for an account with a name of the
// user's choice came with a chart of Cast AI's: it and its role have the label of
// this chart, and both have names that the chart gives them; or, where Cast AI
// lives by name or by the user's word, both are called after the chart's program or
// after the account.
func (v *clusterView) renamed(b *binding) bool {
	role := v.byRef[b.role]
	ns, one := b.namespaceOf()
	if !one || !v.paired(b, role) {
		return false
	}
	c, release := v.chart(b.Object).component, releaseName(b.Object)
	if v.unmistakably(b.Name, release) == c && v.unmistakably(role.Name, release) == c {
		return true
	}
	home := v.namedHome(ns)
	return (v.trust[ns] || home != nil && !home.generated()) &&
		(v.kin(b, c) || v.after(b.Name, release) == c && v.after(role.Name, release) == c)
}

// after returns the component after whose program something is called: NAME, or
// NAME-anything, with a name that nobody else gives; the longest one counts.
func (r *reader) after(name, release string) *Component {
	for {
		if c := r.unmistakably(name, release); c != nil {
			return c
		}
		dash := strings.LastIndexByte(name, '-')
		if dash < 0 {
			return nil
		}
		name = name[:dash]
	}
}

// kin tells whether a binding and its role are called after all of its accounts.
func (v *clusterView) kin(b *binding, c *Component) bool {
	return !slices.ContainsFunc(b.accounts, func(a cluster.Ref) bool {
		return !v.calledLike(b.Name, a.Name, c) || !v.calledLike(b.role.Name, a.Name, c)
	})
}

// calledLike tells whether a name is an account's, or that with the name of a part
// of the installation behind it: a chart's names with somebody's prefix, suffix or
// full name.
func (v *clusterView) calledLike(name, account string, c *Component) bool {
	if name == account || strings.HasPrefix(name, account+"-") {
		return true
	}
	for _, from := range suffixes(account) {
		for _, own := range prefixes(from) {
			if v.app(own) != c || !v.cat.unmistakable(own) {
				continue
			}
			before, after := account[:len(account)-len(from)], from[len(own):]
			rest, ok := strings.CutPrefix(name, before+own)
			if part, ends := strings.CutSuffix(rest, after); ok && ends && strings.HasPrefix(part, "-") {
				return true
			}
		}
	}
	return false
}
