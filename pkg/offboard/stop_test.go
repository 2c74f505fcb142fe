package offboard_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// scheduled is a Job that a CronJob has started and that runs.
const scheduled = `
---
apiVersion: batch/v1
kind: CronJob
metadata:
  name: castai-hibernate
  namespace: castai-agent
  uid: cron
  labels: {helm.sh/chart: castai-agent-0.111.0}
spec: {suspend: SUSPENDED, schedule: "0 22 * * *"}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: castai-hibernate-1
  namespace: castai-agent
  uid: job
  ownerReferences: [{apiVersion: batch/v1, kind: CronJob, name: castai-hibernate, uid: cron, controller: true}]
spec: {parallelism: 1}
status: {active: 1}
---
apiVersion: v1
kind: Pod
metadata:
  name: castai-hibernate-1-a
  namespace: castai-agent
  ownerReferences: [{apiVersion: batch/v1, kind: Job, name: castai-hibernate-1, uid: job, controller: true}]
spec: {nodeName: node-1}
status: {phase: Running}
---
apiVersion: v1
kind: Node
metadata: {name: node-1}
`

// What a CronJob has started is stopped like it, and its pods are waited for
// before anything is removed.
func TestJobsOfCronJobsAreStopped(t *testing.T) {
	job := cluster.Ref{Group: "batch", Kind: "Job", Namespace: "castai-agent", Name: "castai-hibernate-1"}
	pod := cluster.Ref{Kind: "Pod", Namespace: "castai-agent", Name: "castai-hibernate-1-a"}
	for name, suspended := range map[string]string{"of one that is active": "false", "of one that is suspended": "true"} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := serve(t, strings.ReplaceAll(scheduled, "SUSPENDED", suspended))
				var stopped time.Time
				w.Before(func(*clustertest.Request) clustertest.Fault {
					o := w.Get(job)
					if o == nil {
						return clustertest.Fault{}
					}
					if now, _, _ := unstructured.NestedBool(o.Object, "spec", "suspend"); now && stopped.IsZero() {
						stopped = time.Now()
					}
					if !stopped.IsZero() && time.Since(stopped) > 8*time.Second {
						w.Drop(pod)
					}
					return clustertest.Fault{}
				})
				early := false
				w.when("delete", func() { early = w.Get(pod) != nil })
				if _, err := w.offboard(t); err != nil {
					t.Fatal(err)
				}
				if early || stopped.IsZero() {
					t.Errorf("stopped at %v, removed while the pod ran: %v; %v", stopped, early, w.Writes())
				}
			})
		})
	}
}
