package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

var namespaceResource = &cluster.Resource{Version: "v1", Name: "namespaces", Kind: "Namespace"}

func namespace(uid string) *cluster.Object {
	return &cluster.Object{Resource: namespaceResource, Name: "x", UID: types.UID("uid-x-" + uid)}
}

// creating is a fake that can create namespaces.
type creating struct {
	*fakeCluster
	annotations map[string]string
}

func (c *creating) CreateNamespace(_ context.Context, _ string, annotations map[string]string) (cluster.Target, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.annotations = annotations
	o := namespace("second")
	c.put(o)
	return o.Target(), nil
}

// A namespace that is finalized, created again and deleted again are three
// objects of one name: none of the actions may be taken for another.
func TestSameNameOtherUID(t *testing.T) {
	first := namespace("first")
	first.Deleting = time.Now()
	f := &creating{fakeCluster: newFake(first, configMap("orphan"))}
	rounds := 0
	plan := &engine.Plan{Phases: []engine.Phase{{
		Name: "p", Title: "p", Patience: 50 * time.Millisecond,
		Actions: []engine.Action{{Verb: engine.Finalize, Target: first.Target()}},
		WaitFor: []cluster.Target{configMap("orphan").Target()},
		Next: func(context.Context, []cluster.Target) (*engine.Step, error) {
			rounds++
			switch rounds {
			case 1:
				return &engine.Step{Patience: time.Millisecond, Actions: []engine.Action{{
					Verb: engine.CreateNamespace, Target: cluster.NamespaceTarget("x",
						""), Annotations: map[string]string{"why": "test"},
				}}}, nil
			case 2:
				return &engine.Step{Patience: time.Millisecond,
					Actions: []engine.Action{{Verb: engine.Patch, Target: namespace("second").Target()}}}, nil
			case 3:
				return &engine.Step{Patience: 50 * time.Millisecond,
					Actions: []engine.Action{remove(namespace("second")), remove(configMap("orphan"))}}, nil
			}
			return nil, nil
		},
	}}}
	r, err := engine.Run(t.Context(), f, plan, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range r.Outcomes {
		got = append(got, fmt.Sprintf("%s %s %s", o.Verb, o.Object.Kind, o.Result))
	}
	want := []string{
		"create-namespace Namespace done", "patch Namespace done",
		"delete ConfigMap done", "finalize Namespace done", "delete Namespace done",
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if f.annotations["why"] != "test" {
		t.Errorf("annotations %v", f.annotations)
	}
	if len(f.objects) > 0 {
		t.Errorf("left: %v", f.objects)
	}
}

// What was judged by its resource version is not tried again on another one.
func TestFinalizeHoldsTheResourceVersion(t *testing.T) {
	for _, judged := range []bool{true, false} {
		ns := namespace("first")
		f := newFake(ns)
		f.fail = func(n int, what string) error {
			if what == "finalize" && n == 1 {
				return apierrors.NewConflict(namespaceResource.GroupResource(), "x", fmt.Errorf("changed"))
			}
			return nil
		}
		target := cluster.NamespaceTarget(ns.Name, ns.UID)
		want := engine.ResultDone
		if judged {
			target.ResourceVersion, want = ns.ResourceVersion, engine.ResultFailed
		}
		r, err := run(t, f, engine.Phase{Name: "p", Actions: []engine.Action{{Verb: engine.Finalize, Target: target}}})
		if err != nil {
			t.Fatal(err)
		}
		if got := outcome(t, r, "x"); got.Result != want {
			t.Errorf("judged %t: %+v", judged, got)
		}
	}
}

// counting counts the reads.
type counting struct {
	*fakeCluster
	gets int
}

func (c *counting) Get(ctx context.Context, t cluster.Target, fields ...[]string) (*cluster.Object, error) {
	c.gets++
	return c.fakeCluster.Get(ctx, t, fields...)
}

// A strip starts from what was seen, and reads only if that is out of date.
func TestStripStartsFromWhatWasSeen(t *testing.T) {
	for _, stale := range []bool{false, true} {
		o := configMap("c", "example.com/hold")
		o.Deleting = time.Now()
		f := &counting{fakeCluster: newFake(o)}
		seen := *o
		want := 0
		if stale {
			seen.ResourceVersion, want = "0", 1
		}
		a := engine.Action{Verb: engine.StripFinalizers, Target: o.Target(), Finalizers: []string{"example.com/hold"},
			Seen: &seen}
		r, err := engine.Run(t.Context(), f, &engine.Plan{Phases: []engine.Phase{{Name: "p", Actions: []engine.Action{a}}}},
			engine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := outcome(t, r, "c"); got.Result != engine.ResultDone || f.gets != want {
			t.Errorf("stale %t: %s after %d reads", stale, got.Result, f.gets)
		}
	}
}

// A finalizer that a webhook puts back changes nothing that a watch would show.
func TestFinalizerThatIsPutBackAtOnce(t *testing.T) {
	o := configMap("c", "example.com/hold")
	o.Deleting, o.Managers = time.Now(), []string{"a-webhook"}
	f := newFake(o)
	f.after = func(o *cluster.Object) { o.Finalizers = []string{"example.com/hold"} }
	r, err := run(t, f, engine.Phase{Name: "p", Actions: []engine.Action{
		{Verb: engine.StripFinalizers, Target: o.Target(), Finalizers: []string{"example.com/hold"}, Seen: o},
	}})
	if err != nil {
		t.Fatal(err)
	}
	got := outcome(t, r, "c")
	if got.Result != engine.ResultLeft || !strings.Contains(got.Message, "put back") ||
		!strings.Contains(got.Message, "a-webhook") {
		t.Errorf("%+v", got)
	}
}

// The total of a round is known from its first event.
func TestTotals(t *testing.T) {
	var actions []engine.Action
	f := newFake()
	for i := range 40 {
		o := configMap(fmt.Sprint(i))
		f.put(o)
		actions = append(actions, remove(o))
	}
	last := engine.Event{}
	_, err := engine.Run(t.Context(), f, &engine.Plan{Phases: []engine.Phase{{Name: "p", Actions: actions}}},
		engine.Options{OnEvent: func(e engine.Event) {
			if e.Total != len(actions) {
				t.Errorf("%s: a total of %d", e.Type, e.Total)
			}
			last = e
		}})
	if err != nil || last.Done != len(actions) {
		t.Errorf("%d done, %v", last.Done, err)
	}
}
