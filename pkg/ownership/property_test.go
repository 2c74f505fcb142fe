package ownership_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/offboard"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// random returns a source whose seed is printed, and can be set to repeat a failure.
func random(t testing.TB) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("FOOTPRINT_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("FOOTPRINT_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// wholeScenes are installations that an offboarding takes apart.
func wholeScenes(t testing.TB) map[string]*scene {
	t.Helper()
	guests := castAI(t).files(t, fixtures+"/guests/*.yaml").files(t, fixtures+"/foreign/*.yaml").files(t,
		fixtures+"/users/*.yaml")
	elsewhere := &scene{}
	for chart, in := range everyChart() {
		if chart != "omni-agent" && chart != "castware-components" {
			elsewhere.install(t, "charts/"+chart, install{"x-" + in.release, "platform", true})
		}
	}
	shared := elsewhere.clone().yaml(t, deployment("platform", "web", "registry.example.com/web:1"))
	return map[string]*scene{
		"documented": castAI(t), "with guests": guests, "elsewhere": elsewhere, "in a shared namespace": shared,
		"without Helm": (&scene{}).install(t, "charts/castai-agent", install{"castai-agent", "castai-agent", false}).
			install(t, "charts/castai-pod-mutator", install{"castai-pod-mutator", "castai-agent", false}).
			install(t, "charts/castai-evictor", install{"castai-evictor", "castai-agent", false}),
	}
}

// world is a snapshot that actions are carried out on.
type world struct {
	*cluster.Snapshot
	records []cluster.StoredRelease
}

// do carries out an action as an API server and its controllers would.
func (w *world) do(a engine.Action) {
	if a.Verb == engine.Patch {
		for i, o := range w.Objects {
			if o.Ref() != a.Target.Ref {
				continue
			}
			patched := *o
			patched.Body = merge(o.Body, a.Patch)
			w.Objects[i] = &patched
			w.remove(func(p *cluster.Object) bool { return p.Resource.Kind == "Pod" && w.under(p, o) })
		}
		return
	}
	r := a.Target.Ref
	if r.Kind == "Namespace" {
		// Its contents go one by one: what this leaves at first is only marked.
		for i, o := range w.Objects {
			if o.Ref() == r {
				terminating := *o
				terminating.Deleting = time.Now()
				w.Objects[i] = &terminating
			}
		}
		return
	}
	w.remove(func(o *cluster.Object) bool {
		return o.Ref() == r || r.Kind == "CustomResourceDefinition" && o.Resource.GroupResource().String() == r.Name
	})
}

// under tells whether an object is below another in a chain of owners.
func (w *world) under(o, top *cluster.Object) bool {
	for _, r := range o.Owners {
		if r.UID == top.UID || slices.ContainsFunc(w.Objects,
			func(up *cluster.Object) bool { return up.UID == r.UID && w.under(up, top) }) {
			return true
		}
	}
	return false
}

// remove takes objects away, and then what they own.
func (w *world) remove(gone func(*cluster.Object) bool) {
	uids := map[types.UID]bool{}
	for more := true; more; {
		before := len(w.Objects)
		w.Objects = slices.DeleteFunc(w.Objects, func(o *cluster.Object) bool {
			orphan := len(o.Owners) > 0
			for _, r := range o.Owners {
				orphan = orphan && uids[r.UID]
			}
			if orphan || gone(o) {
				uids[o.UID] = true
				return true
			}
			return false
		})
		more = len(w.Objects) < before
	}
}

// finish ends what is being deleted.
func (w *world) finish() {
	terminating := map[string]bool{}
	for _, o := range w.Objects {
		if o.Resource.Kind == "Namespace" && o.Terminating() {
			terminating[o.Name] = true
		}
	}
	w.remove(func(o *cluster.Object) bool {
		return terminating[o.Namespace] || o.Resource.Kind == "Namespace" && o.Terminating()
	})
}

func (w *world) clone() *world {
	snap := *w.Snapshot
	snap.Objects = slices.Clone(w.Objects)
	return &world{&snap, w.records}
}

// judge takes the inventory of what is left.
func (w *world) judge(t testing.TB) *ownership.Inventory {
	t.Helper()
	left := slices.DeleteFunc(slices.Clone(w.records), func(r cluster.StoredRelease) bool {
		return !slices.ContainsFunc(w.Objects, func(o *cluster.Object) bool { return o.Ref() == r.Ref })
	})
	return judge(t, w.Snapshot, left, ownership.Options{})
}

func merge(in, patch map[string]any) map[string]any {
	out := maps.Clone(in)
	if out == nil {
		out = map[string]any{}
	}
	for k, v := range patch {
		if m, ok := v.(map[string]any); ok {
			old, _ := out[k].(map[string]any)
			out[k] = merge(old, m)
			continue
		}
		out[k] = v
	}
	return out
}

// TestInterruptedRuns takes Cast AI out as the plan says and stops anywhere:
// between phases, and in the middle of each, with any part of it done. Whatever
// is left is judged as it was in the beginning.
func TestInterruptedRuns(t *testing.T) {
	r := random(t)
	for name, s := range wholeScenes(t) {
		t.Run(name, func(t *testing.T) {
			w := &world{s.snapshot(t), s.records}
			first := w.judge(t)
			for _, phase := range offboard.New(first, catalogue(t), offboard.Options{}).Phases {
				for range 2 {
					part := w.clone()
					whole := map[string]bool{}
					for _, a := range phase.Actions {
						if a.Target.Kind == "Namespace" {
							whole[a.Target.Name] = true
							part.do(a) // these come first
						}
					}
					for _, a := range phase.Actions {
						if a.Target.Kind != "Namespace" && r.IntN(2) == 0 {
							part.do(a)
						}
					}
					part.unchanged(t, first, fmt.Sprintf("in the middle of phase %s", phase.Name), whole)
				}
				for _, a := range phase.Actions {
					w.do(a)
				}
				w.finish()
				w.unchanged(t, first, "after phase "+phase.Name, nil)
			}
			for _, i := range w.judge(t).Owned() {
				t.Errorf("%s is left", i.Object.Ref())
			}
		})
	}
}

// unchanged fails the test for everything that was owned and is so no longer,
// and the other way round. What is in namespaces that are being deleted goes in
// any case.
func (w *world) unchanged(t *testing.T, first *ownership.Inventory, when string, going map[string]bool) {
	t.Helper()
	now := w.judge(t)
	for _, o := range w.Objects {
		if was, is := first.IsOwned(o.Ref()), now.IsOwned(o.Ref()); was != is &&
			!(was && (going[o.Namespace] || going[o.Name] && o.Resource.Kind == "Namespace")) {
			t.Errorf("%s: %s: owned was %t and is %t: %s", when, o.Ref(), was, is, explain(t, now, o.Ref()))
		}
	}
}

// summary is everything that an inventory says, as text.
func summary(t testing.TB, inv *ownership.Inventory) string {
	t.Helper()
	type line struct {
		Ref  cluster.Ref
		Item ownership.Item
	}
	var lines []line
	for _, i := range inv.Items {
		item := *i
		item.Object = nil
		lines = append(lines, line{i.Object.Ref(), item})
	}
	raw, err := json.MarshalIndent([]any{lines, inv.Homes, inv.Releases, inv.Impact, inv.Blockers, inv.Identity}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestOrderDoesNotMatter shuffles everything that a snapshot lists.
func TestOrderDoesNotMatter(t *testing.T) {
	r := random(t)
	for name, s := range wholeScenes(t) {
		t.Run(name, func(t *testing.T) {
			snap := s.snapshot(t)
			cat := catalogue(t)
			want := summary(t, ownership.Judge(snap, s.records, cat, ownership.Options{}))
			for range 5 {
				shuffled := *snap
				shuffled.Objects, shuffled.Resources = slices.Clone(snap.Objects), slices.Clone(snap.Resources)
				records := slices.Clone(s.records)
				r.Shuffle(len(shuffled.Objects), func(i, j int) {
					shuffled.Objects[i], shuffled.Objects[j] = shuffled.Objects[j], shuffled.Objects[i]
				})
				r.Shuffle(len(shuffled.Resources), func(i, j int) {
					shuffled.Resources[i], shuffled.Resources[j] = shuffled.Resources[j], shuffled.Resources[i]
				})
				r.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
				if got := summary(t, ownership.Judge(&shuffled, records, cat, ownership.Options{})); got != want {
					t.Fatalf("the order changed the inventory: %s", firstDifference(want, got))
				}
			}
		})
	}
}

func firstDifference(a, b string) string {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	from := max(0, i-300)
	return a[from:min(len(a), i+200)] + "\n\nis now\n\n" + b[from:min(len(b), i+200)]
}
