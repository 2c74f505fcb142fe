package engine_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// edit changes an object, as somebody else would.
func (f *fakeCluster) edit(o *cluster.Object, labels map[string]string) {
	edited := *f.objects[o.Ref()]
	edited.Labels = labels
	f.put(&edited)
}

func TestAnObjectThatChangedIsNotDeletedUnlessItIsJudgedAgain(t *testing.T) {
	for name, test := range map[string]struct {
		changed func(f *fakeCluster) func(context.Context, engine.Action) (cluster.Target, error)
		result  engine.Result
		there   bool
	}{
		"still ours": {func(f *fakeCluster) func(context.Context, engine.Action) (cluster.Target, error) {
			return func(ctx context.Context, a engine.Action) (cluster.Target, error) {
				o, err := f.Get(ctx, a.Target)
				return o.Target(), err
			}
		}, engine.ResultDone, false},
		"no longer ours": {func(*fakeCluster) func(context.Context, engine.Action) (cluster.Target, error) {
			return func(context.Context, engine.Action) (cluster.Target, error) {
				return cluster.Target{}, engine.Keep("it is somebody else's now")
			}
		}, engine.ResultKept, true},
		"can't be saved": {func(*fakeCluster) func(context.Context, engine.Action) (cluster.Target, error) {
			return func(context.Context, engine.Action) (cluster.Target, error) {
				return cluster.Target{}, errors.New("the disk is full")
			}
		}, engine.ResultFailed, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := configMap("edited")
			f := newFake(o)
			judged := remove(o)
			f.edit(o, map[string]string{"mine": "true"})
			plan := &engine.Plan{Phases: []engine.Phase{{Name: "p", Patience: 50 * time.Millisecond,
				Actions: []engine.Action{judged}}}}
			r, err := engine.Run(t.Context(), f, plan, engine.Options{Changed: test.changed(f)})
			if err != nil {
				t.Fatal(err)
			}
			if got := outcome(t, r, "edited"); got.Result != test.result {
				t.Errorf("the outcome is %+v, not %s", got, test.result)
			}
			if there := f.objects[o.Ref()] != nil; there != test.there {
				t.Errorf("it is there: %v", there)
			}
		})
	}
}

// Without a change nothing is asked, and a change between judging again and
// deleting is seen, too.
func TestEveryChangeIsJudged(t *testing.T) {
	quiet, busy := configMap("quiet"), configMap("busy")
	f := newFake(quiet, busy)
	edits := 3
	f.before = func(target cluster.Target) {
		if target.Name == "busy" && edits > 0 {
			edits--
			f.edit(busy, nil)
		}
	}
	var asked []string
	plan := &engine.Plan{Phases: []engine.Phase{{Name: "p", Actions: []engine.Action{remove(quiet), remove(busy)}}}}
	r, err := engine.Run(t.Context(), f, plan, engine.Options{Changed: func(ctx context.Context,
		a engine.Action) (cluster.Target, error) {
		asked = append(asked, a.Target.Name)
		o, err := f.Get(ctx, a.Target)
		return o.Target(), err
	}})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"busy", "busy", "busy"}; !slices.Equal(asked, want) {
		t.Errorf("asked about %v, not %v", asked, want)
	}
	if got := outcome(t, r, "busy").Result; got != engine.ResultDone {
		t.Errorf("busy: %s", got)
	}
}

func TestHoldKeepsWhatWouldTakeOthersAlong(t *testing.T) {
	kept, goes, later := configMap("kept"), configMap("goes"), configMap("later")
	f := newFake(kept, goes, later)
	var mu sync.Mutex
	var asked []string
	hold := func(_ context.Context, actions []engine.Action) (map[types.UID]string, error) {
		mu.Lock()
		defer mu.Unlock()
		for _, a := range actions {
			asked = append(asked, a.Target.Name)
		}
		return map[types.UID]string{kept.UID: "somebody else's Secret is in it"}, nil
	}
	r, err := run(t, f, engine.Phase{Name: "a", Hold: hold, Actions: []engine.Action{remove(kept), remove(goes)}},
		engine.Phase{Name: "b", Actions: []engine.Action{remove(later)}})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(asked)
	if want := []string{"goes", "kept"}; !slices.Equal(asked, want) {
		t.Errorf("asked about %v", asked)
	}
	if o := outcome(t, r, "kept"); o.Result != engine.ResultKept || o.Message != "somebody else's Secret is in it" {
		t.Errorf("kept: %+v", o)
	}
	if slices.Contains(f.writes, "delete kept") {
		t.Errorf("writes: %v", f.writes)
	}
	for _, name := range []string{"goes", "later"} {
		if got := outcome(t, r, name).Result; got != engine.ResultDone {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// What takes others along is asked about, and sent, when all else in its phase has
// been answered: what stays by then must hold it.
func TestWhatTakesOthersAlongComesLast(t *testing.T) {
	takes, one, two := configMap("takes"), configMap("one"), configMap("two")
	f := newFake(takes, one, two)
	hold := func(_ context.Context, actions []engine.Action) (map[types.UID]string, error) {
		if len(actions) != 1 || actions[0].Target.Name != "takes" || len(f.writes) != 2 {
			t.Errorf("asked about %v after %v", actions, f.writes)
		}
		return nil, nil
	}
	phase := engine.Phase{
		Name: "a", Hold: hold, Actions: []engine.Action{remove(takes), remove(one), remove(two)},
		Takes: func(a engine.Action) bool { return a.Target.Name == "takes" },
	}
	if _, err := run(t, f, phase); err != nil {
		t.Fatal(err)
	}
	if len(f.writes) != 3 || f.writes[2] != "delete takes" {
		t.Errorf("writes: %v", f.writes)
	}
}

// Nothing is sent if nobody can look, and a gate stays shut.
func TestNothingIsSentIfHoldFails(t *testing.T) {
	o, later := configMap("kept"), configMap("later")
	f := newFake(o, later)
	blind := func(context.Context, []engine.Action) (map[types.UID]string, error) {
		return nil, errors.New("can't look")
	}
	r, err := run(t, f, engine.Phase{Name: "a", Hold: blind, Actions: []engine.Action{remove(o)}})
	if err != nil || len(f.writes) > 0 || outcome(t, r, "kept").Result != engine.ResultFailed {
		t.Errorf("error %v, writes %v", err, f.writes)
	}
	held := func(context.Context, []engine.Action) (map[types.UID]string, error) {
		return map[types.UID]string{o.UID: "why"}, nil
	}
	_, err = run(t, f, engine.Phase{Name: "a", Gate: true, Hold: held, Actions: []engine.Action{remove(o)}},
		engine.Phase{Name: "b", Actions: []engine.Action{remove(later)}})
	if !errors.Is(err, engine.ErrGate) || len(f.writes) > 0 {
		t.Errorf("error %v, writes %v", err, f.writes)
	}
}

// A server that says "later" is asked again only after another look: what came
// meanwhile is seen. A deletion whose answer was lost is not sent again.
func TestALaterTryLooksAgain(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(f *fakeCluster, o *cluster.Object) error
		comes  int // look at which something is seen
		want   engine.Result
		looks  int
	}{
		"nothing came": {busy, 0, engine.ResultDone, 3}, "something came": {busy, 2, engine.ResultKept, 2},
		"the answer was lost": {lost, 2, engine.ResultDone, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := configMap("space")
				f := newFake(o)
				tries, looks := 0, 0
				f.fail = func(int, string) error {
					if tries++; tries > 2 {
						return nil
					}
					return test.answer(f, o)
				}
				r, err := run(t, f, engine.Phase{Name: "a", Actions: []engine.Action{remove(o)},
					Hold: func(context.Context, []engine.Action) (map[types.UID]string, error) {
						if looks++; looks == test.comes {
							return map[types.UID]string{o.UID: "a Secret came"}, nil
						}
						return nil, nil
					}})
				if err != nil {
					t.Fatal(err)
				}
				if got := outcome(t, r, "space").Result; got != test.want || looks != test.looks {
					t.Errorf("%s after %d looks", got, looks)
				}
			})
		})
	}
}

func busy(*fakeCluster, *cluster.Object) error { return apierrors.NewTooManyRequests("busy", 20) }

// lost is the answer to a deletion that the server carried out.
func lost(f *fakeCluster, o *cluster.Object) error {
	delete(f.objects, o.Ref())
	f.tell()
	return apierrors.NewServiceUnavailable("the connection breaks off")
}

// A pod that is being deleted gets the grace period that it asked for, however
// little changes meanwhile, and no more than the patience after it.
func TestPodsGetTheirOwnGracePeriod(t *testing.T) {
	const ahead, behind = 20 * time.Minute, -20 * time.Minute // the clock of the server
	for name, test := range map[string]struct {
		ends   time.Duration // after the start; the process of the pod
		result bool
		clock  time.Duration
	}{
		"it ends by itself": {29 * time.Second, true, 0}, "it never ends": {time.Hour, false, 0},
		"a clock ahead": {time.Hour, false, ahead}, "a clock behind": {29 * time.Second, true, behind},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pod := configMap("pod")
				pod.Deleting, pod.Grace = time.Now().Add(test.clock+30*time.Second), 30*time.Second
				f := newFake(pod)
				go func() {
					select {
					case <-t.Context().Done():
					case <-time.After(test.ends):
						f.mu.Lock()
						defer f.mu.Unlock()
						delete(f.objects, pod.Ref())
						f.tell()
					}
				}()
				start := time.Now()
				_, err := engine.Run(t.Context(), f, &engine.Plan{Phases: []engine.Phase{
					{Name: "stop", Gate: true, Patience: 10 * time.Second, WaitFor: []cluster.Target{pod.Target()}},
				}}, engine.Options{})
				if ended := err == nil; ended != test.result {
					t.Errorf("error %v after %s", err, time.Since(start))
				}
				if waited := time.Since(start); waited > 41*time.Second {
					t.Errorf("it waited %s for a grace period of 30 s", waited)
				}
			})
		})
	}
}

// What names an object as its owner by the time it is deleted decides how, and whether.
func TestDependentsAreAskedForRightBeforeADeletion(t *testing.T) {
	plain, owner, held := configMap("plain"), configMap("owner"), configMap("held")
	for name, broken := range map[string]error{"": nil, "nobody can look": errors.New("no answer")} {
		t.Run(name, func(t *testing.T) {
			f := newFake(plain, owner, held)
			phase := engine.Phase{Name: "p", Patience: 50 * time.Millisecond,
				Actions: []engine.Action{remove(plain), remove(owner), remove(held)}}
			phase.Dependents = func(_ context.Context, actions []engine.Action) (orphan, stays map[types.UID]string, err error) {
				if len(actions) != len(phase.Actions) || len(f.writes) > 0 {
					t.Errorf("asked about %v after %v", actions, f.writes)
				}
				return map[types.UID]string{owner.UID: "x stays"}, map[types.UID]string{held.UID: "y would go"}, broken
			}
			var told []string
			r, err := engine.Run(t.Context(), f, &engine.Plan{Phases: []engine.Phase{phase}},
				engine.Options{OnEvent: func(e engine.Event) {
					if e.Type == engine.StepStarted {
						told = append(told, e.Message)
					}
				}})
			if err != nil {
				t.Fatal(err)
			}
			if broken != nil {
				if len(f.writes) > 0 || r.Count(engine.ResultFailed) != len(phase.Actions) {
					t.Errorf("wrote %v; %+v", f.writes, r.Outcomes)
				}
				return
			}
			if !f.orphaned[owner.Ref()] || f.orphaned[plain.Ref()] || !slices.Equal(told, []string{"x stays"}) {
				t.Errorf("orphaned %v, told %q", f.orphaned, told)
			}
			if got := outcome(t, r, "held"); got.Result != engine.ResultKept || f.objects[held.Ref()] == nil {
				t.Errorf("the outcome is %+v", got)
			}
		})
	}
}
