package hibernate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

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
	// Keep is how NamespacesToKeep are kept; empty: KeepPods.
	Keep string
	// Accept are the names of the refusals that the user goes on against.
	Accept []string
	// Run and By are of the journal.
	Run, By string
	// underway: the pause has begun, and Cast AI's agents may be restarting.
	underway bool
}

// The refusals that --accept takes.
const (
	// AutoscalerOff: it is off before the pause, so that nothing makes nodes after it.
	AutoscalerOff = "autoscaler-off"
	// LostPods: pods without a controller are on nodes that go.
	LostPods = "lost-pods"
	// OnePolicy: Cast AI's job would resume the cluster, which knows all policies only.
	OnePolicy = "one-policy"
)

// Refusals are those that --accept takes.
func Refusals() []string { return []string{AutoscalerOff, LostPods, OnePolicy, ServiceSchedule} }

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
	// Node is the hibernation node; nil: Make says which one is to be made first.
	Node *Node
	Make *castai.NodeConfig
	// Labels that the node gets.
	Labels map[string]string
	// Remove are the nodes to be removed, and Keep those that stay beside Node.
	Remove []*Node
	Keep   []KeptNode
	// Move are workloads to be kept that have pods on nodes that go.
	Move []Move
	// Last is the node that this runs on, if it goes: it goes last.
	Last *Node
	// Essential are the workloads that run through the pause, and Tolerate those
	// of them that get the toleration.
	Essential, Tolerate []*Workload
	// Follow are essential workloads that no change of their template moves, because
	// they tolerate the node already, or are rolled by hand: one pod of each is evicted.
	Follow []Move
	// Coming are nodes that Cast AI is making and that are not in the cluster yet.
	// They go, too, once they are.
	Coming []castai.Node
	// Suspend are the CronJobs that are kept from running meanwhile, and Restore those
	// that are let run again afterwards.
	Suspend, Restore []*CronJob
	// Warnings are for the user to know.
	Warnings []string
	// resting: the cluster is paused by this plugin, and says so.
	resting string
	// begun: an earlier run has paused the cluster or removed nodes of it, so that a
	// failure of this one wakes nobody.
	begun bool
	// without are pods that are to be kept and that no node has room for.
	without []*Pod
	// unheard: a node was ordered, and whether Cast AI makes it is not known.
	unheard bool
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
	if err := p.judge(s, o); err != nil {
		return p, err
	}
	kind, err := s.InstanceType(o.Settings)
	if err != nil {
		return nil, err
	}
	if unknown := s.unknownNamespaces(o.NamespacesToKeep); len(unknown) > 0 {
		return nil, refuse("there is no namespace %s, which is to be kept: correct the list (--namespaces-to-keep)",
			strings.Join(unknown, ", "))
	}
	p.Labels = map[string]string{PausedKey: "true"}
	maps.Copy(p.Labels, o.NodeLabels)
	p.Essential = s.essential(o.movedNamespaces())
	p.chooseNode(s, o, kind)
	p.sort(s, o)
	p.Coming = s.inFlight()
	if len(p.going()) == 0 && len(p.Coming) == 0 {
		switch {
		case p.resting != "" && !s.leftSuspended():
			return &Pause{Already: p.resting}, nil
		case p.resting != "", p.Journal.Node != nil, p.Journal.Adopted:
		default:
			return nil, refuse("there is no node that a pause could remove. %s. --include-foreign-nodes and --keep=%s remove more", p.whyNone(), KeepOnePod)
		}
	}
	if err := p.lost(s, o); err != nil {
		return nil, err
	}
	if p.Node != nil {
		if why := s.room(p.Node, p.Essential, p.staying()); why != "" {
			return nil, refuse("node %s (%s) has no room for what has to run through the pause: it requests %s: choose a larger one with --hibernate-node", p.Node.Object.Name, p.Node.instanceType(), why)
		}
		p.warn(s)
		p.Follow = p.followers(s)
	}
	p.warnKept(s, o)
	p.Suspend, p.Restore = s.apart()
	p.write()
	return p, nil
}

// judge refuses a cluster that can't be paused, or finds it paused already.
func (p *Pause) judge(s *State, o PauseOptions) error {
	c := s.Console.Cluster
	if err := s.ThisCluster(); err != nil {
		return err
	}
	switch {
	case slices.Contains([]string{statusHibernating, statusHibernated, statusResuming}, c.Status):
		return refuse("the cluster is %s by Cast AI's own hibernation: resume it first (resume --managed)", c.Status)
	case !slices.ContainsFunc(s.Nodes, func(n *Node) bool { return n.Console != nil }):
		return refuse("Cast AI knows none of the %d nodes of this cluster: its cluster %s (%s) is another one", len(s.Nodes),
			c.Name, c.Id)
	case c.IsPhase2 != nil && !*c.IsPhase2:
		return refuse("Cast AI may only read this cluster, and so can't remove or add nodes: connect it in the console first")
	case c.Status != "ready" && !o.underway:
		return refuse("the console says that the cluster is %s, and not ready: see to that first",
			cmp.Or(c.Status, "in an unknown state"))
	case o.Switch == SwitchUnschedulable && !slices.Contains(o.Accept, OnePolicy) &&
		slices.ContainsFunc(s.CronJobs, func(c *CronJob) bool { return !c.Own && !c.Suspended }):
		return refuse("Cast AI's job resumes this cluster by turning all policies on, and does not know the one for unscheduled pods: it would leave the cluster asleep. Pause without --policy, let the CronJobs run this plugin (hibernate set --image), or pass --accept=%s and run resume yourself", OnePolicy)
	}
	return p.begin(s, o)
}

// ThisCluster refuses a cluster of Cast AI's that is known to be another one: the UID
// of the namespace kube-system tells, as far as the console has it.
func (s *State) ThisCluster() error {
	if s.Console == nil {
		return nil
	}
	c := s.Console.Cluster
	if there, here := c.Anywhere.KubeSystemNamespaceId, string(s.Server.KubeSystemUID); there != "" && here != "" &&
		there != here {
		return refuse("Cast AI's cluster %s (%s) has another namespace kube-system than this cluster (UID %s there, %s here): its cluster is another one: correct --cluster-id", c.Name, c.Id, there, here)
	}
	return nil
}

// begin says what the pause starts from: nothing, a pause that is on or did not
// finish, or one by Cast AI's job.
func (p *Pause) begin(s *State, o PauseOptions) error {
	sleep, j := s.Sleep(), s.Record.Journal
	switch {
	case s.Blind != "":
		return refuse("%s. Whether another job pauses or resumes is not known then: hibernate set grants the CronJobs of this plugin what they lack", s.Blind)
	case sleep.Job != "":
		return refuse("%s: wait for it to end, or end it: %s", sleep, s.endJob(sleep.Job))
	}
	makes, err := makesNodes(s.Console.Policies)
	if err != nil {
		return err
	}
	if sleep.Who == Ours && sleep.Asleep() {
		// Go on: what was before that pause is what counts.
		kept := *j
		p.Journal = &kept
		p.Journal.Phase, p.Journal.By, p.Journal.Error = Pausing, o.By, ""
		p.begun = sleep.Phase == Paused || sleep.Phase == Pausing && s.anyGone(j.Remove)
		if p.sleepNodeGone(s) {
			p.Journal.Node = nil // another one is chosen
		}
		if sleep.Phase == Resuming { // what is gone, went in the pause before
			p.Journal.Remove = slices.DeleteFunc(slices.Clone(j.Remove),
				func(name string) bool { return s.anyGone([]string{name}) })
		}
	}
	switch {
	case sleep.Phase == Paused && sleep.Who == Ours:
		p.resting = "the cluster is " + sleep.String()
		return nil
	case (sleep.Phase == Pausing || sleep.Phase == Resuming) && sleep.Who == Ours:
		if j.Policies.Switch != o.Switch {
			return refuse("a pause that did not finish turned off the policy %q: go on with --policy=%s, or run resume first",
				j.Policies.Switch, j.Policies.Switch)
		}
		return nil
	case sleep.Asleep() && sleep.Who == CastAI:
		// It pauses only what is on, and turns off all policies.
		p.Journal.Adopted, p.begun = true, true
		p.Journal.Policies = &Policies{Switch: SwitchAll, Enabled: true, Original: s.Console.Policies}
		p.Warnings = append(p.Warnings, "the cluster is "+sleep.String()+
			": this pause takes it over, and its resume turns the autoscaler on")
	case !makes && !slices.Contains(o.Accept, AutoscalerOff):
		return refuse("the autoscaler is off, but no known pause turned it off: a resume would leave it off, and nothing would make nodes for the pods that wait. Turn it on first, or pass --accept=%s; resume --start-autoscaler turns it on then", AutoscalerOff)
	default:
		on, err := switched(s.Console.Policies, o.Switch)
		if err != nil {
			return err
		}
		p.Journal.Policies = &Policies{Switch: o.Switch, Enabled: on, Original: s.Console.Policies}
		if !makes {
			p.Warnings = append(p.Warnings,
				"the autoscaler is off and stays off at resume: nothing will make nodes then, unless it is resumed with --start-autoscaler")
		}
	}
	p.Journal.Unready = nil
	for _, w := range s.essential(o.movedNamespaces()) {
		if w.Ready == 0 {
			p.Journal.Unready = append(p.Journal.Unready, w.Ref().String())
		}
	}
	p.Journal.Unschedulable = Unschedulable(s.Pods)
	return nil
}

// followers returns the essential workloads that have pods on nodes that go only, and
// that nothing but an eviction moves.
func (p *Pause) followers(s *State) (out []Move) {
	for _, w := range Missing(p.Essential, s.Pods, p.Node, p.staying(), p.Journal.Unready) {
		if w.daemon() || slices.Contains(p.Tolerate, w) && !w.ByHand {
			continue
		}
		if i := slices.IndexFunc(s.Pods, func(pod *Pod) bool { return w.owns(pod) && pod.running() }); i >= 0 {
			out = append(out, Move{Workload: w, Pods: s.Pods[i : i+1]})
		}
	}
	return out
}

// warn names what the user should know of the choice.
func (p *Pause) warn(s *State) {
	stays := p.staying()
	var lost []string
	for _, w := range p.Essential {
		if !w.mayRunOn(p.Node) && !w.daemon() && !slices.ContainsFunc(stays, w.mayRunOn) {
			lost = append(lost, w.Ref().String())
		}
	}
	if len(lost) > 0 {
		p.Warnings = append(p.Warnings,
			fmt.Sprintf("no node that stays is one that these may run on, so that they do not run during the pause: %s",
				names(lost, func(s string) string { return s })))
	}
	if n := len(s.Console.Nodes); n < len(s.Nodes) {
		p.Warnings = append(p.Warnings, fmt.Sprintf("Cast AI knows %d of the %d nodes", n, len(s.Nodes)))
	}
}

// write puts into the journal what is about to be done.
func (p *Pause) write() {
	j := p.Journal
	if j.Node == nil {
		j.Node = &SleepNode{Labels: p.Labels}
		if p.Node == nil {
			j.Node.Made, j.Node.InstanceType = true, p.Make.InstanceType
		}
	}
	if p.Node != nil {
		if j.Node.Name != p.Node.Object.Name && !j.Node.Made {
			j.Node.Was = labelsBefore(p.Node.Object.Labels, j.Node.Labels)
		}
		j.Node.Name, j.Node.InstanceType = p.Node.Object.Name, p.Node.instanceType()
	}
	j.Kept = nil
	for _, k := range p.Keep {
		j.Kept = append(j.Kept, k.Object.Name)
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

// labelsBefore returns what those labels are that a pause will change.
func labelsBefore(are, become map[string]string) map[string]string {
	out := map[string]string{}
	for key, value := range become {
		if is, found := are[key]; found && is != value {
			out[key] = is
		}
	}
	return out
}

// lost refuses to remove nodes with pods on them that nobody would make again.
func (p *Pause) lost(s *State, o PauseOptions) error {
	going := map[string]bool{}
	for _, n := range p.going() {
		going[n.Object.Name] = true
	}
	lost := s.lostPods(func(node string) bool { return going[node] })
	switch {
	case len(lost) == 0:
	case slices.Contains(o.Accept, LostPods):
		p.Warnings = append(p.Warnings, "these pods have no controller and will be lost: "+strings.Join(lost, ", "))
	default:
		return refuse("these pods are on nodes that go and have no controller that would make them again: %s. Remove them, keep their namespaces (--namespaces-to-keep), or pass --accept=%s", strings.Join(lost, ", "), LostPods)
	}
	return nil
}
