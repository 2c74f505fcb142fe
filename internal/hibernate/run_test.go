package hibernate

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

func TestANight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t)
		if err := n.pause(t.Context(), options()); err != nil {
			t.Fatal(err)
		}
		if sleep := n.sleep(); sleep.Phase != Paused || sleep.Who != Ours || n.on() || n.names() != "made-3" {
			t.Errorf("it is %s, with the nodes %s", sleep, n.names())
		}
		if err := n.resume(t.Context(), ResumeOptions{Run: "r2", By: "me"}); err != nil {
			t.Fatal(err)
		}
		if sleep := n.sleep(); sleep.Asleep() || !n.on() || len(n.left()) > 0 {
			t.Errorf("it is %s, with %v", sleep, n.left())
		}
	})
}

// Nodes that Cast AI was making when the pause began go, too, however late they join.
func TestNodesInFlightGo(t *testing.T) {
	for name, late := range map[string]time.Duration{"soon": 6 * time.Second,
		"after the others are gone": 50 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := evening(t)
				config := castai.NodeConfig{InstanceType: "m7g.xlarge"}
				n.order("late", config)
				time.AfterFunc(late, func() { n.join("late", config) })
				if err := n.pause(t.Context(), options()); err != nil {
					t.Fatal(err)
				}
				if n.names() != "made-4" || n.sleep().Phase != Paused {
					t.Errorf("these nodes are left: %s", n.names())
				}
				if err := n.resume(t.Context(), ResumeOptions{Run: "r2", By: "me"}); err != nil || len(n.left()) > 0 {
					t.Errorf("%v, %v", err, n.left())
				}
			})
		})
	}
}

// A node that joins when the pause is over is found by the next one.
func TestAPauseAgainRemovesWhatJoinedSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t)
		if err := n.pause(t.Context(), options()); err != nil {
			t.Fatal(err)
		}
		n.order("late", castai.NodeConfig{InstanceType: "m7g.xlarge"})
		n.join("late", castai.NodeConfig{InstanceType: "m7g.xlarge"})
		if err := n.pause(t.Context(), options()); err != nil || n.names() != "made-3" {
			t.Errorf("%v: these nodes are left: %s", err, n.names())
		}
	})
}

// A key that the API does not take any more ends a pause with one request, and all
// that is in the cluster is taken back without the API.
func TestAKeyThatDies(t *testing.T) {
	for _, code := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		synctest.Test(t, func(t *testing.T) {
			n := evening(t)
			dead := &castai.Error{Operation: "do it", Status: code}
			died := false
			n.before = func(request string) error {
				if died = died || strings.HasPrefix(request, "delete-node"); died {
					return dead
				}
				return nil
			}
			err := n.pause(t.Context(), options())
			if err == nil || !strings.Contains(err.Error(), "could not be taken back") ||
				!strings.Contains(err.Error(), "the autoscaler is not as it was") {
				t.Errorf("it says %v", err)
			}
			if strings.Contains(err.Error(), "may still come") || strings.Contains(err.Error(), "\n") {
				t.Errorf("the hibernation node is in the cluster, and it says, in several lines: %v", err)
			}
			deletions := 0
			for _, request := range n.asked {
				if strings.HasPrefix(request, "delete-node cast-a") || strings.HasPrefix(request, "delete-node cast-b") ||
					strings.HasPrefix(request, "delete-node cast-c") {
					deletions++
				}
			}
			if deletions > 3 { // they are sent at the same time
				t.Errorf("%d deletions with a dead key", deletions)
			}
			if left := n.left(); len(left) > 0 {
				t.Errorf("left in the cluster: %v", left)
			}
			n.before = nil
			if err := n.resume(t.Context(), ResumeOptions{Run: "r2", By: "me"}); err != nil || !n.on() || n.sleep().Asleep() {
				t.Errorf("with a new key: %v, %s", err, n.sleep())
			}
		})
	}
}

// Whoever turns the autoscaler on while nodes go ends the pause, and that is said.
func TestSomebodyTurnsTheAutoscalerOn(t *testing.T) {
	for name, at := range map[string]time.Duration{"while nodes go": 10 * time.Second,
		"right at the end": 34 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := evening(t)
				var once sync.Once
				n.before = func(request string) error {
					if strings.HasPrefix(request, "delete-node") {
						once.Do(func() {
							time.AfterFunc(at, func() {
								n.mu.Lock()
								defer n.mu.Unlock()
								n.policies = castai.Policies(policiesOn)
							})
						})
					}
					return nil
				}
				began := time.Now()
				err := n.pause(t.Context(), options())
				t.Logf("after %s: %v", time.Since(began), err)
				if at < 30*time.Second {
					if left, ok := errors.AsType[*LeftError](err); !ok ||
						!strings.Contains(left.Message, "somebody else has turned the autoscaler on") {
						t.Errorf("it says %v", err)
					}
				}
				time.Sleep(time.Minute)
				if sleep := n.sleep(); sleep.Phase == Paused || !sleep.Asleep() {
					t.Errorf("status says: %s", sleep)
				}
				if err := n.resume(t.Context(), ResumeOptions{Run: "r2", By: "me"}); err != nil || len(n.left()) > 0 || !n.on() {
					t.Errorf("%v, %v", err, n.left())
				}
			})
		})
	}
}

// The Role of an older release has no CronJobs and Jobs. A cluster that sleeps wakes
// all the same; one that is awake is not paused beside what can't be seen.
func TestWithoutTheRightToSeeJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t)
		if err := n.pause(t.Context(), options()); err != nil {
			t.Fatal(err)
		}
		n.server.Before(func(r *clustertest.Request) clustertest.Fault {
			if r.Group == "batch" {
				return clustertest.Fault{Err: apierrors.NewForbidden(schema.GroupResource{Group: "batch", Resource: r.Resource},
					r.Name, errors.New("no rule"))}
			}
			return clustertest.Fault{}
		})
		if err := n.pause(t.Context(), options()); err == nil || !strings.Contains(err.Error(), "hibernate set") {
			t.Errorf("the pause: %v", err)
		}
		s, err := n.runner().Observe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p, err := PlanResume(s, ResumeOptions{})
		if err != nil || !strings.Contains(strings.Join(p.Warnings, ""), "run hibernate set") {
			t.Fatalf("%v, %+v", err, p)
		}
		if err := n.resume(t.Context(), ResumeOptions{Run: "r2", By: "me"}); err != nil {
			t.Fatal(err)
		}
		if sleep := n.sleep(); sleep.Asleep() || !n.on() || len(n.left()) > 0 {
			t.Errorf("it is %s, with %v", sleep, n.left())
		}
	})
}
