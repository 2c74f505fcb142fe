package engine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// deleting is a cluster whose deletions end as the test says.
type deleting struct {
	*fakeCluster
	delete func(*fakeCluster, cluster.Target) error
}

func (d *deleting) Delete(_ context.Context, t cluster.Target, _ cluster.DeleteOptions) error {
	return d.delete(d.fakeCluster, t)
}

// deletions is a plan of one phase that deletes the objects and may take their
// finalizers off.
func deletions(objects ...*cluster.Object) *engine.Plan {
	phase := engine.Phase{Name: "p", Title: "Remove", Patience: 100 * time.Millisecond}
	for _, o := range objects {
		a := engine.Action{Verb: engine.Delete, Target: o.Target(), Finalizers: []string{"example.com/hold"}}
		phase.Actions = append(phase.Actions, a)
	}
	return &engine.Plan{Phases: []engine.Phase{phase}}
}

// A deletion that was asked for may not be in what a watch shows first.
func TestFinalizersOfWhatIsNotBeingDeletedStay(t *testing.T) {
	alive := configMap("alive", "example.com/hold")
	c := &deleting{newFake(alive), func(*fakeCluster, cluster.Target) error { return nil }}
	if _, err := engine.Run(t.Context(), c, deletions(alive), engine.Options{}); err != nil {
		t.Error(err)
	}
	if len(c.writes) > 0 {
		t.Errorf("the writes are %q", c.writes)
	}
}

// Whoever asked first for the deletion of an object has changed its version.
func TestAnObjectThatIsBeingDeletedAlreadyIsWaitedFor(t *testing.T) {
	o := configMap("one", "example.com/hold")
	c := &deleting{newFake(o), func(f *fakeCluster, target cluster.Target) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		gone := *f.objects[target.Ref]
		gone.Deleting = time.Now()
		f.put(&gone)
		return apierrors.NewConflict(target.GVR().GroupResource(), target.Name, errors.New("it was changed"))
	}}
	report, err := engine.Run(t.Context(), c, deletions(o), engine.Options{})
	if err != nil || len(report.Outcomes) != 1 || report.Outcomes[0].Result != engine.ResultDone {
		t.Errorf("%+v, %v", report.Outcomes, err)
	}
}
