package backup_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/internal/backup"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// reader has as many ConfigMaps as it is asked for.
type reader struct{}

func (reader) Read(_ context.Context, targets []cluster.Target,
	each func(cluster.Target, *unstructured.Unstructured) error) error {
	for _, t := range targets {
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap",
			"data": map[string]any{"content": strings.Repeat("0123456789", 50)}}}
		u.SetNamespace(t.Namespace)
		u.SetName(t.Name)
		u.SetUID(t.UID)
		u.SetFinalizers([]string{"example.com/hold"})
		if err := each(t, u); err != nil {
			return err
		}
	}
	return nil
}

func BenchmarkWrite(b *testing.B) {
	const n = 1000
	phase := engine.Phase{Name: "clear"}
	for i := range n {
		phase.Actions = append(phase.Actions, engine.Action{Verb: engine.StripFinalizers, Target: cluster.Target{
			Ref: cluster.Ref{Kind: "ConfigMap", Namespace: "stuck",
				Name: fmt.Sprintf("object-%04d", i)}, Version: "v1", Resource: "configmaps", UID: types.UID(fmt.Sprint(i)),
		}})
	}
	dir := b.TempDir()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		saved, err := backup.Write(b.Context(), reader{}, &ownership.Inventory{}, &engine.Plan{Phases: []engine.Phase{phase}},
			backup.Options{Dir: filepath.Join(dir, fmt.Sprint(i))})
		if err != nil {
			b.Fatal(err)
		}
		if saved.Objects != n {
			b.Fatalf("%d objects are saved, not %d", saved.Objects, n)
		}
	}
}
