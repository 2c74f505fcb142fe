package ownership_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// odd changes objects into what no API server of today serves, but one with
// aggregated APIs may: kinds in another scope or group, the UID of something else,
// owners elsewhere, no name, no body.
func odd(random *rand.Rand, snap *cluster.Snapshot) {
	pick := func() *cluster.Object { return snap.Objects[random.IntN(len(snap.Objects))] }
	for range 1 + random.IntN(12) {
		o := *pick()
		resource := *o.Resource
		o.Resource = &resource
		switch random.IntN(9) {
		case 0:
			o.Namespace = []string{"", pick().Namespace, "castai-agent", "elsewhere"}[random.IntN(4)]
		case 1:
			o.UID = pick().UID
		case 2:
			o.Owners = slices.Clone(pick().Owners)
		case 3:
			up := pick()
			o.Owners = slices.Clone(o.Owners)
			for i := range o.Owners {
				o.Owners[i].UID, o.Owners[i].Kind, o.Owners[i].Name = up.UID, up.Resource.Kind, up.Name
			}
		case 4:
			resource.Group = pick().Resource.Group
		case 5:
			resource.Kind = pick().Resource.Kind
		case 6:
			o.Name = []string{"", pick().Name}[random.IntN(2)]
		case 7:
			strange := map[string]any{"spec": "x", "subjects": []any{nil, "x"}, "webhooks": "x", "roleRef": nil}
			o.Body = []map[string]any{nil, pick().Body, strange}[random.IntN(3)]
		case 8:
			o.Labels, o.Annotations, o.Managers = pick().Labels, pick().Annotations, pick().Managers
		}
		snap.Objects = append(snap.Objects, &o)
	}
}

// Whatever a server says, it is judged, and never ends in a panic.
func FuzzOddObjects(f *testing.F) {
	for seed := range uint64(60) {
		f.Add(seed)
	}
	world := castAI(f)
	f.Fuzz(func(t *testing.T, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 0))
		snap := world.snapshot(t)
		odd(random, snap)
		pick := func() *cluster.Object { return snap.Objects[random.IntN(len(snap.Objects))] }
		opts := ownership.Options{
			Include: []cluster.Ref{pick().Ref(), pick().Ref()}, Exclude: []cluster.Ref{pick().Ref()},
			Known: map[types.UID]ownership.Proof{pick().UID: {Component: "castai-agent"}},
		}
		inv := judge(t, snap, world.records, opts)
		for _, o := range snap.Objects {
			_, _ = inv.Explain(o.Ref()) // an object may have a reference that others have, too
		}
		_ = inv.WhyNot()
	})
}

// Of two kinds that are called Namespace, only Kubernetes' own holds objects.
func TestAnIncludedNamespaceOfAnotherGroupIsNoNamespace(t *testing.T) {
	s := small(t).yaml(t, `
apiVersion: example.com/v1
kind: Namespace
metadata: {name: prod}
---
apiVersion: v1
kind: Namespace
metadata: {name: prod}
`)
	named := cluster.Ref{Group: "example.com", Kind: "Namespace", Name: "prod"}
	inv := s.take(t, ownership.Options{Include: []cluster.Ref{named}})
	if !inv.IsOwned(named) || inv.IsOwned(cluster.Ref{Kind: "Namespace", Name: "prod"}) {
		t.Errorf("%s\n%s", explain(t, inv, named), explain(t, inv, cluster.Ref{Kind: "Namespace", Name: "prod"}))
	}
}
