package ownership

import (
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// split is a component of which the controllers would go while the definitions
// or webhooks that they serve stay, or the other way round.
type split struct {
	component   string
	goes, stays []cluster.Ref
}

// splits finds the components that an offboarding would take apart. Controllers
// are the workloads in homes that have the component's name, or run its image as
// Cast AI publishes it, whatever their verdict.
func (j *judgement) splits() []split {
	served, controllers := map[string][]*cluster.Object{}, map[string][]*cluster.Object{}
	for _, o := range j.cluster.objects {
		if c := j.serves(o); c != nil {
			served[c.Name] = append(served[c.Name], o)
		}
	}
	for _, ns := range j.order {
		v := j.spaces[ns]
		if !v.isHome {
			continue
		}
		for _, w := range v.workloads {
			if c := v.controllerOf(w); c != nil {
				controllers[c.Name] = append(controllers[c.Name], w.Object)
			}
		}
	}
	out := j.servants()
	for i := range j.cat.Components {
		name := j.cat.Components[i].Name
		s := split{component: name}
		interfaces, programs := served[name], controllers[name]
		goes := slices.ContainsFunc(programs, j.owned)
		stays := slices.ContainsFunc(programs, func(o *cluster.Object) bool { return !j.owned(o) })
		for _, o := range interfaces {
			switch owned := j.owned(o); {
			case owned && stays && !goes:
				s.goes = append(s.goes, o.Ref())
			case !owned && goes:
				s.stays = append(s.stays, o.Ref())
			}
		}
		for _, o := range programs {
			switch owned := j.owned(o); {
			case !owned && len(s.goes) > 0:
				s.stays = append(s.stays, o.Ref())
			case owned && len(s.stays) > 0:
				s.goes = append(s.goes, o.Ref())
			}
		}
		if len(s.goes) > 0 && len(s.stays) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// servants finds the bindings of charts that the catalogue does not name which would
// go while all programs that run with what they grant stay.
func (j *judgement) servants() []split {
	var out []split
	for _, b := range j.cluster.bindings {
		space := j.spaces[j.cluster.item(b.Object).leads]
		if space == nil || !j.owned(b.Object) || !j.cluster.hallmarked(b) {
			continue
		}
		var users []*cluster.Object
		for _, a := range b.accounts {
			users = append(users, slices.DeleteFunc(slices.Clone(space.usedBy()[a]),
				func(o *cluster.Object) bool { return o.Ref() == a })...)
		}
		if len(users) == 0 || slices.ContainsFunc(users, j.owned) {
			continue
		}
		s := split{component: b.Name, goes: []cluster.Ref{b.Ref()}}
		for _, o := range users {
			s.stays = append(s.stays, o.Ref())
		}
		out = append(out, s)
	}
	return out
}

// serves returns the component whose controllers serve a definition or an API, or
// answer a webhook, if only one component does; whoever the Liqo in this cluster
// belongs to.
func (j *judgement) serves(o *cluster.Object) *Component {
	switch {
	case isCRD(o), o.Resource.Kind == "APIService" && str(o.Body, "spec", "service", "name") != "":
		_, group, _ := strings.Cut(o.Name, ".")
		if j.cat.shared(group) {
			return nil
		}
		return j.cat.group(group)
	case strings.HasSuffix(o.Resource.Kind, "WebhookConfiguration"):
		if slices.ContainsFunc(nested(o, "webhooks"), func(h map[string]any) bool { return j.cat.liqoHook(o, h) }) {
			return j.cluster.liqoComponent()
		}
		return j.cat.webhookName(o.Name)
	}
	return nil
}

// shared tells whether several components serve an API group.
func (c *Catalogue) shared(group string) bool {
	n := 0
	for i := range c.Components {
		if slices.Contains(c.Components[i].Groups, group) {
			n++
		}
	}
	return n > 1
}

// controllerOf returns the component that a workload is a controller of.
func (v *spaceView) controllerOf(w workload) *Component {
	if w.owner {
		return nil
	}
	if i := v.items[w.Object]; i != nil && i.Component != "" {
		return v.cat.component(i.Component)
	}
	if c := v.called(w.Name); c != nil && v.cat.runs(c, w.images) != "" {
		return c
	}
	c, _ := v.cat.publishes(w.images)
	return c
}

func splitText(list []split) string {
	var parts []string
	for _, s := range list {
		parts = append(parts, text("of %s, %s would go and %s stay", s.component, names(s.goes), names(s.stays)))
	}
	return strings.Join(parts, "; ")
}

func names(list []cluster.Ref) string {
	var out []string
	for _, r := range list {
		out = append(out, r.String())
	}
	return strings.Join(out, ", ")
}
