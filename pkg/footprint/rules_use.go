package footprint

import (
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// users maps the objects of a namespace that workloads need to the workloads:
// what their pods mount or run as, and the Services and budgets that select
// their pods.
func (w *world) users(ns string) map[cluster.Ref][]*cluster.Object {
	if out, done := w.used[ns]; done {
		return out
	}
	out := map[cluster.Ref][]*cluster.Object{}
	var selectors []*cluster.Object
	for _, o := range w.byNS[ns] {
		if kind := o.Ref().GroupKind().String(); kind == "Service" || kind == "PodDisruptionBudget.policy" {
			selectors = append(selectors, o)
		}
	}
	for _, o := range w.workersIn[ns] {
		if o.owner {
			continue
		}
		for _, r := range references(ns, o.spec) {
			out[r] = append(out[r], o.Object)
		}
		pods := labels.Set(podLabels(o.Object))
		for _, s := range selectors {
			if selects(s, pods) {
				out[s.Ref()] = append(out[s.Ref()], o.Object)
			}
		}
	}
	w.used[ns] = out
	return out
}

// usedBy returns the first workload of Cast AI's, and the first of others, that
// needs an object.
func (w *world) usedBy(r cluster.Ref) (mine, other *cluster.Object) {
	for _, o := range w.users(r.Namespace)[r] {
		switch {
		case w.owned(o) && mine == nil:
			mine = o
		case !w.owned(o) && other == nil:
			other = o
		}
	}
	return mine, other
}

// selects tells whether a Service or a PodDisruptionBudget selects pods with these labels.
func selects(o *cluster.Object, pods labels.Set) bool {
	spec, _ := o.Body["spec"].(map[string]any)
	raw, _ := spec["selector"].(map[string]any)
	if len(raw) == 0 {
		return false
	}
	switch o.Ref().GroupKind().String() {
	case "Service":
		sel := labels.Set{}
		for k, v := range raw {
			sel[k], _ = v.(string)
		}
		return sel.AsSelector().Matches(pods)
	case "PodDisruptionBudget.policy":
		var ls metav1.LabelSelector
		if m, ok := raw["matchLabels"].(map[string]any); ok {
			ls.MatchLabels = map[string]string{}
			for k, v := range m {
				ls.MatchLabels[k], _ = v.(string)
			}
		}
		sel, err := metav1.LabelSelectorAsSelector(&ls)
		return err == nil && len(ls.MatchLabels) > 0 && sel.Matches(pods)
	}
	return false
}

// ruleReferences: only workloads of Cast AI's use it. That is proof for a
// ServiceAccount and in a namespace where nobody else lives; elsewhere, the
// object must also say itself that it is Cast AI's.
func (w *world) ruleReferences() {
	for _, ns := range w.namespaces {
		if !slices.ContainsFunc(w.workersIn[ns], func(o workload) bool { return w.owned(o.Object) }) {
			continue
		}
		_, home := w.home(ns)
		for _, r := range sortedRefs(w.users(ns)) {
			o := w.byRef[r]
			if o == nil || w.owned(o) || isNoise(o) {
				continue
			}
			by, other := w.usedBy(r)
			if by == nil || other != nil {
				continue
			}
			e := Evidence{Rule: "used", Text: text("only %s %s and other workloads of Cast AI's use it", by.Resource.Kind, by.Name), From: ref(by)}
			component, marks := w.marks(o)
			if component == nil {
				component = w.cat.runtimeObject(r)
			}
			if home || r.Kind == "ServiceAccount" || len(marks) > 0 || w.cat.runtimeObject(r) != nil {
				w.claim(o, component, e)
			} else {
				w.hint(o, e)
				w.deny(o, Evidence{Rule: "used", Text: "nothing in it says that it is Cast AI's, and others live in its namespace"})
			}
		}
	}
}

// ruleCompanions: what Kubernetes or client libraries make beside an owned
// object, without an owner reference: Endpoints of a Service, the token Secret
// of a ServiceAccount, the Lease of a node or of a leader, the volumes of a
// StatefulSet.
func (w *world) ruleCompanions() {
	for _, kind := range []string{"Endpoints", "EndpointSlice.discovery.k8s.io", "Secret", "Lease.coordination.k8s.io", "PersistentVolumeClaim"} {
		for _, o := range w.byKind[kind] {
			if w.owned(o) {
				continue
			}
			if of := w.companion(o); w.ownedRef(of) {
				w.claim(o, nil, Evidence{Rule: "companion", Text: text("it belongs to the %s %s", of.Kind, of.Name), From: &of})
			}
		}
	}
}

// ordinal ends the names of the pods and the volumes of a StatefulSet.
var ordinal = regexp.MustCompile(`-\d+$`)

// companion names the object that another exists for.
func (w *world) companion(o *cluster.Object) cluster.Ref {
	switch o.Resource.Kind {
	case "Endpoints":
		return cluster.Ref{Kind: "Service", Namespace: o.Namespace, Name: o.Name}
	case "EndpointSlice":
		return cluster.Ref{Kind: "Service", Namespace: o.Namespace, Name: o.Labels["kubernetes.io/service-name"]}
	case "Secret":
		return cluster.Ref{Kind: "ServiceAccount", Namespace: o.Namespace, Name: o.Annotations["kubernetes.io/service-account.name"]}
	case "Lease":
		if o.Namespace == "kube-node-lease" {
			return cluster.Ref{Kind: "Node", Name: o.Name}
		}
		if by := w.leader(o); by != nil {
			return by.Ref()
		}
	case "PersistentVolumeClaim":
		name := ordinal.ReplaceAllString(o.Name, "")
		for _, s := range w.workersIn[o.Namespace] {
			if s.Resource.Kind == "StatefulSet" && name != o.Name && strings.HasSuffix(name, "-"+s.Name) {
				return s.Ref()
			}
		}
	}
	return cluster.Ref{}
}

// leader returns the workload of Cast AI's whose pod holds a Lease: client-go's
// leader election writes the pod's name into holderIdentity.
func (w *world) leader(lease *cluster.Object) *cluster.Object {
	holder := str(lease.Body, "spec", "holderIdentity")
	if holder == "" {
		return nil
	}
	var found *cluster.Object
	for _, o := range w.workersIn[lease.Namespace] {
		// The longest name wins: castai-agent-cpvpa-x is not a pod of castai-agent.
		if strings.HasPrefix(holder, o.Name+"-") && (found == nil || len(o.Name) > len(found.Name)) {
			found = o.Object
		}
	}
	if found == nil || !w.owned(found) {
		return nil
	}
	return found
}
