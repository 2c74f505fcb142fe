package offboard_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/offboard"
)

// later is of Cast AI's, and came after the plan was made.
var later = "\n" + rights("castai-later") + `---
apiVersion: v1
kind: ConfigMap
metadata:
  name: later
  namespace: castai-agent
  labels: {helm.sh/chart: castai-agent-0.111.0, app.kubernetes.io/name: castai-agent}
---
apiVersion: autoscaling.cast.ai/v1
kind: Recommendation
metadata: {name: later, namespace: shop}
`

const laterDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: castai-later
  namespace: castai-agent
  labels: {helm.sh/chart: castai-agent-0.111.0, app.kubernetes.io/name: castai-agent}
spec:
  replicas: 1
  selector: {matchLabels: {app.kubernetes.io/name: castai-agent}}
  template:
    metadata: {labels: {app.kubernetes.io/name: castai-agent}}
    spec:
      serviceAccountName: castai-agent
      containers: [{name: agent, image: us-docker.pkg.dev/castai-hub/library/agent:v0.60.0}]
`

// planned returns the plan for the cluster as it is.
func (w *world) planned(t *testing.T) *engine.Plan {
	t.Helper()
	o, err := w.runner.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	plan, err := w.runner.Plan(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// unplanned is what came later, and what would take it along.
var unplanned = []string{
	"ClusterRole.rbac.authorization.k8s.io/castai-later", "ClusterRoleBinding.rbac.authorization.k8s.io/castai-later",
	"ConfigMap/castai-agent/later", "Namespace/castai-agent",
	"Recommendation.autoscaling.cast.ai/shop/later",
	"CustomResourceDefinition.apiextensions.k8s.io/recommendations.autoscaling.cast.ai",
}

// Without a plan to keep to, all of it is removed.
func TestWhatCameSinceIsRemoved(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := serve(t, later)
		if _, err := w.offboard(t); err != nil {
			t.Fatal(err)
		}
		for _, ref := range unplanned {
			if w.has(t, ref) {
				t.Errorf("%s is there", ref)
			}
		}
	})
}

// What is not in the plan that was agreed to stays, and so do the namespace and
// the definition that would take it along, whenever it came.
func TestOnlyWhatWasPlanned(t *testing.T) {
	for name, arrives := range map[string]func(w *world, add func()){
		"before the run":      func(_ *world, add func()) { add() },
		"during the stop":     func(w *world, add func()) { w.when("patch deployments.apps", add) },
		"during the deletion": func(w *world, add func()) { w.when("delete clusterroles", add) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := serve(t, "")
				w.runner.Only = w.planned(t)
				arrives(w, func() { w.add(t, later) })
				r, err := w.offboard(t)
				if err != nil {
					t.Fatal(err)
				}
				for _, ref := range unplanned {
					if !w.has(t, ref) {
						t.Errorf("%s is gone: nobody agreed to that", ref)
					}
				}
				if gone := "ClusterRole.rbac.authorization.k8s.io/castai-agent"; w.has(t, gone) || len(r.After.Owned()) == 0 {
					t.Errorf("%s is there, or nothing is reported to be left", gone)
				}
			})
		})
	}
}

func TestOnlyEndsBeforeWhatWouldHaveToBeStopped(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := serve(t, "")
		w.runner.Only = w.planned(t)
		w.when("patch deployments.apps", func() { w.add(t, laterDeployment) })
		_, err := w.offboard(t)
		if !errors.Is(err, offboard.ErrChanged) || !strings.Contains(err.Error(),
			"Deployment.apps/castai-agent/castai-later came since") {
			t.Error(err)
		}
		for _, r := range w.Writes() {
			if strings.HasPrefix(r, "delete") {
				t.Errorf("it goes on: %s", r)
			}
		}
	})
}

// The plan of a cluster as it was does everything in the cluster as it is.
func TestOnlyIsEnough(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := serve(t, "")
		w.runner.Only = w.planned(t)
		r, err := w.offboard(t)
		if err != nil || len(r.After.Owned()) > 0 {
			t.Errorf("%v: %+v", err, r.Report.Outcomes)
		}
	})
}

func TestDigest(t *testing.T) {
	plan := func(actions ...engine.Action) *engine.Plan {
		return &engine.Plan{Phases: []engine.Phase{{Name: "p", Actions: actions}}}
	}
	one := engine.Action{Verb: engine.Delete, Target: object("", "ConfigMap", "a", "one").Target()}
	two := engine.Action{Verb: engine.Delete, Target: object("", "ConfigMap", "a", "two").Target()}
	digest := offboard.Digest("here", plan(one, two))
	changed := two
	changed.Target.ResourceVersion = "7"
	if offboard.Digest("here", plan(changed, one)) != digest {
		t.Error("the order and the resourceVersion tell plans apart")
	}
	anew, stopped := two, two
	anew.Target.UID, stopped.Verb = "another", engine.Patch
	for name, other := range map[string]string{
		"another cluster": offboard.Digest("there", plan(one, two)), "one less": offboard.Digest("here", plan(one)),
		"made anew": offboard.Digest("here", plan(one, anew)), "another verb": offboard.Digest("here", plan(one, stopped)),
	} {
		if other == digest {
			t.Errorf("%s has the same digest", name)
		}
	}
}
