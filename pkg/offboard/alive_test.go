package offboard_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/offboard"
)

// operator is one with ready pods, a Component, a Lease, and a Lease of others
// that is renewed.
func operator(renewed time.Time) string {
	return fmt.Sprintf(`
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: components.castware.cast.ai}
spec:
  group: castware.cast.ai
  names: {kind: Component, plural: components}
  scope: Namespaced
  versions: [{name: v1alpha1, served: true, storage: true}]
---
apiVersion: castware.cast.ai/v1alpha1
kind: Component
metadata: {name: castai-agent, namespace: castai-agent, finalizers: [castware.cast.ai/cleanup-helm]}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: castware-operator
  namespace: castai-agent
  labels: {helm.sh/chart: castware-operator-0.10.1, app.kubernetes.io/name: castware-operator}
spec:
  replicas: 2
  selector: {matchLabels: {app.kubernetes.io/name: castware-operator}}
  template:
    metadata: {labels: {app.kubernetes.io/name: castware-operator}}
    spec: {containers: [{name: manager, image: us-docker.pkg.dev/castai-hub/library/castware-operator:v0.10.1}]}
status: {readyReplicas: 2}
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: castware-operator.cast.ai, namespace: castai-agent}
spec: {holderIdentity: castware-operator-6d5b4c7f9-abcde_1, renewTime: %q}
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: kube-scheduler, namespace: kube-system}
spec: {holderIdentity: cp-1, renewTime: %q}
`, micro(renewed), micro(time.Now()))
}

func micro(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000000Z07:00") }

var (
	operatorLease = cluster.Ref{Group: "coordination.k8s.io", Kind: "Lease", Namespace: "castai-agent",
		Name: "castware-operator.cast.ai"}
	component = cluster.Ref{Group: "castware.cast.ai", Kind: "Component", Namespace: "castai-agent",
		Name: "castai-agent"}
	operatorRef = cluster.Ref{Group: "apps", Kind: "Deployment", Namespace: "castai-agent", Name: "castware-operator"}
)

// live lets the operator renew its Lease every 2 s, until it is stopped, and
// clean its Component up some time after that was asked to go.
func (w *world) live(takes time.Duration) {
	w.Before(func(*clustertest.Request) clustertest.Fault {
		deployment := w.Get(operatorRef)
		if deployment == nil {
			return clustertest.Fault{}
		}
		if replicas, _, _ := unstructured.NestedInt64(deployment.Object, "spec", "replicas"); replicas == 0 {
			return clustertest.Fault{}
		}
		lease := w.Get(operatorLease)
		text, _, _ := unstructured.NestedString(lease.Object, "spec", "renewTime")
		if at, err := time.Parse(time.RFC3339Nano, text); err == nil && time.Since(at) >= 2*time.Second {
			_ = unstructured.SetNestedField(lease.Object, micro(time.Now()), "spec", "renewTime")
			lease.SetResourceVersion("")
			w.Put(lease)
		}
		if c := w.Get(component); c != nil && c.GetDeletionTimestamp() != nil &&
			time.Since(c.GetDeletionTimestamp().Time) >= takes {
			w.Drop(component)
		}
		return clustertest.Fault{}
	})
}

func stripped(w *world) bool {
	return slices.ContainsFunc(w.Writes(), func(s string) bool { return strings.HasPrefix(s, "patch components") })
}

func took(r *engine.Report, phase string) time.Duration {
	for _, p := range r.Phases {
		if p.Name == phase {
			return p.Elapsed
		}
	}
	return 0
}

// A controller that lives cleans up after itself, and gets the time that it
// takes, as long as it lives.
func TestLivingControllersCleanUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := serve(t, operator(time.Now()))
		w.runner.CleanUp = time.Minute
		w.live(25 * time.Second)
		r, err := w.offboard(t)
		if err != nil {
			t.Fatal(err)
		}
		if stripped(w) || result(r.Report, component.String()).Result != engine.ResultDone {
			t.Errorf("the operator was not let clean up: %v", w.Writes())
		}
		if left := len(r.After.Owned()); left > 0 {
			t.Errorf("%d left", left)
		}
	})
}

// A tenant's Lease from the future does not make a living controller count as dead.
func TestALeaseOfATenantTellsNoTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := serve(t, operator(time.Now())+`
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: mine, namespace: shop}
spec: {holderIdentity: me, renewTime: "2999-01-01T00:00:00.000000Z"}
`)
		w.runner.CleanUp = time.Minute
		w.live(25 * time.Second)
		if _, err := w.offboard(t); err != nil || stripped(w) {
			t.Errorf("the operator was not let clean up: %v, %v", err, w.Writes())
		}
	})
}

// Where none lives, not a second is spent: a Lease that nobody has renewed for
// long is no reason to wait, and one that just stopped only for its next renewal.
func TestDeadControllersGetNoTime(t *testing.T) {
	for name, test := range map[string]struct{ ago, most time.Duration }{
		"long dead": {time.Hour, 0},
		"just died": {time.Second, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := serve(t, operator(time.Now().Add(-test.ago)))
				w.runner.CleanUp = time.Minute
				asked := time.Now()
				w.when("patch deployments.apps", func() {
					if waited := time.Since(asked); waited > test.most {
						t.Errorf("it waited %s for a controller that is dead", waited)
					}
				})
				r, err := w.offboard(t)
				if err != nil {
					t.Fatal(err)
				}
				if took(r.Report, offboard.PhaseCleanUp) > 0 || !stripped(w) {
					t.Errorf("phases %+v, writes %v", r.Report.Phases, w.Writes())
				}
			})
		})
	}
}

// A controller that dies while it cleans up does not get the rest of the time.
func TestControllersThatDieOnTheWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := serve(t, operator(time.Now()))
		w.runner.CleanUp = time.Minute
		w.live(time.Hour)
		died := time.Time{}
		w.when("delete components", func() {
			died = time.Now()
			u := w.Get(operatorLease)
			_ = unstructured.SetNestedField(u.Object, micro(time.Now().Add(time.Hour)), "spec", "renewTime") // never again
			u.SetResourceVersion("")
			w.Put(u)
		})
		w.when("patch deployments.apps", func() {
			if waited := time.Since(died); waited > 15*time.Second {
				t.Errorf("it waited %s after the controller died", waited)
			}
		})
		if _, err := w.offboard(t); err != nil {
			t.Fatal(err)
		}
		if !stripped(w) {
			t.Errorf("writes %v", w.Writes())
		}
	})
}

// A finalizer that Cast AI's operator sets after the plan was made is taken off,
// too.
func TestFinalizersAreThoseOfTheLiveObject(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := serve(t, strings.Replace(operator(time.Now().Add(-time.Hour)), ", finalizers: [castware.cast.ai/cleanup-helm]",
			"", 1))
		w.when("delete components", func() {
			u := w.Get(component)
			u.SetFinalizers([]string{"castware.cast.ai/cleanup-helm"})
			u.SetResourceVersion("")
			w.Put(u)
		})
		r, err := w.offboard(t)
		if err != nil {
			t.Fatal(err)
		}
		if took(r.Report, offboard.PhaseResources) > 5*time.Second || !stripped(w) {
			t.Errorf("phases %+v, writes %v", r.Report.Phases, w.Writes())
		}
	})
}

// A release that the living operator works on is waited for, and so is a
// Component; what a dead one left in progress is not, and what never ends gets
// its time and no more.
func TestWorkInProgressGetsItsTime(t *testing.T) {
	const record = `
---
apiVersion: v1
kind: Secret
metadata:
  name: sh.helm.release.v1.castai-agent.v1
  namespace: castai-agent
  labels: {owner: helm, name: castai-agent, status: %s, version: "1"}
type: helm.sh/release.v1
data: {release: %s}
`
	const progressing = `
---
apiVersion: castware.cast.ai/v1alpha1
kind: Component
metadata: {name: castai-evictor, namespace: castai-agent}
status: {conditions: [{type: %s, status: "True", reason: Installing}]}
`
	secret := func(status string) string { return fmt.Sprintf(record, status, release(t, "castai-agent")) }
	for name, test := range map[string]struct {
		before, after string
		alive         bool
		takes, waited time.Duration
	}{
		"a release, and the operator lives": {secret("pending-install"), secret("deployed"), true, 12 * time.Second,
			12 * time.Second},
		"a release, and the operator is dead": {secret("pending-install"), secret("deployed"), false, 12 * time.Second, 0},
		"a Component, and the operator lives": {
			fmt.Sprintf(progressing, "Progressing"), fmt.Sprintf(progressing,
				"Available"), true, 12 * time.Second, 12 * time.Second,
		},
		"a Component, and the operator is dead": {
			fmt.Sprintf(progressing, "Progressing"), fmt.Sprintf(progressing, "Available"), false, 12 * time.Second, 0,
		},
		"a Component that never gets ready": {
			fmt.Sprintf(progressing, "Progressing"), fmt.Sprintf(progressing, "Available"), true, time.Hour, time.Minute,
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				start := time.Now()
				renewed := start
				if !test.alive {
					renewed = start.Add(-time.Hour)
				}
				w := serve(t, operator(renewed)+test.before)
				w.runner.CleanUp = time.Minute
				if test.alive {
					w.live(0)
				}
				finished := false
				w.Before(func(*clustertest.Request) clustertest.Fault {
					if !finished && time.Since(start) >= test.takes {
						finished = true
						w.add(t, strings.TrimPrefix(test.after, "\n---\n"))
					}
					return clustertest.Fault{}
				})
				stopped := time.Time{}
				w.when("patch deployments.apps", func() { stopped = time.Now() })
				if _, err := w.offboard(t); err != nil {
					t.Fatal(err)
				}
				if waited := stopped.Sub(start); waited < test.waited || waited > test.waited+15*time.Second {
					t.Errorf("it stopped the operator after %s", waited)
				}
			})
		})
	}
}

// release encodes the record of a Helm release of a chart, as a Secret has it.
func release(t *testing.T, chart string) string {
	t.Helper()
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := fmt.Fprintf(w, `{"name":%q,"version":1,"namespace":"castai-agent","info":{"status":"pending-install"},`+
		`"chart":{"metadata":{"name":%[1]q,"version":"0.111.0"}},"manifest":""}`, chart)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString(packed.Bytes())))
}

// running is a pod of the agent that does not end by itself.
const running = `
---
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
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: castai-agent-1, uid: rs-1, controller: true}]
spec: {nodeName: %s, containers: [{name: agent, image: us-docker.pkg.dev/castai-hub/library/agent:v0.60.0}]}
status: {phase: %s}
---
apiVersion: v1
kind: Node
metadata: {name: node-1}
`

// What still runs keeps webhooks and all else from being removed, unless the
// user says otherwise; what has ended, or has lost its node, does not run.
func TestStoppingIsAGate(t *testing.T) {
	for name, test := range map[string]struct {
		node, phase string
		accept      []string
		stays       bool
	}{
		"it runs":              {"node-1", "Running", nil, true},
		"it runs, as is known": {"node-1", "Running", []string{offboard.BlockerRunning}, false},
		"it has ended":         {"node-1", "Succeeded", nil, false},
		"its node is gone":     {"node-2", "Running", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := serve(t, "")
				agent := w.Get(cluster.Ref{Group: "apps", Kind: "Deployment", Namespace: "castai-agent", Name: "castai-agent"})
				w.add(t, fmt.Sprintf(strings.TrimPrefix(running, "\n---"), agent.GetUID(), test.node, test.phase))
				w.runner.Accept = test.accept
				_, err := w.offboard(t)
				if stays := w.has(t,
					"MutatingWebhookConfiguration.admissionregistration.k8s.io/castai-pod-mutator"); stays != test.stays {
					t.Errorf("the webhook stays: %v (%v)", stays, err)
				}
				if test.stays && (!errors.Is(err, engine.ErrGate) ||
					!strings.Contains(err.Error(), "Pod/castai-agent/castai-agent-1-a on node node-1")) {
					t.Errorf("error %v", err)
				}
				if !test.stays && err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A webhook of Cast AI's own that refuses to let its workload be stopped goes
// first.
func TestOwnWebhookMayNotKeepItselfRunning(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := serve(t, "")
		w.Before(func(r *clustertest.Request) clustertest.Fault {
			if r.Verb == "patch" && w.has(t, "MutatingWebhookConfiguration.admissionregistration.k8s.io/castai-pod-mutator") {
				return clustertest.Fault{Err: errors.New(`Internal error occurred: failed calling webhook "pod-mutator.cast.ai": no endpoints`)}
			}
			return clustertest.Fault{}
		})
		r, err := w.offboard(t)
		if err != nil {
			t.Fatal(err)
		}
		if left := len(r.After.Owned()); left > 0 {
			t.Errorf("%d left", left)
		}
		writes := w.Writes()
		last := slices.Index(writes, "delete recommendations.autoscaling.cast.ai shop/web")
		if stop := slices.Index(writes[:last], "patch deployments.apps castai-agent/castai-agent"); stop < 0 {
			t.Errorf("it was not stopped before the rest: %v", writes)
		}
	})
}

// Who else refuses to let Cast AI be stopped does not have its webhooks removed, and
// the error says what was done.
func TestRefusedStopKeepsWebhooks(t *testing.T) {
	for name, message := range map[string]string{
		"a policy":            `deployments.apps "castai-agent" is forbidden: ValidatingAdmissionPolicy 'x' with binding 'x' denied request: no`,
		"another's webhook":   `admission webhook "replicas.example.com" denied the request: never`,
		"one that it is like": `admission webhook "x.pod-mutator.cast.ai" denied the request: never`,
	} {
		bubble(t, func(t *testing.T) {
			w := serve(t, "")
			w.Before(func(r *clustertest.Request) clustertest.Fault {
				if r.Verb == "patch" {
					return clustertest.Fault{Err: errors.New(message)}
				}
				return clustertest.Fault{}
			})
			_, err := w.offboard(t)
			if !errors.Is(err, offboard.ErrChanged) || !strings.Contains(err.Error(), "(until then: 0 stopped)") {
				t.Errorf("%s: %v", name, err)
			}
			for _, write := range w.Writes() {
				if strings.HasPrefix(write, "delete") {
					t.Errorf("%s: %s", name, write)
				}
			}
		})
	}
}

// fighter is a controller that puts back what the operator cleans up, until it is
// stopped.
const fighter = `
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: castai-cluster-controller
  namespace: castai-agent
  labels: {helm.sh/chart: castai-cluster-controller-0.92.6, app.kubernetes.io/name: castai-cluster-controller}
spec:
  replicas: 2
  selector: {matchLabels: {app.kubernetes.io/name: castai-cluster-controller}}
  template:
    metadata: {labels: {app.kubernetes.io/name: castai-cluster-controller}}
    spec: {containers: [{name: c, image: us-docker.pkg.dev/castai-hub/library/cluster-controller:v0.92.6}]}
status: {readyReplicas: 2}
`

// What puts things back is stopped before the operator cleans up, and the
// operator after that. An operator that cleans nothing up is stopped with it.
func TestRecreatorsStopBeforeTheCleanUp(t *testing.T) {
	for name, test := range map[string]struct {
		cleanUp time.Duration
		order   []string
	}{
		"with a clean-up": {time.Minute, []string{"castai-cluster-controller", "castai-agent/castai-agent",
			"castware-operator"}},
		"without one": {0, []string{"castware-operator", "castai-agent/castai-agent"}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := serve(t, operator(time.Now())+fighter)
				w.runner.CleanUp = test.cleanUp
				w.live(0)
				if _, err := w.offboard(t); err != nil {
					t.Fatal(err)
				}
				writes := w.Writes()
				last := -1
				for _, name := range test.order {
					at := slices.IndexFunc(writes, func(s string) bool {
						return strings.HasSuffix(s, name) && (strings.HasPrefix(s, "patch deployments") ||
							strings.HasPrefix(s, "delete components"))
					})
					if at <= last {
						t.Errorf("%s comes too early: %v", name, writes)
					}
					last = at
				}
			})
		})
	}
}
