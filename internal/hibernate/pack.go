package hibernate

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	podresources "k8s.io/component-helpers/resource"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// safeToEvict is what people say to the cluster autoscaler, which takes local data
// for a reason to leave a pod where it is (kubernetes/autoscaler
// cluster-autoscaler/utils/drain).
const safeToEvict = "cluster-autoscaler.kubernetes.io/safe-to-evict"

// Move is a workload of a namespace to keep some of whose pods move to nodes that
// stay, so that theirs can go.
type Move struct {
	*Workload
	Pods []*Pod
}

// requests is what a pod takes of what a node has.
func requests(spec *corev1.PodSpec) corev1.ResourceList {
	out := podresources.PodRequests(&corev1.Pod{Spec: *spec}, podresources.PodResourcesOptions{})
	out[corev1.ResourcePods] = *resource.NewQuantity(1, resource.DecimalSI)
	return out
}

// bin is a node of a simulation, with what is free on it.
type bin struct {
	*Node
	free corev1.ResourceList
	// fixed: the node stays, whatever becomes of others. gone: it does not.
	fixed, gone bool
}

// add adds what a pod takes to what is free, or subtracts it.
func (b *bin) add(p *Pod, change func(*resource.Quantity, resource.Quantity)) {
	for name, q := range requests(&p.Spec) {
		free := b.free[name]
		change(&free, q)
		b.free[name] = free
	}
}

func (m *packing) put(p *Pod, b *bin) {
	m.at[p] = b
	b.add(p, (*resource.Quantity).Sub)
}

func (m *packing) drop(p *Pod) {
	m.at[p].add(p, (*resource.Quantity).Add)
	delete(m.at, p)
}

// used is how much of the node's CPU or memory is requested, the larger of both: it
// takes least to empty a node that is used least.
func (b *bin) used() float64 {
	most := 0.0
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		free, all := b.free[name], b.Status.Allocatable[name]
		if all.Sign() > 0 {
			most = max(most, 1-free.AsApproximateFloat64()/all.AsApproximateFloat64())
		}
	}
	return most
}

// packing simulates where a scheduler puts pods, by what is known here: requests,
// labels, taints, required affinity to nodes, and pods that keep others away. A pod that
// more is asked of is not moved (see State.stuck).
type packing struct {
	bins []*bin
	at   map[*Pod]*bin
	// shy are the pods that keep others away from their nodes, or zones.
	shy []*Pod
}

// newPacking lays the pods onto the nodes where they are.
func newPacking(s *State, nodes []*Node) *packing {
	m, byName := &packing{at: map[*Pod]*bin{}}, map[string]*bin{}
	for _, n := range nodes {
		b := &bin{Node: n, free: n.Status.Allocatable.DeepCopy()}
		if b.free == nil {
			b.free = corev1.ResourceList{}
		}
		m.bins = append(m.bins, b)
		byName[n.Object.Name] = b
	}
	for _, p := range s.Pods {
		if b := byName[p.Spec.NodeName]; b != nil {
			m.put(p, b)
		}
		if len(aversions(p)) > 0 {
			m.shy = append(m.shy, p)
		}
	}
	return m
}

// takes tells whether a scheduler could put a pod on a node.
func (m *packing) takes(b *bin, p *Pod) bool {
	cordoned := false // by a pause, which can take that back
	if mark, ok, err := readMark(b.Object); ok && err == nil {
		cordoned = mark.Cordoned
	}
	if b.gone || !b.ready() || b.Spec.Unschedulable && !cordoned {
		return false
	}
	for _, t := range b.Spec.Taints {
		if t.Effect != corev1.TaintEffectPreferNoSchedule && !(cordoned && t.Key == corev1.TaintNodeUnschedulable) &&
			!tolerated(p.Spec.Tolerations, &t) {
			return false
		}
	}
	if ok, err := nodeaffinity.GetRequiredNodeAffinity(&p.Pod).Match(&b.Node.Node); err != nil || !ok {
		return false
	}
	for name, q := range requests(&p.Spec) {
		if free := b.free[name]; q.Sign() > 0 && free.Cmp(q) < 0 {
			return false
		}
	}
	return !m.repelled(b, p)
}

// repelled tells whether a pod on the nodes keeps another one away from a node, or the
// other way round.
func (m *packing) repelled(b *bin, p *Pod) bool {
	for _, q := range m.shy {
		if on := m.at[q]; on != nil && q != p && repels(q, p, on.Node, b.Node) {
			return true
		}
	}
	if len(aversions(p)) == 0 {
		return false
	}
	for q, on := range m.at {
		if q != p && repels(p, q, b.Node, on.Node) {
			return true
		}
	}
	return false
}

// aversions are the terms by which a pod bears no others near it.
func aversions(p *Pod) []corev1.PodAffinityTerm {
	if a := p.Spec.Affinity; a != nil && a.PodAntiAffinity != nil {
		return a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	}
	return nil
}

// repels tells whether a pod on one node bears no other one on another node. Of a
// selector of namespaces, all are taken for selected.
func repels(p, other *Pod, on, there *Node) bool {
	return slices.ContainsFunc(aversions(p), func(t corev1.PodAffinityTerm) bool {
		here, labelled := on.Object.Labels[t.TopologyKey]
		if is, found := there.Object.Labels[t.TopologyKey]; !labelled || !found || is != here {
			return false
		}
		own := len(t.Namespaces) == 0 && other.Object.Namespace == p.Object.Namespace
		if !own && t.NamespaceSelector == nil && !slices.Contains(t.Namespaces, other.Object.Namespace) {
			return false
		}
		selector, err := metav1.LabelSelectorAsSelector(t.LabelSelector)
		return err != nil || selector.Matches(labels.Set(other.Object.Labels))
	})
}

// pack chooses which nodes stay for the pods that are to be kept. All staying nodes
// do; of the others, those are emptied that are used least, if each of their pods may
// move and fits on a node that stays. The others stay, too.
func (s *State) pack(staying, maybe []*Node, kept map[string][]*Pod) (stays map[string]bool, moves []Move) {
	m := newPacking(s, s.Nodes)
	at := map[*Node]*bin{}
	for _, b := range m.bins {
		at[b.Node] = b
		b.gone = true
	}
	for _, n := range staying {
		at[n].gone, at[n].fixed = false, true
	}
	var open []*bin
	owners := map[*Pod]*Workload{}
	for _, n := range maybe {
		b := at[n]
		b.gone = false
		for _, p := range kept[n.Object.Name] {
			owners[p] = s.ownerOf(p)
			b.fixed = b.fixed || s.stuck(p, owners[p])
		}
		if !b.fixed {
			open = append(open, b)
		}
	}
	slices.SortFunc(open, func(a, b *bin) int {
		return cmp.Or(cmp.Compare(a.used(), b.used()), cmp.Compare(a.Object.Name, b.Object.Name))
	})
	for _, b := range open {
		if b.fixed || !m.empty(b, kept[b.Object.Name]) {
			continue
		}
		for _, p := range kept[b.Object.Name] {
			moves = addMove(moves, owners[p], p)
		}
	}
	stays = map[string]bool{}
	for _, n := range maybe {
		stays[n.Object.Name] = !at[n].gone
	}
	return stays, moves
}

// empty moves pods from a node to others, if there is a place for each of them: the
// node is gone then, and those that took one stay.
func (m *packing) empty(from *bin, pods []*Pod) bool {
	from.gone = true
	targets := slices.SortedStableFunc(slices.Values(m.bins),
		func(a, b *bin) int { return cmp.Compare(b.used(), a.used()) })
	for i, p := range pods {
		m.drop(p)
		to := slices.IndexFunc(targets, func(b *bin) bool { return m.takes(b, p) })
		if to >= 0 {
			m.put(p, targets[to])
			continue
		}
		m.put(p, from)
		for _, moved := range pods[:i] {
			m.drop(moved)
			m.put(moved, from)
		}
		from.gone = false
		return false
	}
	for _, p := range pods {
		m.at[p].fixed = true
	}
	return true
}

func addMove(moves []Move, w *Workload, p *Pod) []Move {
	if i := slices.IndexFunc(moves, func(m Move) bool { return m.Workload == w }); i >= 0 {
		moves[i].Pods = append(moves[i].Pods, p)
		return moves
	}
	return append(moves, Move{w, []*Pod{p}})
}

// awaited returns of the nodes that go those that pods to be kept wait for: such as
// were moved and found no place where they should have. Those without a place on any
// node are returned, too.
func (s *State) awaited(staying, going []*Node, namespaces []string) (nodes map[string]bool, without []*Pod) {
	m, chosen := newPacking(s, s.Nodes), []*Node{}
	nodes = map[string]bool{}
	bins := map[*Node]*bin{}
	for _, b := range m.bins {
		bins[b.Node] = b
	}
	cheapest := slices.SortedFunc(slices.Values(going), func(a, b *Node) int {
		return cmp.Or(a.Status.Allocatable.Cpu().Cmp(*b.Status.Allocatable.Cpu()), cmp.Compare(a.Object.Name, b.Object.Name))
	})
	for _, p := range s.Pods {
		if p.Spec.NodeName != "" || p.Object.Terminating() || p.ofItsNode() ||
			!slices.Contains(namespaces, p.Object.Namespace) {
			continue
		}
		open := slices.Concat(staying, chosen, cheapest)
		i := slices.IndexFunc(open, func(n *Node) bool { return m.takes(bins[n], p) })
		if i < 0 {
			without = append(without, p)
			continue
		}
		if m.put(p, bins[open[i]]); slices.Contains(going, open[i]) {
			nodes[open[i].Object.Name], chosen = true, append(chosen, open[i])
		}
	}
	return nodes, without
}

// ownerOf returns the Deployment or StatefulSet that makes a pod again; nil: it is
// something else that does, or nothing.
func (s *State) ownerOf(p *Pod) *Workload {
	owner := p.Object.Controller()
	if owner == nil {
		return nil
	}
	kind := map[string]string{"ReplicaSet": "Deployment", "StatefulSet": "StatefulSet"}[owner.Kind]
	i := slices.IndexFunc(s.Workloads, func(w *Workload) bool { return w.Resource.Kind == kind && w.owns(p) })
	if i < 0 {
		return nil
	}
	return s.Workloads[i]
}

// stuck tells whether a pod is to stay where it is. As Cast AI's Evictor does by
// default, a pause moves only pods of workloads with several replicas, all of which
// run, so that none of them is ever without one; and no pod with data on its node or on
// a volume, none that somebody has marked, that a budget protects now, or that asks for
// more than is simulated.
func (s *State) stuck(p *Pod, w *Workload) bool {
	if w == nil || w.Terminating() || w.Wanted < 2 || w.Ready < w.Wanted || !p.running() ||
		w.Template.Spec.NodeName != "" {
		return true
	}
	marked := p.Object.Labels[removalDisabled] == "true" || p.Object.Annotations[removalDisabled] == "true" ||
		p.Object.Annotations[safeToEvict] == "false"
	return marked || s.protected(p) || asksForMore(p) || slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool {
		local := v.HostPath != nil || v.EmptyDir != nil && v.EmptyDir.Medium != corev1.StorageMediumMemory
		return v.PersistentVolumeClaim != nil || v.Ephemeral != nil || local && p.Object.Annotations[safeToEvict] != "true"
	})
}

// asksForMore tells whether a scheduler looks at more of a pod than is simulated.
func asksForMore(p *Pod) bool {
	if !slices.Contains([]string{"", corev1.DefaultSchedulerName}, p.Spec.SchedulerName) ||
		len(p.Spec.ResourceClaims) > 0 {
		return true
	}
	if a := p.Spec.Affinity; a != nil && a.PodAffinity != nil &&
		len(a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution) > 0 {
		return true
	}
	return slices.ContainsFunc(p.Spec.TopologySpreadConstraints, func(c corev1.TopologySpreadConstraint) bool {
		return c.WhenUnsatisfiable == corev1.DoNotSchedule
	}) || slices.ContainsFunc(p.Spec.Containers, func(c corev1.Container) bool {
		return slices.ContainsFunc(c.Ports, func(port corev1.ContainerPort) bool { return port.HostPort != 0 })
	})
}

// protected tells whether a PodDisruptionBudget lets no pod like this be evicted now.
// More than one for a pod never do (k8s.io/kubernetes
// pkg/registry/core/pod/storage/eviction.go).
func (s *State) protected(p *Pod) bool {
	found := 0
	for _, b := range s.Budgets {
		selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if b.Namespace != p.Object.Namespace || err == nil && !selector.Matches(labels.Set(p.Object.Labels)) {
			continue
		}
		if found++; b.Status.DisruptionsAllowed < 1 {
			return true
		}
	}
	return found > 1
}
