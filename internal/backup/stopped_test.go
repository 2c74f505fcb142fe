package backup

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// scheduled is a CronJob and its Job that runs.
const scheduled = castai + `
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: castai-report, namespace: castai-agent, labels: {helm.sh/chart: castai-agent-0.111.0}}
spec: {suspend: false, schedule: "0 22 * * *"}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: castai-report-1
  namespace: castai-agent
  ownerReferences: [{apiVersion: batch/v1, kind: CronJob, name: castai-report, uid: CronJob.batch/castai-agent/castai-report, controller: true}]
spec: {parallelism: 1}
status: {active: 1}
`

// A Job that was stopped and has gone with its CronJob is not missed; as long as
// it is there it goes on. That holds, too, for what a later plan of the same run
// no longer sees.
func TestJobsOfCronJobs(t *testing.T) {
	job := cluster.Ref{Group: "batch", Kind: "Job", Namespace: "castai-agent", Name: "castai-report-1"}
	for name, test := range map[string]struct{ later, gone bool }{
		"it is there":                 {false, false},
		"it has gone":                 {false, true},
		"it has gone, and more after": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			c, inv, plan := worldOf(t, scheduled)
			dir := filepath.Join(t.TempDir(), "backup")
			saved, err := Write(t.Context(), c, inv, plan, Options{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			live := c.objects[job]
			if live == nil {
				t.Fatalf("no %s", job)
			}
			live.SetAnnotations(map[string]string{"castai.kubectl.dev/stopped": "false"})
			_ = unstructured.SetNestedField(live.Object, true, "spec", "suspend")
			if test.gone {
				delete(c.objects, job)
			}
			if test.later {
				_, inv, plan := worldOf(t, castai)
				if err := saved.Add(t.Context(), c, inv, plan); err != nil {
					t.Fatal(err)
				}
			}
			b, err := Open(dir, false)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = b.Close() })
			s, err := b.Look(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			r, err := b.Restore(s, c, RestoreOptions{Timeout: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			missed := slices.ContainsFunc(slices.Concat(r.Impossible, r.Held), func(l Leftover) bool { return l.Object == job })
			a := action(r, job)
			if missed || (a == nil) != test.gone || a != nil && a.Verb != engine.Patch {
				t.Errorf("%+v, and for the Job %+v", r, a)
			}
		})
	}
}
