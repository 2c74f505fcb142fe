package hibernate

import (
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/internal/castai"
)

// machines are what the API knows: the names that Cast AI gave, and their machines.
func machines(names ...string) func(*State) {
	return func(s *State) {
		s.Console.Nodes = nil
		for _, name := range names {
			s.Console.Nodes = append(s.Console.Nodes, castai.Node{
				Id: "cast-" + name, Name: name, AddedBy: castAI, ProviderId: "aws:///z/i-" +
					name, State: castai.NodeState{Phase: "ready"},
				InstanceType: map[bool]string{true: "m5a.large", false: "m7g.xlarge"}[name == "sleep"],
			})
		}
		s.match()
	}
}

// A kubelet can write labels of its own node, and says its provider id itself. None
// of that has another machine removed, or slept on.
func TestNoNodeIsTakenForAnother(t *testing.T) {
	real := func(name string, more ...string) string {
		return aNode(name, append([]string{"spec=providerID: 'aws:///z/i-" + name + "'"}, more...)...)
	}
	for name, tc := range map[string]struct {
		evil          string
		sleep, remove string
	}{
		"the label of a protected node": {aNode("evil", nodeIDLabel+"=cast-b"), "sleep", "c"},
		"its machine, too": {aNode("evil", nodeIDLabel+"=cast-b", "spec=providerID: 'aws:///z/i-b'"),
			"sleep", "c"},
		"the label of the hibernation node": {aNode("evil", nodeIDLabel+"=cast-sleep", "type=m5a.large",
			"spec=providerID: 'aws:///z/i-sleep'"), "sleep", "c"},
		"no label, and the machine of a node": {aNode("evil", "foreign", "spec=providerID: 'aws:///z/i-c'"), "sleep",
			"c"},
		"itself, with a machine of its own":       {real("evil"), "sleep", "c evil"},
		"its own name, without a machine":         {aNode("evil"), "sleep", "c"},
		"its own name, and somebody else's label": {real("evil", nodeIDLabel+"=cast-c"), "sleep", "c"},
	} {
		t.Run(name, func(t *testing.T) {
			s := situation(t, real("sleep", "type=m5a.large")+real("b", removalDisabled+"=true")+real("c")+tc.evil,
				machines("sleep", "b", "c", "evil"))
			o := options()
			o.ProtectRemovalDisabled = true
			p := plan(t, s, o)
			if p.Node == nil || p.Node.Object.Name != tc.sleep || nodeList(p.Remove) != tc.remove {
				t.Errorf("it sleeps on %v and removes %s", p.Node, nodeList(p.Remove))
			}
			for _, n := range p.going() {
				if n.Console.Id != "cast-"+n.Object.Name {
					t.Errorf("%s goes as %s", n.Object.Name, n.Console.Id)
				}
			}
		})
	}
}

// The label of the run is on the node that was made, where every kubelet can read
// it, and can be put on any other.
func TestTheMadeNodeIsTheOneOfTheJournal(t *testing.T) {
	for name, node := range map[string]*SleepNode{
		"the API has said which":         {Name: "made", ID: "cast-made", Made: true, InstanceType: "m5a.large"},
		"the pause was killed meanwhile": {Made: true, InstanceType: "m5a.large"},
	} {
		for evil, manifest := range map[string]string{
			"another of Cast AI's": aNode("aa-evil", runLabel+"=r0"), "one that Cast AI did not make": aNode("aa-evil",
				"foreign", "type=m5a.large", runLabel+"=r0"),
		} {
			for _, phase := range []Phase{Pausing, Paused} {
				s := situation(t, manifest+aNode("b")+aNode("made", runLabel+"=r0", "type=m5a.large"), func(s *State) {
					s.Console.Policies = castai.Policies(`{"enabled": false}`)
					s.Record.Journal = &Journal{Run: "r0", Phase: phase, By: "them",
						Policies: &Policies{Switch: SwitchAll, Enabled: true}, Node: node}
				})
				if p := plan(t, s, options()); p.Node == nil || p.Node.Object.Name != "made" {
					t.Errorf("%s, beside %s, %s: it sleeps on %v", name, evil, phase, p.Node)
				}
			}
		}
	}
}

// A resume would turn on the autoscaler of the other cluster.
func TestAResumeOfAnotherCluster(t *testing.T) {
	s := situation(t, aNode("a"), func(s *State) {
		s.Console.Policies = castai.Policies(`{"enabled": false}`)
		s.Server.KubeSystemUID, s.Console.Cluster.Anywhere.KubeSystemNamespaceId = "here", "there"
	})
	if _, err := PlanResume(s, ResumeOptions{Start: true}); err == nil ||
		!strings.Contains(err.Error(), "correct --cluster-id") {
		t.Error(err)
	}
	s.Console.Cluster.Anywhere.KubeSystemNamespaceId = "here"
	if r, err := PlanResume(s, ResumeOptions{Start: true}); err != nil || r.Policies == nil {
		t.Errorf("%+v, %v", r, err)
	}
}
