package chaos

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A sample of what make chaos tries.
func TestChaos(t *testing.T) {
	p, err := NewPlane(t.Context(), "../../bin")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	quiet, err := p.Learn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 0)) //nolint:gosec // the same every time
	trials := slices.Concat(
		FaultTrials(random, quiet.Requests)[:3],
		KillTrials(random, quiet.Requests)[:1],
		RestartTrials(random, 1, quiet.Took),
	)
	for _, trial := range trials {
		o, err := p.Run(t.Context(), trial)
		switch {
		case err != nil:
			t.Fatal(err)
		case o.Failed():
			t.Fatal(o.Describe()) // the next trials would start from what is left
		}
		t.Log(o.Describe())
	}
}
