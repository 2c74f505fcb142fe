package offboard_test

import (
	"slices"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/offboard"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

const everyPhase = `
apiVersion: v1
kind: Namespace
metadata: {name: castai-agent}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: castai-workload-autoscaler, namespace: castai-agent}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: castai-workload-autoscaler, namespace: castai-agent}
spec:
  replicas: 1
  template:
    spec:
      serviceAccountName: castai-workload-autoscaler
      containers: [{name: c, image: us-docker.pkg.dev/castai-hub/library/workload-autoscaler:v1}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: castai-workload-autoscaler}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: castai-workload-autoscaler}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: castai-workload-autoscaler}
subjects: [{kind: ServiceAccount, name: castai-workload-autoscaler, namespace: castai-agent}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: castai-workload-autoscaler}
webhooks: [{name: workload-autoscaler.cast.ai, clientConfig: {service: {name: castai-workload-autoscaler, namespace: castai-agent}}}]
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: recommendations.autoscaling.cast.ai}
spec: {group: autoscaling.cast.ai, scope: Namespaced, names: {kind: Recommendation, plural: recommendations}}
---
apiVersion: autoscaling.cast.ai/v1
kind: Recommendation
metadata: {name: shop, namespace: shop, finalizers: [example.com/theirs]}
`

// Nothing is removed before what it proves (docs/design.md).
func TestTheOrderOfAPlan(t *testing.T) {
	_, snap := clustertest.World(t, everyPhase)
	cat, err := ownership.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	plan := offboard.New(take(t, snap), cat, offboard.Options{})
	var phases []string
	for _, p := range plan.Phases {
		phases = append(phases, p.Name)
		if p.Gate != (p.Name == offboard.PhaseAdmission) {
			t.Errorf("%s: a gate: %t", p.Name, p.Gate)
		}
	}
	order := []string{
		offboard.PhaseStop, offboard.PhaseAdmission, offboard.PhaseResources, offboard.PhaseRoles,
		offboard.PhaseDefinitions, offboard.PhaseNamespaces, offboard.PhaseRoots,
	}
	if !slices.Equal(phases, order) {
		t.Errorf("the phases are %q", phases)
	}
	want := map[string]string{
		"MutatingWebhookConfiguration": offboard.PhaseAdmission, "Recommendation": offboard.PhaseResources,
		"ClusterRole": offboard.PhaseRoles, "ClusterRoleBinding": offboard.PhaseRoots,
		"CustomResourceDefinition": offboard.PhaseDefinitions, "ServiceAccount": offboard.PhaseNamespaces,
		"Namespace": offboard.PhaseNamespaces, "Deployment": offboard.PhaseNamespaces,
	}
	got := map[string]string{}
	for _, p := range plan.Phases {
		for _, a := range p.Actions {
			if a.Target.UID == "" || a.Why == "" {
				t.Errorf("%s: no UID or no reason", a.Target.Ref)
			}
			if a.Verb != engine.Delete {
				continue
			}
			got[a.Target.Kind] = p.Name
			if len(a.Finalizers) > 0 {
				t.Errorf("%s: takes off %q, which is somebody else's", a.Target.Ref, a.Finalizers)
			}
		}
	}
	for kind, phase := range want {
		if got[kind] != phase {
			t.Errorf("%s is removed in the phase %q, not %q", kind, got[kind], phase)
		}
	}
}

// Whoever writes ownerReferences may close a circle of them, and nothing follows it for ever.
func TestOwnersInACircle(t *testing.T) {
	pod := func(name, owner string) string {
		return "\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: " + name + ", namespace: castai-agent, uid: " + name +
			", labels: {app: agent}, ownerReferences: [{apiVersion: v1, kind: Pod, name: " + owner + ", uid: " + owner +
			", controller: true}]}\nspec: {serviceAccountName: castai-agent, " +
			"containers: [{name: agent, image: us-docker.pkg.dev/castai-hub/library/agent:v1}]}\n"
	}
	_, snap := clustertest.World(t, everyPhase+pod("left", "right")+pod("right", "left")+pod("alone", "alone"))
	cat, err := ownership.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	planned := make(chan *engine.Plan, 1)
	go func() { planned <- offboard.New(take(t, snap), cat, offboard.Options{}) }()
	select {
	case <-planned:
	case <-time.After(10 * time.Second):
		t.Fatal("there is no plan after 10 s")
	}
}
