package hibernate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/castai/kubectl-castai/internal/castai"
)

// PauseOptions are what a user decides about a pause, beside the settings.
type PauseOptions struct {
	Settings
	// Switch is the one to turn off: SwitchAll or SwitchUnschedulable.
	Switch string
	// Foreign: remove the nodes that Cast AI did not make, too.
	Foreign bool
	// JobNode is the name of the node that this runs on, in a Job.
	JobNode string
	// Run and By are of the journal.
	Run, By string
}

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

// Refusal says why nothing is done, and what to do about it.
type Refusal struct{ Message string }

// Error is the message.
func (r *Refusal) Error() string { return r.Message }

func refuse(format string, args ...any) error { return &Refusal{fmt.Sprintf(format, args...)} }

// Pause is what has to be done to pause a cluster.
type Pause struct {
	// Already: it is paused, and says since when and by whom.
	Already string
	// Journal is what is written down first.
	Journal *Journal
	// Node is the one to sleep on; nil: Make says which one is to be made first.
	Node *Node
	Make *castai.NodeConfig
	// Labels that the node gets.
	Labels map[string]string
	// Remove are the nodes to be removed, and Keep those that stay beside Node.
	Remove []*Node
	Keep   []KeptNode
	// Last is the node that this runs on, if it goes: it goes last.
	Last *Node
	// Essential are the workloads that run through the pause, and Tolerate those
	// of them that get the toleration.
	Essential, Tolerate []*Workload
	// Warnings are for the user to know.
	Warnings []string
}

// KeptNode is a node that a pause leaves alone.
type KeptNode struct {
	*Node
	Why string
}

// PlanPause says what has to be done to pause a cluster from the state that it is
// in, which may be that of a pause that did not finish.
func PlanPause(s *State, o PauseOptions) (*Pause, error) {
	p := &Pause{Journal: &Journal{Run: o.Run, Phase: Pausing, By: o.By}}
	if err := p.judge(s, o); err != nil || p.Already != "" {
		return p, err
	}
	kind, err := s.instanceType(o.Settings)
	if err != nil {
		return nil, err
	}
	if unknown := s.unknownNamespaces(o.NamespacesToKeep); len(unknown) > 0 {
		return nil, refuse("there is no namespace %s, which is to be kept: correct the list (--namespaces-to-keep)", strings.Join(unknown, ", "))
	}
	p.Labels = map[string]string{PausedKey: "true"}
	maps.Copy(p.Labels, o.NodeLabels)
	p.Essential = s.essential(o.NamespacesToKeep)
	p.chooseNode(s, o, kind)
	p.sort(s, o)
	if len(p.going()) == 0 && p.Journal.Node == nil {
		return nil, refuse("there is no node that a pause could remove: Cast AI made none of those that are not protected (--include-foreign-nodes removes others, too)")
	}
	if p.Node != nil {
		stays := map[string]bool{}
		for _, n := range p.Keep {
			stays[n.Object.Name] = true
		}
		if why := s.room(p.Node, p.Essential, stays); why != "" {
			return nil, refuse("node %s (%s) has no room for what has to run through the pause: it requests %s: choose a larger one with --hibernate-node", p.Node.Object.Name, p.Node.instanceType(), why)
		}
		p.warn(s)
	}
	p.write()
	return p, nil
}

// judge refuses a cluster that can't be paused, or finds it paused already.
func (p *Pause) judge(s *State, o PauseOptions) error {
	c := s.Console.Cluster
	switch {
	case !slices.ContainsFunc(s.Nodes, func(n *Node) bool { return n.Console != nil }):
		return refuse("Cast AI knows none of the %d nodes of this cluster: its cluster %s (%s) is another one", len(s.Nodes), c.Name, c.Id)
	case c.IsPhase2 != nil && !*c.IsPhase2:
		return refuse("Cast AI may only read this cluster, and so can't remove or add nodes: connect it in the console first")
	case slices.Contains([]string{"hibernating", "hibernated", "resuming"}, c.Status):
		return refuse("the cluster is %s by Cast AI's own hibernation: resume it in the console first", c.Status)
	case c.Status != "ready":
		return refuse("the console says that the cluster is %s, and not ready: see to that first", cmp.Or(c.Status, "in an unknown state"))
	case s.Record.Journal != nil && s.Record.Journal.Phase == Resuming:
		return refuse("a resume by %s has not finished: run resume to finish it first", s.Record.Journal.By)
	}
	on, err := switched(s.Console.Policies, o.Switch)
	if err != nil {
		return err
	}
	j := s.Record.Journal
	if j != nil && j.Phase == Paused && (!on || j.Policies.Switch != o.Switch) {
		p.Already = fmt.Sprintf("the cluster is paused since %s, by %s", j.Since.Format("2006-01-02 15:04 MST"), j.By)
		return nil
	}
	if j != nil && j.Phase == Pausing {
		// Go on: what was before that pause is what counts.
		if j.Policies.Switch != o.Switch {
			return refuse("a pause that did not finish turned off the policy %q: go on with --policy=%s, or run resume first", j.Policies.Switch, j.Policies.Switch)
		}
		kept := *j
		p.Journal = &kept
		p.Journal.By, p.Journal.Error = o.By, ""
		return nil
	}
	p.Journal.Policies = &Policies{Switch: o.Switch, Enabled: on, Original: s.Console.Policies}
	for _, w := range s.essential(o.NamespacesToKeep) {
		if w.Ready == 0 {
			p.Journal.Unready = append(p.Journal.Unready, w.Ref().String())
		}
	}
	p.Journal.Unschedulable = Unschedulable(s.Pods)
	return nil
}

// instanceType returns that of the hibernation node.
func (s *State) instanceType(o Settings) (string, error) {
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
		case n.own() && !n.spot() && n.instanceType() == kind && n.ready() && !n.Spec.Unschedulable && len(n.otherTaints()) == 0 &&
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
		return cmp.Or(first(a)-first(b), a.Object.Created.Compare(b.Object.Created), cmp.Compare(a.Object.Name, b.Object.Name))
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

// chosen tells whether an unfinished pause chose or made the node.
func (p *Pause) chosen(n *Node) bool {
	return p.Journal.Node != nil && (n.Object.Labels[runLabel] == p.Journal.Run || n.Object.Name == p.Journal.Node.Name)
}

// sort says which nodes are removed, and why others are not.
func (p *Pause) sort(s *State, o PauseOptions) {
	for _, n := range s.Nodes {
		why := ""
		switch {
		case n == p.Node:
			continue
		case n.Console == nil:
			why = "Cast AI does not know it"
		case o.ProtectRemovalDisabled && n.protected():
			why = "protected: " + removalDisabled
		case !n.own() && !o.Foreign:
			why = "Cast AI did not make it"
		}
		if why != "" {
			p.Keep = append(p.Keep, KeptNode{n, why})
			continue
		}
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

// going returns all the nodes that go.
func (p *Pause) going() []*Node {
	if p.Last == nil {
		return p.Remove
	}
	return append(slices.Clone(p.Remove), p.Last)
}

// warn names what the user should know of the choice.
func (p *Pause) warn(s *State) {
	var stays []*Node
	for _, k := range p.Keep {
		stays = append(stays, k.Node)
	}
	var lost []string
	for _, w := range p.Essential {
		if !w.mayRunOn(p.Node) && !w.daemon() && !slices.ContainsFunc(stays, w.mayRunOn) {
			lost = append(lost, w.Ref().String())
		}
	}
	if len(lost) > 0 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("no node that stays is one that these may run on, so that they do not run during the pause: %s", names(lost, func(s string) string { return s })))
	}
	if n := len(s.Console.Nodes); n < len(s.Nodes) {
		p.Warnings = append(p.Warnings, fmt.Sprintf("Cast AI knows %d of the %d nodes", n, len(s.Nodes)))
	}
}

// write puts into the journal what is about to be done.
func (p *Pause) write() {
	j := p.Journal
	if j.Node == nil {
		j.Node = &SleepNode{}
		if p.Node == nil {
			j.Node.Made, j.Node.InstanceType, j.Node.Labels = true, p.Make.InstanceType, p.Labels
		}
	}
	if p.Node != nil {
		j.Node.Name, j.Node.InstanceType = p.Node.Object.Name, p.Node.instanceType()
	}
	for _, n := range p.going() {
		if !slices.Contains(j.Remove, n.Object.Name) {
			j.Remove = append(j.Remove, n.Object.Name)
		}
	}
	for _, w := range p.Tolerate {
		if ref := w.Ref().String(); !slices.Contains(j.Tolerate, ref) {
			j.Tolerate = append(j.Tolerate, ref)
		}
	}
}
