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
	return &cluster.Object{UID: u.GetUID(), ResourceVersion: u.GetResourceVersion()}, nil
}

func (c *content) Established(context.Context, []string) error { return nil }

// restoration plans the restore of a fresh backup into a cluster that change
// has changed since.
func restoration(t *testing.T, change func(c *content)) *Restoration {
	t.Helper()
	r, _ := restored(t, change, RestoreOptions{Timeout: time.Minute})
	return r
}

func restored(t *testing.T, change func(c *content), o RestoreOptions) (*Restoration, *content) {
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
	r, err := b.Restore(s, c, o)
	if err != nil {
		t.Fatal(err)
	}
	return r, c
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
			if a.Verb != engine.Create || a.Target.UID != "" {
				t.Errorf("%+v", a)
			}
		}
	}
	if want := []string{PhaseNamespaces, PhaseRoles, PhaseBindings, PhaseConfiguration,
		PhaseWorkloads}; !slices.Equal(phases, want) {
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

// made anew, with other replicas than the backup has
func anew(c *content) {
	u := c.objects[agentRef]
	u.SetUID("new")
	u.SetResourceVersion("7")
	_ = unstructured.SetNestedField(u.Object, int64(7), "spec", "replicas")
}

func TestRestoreKeepsWhatWasMadeAnew(t *testing.T) {
	r := restoration(t, anew)
	if a := action(r, agentRef); a != nil || len(r.Held) != 1 || !strings.Contains(r.Held[0].Why, "--overwrite") {
		t.Errorf("%+v, held %+v", a, r.Held)
	}
	want := []Conflict{{Object: agentRef, Fields: []Field{{Path: "spec.replicas", Backup: int64(2), Cluster: int64(7)}}}}
	if diff := cmp.Diff(want, r.Conflicts); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	r = restoration(t, func(c *content) { c.objects[agentRef].SetUID("restored before") })
	if a := action(r, agentRef); a != nil || len(r.Held)+len(r.Conflicts) > 0 {
		t.Errorf("%+v, %+v", a, r)
	}
}

// Whoever has the names of what is gone by now gets nothing of it.
func TestNothingIsPutIntoANamespaceOfSomebodyElse(t *testing.T) {
	namespace := cluster.Ref{Kind: "Namespace", Name: "castai-agent"}
	account := cluster.Ref{Kind: "ServiceAccount", Namespace: "castai-agent", Name: "castai-agent"}
	made := func(ref cluster.Ref, manager string) func(c *content) {
		return func(c *content) {
			u := c.objects[ref].DeepCopy()
			u.SetUID("another")
			u.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: manager}})
			c.objects = map[cluster.Ref]*unstructured.Unstructured{namespace: c.objects[namespace], ref: u}
		}
	}
	held := func(r *Restoration, in func(cluster.Ref) bool) int {
		return len(slices.DeleteFunc(slices.Clone(r.Held), func(l Leftover) bool { return !in(l.Object) }))
	}
	inside := func(r cluster.Ref) bool { return r.Namespace == "castai-agent" || r == namespace }
	bindings := func(r cluster.Ref) bool { return strings.HasSuffix(r.Kind, "Binding") }
	r := restoration(t, made(namespace, "kubectl-create"))
	if held(r, inside) == 0 || held(r, bindings) == 0 {
		t.Errorf("held %+v", r.Held)
	}
	for _, p := range r.Plan.Phases {
		for _, a := range p.Actions {
			if inside(a.Target.Ref) || bindings(a.Target.Ref) {
				t.Errorf("%s is put back", a.Target.Ref)
			}
		}
	}
	if r := restoration(t, made(account, "kubectl-create")); held(r, bindings) == 0 {
		t.Errorf("it gets rights again: held %+v", r.Held)
	}
	for _, ref := range []cluster.Ref{namespace, account} {
		if r := restoration(t, made(ref, cluster.FieldManager)); len(r.Held) > 0 {
			t.Errorf("what a restore made, %s, holds %+v", ref, r.Held)
		}
	}
}

func TestOverwriteIsOfWhatWasShown(t *testing.T) {
	r, c := restored(t, anew, RestoreOptions{Timeout: time.Minute, Overwrite: true})
	a := action(r, agentRef)
	if a == nil || a.Verb != engine.Apply || len(r.Conflicts) != 1 || !r.Conflicts[0].Overwritten {
		t.Fatalf("%+v, %+v", a, r.Conflicts)
	}
	body, err := a.Content(t.Context())
	if uid, _, _ := unstructured.NestedString(body, "metadata", "uid"); err != nil || uid != "new" {
		t.Errorf("the server could overwrite another one: uid %q, %v", uid, err)
	}
	c.objects[agentRef].SetResourceVersion("8")
	if _, err := a.Content(t.Context()); err == nil || !strings.Contains(err.Error(), "run it again") {
		t.Errorf("one that has changed since: %v", err)
	}
	delete(c.objects, agentRef)
	if _, err := a.Content(t.Context()); err == nil {
		t.Error("one that has gone since would come back")
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
		"a list": {m{"l": []any{"a"}}, m{"l": []any{"a", "b"}}, m{"l": []any{"a"}},
			m{"l": []any{"a", "b"}}, nil},
		"a list that changed since": {m{"l": []any{"a"}}, m{"l": []any{"a", "b"}}, m{"l": []any{"a", "c"}}, m{},
			[]string{"l"}},
		"preconditions": {m{"metadata": m{"uid": "u", "resourceVersion": "1"}}, m{"metadata": m{}},
			m{"metadata": m{"uid": "v"}}, m{}, nil},
		"another form since": {m{"a": m{"b": "y"}}, m{"a": m{"b": "x"}}, m{"a": "text"}, m{}, []string{"a.b"}},
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

func TestDifferences(t *testing.T) {
	type m = map[string]any
	for name, test := range map[string]struct {
		live, saved m
		secret      bool
		want        []Field
	}{
		"more than that": {m{"a": int64(1), "b": "x"}, m{"a": 1.0}, false, nil},
		"another value": {m{"a": int64(1)}, m{"a": int64(2)}, false,
			[]Field{{Path: "a", Backup: int64(2), Cluster: int64(1)}}},
		"a field is missing": {m{}, m{"a": m{"b": "x"}}, false, []Field{{Path: "a.b", Backup: "x"}}},
		"no map": {m{"a": "x"}, m{"a": m{"b": "x"}}, false,
			[]Field{{Path: "a", Backup: m{"b": "x"}, Cluster: "x"}}},
		"an empty map": {m{}, m{"a": m{}}, false, []Field{{Path: "a", Backup: m{}}}},
		"a list with more": {m{"l": []any{"a", "b"}}, m{"l": []any{"a"}}, false,
			[]Field{{Path: "l", Backup: []any{"a"}, Cluster: []any{"a", "b"}}}},
		"a list with more in": {m{"l": []any{m{"a": "x", "b": "y"}}}, m{"l": []any{m{"a": "x"}}}, false, nil},
		"an element": {m{"l": []any{m{"a": "x"}}}, m{"l": []any{m{"a": "y"}}}, false,
			[]Field{{Path: "l[0].a", Backup: "y", Cluster: "x"}}},
		"no list": {m{"l": m{}}, m{"l": []any{}}, false, []Field{{Path: "l", Backup: []any{}, Cluster: m{}}}},
		"owners":  {m{}, m{"metadata": m{"ownerReferences": []any{m{"uid": "old"}}}}, false, []Field{}},
		"the data of a Secret": {m{"data": m{"a": "cGFzcw=="}, "type": "x"}, m{"data": m{"a": "d29yZA=="}, "type": "y"}, true,
			[]Field{{Path: "data.a", Secret: true}, {Path: "type", Backup: "y", Cluster: "x"}}},
		"its annotations": {m{},
			m{"metadata": m{"annotations": m{"kubectl.kubernetes.io/last-applied-configuration": "cGFzcw=="}}}, true,
			[]Field{{Path: "metadata.annotations.kubectl.kubernetes.io/last-applied-configuration", Secret: true}}},
	} {
		if diff := cmp.Diff(test.want, differences(test.saved, test.live, test.secret)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

func TestGrant(t *testing.T) {
	type m = map[string]any
	account := cluster.Ref{Kind: "ServiceAccount", Namespace: "castai-agent", Name: "castai-agent"}
	saved := map[cluster.Ref]*Entry{account: {}}
	binding := func(role string, subjects ...any) m {
		return m{"roleRef": m{"kind": "ClusterRole", "name": role}, "subjects": subjects}
	}
	agent := m{"kind": "ServiceAccount", "namespace": "castai-agent", "name": "castai-agent"}
	rule := func(verbs, groups, resources string) m {
		return m{"rules": []any{m{"verbs": []any{verbs}, "apiGroups": []any{groups}, "resources": []any{resources}}}}
	}
	for _, test := range []struct {
		name, kind, namespace string
		object                m
		wide                  bool
		text                  string
	}{
		{"Cast AI's own", "ClusterRoleBinding", "", binding("castai-agent", agent), false,
			"ClusterRole castai-agent to ServiceAccount castai-agent/castai-agent"},
		{"its own namespace is meant", "RoleBinding", "castai-agent",
			binding("castai-agent", m{"kind": "ServiceAccount", "name": "castai-agent"}), false, "castai-agent/castai-agent"},
		{"cluster-admin", "ClusterRoleBinding", "", binding("cluster-admin", agent), true, "cluster-admin"},
		{"a user", "ClusterRoleBinding", "", binding("castai-agent", agent, m{"kind": "User", "name": "mallory"}), true,
			"User mallory"},
		{"an account of another namespace", "RoleBinding", "castai-agent",
			binding("castai-agent", m{"kind": "ServiceAccount", "namespace": "shop",
				"name": "castai-agent"}), true, "shop/castai-agent"},
		{"nobody", "RoleBinding", "castai-agent", binding("castai-agent"), false, "to nobody"},
		{"some rights", "ClusterRole", "", rule("get", "", "pods"), false, "allows get on pods"},
		{"all rights", "ClusterRole", "", rule("*", "*", "*"), true, "* on everything"},
		{"a group", "ClusterRole", "", rule("get", "apps", "deployments"), false, "get on deployments.apps"},
		{"URLs", "ClusterRole", "", m{"rules": []any{m{"verbs": []any{"get"}, "nonResourceURLs": []any{"/metrics"}}}}, false,
			"get on /metrics"},
		{"rights to more rights", "Role", "x", rule("escalate", "rbac.authorization.k8s.io", "roles"), true,
			"escalate on roles.rbac.authorization.k8s.io"},
		{"aggregated", "ClusterRole", "", m{"aggregationRule": m{"clusterRoleSelectors": []any{}}}, true, "aggregates"},
	} {
		got, err := grant(cluster.Ref{Group: "rbac.authorization.k8s.io", Kind: test.kind, Namespace: test.namespace,
			Name: "r"}, test.object, saved)
		if err != nil || got.Wide != test.wide || !strings.Contains(got.Text, test.text) {
			t.Errorf("%s: %+v, %v", test.name, got, err)
		}
	}
	if _, err := grant(cluster.Ref{Kind: "ClusterRole"}, m{"rules": "all"}, saved); err == nil {
		t.Error("rules that are not a list")
	}
}

func TestOwnersArePutBackUnderTheirNewUIDs(t *testing.T) {
	sa := cluster.Target{Ref: cluster.Ref{Kind: "ServiceAccount", Namespace: "n", Name: "a"}, Version: "v1",
		Resource: "serviceaccounts", UID: "old"}
	node := cluster.Target{Ref: cluster.Ref{Kind: "Node", Name: "n1"}, Version: "v1", Resource: "nodes", UID: "node"}
	gone := cluster.Target{Ref: cluster.Ref{Kind: "Node", Name: "n2"}, Version: "v1", Resource: "nodes", UID: "gone"}
	e := &Entry{Owners: []cluster.Target{node, gone}, OwnedBy: []Owner{{Target: sa, Controller: true}}}
	named := func(uid types.UID) *unstructured.Unstructured {
		u := &unstructured.Unstructured{Object: map[string]any{}}
		u.SetUID(uid)
		return u
	}
	c := &content{objects: map[cluster.Ref]*unstructured.Unstructured{sa.Ref: named("new"), node.Ref: named("node"),
		gone.Ref: named("another")}}
	got, err := relink(t.Context(), c, []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "n1", UID: "node"},
		{APIVersion: "v1", Kind: "Node", Name: "n2", UID: "gone"}}, e)
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
	crd, cr := target("apiextensions.k8s.io", "CustomResourceDefinition", "c"), target("castware.cast.ai", "Component",
		"c")
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
