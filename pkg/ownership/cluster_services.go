package ownership

import (
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// judgeWebhooks: a webhook configuration all of whose webhooks call Services in
// homes, and that says itself that it is Cast AI's: by the label of a chart, a
// name of the catalogue, webhooks in Cast AI's domain, rules on Cast AI's API
// groups only, or the exact names of Cast AI's Services.
func (v *clusterView) judgeWebhooks() {
	for _, kind := range []string{"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"} {
		for _, o := range v.byKind[kind+".admissionregistration.k8s.io"] {
			if !v.owned(o) {
				v.judgeWebhook(o)
			}
		}
	}
}

func (v *clusterView) judgeWebhook(o *cluster.Object) {
	v.webhookHome(o)
	hooks := nested(o, "webhooks")
	mine, own := 0, 0
	var service cluster.Ref
	for _, h := range hooks {
		s := serviceOf(h)
		if !v.isHome(s.Namespace) {
			continue
		}
		mine++
		service = s
		if v.cat.inDomain(str(h, "name")) || v.ownRules(h) || v.ownService(s, o) != nil {
			own++
		}
	}
	c := v.chart(o)
	component := v.webhookName(o.Name)
	if component == nil {
		component = c.component
	}
	e := Evidence{Rule: "service", Text: text("it calls the Service %s/%s, in a namespace of Cast AI's", service.Namespace,
		service.Name)}
	switch {
	case v.calledAfterItsChart(o, hooks):
		v.claim(o, component, Evidence{Rule: "installed",
			Text: text("it has exactly the name of %s, marks of Cast AI's release agree, and it calls no Service",
				component.Name)})
	case mine == 0:
	case mine < len(hooks):
		v.hint(o, e)
		v.deny(o, Evidence{Rule: "service", Text: "it calls other Services, too"})
	case own < len(hooks) && component == nil:
		v.hint(o, e)
		v.deny(o, Evidence{Rule: "service", Text: "nothing else in it says that it is Cast AI's"})
	default:
		v.claim(o, component, e)
	}
}

// calledAfterItsChart tells whether a configuration that calls no Service, because
// it is switched off or calls an address, is Cast AI's all the same: it has
// exactly the name that a component gives it, and the label of this component's
// chart or Helm's mark of a release that is known; all its webhooks have names in
// Cast AI's domain.
func (v *clusterView) calledAfterItsChart(o *cluster.Object, hooks []map[string]any) bool {
	c := v.webhookName(o.Name)
	if c == nil {
		return false
	}
	for _, h := range hooks {
		if serviceOf(h).Name != "" || !v.cat.inDomain(str(h, "name")) {
			return false
		}
	}
	key, _ := releaseOf(o)
	label := v.chart(o)
	return label.component == c || label.value == "" && v.releases[key.namespace][key.name]
}

// webhookHome: a configuration with the label of one of Cast AI's charts and
// Helm's marks, or with a name of the catalogue and webhooks in Cast AI's
// domain, leads to the one namespace of the Services that it calls.
func (v *clusterView) webhookHome(o *cluster.Object) {
	hooks := nested(o, "webhooks")
	c := v.chart(o)
	key, marked := releaseOf(o)
	named := v.webhookName(o.Name) != nil
	ns := ""
	for i, h := range hooks {
		s := serviceOf(h)
		if s.Namespace == "" || i > 0 && s.Namespace != ns {
			return
		}
		ns = s.Namespace
		named = named && v.cat.inDomain(str(h, "name"))
	}
	installed := c.component != nil && v.cat.unmistakable(c.chart) && marked && key.namespace == ns
	if installed || named && c.value == "" && (!marked || key.namespace == ns) {
		v.addHome(ns, v.componentOf(o), o)
	}
}

// serviceOf returns the Service that a webhook or an APIService names.
func serviceOf(h map[string]any) cluster.Ref {
	return cluster.Ref{
		Kind: "Service", Namespace: str(h, "clientConfig", "service", "namespace"), Name: str(h, "clientConfig", "service",
			"name"),
	}
}

// ownService returns the component that a Service of this name is of: nobody else
// gives it, something says that this component lives there, or who calls it has
// exactly the name of the component, too, where Cast AI lives by name.
func (v *clusterView) ownService(s cluster.Ref, caller *cluster.Object) *Component {
	c := v.named(s.Name, releaseName(caller))
	if c != nil && (v.cat.unmistakable(s.Name) || v.lives[s.Namespace][c] ||
		v.byWord(s.Namespace) && v.app(caller.Name) == c) {
		return c
	}
	return nil
}

// ownRules tells whether a webhook is only about Cast AI's own API groups.
func (v *clusterView) ownRules(h map[string]any) bool {
	groups := ruleGroups(h)
	return len(groups) > 0 && !slices.ContainsFunc(groups, func(group string) bool { return v.group(group) == nil })
}

// ruleGroups are the API groups in the rules of a webhook; a rule without any
// counts as one of no name.
func ruleGroups(h map[string]any) []string {
	var out []string
	rules, _ := h["rules"].([]any)
	for _, r := range rules {
		rule, _ := r.(map[string]any)
		groups, _ := rule["apiGroups"].([]any)
		if len(groups) == 0 {
			out = append(out, "")
		}
		for _, g := range groups {
			name, _ := g.(string)
			out = append(out, name)
		}
	}
	return out
}

// judgeAPIServices: an APIService that a Service in a home answers, and whose
// group, chart or Service's exact name is Cast AI's.
func (v *clusterView) judgeAPIServices() {
	for _, o := range v.byKind["APIService.apiregistration.k8s.io"] {
		ns, name := str(o.Body, "spec", "service", "namespace"), str(o.Body, "spec", "service", "name")
		if v.owned(o) || !v.isHome(ns) {
			continue
		}
		component := v.group(str(o.Body, "spec", "group"))
		if component == nil {
			component = v.chart(o).component
		}
		if component == nil {
			component = v.ownService(cluster.Ref{Kind: "Service", Namespace: ns, Name: name}, o)
		}
		e := Evidence{Rule: "service", Text: text("the Service %s/%s answers for it, in a namespace of Cast AI's", ns, name)}
		if component != nil {
			v.claim(o, component, e)
			continue
		}
		v.hint(o, e)
		v.deny(o, Evidence{Rule: "service", Text: "nothing else in it says that it is Cast AI's"})
	}
}

// judgeDefinitions: a CRD of one of Cast AI's API groups, exactly.
func (v *clusterView) judgeDefinitions() {
	for _, o := range v.byKind["CustomResourceDefinition.apiextensions.k8s.io"] {
		component := v.crdGroup(o)
		if v.owned(o) {
			continue
		}
		_, group, _ := strings.Cut(o.Name, ".")
		switch e := (Evidence{Rule: "group", Text: text("the API group %s is Cast AI's", group)}); {
		case component != nil && strings.HasSuffix(group, liqoGroup):
			e.Text = text("the API group %s belongs to the Liqo in this cluster, which is Cast AI's", group)
			v.claim(o, component, e)
		case component != nil:
			v.claim(o, component, e)
		case v.cat.group(group) == nil && v.chart(o).component != nil:
			v.hint(o, Evidence{Rule: "chart-label", Text: "it has the label helm.sh/chart=" + v.chart(o).value})
			v.deny(o, Evidence{Rule: "group", Text: text("the API group %s is not Cast AI's: others may use it", group)})
		}
	}
}

// judgeInstances: a cluster-scoped custom resource of an owned CRD goes with it.
func (v *clusterView) judgeInstances() {
	for _, list := range v.byKind {
		crd := v.ownsKind(list[0].Resource)
		if crd == nil {
			continue
		}
		for _, o := range list {
			if !v.owned(o) {
				v.own(o, v.cat.group(o.Resource.Group), Evidence{Rule: "instance",
					Text: text("it is an object of the kind %s", o.Resource.Kind), From: ref(crd)})
			}
		}
	}
}
