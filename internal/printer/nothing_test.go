package printer

import (
	"strings"
	"testing"
)

// Only what was looked for is said not to be there.
func TestNothingStuck(t *testing.T) {
	for _, tc := range []struct {
		terminating, orphans bool
		want                 string
	}{
		{true, false, "No namespace is stuck in Terminating.\n"},
		{false, true, "No objects are left of namespaces that are gone.\n"},
		{true, true, "No namespace is stuck in Terminating.\nNo objects are left of namespaces that are gone.\n"},
	} {
		var out strings.Builder
		NewText(&out).NothingStuck(tc.terminating, tc.orphans)
		if out.String() != tc.want {
			t.Errorf("%q, want %q", out.String(), tc.want)
		}
	}
}
