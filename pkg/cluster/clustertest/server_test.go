package clustertest_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

var configMap = cluster.Ref{Kind: "ConfigMap", Namespace: "shop", Name: "prices"}

const held = `
apiVersion: v1
kind: ConfigMap
metadata: {name: prices, namespace: shop, finalizers: [example.com/hold]}
`

// Example of a test: somebody replaces an object between the look and the
// deletion of it.
func TestSomebodyElseIsQuicker(t *testing.T) {
	server := clustertest.ServeManifest(t, held)
	client := server.Client()
	target := server.Target(configMap)
	server.BeforeNth(
		1,
		func(r *clustertest.Request) bool { return r.Verb == "delete" },
		func(*clustertest.Request) clustertest.Fault {
			server.Drop(configMap)
			server.Put(clustertest.Object("v1", "ConfigMap", "shop", "prices"))
			return clustertest.Fault{}
		},
	)
	if err := client.Delete(t.Context(), target, cluster.DeleteOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("the answer is %v", err)
	}
	if server.Get(configMap) == nil {
		t.Error("the other object is gone")
	}
	if want := []string{"delete configmaps shop/prices"}; !slices.Equal(server.Writes(), want) {
		t.Errorf("the writes are %q", server.Writes())
	}
}

// The server works in a bubble, in which an hour is over at once.
func TestTheServerWorksInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clustertest.ServeManifest(t, held)
		client := server.Client()
		target := server.Target(configMap)
		if err := client.Delete(t.Context(), target, cluster.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		stripped := make(chan error, 1)
		time.AfterFunc(time.Hour, func() {
			object, err := client.Get(t.Context(), target)
			if err == nil {
				err = client.StripFinalizers(t.Context(), target, object, object.Finalizers, false)
			}
			stripped <- err
		})
		var seen []bool
		began := time.Now()
		err := client.Follow(
			t.Context(),
			[]cluster.Target{target},
			func(s cluster.Sighting) { seen = append(seen, s.Object != nil) },
		)
		if err != nil || !slices.Equal(slices.Compact(seen), []bool{true, false}) || time.Since(began) < time.Hour {
			t.Errorf("%v, %v after %s", seen, err, time.Since(began))
		}
		if err := <-stripped; err != nil {
			t.Error(err)
		}
	})
}

func TestASnapshotIsWhatIsStored(t *testing.T) {
	server := clustertest.ServeManifest(t, `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets}
  versions: [{name: v1, served: true, storage: true}]
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: one, namespace: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: till, namespace: shop}
spec: {replicas: 2, template: {spec: {containers: [{name: till, image: till}]}}}
`)
	snap, err := server.Client().Snapshot(t.Context(), cluster.Scope{})
	if err != nil || len(snap.Unreadable) > 0 {
		t.Fatal(err, snap.Unreadable)
	}
	var refs []string
	for _, o := range snap.Objects {
		refs = append(refs, o.Ref().String())
		if o.Name == "till" && o.Body["spec"].(map[string]any)["replicas"] != int64(2) {
			t.Errorf("of the Deployment it has %v", o.Body)
		}
	}
	slices.Sort(refs)
	if want := server.Refs(); !slices.Equal(refs, want) {
		t.Errorf("the snapshot has %q, the server %q", refs, want)
	}
}

func TestFaults(t *testing.T) {
	for name, fault := range map[string]clustertest.Fault{
		"answer lost": {AnswerLost: true}, "request lost": {Lost: true}, "hangs": {Hang: true},
		"too many": {Err: apierrors.NewTooManyRequests("slow down",
			1)}, "in trouble": {Err: apierrors.NewInternalError(context.Canceled)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := clustertest.ServeManifest(t, held)
				client := server.Client()
				target := server.Target(configMap)
				isPatch := func(r *clustertest.Request) bool { return r.Verb == "patch" }
				server.BeforeNth(1, isPatch, func(*clustertest.Request) clustertest.Fault { return fault })
				if err := client.MergePatch(
					t.Context(),
					target,
					map[string]any{"data": map[string]any{"a": "b"}},
					false,
				); err != nil {
					t.Error(err)
				}
				if n := len(server.Writes()); n != 2 || server.Get(configMap).Object["data"] == nil {
					t.Errorf("%d writes, %v", n, server.Get(configMap))
				}
			})
		})
	}
}

func TestANamespaceThatIsFinalizedGoes(t *testing.T) {
	server := clustertest.ServeManifest(t, held)
	client := server.Client()
	ref := cluster.Ref{Kind: "Namespace", Name: "shop"}
	if err := client.FinalizeNamespace(t.Context(), server.Target(ref), false); err == nil {
		t.Error("a namespace that is not being deleted is finalized")
	}
	if err := client.Delete(t.Context(), server.Target(ref), cluster.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	other := server.Target(ref)
	other.UID = types.UID("another")
	if err := client.FinalizeNamespace(t.Context(), other, false); !apierrors.IsConflict(err) {
		t.Errorf("finalizing another of that name: %v", err)
	}
	if err := client.FinalizeNamespace(t.Context(), server.Target(ref), true); err != nil || server.Get(ref) == nil {
		t.Errorf("a dry run: %v", err)
	}
	if err := client.FinalizeNamespace(t.Context(), server.Target(ref), false); err != nil || server.Get(ref) != nil {
		t.Errorf("the namespace stays: %v", err)
	}
	if server.Get(configMap) == nil {
		t.Error("its content went along")
	}
}
