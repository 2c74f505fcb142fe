package e2e

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/test/fixtures"
)

const stranger = "configmap/of-somebody-else"

// arrive makes somebody else's ConfigMap in the namespace of Cast AI's.
func arrive(t *testing.T) {
	t.Helper()
	if _, err := admin.Kubectl(t.Context(), "create", "configmap", "of-somebody-else", "-n", "castai-agent"); err != nil {
		t.Error(err)
	}
}

// clear removes it, and what stayed because of it.
func clear(t *testing.T) {
	t.Helper()
	if r, err := admin.Kubectl(t.Context(), "delete", stranger, "-n", "castai-agent"); err != nil || r.Code != 0 {
		t.Errorf("somebody else's ConfigMap is gone: %s %v", r, err)
	}
	if r, err := admin.Kubectl(t.Context(), "delete", "namespace", "castai-agent"); err != nil || r.Code != 0 {
		t.Errorf("the namespace is gone: %s %v", r, err)
	}
}

// What others make in the namespace of Cast AI's during a run stays, whenever it
// comes, and the report says for whom the namespace does.
func TestArrivalsDuringTheRunStay(t *testing.T) {
	for name, when := range map[string]string{
		"before anything is stopped":     "Stop Cast AI's workloads",
		"after the cluster was judged":   "Remove roles",
		"while the namespace is emptied": "Remove what is in namespaces",
	} {
		t.Run(name, func(t *testing.T) {
			cluster.Install(t, fixtures.Agent)
			came := false
			r := admin.Follow(t, func(run *os.Process, line string) {
				if !came && strings.HasPrefix(line, when) {
					came = true
					// The run holds still, so that the newcomer is there before its next step.
					if err := run.Signal(syscall.SIGSTOP); err != nil {
						t.Error(err)
					}
					arrive(t)
					if err := run.Signal(syscall.SIGCONT); err != nil {
						t.Error(err)
					}
				}
			}, append([]string{"offboard", "--yes"}, quick...)...)
			defer clear(t)
			if !came {
				t.Fatalf("%q was never said: %s", when, r)
			}
			if r.Code != 4 || !strings.Contains(r.Stderr, "of-somebody-else") {
				t.Errorf("the run does not say for whom the namespace stays: %s", r)
			}
		})
	}
}

// A person who takes long to answer agrees to what was shown, and to nothing else:
// what is different by then is shown, and asked about again.
func TestArrivalsAtTheQuestionAreShown(t *testing.T) {
	cluster.Install(t, fixtures.Agent)
	asked := 0
	screen := admin.Asked(t, 3, func() (string, bool) {
		if asked++; asked == 1 {
			arrive(t)
			return clusterName(t), true
		}
		return "no", true
	}, "offboard")
	if !strings.Contains(screen, "no longer: delete Namespace/castai-agent") || asked != 2 {
		t.Errorf("asked %d times, and the terminal shows:\n%s", asked, screen)
	}
	if _, err := admin.Kubectl(t.Context(), "delete", stranger, "-n", "castai-agent"); err != nil {
		t.Error(err)
	}
	admin.Expect(t, 0, append([]string{"offboard", "--yes"}, quick...)...)
}

func clusterName(t *testing.T) string {
	t.Helper()
	var plan printer.Plan
	admin.Expect(t, 0, "offboard", "--dry-run=client", "-o", "json").Document(t, &plan)
	return plan.Metadata.Cluster
}
