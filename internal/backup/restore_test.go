package backup

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// Get returns the metadata that relinking owners needs.
func (c *content) Get(_ context.Context, t cluster.Target, _ ...[]string) (*cluster.Object, error) {
	u := c.objects[t.Ref]
	if u == nil || t.UID != "" && u.GetUID() != t.UID {
		return nil, apierrors.NewNotFound(t.GVR().GroupResource(), t.Name)
	}
	return &cluster.Object{UID: u.GetUID()}, nil
}

func (c *content) Established(context.Context, []string) error { return nil }

// restoration plans the restore of a fresh backup into a cluster that change
// has changed since.
func restoration(t *testing.T, change func(c *content)) *Restoration {
	t.Helper()
	dir, c := write(t, Options{})
	b, err := Open(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	change(c)
	s, err := b.Look(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return b.Restore(s, c, time.Minute)
}

var agentRef = cluster.Ref{Group: "apps", Kind: "Deployment", Namespace: "castai-agent", Name: "castai-agent"}

// action returns what a plan does with an object.
func action(r *Restoration, ref cluster.Ref) *engine.Action {
	for _, p := range r.Plan.Phases {
		for i := range p.Actions {
			if p.Actions[i].Target.Ref == ref {
				return &p.Actions[i]
			}
		}
	}
	return nil
}

func TestRestoreIntoAnEmptyCluster(t *testing.T) {
	r := restoration(t, func(c *content) { c.objects = nil })
	var phases []string
	for _, p := range r.Plan.Phases {
		phases = append(phases, p.Name)
		for _, a := range p.Actions {
			if a.Verb != engine.Apply || a.Target.UID != "" || !a.Force {
				t.Errorf("%+v", a)
			}
		}
	}
	if want := []string{PhaseNamespaces, PhaseRoles, PhaseConfiguration, PhaseWorkloads}; !slices.Equal(phases, want) {
		t.Errorf("phases %q", phases)
	}
	if len(r.Impossible) != 1 || r.Impossible[0].Object.Kind != "Lease" || len(r.Held) > 0 || r.There > 0 {
		t.Errorf("%+v", r)
	}
	body, err := action(r, agentRef).Content(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n, _, err := unstructured.NestedInt64(body, "spec", "replicas"); err != nil || n != 2 {
		t.Errorf("replicas %d, %v", n, err)
	}
}

func TestRestoreOfWhatIsStillThere(t *testing.T) {
	r := restoration(t, func(*content) {})
	if len(r.Plan.Phases) != 0 || r.There == 0 {
		t.Errorf("%+v", r)
	}
}

func TestRestoreOfWhatWasStopped(t *testing.T) {
	r := restoration(t, func(c *content) {
		u := c.objects[agentRef]
		u.SetAnnotations(map[string]string{"castai.kubectl.dev/stopped": "2"})
		_ = unstructured.SetNestedField(u.Object, int64(0), "spec", "replicas")
	})
	a := action(r, agentRef)
	if a == nil || a.Verb != engine.Patch {
		t.Fatalf("%+v", a)
	}
	want := map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{"castai.kubectl.dev/stopped": nil}},
		"spec":     map[string]any{"replicas": int64(2)},
	}
	if diff := cmp.Diff(want, a.Patch); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestRestoreOfWhatSomebodyChanged(t *testing.T) {
	r := restoration(t, func(c *content) {
		_ = unstructured.SetNestedField(c.objects[agentRef].Object, int64(7), "spec", "replicas")
	})
	if action(r, agentRef) != nil || len(r.Held) != 1 || !strings.Contains(r.Held[0].Why, "spec.replicas") {
		t.Errorf("%+v", r.Held)
	}
}

func TestRestoreOverWhatWasMadeAnew(t *testing.T) {
	r := restoration(t, func(c *content) {
		u := c.objects[agentRef]
		u.SetUID("new")
		_ = unstructured.SetNestedField(u.Object, int64(7), "spec", "replicas")
	})
	if a := action(r, agentRef); a == nil || a.Verb != engine.Apply {
		t.Errorf("%+v", a)
	}
	r = restoration(t, func(c *content) { c.objects[agentRef].SetUID("restored before") })
	if a := action(r, agentRef); a != nil {
		t.Errorf("%+v", a)
	}
}

func TestRestoreWhileANamespaceGoes(t *testing.T) {
	now := metav1.Now()
	r := restoration(t, func(c *content) {
		ns := c.objects[cluster.Ref{Kind: "Namespace", Name: "castai-agent"}]
		c.objects = map[cluster.Ref]*unstructured.Unstructured{{Kind: "Namespace", Name: "castai-agent"}: ns}
		ns.SetDeletionTimestamp(&now)
	})
	if r.Plan.Actions() != 0 || len(r.Held) == 0 {
		t.Errorf("%+v", r)
	}
}

func TestUndo(t *testing.T) {
	type m = map[string]any
	for name, test := range map[string]struct {
		patch, saved, live, want m
		changed                  []string
	}{
		"a field that was there":     {m{"a": float64(0)}, m{"a": int64(3)}, m{"a": int64(0)}, m{"a": int64(3)}, nil},
		"a field that was not there": {m{"a": m{"b": "x"}}, m{}, m{"a": m{"b": "x"}}, m{"a": m{"b": nil}}, nil},
		"a field that was removed":   {m{"a": nil}, m{"a": "x"}, m{}, m{"a": "x"}, nil},
		"undone already":             {m{"a": "y"}, m{"a": "x"}, m{"a": "x"}, m{}, nil},
		"changed since":              {m{"a": m{"b": "y"}}, m{"a": m{"b": "x"}}, m{"a": m{"b": "z"}}, m{}, []string{"a.b"}},
		"removed by us, set since":   {m{"a": nil}, m{"a": "x"}, m{"a": "z"}, m{}, []string{"a"}},
		"a list":                     {m{"l": []any{"a"}}, m{"l": []any{"a", "b"}}, m{"l": []any{"a"}}, m{"l": []any{"a", "b"}}, nil},
		"a list that changed since":  {m{"l": []any{"a"}}, m{"l": []any{"a", "b"}}, m{"l": []any{"a", "c"}}, m{}, []string{"l"}},
		"preconditions":              {m{"metadata": m{"uid": "u", "resourceVersion": "1"}}, m{"metadata": m{}}, m{"metadata": m{"uid": "v"}}, m{}, nil},
		"another form since":         {m{"a": m{"b": "y"}}, m{"a": m{"b": "x"}}, m{"a": "text"}, m{}, []string{"a.b"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, changed := undo(test.patch, test.saved, test.live, "")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if !slices.Equal(changed, test.changed) {
				t.Errorf("changed %q", changed)
			}
		})
	}
}

func TestContains(t *testing.T) {
	type m = map[string]any
	for name, test := range map[string]struct {
		have, want any
		ok         bool
	}{
		"more than that":      {m{"a": int64(1), "b": "x"}, m{"a": 1.0}, true},
		"another value":       {m{"a": int64(1)}, m{"a": int64(2)}, false},
		"a field is missing":  {m{}, m{"a": "x"}, false},
		"no map":              {"x", m{"a": "x"}, false},
		"a list with more":    {[]any{"a", "b"}, []any{"a"}, false},
		"a list with more in": {[]any{m{"a": "x", "b": "y"}}, []any{m{"a": "x"}}, true},
		"no list":             {m{}, []any{}, false},
	} {
		if contains(test.have, test.want) != test.ok {
			t.Error(name)
		}
	}
}

func TestOwnersArePutBackUnderTheirNewUIDs(t *testing.T) {
	sa := cluster.Target{Ref: cluster.Ref{Kind: "ServiceAccount", Namespace: "n", Name: "a"}, Version: "v1", Resource: "serviceaccounts", UID: "old"}
	node := cluster.Target{Ref: cluster.Ref{Kind: "Node", Name: "n1"}, Version: "v1", Resource: "nodes", UID: "node"}
	gone := cluster.Target{Ref: cluster.Ref{Kind: "Node", Name: "n2"}, Version: "v1", Resource: "nodes", UID: "gone"}
	e := &Entry{Owners: []cluster.Target{node, gone}, OwnedBy: []Owner{{Target: sa, Controller: true}}}
	named := func(uid types.UID) *unstructured.Unstructured {
		u := &unstructured.Unstructured{Object: map[string]any{}}
		u.SetUID(uid)
		return u
	}
	c := &content{objects: map[cluster.Ref]*unstructured.Unstructured{sa.Ref: named("new"), node.Ref: named("node"), gone.Ref: named("another")}}
	got, err := relink(t.Context(), c, []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "n1", UID: "node"}, {APIVersion: "v1", Kind: "Node", Name: "n2", UID: "gone"}}, e)
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	want := []metav1.OwnerReference{
		{APIVersion: "v1", Kind: "Node", Name: "n1", UID: "node"},
		{APIVersion: "v1", Kind: "ServiceAccount", Name: "a", UID: "new", Controller: &yes},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestOrder(t *testing.T) {
	target := func(group, kind, name string) cluster.Target {
		return cluster.Target{Ref: cluster.Ref{Group: group, Kind: kind, Name: name}}
	}
	crd, cr := target("apiextensions.k8s.io", "CustomResourceDefinition", "c"), target("castware.cast.ai", "Component", "c")
	made, loop := target("", "ConfigMap", "made"), target("", "ConfigMap", "loop")
	index := &Index{Objects: []Entry{
		{Target: crd}, {Target: cr}, {Target: made, OwnedBy: []Owner{{Target: cr}}},
		{Target: loop, OwnedBy: []Owner{{Target: loop}}},
	}}
	o := newOrder(index)
	if o.of(crd.Ref).compare(o.of(cr.Ref)) >= 0 || o.of(cr.Ref).compare(o.of(made.Ref)) >= 0 {
		t.Errorf("%v %v %v", o.of(crd.Ref), o.of(cr.Ref), o.of(made.Ref))
	}
	o.of(loop.Ref)
}
