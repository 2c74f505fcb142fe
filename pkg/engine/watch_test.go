package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// What went while the watch was dead has gone all the same.
func TestADeadWatchIsNoProofThatSomethingStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := configMap("slow", "example.com/hold")
		f := newFake(o)
		f.deaf = true
		time.AfterFunc(time.Second, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			delete(f.objects, o.Ref())
		})
		r, err := run(t, f, engine.Phase{Name: "p", Patience: 5 * time.Second, Actions: []engine.Action{remove(o)}})
		if err != nil {
			t.Fatal(err)
		}
		if got := outcome(t, r, "slow").Result; got != engine.ResultDone {
			t.Errorf("result %s", got)
		}
	})
}

// slowLook is a server that was away for some time, and whose controllers need
// some more to come back.
type slowLook struct {
	*fakeCluster
	away time.Duration
	back func()
}

func (s *slowLook) Look(ctx context.Context, targets []cluster.Target, see func(cluster.Sighting)) error {
	time.Sleep(s.away) // on the clock of synctest's bubble, which does not wait
	s.away = 0
	if s.back != nil {
		s.back()
	}
	return s.fakeCluster.Look(ctx, targets, see)
}

func TestPatienceStartsAnewWhenTheServerIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := configMap("held", "example.com/hold")
		f := &slowLook{fakeCluster: newFake(o), away: 20 * time.Second}
		f.back = func() {
			f.back = nil
			time.AfterFunc(3*time.Second, func() {
				f.mu.Lock()
				defer f.mu.Unlock()
				delete(f.objects, o.Ref())
				f.tell()
			})
		}
		plan := &engine.Plan{Phases: []engine.Phase{{Name: "p", Patience: 5 * time.Second,
			Actions: []engine.Action{remove(o)}}}}
		r, err := engine.Run(t.Context(), f, plan, engine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := outcome(t, r, "held").Result; got != engine.ResultDone {
			t.Errorf("result %s", got)
		}
	})
}

// A server that takes long to list is not waited for over and over.
func TestPatienceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := configMap("held", "example.com/hold")
		f := &slowLook{fakeCluster: newFake(o), away: 2 * time.Second}
		f.back = func() { f.away = 2 * time.Second }
		began := time.Now()
		plan := &engine.Plan{Phases: []engine.Phase{{Name: "p", Patience: 5 * time.Second,
			Actions: []engine.Action{remove(o)}}}}
		r, err := engine.Run(t.Context(), f, plan, engine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := outcome(t, r, "held").Result; got != engine.ResultLeft || time.Since(began) > 20*time.Second {
			t.Errorf("result %s after %s", got, time.Since(began))
		}
	})
}

// Of a write that an interrupt cuts short nobody knows whether it was carried
// out: it is not said to have been refused.
func TestAWriteCutShortIsLeft(t *testing.T) {
	o := configMap("c")
	f := newFake(o)
	cause := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	f.fail = func(int, string) error { cancel(cause); return ctx.Err() }
	r, err := engine.Run(ctx, f, &engine.Plan{Phases: []engine.Phase{{Name: "p", Actions: []engine.Action{remove(o)}}}},
		engine.Options{})
	if !errors.Is(err, cause) {
		t.Errorf("error %v", err)
	}
	if got := outcome(t, r, "c"); got.Result != engine.ResultLeft ||
		!strings.Contains(got.Message, "before the server answered") {
		t.Errorf("%+v", got)
	}
}
