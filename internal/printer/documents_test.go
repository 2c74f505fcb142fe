package printer

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/offboard"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// A plan that was written down is the same plan when it is read, in both formats; one
// that somebody has changed is none.
func TestAPlanAsADocument(t *testing.T) {
	inv, plan := planned(t, 2)
	for _, format := range []string{"json", "yaml"} {
		var out bytes.Buffer
		if err := Print(&out, format, NewPlan(inv, plan)); err != nil {
			t.Fatal(err)
		}
		doc, err := ReadPlan(out.Bytes())
		if err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		if differences := offboard.Difference(plan, doc.Engine()); len(differences) > 0 {
			t.Errorf("%s: %v", format, differences)
		}
		var names []string
		for _, r := range doc.Objects() {
			names = append(names, r.Name)
		}
		if want := targets(plan); len(names) == 0 || slices.ContainsFunc(want, func(n string) bool {
			return !slices.Contains(names, n)
		}) {
			t.Errorf("%s: it is about %v, and not %v", format, names, want)
		}
		changed := bytes.ReplaceAll(out.Bytes(), []byte("castai-000"), []byte("cluster-admin"))
		if _, err := ReadPlan(changed); err == nil || !strings.Contains(err.Error(), "somebody has changed it") {
			t.Errorf("%s: %v", format, err)
		}
	}
	for raw, says := range map[string]string{"{": "can't be read", "kind: Report": "it is not a plan"} {
		if _, err := ReadPlan([]byte(raw)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

// Lists in documents are lists, be they empty: scripts iterate over them.
func TestDocumentsHaveNoNullLists(t *testing.T) {
	inv, _ := planned(t, 0)
	nothing := &ownership.Inventory{}
	for name, doc := range map[string]any{
		"plan": NewPlan(nothing, &engine.Plan{}), "report": NewReport(prod, &engine.Report{}, nil, nil, errors.New("x")),
		"inventory": NewInventory(nothing), "of something": NewInventory(inv), "diagnosis": NewDiagnosis(prod, nil, &engine.Plan{}),
	} {
		raw, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, list := range []string{"phases", "outcomes", "owned", "unclear", "left", "namespaces"} {
			if strings.Contains(string(raw), `"`+list+`":null`) {
				t.Errorf("%s: %s is null", name, list)
			}
		}
	}
	if doc := NewReport(prod, &engine.Report{}, inv, nil, nil); len(doc.Objects()) != len(inv.Owned()) || doc.Error != "" {
		t.Errorf("%+v", doc)
	}
	if doc := NewInventory(inv); len(doc.Objects()) != len(inv.Owned())+len(inv.Unclear()) {
		t.Errorf("%v", doc.Objects())
	}
}

// What a run did is counted by what became of it, and each step at Cast AI is told.
func TestReport(t *testing.T) {
	report := &engine.Report{Phases: []engine.PhaseTime{{Elapsed: 61 * time.Second}}}
	for _, o := range []struct {
		verb      engine.Verb
		name      string
		operation string
		result    engine.Result
		message   string
	}{
		{engine.Delete, "a", "", engine.ResultDone, ""}, {engine.Delete, "b", "", engine.ResultDone, ""},
		{engine.Patch, "c", "", engine.ResultDone, ""}, {engine.Delete, "d", "", engine.ResultGone, ""},
		{engine.Delete, "e", "", engine.ResultLeft, "its finalizer"}, {engine.Delete, "f", "", engine.ResultKept, "made anew"},
		{engine.Delete, "g", "", engine.ResultFailed, "forbidden"}, {engine.Delete, "h", "", engine.ResultSkipped, ""},
		{engine.Call, "prod", "disconnect", engine.ResultDone, "it is disconnected"},
	} {
		report.Outcomes = append(report.Outcomes, engine.Outcome{Verb: o.verb, Object: ref("ConfigMap", "a", o.name),
			Operation: o.operation, Result: o.result, Message: o.message})
	}
	returned := []offboard.Return{{Ref: ref("ConfigMap", "a", "x"), Managers: []string{"argocd"}, Remedy: "stop Argo CD"}}
	same(t, shown(t, func(text *Text) { text.Report(report, nil, returned) }), `

2 objects removed, 1 stopped or changed, 1 step done at Cast AI, 1 already gone, 1 left, 1 kept, 1 failed, `+
		`1 not started, in 1 min 1 s
  disconnect: it is disconnected

Came back, or is new: 1 object. Something still makes them:
  ConfigMap/a/x, written by argocd: stop Argo CD
`)
	report.DryRun = true
	same(t, shown(t, func(text *Text) { text.Report(report, nil, nil) }),
		"\n\nThe server would accept 3 of the writes and refuse 1. Nothing was changed.\n")
}

// Whose an object is, is told with all that speaks for and against it, one level for
// each object that it rests on.
func TestExplanation(t *testing.T) {
	says := func(texts ...string) (out []ownership.Evidence) {
		for _, text := range texts {
			out = append(out, ownership.Evidence{Text: text})
		}
		return out
	}
	e := &ownership.Explanation{Object: ref("ConfigMap", "a", "x"), Verdict: ownership.Unclear, For: says("it is mounted"),
		Hints: says("its name"), Against: says("others use it"), RestsOn: []ownership.Explanation{
			{Object: ref("Namespace", "", "a"), Verdict: ownership.Foreign},
		}}
	same(t, shown(t, func(text *Text) { text.Explanation(e) }), `
ConfigMap/a/x is unclear
  because  it is mounted
  for      its name
  against  others use it
  Namespace/a is somebody else's
    because  nothing in the cluster connects it with Cast AI
`)
	if doc := NewExplanation(prod, e); len(doc.Objects()) != 1 || doc.Objects()[0] != e.Object {
		t.Errorf("%+v", doc)
	}
}

// What could not be read, and which cluster it is, is said as far as it is known.
func TestIdentityAndUnreadable(t *testing.T) {
	list := []cluster.Unreadable{{What: "secrets", Forbidden: true}, {What: "pods", Forbidden: true},
		{What: "dead.example.com/v1", Message: "service unavailable"}}
	same(t, shown(t, func(text *Text) { text.unreadable(list) }), `

Could not be read, so nothing is known of it:
  dead.example.com/v1: service unavailable
  you may not list secrets, pods
`)
	inv := &ownership.Inventory{Server: prod, Identity: ownership.Identity{ClusterID: "id", Region: "eu"},
		Releases: []string{"castai-agent", "castai-hub"}}
	same(t, shown(t, func(text *Text) { text.identity(inv) }), `
Cluster  prod (context prod), https://api.prod, Kubernetes v1.33.1
Cast AI  cluster id, region eu
Helm     castai-agent
         castai-hub
`)
	inv.Identity = ownership.Identity{Conflict: true, Sources: []ownership.IdentitySource{
		{Object: ref("ConfigMap", "a", "x"), ClusterID: "one"}, {Object: ref("ConfigMap", "b", "x"), ClusterID: "two"},
	}}
	inv.Releases = nil
	same(t, shown(t, func(text *Text) { text.identity(inv) }), `
Cluster  prod (context prod), https://api.prod, Kubernetes v1.33.1
Cast AI  cluster id unclear: ConfigMap/a/x says one, ConfigMap/b/x says two
`)
}
