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
// is where it lives, as bindings and webhooks say, and what only Cast AI's has:
// the RuntimeClass that selects omni.cast.ai/type, and, where omni's own API is
// defined, tenant namespaces omni-*. Upstream's may be called that, too.
func (v *clusterView) whoseLiqo() liqoOwner {
	liqo, omni := v.liqoPlaces(), v.omniPlaces()
	castAI, foreign := len(omni.sure) > 0, false
	defined := v.omniDefined()
	for _, o := range v.byKind["Namespace"] {
		tenant := o.Labels["liqo.io/tenant-namespace"] == "true"
		named := slices.ContainsFunc(v.cat.Namespaces, func(h Home) bool {
			match, err := path.Match(h.Name, o.Name)
			return err == nil && match && h.Liqo
		})
		castAI = castAI || defined && tenant && named
	}
	for ns := range liqo {
		if omni.sure[ns] || omni.maybe[ns] {
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

// liqoPlaces are the namespaces that a Liqo lives in: those of its
// ServiceAccounts in bindings, and of the Service that its webhooks call, each
// with an object that leads there.
func (v *clusterView) liqoPlaces() map[string]*cluster.Object {
	out := map[string]*cluster.Object{}
	workloads := v.liqoComponent().Workloads
	for _, b := range v.bindings {
		for _, a := range b.accounts {
			if slices.Contains(workloads, a.Name) {
				out[a.Namespace] = b.Object
			}
		}
	}
	for _, kind := range []string{"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"} {
		if o := v.byRef[cluster.Ref{Group: "admissionregistration.k8s.io", Kind: kind, Name: "liqo-webhook"}]; o != nil {
			for _, h := range nested(o, "webhooks") {
				if ns := serviceOf(h).Namespace; ns != "" {
					out[ns] = o
				}
			}
		}
	}
	return out
}

// places are namespaces in which Cast AI's omni lives.
type places struct{ sure, maybe map[string]bool }

// omniPlaces: castai-omni by its name, which alone says nothing of a Liqo; and
// where the release of the RuntimeClass that only omni has is installed, or,
// beside such a class, the agent's binding or the user's word leads.
func (v *clusterView) omniPlaces() places {
	out := places{map[string]bool{}, map[string]bool{"castai-omni": true}}
	for _, o := range v.byKind["RuntimeClass.node.k8s.io"] {
		if runtimeClassOfOmni(o) {
			key, _ := releaseOf(o)
			out.sure[key.namespace] = true
		}
	}
	if len(out.sure) == 0 {
		return out
	}
	for _, b := range v.bindings {
		for _, a := range b.accounts {
			if c := v.cat.app(a.Name); c != nil && c.Name == "omni-agent" {
				out.maybe[a.Namespace] = true
			}
		}
	}
	maps.Copy(out.maybe, v.trust)
	return out
}

func runtimeClassOfOmni(o *cluster.Object) bool {
	selector, _, err := unstructured.NestedMap(o.Body, "scheduling", "nodeSelector")
	_, ok := selector["omni.cast.ai/type"]
	return err == nil && ok
}

// liqoName tells whether everybody's Liqo gives something cluster-wide this name.
func (r *reader) liqoName(name string) bool {
	liqo := r.liqoComponent()
	return name == "liqo" || strings.HasSuffix(name, ".metrics.liqo.io") || slices.Contains(liqo.Workloads, name) || slices.Contains(liqo.Webhooks, name)
}

// judgeClasses: Liqo's StorageClass and RuntimeClass, where Liqo is Cast AI's.
func (v *clusterView) judgeClasses() {
	liqo := v.liqoComponent()
	for _, o := range v.byKind["StorageClass.storage.k8s.io"] {
		if str(o.Body, "provisioner") == "liqo.io/storage" && v.liqo == liqoCastAI {
			v.claim(o, liqo, Evidence{Rule: "class", Text: "its provisioner is that of the Liqo in this cluster, which is Cast AI's"})
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
	for ns, from := range v.liqoPlaces() {
		v.addHome(ns, v.liqoComponent(), from)
		v.addHome(ns, v.cat.component("omni-agent"), from)
	}
	for _, o := range v.objects {
		unbound := o.Ref().GroupKind().String() == "ClusterRole."+rbac && len(v.boundBy[o.Ref()]) == 0
		if c := v.chart(o); c.chart == "liqo" && !v.owned(o) && (unbound || !judgedByUse(o)) {
			v.claim(o, c.component, Evidence{Rule: "liqo", Text: text("it comes from the chart (%s) of the Liqo in this cluster, which is Cast AI's", c.value)})
		}
	}
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
			v.own(o, v.liqoComponent(), Evidence{Rule: "node", Text: text("it is the virtual node of %s %s", b.Resource.Kind, b.Name), From: ref(b.Object)})
		case strings.HasPrefix(provider, omniProvider), looksVirtual(o) && v.liqo == liqoCastAI:
			v.hint(o, Evidence{Rule: "node", Text: "it looks like a virtual node of Cast AI (liqo.io/type or providerID)"})
			v.deny(o, v.notVirtual(o))
		case provider == "" && hasTaint(o, "scheduling.cast.ai/pod-pinning-preparing"):
			v.hint(o, Evidence{Rule: "node", Text: "castai-pod-pinner prepares nodes with this taint (scheduling.cast.ai/pod-pinning-preparing)"})
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
	for _, field := range []string{"machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion"} {
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
