package offboard_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// hung is somebody else's object that names one of Cast AI's as its owner.
const hung = `apiVersion: v1
kind: Secret
metadata:
  name: precious
  namespace: %s
  labels: {team: acme}
  managedFields: [{manager: kubectl-create, operation: Update}]
  ownerReferences: [{apiVersion: %s, kind: %s, name: castai-agent, uid: %s%s}]
`

const (
	agentRef  = "Deployment.apps/castai-agent/castai-agent"
	spaceRef  = "Namespace/castai-agent"
	controls  = ", controller: true"
	mineThere = "Secret/castai-agent/precious"
)

// hang adds such an object to a namespace.
func (w *world) hang(t *testing.T, namespace, owner, more string) {
	t.Helper()
	u := w.Get(parse(t, owner))
	if u == nil {
		t.Errorf("%s is gone", owner)
		return
	}
	w.add(t, fmt.Sprintf(hung, namespace, u.GetAPIVersion(), u.GetKind(), u.GetUID(), more))
}

// A controller reference is no more than what its author wrote: only what Kubernetes
// makes for a workload goes with the namespace unseen.
func TestNamespaceStaysForWhatSaysThatItIsControlled(t *testing.T) {
	for name, more := range map[string]string{"a controller": controls, "an owner": ""} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := serve(t, "")
				w.when("delete mutatingwebhookconfigurations", func() { w.hang(t, "castai-agent", agentRef, more) })
				r, err := w.offboard(t)
				if err != nil {
					t.Fatal(err)
				}
				kept := result(r.Report, spaceRef)
				if !w.has(t, mineThere) || kept.Result != engine.ResultKept || !strings.Contains(kept.Message, mineThere) {
					t.Errorf("the Secret is there: %t; %+v", w.has(t, mineThere), kept)
				}
			})
		})
	}
}

// collectAll deletes what has no owner left, or lets it go from an owner that is to
// orphan it, as kube-controller-manager does, and at once.
func (w *world) collectAll(*clustertest.Request) clustertest.Fault {
	for more := true; more; {
		more = false
		there := map[types.UID]bool{}
		var all []*unstructured.Unstructured
		for _, name := range w.Refs() {
			r, err := cluster.ParseRef(name)
			if u := w.Get(r); err == nil && u != nil {
				there[u.GetUID()] = true
				all = append(all, u)
			}
		}
		for _, u := range all {
			r := cluster.Ref{Group: u.GroupVersionKind().Group, Kind: u.GetKind(), Namespace: u.GetNamespace(), Name: u.GetName()}
			orphans := slices.Contains(u.GetFinalizers(), metav1.FinalizerOrphanDependents)
			if orphans {
				w.disown(all, u.GetUID())
			}
			keeps := func(o metav1.OwnerReference) bool { return there[o.UID] }
			owners := w.Get(r).GetOwnerReferences()
			if orphans || len(owners) > 0 && !slices.ContainsFunc(owners, keeps) {
				w.Drop(r)
				more = true
				break
			}
		}
	}
	return clustertest.Fault{}
}

// disown takes an owner out of the owner references of all.
func (w *world) disown(all []*unstructured.Unstructured, owner types.UID) {
	for _, u := range all {
		was := u.GetOwnerReferences()
		left := slices.DeleteFunc(slices.Clone(was), func(o metav1.OwnerReference) bool { return o.UID == owner })
		if len(left) < len(was) {
			u.SetOwnerReferences(left)
			u.SetResourceVersion("")
			w.Put(u)
		}
	}
}

// What comes after the last look and says that an object of Cast AI's owns it is not
// collected with that, wherever it is and whatever it hangs on: the owner orphans it,
// or stays if it is a workload.
func TestWhatComesAndNamesAnOwnerStays(t *testing.T) {
	const role, binding = "ClusterRole.rbac.authorization.k8s.io/castai-agent",
		"ClusterRoleBinding.rbac.authorization.k8s.io/castai-agent"
	for _, test := range []struct{ when, namespace, owner, more, stays string }{
		{"delete mutatingwebhookconfigurations", "shop", role, "", ""},
		{"delete mutatingwebhookconfigurations", "shop", role, controls, ""},
		{"delete clusterroles", "shop", binding, controls, ""},
		{"delete clusterroles", "shop", "CustomResourceDefinition.apiextensions.k8s.io/recommendations.autoscaling.cast.ai", "", ""},
		{"delete customresourcedefinitions", "castai-agent", "ConfigMap/castai-agent/castai-agent-autoscaler", controls, ""},
		{"delete customresourcedefinitions", "castai-agent", "ServiceAccount/castai-agent/castai-agent", "", ""},
		{"delete customresourcedefinitions", "shop", spaceRef, "", ""},
		{"delete mutatingwebhookconfigurations", "castai-agent", agentRef, controls, agentRef},
		{"delete configmaps", "castai-agent", agentRef, "", agentRef},
		{"delete configmaps", "castai-agent", "ReplicaSet.apps/castai-agent/castai-agent", controls, agentRef},
	} {
		t.Run(test.when+" "+test.owner+test.more, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := serve(t, "")
				w.add(t, fmt.Sprintf(set, w.Get(parse(t, agentRef)).GetUID()))
				w.Before(w.collectAll)
				w.when(test.when, func() { w.hang(t, test.namespace, test.owner, test.more) })
				r, err := w.offboard(t)
				if err != nil {
					t.Fatal(err)
				}
				if ref := "Secret/" + test.namespace + "/precious"; !w.has(t, ref) {
					t.Errorf("%s is gone: %v", ref, w.Writes())
				}
				if test.stays == "" {
					if w.has(t, test.owner) {
						t.Errorf("%s is left: %+v", test.owner, result(r.Report, test.owner))
					}
					return
				}
				kept := result(r.Report, test.stays)
				if !w.has(t, test.stays) || kept.Result != engine.ResultKept || !strings.Contains(kept.Message, mineThere) {
					t.Errorf("%s is there: %t; %+v", test.stays, w.has(t, test.stays), kept)
				}
			})
		})
	}
}

// set is the ReplicaSet of the agent.
const set = `apiVersion: apps/v1
kind: ReplicaSet
metadata:
  name: castai-agent
  namespace: castai-agent
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: castai-agent, uid: %s, controller: true}]
spec: {replicas: 0}
`
