package offboard_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/offboard"
)

const users = `
apiVersion: v1
kind: Namespace
metadata:
  name: payments
  labels: {liqo.io/scheduling-enabled: "true", rebalancing.cast.ai/active: "true", team: payments}
  managedFields: [{manager: kentroller, operation: Update}]
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {tsc-scaledown.cast.ai/enabled: "true"}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, managedFields: [{manager: OpenAPI-Generator, operation: Update}]}
spec:
  template:
    spec:
      nodeSelector: {scheduling.cast.ai/spot: "true"}
      tolerations:
      - {key: scheduling.cast.ai/spot, operator: Exists}
      - {key: scheduling.cast.ai/paused-cluster, operator: Exists}
      - {key: it's mine, operator: Exists}
      containers: [{name: web, image: registry.example.com/web:1}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: only, namespace: shop, managedFields: [{manager: OpenAPI-Generator, operation: Update}]}
spec:
  template:
    spec:
      tolerations: [{key: scheduling.cast.ai/paused-cluster, operator: Exists}]
      containers: [{name: web, image: registry.example.com/web:1}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: plain, namespace: shop}
spec:
  template:
    spec:
      tolerations: [{key: scheduling.cast.ai/paused-cluster-2, operator: Exists}]
      containers: [{name: web, image: registry.example.com/web:1}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: logs, namespace: shop}
spec:
  template:
    spec:
      tolerations: [{key: scheduling.cast.ai/paused-cluster, operator: Exists}]
      containers: [{name: logs, image: registry.example.com/logs:1}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop, annotations: {castai.kubectl.dev/hibernate: '{"run":"r1","tolerated":true}'}}
spec:
  template:
    spec:
      tolerations: [{key: scheduling.cast.ai/paused-cluster, operator: Exists, effect: NoSchedule}]
      containers: [{name: db, image: registry.example.com/db:1}]
---
apiVersion: v1
kind: Node
metadata: {name: others-cordon, managedFields: [{manager: kubectl}]}
spec: {unschedulable: true, providerID: "aws:///a"}
---
apiVersion: v1
kind: Node
metadata: {name: cordoned, managedFields: [{manager: OpenAPI-Generator, operation: Update}]}
spec: {unschedulable: true, providerID: "aws:///b", taints: [{key: dedicated, effect: NoSchedule}]}
---
apiVersion: v1
kind: Node
metadata: {name: by-a-person, managedFields: [{manager: k9s, operation: Update}]}
spec: {unschedulable: true, providerID: "aws:///e"}
---
apiVersion: v1
kind: Node
metadata: {name: interrupted}
spec: {unschedulable: true, providerID: "aws:///c", taints: [{key: autoscaling.cast.ai/draining, value: "true", effect: NoSchedule}]}
`

const pausedNode = `
---
apiVersion: v1
kind: Node
metadata: {name: asleep, labels: {scheduling.cast.ai/paused-cluster: "true", scheduling.cast.ai/spot: "true"}}
spec: {providerID: "aws:///d", taints: [{key: dedicated, effect: NoSchedule}, {key: scheduling.cast.ai/paused-cluster, value: "true", effect: NoSchedule}]}
`

// job is Cast AI's hibernation.
const job = `
---
apiVersion: v1
kind: Namespace
metadata: {name: castai-agent}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: hibernate-pause, namespace: castai-agent}
spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: p, image: us-docker.pkg.dev/castai-hub/library/hibernate:v1}]}}}}}
`

const liqo = `
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: liqo-controller-manager}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: liqo-controller-manager}
subjects: [{kind: ServiceAccount, name: liqo-controller-manager, namespace: castai-omni}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: liqo-controller-manager, namespace: castai-omni}
spec: {template: {spec: {containers: [{name: m, image: us-docker.pkg.dev/castai-hub/library/liqo/controller-manager:v1}], tolerations: [{key: scheduling.cast.ai/paused-cluster}]}}}
`

// reverted returns the patches of the phase, by object, as JSON.
func reverted(t *testing.T, manifests string) map[string]string {
	t.Helper()
	_, snap := clustertest.World(t, manifests)
	inv := take(t, snap)
	before := snapshotJSON(t, snap)
	out := map[string]string{}
	if phase := offboard.Revert(inv, snap.Objects, 0); phase != nil {
		for _, a := range phase.Actions {
			raw, err := json.Marshal(a.Patch)
			if err != nil {
				t.Fatal(err)
			}
			out[a.Target.Ref.String()] = string(raw)
			if a.Verb != engine.Patch || a.Why == "" || !strings.HasPrefix(a.Command, "kubectl patch") || a.Target.UID == "" {
				t.Errorf("%s: %+v", a.Target.Ref, a)
			}
		}
	}
	if snapshotJSON(t, snap) != before {
		t.Error("it changed the snapshot")
	}
	return out
}

func snapshotJSON(t *testing.T, snap *cluster.Snapshot) string {
	t.Helper()
	raw, err := json.Marshal(snap)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestRevert(t *testing.T) {
	web := `{"metadata":{"resourceVersion":"1"},"spec":{"template":{"spec":{"tolerations":[{"key":"scheduling.cast.ai/spot","operator":"Exists"},{"key":"it's mine","operator":"Exists"}]}}}}`
	only := `{"metadata":{"resourceVersion":"1"},"spec":{"template":{"spec":{"tolerations":null}}}}`
	db := `{"metadata":{"annotations":{"castai.kubectl.dev/hibernate":null},"resourceVersion":"1"},"spec":{"template":{"spec":{"tolerations":null}}}}`
	for name, c := range map[string]struct {
		manifests string
		want      map[string]string
	}{
		"nothing of Cast AI's": {"apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n", map[string]string{}},
		"awake, and Liqo is not Cast AI's": {users, map[string]string{
			"Deployment.apps/shop/web":  web,
			"Deployment.apps/shop/only": only,
			"StatefulSet.apps/shop/db":  db,
			"Namespace/payments":        `{"metadata":{"labels":{"rebalancing.cast.ai/active":null},"resourceVersion":"1"}}`,
		}},
		"hibernated, with Cast AI's Liqo": {users + pausedNode + liqo + job, map[string]string{
			"Deployment.apps/shop/web":  web,
			"Deployment.apps/shop/only": only,
			"StatefulSet.apps/shop/db":  db,
			"Namespace/payments":        `{"metadata":{"labels":{"liqo.io/scheduling-enabled":null,"rebalancing.cast.ai/active":null},"resourceVersion":"1"}}`,
			"Node/asleep":               `{"metadata":{"labels":{"scheduling.cast.ai/paused-cluster":null},"resourceVersion":"1"},"spec":{"taints":[{"effect":"NoSchedule","key":"dedicated"}]}}`,
			"Node/cordoned":             `{"metadata":{"resourceVersion":"1"},"spec":{"unschedulable":null}}`,
		}},
		"the taint of a hibernated cluster, and no hibernation": {users + pausedNode + liqo, map[string]string{
			"Deployment.apps/shop/web":  web,
			"Deployment.apps/shop/only": only,
			"StatefulSet.apps/shop/db":  db,
			"Namespace/payments":        `{"metadata":{"labels":{"liqo.io/scheduling-enabled":null,"rebalancing.cast.ai/active":null},"resourceVersion":"1"}}`,
			"Node/asleep":               `{"metadata":{"labels":{"scheduling.cast.ai/paused-cluster":null},"resourceVersion":"1"},"spec":{"taints":[{"effect":"NoSchedule","key":"dedicated"}]}}`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got := reverted(t, c.manifests)
			for r, want := range c.want {
				if got[r] != want {
					t.Errorf("%s\n\tgets %s\n\tnot  %s", r, got[r], want)
				}
				delete(got, r)
			}
			for r, patch := range got {
				t.Errorf("%s gets %s", r, patch)
			}
		})
	}
}

// What a look finds that the plan did not show is left for another run, and so
// is an object that took the place of one in the plan.
func TestAgain(t *testing.T) {
	web := &cluster.Object{Resource: &cluster.Resource{Kind: "Namespace"}, Name: "web", UID: "1"}
	again := &cluster.Object{Resource: web.Resource, Name: "web", UID: "1", ResourceVersion: "8"}
	other := &cluster.Object{Resource: web.Resource, Name: "web", UID: "2"}
	later := &cluster.Object{Resource: web.Resource, Name: "later", UID: "3"}
	phase := &engine.Phase{Actions: []engine.Action{{Verb: engine.Patch, Target: web.Target()}}}
	if got := offboard.StillPlanned(phase, []*cluster.Object{again, other, later}); len(got) != 1 || got[0] != again {
		t.Errorf("%+v", got)
	}
}
