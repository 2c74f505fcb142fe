package offboard_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// bare is a role of the agent's chart as a controller puts it back from Helm's
// manifest: without Helm's annotations. Once no binding is there, nothing but
// what was there before tells whose it is.
const bare = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: castai-agent
  uid: again-%d
  labels: {helm.sh/chart: castai-agent-0.111.0, app.kubernetes.io/name: castai-agent}
  %s
`

const bareRef = "ClusterRole.rbac.authorization.k8s.io/castai-agent"

// again puts the role back after each of the first n deletions of it.
func (w *world) again(t *testing.T, n int, more string) {
	t.Helper()
	made := 0
	w.Before(func(*clustertest.Request) clustertest.Fault {
		if made < n && !w.has(t, bareRef) {
			made++
			w.add(t, fmt.Sprintf(bare, made, more))
		}
		return clustertest.Fault{}
	})
}

// What is put back while Cast AI is being removed goes, too, and is saved first.
// What does so again and again is named at the end.
func TestWhatComesBackGoesAgain(t *testing.T) {
	for name, test := range map[string]struct {
		times int
		more  string
		stays bool
	}{
		"once":              {1, "", false},
		"twice":             {2, "", false},
		"for ever":          {100, "", true},
		"a tool keeps it":   {1, "annotations: {argocd.argoproj.io/tracking-id: x}", true},
		"a person makes it": {1, "managedFields: [{manager: kubectl-create, operation: Update}]", false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := serve(t, "")
				w.again(t, test.times, test.more)
				r, err := w.offboard(t)
				if err != nil {
					t.Fatal(err)
				}
				if w.has(t, bareRef) != test.stays || len(r.Returned) > 0 != test.stays || len(r.After.Owned()) > 0 != test.stays {
					t.Errorf("returned %+v, left %v", r.Returned, w.Refs())
				}
				if !test.stays && len(w.saver.saved["again-1"]) == 0 {
					t.Errorf("what came back is not saved: %v", w.saver.saved)
				}
				if n := r.Report.Count(engine.ResultLeft) + r.Report.Count(engine.ResultKept); n > 0 {
					t.Errorf("%d are called left: %+v", n, r.Report.Outcomes)
				}
			})
		})
	}
}

// others bind a role of Cast AI's, too, which only Helm's marks outweigh.
const others = `
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: sre-can-view-agent}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: castai-agent}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: sre@example.com}]
`

// A role that others bind, too, goes when it is made again as it was; one that
// somebody makes under its name for himself stays.
func TestWhatOthersUseGoesAgain(t *testing.T) {
	const same = "{helm.sh/chart: castai-agent-0.111.0, app.kubernetes.io/name: castai-agent}"
	for name, test := range map[string]struct {
		labels string
		more   string // comes with it
		stays  bool
	}{
		"by the same chart":                 {same, "", false},
		"by the same chart, and seen twice": {same, strings.TrimPrefix(fighter, "\n---\n"), false},
		"by another chart":                  {"{helm.sh/chart: acme-1.0.0}", "", true},
		"by another chart, and seen twice":  {"{helm.sh/chart: acme-1.0.0}", strings.TrimPrefix(fighter, "\n---\n"), true},
		"without any labels":                {"{}", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := serve(t, others)
				w.when("patch deployments.apps", func() {
					r, err := cluster.ParseRef(bareRef)
					if err != nil {
						t.Error(err)
						return
					}
					w.Drop(r)
					w.add(t, fmt.Sprintf("{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, "+
						"metadata: {name: castai-agent, uid: again, labels: %s}}\n---\n%s", test.labels, test.more))
				})
				if _, err := w.offboard(t); err != nil {
					t.Fatal(err)
				}
				if w.has(t, bareRef) != test.stays || !w.has(t, "ClusterRoleBinding.rbac.authorization.k8s.io/sre-can-view-agent") {
					t.Errorf("there is %v", w.Refs())
				}
			})
		})
	}
}

// A stranger's object that comes meanwhile is not taken along.
func TestArrivalsOfOthersStay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := serve(t, "")
		w.again(t, 1, "")
		w.when("delete clusterroles", func() {
			w.add(t, `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: acme, labels: {app.kubernetes.io/name: acme}}
`)
		})
		if _, err := w.offboard(t); err != nil {
			t.Fatal(err)
		}
		if !w.has(t, "ClusterRole.rbac.authorization.k8s.io/acme") {
			t.Error("it is gone")
		}
	})
}

// leaving is a pod that writes until it ends. Helm removes its workload.
const leaving = `
apiVersion: apps/v1
kind: ReplicaSet
metadata:
  name: castai-agent-1
  namespace: castai-agent
  uid: rs-1
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: castai-agent, uid: %s, controller: true}]
spec: {replicas: 1}
---
apiVersion: v1
kind: Pod
metadata:
  name: castai-agent-1-a
  namespace: castai-agent
  uid: leaving
  finalizers: [test/alive]
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: castai-agent-1, uid: rs-1, controller: true}]
spec: {nodeName: node-1}
status: {phase: Running}
---
apiVersion: v1
kind: Node
metadata: {name: node-1}
`

// A pod whose workload has gone is waited for like one whose workload is
// stopped, whether that was before the run or happens in it.
func TestPodsWithoutWorkloadsAreWaitedFor(t *testing.T) {
	pod := cluster.Ref{Kind: "Pod", Namespace: "castai-agent", Name: "castai-agent-1-a"}
	for name, test := range map[string]struct{ before, collected, ends bool }{
		"gone before, and it ends":              {true, true, true},
		"gone before, and not yet asked to end": {true, false, true},
		"gone meanwhile, and it ends":           {false, true, true},
		"gone meanwhile, and it stays":          {false, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := serve(t, "")
				agent := w.Get(cluster.Ref{Group: "apps", Kind: "Deployment", Namespace: "castai-agent", Name: "castai-agent"})
				w.add(t, fmt.Sprintf(strings.TrimPrefix(leaving, "\n"), agent.GetUID()))
				ended := make(chan struct{})
				uninstall := func() {
					w.Drop(cluster.Ref{Group: "apps", Kind: "Deployment", Namespace: "castai-agent", Name: "castai-agent"})
					if test.collected {
						w.Drop(cluster.Ref{Group: "apps", Kind: "ReplicaSet", Namespace: "castai-agent", Name: "castai-agent-1"})
						u := w.Get(pod)
						now := metav1.NewTime(time.Now().Add(30 * time.Second))
						u.SetDeletionTimestamp(&now)
						u.SetDeletionGracePeriodSeconds(new(int64(30)))
						u.SetResourceVersion("")
						w.Put(u)
					}
					go func() {
						defer close(ended)
						time.Sleep(8 * time.Second)
						if test.ends {
							w.Drop(pod)
							w.Drop(cluster.Ref{Group: "apps", Kind: "ReplicaSet", Namespace: "castai-agent", Name: "castai-agent-1"})
						}
					}()
				}
				if test.before {
					uninstall()
				} else {
					w.when("patch deployments.apps", uninstall)
				}
				early := false
				w.when("delete", func() { early = w.Get(pod) != nil })
				_, err := w.offboard(t)
				if early || test.ends && err != nil {
					t.Errorf("removed while the pod ran: %v (%v)", early, err)
				}
				if !test.ends && (!errors.Is(err, engine.ErrGate) || !strings.Contains(err.Error(), pod.Name)) {
					t.Errorf("error %v, writes %v", err, w.Writes())
				}
				<-ended
			})
		})
	}
}
