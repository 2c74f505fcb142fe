package printer

import (
	"bytes"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/finalize"
)

// That nothing had to be done is said only of what is freed.
func TestNothingHadToBeDone(t *testing.T) {
	var before []*finalize.Diagnosis
	before = append(before, &finalize.Diagnosis{Namespace: "shop", UID: "1", State: finalize.Terminating})
	for name, tc := range map[string]struct {
		after []*finalize.Diagnosis
		says  string
	}{
		"freed":               {[]*finalize.Diagnosis{{Namespace: "shop", State: finalize.Missing}}, "Nothing had to be done"},
		"stuck":               {before, "Nothing was removed or finalized"},
		"nobody looked again": {nil, "Nothing was removed or finalized"},
	} {
		var out bytes.Buffer
		NewText(&out).Freed(&engine.Report{}, before, tc.after)
		if !strings.HasPrefix(out.String(), tc.says) {
			t.Errorf("%s: %s", name, out.String())
		}
	}
}
