package ownership

import (
	"regexp"
	"slices"
	"strings"

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
	selectors := map[cluster.Ref]labels.Selector{}
	for _, o := range w.byNS[ns] {
		if s := podSelector(o); s != nil {
			selectors[o.Ref()] = s
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
		for r, s := range selectors {
			if s.Matches(pods) {
				out[r] = append(out[r], o.Object)
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

// podSelector returns what selects the pods of a Service or a PodDisruptionBudget;
// nil for one that selects none by labels, and for any other object.
func podSelector(o *cluster.Object) labels.Selector {
	service := o.Resource.Group == "" && o.Resource.Kind == "Service"
	if !service && !isPDB(o) {
		return nil
	}
	spec, _ := o.Body["spec"].(map[string]any)
	raw, _ := spec["selector"].(map[string]any)
	if isPDB(o) {
		raw, _ = raw["matchLabels"].(map[string]any)
	}
	if len(raw) == 0 {
		return nil
	}
	selected := labels.Set{}
	for k, v := range raw {
		selected[k], _ = v.(string)
	}
	return selected.AsSelector()
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

// companion is an object that another exists for.
type companion struct{ object, of *cluster.Object }

// noteCompanions finds what Kubernetes or client libraries make beside an
// object, without an owner reference: Endpoints of a Service, the token Secret
// of a ServiceAccount, the Lease of a node or of a leader, the volumes of a
// StatefulSet.
func (w *world) noteCompanions() {
	for _, kind := range []string{"Endpoints", "EndpointSlice.discovery.k8s.io", "Secret", "Lease.coordination.k8s.io", "PersistentVolumeClaim"} {
		for _, o := range w.byKind[kind] {
			if of := w.companionOf(o); of != nil {
				w.companions = append(w.companions, companion{o, of})
			}
		}
	}
}

// ruleCompanions: the object that it exists for is owned.
func (w *world) ruleCompanions() {
	for _, c := range w.companions {
		if !w.owned(c.object) && w.owned(c.of) {
			w.claim(c.object, nil, Evidence{Rule: "companion", Text: text("it belongs to the %s %s", c.of.Resource.Kind, c.of.Name), From: ref(c.of)})
		}
	}
}

// ordinal ends the names of the pods and the volumes of a StatefulSet.
var ordinal = regexp.MustCompile(`-\d+$`)

// companionOf returns the object that another exists for, nil if none is there.
func (w *world) companionOf(o *cluster.Object) *cluster.Object {
	kind, namespace, name := "", o.Namespace, ""
	switch o.Resource.Kind {
	case "Endpoints":
		kind, name = "Service", o.Name
	case "EndpointSlice":
		kind, name = "Service", o.Labels["kubernetes.io/service-name"]
	case "Secret":
		kind, name = "ServiceAccount", o.Annotations["kubernetes.io/service-account.name"]
	case "Lease":
		if o.Namespace != "kube-node-lease" {
			return w.leader(o)
		}
		kind, namespace, name = "Node", "", o.Name
	case "PersistentVolumeClaim":
		return w.statefulSetOf(o)
	}
	if name == "" {
		return nil
	}
	return w.byRef[cluster.Ref{Kind: kind, Namespace: namespace, Name: name}]
}

// statefulSetOf returns the StatefulSet that a volume claim is for: its name is
// TEMPLATE-STATEFULSET-ORDINAL.
func (w *world) statefulSetOf(claim *cluster.Object) *cluster.Object {
	name := ordinal.ReplaceAllString(claim.Name, "")
	if name == claim.Name {
		return nil
	}
	for _, s := range w.workersIn[claim.Namespace] {
		if s.Resource.Kind == "StatefulSet" && strings.HasSuffix(name, "-"+s.Name) {
			return s.Object
		}
	}
	return nil
}

// leader returns the workload whose pod holds a Lease: client-go's leader
// election writes the pod's name into holderIdentity.
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
	return found
}
