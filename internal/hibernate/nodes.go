package hibernate

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/castai/kubectl-castai/internal/castai"
)

// Which node a cluster sleeps on, and which of the others go, stay, or still come.

// defaultNodes are the instance types of hibernation nodes (HB app/main.py).
var defaultNodes = map[string]string{"gke": "e2-standard-2", "eks": "m5a.large", "aks": "Standard_D2as_v5"}

// DefaultNodes lists them for a person.
func DefaultNodes() string {
	var out []string
	for _, provider := range slices.Sorted(maps.Keys(defaultNodes)) {
		out = append(out, strings.ToUpper(provider)+" "+defaultNodes[provider])
	}
	return strings.Join(out, ", ")
}

// systemNode is the label of the nodes of AKS on which its own pods may run: it
// does without one at no time (HB app/main.py, cloud_labels).
const systemNode = "kubernetes.azure.com/mode"

// InstanceType returns that of the hibernation node.
func (s *State) InstanceType(o Settings) (string, error) {
	provider := strings.ToLower(s.Console.Cluster.ProviderType)
	if kind := cmp.Or(o.Node, defaultNodes[provider]); kind != "" {
		return kind, nil
	}
	return "", refuse("there is no default hibernation node for clusters of the provider %q: name its instance type with --hibernate-node (HIBERNATE_NODE)", provider)
}

// chooseNode takes the node that an unfinished pause has chosen or made, else the
// best one that is there, else one that has to be made.
func (p *Pause) chooseNode(s *State, o PauseOptions, kind string) {
	aks := strings.EqualFold(s.Console.Cluster.ProviderType, "aks")
	var candidates []*Node
	for _, n := range s.Nodes {
		switch {
		case p.chosen(n):
			p.Node = n
			return
		case p.Journal.Node != nil:
		case n.own() && !n.spot() && n.instanceType() == kind && n.ready() && !n.Spec.Unschedulable &&
			len(n.otherTaints()) == 0 &&
			(!aks || n.Object.Labels[systemNode] == "system") && s.room(n, p.Essential, nil) == "":
			candidates = append(candidates, n)
		}
	}
	slices.SortFunc(candidates, func(a, b *Node) int {
		first := func(n *Node) int {
			switch {
			case n.Object.Labels[PausedKey] == "true":
				return 0 // it was one before
			case n.Object.Name == o.JobNode:
				return 1 // the job need not outlive its node
			}
			return 2
		}
		return cmp.Or(first(a)-first(b), a.Object.Created.Compare(b.Object.Created),
			cmp.Compare(a.Object.Name, b.Object.Name))
	})
	if len(candidates) > 0 {
		p.Node = candidates[0]
		return
	}
	p.Make = &castai.NodeConfig{
		InstanceType: kind, KubernetesLabels: maps.Clone(p.Labels),
		KubernetesTaints: []castai.Taint{{Key: PausedKey, Value: "true", Effect: string(corev1.TaintEffectNoSchedule)}},
	}
	p.Make.KubernetesLabels[runLabel] = p.Journal.Run
	if aks { // it is what the node is, not what it is for tonight
		p.Make.KubernetesLabels[systemNode] = "system"
	}
}

// chosen tells whether an unfinished pause chose or made the node. The label of the
// run proves nothing, as a kubelet can write it: it counts only until the API has
// said which node it makes, and only on one of Cast AI's that is as was asked for.
func (p *Pause) chosen(n *Node) bool {
	j := p.Journal.Node
	switch {
	case j == nil:
		return false
	case j.Made && j.ID != "":
		return n.Console != nil && n.Console.Id == j.ID
	case j.Name != "":
		return n.Object.Name == j.Name && (!j.Made || n.own())
	}
	return j.Made && n.own() && n.Object.Labels[runLabel] == p.Journal.Run && n.instanceType() == j.InstanceType
}

// sort says which nodes are removed, and why others are not.
func (p *Pause) sort(s *State, o PauseOptions) {
	var could []*Node
	for _, n := range s.Nodes {
		switch why := p.whyStays(n, o); {
		case n == p.Node:
		case why != "":
			p.Keep = append(p.Keep, KeptNode{n, why})
		default:
			could = append(could, n)
		}
	}
	for _, n := range p.keepNodes(s, o, could) {
		if n.Object.Name == o.JobNode {
			p.Last = n
			continue
		}
		p.Remove = append(p.Remove, n)
	}
	for _, w := range p.Essential {
		if !tolerates(listAt(w.Object, tolerations...)) {
			p.Tolerate = append(p.Tolerate, w)
		}
	}
}

// whyNone says why none of the nodes goes.
func (p *Pause) whyNone() string {
	byReason := map[string][]string{}
	for _, k := range p.Keep {
		byReason[k.Why] = append(byReason[k.Why], k.Object.Name)
	}
	if len(p.Keep) == 0 {
		return "The only one is the hibernation node"
	}
	var out []string
	for _, why := range slices.Sorted(maps.Keys(byReason)) {
		out = append(out, names(byReason[why], func(s string) string { return s })+": "+why)
	}
	return strings.Join(out, ". ")
}

// whyStays says why a node does not go, whatever runs on it; empty: it could go.
func (p *Pause) whyStays(n *Node, o PauseOptions) string {
	switch {
	case n.Console == nil:
		return "Cast AI does not know it"
	case (p.resting != "" || p.begun) && slices.Contains(p.Journal.Kept, n.Object.Name):
		return "the pause that is on keeps it"
	case o.ProtectRemovalDisabled && n.protected():
		return "protected: " + removalDisabled
	case !n.own() && !o.Foreign:
		return "Cast AI did not make it"
	}
	return ""
}

// staying returns the nodes that stay beside the hibernation node.
func (p *Pause) staying() []*Node {
	out := make([]*Node, 0, len(p.Keep))
	for _, k := range p.Keep {
		out = append(out, k.Node)
	}
	return out
}

// going returns all the nodes that go.
func (p *Pause) going() []*Node {
	if p.Last == nil {
		return p.Remove
	}
	return append(slices.Clone(p.Remove), p.Last)
}

// anyGone tells whether one of the nodes is not in the cluster any more.
func (s *State) anyGone(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		return !slices.ContainsFunc(s.Nodes, func(n *Node) bool { return n.Object.Name == name })
	})
}

// leaving tells whether Cast AI deletes the node, or has.
func leaving(n castai.Node) bool { return n.State.Phase == "deleting" || n.State.Phase == "deleted" }

// sleepNodeGone tells whether the node that the cluster slept on is neither in the
// cluster nor being made.
func (p *Pause) sleepNodeGone(s *State) bool {
	j := p.Journal
	if j.Node == nil || j.Node.Made && j.Node.ID == "" || slices.ContainsFunc(s.Nodes, p.chosen) {
		return false
	}
	return !j.Node.Made || !slices.ContainsFunc(s.Console.Nodes, func(n castai.Node) bool {
		return j.isMade(n) && !leaving(n)
	})
}

// joining is how long after Cast AI was asked for it a node may still join the
// cluster, whatever phase the API says that it is in: the machine may be there, and
// its kubelet not yet (nodeStatus of the public OpenAPI of Cast AI's API has unknown,
// ready, not_ready and cordoned among them).
const joining = 20 * time.Minute

// inFlight returns the nodes that Cast AI is making and that are not in the cluster.
func (s *State) inFlight() []castai.Node {
	joined := map[string]bool{}
	for _, n := range s.Nodes {
		if n.Console != nil {
			joined[n.Console.Id] = true
		}
	}
	var out []castai.Node
	for _, n := range s.Console.Nodes {
		if n.AddedBy != castAI || joined[n.Id] {
			continue
		}
		switch n.State.Phase {
		case "pending", "creating":
			out = append(out, n)
		case "deleting", "deleted", "draining", "interrupted":
		default:
			if time.Since(n.CreatedAt) < joining {
				out = append(out, n)
			}
		}
	}
	return out
}
