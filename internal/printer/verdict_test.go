package printer

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// judged is the inventory of a cluster with these objects.
func judged(t *testing.T, manifests string) *ownership.Inventory {
	t.Helper()
	_, snap := clustertest.World(t, manifests)
	cat, err := ownership.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	return ownership.Judge(snap, nil, cat, ownership.Options{})
}

const theirs = `
apiVersion: v1
kind: Namespace
metadata: {name: castai-agent}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: reporter, namespace: castai-agent}
spec:
  selector: {matchLabels: {app: reporter}}
  template:
    metadata: {labels: {app: reporter}}
    spec: {containers: [{name: r, image: "registry.example.com/reporter:1"}]}
`

// What stays for others under a name of Cast AI's is in every form of the end of a
// run, with those for whom it stays, and nobody calls it clean.
func TestWhatRemainsIsReported(t *testing.T) {
	inv := judged(t, theirs)
	raw, err := json.Marshal(NewReport(inv.Server, &engine.Report{}, inv, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	const want = `"remains":[{"kind":"Namespace","name":"castai-agent","for":[{"group":"apps","kind":"Deployment",` +
		`"namespace":"castai-agent","name":"reporter"}]}]`
	if !strings.Contains(string(raw), want) {
		t.Errorf("%s\nlacks %s", raw, want)
	}
	if s := NewSummary("x", inv, nil); s.Clean || s.Remains != 1 {
		t.Errorf("%+v", s)
	}
	var out bytes.Buffer
	if err := Summaries(&out, false, []Summary{NewSummary("x", inv, nil)}); err != nil ||
		strings.Contains(out.String(), "clean") {
		t.Errorf("%v %s", err, &out)
	}
	out.Reset()
	NewText(&out).Verdict(inv)
	if strings.Contains(out.String(), "Clean") || !strings.Contains(out.String(), "Namespace/castai-agent") {
		t.Error(&out)
	}
}

// A run that says that something is left, or was refused, does not end with "Clean",
// even if what is left is not found any more when the cluster is judged again.
func TestWhatIsLeftIsNotClean(t *testing.T) {
	inv := judged(t, strings.ReplaceAll(theirs, "castai-agent", "shop"))
	slow := cluster.Ref{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: "slows.cast.ai"}
	for _, verb := range []engine.Verb{engine.Delete, engine.StripFinalizers, engine.Finalize} {
		for result, clean := range map[engine.Result]bool{
			engine.ResultLeft: false, engine.ResultFailed: false, engine.ResultDone: true, engine.ResultGone: true,
		} {
			var out bytes.Buffer
			NewText(&out).Report(&engine.Report{Outcomes: []engine.Outcome{
				{Verb: engine.Delete, Object: cluster.Ref{Kind: "Secret", Namespace: "shop", Name: "x"}, Result: engine.ResultDone},
				{Verb: verb, Object: slow, Result: result},
			}}, inv, nil)
			if strings.Contains(out.String(), "Clean") != clean || !clean && !strings.Contains(out.String(), slow.Name) {
				t.Errorf("%s %s: %s", verb, result, &out)
			}
		}
	}
}

// What runs Cast AI's images where nothing proves that it lives is named in the
// last line, which does not say that all is clean.
func TestWhatRunsIsNotClean(t *testing.T) {
	agent := strings.ReplaceAll(installation, "castai-agent}\n---\napiVersion: v1\nkind: ServiceAccount",
		"platform}\n---\napiVersion: v1\nkind: ServiceAccount")
	inv := judged(t, strings.ReplaceAll(agent, "namespace: castai-agent", "namespace: platform"))
	if len(inv.Owned()) > 0 {
		t.Fatalf("%+v", inv.Owned())
	}
	var out bytes.Buffer
	NewText(&out).Verdict(inv)
	if strings.Contains(out.String(), "Clean") || !strings.Contains(out.String(),
		"Deployment.apps/platform/castai-agent") {
		t.Error(&out)
	}
	out.Reset()
	NewText(&out).Verdict(judged(t, strings.ReplaceAll(theirs, "castai-agent", "shop")))
	if !strings.HasPrefix(out.String(), "Clean") {
		t.Error(&out)
	}
}

// The preview names who uses what goes.
func TestUsersOfWhatGoesAreNamed(t *testing.T) {
	reporter := strings.ReplaceAll(theirs, "{containers: [", "{serviceAccountName: castai-agent, containers: [")
	_, after, _ := strings.Cut(reporter, "---\n")
	account := strings.Replace(installation, "{name: castai-agent, namespace: castai-agent}",
		"{name: castai-agent, namespace: castai-agent, labels: {helm.sh/chart: castai-agent-0.153.2}}", 1)
	inv := judged(t, account+"---\n"+after)
	var out bytes.Buffer
	NewText(&out).Impact(inv)
	const want = "Deployment.apps/castai-agent/reporter stays and uses what goes: without ServiceAccount/castai-agent/castai-agent"
	if !strings.Contains(out.String(), want) {
		t.Errorf("%s\nlacks %s", &out, want)
	}
}

// Those that are most likely to be somebody else's are named first.
func TestVictimsComeFirst(t *testing.T) {
	inv, plan := planned(t, 0, ref("ConfigMap", "shop", "theirs"),
		cluster.Ref{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "reader"})
	ordinary := engine.Action{Verb: engine.Delete, Target: cluster.Target{Ref: ref("ServiceAccount", "castai-agent",
		"castai-agent")}}
	inv.Homes = nil // as of a namespace that others share
	plan.Phases[0].Actions = append([]engine.Action{ordinary}, plan.Phases[0].Actions...)
	for i, u := range FindUnusual(inv, plan) {
		if (i < 2) != strings.Contains(strings.Join(u.Why, ""), "--include") {
			t.Errorf("%d: %+v", i, u)
		}
	}
}
