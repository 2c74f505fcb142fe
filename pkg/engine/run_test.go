package engine_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

var resource = schema.GroupResource{Resource: "configmaps"}

func remove(o *cluster.Object, finalizers ...string) engine.Action {
	return engine.Action{Verb: engine.Delete, Target: o.Target(), Why: "test", Finalizers: finalizers}
}

func run(t *testing.T, f *fakeCluster, phases ...engine.Phase) (*engine.Report, error) {
	t.Helper()
	for i := range phases {
		phases[i].Title = phases[i].Name
		if phases[i].Patience == 0 {
			phases[i].Patience = 50 * time.Millisecond
		}
	}
	return engine.Run(t.Context(), f, &engine.Plan{Phases: phases}, engine.Options{})
}

// outcome returns how the last action on an object ended.
func outcome(t *testing.T, r *engine.Report, name string) engine.Outcome {
	t.Helper()
	for _, o := range slices.Backward(r.Outcomes) {
		if o.Object.Name == name {
			return o
		}
	}
	t.Fatalf("nothing is said of %s in %+v", name, r.Outcomes)
	return engine.Outcome{}
}

func TestDeleteTakesOnlyTheAllowedFinalizersOff(t *testing.T) {
	ours, both := configMap("ours", "castware.cast.ai/cleanup-helm"), configMap("both", "castware.cast.ai/cleanup-helm",
		"example.com/hold")
	f := newFake(ours, both)
	r, err := run(t, f, engine.Phase{Name: "p", Actions: []engine.Action{
		remove(ours, "castware.cast.ai/cleanup-helm"), remove(both, "castware.cast.ai/cleanup-helm"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := outcome(t, r, "ours").Result; got != engine.ResultDone {
		t.Errorf("ours: %s", got)
	}
	o := outcome(t, r, "both")
	if o.Result != engine.ResultLeft || !strings.Contains(o.Message, "example.com/hold") {
		t.Errorf("both: %+v", o)
	}
	if left := f.objects[both.Ref()].Finalizers; len(left) != 1 || left[0] != "example.com/hold" {
		t.Errorf("finalizers of both: %v", left)
	}
}

func TestReplacedObjectSurvives(t *testing.T) {
	old := configMap("same-name")
	f := newFake(old)
	renewed := configMap("same-name")
	renewed.UID = "another"
	f.put(renewed)
	r, err := run(t, f, engine.Phase{Name: "p", Actions: []engine.Action{remove(old)}})
	if err != nil {
		t.Fatal(err)
	}
	if got := outcome(t, r, "same-name").Result; got != engine.ResultGone {
		t.Errorf("result %s", got)
	}
	if f.objects[renewed.Ref()] == nil {
		t.Error("the new object is gone")
	}
}

func TestFinalizerThatComesBackIsGivenUp(t *testing.T) {
	o := configMap("stubborn", "autoscaling.cast.ai/recommendation")
	f := newFake(o)
	f.after = func(o *cluster.Object) {
		o.Finalizers = []string{"autoscaling.cast.ai/recommendation"}
		o.Managers = []string{"living-controller"}
	}
	r, err := run(t, f, engine.Phase{Name: "p", Actions: []engine.Action{remove(o, "autoscaling.cast.ai/recommendation")}})
	if err != nil {
		t.Fatal(err)
	}
	got := outcome(t, r, "stubborn")
	if got.Result != engine.ResultLeft || !strings.Contains(got.Message, "living-controller") {
		t.Errorf("%+v", got)
	}
	strips := 0
	for _, w := range f.writes {
		if strings.HasPrefix(w, "strip") {
			strips++
		}
	}
	if strips < 2 || strips > 5 {
		t.Errorf("%d attempts", strips)
	}
}

func TestRefusedWriteIsReportedAndNotRepeated(t *testing.T) {
	o := configMap("c")
	f := newFake(o)
	f.fail = func(int, string) error { return apierrors.NewForbidden(resource, "c", errors.New("no")) }
	r, err := run(t, f, engine.Phase{Name: "p", Actions: []engine.Action{remove(o)}})
	if err != nil {
		t.Fatal(err)
	}
	if got := outcome(t, r, "c"); got.Result != engine.ResultFailed || got.Message == "" {
		t.Errorf("%+v", got)
	}
	if len(f.writes) != 1 {
		t.Errorf("writes %v", f.writes)
	}
}

func TestGateStopsWhatDependsOnIt(t *testing.T) {
	webhook, namespace := configMap("webhook", "example.com/hold"), configMap("namespace")
	f := newFake(webhook, namespace)
	r, err := run(t, f,
		engine.Phase{Name: "admission", Gate: true, Actions: []engine.Action{remove(webhook)}},
		engine.Phase{Name: "namespaces", Actions: []engine.Action{remove(namespace)}})
	if !errors.Is(err, engine.ErrGate) {
		t.Fatalf("error %v", err)
	}
	if got := outcome(t, r, "namespace").Result; got != engine.ResultSkipped {
		t.Errorf("namespace: %s", got)
	}
	if f.objects[namespace.Ref()] == nil {
		t.Error("the namespace is gone")
	}
}

func TestInterruptStartsNothingNew(t *testing.T) {
	first, second := configMap("first"), configMap("second")
	f := newFake(first, second)
	cause := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	f.fail = func(int, string) error { cancel(cause); return nil }
	r, err := engine.Run(ctx, f, &engine.Plan{Phases: []engine.Phase{
		{Name: "a", Actions: []engine.Action{remove(first)}},
		{Name: "b", Actions: []engine.Action{remove(second)}},
	}}, engine.Options{})
	if !errors.Is(err, cause) {
		t.Fatalf("error %v", err)
	}
	if f.objects[first.Ref()] != nil {
		t.Error("the write in flight was not let through")
	}
	if f.objects[second.Ref()] == nil || outcome(t, r, "second").Result != engine.ResultSkipped {
		t.Error("the second phase was started")
	}
}

func TestNextIsAskedUntilItHasNothingMore(t *testing.T) {
	o := configMap("held", "example.com/hold")
	f := newFake(o)
	var asked int
	r, err := run(t, f, engine.Phase{
		Name: "p", Actions: []engine.Action{remove(o)},
		Next: func(_ context.Context, left []cluster.Target) (*engine.Step, error) {
			asked++
			if len(left) != 1 || left[0].Name != "held" {
				t.Errorf("left %v", left)
			}
			if asked == 1 {
				return &engine.Step{Title: "just watch", Patience: 10 * time.Millisecond}, nil
			}
			return &engine.Step{Title: "strip", Actions: []engine.Action{{
				Verb: engine.StripFinalizers, Target: o.Target(), Finalizers: []string{engine.AnyFinalizer},
			}}}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := outcome(t, r, "held"); got.Result != engine.ResultDone || asked != 2 {
		t.Errorf("asked %d times, %+v", asked, got)
	}
}

func TestStripRefusesAnObjectThatIsNotBeingDeleted(t *testing.T) {
	o := configMap("alive", "example.com/hold")
	f := newFake(o)
	r, err := run(t, f, engine.Phase{Name: "p", Actions: []engine.Action{
		{Verb: engine.StripFinalizers, Target: o.Target(), Finalizers: []string{engine.AnyFinalizer}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := outcome(t, r, "alive"); got.Result != engine.ResultFailed {
		t.Errorf("%+v", got)
	}
	if len(f.objects[o.Ref()].Finalizers) != 1 {
		t.Error("the finalizer is gone")
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	o := configMap("c", "example.com/hold")
	f := newFake(o)
	r, err := engine.Run(t.Context(), f,
		&engine.Plan{Phases: []engine.Phase{{Name: "p", Actions: []engine.Action{remove(o, engine.AnyFinalizer)}}}},
		engine.Options{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := f.objects[o.Ref()]; got.Terminating() || r.Count(engine.ResultDone) != 1 {
		t.Errorf("object %+v, report %+v", got, r)
	}
}
