package ownership_test

import (
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/offboard"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// big is a cluster of n objects: everything of Cast AI's, and a user's many
// namespaces with Deployments, ReplicaSets, pods, Services, budgets, Helm
// releases and bindings. One namespace holds as much as all others together.
func big(b *testing.B, n int) (*cluster.Snapshot, []cluster.StoredRelease) {
	b.Helper()
	s := castAI(b)
	s.yaml(b, deployment("shop", "web", "registry.example.com/web:1")+thing("v1", "Pod", "shop", "p")+
		thing("apps/v1", "ReplicaSet", "shop", "r")+thing("v1", "Service", "shop", "s")+
		thing("policy/v1", "PodDisruptionBudget", "shop", "b")+thing("v1", "Secret", "shop", "x")+
		thing("v1", "ConfigMap", "shop", "x"))
	snap := s.snapshot(b)
	kinds := map[string]*cluster.Resource{}
	for _, r := range snap.Resources {
		kinds[r.Kind] = r
	}
	yes := true
	for i := range 201 {
		ns := fmt.Sprintf("team-%d", i)
		if i == 200 {
			ns = "huge"
		}
		snap.Objects = append(snap.Objects, &cluster.Object{Resource: kinds["Namespace"], Name: ns, UID: types.UID(ns),
			Labels: map[string]string{"kubernetes.io/metadata.name": ns}})
	}
	for i := 0; len(snap.Objects) < n; i++ {
		ns := fmt.Sprintf("team-%d", i%200)
		if i%2 == 0 {
			ns = "huge"
		}
		app := fmt.Sprintf("app-%d", i)
		meta := func(kind, name string) *cluster.Object {
			o := &cluster.Object{Resource: kinds[kind], Namespace: ns, Name: name, UID: types.UID(kind + ns + name),
				Labels: map[string]string{"app": app, "helm.sh/chart": "acme-1.2.3", "app.kubernetes.io/name": app},
				Annotations: map[string]string{"meta.helm.sh/release-name": app,
					"meta.helm.sh/release-namespace": ns}, Managers: []string{"helm"}}
			if !o.Resource.Namespaced {
				o.Namespace = ""
			}
			snap.Objects = append(snap.Objects, o)
			return o
		}
		owned := func(kind, name string, by *cluster.Object) *cluster.Object {
			o := meta(kind, name)
			o.Annotations = nil
			o.Owners = []metav1.OwnerReference{{Kind: by.Resource.Kind, Name: by.Name, UID: by.UID, Controller: &yes}}
			return o
		}
		pod := map[string]any{"metadata": map[string]any{"labels": map[string]any{"app": app}},
			"spec": map[string]any{"serviceAccountName": app,
				"containers": []any{map[string]any{"image": "registry.example.com/" + app + ":1",
					"envFrom": []any{map[string]any{"configMapRef": map[string]any{"name": app}}}}}}}
		d := meta("Deployment", app)
		d.Body = map[string]any{"spec": map[string]any{"template": pod}}
		rs := owned("ReplicaSet", app, d)
		for p := range 8 {
			owned("Pod", fmt.Sprintf("%s-%d", app, p), rs)
		}
		meta("Service", app).Body = map[string]any{"spec": map[string]any{"selector": map[string]any{"app": app}}}
		meta("PodDisruptionBudget",
			app).Body = map[string]any{"spec": map[string]any{"selector": map[string]any{"matchLabels": map[string]any{"app": app}}}}
		for _, kind := range []string{"ConfigMap", "ServiceAccount", "Lease", "ClusterRole"} {
			meta(kind, app)
		}
		meta("ClusterRoleBinding", app).Body = map[string]any{"roleRef": map[string]any{"kind": "ClusterRole", "name": app},
			"subjects": []any{map[string]any{"kind": "ServiceAccount", "namespace": ns, "name": app}}}
		record := meta("Secret", "sh.helm.release.v1."+app+".v1")
		record.Labels = map[string]string{"owner": "helm", "name": app, "version": "1"}
	}
	// As every snapshot is.
	slices.SortFunc(snap.Objects, func(a, b *cluster.Object) int { return a.Ref().Compare(b.Ref()) })
	return snap, s.records
}

func BenchmarkTake(b *testing.B) {
	cat := catalogue(b)
	want := len(castAI(b).take(b, ownership.Options{}).Owned())
	for _, n := range []int{10_000, 100_000} {
		snap, records := big(b, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if inv := ownership.Judge(snap, records, cat, ownership.Options{}); len(inv.Owned()) != want {
					b.Fatalf("%d objects are owned, not %d", len(inv.Owned()), want)
				}
			}
		})
	}
}

// BenchmarkPlan is all that is decided without the network: whose everything is,
// and what to do about it.
func BenchmarkPlan(b *testing.B) {
	cat := catalogue(b)
	for _, n := range []int{10_000, 30_000, 100_000} {
		snap, records := big(b, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if len(ownership.ReleaseRecords(snap, cat, nil)) != len(records) {
					b.Fatal("not every record is asked for")
				}
				inv := ownership.Judge(snap, records, cat, ownership.Options{})
				if plan := offboard.New(inv, cat, offboard.Options{}); plan.Actions() == 0 {
					b.Fatal("nothing is planned")
				}
			}
		})
	}
}

func BenchmarkReleaseRecords(b *testing.B) {
	snap, records := big(b, 100_000)
	cat := catalogue(b)
	for b.Loop() {
		if got := len(ownership.ReleaseRecords(snap, cat, nil)); got != len(records) {
			b.Fatalf("%d records, not %d", got, len(records))
		}
	}
}
