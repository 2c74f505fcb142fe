package ownership_test

import (
	"slices"
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/offboard"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

const anAgent = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: castai-agent, namespace: castai-agent, labels: {app.kubernetes.io/name: castai-agent}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: castai-agent, namespace: castai-agent, uid: agent, labels: {app.kubernetes.io/name: castai-agent}}
spec:
  template:
    spec:
      serviceAccountName: castai-agent
      containers: [{name: agent, image: "us-docker.pkg.dev/castai-hub/library/agent:v1"}]
`

// owner begins an owner reference to the agent.
const owner = "ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: castai-agent, uid: agent"

// deleted are the objects that the plan deletes.
func deleted(t *testing.T, inv *ownership.Inventory) (out []cluster.Ref) {
	t.Helper()
	for _, phase := range offboard.New(inv, catalogue(t), offboard.Options{}).Phases {
		for _, a := range phase.Actions {
			if a.Verb == engine.Delete {
				out = append(out, a.Target.Ref)
			}
		}
	}
	return out
}

// What a controller made for its owner, it makes again: it is left to Kubernetes.
// What somebody else made must be in the plan, and so in the backup, though an
// object of Cast AI's owns it: nobody would make it again.
func TestOnlyWhatControllersMakeIsLeftToKubernetes(t *testing.T) {
	listed := `
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: castai-agent, namespace: castai-agent, ` + owner + `, controller: true}]}
`
	s := new(scene).yaml(t, anAgent+"---"+listed+`---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: castai-agent-1, uid: rs, namespace: castai-agent, `+owner+`, controller: true}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: hung-onto-it, namespace: castai-agent, `+owner+`}]}
---
apiVersion: v1
kind: Pod
metadata: {name: castai-agent-1-a, namespace: castai-agent, uid: pod, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: castai-agent-1, uid: rs, controller: true}]}
spec: {serviceAccountName: castai-agent, containers: [{name: agent, image: "us-docker.pkg.dev/castai-hub/library/agent:v1"}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: leader-lock, namespace: castai-agent, ownerReferences: [{apiVersion: v1, kind: Pod, name: castai-agent-1-a, uid: pod}]}
`)
	s.release(t, "castai-agent", "castai-agent", "castai-agent", listed)
	inv := s.take(t, ownership.Options{})
	planned := deleted(t, inv)
	for ref, want := range map[string]bool{
		"PodDisruptionBudget.policy/castai-agent/castai-agent": true,
		"ConfigMap/castai-agent/hung-onto-it":                  true,
		"ReplicaSet.apps/castai-agent/castai-agent-1":          false,
		"ConfigMap/castai-agent/leader-lock":                   false, // it would hold a place for a pod that is no more
	} {
		r, err := cluster.ParseRef(ref)
		if err != nil {
			t.Fatal(err)
		}
		if !inv.IsOwned(r) || slices.Contains(planned, r) != want {
			t.Errorf("%s is owned: %t, in the plan: %t, want %t", r, inv.IsOwned(r), slices.Contains(planned, r), want)
		}
	}
}

// A namespace, a definition, a node or a volume takes along what nobody has
// judged: that an object of Cast AI's owns it is not enough.
func TestOwnersDoNotTakeWhatHoldsMore(t *testing.T) {
	const above = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: castai-agent, uid: above}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: ServiceAccount, name: castai-agent, namespace: castai-agent}]
`
	for _, controller := range []string{"", ", controller: true"} {
		const owner = "ownerReferences: [{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, name: castai-agent, uid: above"
		inv := new(scene).yaml(t, anAgent+"---"+above+`---
apiVersion: v1
kind: Namespace
metadata: {name: team, `+owner+controller+`}]}
`+deployment("team", "shop", "registry.example.com/shop:1")+
			crd("example.com", "Widget", "widgets", "Cluster", owner+controller+"}]")+
			thing("example.com/v1", "Widget", "", "mine")+
			thing("v1", "Node", "", "machine", owner+controller+"}]")+
			thing("v1", "PersistentVolume", "", "data", owner+controller+"}]")).take(t, ownership.Options{})
		if binding := (cluster.Ref{Group: "rbac.authorization.k8s.io", Kind: "ClusterRoleBinding",
			Name: "castai-agent"}); !inv.IsOwned(binding) {
			t.Fatal("the owner is not Cast AI's")
		}
		for _, ref := range []cluster.Ref{
			{Kind: "Namespace", Name: "team"}, {Group: "apps", Kind: "Deployment", Namespace: "team", Name: "shop"},
			{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition",
				Name: "widgets.example.com"}, {Group: "example.com", Kind: "Widget", Name: "mine"},
			{Kind: "Node", Name: "machine"}, {Kind: "PersistentVolume", Name: "data"},
		} {
			if inv.IsOwned(ref) || slices.Contains(deleted(t, inv), ref) {
				t.Errorf("%s%s is %s", ref, controller, explain(t, inv, ref))
			}
		}
		i := slices.IndexFunc(inv.Blockers, func(b ownership.Blocker) bool { return b.Name == "dependents" })
		if i < 0 || len(inv.Blockers[i].Objects) != 4 {
			t.Errorf("Kubernetes would collect them, and nobody is asked: %+v", inv.Blockers)
		}
	}
}

// Of what stays, that stays which only it tells about.
func TestExcludeKeepsWhatHangsOntoIt(t *testing.T) {
	agent := cluster.Ref{Group: "apps", Kind: "Deployment", Namespace: "castai-agent", Name: "castai-agent"}
	inv := new(scene).yaml(t, anAgent+`---
apiVersion: v1
kind: ConfigMap
metadata: {name: hung-onto-it, namespace: castai-agent, `+owner+`}]}
`).take(t, ownership.Options{Exclude: []cluster.Ref{agent}})
	if kept := (cluster.Ref{Kind: "ConfigMap", Namespace: "castai-agent",
		Name: "hung-onto-it"}); slices.Contains(deleted(t, inv), kept) {
		t.Errorf("%s is %s", kept, explain(t, inv, kept))
	}
}

// Whoever writes an object says who its controller is: what a person's tool wrote
// is no work of Cast AI's controllers, and what these made and Kubernetes does not
// make again is in the plan, and so in the backup.
func TestAControllerReferenceProvesNothing(t *testing.T) {
	s := new(scene).yaml(t, anAgent+`---
apiVersion: v1
kind: Secret
metadata:
  {name: mine, namespace: castai-agent, managedFields: [{manager: kubectl-create}], `+owner+`, controller: true}]}
---
apiVersion: v1
kind: Secret
metadata: {name: made, namespace: castai-agent, managedFields: [{manager: castai-agent}], `+owner+`, controller: true}]}
`)
	inv := s.take(t, ownership.Options{})
	mine, made := cluster.Ref{Kind: "Secret", Namespace: "castai-agent", Name: "mine"}, cluster.Ref{Kind: "Secret",
		Namespace: "castai-agent", Name: "made"}
	if inv.IsOwned(mine) {
		t.Errorf("%s is owned", explain(t, inv, mine))
	}
	if planned := deleted(t, inv); !slices.Contains(planned, made) {
		t.Errorf("%s goes without being in the plan", made)
	}
}
