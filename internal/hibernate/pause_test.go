package hibernate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

const policiesOn = `{"enabled": true, "unschedulablePods": {"enabled": true, "headroom": {"x": 1e3}}, "other": [1, 2]}`

// situation makes a state of manifests. Each node that has the label of Cast AI's
// id is one that Cast AI made; the others it knows, unless their names begin with
// "unknown".
func situation(t *testing.T, manifests string, change ...func(*State)) *State {
	t.Helper()
	objects, snap := clustertest.World(t, manifests)
	console := &Console{Cluster: castai.Cluster{Id: "id", Name: "prod", Status: "ready", ProviderType: "eks"},
		Policies: castai.Policies(policiesOn)}
	bodies := map[string]map[string]any{}
	for _, u := range objects {
		bodies[u.GetKind()+"/"+u.GetNamespace()+"/"+u.GetName()] = u.Object
	}
	for _, o := range snap.Objects {
		if body := bodies[o.Resource.Kind+"/"+o.Namespace+"/"+o.Name]; body != nil {
			o.Body = body // as the scope of a state reads it
		}
		if o.Resource.Kind != "Node" || strings.HasPrefix(o.Name, "unknown") {
			continue
		}
		n := castai.Node{Id: "id-" + o.Name, Name: o.Name, AddedBy: "user",
			InstanceType: o.Labels["node.kubernetes.io/instance-type"]}
		if id := o.Labels[nodeIDLabel]; id != "" {
			n.Id, n.AddedBy = id, "cast"
		}
		n.SpotConfig.IsSpot = o.Labels["test/spot"] == "true"
		console.Nodes = append(console.Nodes, n)
	}
	s, err := NewState(snap, Namespace, nil, console)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(s)
	}
	return s
}

// aNode is the manifest of a node of Cast AI's that is ready.
func aNode(name string, more ...string) string {
	labels := map[string]string{nodeIDLabel: "cast-" + name, "node.kubernetes.io/instance-type": "m7g.xlarge"}
	spec, ready := "", "True"
	for _, m := range more {
		key, value, _ := strings.Cut(m, "=")
		switch key {
		case "foreign":
			delete(labels, nodeIDLabel)
		case "spec":
			spec = value
		case "ready":
			ready = value
		case "type":
			labels["node.kubernetes.io/instance-type"] = value
		default:
			labels[key] = value
		}
	}
	var l []string
	for key, value := range labels {
		l = append(l, fmt.Sprintf("%s: %q", key, value))
	}
	return fmt.Sprintf("---\napiVersion: v1\nkind: Node\nmetadata: {name: %s, labels: {%s}}\nspec: {%s}\nstatus: {allocatable: {cpu: '2', memory: 8Gi, pods: '20'}, conditions: [{type: Ready, status: %q}]}\n",
		name, strings.Join(l, ", "), spec, ready)
}

func aWorkload(kind, ref, podSpec string, ready int) string {
	namespace, name, _ := strings.Cut(ref, "/")
	return fmt.Sprintf("---\napiVersion: apps/v1\nkind: %s\nmetadata: {name: %s, namespace: %s}\nspec: {replicas: 1, selector: {matchLabels: {app: %[2]s}}, template: {metadata: {labels: {app: %[2]s}}, spec: {%[4]s}}}\nstatus: {readyReplicas: %[5]d, numberReady: %[5]d, desiredNumberScheduled: 1}\n",
		kind, name, namespace, podSpec, ready)
}

func aPod(ref, node, app, containers string, ready bool) string {
	const owner = ", ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: rs, uid: u, controller: true}]"
	namespace, name, _ := strings.Cut(ref, "/")
	return fmt.Sprintf("---\napiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: %s, labels: {app: %s}%s}\nspec: {nodeName: %q, containers: [%s]}\nstatus: {phase: Running, conditions: [{type: Ready, status: %q}]}\n",
		name, namespace, app, owner, node, containers, map[bool]string{true: "True", false: "False"}[ready])
}

func options() PauseOptions { return PauseOptions{Switch: SwitchAll, Run: "r1", By: "me"} }

func plan(t *testing.T, s *State, o PauseOptions) *Pause {
	t.Helper()
	p, err := PlanPause(s, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func nodeList(nodes []*Node) string {
	var out []string
	for _, n := range nodes {
		out = append(out, n.Object.Name)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestWhichNodeToSleepOn(t *testing.T) {
	const m5 = "type=m5a.large"
	for name, tc := range map[string]struct {
		nodes    string
		provider string
		settings Settings
		jobNode  string
		want     string // a name; empty: one is made
		made     string // its type
	}{
		"none of the type":            {nodes: aNode("a"), made: "m5a.large"},
		"one of the type":             {nodes: aNode("a") + aNode("b", m5), want: "b"},
		"spot":                        {nodes: aNode("a", m5, "test/spot=true"), made: "m5a.large"},
		"labelled spot, but it isn't": {nodes: aNode("a", m5, spotLabel+"=true"), want: "a"},
		"not ready":                   {nodes: aNode("a", m5, "ready=False"), made: "m5a.large"},
		"ready unknown":               {nodes: aNode("a", m5, "ready=Unknown"), made: "m5a.large"},
		"cordoned":                    {nodes: aNode("a", m5, "spec=unschedulable: true"), made: "m5a.large"},
		"another taint": {nodes: aNode("a", m5, "spec=taints: [{key: x, effect: NoSchedule}]"),
			made: "m5a.large"},
		"a taint that only prefers": {nodes: aNode("a", m5, "spec=taints: [{key: x, effect: PreferNoSchedule}]"),
			want: "a"},
		"foreign":                {nodes: aNode("a", m5, "foreign") + aNode("b"), made: "m5a.large"},
		"one that was it before": {nodes: aNode("a", m5) + aNode("b", m5, PausedKey+"=true"), want: "b"},
		"that of the job":        {nodes: aNode("a", m5) + aNode("b", m5), jobNode: "b", want: "b"},
		"the first by name":      {nodes: aNode("b", m5) + aNode("a", m5), want: "a"},
		"another type": {nodes: aNode("a", m5) + aNode("b", "type=c6a.large"),
			settings: Settings{Node: "c6a.large"}, want: "b"},
		"GKE": {nodes: aNode("a"), provider: "GKE", made: "e2-standard-2"},
		"AKS": {nodes: aNode("a", "type=Standard_D2as_v5"), provider: "aks",
			made: "Standard_D2as_v5"},
		"AKS with a system node": {nodes: aNode("a", "type=Standard_D2as_v5") +
			aNode("b", "type=Standard_D2as_v5", systemNode+"=system"), provider: "aks", want: "b"},
		"full": {
			nodes: aNode("a", m5) + aPod("shop/p", "a", "p", "{name: c, resources: {requests: {cpu: 1900m}}}", true) +
				aWorkload("Deployment", "kube-system/dns", "containers: [{name: c, resources: {requests: {cpu: 200m}}}]", 1),
			made: "m5a.large",
		},
		"full, but it is there already": {
			nodes: aNode("a", m5) + aPod("shop/p", "a", "p", "{name: c, resources: {requests: {cpu: 1800m}}}", true) +
				aPod("kube-system/dns-1", "a", "dns", "{name: c, resources: {requests: {cpu: 200m}}}", true) +
				aWorkload("Deployment", "kube-system/dns", "containers: [{name: c, resources: {requests: {cpu: 200m}}}]", 1) +
				aNode("b"),
			want: "a",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := situation(t, tc.nodes+aNode("other"), func(s *State) {
				if tc.provider != "" {
					s.Console.Cluster.ProviderType = tc.provider
				}
			})
			o := options()
			o.Settings, o.JobNode = tc.settings, tc.jobNode
			p := plan(t, s, o)
			got := ""
			if p.Node != nil {
				got = p.Node.Object.Name
			}
			if got != tc.want {
				t.Fatalf("it sleeps on %q, want %q", got, tc.want)
			}
			if tc.want != "" {
				return
			}
			if p.Make.InstanceType != tc.made || p.Make.SpotConfig.IsSpot || p.Make.KubernetesLabels[runLabel] != "r1" ||
				len(p.Make.KubernetesTaints) != 1 {
				t.Errorf("it makes %+v", p.Make)
			}
			if system := p.Make.KubernetesLabels[systemNode] == "system"; system != (tc.provider == "aks") {
				t.Errorf("a system node: %t", system)
			}
		})
	}
}

func TestWhichNodesGo(t *testing.T) {
	nodes := aNode("od") + aNode("spot", "test/spot=true") + aNode("label", removalDisabled+"=true") +
		aNode("mine", "foreign") + aNode("unknown") + aNode("job") +
		aNode("elsewhere", "spec=providerID: 'aws:///x'")
	change := func(s *State) {
		for _, n := range s.Nodes {
			if n.Object.Name == "elsewhere" { // Cast AI's node of that id is another machine
				n.Console = nil
			}
		}
	}
	o := options()
	o.JobNode = "job"
	for name, tc := range map[string]struct {
		protect, foreign bool
		want             string
	}{
		"by default": {want: "job label od spot"},
		"protected":  {protect: true, want: "job od spot"},
		"foreign":    {foreign: true, want: "job label mine od spot"},
		"both":       {protect: true, foreign: true, want: "job mine od spot"},
	} {
		o.ProtectRemovalDisabled, o.Foreign = tc.protect, tc.foreign
		p := plan(t, situation(t, nodes, change), o)
		if got := nodeList(p.going()); got != tc.want {
			t.Errorf("%s: %s go, want %s", name, got, tc.want)
		}
		if p.Last == nil || p.Last.Object.Name != "job" || strings.Contains(nodeList(p.Remove), "job") {
			t.Errorf("%s: the job's node is not the last one", name)
		}
		if len(p.Keep)+len(p.going()) != 7 {
			t.Errorf("%s: %d nodes have no fate", name, 7-len(p.Keep)-len(p.going()))
		}
	}
}

func TestAnotherMachineIsNotCastAIsNode(t *testing.T) {
	s := situation(t, aNode("a", "spec=providerID: 'aws:///i-1'")+aNode("b", "spec=providerID: 'aws:///i-2'"))
	s.Console.Nodes[0].ProviderId, s.Console.Nodes[1].ProviderId = "aws:///i-9", "aws:///i-2"
	for _, n := range s.Nodes {
		n.Console = nil
	}
	s.match()
	if s.Nodes[0].Console != nil || s.Nodes[1].Console == nil {
		t.Error("a node of the same name on another machine was taken for it")
	}
}

func TestWhoGetsTheToleration(t *testing.T) {
	const none = "containers: [{name: c}]"
	s := situation(t, aNode("a")+
		aWorkload("Deployment", "kube-system/plain", none, 1)+
		aWorkload("Deployment", "kube-system/tolerant", none+", tolerations: [{operator: Exists}]", 1)+
		aWorkload("Deployment", "kube-system/already", none+
			", tolerations: [{key: scheduling.cast.ai/paused-cluster, operator: Equal, value: 'true'}]", 1)+
		aWorkload("Deployment", "kube-system/not-quite",
			none+", tolerations: [{key: scheduling.cast.ai/paused-cluster, operator: Exists, effect: NoExecute}]", 1)+
		aWorkload("StatefulSet", "monitoring/db", none, 1)+aWorkload("DaemonSet", "castai-agent/spot-handler", none, 1)+
		aWorkload("Deployment", "shop/critical", none+", priorityClassName: system-cluster-critical", 1)+
		aWorkload("Deployment", "shop/web", none+", priorityClassName: important", 1)+
		strings.Replace(aWorkload("Deployment", "kube-system/stopped", none, 0), "replicas: 1", "replicas: 0", 1))
	o := options()
	o.NamespacesToKeep, o.Keep = []string{"monitoring"}, KeepOnePod
	var got []string
	for _, w := range plan(t, s, o).Tolerate {
		got = append(got, w.Namespace+"/"+w.Name)
	}
	slices.Sort(got)
	want := []string{"castai-agent/spot-handler", "kube-system/not-quite", "kube-system/plain", "monitoring/db",
		"shop/critical"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestPauseRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		nodes    string
		change   func(*State)
		settings Settings
		want     string
	}{
		"a provider without a default": {nodes: aNode("a"),
			change: func(s *State) { s.Console.Cluster.ProviderType = "kops" }, want: "--hibernate-node"},
		"a cluster that only reads": {nodes: aNode("a"),
			change: func(s *State) { s.Console.Cluster.IsPhase2 = new(bool) }, want: "only read"},
		"a hibernated one": {nodes: aNode("a"),
			change: func(s *State) { s.Console.Cluster.Status = "hibernated" }, want: "resume --managed"},
		"a hibernated one, without nodes": {change: func(s *State) { s.Console.Cluster.Status = "hibernated" },
			want: "resume --managed"},
		"one that fails": {nodes: aNode("a"), change: func(s *State) { s.Console.Cluster.Status = "failed" },
			want: "failed"},
		"a namespace that is not there": {
			nodes: aNode("a"), settings: Settings{NamespacesToKeep: []string{"monitorin"}}, want: "monitorin",
		},
		"a cluster with another kube-system": {
			nodes: aNode("a"), want: "another one: correct --cluster-id",
			change: func(s *State) {
				s.Server.KubeSystemUID, s.Console.Cluster.Anywhere.KubeSystemNamespaceId = "uid-here", "uid-there"
			},
		},
		"another cluster's nodes, and a label": {nodes: aNode("unknown", nodeIDLabel+"=id-there"), want: "another one",
			change: func(s *State) {
				s.Console.Nodes = []castai.Node{{Id: "id-there", Name: "there", AddedBy: castAI,
					State: castai.NodeState{Phase: "ready"}}}
				s.match()
			}},
		"nothing to remove":       {nodes: aNode("a", "foreign"), want: "no node"},
		"another cluster's nodes": {nodes: aNode("unknown"), want: "another one"},
		"too small a node": {
			nodes: aNode("a", "type=m5a.large", runLabel+"=r0") + aNode("b") + aWorkload("Deployment", "kube-system/dns",
				"containers: [{name: c, resources: {requests: {memory: 9Gi}}}]", 1),
			change: func(s *State) {
				s.Record.Journal = &Journal{Run: "r0", Phase: Pausing, Policies: &Policies{Switch: SwitchAll},
					Node: &SleepNode{Made: true, InstanceType: "m5a.large"}}
			},
			want: "no room",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := situation(t, tc.nodes)
			if tc.change != nil {
				tc.change(s)
			}
			o := options()
			o.Settings = tc.settings
			_, err := PlanPause(s, o)
			if _, ok := errors.AsType[*Refusal](err); !ok || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want a refusal with %q", err, tc.want)
			}
		})
	}
	o := options()
	o.Node = "c6a.large"
	s := situation(t, aNode("a"), func(s *State) { s.Console.Cluster.ProviderType = "kops" })
	if p := plan(t, s, o); p.Make.InstanceType != "c6a.large" {
		t.Errorf("it makes %+v", p.Make)
	}
}

func TestASecondPauseIsNone(t *testing.T) {
	journal := &Journal{Run: "r0", Phase: Paused, By: "them", Policies: &Policies{Switch: SwitchAll, Enabled: true},
		Node: &SleepNode{Name: "a"}}
	off := castai.Policies(`{"enabled": false}`)
	s := situation(t, aNode("a"), func(s *State) { s.Record.Journal, s.Console.Policies = journal, off })
	if p := plan(t, s, options()); !strings.Contains(p.Already, "by them") {
		t.Errorf("it plans %+v", p)
	}
	// Nodes that have come since go, and those that it kept stay.
	journal.Kept = []string{"kept"}
	s = situation(t, aNode("a")+aNode("late")+aNode("kept"),
		func(s *State) { s.Record.Journal, s.Console.Policies = journal, off })
	journal.Node = &SleepNode{Name: "a"}
	if p := plan(t, s, options()); p.Already != "" || nodeList(p.going()) != "late" || p.Journal.Run != "r0" ||
		p.Journal.Phase != Pausing {
		t.Errorf("it plans %+v, %+v", p, p.Journal)
	}
	// Somebody has turned the autoscaler on since: what was done is known still.
	s.Console.Policies = castai.Policies(policiesOn)
	if p := plan(t, s, options()); p.Already != "" || p.Journal.Run != "r0" || !p.Journal.Policies.Enabled ||
		nodeList(p.going()) != "kept late" {
		t.Errorf("it plans %+v, %+v", p, p.Journal)
	}
}

// A pause that goes on keeps what was before the first one.
func TestAPauseGoesOn(t *testing.T) {
	journal := &Journal{Run: "r0", Phase: Pausing, By: "them", Policies: &Policies{Switch: SwitchAll, Enabled: true},
		Node: &SleepNode{Name: "b"}, Unready: []string{"x"}}
	s := situation(t, aNode("a")+aNode("b", "ready=False"), func(s *State) {
		s.Record.Journal, s.Console.Policies = journal, castai.Policies(`{"enabled": false}`)
	})
	p := plan(t, s, options())
	if p.Journal.Run != "r0" || !p.Journal.Policies.Enabled || p.Node == nil || p.Node.Object.Name != "b" ||
		p.Journal.By != "me" || len(p.Journal.Unready) != 1 {
		t.Errorf("it plans %+v, %+v", p, p.Journal)
	}
	o := options()
	o.Switch = SwitchUnschedulable
	if _, err := PlanPause(s, o); err == nil {
		t.Error("it goes on with another policy")
	}
	// An autoscaler that was off before is turned off by nobody, and nothing turns it
	// on: that has to be said.
	s.Record.Journal = nil
	if _, err := PlanPause(s, options()); err == nil || !strings.Contains(err.Error(), AutoscalerOff) {
		t.Errorf("it pauses a cluster that nothing would wake: %v", err)
	}
	s.Console.Policies = castai.Policies(`{"enabled": true, "unschedulablePods": {"enabled": false}}`)
	if _, err := PlanPause(s, options()); err == nil || !strings.Contains(err.Error(), AutoscalerOff) {
		t.Errorf("it pauses a cluster whose pods would get no nodes: %v", err)
	}
	s.Console.Policies = castai.Policies(`{"enabled": false}`)
	o = options()
	o.Accept = []string{AutoscalerOff}
	if p := plan(t, s, o); p.Journal.Policies.Enabled || len(p.Warnings) == 0 {
		t.Errorf("an autoscaler that was off would be turned on, or nothing is said: %v", p.Warnings)
	}
}

func TestWhatIsWaitedFor(t *testing.T) {
	const one = "{name: c}"
	manifests := aNode("sleep") + aNode("stays") + aNode("goes") +
		aWorkload("Deployment", "kube-system/there", "containers: [{name: c}]", 1) +
		aPod("kube-system/there-1", "sleep", "there", one, true) +
		aWorkload("Deployment", "kube-system/kept", "containers: [{name: c}]", 1) +
		aPod("kube-system/kept-1", "stays", "kept", one, true) +
		aWorkload("Deployment", "kube-system/gone", "containers: [{name: c}]", 1) + aPod("kube-system/gone-1", "goes", "gone",
		one, true) +
		aWorkload("Deployment", "kube-system/starting", "containers: [{name: c}]", 1) +
		aPod("kube-system/starting-1", "sleep", "starting", one, false) +
		aWorkload("Deployment", "kube-system/never", "containers: [{name: c}]", 0) +
		aWorkload("Deployment", "kube-system/gpu", "containers: [{name: c}], nodeSelector: {gpu: 'yes'}", 1) +
		aWorkload("DaemonSet", "kube-system/daemon", "containers: [{name: c}]", 1) +
		aPod("kube-system/daemon-1", "stays", "daemon", one, true)
	s := situation(t, manifests)
	byName := map[string]*Node{}
	for _, n := range s.Nodes {
		byName[n.Object.Name] = n
	}
	var got []string
	for _, w := range Missing(s.Workloads, s.Pods, byName["sleep"], []*Node{byName["stays"]},
		[]string{"Deployment.apps/kube-system/never"}) {
		got = append(got, w.Name)
	}
	slices.Sort(got)
	if want := []string{"daemon", "gone", "starting"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestSwitches(t *testing.T) {
	p := castai.Policies(policiesOn)
	for _, name := range []string{SwitchAll, SwitchUnschedulable} {
		off, err := withSwitch(p, name, false)
		if err != nil {
			t.Fatal(err)
		}
		if on, err := switched(off, name); on || err != nil {
			t.Errorf("%s: on %t, %v", name, on, err)
		}
		if !strings.Contains(string(off), "1e3") || !strings.Contains(strings.ReplaceAll(string(off), " ", ""),
			`"other":[1,2]`) {
			t.Errorf("%s: the rest is not as it was: %s", name, off)
		}
		back, err := withSwitch(off, name, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range []string{SwitchAll, SwitchUnschedulable} {
			if on, err := switched(back, other); !on || err != nil {
				t.Errorf("%s: %s is %t, %v", name, other, on, err)
			}
		}
	}
	if _, err := switched(castai.Policies("[]"), SwitchAll); err == nil {
		t.Error("policies that are no object were read")
	}
	if on, err := switched(castai.Policies("{}"), SwitchUnschedulable); on || err != nil {
		t.Errorf("absent: %t, %v", on, err)
	}
}

// Every state that the journal can be in survives its ConfigMap.
func TestJournalIsReadAsItWasWritten(t *testing.T) {
	for _, phase := range []Phase{Awake, Pausing, Paused, Resuming} {
		j := &Journal{Run: "r1", Phase: phase, By: "me",
			Policies: &Policies{Switch: SwitchAll, Enabled: true, Original: castai.Policies(policiesOn)}, Remove: []string{"a"}}
		content, err := j.content("castai-agent", j.Since)
		if err != nil {
			t.Fatal(err)
		}
		o := read(t, &unstructured.Unstructured{Object: content})
		r, err := readRecord(o)
		if err != nil {
			t.Fatal(err)
		}
		if r.Journal.Phase != phase || r.Journal.Run != "r1" || !r.Journal.Policies.Enabled ||
			o.Annotations[PhaseAnnotation] != string(phase) {
			t.Errorf("%s: %+v", phase, r.Journal)
		}
		if r.Status != statusSuccess || r.Vendor {
			t.Errorf("%s: Cast AI's job reads %s, and it is said to be that job's: %t", phase, r.Status, r.Vendor)
		}
	}
	for name, data := range map[string]string{"nonsense": "nonsense",
		"without what it was": `{"phase": "paused", "run": "r1"}`} {
		o := &cluster.Object{Resource: &cluster.Resource{Kind: "ConfigMap"},
			Body: map[string]any{"data": map[string]any{keyJournal: data}}}
		if _, err := readRecord(o); err == nil {
			t.Errorf("%s was read", name)
		}
	}
	shipped := &cluster.Object{Resource: &cluster.Resource{Kind: "ConfigMap"},
		Body: map[string]any{"data": map[string]any{keyStatus: "success", keyTime: "2022-01-01T00:00:00Z"}}}
	if r, err := readRecord(shipped); err != nil || r.Journal != nil || r.Time.Year() != 2022 {
		t.Errorf("as Cast AI ships it: %+v, %v", r, err)
	}
}
