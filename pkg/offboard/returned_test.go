package offboard_test

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/pkg/offboard"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

const home = `
apiVersion: v1
kind: Namespace
metadata: {name: castai-agent, uid: ns-1}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: castai-agent, namespace: castai-agent, uid: deployment-1}
spec:
  template:
    spec:
      containers: [{name: agent, image: us-docker.pkg.dev/castai-hub/library/agent:v0.60.0}]
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: recommendations.autoscaling.cast.ai, uid: crd-1}
spec: {group: autoscaling.cast.ai, names: {kind: Recommendation, plural: recommendations}, scope: Namespaced}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: shop, namespace: default, uid: shop-1}
`

func inventory(t *testing.T, manifest string, change func(u *unstructured.Unstructured)) *ownership.Inventory {
	t.Helper()
	objects, err := clustertest.Parse([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range objects {
		change(u)
	}
	snap, err := clustertest.Snapshot(objects...)
	if err != nil {
		t.Fatal(err)
	}
	return take(t, snap)
}

func take(t *testing.T, snap *cluster.Snapshot) *ownership.Inventory {
	t.Helper()
	cat, err := ownership.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	return ownership.Judge(snap, nil, cat, ownership.Options{})
}

func asItIs(*unstructured.Unstructured) {}

func TestNothingReturned(t *testing.T) {
	before := inventory(t, home, asItIs)
	if len(before.Owned()) == 0 {
		t.Fatal("nothing in the fixture is Cast AI's")
	}
	// What is left is not what returned, and neither is what others make.
	others := home + `---
apiVersion: v1
kind: ConfigMap
metadata: {name: new, namespace: default, uid: new-1}
`
	if got := offboard.Returned(inventory(t, others, asItIs), before); len(got) > 0 {
		t.Errorf("%+v", got)
	}
}

func TestReturnedSaysWhoWroteIt(t *testing.T) {
	before := inventory(t, home, asItIs)
	_, crd, _ := strings.Cut(home, "apiVersion: apiextensions")
	crd, _, _ = strings.Cut("apiVersion: apiextensions"+crd, "---")
	for _, test := range []struct {
		name   string
		change func(u *unstructured.Unstructured)
		remedy string
	}{
		{"a field manager that is known", func(u *unstructured.Unstructured) { wroteAs(u, "argocd-controller") }, "Argo CD"},
		{"a mark", func(u *unstructured.Unstructured) {
			wroteAs(u, "kubectl")
			u.SetLabels(map[string]string{"kustomize.toolkit.fluxcd.io/name": "castai"})
		}, "Flux manages it"},
		{"a field manager that nobody knows", func(u *unstructured.Unstructured) { wroteAs(u, "acme") }, "writes as acme"},
		{"an owner", func(u *unstructured.Unstructured) {
			yes := true
			u.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "acme.io/v1", Kind: "Bundle", Name: "b", UID: "b-1",
				Controller: &yes}})
		}, "its owner Bundle/b"},
		{"a name that many have", func(u *unstructured.Unstructured) { wroteAs(u, "manager") }, "audit log"},
		{"Cast AI, and nothing runs here", func(u *unstructured.Unstructured) { wroteAs(u, "castai-cluster-controller") },
			"outside of this cluster"},
		{"no trace", asItIs, "audit log"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := offboard.Returned(inventory(t, crd, func(u *unstructured.Unstructured) {
				u.SetUID(types.UID("crd-2"))
				test.change(u)
			}), before)
			if len(got) != 1 || got[0].Kind != "CustomResourceDefinition" || !got[0].Again ||
				!strings.Contains(got[0].Remedy, test.remedy) {
				t.Errorf("got %+v, want a remedy with %q", got, test.remedy)
			}
		})
	}
}

// What comes back is told even if nothing proves any more whose it is.
func TestReturnedWithoutEvidence(t *testing.T) {
	before := inventory(t, home, asItIs)
	after := inventory(t, `
apiVersion: v1
kind: Namespace
metadata: {name: castai-agent, uid: ns-2}
`, asItIs)
	got := offboard.Returned(after, before)
	if !slices.ContainsFunc(got, func(r offboard.Return) bool {
		return r.Kind == "Namespace" &&
			r.Name == "castai-agent"
	}) {
		t.Errorf("%+v", got)
	}
}

func wroteAs(u *unstructured.Unstructured, manager string) {
	u.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate}})
}

// What of Cast AI's still runs here is named, and not what may run elsewhere.
func TestReturnedNamesWhatStillRuns(t *testing.T) {
	before := inventory(t, home, asItIs)
	after := inventory(t, home+`---
apiVersion: v1
kind: Pod
metadata:
  name: castai-agent-1-a
  namespace: castai-agent
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: castai-agent, uid: deployment-1, controller: true}]
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: evictorconfigs.autoscaling.cast.ai, uid: new, managedFields: [{manager: castai-evictor, operation: Update}]}
spec: {group: autoscaling.cast.ai, names: {kind: EvictorConfig, plural: evictorconfigs}, scope: Cluster}
`, asItIs)
	got := offboard.Returned(after, before)
	i := slices.IndexFunc(got, func(r offboard.Return) bool { return r.Kind == "CustomResourceDefinition" })
	if i < 0 || !strings.Contains(got[i].Remedy, "Pod/castai-agent/castai-agent-1-a is still here") {
		t.Errorf("%+v", got)
	}
}

// A pod of a workload that was put back itself is no reason to look for what puts things back in the cluster.
func TestReturnedPodsMakeNothing(t *testing.T) {
	before := inventory(t, home, asItIs)
	after := inventory(t, home+`---
apiVersion: v1
kind: Pod
metadata:
  name: castai-agent-1-a
  namespace: castai-agent
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: castai-agent, uid: deployment-1, controller: true}]
`, func(u *unstructured.Unstructured) {
		if u.GetKind() != "Namespace" {
			u.SetUID("again-" + u.GetUID())
			wroteAs(u, "castai-cluster-controller")
		}
		if owners := u.GetOwnerReferences(); len(owners) > 0 {
			owners[0].UID = "again-" + owners[0].UID
			u.SetOwnerReferences(owners)
		}
	})
	got := offboard.Returned(after, before)
	i := slices.IndexFunc(got, func(r offboard.Return) bool { return r.Kind == "CustomResourceDefinition" })
	if i < 0 || !strings.Contains(got[i].Remedy, "outside of this cluster") {
		t.Errorf("%+v", got)
	}
	if !slices.ContainsFunc(after.Owned(), func(i *ownership.Item) bool { return i.Object.Resource.Kind == "Pod" }) {
		t.Error("the pod is not Cast AI's")
	}
}

// anew is what a person makes where Cast AI was, under names that Cast AI uses, too.
const anew = `apiVersion: v1
kind: Namespace
metadata: {name: castai-agent, uid: new-ns, labels: {team: acme}, managedFields: [{manager: MANAGER, operation: Update}]}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: hibernate, namespace: castai-agent, uid: new-sa, managedFields: [{manager: MANAGER, operation: Update}]}
---
apiVersion: v1
kind: Secret
metadata: {name: castai-secrets, namespace: castai-agent, uid: new-secret, managedFields: [{manager: MANAGER, operation: Update}]}
`

// What a person makes anew while Cast AI is being removed is not removed for its name,
// which nobody has agreed to, but named. What Cast AI's own components make is removed.
func TestWhatAPersonMakesAnewStays(t *testing.T) {
	for name, test := range map[string]struct {
		manifest, manager string
		stays             bool
	}{
		"a namespace with something in it":    {anew, "kubectl-create", true},
		"a namespace":                         {strings.Split(anew, "---\n")[0], "kubectl-create", true},
		"a namespace that nobody says who by": {strings.Split(anew, "---\n")[0], "", true},
		"by another vendor's controller":      {anew, "vault-secrets-operator", true},
		"by a component of Cast AI's":         {anew, "castai-spot-handler", false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := serve(t, "")
				w.again(t, 2, "") // so that there is more than one further round
				w.when("delete clusterrolebindings", func() { w.add(t, strings.ReplaceAll(test.manifest, "MANAGER", test.manager)) })
				r, err := w.offboard(t)
				if err != nil {
					t.Fatal(err)
				}
				for _, ref := range []string{"Namespace/castai-agent", "Secret/castai-agent/castai-secrets",
					"ServiceAccount/castai-agent/hibernate"} {
					kind, _, _ := strings.Cut(ref, "/")
					made := strings.Contains(test.manifest, "kind: "+kind+"\n")
					named := slices.ContainsFunc(r.Returned, func(r offboard.Return) bool {
						return r.Ref.String() == ref && r.Remedy != ""
					})
					// Of what nothing says that it is Cast AI's, only what has a name that was agreed to is named.
					stays := made && test.stays
					if w.has(t, ref) != stays || named != stays && kind == "Namespace" {
						t.Errorf("%s is there: %t, named: %t: %+v", ref, w.has(t, ref), named, r.Returned)
					}
				}
			})
		})
	}
}
