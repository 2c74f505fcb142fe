package hibernate

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/internal/castai"
)

// vendorNode is one that Cast AI's job has written to, as managed fields tell.
func vendorNode(name, spec, fields string) string {
	return strings.Replace(aNode(name, "spec="+spec), "metadata: {",
		"metadata: {managedFields: [{manager: OpenAPI-Generator, operation: Update, fieldsType: FieldsV1, fieldsV1: {f:spec: {"+fields+": {}}}}], ", 1)
}

const vendorToleration = "containers: [{name: c}], tolerations: [{key: x, operator: Exists}, {key: scheduling.cast.ai/paused-cluster, operator: Exists, effect: NoSchedule}, {key: scheduling.cast.ai/paused-cluster, operator: Exists, effect: NoSchedule}]"

func vendorDeployment(ref string) string {
	return strings.Replace(aWorkload("Deployment", ref, vendorToleration, 1), "metadata: {name",
		"metadata: {managedFields: [{manager: OpenAPI-Generator, operation: Update, fieldsType: FieldsV1, fieldsV1: {f:spec: {f:template: {f:spec: {f:tolerations: {}}}}}}], name", 1)
}

const pausedNodeSpec = "taints: [{key: scheduling.cast.ai/paused-cluster, value: 'true', effect: NoSchedule}]"

func TestWhatCastAIsJobLeft(t *testing.T) {
	s := situation(t, vendorNode("cordoned", "unschedulable: true", "f:unschedulable")+
		aNode("by-a-person", "spec=unschedulable: true")+
		vendorNode("both", "unschedulable: true, "+pausedNodeSpec, "f:unschedulable")+
		aNode("tainted", "spec="+pausedNodeSpec)+
		aNode("labelled", PausedKey+"=true")+
		vendorDeployment("kube-system/dns")+
		aWorkload("Deployment", "kube-system/by-a-person", vendorToleration, 1))
	patches := map[string]string{}
	for _, c := range Leftovers(s) {
		patch, err := c.patch(c.Object)
		if err != nil {
			t.Fatal(err)
		}
		patches[c.Name] = text(t, patched(t, c.Object, patch))
		if !c.Vendor {
			t.Errorf("%s is said to be of this plugin", c.Ref())
		}
	}
	var names []string
	for name, after := range patches {
		names = append(names, name)
		if strings.Contains(after, `"unschedulable"`) || strings.Contains(after, `"key":"`+PausedKey) {
			t.Errorf("%s still has something: %s", name, after)
		}
	}
	slices.Sort(names)
	if want := []string{"both", "cordoned", "dns", "labelled", "tainted"}; !slices.Equal(names, want) {
		t.Errorf("leftovers of %v, want %v", names, want)
	}
	if !strings.Contains(patches["dns"], `{"key":"x","operator":"Exists"}`) {
		t.Errorf("another toleration went, too: %s", patches["dns"])
	}
}

func TestPlanResume(t *testing.T) {
	const off = `{"enabled": false}`
	marked := strings.Replace(aNode("marked"), "metadata: {",
		`metadata: {annotations: {castai.kubectl.dev/hibernate: '{"run":"r0","cordoned":true}'}, `, 1)
	for name, tc := range map[string]struct {
		nodes    string
		journal  *Journal
		policies string
		ran      int // the year in which Cast AI's job ran
		repair   bool
		start    bool
		already  string
		enable   bool
		changes  int
	}{
		"never paused": {nodes: aNode("a"), policies: off, already: "not paused"},
		"awake again": {nodes: aNode("a"), journal: &Journal{Phase: Awake}, policies: off,
			already: "not paused"},
		"awake, with a mark":         {nodes: marked, journal: &Journal{Phase: Awake}, already: "resume --repair"},
		"awake, with a mark, repair": {nodes: marked, journal: &Journal{Phase: Awake}, repair: true, changes: 1},
		"paused": {nodes: marked, journal: &Journal{Run: "r0", Phase: Paused,
			Policies: &Policies{Switch: SwitchAll, Enabled: true}}, policies: off, enable: true, changes: 1},
		"paused, and it was off": {nodes: marked, journal: &Journal{Run: "r0", Phase: Paused,
			Policies: &Policies{Switch: SwitchAll}}, policies: off, changes: 1},
		"half resumed": {nodes: aNode("a"),
			journal: &Journal{Run: "r0", Phase: Resuming, Policies: &Policies{Switch: SwitchAll,
				Enabled: true}}, policies: off, enable: true},
		"by Cast AI's job": {nodes: aNode("a", PausedKey+"=true"), policies: off, ran: 2026, repair: true,
			enable: true, changes: 1},
		"by Cast AI's job, no repair": {nodes: aNode("a", PausedKey+"=true"), policies: off, ran: 2026, enable: true,
			changes: 1},
		"and it is off":           {nodes: aNode("a"), policies: off, already: "--start-autoscaler"},
		"and it is to be started": {nodes: aNode("a"), policies: off, start: true, enable: true},
		"it is on":                {nodes: aNode("a"), start: true, already: "not paused"},
		"paused, to be started": {nodes: aNode("a"),
			journal: &Journal{Run: "r0", Phase: Paused,
				Policies: &Policies{Switch: SwitchAll}}, policies: off, start: true, enable: true},
		"the job never ran": {nodes: aNode("a", PausedKey+"=true") + aNode("b"), policies: off, ran: 2022,
			repair: true, changes: 1},
		"turned off by a person": {nodes: aNode("a"), policies: off, ran: 2026, repair: true,
			already: "nothing is left"},
		"nothing to repair": {nodes: aNode("a"), repair: true, already: "nothing is left"},
	} {
		t.Run(name, func(t *testing.T) {
			s := situation(t, tc.nodes, func(s *State) {
				s.Record.Journal = tc.journal
				if tc.policies != "" {
					s.Console.Policies = castai.Policies(tc.policies)
				}
				if tc.ran != 0 {
					s.Record = Record{Journal: tc.journal, Status: statusSuccess, Time: time.Time{}.AddDate(tc.ran-1, 0, 0),
						Vendor: tc.ran >= firstRun}
				}
			})
			r, err := PlanResume(s, ResumeOptions{Run: "r9", By: "me", Repair: tc.repair, Start: tc.start})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(r.Already, tc.already) || (r.Already == "") != (tc.already == "") {
				t.Errorf("already %q, want %q", r.Already, tc.already)
			}
			if (r.Policies != nil) != tc.enable || len(r.Changes) != tc.changes {
				t.Errorf("policies %v, %d changes", r.Policies, len(r.Changes))
			}
			if r.Journal != nil && (r.Journal.Phase != Resuming || r.Journal.By != "me") {
				t.Errorf("it writes down %+v", r.Journal)
			}
		})
	}
}

// A node that a killed pause was having made is given up, unless it is there.
func TestANodeInTheMaking(t *testing.T) {
	journal := &Journal{Run: "r0", Phase: Pausing, Policies: &Policies{Switch: SwitchAll},
		Node: &SleepNode{Made: true, InstanceType: "m5a.large"}}
	creating := castai.Node{Id: "new", Name: "made", Labels: map[string]string{runLabel: "r0"},
		State: castai.NodeState{Phase: "creating"}}
	for name, tc := range map[string]struct {
		nodes string
		node  castai.Node
		want  string
	}{
		"being made": {nodes: aNode("a"), node: creating, want: "new"},
		"not ready": {nodes: aNode("made", runLabel+"=r0", nodeIDLabel+"=new", "ready=False"), node: creating,
			want: "new"},
		"there":         {nodes: aNode("made", runLabel+"=r0", nodeIDLabel+"=new"), node: creating},
		"another run's": {nodes: aNode("a"), node: castai.Node{Id: "old", Labels: map[string]string{runLabel: "r9"}}},
		"gone": {nodes: aNode("a"), node: castai.Node{Id: "new", Labels: creating.Labels,
			State: castai.NodeState{Phase: "deleted"}}},
	} {
		s := situation(t, tc.nodes, func(s *State) {
			others := slices.DeleteFunc(s.Console.Nodes, func(n castai.Node) bool { return n.Name == tc.node.Name })
			s.Record.Journal, s.Console.Nodes = journal, slices.Concat(others, []castai.Node{tc.node})
			s.match()
		})
		r, err := PlanResume(s, ResumeOptions{Run: "r9", By: "me", Repair: false})
		if err != nil || r.Unmade != tc.want {
			t.Errorf("%s: gives up %q, want %q (%v)", name, r.Unmade, tc.want, err)
		}
	}
}
