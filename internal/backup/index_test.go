package backup

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// An index is written piece by piece, and is the document that it would be in
// one piece.
func TestAnIndexIsWrittenInPieces(t *testing.T) {
	hostile := `"objects": [], "phases": [`
	target := func(name string) cluster.Target {
		return cluster.Target{Ref: cluster.Ref{Kind: "ConfigMap", Namespace: "shop", Name: name}, Version: "v1", Resource: "configmaps"}
	}
	delete1 := engine.Action{Verb: engine.Delete, Target: target("a"), Why: hostile, Finalizers: []string{engine.AnyFinalizer}}
	for name, index := range map[string]Index{
		"nothing": {Objects: []Entry{}, Plan: engine.Plan{Phases: []engine.Phase{}}},
		"one of each": {
			Objects: []Entry{{Target: target("a"), File: "a.yaml", Deleted: true}},
			Plan:    engine.Plan{Phases: []engine.Phase{{Name: "p", Actions: []engine.Action{delete1}}}},
		},
		"many, and hostile text": {
			APIVersion: APIVersion, Kind: Kind, Cluster: cluster.Server{Context: hostile, Host: "<&>\u2028"}, Time: time.Now(), Tool: hostile,
			Objects: []Entry{
				{Target: target("a"), Patches: []map[string]any{{"objects": []any{}, "phases": []any{hostile}}}},
				{Target: target("b"), NotRestored: hostile}, {Target: target("c")},
			},
			Dependents: []cluster.Ref{{Kind: hostile, Name: "x"}}, Unreadable: []cluster.Unreadable{{What: "x", Message: hostile}},
			Plan: engine.Plan{Phases: []engine.Phase{{Name: hostile, Actions: []engine.Action{delete1, delete1}}, {Name: "empty"}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := json.MarshalIndent(index, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if err := index.write(&got); err != nil {
				t.Fatal(err)
			}
			if want = append(want, '\n'); !bytes.Equal(got.Bytes(), want) {
				t.Errorf("it is written as\n%s\nnot\n%s", got.Bytes(), want)
			}
		})
	}
}
