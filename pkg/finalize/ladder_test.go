package finalize

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// climber plays the engine: it asks for the next step and lets the test change
// the world in between.
type climber struct {
	t     *testing.T
	w     *world
	phase engine.Phase
}

func start(t *testing.T, w *world, o Options, names ...string) *climber {
	t.Helper()
	var ds []*Diagnosis
	for _, name := range names {
		ds = append(ds, diagnose(t, w, name, o))
	}
	plan, err := Plan(ds, func(context.Context) (*Observation, error) { return w.obs(), nil }, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Phases) != 1 {
		t.Fatalf("%d phases", len(plan.Phases))
	}
	return &climber{t, w, plan.Phases[0]}
}

// next returns the actions of the next step as "verb Kind/name", sorted; "wait"
// is a step without actions, "end" the end.
func (c *climber) next() []string {
	c.t.Helper()
	step, err := c.phase.Next(c.t.Context(), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if step == nil {
		return []string{"end"}
	}
	if step.Title == "" || step.Patience == 0 {
		c.t.Errorf("step without title or patience: %+v", step)
	}
	return verbs(step.Actions)
}

func verbs(actions []engine.Action) []string {
	if len(actions) == 0 {
		return []string{"wait"}
	}
	var out []string
	for _, a := range actions {
		out = append(out, fmt.Sprintf("%s %s", a.Verb, a.Target.Ref))
	}
	slices.Sort(out)
	return out
}

func (c *climber) expect(want ...string) {
	c.t.Helper()
	if got := c.next(); !slices.Equal(got, want) {
		c.t.Fatalf("got %q, want %q", got, want)
	}
}

func TestLadder(t *testing.T) {
	owned := func(r cluster.Ref) bool { return strings.Contains(r.Name, "liqo") }
	const nudge = "patch Namespace/x"

	t.Run("from the least force to the most", func(t *testing.T) {
		w, o := newWorld(), options()
		o.Owned = owned
		ns := w.namespace("x", held("example.com/meta"))
		api := w.deadAPI("metrics.liqo.io", "v1beta1")
		pod := w.add("pods", "x", "p", deleting, onNode("missing"))
		cm := w.add("configmaps", "x", "a")
		c := start(t, w, o, "x")
		if len(c.phase.Actions) > 0 {
			t.Error("it does not wait first")
		}
		c.expect("delete APIService.apiregistration.k8s.io/v1beta1.metrics.liqo.io", "delete Pod/x/p", nudge)
		w.drop(api)
		w.drop(pod)
		w.snap.Unreadable = nil
		c.expect("wait") // progress
		cm.Deleting, cm.Finalizers = noon.Add(-time.Minute), []string{"example.com/hold"}
		c.expect("wait") // progress: it is being deleted now
		c.expect(nudge, "strip-finalizers ConfigMap/x/a")
		w.drop(cm)
		c.expect("wait")
		c.expect("finalize Namespace/x")
		w.drop(ns)
		c.expect("end")
	})
	t.Run("progress is watched, not shot", func(t *testing.T) {
		w := newWorld()
		w.namespace("x")
		w.many(3, "x", "example.com/hold")
		c := start(t, w, options(), "x")
		for range 3 {
			w.drop(w.snap.Objects[len(w.snap.Objects)-1])
			c.expect("wait")
		}
	})
	t.Run("an empty namespace is finalized when the controller does not come", func(t *testing.T) {
		w := newWorld()
		w.namespace("x")
		c := start(t, w, options(), "x")
		c.expect(nudge)
		for range maxFinalizes {
			c.expect("finalize Namespace/x")
		}
		c.expect("end")
	})
	t.Run("content that nobody deletes is never finalized", func(t *testing.T) {
		w := newWorld()
		w.namespace("x")
		w.add("configmaps", "x", "a")
		c := start(t, w, options(), "x")
		c.expect(nudge)
		c.expect("end")
	})
	t.Run("content that can't be known is never finalized", func(t *testing.T) {
		w, o := newWorld(), options()
		o.Partial = true
		w.namespace("x", held("example.com/meta"))
		w.deadAPI("custom.metrics.k8s.io", "v1")
		start(t, w, o, "x").expect("end")
	})
	t.Run("a finalizer that is put back is given up", func(t *testing.T) {
		w := newWorld()
		w.namespace("x")
		w.add("configmaps", "x", "a", deleting, held("example.com/hold"))
		c := start(t, w, options(), "x")
		for range maxTries {
			c.expect(nudge, "strip-finalizers ConfigMap/x/a")
		}
		c.expect("end")
	})
	t.Run("finalizers that are not allowed stay", func(t *testing.T) {
		w, o := newWorld(), options()
		o.Allow = Only("example.com/mine")
		w.namespace("x", held("example.com/mine", "example.com/theirs"))
		a := w.add("configmaps", "x", "a", deleting, held("example.com/mine", "example.com/theirs"))
		c := start(t, w, o, "x")
		step, err := c.phase.Next(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if f := step.Actions[0].Finalizers; !slices.Equal(f, []string{"example.com/mine"}) {
			t.Fatal(f)
		}
		a.Finalizers = []string{"example.com/theirs"}
		c.expect("end")
		w.drop(a)
		c.expect("wait")
		c.expect("strip-finalizers Namespace/x")
	})
	t.Run("a namespace made anew is not touched", func(t *testing.T) {
		w := newWorld()
		ns := w.namespace("x")
		w.add("configmaps", "x", "a", deleting, held("example.com/hold"))
		c := start(t, w, options(), "x")
		ns.UID = "another"
		c.expect("end")
		ns.Deleting = time.Time{}
		c.expect("end")
	})
	t.Run("a blocker that comes up later ends it, unless it goes", func(t *testing.T) {
		w := newWorld()
		w.namespace("x")
		w.add("configmaps", "x", "a", deleting, held("example.com/hold"))
		c := start(t, w, options(), "x")
		api := w.deadAPI("custom.metrics.k8s.io", "v1")
		c.expect("wait")
		w.drop(api)
		w.snap.Unreadable = nil
		c.expect("wait") // progress
		c.expect(nudge, "strip-finalizers ConfigMap/x/a")
		w.deadAPI("custom.metrics.k8s.io", "v1")
		for range maxLooks - 1 {
			c.expect("wait")
		}
		c.expect("end")
	})
	t.Run("a load balancer gets its time, and is then asked for", func(t *testing.T) {
		w, o := newWorld(), options()
		now := noon
		o.Now = func() time.Time { return now }
		w.namespace("x")
		w.add("services", "x", "lb", deletingSince(time.Minute), held("service.kubernetes.io/load-balancer-cleanup"))
		c := start(t, w, o, "x")
		step, err := c.phase.Next(t.Context(), nil)
		if err != nil || len(step.Actions) > 0 || step.Patience != 4*time.Minute {
			t.Fatalf("%+v %v", step, err)
		}
		now = now.Add(5 * time.Minute)
		c.expect("end")
	})
	t.Run("who is alive is waited for until the run ends, and its death is news", func(t *testing.T) {
		w, o := newWorld(), options()
		now, asked := noon, 0
		o.Now, o.Endure = func() time.Time { return now }, true
		o.Approve = func(_ context.Context, more *engine.Plan) error {
			if asked++; !slices.Equal(verbs(more.Phases[0].Actions), []string{"strip-finalizers Widget.example.com/x/a"}) {
				t.Errorf("asks for %q", verbs(more.Phases[0].Actions))
			}
			return errors.New("no")
		}
		w.namespace("x")
		a := w.add("widgets", "x", "a", deleting, held("example.com/hold"))
		w.wrote(a, "widget-operator", 24*time.Hour)
		operator := w.operator("tools", "widget-operator", "default", 1)
		w.grant("tools", "default", "*", "*")
		c := start(t, w, o, "x")
		c.expect(nudge)
		for range 20 {
			now = now.Add(endurance)
			if got := c.next(); !slices.Equal(got, []string{"wait"}) && !slices.Equal(got, []string{nudge}) {
				t.Fatal(got)
			}
		}
		w.drop(operator)
		c.expect("end")
		if c.expect("end"); asked != 1 {
			t.Errorf("asked %d times", asked)
		}
	})
	t.Run("a step that is approved of is taken", func(t *testing.T) {
		w, o := newWorld(), options()
		o.Approve = func(context.Context, *engine.Plan) error { return nil }
		w.namespace("x")
		c := start(t, w, o, "x")
		w.add("configmaps", "x", "late", deleting, held("example.com/hold"))
		c.expect("wait") // it is news that it is being deleted
		c.expect(nudge, "strip-finalizers ConfigMap/x/late")
	})
	t.Run("a further finalizer on an object is a further step", func(t *testing.T) {
		w, o := newWorld(), options()
		asked := 0
		o.Approve = func(context.Context, *engine.Plan) error { asked++; return errors.New("no") }
		w.namespace("x")
		a := w.add("configmaps", "x", "a", deleting, held("example.com/hold"))
		c := start(t, w, o, "x")
		a.Finalizers = []string{"example.com/hold", "example.com/more"}
		if c.expect("end"); asked != 1 {
			t.Errorf("asked %d times", asked)
		}
	})
	t.Run("what the conditions contradict is never finalized", func(t *testing.T) {
		w, o := newWorld(), options()
		w.namespace("x", conditionsOf("NamespaceContentRemaining", "True",
			"Some resources are remaining: events.example.com has 1 resource instances"))
		c := start(t, w, o, "x")
		c.expect(nudge)
		for range maxLooks {
			c.expect("wait")
		}
		c.expect("end")
	})
	t.Run("an empty namespace goes over a dead conversion webhook of others", func(t *testing.T) {
		w := newWorld()
		w.namespace("x")
		w.conversion("widgets.example.com", "y")
		c := start(t, w, options(), "x")
		c.expect(nudge)
		c.expect("finalize Namespace/x")
	})
	t.Run("an empty namespace goes over a dead API of others, which stays", func(t *testing.T) {
		w := newWorld()
		w.namespace("x")
		w.deadAPI("custom.metrics.k8s.io", "v1")
		c := start(t, w, options(), "x")
		c.expect(nudge)
		c.expect("finalize Namespace/x")
	})
	t.Run("a controller manager that is away is waited for", func(t *testing.T) {
		w, o := newWorld(), options()
		now := noon
		o.Now, o.Endure = func() time.Time { return now }, true
		w.namespace("x")
		w.add("configmaps", "x", "a")
		c := start(t, w, o, "x")
		c.expect(nudge)
		c.expect("wait")
		now = now.Add(time.Minute)
		c.expect(nudge)
		c.expect("wait")
	})
	t.Run("several namespaces, one dead API", func(t *testing.T) {
		w, o := newWorld(), options()
		o.Owned = owned
		w.namespace("x")
		w.namespace("y")
		api := w.deadAPI("metrics.liqo.io", "v1beta1")
		w.add("widgets", "x", "a", deleting, held("y.example.com/hold"))
		w.add("widgets", "y", "b", deleting, held("x.example.com/hold"))
		c := start(t, w, o, "x", "y")
		c.expect("delete APIService.apiregistration.k8s.io/v1beta1.metrics.liqo.io", nudge, "patch Namespace/y")
		w.drop(api)
		w.snap.Unreadable = nil
		c.expect("wait")
		c.expect(nudge, "patch Namespace/y", "strip-finalizers Widget.example.com/x/a",
			"strip-finalizers Widget.example.com/y/b")
	})
	t.Run("a look that fails is repeated, but not for ever", func(t *testing.T) {
		w := newWorld()
		w.namespace("x")
		boom := errors.New("boom")
		p := Phase([]*Diagnosis{diagnose(t, w, "x", options())}, func(context.Context) (*Observation,
			error) {
			return nil, boom
		}, options())
		for range maxLooks - 1 {
			if step, err := p.Next(t.Context(), nil); err != nil || len(step.Actions) > 0 {
				t.Fatal(step, err)
			}
		}
		if _, err := p.Next(t.Context(), nil); !errors.Is(err, boom) {
			t.Fatal(err)
		}
	})
	t.Run("as the next step of a phase that deletes namespaces", func(t *testing.T) {
		w := newWorld()
		w.namespace("x")
		w.namespace("y")
		w.add("configmaps", "x", "a", deleting, held("cast.ai/x"))
		o := options()
		o.Partial, o.Allow = true, castAIOnly
		next := Next(func(context.Context) (*Observation, error) { return w.obs(), nil }, o)
		step, err := next(t.Context(), []cluster.Target{cluster.NamespaceTarget("x", "namespaces//x"),
			{Ref: cluster.Ref{Kind: "ConfigMap", Namespace: "x", Name: "a"}}})
		if err != nil {
			t.Fatal(err)
		}
		if got := verbs(step.Actions); !slices.Equal(got, []string{nudge, "strip-finalizers ConfigMap/x/a"}) {
			t.Error(got)
		}
	})
}

func TestPreviewAndRights(t *testing.T) {
	w, o := newWorld(), options()
	o.Owned = func(r cluster.Ref) bool { return strings.Contains(r.Name, "liqo") }
	for _, name := range []string{"x", "y"} {
		w.namespace(name, held("example.com/meta"))
		w.add("configmaps", name, "a", deleting, held("example.com/hold", "example.com/more"))
	}
	w.deadAPI("metrics.liqo.io", "v1beta1")
	ds := []*Diagnosis{diagnose(t, w, "x", o), diagnose(t, w, "y", o)}
	var got []string
	for _, p := range Preview(ds, o).Phases {
		got = append(got, p.Name+":")
		got = append(got, verbs(p.Actions)...)
	}
	want := []string{
		"unblock:", "delete APIService.apiregistration.k8s.io/v1beta1.metrics.liqo.io",
		"clear:", "strip-finalizers ConfigMap/x/a", "strip-finalizers ConfigMap/y/a",
		"finalize:", "finalize Namespace/x", "finalize Namespace/y",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	rights := Rights(ds, o)
	for _, r := range []cluster.Right{
		{Group: "apiregistration.k8s.io", Resource: "apiservices", Verb: "delete"},
		{Resource: "configmaps", Namespace: "x", Verb: "patch"},
		{Resource: "configmaps", Namespace: "y", Verb: "list"},
		{Resource: "namespaces", Subresource: "finalize", Verb: "update"},
		{Resource: "namespaces", Verb: "patch"},
	} {
		if !slices.Contains(rights, r) {
			t.Errorf("the right %+v is missing", r)
		}
	}
	o.Force = true
	got = nil
	for _, p := range Preview([]*Diagnosis{diagnose(t, w, "x", o)}, o).Phases {
		got = append(got, p.Name)
	}
	if !slices.Equal(got, []string{"unblock", "finalize", "create", "sweep"}) {
		t.Errorf("by force: %q", got)
	}
}

// TestUIDs holds that every write names the object that was judged.
func TestUIDs(t *testing.T) {
	w, o := newWorld(), options()
	o.Force = true
	w.namespace("x", held("example.com/meta"))
	w.add("configmaps", "x", "a", deleting, held("example.com/hold"))
	w.add("pods", "x", "p", deleting, onNode("missing"))
	for _, force := range []bool{false, true} {
		o.Force = force
		for _, p := range Preview([]*Diagnosis{diagnose(t, w, "x", o)}, o).Phases {
			for _, a := range p.Actions {
				if a.Verb != engine.CreateNamespace && a.Target.UID == types.UID("") {
					t.Errorf("%s %s without UID", a.Verb, a.Target.Ref)
				}
				if a.Verb == engine.Finalize && a.Target.ResourceVersion == "" {
					t.Errorf("%s %s without resource version", a.Verb, a.Target.Ref)
				}
				if a.Why == "" || a.Command == "" {
					t.Errorf("%s %s without reason or command", a.Verb, a.Target.Ref)
				}
			}
		}
	}
}

// TestSettle holds that what is gone by the time of a look is not called left:
// the engine gets one more watch to see it itself.
func TestSettle(t *testing.T) {
	w := newWorld()
	ns := w.namespace("x")
	c := start(t, w, options(), "x")
	left := c.phase.WaitFor
	w.drop(ns)
	step, err := c.phase.Next(t.Context(), left)
	if err != nil || step == nil || len(step.Actions) > 0 {
		t.Fatal(step, err)
	}
	if step, err = c.phase.Next(t.Context(), left); err != nil || step != nil {
		t.Fatal("watches for ever", step, err)
	}
}

func TestTitles(t *testing.T) {
	w := newWorld()
	for _, name := range []string{"a", "b", "c", "d"} {
		w.namespace(name)
		w.add("configmaps", name, "x", deleting, held("example.com/hold"))
	}
	for want, names := range map[string][]string{
		"Remove finalizers that nobody else removes from 1 object in namespace a":           {"a"},
		"Remove finalizers that nobody else removes from 1 object in namespaces a, b and c": {"a", "b", "c"},
		"Remove finalizers that nobody else removes from 1 object in 4 namespaces":          {"a", "b", "c", "d"},
	} {
		step, err := start(t, w, options(), names...).phase.Next(t.Context(), nil)
		if err != nil || step.Title != want {
			t.Errorf("%q, %v", step.Title, err)
		}
	}
}
