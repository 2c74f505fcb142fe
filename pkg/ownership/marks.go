package ownership

import (
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// pausedCluster is the key of the taint and the label of the node that a
// hibernated cluster sleeps on, and of the toleration for it (HB
// app/k8s_utils.py:143, app/main.py:186).
const pausedCluster = "scheduling.cast.ai/paused-cluster"

// What kubectl castai hibernate writes: the phase of its journal, on the ConfigMap
// castai-hibernate-state, and a mark on each object that a pause has changed
// (internal/hibernate journal.go, marks.go).
const (
	hibernationPhase = "castai.kubectl.dev/hibernation"
	hibernationMark  = "castai.kubectl.dev/hibernate"
)

// Mark is something that Cast AI wrote into an object of somebody else.
type Mark struct {
	Object *cluster.Object
	// Text says what it is, and Patch is the merge patch that takes it back. A
	// list is replaced by what else is in it.
	Text  string
	Patch map[string]any
}

// Marks finds what Cast AI is known to have written into the given objects,
// which are not its own: tolerations of hibernation, labels of namespaces, and,
// while the cluster is hibernated, taints and cordons. The objects may be read
// later than those of the inventory, which tells whose they are. What users
// write for Cast AI to read (node selectors, configuration annotations, other
// tolerations) stays.
func (inv *Inventory) Marks(objects []*cluster.Object) []Mark {
	// Hibernation sets this taint and takes it away when it resumes; a kubelet may
	// register with it, too.
	paused := inv.hibernates() && slices.ContainsFunc(objects,
		func(o *cluster.Object) bool { return hasTaint(o, pausedCluster) })
	var out []Mark
	for _, o := range objects {
		if inv.IsOwned(o.Ref()) || o.Terminating() {
			continue
		}
		var m Mark
		switch o.Ref().GroupKind().String() {
		case "Deployment.apps", "StatefulSet.apps", "DaemonSet.apps":
			byJob := o.Resource.Kind == "Deployment" && slices.Contains(o.Managers, jobManager)
			if _, marked := o.Annotations[hibernationMark]; marked || byJob {
				m = tolerationMark(o)
			}
		case "Namespace":
			m = inv.namespaceMark(o)
		case "Node":
			m = nodeMark(o, paused)
		}
		if _, marked := o.Annotations[hibernationMark]; marked && m.Patch != nil {
			meta, _ := m.Patch["metadata"].(map[string]any)
			if meta == nil {
				meta = map[string]any{}
			}
			meta["annotations"] = map[string]any{hibernationMark: nil}
			m.Patch["metadata"] = meta
		}
		if m.Patch != nil {
			m.Object = o
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b Mark) int { return a.Object.Ref().Compare(b.Object.Ref()) })
	return out
}

// MarkedFields are the fields that the patches of Marks change, by kind.
func MarkedFields() map[string][]string {
	const hibernated, labels = "metadata.annotations." + hibernationMark, "metadata.labels."
	pods := []string{"spec.template.spec.tolerations", hibernated}
	return map[string][]string{
		"Deployment.apps": pods, "StatefulSet.apps": pods, "DaemonSet.apps": pods,
		"Namespace": {labels + rebalancing, labels + offloaded, hibernated},
		"Node":      {"spec.taints", "spec.unschedulable", labels + pausedCluster, hibernated},
	}
}

// Labels that Cast AI's controllers put on namespaces: castai-kentroller on those
// that it rebalances, Liqo on those that it offloads.
const (
	rebalancing = "rebalancing.cast.ai/active"
	offloaded   = "liqo.io/scheduling-enabled"
)

// hibernation is the component of Cast AI's hibernation, as the catalogue calls it.
const hibernation = "castai-hibernate"

// hibernates tells whether Cast AI's hibernation is installed here.
func (inv *Inventory) hibernates() bool {
	return slices.ContainsFunc(inv.Owned(), func(i *Item) bool { return i.Component == hibernation })
}

// tolerationMark: Cast AI's job writes it into Deployments only, so that one
// elsewhere, or where the job wrote nothing, is a person's, unless a mark says otherwise.
func tolerationMark(o *cluster.Object) Mark {
	rest, found := without(o, pausedCluster, "spec", "template", "spec", "tolerations")
	if !found {
		return Mark{}
	}
	spec := map[string]any{"tolerations": rest}
	return Mark{
		Text:  "its pods tolerate the taint of a hibernated cluster (" + pausedCluster + "), which no node will have again",
		Patch: map[string]any{"spec": map[string]any{"template": map[string]any{"spec": spec}}},
	}
}

// namespaceMark: what Cast AI's controllers put on namespaces of users. Where none of
// them has written, the label is a person's.
func (inv *Inventory) namespaceMark(o *cluster.Object) Mark {
	if !slices.ContainsFunc(o.Managers, inv.judged.cat.writes) {
		return Mark{}
	}
	keys := []string{rebalancing}
	if inv.judged.cluster.liqo == liqoCastAI {
		keys = append(keys, offloaded)
	}
	labels := map[string]any{}
	var found []string
	for _, key := range keys {
		if _, ok := o.Labels[key]; ok {
			labels[key] = nil
			found = append(found, key)
		}
	}
	if len(found) == 0 {
		return Mark{}
	}
	return Mark{
		Text:  "Cast AI's controllers labelled it: " + strings.Join(found, ", "),
		Patch: map[string]any{"metadata": map[string]any{"labels": labels}},
	}
}

// jobManager is the field manager of Cast AI's hibernation job: the Python client's
// own name (kubernetes-client/python, kubernetes/client/api_client.py).
const jobManager = "OpenAPI-Generator"

// nodeMark: hibernation taints and labels the node that stays, and cordons all
// others. A cordon is hibernation's only while the cluster is hibernated, if the
// job is installed here, and if it has written to the node: the taint of one
// node, which its kubelet may register with, must not free others of somebody
// else's cordons.
func nodeMark(o *cluster.Object, paused bool) Mark {
	var text []string
	patch, meta, spec := map[string]any{}, map[string]any{}, map[string]any{}
	if rest, found := without(o, pausedCluster, "spec", "taints"); found {
		spec["taints"] = rest
		text = append(text, "hibernation tainted it ("+pausedCluster+")")
	}
	if _, found := o.Labels[pausedCluster]; found {
		meta["labels"] = map[string]any{pausedCluster: nil}
		text = append(text, "hibernation labelled it ("+pausedCluster+")")
	}
	node, _ := o.Body["spec"].(map[string]any)
	cordoned, _ := node["unschedulable"].(bool)
	byJob := slices.Contains(o.Managers, jobManager) && !slices.Contains(o.Managers, "kubectl")
	if cordoned && paused && byJob && !hasTaint(o, "autoscaling.cast.ai/draining") {
		spec["unschedulable"] = nil
		text = append(text, "hibernation cordoned it")
	}
	if len(text) == 0 {
		return Mark{}
	}
	if len(meta) > 0 {
		patch["metadata"] = meta
	}
	if len(spec) > 0 {
		patch["spec"] = spec
	}
	return Mark{Text: strings.Join(text, ", and "), Patch: patch}
}

// without returns a list of a body without the entries that have a key; nil if
// nothing else is in it.
func without(o *cluster.Object, key string, path ...string) (rest any, found bool) {
	var kept []any
	for _, entry := range nested(o, path...) {
		if str(entry, "key") == key {
			found = true
			continue
		}
		kept = append(kept, entry)
	}
	if kept == nil {
		return nil, found
	}
	return kept, found
}
