package ownership

import (
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// serviceOwned judges a webhook or APIService by the Service that it calls:
// whether it is Cast AI's, and whether it still exists.
func (w *world) serviceOwned(ns, name string) (owned, exists bool) {
	o := w.byRef[cluster.Ref{Kind: "Service", Namespace: ns, Name: name}]
	if o != nil {
		return w.owned(o), true
	}
	_, home := w.home(ns)
	return home && ns != "", false
}

// ruleService: webhook configurations and APIServices belong to the Service
// that they call. Where that is gone, the configuration must say itself whose
// it is: by a name of the catalogue, a webhook in Cast AI's domain, or rules on
// Cast AI's API groups only.
func (w *world) ruleService() {
	for _, kind := range []string{"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"} {
		for _, o := range w.byKind[kind+".admissionregistration.k8s.io"] {
			w.judgeWebhooks(o)
		}
	}
	for _, o := range w.byKind["APIService.apiregistration.k8s.io"] {
		ns, name := str(o.Body, "spec", "service", "namespace"), str(o.Body, "spec", "service", "name")
		if ns == "" || w.owned(o) {
			continue
		}
		component := w.cat.group(str(o.Body, "spec", "group"))
		switch owned, exists := w.serviceOwned(ns, name); {
		case owned && exists:
			w.claim(o, component, Evidence{Rule: "service", Text: text("it is served by %s/%s, Cast AI's", ns, name), From: w.serviceRef(ns, name)})
		case owned && (component != nil || w.cat.namedAfter(name) != nil || w.byRef[cluster.Ref{Kind: "Namespace", Name: ns}] == nil && w.namedHome(ns) != nil):
			w.claim(o, component, Evidence{Rule: "service", Text: text("it is served by %s/%s in a namespace of Cast AI's, which is gone", ns, name)})
		case owned:
			w.hint(o, Evidence{Rule: "service", Text: text("it is served by %s/%s in a namespace of Cast AI's, which is gone", ns, name)})
			w.deny(o, Evidence{Rule: "service", Text: "nothing else in it says that it is Cast AI's"})
		}
	}
}

func (w *world) serviceRef(ns, name string) *cluster.Ref {
	r := cluster.Ref{Kind: "Service", Namespace: ns, Name: name}
	if w.byRef[r] == nil {
		return nil
	}
	return &r
}

func (w *world) judgeWebhooks(o *cluster.Object) {
	if w.owned(o) {
		return
	}
	hooks := nested(o, "webhooks")
	var mine, missing int
	var ns, name string
	self := w.cat.webhookName(o.Name) != nil
	for _, h := range hooks {
		hns, hname := str(h, "clientConfig", "service", "namespace"), str(h, "clientConfig", "service", "name")
		owned, exists := w.serviceOwned(hns, hname)
		if !owned {
			continue
		}
		mine++
		ns, name = hns, hname
		if !exists {
			missing++
			self = self || w.cat.inDomain(str(h, "name")) || w.ownRules(h)
		}
	}
	e := Evidence{Rule: "service", Text: text("it calls the Service %s/%s, Cast AI's", ns, name), From: w.serviceRef(ns, name)}
	if missing > 0 {
		e.Text = text("it calls the Service %s/%s in a namespace of Cast AI's, which is gone", ns, name)
	}
	component := w.cat.webhookName(o.Name)
	switch {
	case mine == 0:
	case mine < len(hooks):
		w.hint(o, e)
		w.deny(o, Evidence{Rule: "service", Text: "it calls other Services, too"})
	case missing > 0 && !self:
		w.hint(o, e)
		w.deny(o, Evidence{Rule: "service", Text: "nothing else in it says that it is Cast AI's"})
	default:
		w.claim(o, component, e)
	}
}

// ownRules tells whether a webhook is only about Cast AI's own API groups.
func (w *world) ownRules(h map[string]any) bool {
	rules, _ := h["rules"].([]any)
	for _, r := range rules {
		rule, _ := r.(map[string]any)
		groups, _ := rule["apiGroups"].([]any)
		for _, g := range groups {
			name, _ := g.(string)
			if w.cat.group(name) == nil || strings.HasSuffix(name, liqoGroup) && w.liqo != liqoCastAI {
				return false
			}
		}
	}
	return len(rules) > 0
}

// ruleClasses: Liqo's StorageClass and RuntimeClass, where Liqo is Cast AI's.
func (w *world) ruleClasses() {
	liqo := w.liqoComponent()
	for _, o := range w.byKind["StorageClass.storage.k8s.io"] {
		if str(o.Body, "provisioner") == "liqo.io/storage" && w.liqo == liqoCastAI {
			w.claim(o, liqo, Evidence{Rule: "class", Text: "its provisioner is that of the Liqo in this cluster, which is Cast AI's"})
		}
	}
	for _, o := range w.byKind["RuntimeClass.node.k8s.io"] {
		if runtimeClassOfOmni(o) {
			w.claim(o, liqo, Evidence{Rule: "class", Text: "it selects the virtual nodes of Cast AI (omni.cast.ai/type)"})
		}
	}
}

func runtimeClassOfOmni(o *cluster.Object) bool {
	scheduling, _ := o.Body["scheduling"].(map[string]any)
	selector, _ := scheduling["nodeSelector"].(map[string]any)
	_, ok := selector["omni.cast.ai/type"]
	return ok
}

const omniProvider = "castai-omni://"

// ruleNodes: virtual nodes of Cast AI's Liqo, never a node with a machine behind it.
func (w *world) ruleNodes() {
	liqo := w.liqoComponent()
	for _, o := range w.byKind["Node"] {
		provider := str(o.Body, "spec", "providerID")
		switch {
		case strings.HasPrefix(provider, omniProvider):
			w.own(o, liqo, Evidence{Rule: "node", Text: "it is a virtual node of Cast AI (providerID " + provider + ")"})
		case provider == "" && o.Labels["liqo.io/type"] == "virtual-node" && w.liqo == liqoCastAI:
			w.own(o, liqo, Evidence{Rule: "node", Text: "it is a virtual node (liqo.io/type) of the Liqo in this cluster, which is Cast AI's"})
		case provider == "" && hasTaint(o, "scheduling.cast.ai/pod-pinning-preparing"):
			w.hint(o, Evidence{Rule: "node", Text: "castai-pod-pinner prepares nodes with this taint (scheduling.cast.ai/pod-pinning-preparing)"})
			w.deny(o, Evidence{Rule: "node", Text: "a machine may be about to join as this node"})
		}
	}
}

// liqoOwner says whose the Liqo in a cluster is.
type liqoOwner string

const (
	liqoNone    liqoOwner = "" // nothing tells
	liqoCastAI  liqoOwner = "castai"
	liqoForeign liqoOwner = "foreign"
	liqoBoth    liqoOwner = "both"
)

// liqoComponent returns the catalogue's entry for Liqo.
func (w *world) liqoComponent() *Component { return w.cat.group("core.liqo.io") }

// whoseLiqo decides whose the Liqo in this cluster is: Cast AI's fork has the
// same names for everything as upstream Liqo, so none of them tells.
func (w *world) whoseLiqo() liqoOwner {
	castAI, foreign := false, false
	for _, r := range w.releases {
		for _, o := range r.objects {
			if len(o.source) > 1 && w.cat.chartWithin(o.source[len(o.source)-1], append([]string{r.Chart}, o.source[1:]...)) != nil {
				castAI = true
			}
		}
		if r.Chart != "liqo" {
			continue
		}
		if slices.ContainsFunc(r.home, w.cat.site) || r.Namespace == "castai-omni" ||
			slices.ContainsFunc(r.objects, func(o releaseObject) bool { return slices.ContainsFunc(o.images, w.cat.image) }) {
			castAI = true
		} else {
			foreign = true
		}
	}
	for _, o := range w.workloads {
		for _, image := range o.images {
			if !strings.Contains(image, "liqo") {
				continue
			}
			switch {
			case w.cat.image(image) || o.Namespace == "castai-omni":
				castAI = true
			case isLiqoController(o.Object), strings.Contains(image, "liqotech/"):
				foreign = true
			}
		}
	}
	for _, o := range w.byKind["RuntimeClass.node.k8s.io"] {
		castAI = castAI || runtimeClassOfOmni(o)
	}
	for _, o := range w.byKind["Namespace"] {
		castAI = castAI || strings.HasPrefix(o.Name, "omni-") && o.Labels["liqo.io/tenant-namespace"] == "true"
	}
	for _, b := range w.bindings {
		for _, s := range b.subjects {
			castAI = castAI || strings.HasPrefix(s.name, "liqo-") && s.namespace == "castai-omni"
		}
	}
	switch {
	case castAI && foreign:
		return liqoBoth
	case castAI:
		return liqoCastAI
	case foreign:
		return liqoForeign
	}
	return liqoNone
}

// isLiqoController tells whether a workload is Liqo's own, rather than one that
// merely has liqo in its image's name.
func isLiqoController(o *cluster.Object) bool {
	return o.Labels["app.kubernetes.io/part-of"] == "liqo" || o.Labels["app.kubernetes.io/name"] == "liqo" || slices.Contains([]string{
		"liqo-controller-manager", "liqo-crd-replicator", "liqo-webhook", "liqo-ipam", "liqo-fabric", "liqo-metric-agent", "liqo-proxy",
	}, o.Name)
}
