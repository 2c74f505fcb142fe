package cluster_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

var lease = cluster.Ref{Group: "coordination.k8s.io", Kind: "Lease", Namespace: "shop", Name: "work"}

// hold takes the Lease, and says whom it had to wait for.
func hold(ctx context.Context, c *cluster.Client, who string) (held context.Context, release func(), waited string,
	err error) {
	held, release, err = c.Hold(ctx, "shop", "work", who, func(holder string) { waited = holder })
	return held, release, waited, err
}

// isHeldBy tells whether an error says that this one holds the Lease.
func isHeldBy(err error, who string) bool {
	held, ok := errors.AsType[*cluster.HeldError](err)
	return ok && held.Holder == who && strings.Contains(held.Error(), who)
}

// Whoever renews a Lease keeps it, for as long as it works; then the next one has it at
// once.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clustertest.Serve(t, clustertest.Object("v1", "Namespace", "", "shop"))
		first, second := server.Client(), server.Client()
		held, release, _, err := hold(t.Context(), first, "ann@laptop")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if _, _, waited, err := hold(t.Context(), second, "ben@job"); !isHeldBy(err, "ann@laptop") || waited != "ann@laptop" {
			t.Errorf("%v, waited for %q", err, waited)
		}
		// Two runs of one person are two holders.
		if _, _, _, err := hold(t.Context(), second, "ann@laptop"); !isHeldBy(err, "ann@laptop") {
			t.Errorf("the same person again: %v", err)
		}
		if held.Err() != nil {
			t.Errorf("it was lost: %v", context.Cause(held))
		}
		release()
		if server.Get(lease) != nil || held.Err() == nil {
			t.Errorf("it is there still; the context says %v", held.Err())
		}
		_, release, waited, err := hold(t.Context(), second, "ben@job")
		if err != nil || waited != "" {
			t.Fatalf("%v, waited for %q", err, waited)
		}
		release()
	})
}

// A Lease that nobody renews is taken over, and not before its time.
func TestHoldAfterADeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clustertest.Serve(t, clustertest.Object("v1", "Namespace", "", "shop"))
		died := clustertest.Object("coordination.k8s.io/v1", "Lease", "shop", "work")
		died.Object["spec"] = map[string]any{"holderIdentity": "ann@laptop x"}
		server.Put(died)
		start := time.Now()
		held, release, waited, err := hold(t.Context(), server.Client(), "ben@job")
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); waited != "ann@laptop" || took < 10*time.Second || took > 12*time.Second {
			t.Errorf("waited %s for %q", took, waited)
		}
		// The dead one comes back, and takes it.
		back := server.Get(lease)
		back.Object["spec"] = map[string]any{"holderIdentity": "ann@laptop x"}
		server.Put(back)
		<-held.Done()
		if err := context.Cause(held); !errors.Is(err, cluster.ErrLost) || !strings.Contains(err.Error(), "ann@laptop") {
			t.Errorf("it ended with %v", err)
		}
		release()
		if server.Get(lease) == nil {
			t.Error("the other's Lease was removed")
		}
	})
}

// Two that wait for the same dead one do not both get it.
func TestOneTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clustertest.Serve(t, clustertest.Object("v1", "Namespace", "", "shop"))
		died := clustertest.Object("coordination.k8s.io/v1", "Lease", "shop", "work")
		died.Object["spec"] = map[string]any{"holderIdentity": "ann@laptop x"}
		server.Put(died)
		got := make(chan error, 2)
		for _, who := range []string{"ben@job", "cid@job"} {
			go func() {
				_, release, _, err := hold(t.Context(), server.Client(), who)
				got <- err
				if err == nil {
					time.Sleep(time.Minute)
					release()
				}
			}()
		}
		a, b := <-got, <-got
		if (a == nil) == (b == nil) {
			t.Errorf("%v, %v", a, b)
		}
		time.Sleep(2 * time.Minute)
	})
}

// What can't be renewed ends the work; a short time without the server does not.
func TestHoldWithoutTheServer(t *testing.T) {
	for name, test := range map[string]struct {
		away time.Duration
		lost bool
	}{"for a moment": {4 * time.Second, false}, "for long": {time.Minute, true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := clustertest.Serve(t, clustertest.Object("v1", "Namespace", "", "shop"))
				held, release, _, err := hold(t.Context(), server.Client(), "ann@laptop")
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				server.Before(func(r *clustertest.Request) clustertest.Fault {
					return clustertest.Fault{Lost: r.Verb == "update" && time.Since(start) < test.away}
				})
				select {
				case <-held.Done():
				case <-time.After(2 * time.Minute):
				}
				lost := errors.Is(context.Cause(held), cluster.ErrLost)
				if took := time.Since(start); lost != test.lost || lost && took > 10*time.Second {
					t.Errorf("lost: %t, after %s: %v", lost, took, context.Cause(held))
				}
				release()
			})
		})
	}
}

// The answers to the making and to a renewal are lost, and it is held all the same.
func TestHoldWhoseAnswersAreLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clustertest.Serve(t, clustertest.Object("v1", "Namespace", "", "shop"))
		for _, verb := range []string{"create", "update"} {
			server.BeforeNth(1, func(r *clustertest.Request) bool { return r.Verb == verb && r.Resource == "leases" },
				func(*clustertest.Request) clustertest.Fault { return clustertest.Fault{AnswerLost: true} })
		}
		held, release, waited, err := hold(t.Context(), server.Client(), "ann@laptop")
		if err != nil || waited != "" {
			t.Fatalf("%v, waited for %q", err, waited)
		}
		time.Sleep(time.Minute)
		if held.Err() != nil {
			t.Errorf("it was lost: %v", context.Cause(held))
		}
		release()
	})
}

// Who may not make a Lease is told so, and nobody waits.
func TestHoldWithoutTheRight(t *testing.T) {
	server := clustertest.Serve(t, clustertest.Object("v1", "Namespace", "", "shop"))
	server.Forbid = func(r *clustertest.Request) bool { return r.Resource == "leases" }
	if _, _, _, err := hold(t.Context(), server.Client(), "ann@laptop"); !apierrors.IsForbidden(err) {
		t.Errorf("%v", err)
	}
}
