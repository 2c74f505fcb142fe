package ownership_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/castai/kubectl-castai/internal/console"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/finalize"
	"github.com/castai/kubectl-castai/pkg/offboard"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// write is one thing that an attacker does: an object that he creates or
// changes, or one that he deletes.
type write struct {
	object *unstructured.Unstructured
	record []byte // what is in it, of a record of Helm's
	remove bool
}

func (w write) ref() cluster.Ref {
	gvk := w.object.GroupVersionKind()
	return cluster.Ref{Group: gvk.Group, Kind: gvk.Kind, Namespace: w.object.GetNamespace(), Name: w.object.GetName()}
}

// String is the write as YAML.
func (w write) String() string {
	raw, err := yaml.Marshal(w.object.Object)
	if err != nil {
		return err.Error()
	}
	text := "---\n" + string(raw)
	if w.remove {
		text = "# deleted\n" + text
	}
	if w.record != nil {
		text += "# release: " + string(unpack(w.record)) + "\n"
	}
	return text
}

// stage is a cluster in which somebody holds rights in one place: as admin of a
// namespace, or as the kubelet of a node.
type stage struct {
	name      string
	namespace string // the tenant's; empty: it is a kubelet
	node      string // the kubelet's
	home      bool   // Cast AI lives in the namespace
	claimed   bool   // as nothing but the namespace's name says

	base      []*cluster.Object
	resources map[string]*cluster.Resource // by KIND.GROUP
	records   map[cluster.Ref][]byte
	before    map[string]bool
	donors    []*unstructured.Unstructured // what there is to copy
	catalogue *ownership.Catalogue
}

// newStage puts the attacker's surroundings into a scene.
func newStage(t testing.TB, name string, s *scene, namespace, node string, home bool) *stage {
	t.Helper()
	s = s.clone()
	if namespace != "" {
		s.yaml(t, strings.ReplaceAll(surroundings, "TENANT", namespace))
	}
	s.yaml(t, neighbours)
	st := &stage{
		name: name, namespace: namespace, node: node, home: home,
		resources: map[string]*cluster.Resource{}, records: map[cluster.Ref][]byte{}, donors: s.objects,
		catalogue: catalogue(t), claimed: home && !slices.ContainsFunc(s.objects, leadsTo(namespace)),
	}
	snap := s.snapshot(t)
	for _, r := range slices.Concat(snap.Resources, defined(s.objects)) {
		st.resources[r.Kind+"."+r.Group] = r
	}
	st.base = snap.Objects
	for _, r := range s.records {
		st.records[r.Ref] = r.Data
	}
	st.before = st.view(st.judge(t, nil), nil)
	return st
}

// leadsTo tells of an object whether it is a ClusterRoleBinding for an account in a
// namespace.
func leadsTo(namespace string) func(*unstructured.Unstructured) bool {
	return func(u *unstructured.Unstructured) bool {
		subjects, _, _ := unstructured.NestedSlice(u.Object, "subjects")
		return u.GetKind() == "ClusterRoleBinding" && slices.ContainsFunc(subjects, func(s any) bool {
			subject, _ := s.(map[string]any)
			return subject["namespace"] == namespace
		})
	}
}

// defined returns the kinds that the CustomResourceDefinitions among objects define.
func defined(objects []*unstructured.Unstructured) []*cluster.Resource {
	var out []*cluster.Resource
	for _, u := range objects {
		if u.GetKind() != "CustomResourceDefinition" {
			continue
		}
		text := func(path ...string) string {
			s, _, _ := unstructured.NestedString(u.Object, append([]string{"spec"}, path...)...)
			return s
		}
		out = append(out, &cluster.Resource{
			Group: text("group"), Version: "v1", Kind: text("names", "kind"), Name: text("names", "plural"),
			Namespaced: text("scope") == "Namespaced", Verbs: []string{"list", "delete", "watch", "patch"},
		})
	}
	return out
}

// theirs tells whether an object is in the attacker's hands.
func (st *stage) theirs(r cluster.Ref) bool {
	if st.namespace != "" {
		return r.Namespace == st.namespace || r.Kind == "Namespace" && r.Name == st.namespace
	}
	lease := r.Kind == "Lease" && r.Namespace == "kube-node-lease"
	return r.Name == st.node && (r.Kind == "Node" || r.Kind == "CSINode" || lease)
}

// judge takes the inventory of the cluster after the attacker's writes.
func (st *stage) judge(t testing.TB, writes []write) *ownership.Inventory {
	t.Helper()
	last := map[cluster.Ref]write{}
	for _, w := range writes {
		last[w.ref()] = w
	}
	snap := &cluster.Snapshot{Server: cluster.Server{Context: "test", KubeSystemUID: "test"}}
	uids := map[cluster.Ref]*cluster.Object{}
	for _, o := range st.base {
		if _, changed := last[o.Ref()]; changed {
			uids[o.Ref()] = o
			continue
		}
		snap.Objects = append(snap.Objects, o)
	}
	resources := maps.Clone(st.resources)
	records := maps.Clone(st.records)
	for ref, w := range last {
		delete(records, ref)
		if w.remove {
			continue
		}
		if w.record != nil {
			records[ref] = w.record
		}
		u := w.object
		if u.GetUID() == "" {
			u = u.DeepCopy()
			u.SetUID(types.UID(ref.String()))
			if old := uids[ref]; old != nil {
				u.SetUID(old.UID)
			}
		}
		r := resources[ref.Kind+"."+ref.Group]
		if r == nil {
			r = (&scene{objects: []*unstructured.Unstructured{u}}).snapshot(t).Resources[0]
			resources[ref.Kind+"."+ref.Group] = r
		}
		o, err := cluster.NewObject(r, u)
		if err != nil {
			t.Fatalf("%v in\n%s", err, w)
		}
		fill(o, u)
		snap.Objects = append(snap.Objects, o)
	}
	slices.SortFunc(snap.Objects, func(a, b *cluster.Object) int { return a.Ref().Compare(b.Ref()) })
	for _, kind := range slices.Sorted(maps.Keys(resources)) {
		snap.Resources = append(snap.Resources, resources[kind])
	}
	var asked []cluster.StoredRelease
	for _, target := range ownership.ReleaseRecords(snap, st.catalogue, nil) {
		if data, ok := records[target.Ref]; ok {
			asked = append(asked, cluster.StoredRelease{Ref: target.Ref, Data: data})
		}
	}
	return ownership.Judge(snap, asked, st.catalogue, ownership.Options{})
}

// view is all that is decided about what is not in the attacker's hands, and
// what he may never reach in what is.
func (st *stage) view(inv *ownership.Inventory, writes []write) map[string]bool {
	out := map[string]bool{}
	say := func(format string, args ...any) { out[fmt.Sprintf(format, args...)] = true }
	written := map[cluster.Ref]bool{}
	for _, w := range writes {
		written[w.ref()] = true
	}
	outside := func(r cluster.Ref) bool { return !st.theirs(r) && !written[r] }
	custom := func(o *cluster.Object) bool {
		return inv.IsOwned(cluster.Ref{
			Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: o.Resource.GroupResource().String(),
		})
	}
	for _, i := range inv.Items {
		switch r := i.Object.Ref(); {
		case outside(r):
			say("%s is %s (%s, dependent: %t)", r, i.Verdict, i.Component, i.Dependent)
		case i.Verdict == ownership.Owned && (!st.home || guarded(r)) && !custom(i.Object) && !hangs(i):
			say("%s is owned", r)
		}
	}
	for _, phase := range offboard.New(inv, st.catalogue, offboard.Options{}).Phases {
		for _, a := range phase.Actions {
			if outside(a.Target.Ref) {
				say("the plan has in %s: %s %s %v %v", phase.Name, a.Verb, a.Target.Ref, a.Patch, a.Finalizers)
			}
		}
	}
	for _, h := range inv.Homes {
		if h.Name != st.namespace {
			keep := slices.DeleteFunc(slices.Clone(h.Keep), func(r cluster.Ref) bool { return !outside(r) })
			say("Cast AI lives in %s, and these stay: %v", h.Name, keep)
		} else if !st.home {
			say("Cast AI lives in %s", h.Name)
		}
	}
	for _, phase := range st.unstick(inv).Phases {
		for _, a := range phase.Actions {
			if outside(a.Target.Ref) {
				say("unstick-ns would %s %s: %s", a.Verb, a.Target.Ref, a.Finalizers)
			}
		}
	}
	for _, m := range inv.Marks(inv.Objects()) {
		if outside(m.Object.Ref()) {
			say("offboard --revert patches %s: %v", m.Object.Ref(), m.Patch)
		}
	}
	for _, b := range inv.Blockers {
		st.viewBlocker(inv, b, say, outside)
	}
	if !st.home || st.claimed {
		say("the cluster is %+v", inv.Identity)
	}
	if !st.home {
		say("verify: something is left: %t, unreadable: %v", !inv.Clean(), inv.Unreadable)
		say("releases: %v", inv.Releases)
	}
	for _, state := range consoles() {
		d, err := console.Judge(state, console.NewLive(kubeSystem, inv.Objects()), console.Options{})
		if err == nil && len(d.Blockers) == 0 {
			say("this passes for cluster %s at the console", state.Cluster.Name)
		}
	}
	return out
}

// unstick is what unstick-ns would do about a namespace that is stuck, with the
// verdicts of an inventory.
func (st *stage) unstick(inv *ownership.Inventory) *engine.Plan {
	snap := &cluster.Snapshot{Objects: inv.Objects()}
	for _, kind := range slices.Sorted(maps.Keys(st.resources)) {
		snap.Resources = append(snap.Resources, st.resources[kind])
	}
	o := finalize.Options{Owned: inv.IsOwned, Partial: true, Now: func() time.Time { return time.Unix(0, 0) }}
	d, err := finalize.Diagnose(&finalize.Observation{Snapshot: snap}, "stuck", o)
	if err != nil {
		return &engine.Plan{}
	}
	return finalize.Preview([]*finalize.Diagnosis{d}, o)
}

// hangs tells whether an object is owned because its writer hung it onto one of
// Cast AI's, with which Kubernetes collects it.
func hangs(i *ownership.Item) bool {
	return !slices.ContainsFunc(
		i.For, func(e ownership.Evidence) bool { return e.Rule != "owner" && e.Rule != "companion" },
	)
}

// viewBlocker tells a blocker with the objects outside. It may be for an object of
// the attacker's all the same: one that goes with what it hangs on or with its
// kind, the taint of a paused cluster on his node, and, where Cast AI lives, a
// controller that is not known to be Cast AI's. A person is asked then, no more.
func (st *stage) viewBlocker(
	inv *ownership.Inventory, b ownership.Blocker, say func(string, ...any), outside func(cluster.Ref) bool,
) {
	if b.Name == "split" && st.home {
		return
	}
	var objects []cluster.Ref
	for _, r := range b.Objects {
		if outside(r) || st.namespace != "" && !st.home && !inv.IsOwned(r) && b.Name != "dependents" {
			objects = append(objects, r)
		}
	}
	if len(objects) > 0 {
		say("blocked by %s: %v", b.Name, objects)
	}
}

// guarded tells whether an object is of a kind that the role admin may read in a
// namespace and not write (bootstrappolicy/policy.go, editRules and viewRules).
func guarded(r cluster.Ref) bool {
	return r.Group == "" && (r.Kind == "ResourceQuota" || r.Kind == "LimitRange") || r.Kind == "Widget"
}

// interference is what differs because of the writes, nothing if all is well.
func (st *stage) interference(t testing.TB, writes []write) []string {
	t.Helper()
	inv := st.judge(t, writes)
	after := st.view(inv, writes)
	var out []string
	for line := range after {
		if !st.before[line] {
			out = append(out, "+ "+line)
		}
	}
	for line := range st.before {
		if !after[line] {
			out = append(out, "- "+line)
		}
	}
	slices.Sort(out)
	return out
}

// shrink leaves out of the writes, and of each object, what the interference
// does not need.
func (st *stage) shrink(t testing.TB, writes []write) []write {
	t.Helper()
	bad := func(w []write) bool { return len(st.interference(t, w)) > 0 }
	for size := len(writes) / 2; size > 0; size /= 2 {
		for from := 0; from+size <= len(writes); {
			if rest := slices.Delete(slices.Clone(writes), from, from+size); bad(rest) {
				writes = rest
			} else {
				from += size
			}
		}
	}
	for i := range writes {
		for _, path := range [][]string{
			{"metadata", "labels"}, {"metadata", "annotations"}, {"metadata", "ownerReferences"}, {"metadata", "finalizers"},
			{"metadata", "managedFields"}, {"spec"}, {"status"}, {"data"}, {"subjects"},
		} {
			writes = st.without(t, writes, i, path, bad)
		}
	}
	return writes
}

// without removes a field of a write, or else as many of its entries as it can.
func (st *stage) without(t testing.TB, writes []write, i int, path []string, bad func([]write) bool) []write {
	t.Helper()
	value, found, err := unstructured.NestedFieldNoCopy(writes[i].object.Object, path...)
	if !found || err != nil {
		return writes
	}
	next := slices.Clone(writes)
	next[i].object = writes[i].object.DeepCopy()
	unstructured.RemoveNestedField(next[i].object.Object, path...)
	if bad(next) {
		return next
	}
	if m, ok := value.(map[string]any); ok && len(path) == 2 {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			next = slices.Clone(writes)
			next[i].object = writes[i].object.DeepCopy()
			unstructured.RemoveNestedField(next[i].object.Object, append(slices.Clone(path), key)...)
			if bad(next) {
				writes = next
			}
		}
	}
	return writes
}

// TestNonInterference lets tenants and kubelets write whatever they can think of:
// nothing is decided differently about anything that is not theirs.
func TestNonInterference(t *testing.T) {
	r := random(t)
	start, cases, objects, whole := time.Now(), 0, 0, castAI(t)
	for _, st := range stages(t) {
		g := newGenerator(t, st, whole, rand.New(rand.NewPCG(r.Uint64(), 0)))
		for range st.rounds(t) {
			writes := g.writes()
			cases++
			objects += len(writes)
			if diff := st.interference(t, writes); len(diff) > 0 {
				st.report(t, writes)
				break
			}
		}
	}
	t.Logf("%d cases of %d writes in %v", cases, objects, time.Since(start).Round(time.Millisecond))
}

// rounds is how many cases a stage is worth: judging a large cluster takes longer.
// FOOTPRINT_CASES is a factor, for a longer search (make interference); each run has other
// cases.
func (st *stage) rounds(t testing.TB) int {
	t.Helper()
	factor := 1
	if f := os.Getenv("FOOTPRINT_CASES"); f != "" {
		var err error
		if factor, err = strconv.Atoi(f); err != nil {
			t.Fatal(err)
		}
	}
	return factor * max(8, 2_000/len(st.base))
}

// report fails the test with the smallest set of writes that interferes.
func (st *stage) report(t testing.TB, writes []write) {
	t.Helper()
	writes = st.shrink(t, writes)
	var text strings.Builder
	for _, w := range writes {
		text.WriteString(w.String())
	}
	diff := st.interference(t, writes)
	if len(diff) > 12 {
		diff = append(diff[:12], fmt.Sprintf("and %d more", len(diff)-12))
	}
	t.Errorf("%s: with\n%s\nthis changes:\n%s", st.name, text.String(), strings.Join(diff, "\n"))
}
