package hibernate

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// isWrite tells whether a request changes something other than the Lease.
func isWrite(r *clustertest.Request) bool {
	return slices.Contains([]string{"create", "update", "patch", "delete"}, r.Verb) && r.Resource != "leases" && !r.DryRun
}

// Whichever change of a node or a workload the server refuses before a node has gone: the
// pause says so, and takes everything back.
func TestARefusedChangeIsTakenBack(t *testing.T) {
	for refused := 1; ; refused++ {
		met := false
		synctest.Test(t, func(t *testing.T) {
			n := evening(t)
			seen, gone := 0, false
			n.before = func(request string) error {
				gone = gone || strings.HasPrefix(request, "delete-node")
				return nil
			}
			n.server.Before(func(r *clustertest.Request) clustertest.Fault {
				if !isWrite(r) || gone || r.Resource != "nodes" && r.Resource != "deployments" {
					return clustertest.Fault{}
				}
				if seen++; seen != refused {
					return clustertest.Fault{}
				}
				met = true
				return clustertest.Fault{Err: apierrors.NewForbidden(schema.GroupResource{Resource: r.Resource}, r.Name,
					fmt.Errorf("not tonight"))}
			})
			err := n.pause(t.Context(), options())
			if !met {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), "not tonight") ||
				!strings.Contains(err.Error(), "everything was taken back") {
				t.Errorf("change %d: the error is %v", refused, err)
			}
			if left := n.left(); len(left) > 0 || !n.on() || n.sleep().Asleep() {
				t.Errorf("change %d: %s, with %v", refused, n.sleep(), left)
			}
		})
		if !met {
			if refused < 5 {
				t.Errorf("only %d changes", refused-1)
			}
			return
		}
	}
}

// A pause or a resume that is killed right before or after any of its writes is finished
// by another pause, or taken back by a resume.
func TestKilledAtEachWrite(t *testing.T) {
	for _, first := range []string{"pause", "resume"} {
		for _, then := range []string{"pause", "resume"} {
			for _, done := range []bool{false, true} {
				for last := 1; killedAt(t, first, then, last, done); last++ {
				}
			}
		}
	}
}

// killedAt has a run die at one of its writes, before or after it is done, and another
// one follow. It tells whether there was such a write.
func killedAt(t *testing.T, first, then string, last int, done bool) (met bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := evening(t)
		run := map[string]func(string) error{
			"pause":  func(run string) error { o := options(); o.Run = run; return n.pause(t.Context(), o) },
			"resume": func(run string) error { return n.resume(t.Context(), ResumeOptions{Run: run, By: "me"}) },
		}
		if first == "resume" {
			if err := run["pause"]("r0"); err != nil {
				t.Fatal(err)
			}
		}
		writes, alive, mortal := 0, true, true
		dying := func() bool {
			if writes++; mortal && writes == last {
				met, alive = true, false
				return true
			}
			return false
		}
		broken := &castai.Error{Operation: "ask", Status: http.StatusBadGateway}
		n.before = func(request string) error {
			write := !strings.HasPrefix(request, "get-") && !strings.HasPrefix(request, "list-")
			if !alive || write && dying() && !done {
				return broken
			}
			return nil
		}
		n.server.Before(func(r *clustertest.Request) clustertest.Fault {
			switch {
			case !alive:
				return clustertest.Fault{Lost: true}
			case isWrite(r) && dying():
				return clustertest.Fault{Lost: !done, AnswerLost: done}
			}
			return clustertest.Fault{}
		})
		err := run[first]("r1")
		if met == (err == nil) {
			t.Errorf("%s, dead at write %d: %v", first, last, err)
		}
		alive, mortal = true, false
		what := fmt.Sprintf("%s killed at write %d (done: %t), then %s", first, last, done, then)
		err = run[then]("r2")
		_, refused := errors.AsType[*Refusal](err)
		awake := refused && !n.sleep().Asleep() // it was done, and there is nothing to pause but one node
		if err != nil && !awake {
			t.Errorf("%s: %v", what, err)
		}
		if then == "pause" && !awake {
			if s := n.sleep(); s.Phase != Paused || n.on() || len(strings.Fields(n.names())) != 1 {
				t.Errorf("%s: %s, with %s", what, s, n.names())
			}
			if err := run["resume"]("r3"); err != nil {
				t.Errorf("%s, and resume: %v", what, err)
			}
		}
		if left := n.left(); n.sleep().Asleep() || !n.on() || len(left) > 0 {
			t.Errorf("%s: in the end %s, with %v", what, n.sleep(), left)
		}
	})
	return met
}
