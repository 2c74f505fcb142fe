package ownership

import (
	"maps"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// liqoOwner says whose the Liqo in a cluster is.
type liqoOwner string

const (
	liqoNone    liqoOwner = "" // nothing tells
	liqoCastAI  liqoOwner = "castai"
	liqoForeign liqoOwner = "foreign"
	liqoBoth    liqoOwner = "both"
)

// whoseLiqo decides whose the Liqo in this cluster is: Cast AI's fork has the
// same names for everything as upstream Liqo, so none of them tells. What tells
// is where it lives, as bindings, webhooks and APIServices say, and what only
// Cast AI's has: the RuntimeClass that selects omni.cast.ai/type, and, where
// omni's own API is defined, tenant namespaces omni-*. Upstream's may be called
// that, too. A RuntimeClass alone is a leftover, beside which a Liqo of somebody
// else's may have been installed.
func (v *clusterView) whoseLiqo() liqoOwner {
	v.liqoAt = v.liqoPlaces()
	omni := v.omniPlaces()
	castAI, foreign := false, false
	defined := v.omniDefined()
	for _, o := range v.byKind["Namespace"] {
		tenant := o.Labels["liqo.io/tenant-namespace"] == "true"
		named := slices.ContainsFunc(v.cat.Namespaces, func(h Home) bool {
			match, err := path.Match(h.Name, o.Name)
			return err == nil && match && h.Liqo
		})
		castAI = castAI || defined && tenant && named
	}
	for ns := range v.liqoAt {
		if omni[ns] {
			castAI = true
		} else {
			foreign = true
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

// omniDefined tells whether a definition of omni's own API group is here.
func (v *clusterView) omniDefined() bool {
	return slices.ContainsFunc(v.byKind["CustomResourceDefinition.apiextensions.k8s.io"], func(o *cluster.Object) bool {
		_, group, _ := strings.Cut(o.Name, ".")
		c := v.cat.group(group)
		return c != nil && c.Name == "omni-agent"
	})
}

// liqoPlaces are the namespaces that a Liqo lives in, whatever it is called
// there: those of the subjects of bindings with its chart's label or of its
// ServiceAccounts, of the Services that its webhooks call, and of those that
// answer for its API groups; each with an object that leads there.
func (v *clusterView) liqoPlaces() map[string]*cluster.Object {
	out := map[string]*cluster.Object{}
	for _, b := range v.bindings {
		for _, a := range b.accounts {
			if chartName(b.Object) == "liqo" || v.liqoAccount(a) {
				out[a.Namespace] = b.Object
			}
		}
	}
	for _, kind := range []string{"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"} {
		for _, o := range v.byKind[kind+".admissionregistration.k8s.io"] {
			for _, h := range nested(o, "webhooks") {
				if ns := serviceOf(h).Namespace; ns != "" && v.cat.liqoHook(o, h) {
					out[ns] = o
				}
			}
		}
	}
	for _, o := range v.byKind["APIService.apiregistration.k8s.io"] {
		if ns := str(o.Body, "spec", "service", "namespace"); ns != "" && v.cat.liqoGroup(str(o.Body, "spec", "group")) {
			out[ns] = o
		}
	}
	return out
}

// liqoAccount tells whether a ServiceAccount has the name of one of everybody's
// Liqo's programs.
func (v *clusterView) liqoAccount(a cluster.Ref) bool {
	return slices.Contains(v.liqoComponent().Workloads, a.Name)
}

// liqoGroup tells whether an API group is one of everybody's Liqo's.
func (c *Catalogue) liqoGroup(group string) bool {
	return strings.HasSuffix(group, liqoGroup) && c.group(group) != nil
}

// liqoHook tells whether a webhook of a configuration is a Liqo's: it calls its
// configurations liqo-webhook, its webhooks NAME.mutate.liqo.io and
// NAME.validate.liqo.io, and most of them are about its own API groups (liqo
// deployments/liqo/templates/webhooks).
func (c *Catalogue) liqoHook(o *cluster.Object, h map[string]any) bool {
	name := str(h, "name")
	return o.Name == "liqo-webhook" || strings.HasSuffix(name, ".mutate"+liqoGroup) ||
		strings.HasSuffix(name, ".validate"+liqoGroup) ||
		slices.ContainsFunc(ruleGroups(h), c.liqoGroup)
}

// omniPlaces are the namespaces in which Cast AI's omni lives, if a Liqo is there:
// castai-omni by its name, for a Liqo with its ordinary names; where the release of
// the RuntimeClass that only omni has is installed, by Helm's mark or by the labels of
// a binding that came from the same chart in the same release; and, beside such a
// class, where the agent's binding or the user's word leads.
func (v *clusterView) omniPlaces() map[string]bool {
	out, classes := map[string]bool{}, map[liqoPart]bool{}
	for _, o := range v.byKind["RuntimeClass.node.k8s.io"] {
		if !runtimeClassOfOmni(o) {
			continue
		}
		if key, marked := releaseOf(o); marked {
			out[key.namespace] = true
		}
		classes[liqoPartOf(o)] = true
		if value := o.Labels["helm.sh/chart"]; value != "" {
			v.liqoLabels[value] = true
		}
	}
	for _, b := range v.bindings {
		part := liqoPartOf(b.Object)
		for _, a := range b.accounts {
			c := v.cat.app(a.Name)
			agent := c != nil && c.Name == "omni-agent" && len(classes) > 0
			named := a.Namespace == "castai-omni" && (v.liqoAccount(a) || len(classes) > 0)
			if agent || named || part.release != "" && classes[part] {
				out[a.Namespace] = true
			}
		}
	}
	if len(classes) > 0 {
		maps.Copy(out, v.trust)
	}
	return out
}

// liqoPart is the installation that the labels of an object of Liqo's chart name:
// its instance is RELEASE-NAME, NAME being its app.kubernetes.io/name (liqo
// deployments/liqo/templates/_helpers.tpl).
type liqoPart struct{ chart, release string }

func liqoPartOf(o *cluster.Object) liqoPart {
	name := o.Labels["app.kubernetes.io/name"]
	release, ok := strings.CutSuffix(o.Labels["app.kubernetes.io/instance"], "-"+name)
	if !ok || name == "" {
		release = ""
	}
	return liqoPart{o.Labels["helm.sh/chart"], release}
}

func runtimeClassOfOmni(o *cluster.Object) bool {
	selector, _, err := unstructured.NestedMap(o.Body, "scheduling", "nodeSelector")
	_, ok := selector["omni.cast.ai/type"]
	return err == nil && ok
}

// liqoName tells whether everybody's Liqo gives something cluster-wide this name.
func (r *reader) liqoName(name string) bool {
	liqo := r.liqoComponent()
	return name == "liqo" || strings.HasSuffix(name, ".metrics.liqo.io") || slices.Contains(liqo.Workloads, name) ||
		slices.Contains(liqo.Webhooks, name)
}

// judgeClasses: Liqo's StorageClass and RuntimeClass, where Liqo is Cast AI's.
func (v *clusterView) judgeClasses() {
	liqo := v.liqoComponent()
	for _, o := range v.byKind["StorageClass.storage.k8s.io"] {
		if str(o.Body, "provisioner") == "liqo.io/storage" && v.liqo == liqoCastAI {
			v.claim(o, liqo,
				Evidence{Rule: "class", Text: "its provisioner is that of the Liqo in this cluster, which is Cast AI's"})
		}
	}
	for _, o := range v.byKind["RuntimeClass.node.k8s.io"] {
		if runtimeClassOfOmni(o) {
			v.claim(o, liqo, Evidence{Rule: "class", Text: "it selects the virtual nodes of Cast AI (omni.cast.ai/type)"})
		}
	}
}

// judgeLiqo: what has the label of Liqo's chart, where Liqo is Cast AI's. Kinds
// that their use decides about have rules of their own, but for roles that no
// binding grants.
func (v *clusterView) judgeLiqo() {
	if v.liqo != liqoCastAI {
		return
	}
	for ns, from := range v.liqoAt {
		v.addHome(ns, v.liqoComponent(), from)
		v.addHome(ns, v.cat.component("omni-agent"), from)
	}
	for _, o := range v.objects {
		unbound := o.Ref().GroupKind().String() == "ClusterRole."+rbac && len(v.boundBy[o.Ref()]) == 0
		if c := v.chart(o); c.component == v.liqoComponent() && !v.owned(o) && (unbound || !judgedByUse(o)) {
			v.claim(o, c.component,
				Evidence{Rule: "liqo", Text: text("it comes from the chart (%s) of the Liqo in this cluster, which is Cast AI's",
					c.value)})
		}
	}
}

// generatedAccount tells whether a ServiceAccount is that of a virtual kubelet, vk-NAME
// (liqo pkg/vkMachinery), in a namespace that Cast AI's Liqo made.
func (v *clusterView) generatedAccount(a cluster.Ref) bool {
	home := v.namedHome(a.Namespace)
	return home != nil && home.generated() && strings.HasPrefix(a.Name, "vk-")
}

// forGateway tells whether a binding with a label of Cast AI's Liqo is for an account in
// a namespace that it made: those of its gateways have whatever name their template says.
func (v *clusterView) forGateway(b *binding, a cluster.Ref) bool {
	home := v.namedHome(a.Namespace)
	return home != nil && home.generated() && v.liqoLabel(b.Object) != ""
}

// liqoLabel returns the key of a label of Cast AI's Liqo that an object has, or "".
func (r *reader) liqoLabel(o *cluster.Object) string {
	for key := range o.Labels {
		domain, _, prefixed := strings.Cut(key, "/")
		if prefixed && r.liqo == liqoCastAI && r.cat.group(domain) == r.liqoComponent() {
			return key
		}
	}
	return ""
}

const omniProvider = "castai-omni://"

// judgeNodes: virtual nodes of Cast AI's Liqo. A kubelet writes labels, taints
// and the provider id of its own node, so none of these proves anything: the
// node must be the one that Liqo's binding liqo-node-NAME, whose subject is the
// virtual kubelet vk-NAME in a namespace that Liqo made, is for. A node with a
// machine behind it is never owned.
func (v *clusterView) judgeNodes() {
	virtual := v.virtualNodes()
	for _, o := range v.byKind["Node"] {
		provider := str(o.Body, "spec", "providerID")
		switch b := virtual[o]; {
		case b != nil:
			v.own(o, v.liqoComponent(), Evidence{Rule: "node", Text: text("it is the virtual node of %s %s", b.Resource.Kind,
				b.Name), From: ref(b.Object)})
		case strings.HasPrefix(provider, omniProvider), looksVirtual(o) && v.liqo == liqoCastAI:
			v.hint(o, Evidence{Rule: "node", Text: "it looks like a virtual node of Cast AI (liqo.io/type or providerID)"})
			v.deny(o, v.notVirtual(o))
		case provider == "" && hasTaint(o, "scheduling.cast.ai/pod-pinning-preparing"):
			v.hint(o,
				Evidence{Rule: "node",
					Text: "castai-pod-pinner prepares nodes with this taint (scheduling.cast.ai/pod-pinning-preparing)"})
			v.deny(o, Evidence{Rule: "node", Text: "a machine may be about to join as this node"})
		}
	}
}

// looksVirtual tells whether a node says of itself that it is a virtual one.
func looksVirtual(o *cluster.Object) bool {
	provider := str(o.Body, "spec", "providerID")
	return o.Labels["liqo.io/type"] == "virtual-node" && (provider == "" || strings.HasPrefix(provider, omniProvider))
}

// notVirtual says why a node that looks like a virtual one need not be one.
func (v *clusterView) notVirtual(o *cluster.Object) Evidence {
	if field := machine(o); field != "" {
		return Evidence{Rule: "node", Text: text("status.nodeInfo.%s says that a machine is behind it", field)}
	}
	return Evidence{Rule: "node", Text: "a kubelet may write that, and no binding liqo-node-* of Cast AI's Liqo is for it"}
}

// machine returns the field of status.nodeInfo by which the kubelet of a machine
// tells of it, or "". Virtual kubelets fill in the version, the operating system
// and the architecture only (liqo pkg/virtualKubelet/liqoNodeProvider).
func machine(o *cluster.Object) string {
	for _, field := range []string{"machineID", "systemUUID", "bootID", "kernelVersion", "osImage",
		"containerRuntimeVersion"} {
		if str(o.Body, "status", "nodeInfo", field) != "" {
			return field
		}
	}
	return ""
}

// virtualNodes are the nodes of virtual kubelets, with their bindings: Liqo calls
// the binding liqo-node-NAME and the ServiceAccount vk-NAME (liqo
// pkg/vkMachinery), and Cast AI's fork the node omni-NAME or NAME. A binding is
// for one node.
func (v *clusterView) virtualNodes() map[*cluster.Object]*binding {
	out := map[*cluster.Object]*binding{}
	for _, b := range v.bindings {
		name, ok := strings.CutPrefix(b.Name, "liqo-node-")
		ns, one := b.namespaceOf()
		home := v.namedHome(ns)
		if !ok || !one || !v.owned(b.Object) || home == nil || !home.generated() || b.accounts[0].Name != "vk-"+name {
			continue
		}
		for _, called := range []string{"omni-" + name, name} {
			if o := v.byRef[cluster.Ref{Kind: "Node", Name: called}]; o != nil && looksVirtual(o) && machine(o) == "" {
				out[o] = b
				break
			}
		}
	}
	return out
}
