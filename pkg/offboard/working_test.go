package offboard_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// What the operator installs while its work is waited for is known before it
// cleans up: a re-creator is stopped, and further work is waited for, within the
// same time, also if it has not begun yet.
func TestWorkInProgressIsLookedAtAgain(t *testing.T) {
	const working = `
apiVersion: castware.cast.ai/v1alpha1
kind: Component
metadata: {name: %s, namespace: castai-agent}
status: {conditions: [{type: %s, status: "True", reason: Installing}]}
`
	for name, test := range map[string]struct{ begins, second, waited time.Duration }{
		"the second ends":         {0, 10 * time.Second, 20 * time.Second},
		"the second never ends":   {0, time.Hour, time.Minute},
		"the second begins late":  {3 * time.Second, 10 * time.Second, 20 * time.Second},
		"the second never begins": {time.Hour, 2 * time.Hour, 15 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				start := time.Now()
				w := serve(t, operator(start)+"\n---"+fmt.Sprintf(working, "castai-evictor", "Progressing"))
				w.runner.CleanUp = time.Minute
				w.live(0)
				after := func(d time.Duration, do func()) {
					done := false
					w.Before(func(*clustertest.Request) clustertest.Fault {
						if !done && time.Since(start) >= d {
							done = true
							do()
						}
						return clustertest.Fault{}
					})
				}
				after(10*time.Second, func() {
					next, _, _ := strings.Cut(fmt.Sprintf(working, "cluster-controller", "Progressing"), "status:")
					w.add(t, fmt.Sprintf(working, "castai-evictor", "Available")+"---"+next+strings.TrimPrefix(fighter, "\n"))
				})
				after(10*time.Second+test.begins, func() { w.add(t, fmt.Sprintf(working, "cluster-controller", "Progressing")) })
				after(10*time.Second+test.second, func() { w.add(t, fmt.Sprintf(working, "cluster-controller", "Available")) })
				stopped := time.Time{}
				w.when("patch deployments.apps", func() { stopped = time.Now() })
				if _, err := w.offboard(t); err != nil {
					t.Fatal(err)
				}
				if waited := stopped.Sub(start); waited < test.waited || waited > test.waited+10*time.Second {
					t.Errorf("it began to stop after %s", waited)
				}
				writes := w.Writes()
				stop := slices.Index(writes, "patch deployments.apps castai-agent/castai-cluster-controller")
				cleanUp := slices.IndexFunc(writes, func(s string) bool { return strings.HasPrefix(s, "delete components") })
				if stop < 0 || cleanUp < stop {
					t.Errorf("the re-creator is not stopped before the clean-up: %v", writes)
				}
			})
		})
	}
}
