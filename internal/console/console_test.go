package console

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/pkg/engine"
)

const id = "2f1e4c1a-6b0d-4d55-9a6e-3f0c6d5b7a10"

func live(nodes ...LiveNode) Live { return Live{KubeSystemUID: "uid-1", Nodes: nodes} }

func api(list ...string) []castai.Node {
	var out []castai.Node
	for _, text := range list {
		name, provider, _ := strings.Cut(text, " ")
		out = append(out, castai.Node{Id: "id-" + name, Name: name, ProviderId: provider, AddedBy: castAI,
			State: castai.NodeState{Phase: "ready"}})
	}
	return out
}

func TestProve(t *testing.T) {
	eks := castai.Cluster{Eks: castai.EKS{Region: "eu-central-1"}}
	gke := castai.Cluster{Gke: castai.GKE{ProjectId: "prod"}}
	aks := castai.Cluster{Aks: castai.AKS{SubscriptionId: "S-1", NodeResourceGroup: "MC_prod"}}
	anywhere := func(uid string) castai.Cluster {
		return castai.Cluster{Anywhere: castai.Anywhere{KubeSystemNamespaceId: uid}}
	}
	for _, test := range []struct {
		name    string
		cluster castai.Cluster
		nodes   []castai.Node
		live    Live
		want    identity
	}{
		{"the UID of kube-system", anywhere("uid-1"), nil, live(), same},
		{"another UID, although the names agree", anywhere("uid-2"), api("a aws:///z/i-1"),
			live(LiveNode{Name: "a", ProviderID: "aws:///z/i-1"}), different},
		{"a machine", eks, api("a aws:///eu-central-1a/i-1", "b aws:///eu-central-1a/i-2"),
			live(LiveNode{Name: "x", ProviderID: "aws:///eu-central-1a/i-1"},
				LiveNode{Name: "y", ProviderID: "aws:///eu-central-1b/i-9"}), likely},
		{"an instance id", eks, []castai.Node{{Id: "1", Name: "a", InstanceId: "i-1"}},
			live(LiveNode{Name: "x", ProviderID: "aws:///eu-central-1a/i-1"}), likely},
		{"another region", eks, api("a aws:///us-east-1a/i-1"),
			live(LiveNode{Name: "a", ProviderID: "aws:///us-east-1a/i-1"}), different},
		{"a node of another region among them", eks, api("a aws:///eu-central-1a/i-1"),
			live(LiveNode{Name: "a", ProviderID: "aws:///eu-central-1a/i-1"},
				LiveNode{Name: "edge", ProviderID: "aws:///us-east-1a/i-1"}), likely},
		{"another cloud", eks, nil, live(LiveNode{Name: "a", ProviderID: "gce://prod/europe-west3-a/a"}), different},
		{"another project", gke, api("a gce://test/z/a"), live(LiveNode{Name: "a", ProviderID: "gce://test/z/a"}), different},
		{"the same project is no proof", gke, nil, live(LiveNode{Name: "a", ProviderID: "gce://prod/z/a"}), unproven},
		{"a machine at Google", gke, api("a gce://prod/z/a"), live(LiveNode{Name: "a", ProviderID: "gce://prod/z/a"}),
			likely},
		{"the resource group of the nodes", aks, nil, live(LiveNode{Name: "a",
			ProviderID: "azure:///subscriptions/s-1/resourceGroups/mc_prod/providers/x"}), likely},
		{"another resource group", aks, nil, live(LiveNode{Name: "a",
			ProviderID: "azure:///subscriptions/s-1/resourceGroups/mc_test/providers/x"}), unproven},
		{"another subscription", aks, nil, live(LiveNode{Name: "a",
			ProviderID: "azure:///subscriptions/s-2/resourceGroups/mc_prod/providers/x"}), different},
		{"all names", castai.Cluster{}, api("a", "b"), live(LiveNode{Name: "a"}, LiveNode{Name: "b"}), likely},
		{"ids that repeat names count as names", castai.Cluster{}, api("a k3s://a", "b k3s://b"),
			live(LiveNode{Name: "a", ProviderID: "k3s://a"}), unproven},
		{"some names", castai.Cluster{}, api("a", "b"), live(LiveNode{Name: "a"}, LiveNode{Name: "c"}), unproven},
		{"a name, but another machine", eks, api("a aws:///eu-central-1a/i-1"),
			live(LiveNode{Name: "a", ProviderID: "aws:///eu-central-1a/i-2"}), unproven},
		{"no nodes at the API", eks, nil, live(LiveNode{Name: "a", ProviderID: "aws:///eu-central-1a/i-1"}), unproven},
		{"no nodes here", eks, api("a aws:///eu-central-1a/i-1"), live(), unproven},
		{"nothing", castai.Cluster{}, nil, Live{}, unproven},
		{"an empty label is no id", castai.Cluster{}, []castai.Node{{Name: "x"}}, live(LiveNode{Name: "a"}), unproven},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, text := prove(test.cluster, test.nodes, test.live); got != test.want || text == "" {
				t.Errorf("got %d, want %d: %s", got, test.want, text)
			}
		})
	}
}

// managed is a cluster that Cast AI manages.
func managed() *State {
	return &State{API: castai.DefaultURL, ID: id, Nodes: api("a aws:///z/i-1"),
		Policies: castai.Policies(`{"enabled":true}`),
		Cluster:  castai.Cluster{Id: id, Name: "prod", Status: ready, CredentialsId: "c", OrganizationId: "o"}}
}

// Each status has its path.
func TestJudge(t *testing.T) {
	here := live(LiveNode{Name: "a", ProviderID: "aws:///z/i-1"})
	all := Options{DeleteNodes: true, RemoveCluster: true, CleanupScript: "script.sh", Timeout: time.Minute,
		Controller: true, Named: true, Accepted: true}
	keep := Options{RemoveCluster: true, Timeout: time.Minute, Named: true, Accepted: true}
	for _, test := range []struct {
		name     string
		change   func(*State)
		options  Options
		refusal  string
		blockers []string
		steps    []string
	}{
		{"ready", nil, all, "", nil, []string{PoliciesOff, Disconnect, CheckNodes, CleanupScript, RemoveCluster}},
		{"ready, and nothing else is wanted", nil, Options{Timeout: time.Minute, Named: true, Accepted: true}, "", nil,
			[]string{PoliciesOff, Disconnect}},
		{"warning", func(s *State) { s.Cluster.Status = warning }, keep, "", nil,
			[]string{PoliciesOff, Disconnect, RemoveCluster}},
		{"connecting", func(s *State) { s.Cluster.Status = connecting }, keep, "", nil,
			[]string{PoliciesOff, Disconnect, RemoveCluster}},
		{"without policies", func(s *State) { s.Policies = nil }, keep, "", nil, []string{Disconnect, RemoveCluster}},
		{"in schedules", func(s *State) { s.Schedules = []castai.HibernationSchedule{{Id: "h"}} }, keep, "", nil,
			[]string{LeaveSchedules, PoliciesOff, Disconnect, RemoveCluster}},
		{"read-only", func(s *State) { s.Cluster.CredentialsId = "" }, keep, "", nil, []string{RemoveCluster}},
		{"read-only, to delete nodes of", func(s *State) { s.Cluster.CredentialsId = "" }, all, "read-only", nil, nil},
		{"deleting", func(s *State) { s.Cluster.Status = deleting }, all, "", nil,
			[]string{Disconnect, CheckNodes, CleanupScript, RemoveCluster}},
		{"deleted", func(s *State) { s.Cluster.Status, s.Cluster.CredentialsId = deleted, "" }, all, "", nil,
			[]string{CheckNodes, CleanupScript, RemoveCluster}},
		{"archived", func(s *State) { s.Cluster.Status, s.Cluster.CredentialsId = archived, "" }, all, "", nil,
			[]string{CheckNodes}},
		{"gone", func(s *State) { *s = State{API: "api", ID: id, Gone: true} }, all, "", []string{BlockerGone}, nil},
		{"failed", func(s *State) { s.Cluster.Status = failed }, keep, "", []string{BlockerFailed},
			[]string{PoliciesOff, RemoveCluster}},
		{"failed, to delete nodes of", func(s *State) { s.Cluster.Status = failed }, all, "can't delete nodes", nil, nil},
		{"hibernating", func(s *State) { s.Cluster.Status = hibernating }, keep, "is hibernating: wait", nil, nil},
		{"resuming", func(s *State) { s.Cluster.Status = resuming }, keep, "is resuming: wait", nil, nil},
		{"hibernated", func(s *State) { s.Cluster.Status = hibernated }, keep, "", []string{BlockerHibernated},
			[]string{PoliciesOff, Disconnect, RemoveCluster}},
		{"a status of tomorrow", func(s *State) { s.Cluster.Status = "migrating" }, keep, `"migrating"`, nil, nil},
		{"no status", func(s *State) { s.Cluster.Status = "" }, keep, "does not know", nil, nil},
		{"Terraform", func(s *State) { s.Cluster.ManagedBy = "Terraform" }, keep, "", []string{BlockerTerraform},
			[]string{PoliciesOff, Disconnect, RemoveCluster}},
		{"rebalancing", func(s *State) { s.Rebalancing = []castai.RebalancingPlan{{Status: "draining_nodes"}} }, keep, "",
			[]string{BlockerRebalancing}, []string{PoliciesOff, Disconnect, RemoveCluster}},
		{"no controller to drain nodes", nil, Options{DeleteNodes: true, Timeout: time.Minute, Named: true, Accepted: true},
			"", []string{BlockerController}, []string{PoliciesOff, Disconnect, CheckNodes}},
		{"only the nodes say so, and nobody named it", nil, Options{Timeout: time.Minute}, "", []string{BlockerIdentity},
			[]string{PoliciesOff, Disconnect}},
		{"only the nodes say so, which nobody may believe with --yes", nil, Options{Timeout: time.Minute, Named: true}, "",
			[]string{BlockerIdentity}, []string{PoliciesOff, Disconnect}},
		{"only the nodes say so, and a person can be asked", nil, Options{Timeout: time.Minute, Named: true, Asked: true}, "",
			nil, []string{PoliciesOff, Disconnect}},
		{"only the nodes say so, and nobody is asked about nodes", nil,
			Options{DeleteNodes: true, Timeout: time.Minute, Controller: true,
				Named: true}, "pass --accept=console-identity", nil, nil},
		{"only the nodes say so, and nodes are to be deleted", nil,
			Options{DeleteNodes: true, Timeout: time.Minute, Controller: true}, "name it with --cluster-id", nil, nil},
		{"its kube-system says so", func(s *State) { s.Cluster.Anywhere.KubeSystemNamespaceId = "uid-1" },
			Options{Timeout: time.Minute}, "", nil, []string{PoliciesOff, Disconnect}},
		{"other nodes", func(s *State) { s.Nodes = api("b aws:///z/i-2") }, keep, "", []string{BlockerIdentity},
			[]string{PoliciesOff, Disconnect, RemoveCluster}},
		{"other nodes, to be deleted", func(s *State) { s.Nodes = api("b aws:///z/i-2") }, all,
			"--delete-nodes would delete the nodes of whichever cluster it is", nil, nil},
		{"another cluster", func(s *State) { s.Cluster.Anywhere.KubeSystemNamespaceId = "uid-2" }, keep,
			"is not the cluster of the kubeconfig", nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := managed()
			if test.change != nil {
				test.change(s)
			}
			d, err := Judge(s, here, test.options)
			if test.refusal != "" {
				if err == nil || !strings.Contains(err.Error(), test.refusal) {
					t.Errorf("refused with %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var blockers, steps []string
			for _, b := range d.Blockers {
				blockers = append(blockers, b.Name)
				if b.Text == "" || b.Remedy == "" {
					t.Errorf("%s says nothing", b.Name)
				}
			}
			if !slices.Equal(blockers, test.blockers) {
				t.Errorf("blockers %q, want %q", blockers, test.blockers)
			}
			for _, phase := range phases(d) {
				if (phase.Name == PhaseDisconnect) != phase.Gate {
					t.Errorf("%s is a gate: %v", phase.Name, phase.Gate)
				}
				for _, a := range phase.Actions {
					steps = append(steps, a.Operation)
					if a.Why == "" || !strings.Contains(a.Command, "$CASTAI_API_KEY") {
						t.Errorf("%s: why %q, command %q", a.Operation, a.Why, a.Command)
					}
				}
			}
			if !slices.Equal(steps, test.steps) {
				t.Errorf("steps %q, want %q", steps, test.steps)
			}
		})
	}
}

// Who named a cluster that nothing proves to be this one is asked for its name.
func TestQuestion(t *testing.T) {
	here := live(LiveNode{Name: "a", ProviderID: "aws:///z/i-1"})
	named := Options{Timeout: time.Minute, Named: true, Asked: true}
	proven := managed()
	proven.Cluster.Anywhere.KubeSystemNamespaceId = "uid-1"
	for s, asks := range map[*State]bool{managed(): true, proven: false} {
		d, err := Judge(s, here, named)
		if err != nil {
			t.Fatal(err)
		}
		if question, word := d.Question(); (question != "") != asks || word != "prod" {
			t.Errorf("it asks %q, to be answered with %q", question, word)
		}
	}
}

func phases(d *Decision) []engine.Phase {
	out := d.Phases(nil)
	if last := d.RemovePhase(nil); last != nil {
		out = append(out, *last)
	}
	return out
}

func TestOnlyNodesOfCastAIAreNamed(t *testing.T) {
	s := managed()
	s.Nodes = append(s.Nodes, castai.Node{Name: "mine", AddedBy: "user"})
	d, err := Judge(s, live(LiveNode{Name: "a", ProviderID: "aws:///z/i-1"}),
		Options{DeleteNodes: true, Controller: true, Named: true, Accepted: true})
	if err != nil {
		t.Fatal(err)
	}
	if nodes := d.NodesToDelete(); len(nodes) != 1 || nodes[0].Name != "a" {
		t.Errorf("nodes to delete: %+v", nodes)
	}
}

func TestView(t *testing.T) {
	s := managed()
	s.Nodes = append(s.Nodes, castai.Node{Name: "mine", AddedBy: "user"})
	v := NewView(s)
	if v.Policies == nil || !*v.Policies || v.Nodes != 2 || v.MadeNodes != 1 || v.LastSnapshot != nil || v.ReadOnly ||
		v.Problem != "" {
		t.Errorf("%+v", v)
	}
	if v := NewView(&State{ID: id, Gone: true}); v.Problem == "" || v.ReadOnly {
		t.Errorf("%+v", v)
	}
}
