package ownership_test

import (
	"slices"
	"testing"

	"github.com/castai/kubectl-castai/pkg/ownership"
)

// TestWhyNot: what others have where Cast AI lives says why it stays, and what
// has nothing to do with Cast AI is not listed.
func TestWhyNot(t *testing.T) {
	s := small(t)
	s.strangers(strangersIn(t, "castai-agent"))
	inv := s.take(t, ownership.Options{})
	var listed []string
	for _, i := range inv.WhyNot() {
		if i.Verdict != ownership.Foreign || len(i.Against) == 0 {
			t.Errorf("%s is %s, with %d reasons against", i.Object.Ref(), i.Verdict, len(i.Against))
		}
		listed = append(listed, i.Object.Ref().String())
	}
	for name, want := range map[string]bool{
		"Deployment.apps/castai-agent/redis": true, "Secret/castai-agent/redis-auth": true,
		"Deployment.apps/shop/metrics-server": false, "ServiceAccount/shop/shop": false,
	} {
		if got := slices.Contains(listed, name); got != want {
			t.Errorf("%s is listed: %v", name, got)
		}
	}
}
