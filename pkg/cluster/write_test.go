package cluster_test

import (
	"slices"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

var prices = cluster.Ref{Kind: "ConfigMap", Namespace: "shop", Name: "prices"}

// replaced serves a ConfigMap that took the place of the one that the target is
// made from.
func replaced(t *testing.T) (*clustertest.Server, *cluster.Client, cluster.Target) {
	t.Helper()
	server := clustertest.Serve(t, clustertest.Object("v1", "ConfigMap", "shop", "prices"))
	target := server.Target(prices)
	server.Drop(prices)
	server.Put(clustertest.Object("v1", "ConfigMap", "shop", "prices"))
	return server, server.Client(), target
}

// What was judged is what is written: an object that took its place is somebody
// else's.
func TestAnObjectThatTookThePlaceIsRefused(t *testing.T) {
	patch := map[string]any{"data": map[string]any{"a": "b"}}
	for name, write := range map[string]func(*cluster.Client, cluster.Target, bool) error{
		"Delete": func(c *cluster.Client, target cluster.Target, dry bool) error {
			return c.Delete(t.Context(), target, cluster.DeleteOptions{DryRun: dry})
		},
		"MergePatch": func(c *cluster.Client, target cluster.Target, dry bool) error {
			return c.MergePatch(t.Context(), target, patch, dry)
		},
		"StripFinalizers": func(c *cluster.Client, target cluster.Target, dry bool) error {
			o := &cluster.Object{UID: target.UID, ResourceVersion: target.ResourceVersion, Finalizers: []string{"a"}}
			return c.StripFinalizers(t.Context(), target, o, []string{"a"}, dry)
		},
	} {
		for _, dry := range []bool{true, false} {
			server, client, target := replaced(t)
			before := server.Get(prices)
			if err := write(client, target, dry); !apierrors.IsConflict(err) {
				t.Errorf("%s, dry run %t: %v", name, dry, err)
			}
			if now := server.Get(prices); now == nil || now.GetResourceVersion() != before.GetResourceVersion() {
				t.Errorf("%s, dry run %t: the other object was written", name, dry)
			}
		}
	}
}

func TestADryRunChangesNothing(t *testing.T) {
	server := clustertest.Serve(t, clustertest.Object("v1", "ConfigMap", "shop", "prices"))
	client, target := server.Client(), server.Target(prices)
	for name, err := range map[string]error{
		"Delete":     client.Delete(t.Context(), target, cluster.DeleteOptions{DryRun: true}),
		"MergePatch": client.MergePatch(t.Context(), target, map[string]any{"data": map[string]any{"a": "b"}}, true),
		"Apply": client.Apply(t.Context(), target, map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "prices", "namespace": "shop"},
			"data": map[string]any{"a": "b"},
		}, true),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if now := server.Get(prices); now == nil || now.GetResourceVersion() != target.ResourceVersion {
		t.Errorf("it was written: %v", now)
	}
}

func TestFinalizersAreTakenOffTheStateThatWasSeen(t *testing.T) {
	held := clustertest.Object("v1", "ConfigMap", "shop", "prices")
	held.SetFinalizers([]string{"example.com/ours", "example.com/theirs"})
	server := clustertest.Serve(t, held)
	client, target := server.Client(), server.Target(prices)
	if err := client.Delete(t.Context(), target, cluster.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	seen, err := client.Get(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.MergePatch(t.Context(), target, map[string]any{"data": map[string]any{"a": "b"}}, false); err != nil {
		t.Fatal(err)
	}
	if err := client.StripFinalizers(t.Context(), target, seen, []string{"example.com/ours"},
		false); !apierrors.IsConflict(err) {
		t.Errorf("after a change: %v", err)
	}
	if seen, err = client.Get(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	if err := client.StripFinalizers(t.Context(), target, seen, []string{"example.com/ours"}, false); err != nil {
		t.Error(err)
	}
	if left := server.Get(prices).GetFinalizers(); !slices.Equal(left, []string{"example.com/theirs"}) {
		t.Errorf("the finalizers left are %q", left)
	}
}

// Each case is a namespace that must not be finalized, and what is wrong with it.
func TestOnlyTheNamespaceThatIsMeantIsFinalized(t *testing.T) {
	shop := cluster.Ref{Kind: "Namespace", Name: "shop"}
	for name, test := range map[string]struct {
		deleting bool
		change   func(*cluster.Target)
		conflict bool
	}{
		"it is not Terminating": {false, func(*cluster.Target) {}, false},
		"another UID":           {true, func(target *cluster.Target) { target.UID = "another" }, true},
		"another version":       {true, func(target *cluster.Target) { target.ResourceVersion = "1" }, true},
	} {
		server := clustertest.Serve(t, clustertest.Object("v1", "Namespace", "", "shop"))
		client := server.Client()
		if test.deleting {
			if err := client.Delete(t.Context(), server.Target(shop), cluster.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		target := server.Target(shop)
		test.change(&target)
		before := len(server.Writes())
		err := client.FinalizeNamespace(t.Context(), target, false)
		if err == nil || apierrors.IsConflict(err) != test.conflict || len(server.Writes()) != before {
			t.Errorf("%s: %v after %q", name, err, server.Writes())
		}
	}
}

// What the controller changes between the look and the write wins.
func TestANamespaceThatChangesWhileItIsFinalizedIsAConflict(t *testing.T) {
	shop := cluster.Ref{Kind: "Namespace", Name: "shop"}
	server := clustertest.Serve(t, clustertest.Object("v1", "Namespace", "", "shop"))
	client := server.Client()
	if err := client.Delete(t.Context(), server.Target(shop), cluster.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	isFinalize := func(r *clustertest.Request) bool { return r.Subresource == "finalize" }
	server.BeforeNth(1, isFinalize, func(*clustertest.Request) clustertest.Fault {
		u := server.Get(shop)
		u.SetAnnotations(map[string]string{"a": "b"})
		server.Put(u)
		return clustertest.Fault{}
	})
	target := server.Target(shop)
	target.ResourceVersion = ""
	if err := client.FinalizeNamespace(t.Context(), target, false); !apierrors.IsConflict(err) {
		t.Errorf("the answer is %v", err)
	}
	if server.Get(shop) == nil {
		t.Error("the namespace is gone")
	}
}
