package printer

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/offboard"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

const installation = `
apiVersion: v1
kind: Namespace
metadata: {name: castai-agent}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: castai-agent, namespace: castai-agent}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: castai-agent, namespace: castai-agent, labels: {app.kubernetes.io/name: castai-agent}}
spec:
  replicas: 2
  selector: {matchLabels: {app.kubernetes.io/name: castai-agent}}
  template:
    metadata: {labels: {app.kubernetes.io/name: castai-agent}}
    spec:
      serviceAccountName: castai-agent
      containers: [{name: agent, image: us-docker.pkg.dev/castai-hub/library/agent:v0.153.2}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: theirs, namespace: shop}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
`

func ref(kind, namespace, name string) cluster.Ref {
	return cluster.Ref{Kind: kind, Namespace: namespace, Name: name}
}

// planned returns the plan for a small installation, and many ConfigMaps in it.
func planned(t *testing.T, more int, include ...cluster.Ref) (*ownership.Inventory, *engine.Plan) {
	t.Helper()
	manifests := strings.Builder{}
	manifests.WriteString(installation)
	for i := range more {
		fmt.Fprintf(&manifests,
			"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: castai-%03d, namespace: castai-agent, labels: {helm.sh/chart: castai-agent-1.0.0}}\n", i)
	}
	_, snap := clustertest.World(t, manifests.String())
	cat, err := ownership.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	for i := range more {
		include = append(include, ref("ConfigMap", "castai-agent", fmt.Sprintf("castai-%03d", i)))
	}
	inv := ownership.Judge(snap, nil, cat, ownership.Options{Include: include})
	return inv, offboard.New(inv, cat, offboard.Options{})
}

func targets(plan *engine.Plan) (names []string) {
	for _, p := range plan.Phases {
		for _, a := range p.Actions {
			names = append(names, a.Target.Name)
		}
	}
	return names
}

// Everything that would be removed is in the text by its name: as it goes into a
// file or a pipe, with -o wide, and on a terminal.
func TestPlanNamesEverything(t *testing.T) {
	inv, plan := planned(t, 60)
	for name, show := range map[string]func(*Text){
		"a pipe": func(text *Text) { text.Plan(inv, plan) },
		"wide":   func(text *Text) { text.WidePlan(inv, plan) },
		"a terminal": func(text *Text) {
			text.width = 80
			text.Plan(inv, plan)
		},
	} {
		var out bytes.Buffer
		text := NewText(&out)
		if show(text); text.Err() != nil {
			t.Fatal(text.Err())
		}
		if len(plan.Phases) == 0 || len(targets(plan)) < 60 {
			t.Fatalf("the plan has %v", targets(plan))
		}
		for _, target := range targets(plan) {
			if !strings.Contains(out.String(), target) {
				t.Errorf("%s: %s is missing in\n%s", name, target, &out)
			}
		}
		for line := range strings.Lines(out.String()) {
			if name == "a terminal" && strings.Contains(line, "castai-0") && len(line) > 81 {
				t.Errorf("this line is wider than the terminal: %s", line)
			}
		}
	}
}

// A plan that is too long for a terminal is in a file.
func TestLongPlanIsInAFile(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	inv, plan := planned(t, mostNamed+1)
	var out bytes.Buffer
	text := NewText(&out)
	text.width = 80
	if text.Plan(inv, plan); text.Err() != nil {
		t.Fatal(text.Err())
	}
	_, file, found := strings.Cut(out.String(), "reason, is in:")
	if !found {
		t.Fatalf("no file is named in\n%s", &out)
	}
	whole, err := os.ReadFile(strings.TrimSpace(file))
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range targets(plan) {
		if !strings.Contains(string(whole), target) {
			t.Errorf("%s is missing in the file", target)
		}
	}
}

func TestUnusualComesFirst(t *testing.T) {
	reader := cluster.Ref{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "reader"}
	theirs := ref("ConfigMap", "shop", "theirs")
	inv, plan := planned(t, 0, theirs, reader)
	var found []string
	for _, u := range FindUnusual(inv, plan) {
		found = append(found, u.Object.String()+": "+strings.Join(u.Why, "; "))
	}
	want := []string{
		"ConfigMap/shop/theirs: named with --include; in namespace shop, which is not Cast AI's",
		"ClusterRole.rbac.authorization.k8s.io/reader: named with --include; cluster-wide, without a name of Cast AI's",
	}
	slices.Sort(found)
	slices.Sort(want)
	if !slices.Equal(found, want) {
		t.Errorf("%q", found)
	}
	var out bytes.Buffer
	NewText(&out).Plan(inv, plan)
	if first, phases := strings.Index(out.String(),
		"ClusterRole.rbac.authorization.k8s.io/reader: named"), strings.Index(out.String(), "\n1. "); first < 0 ||
		first > phases {
		t.Errorf("it does not come first in\n%s", &out)
	}
}

func TestUnusual(t *testing.T) {
	p := places{map[string]bool{"castai-agent": true}, func(ns string) bool { return ns == "platform" }}
	target := func(kind, namespace, name string) cluster.Target {
		return cluster.Target{Ref: ref(kind, namespace, name)}
	}
	subject := func(kind, namespace, name string) map[string]any {
		return map[string]any{"subjects": []any{map[string]any{"kind": kind, "namespace": namespace, "name": name}}}
	}
	for _, test := range []struct {
		target cluster.Target
		body   map[string]any
		says   string
	}{
		{target("Secret", "castai-agent", "x"), nil, ""},
		{target("Namespace", "", "castai-agent"), nil, ""},
		{target("ClusterRole", "", "castai-agent"), nil, ""},
		{target("CustomResourceDefinition", "", "recommendations.autoscaling.cast.ai"), nil, ""},
		{target("ClusterRole", "", "temporal"), nil, "cluster-wide"},
		{target("Deployment", "platform", "castai-agent"), nil, ""},
		{target("Secret", "platform", "regcred"), nil, "in namespace platform, which others share"},
		{target("ClusterRoleBinding", "", "castai-x"), subject("ServiceAccount", "platform", "castai-agent"), ""},
		{target("Node", "", "castai-n1"), nil, "a node"},
		{target("PersistentVolumeClaim", "castai-agent", "x"), nil, "data"},
		{target("Role", "kube-system", "castai-agent"), nil, "kube-system"},
		{target("ClusterRoleBinding", "", "castai-agent"), subject("ServiceAccount", "castai-agent", "castai-agent"), ""},
		{target("ClusterRoleBinding", "", "castai-agent"), subject("ServiceAccount", "shop", "web"),
			"ServiceAccount shop/web"},
		{target("ClusterRoleBinding", "", "castai-agent"), subject("Group", "", "ops"), "Group ops"},
	} {
		item := &ownership.Item{Object: &cluster.Object{Body: test.body}}
		got := strings.Join(p.unusual(item, test.target).Why, "; ")
		if (test.says == "") != (got == "") || !strings.Contains(got, test.says) {
			t.Errorf("%s: %q", test.target.Ref, got)
		}
	}
	if got := p.unusual(nil, target("Deployment", "shop", "web")); len(got.Why) != 1 {
		t.Errorf("somebody else's: %q", got.Why)
	}
}

func TestTotalCountsEachObjectOnce(t *testing.T) {
	inv, plan := planned(t, 3)
	// The Deployment is stopped and removed; with the others that makes six.
	if got := Total(inv, plan); got != "6 objects to remove" {
		t.Errorf("%q of %v", got, targets(plan))
	}
	plan.Phases = append(plan.Phases, engine.Phase{Name: offboard.PhaseRevert, Actions: []engine.Action{
		{Verb: engine.Patch, Target: cluster.Target{Ref: ref("Node", "", "n1")}}, {Verb: engine.Call,
			Operation: "disconnect"},
	}})
	if got := Total(inv, plan); got != "6 objects to remove, 1 to change, 1 step at Cast AI" {
		t.Errorf("%q", got)
	}
}

// What is deleted and what is only changed have the colours of terraform's plans,
// where there are colours at all.
func TestPlanColours(t *testing.T) {
	p := &engine.Phase{Actions: []engine.Action{
		{Verb: engine.Delete, Target: cluster.Target{Ref: ref("ConfigMap", "a", "one")}},
		{Verb: engine.Patch, Target: cluster.Target{Ref: ref("Node", "", "two")}},
	}}
	for mode, want := range map[ColorMode]string{
		ColorNever:  "   delete  ConfigMap a/one\n   stop    Node two\n",
		ColorAlways: "\x1b[31m   delete  ConfigMap\x1b[m a/one\n\x1b[33m   stop    Node\x1b[m two\n",
	} {
		var out bytes.Buffer
		text := NewText(NewTerminal(&out, mode))
		text.rows(p, 0)
		if out.String() != want {
			t.Errorf("%s: %q", mode, out.String())
		}
	}
}
