package chaos

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func plane(t *testing.T) *Plane {
	t.Helper()
	p, err := NewPlane(t.Context(), "../../bin")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// A sample of what make chaos tries.
func TestChaos(t *testing.T) {
	p := plane(t)
	quiet, err := p.Learn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 0)) //nolint:gosec // the same every time
	trials := slices.Concat(
		FaultTrials(random, FaultStrikes(random, quiet.Requests)[:2], 1),
		KillTrials(random, quiet.Requests)[:1],
		RestartTrials(random, 1, quiet.Took),
	)
	// What can't be read, nobody knows the owner of: nothing may be removed that
	// proves whose it is.
	unreadable := Request{List, "GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles"}
	for _, trial := range append(trials, Trial{Fault: InternalError, Every: unreadable}) {
		o, err := p.Run(t.Context(), trial)
		switch {
		case err != nil:
			t.Fatal(err)
		case o.Failed():
			t.Fatal(o.Describe()) // the next trials would start from what is left
		}
		t.Log(o.Describe())
		if trial.Every == unreadable && (o.First.Code != 3 || !strings.Contains(o.First.Stderr, "clusterroles")) {
			t.Errorf("with ClusterRoles that can't be read: %s", o.First)
		}
	}
}
