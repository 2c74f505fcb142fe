package cluster_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

var configMaps = &cluster.Resource{Version: "v1", Name: "configmaps", Kind: "ConfigMap", Namespaced: true}

func isWatch(r *clustertest.Request) bool { return r.Verb == "watch" }

// waiting are the ways to wait for changes, each for something that never comes.
func waiting(client *cluster.Client, target cluster.Target) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Follow": func(ctx context.Context) error {
			return client.Follow(ctx, []cluster.Target{target}, func(cluster.Sighting) {})
		},
		"Await": func(ctx context.Context) error {
			return client.Await(ctx, configMaps, "shop", nil, func([]*cluster.Object) (bool, error) { return false, nil })
		},
		"Established": func(ctx context.Context) error { return client.Established(ctx, []string{"widgets.example.com"}) },
	}
}

func notEstablished(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	crd := clustertest.Object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "widgets.example.com")
	if err := unstructured.SetNestedSlice(crd.Object, []any{}, "status", "conditions"); err != nil {
		t.Fatal(err)
	}
	return crd
}

// A server or a proxy whose watches end at once must not be flooded.
func TestWatchesThatEndAtOnceAreTakenUpMoreAndMoreSlowly(t *testing.T) {
	for _, name := range []string{"Follow", "Await", "Established"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := clustertest.Serve(t, clustertest.Object("v1", "ConfigMap", "shop", "prices"), notEstablished(t))
				client := server.Client()
				server.Before(func(r *clustertest.Request) clustertest.Fault { return clustertest.Fault{EndWatch: isWatch(r)} })
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				before := len(server.Requests())
				err := waiting(client, server.Target(prices))[name](ctx)
				if n := len(server.Requests()) - before; !errors.Is(err, context.DeadlineExceeded) || n < 4 || n > 20 {
					t.Errorf("%d requests in 5 s, %v", n, err)
				}
			})
		})
	}
}

// What happens while no watch is open is seen all the same.
func TestAnExpiredWatchIsTakenUpAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clustertest.Serve(t, clustertest.Object("v1", "ConfigMap", "shop", "prices"))
		client, target := server.Client(), server.Target(prices)
		server.BeforeNth(1, isWatch, func(*clustertest.Request) clustertest.Fault {
			server.Drop(prices)
			server.Put(clustertest.Object("v1", "ConfigMap", "shop", "prices")) // another
			server.Forget()
			return clustertest.Fault{}
		})
		var seen []bool
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := client.Follow(ctx, []cluster.Target{target}, func(s cluster.Sighting) { seen = append(seen, s.Object != nil) })
		if err != nil || !slices.Equal(seen, []bool{true, false}) {
			t.Errorf("%v, %v", seen, err)
		}
	})
}

func TestAwaitSeesEveryChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clustertest.Serve(t, clustertest.Object("v1", "ConfigMap", "shop", "prices"))
		client := server.Client()
		for i, do := range []func(){
			func() { server.Put(clustertest.Object("v1", "ConfigMap", "shop", "stock")) },
			server.Bookmark,
			func() { server.Put(clustertest.Object("v1", "ConfigMap", "other", "stock")) },
			func() { server.Drop(prices) },
		} {
			time.AfterFunc(time.Duration(i+1)*time.Second, do)
		}
		var states [][]string
		err := client.Await(t.Context(), configMaps, "shop", nil, func(all []*cluster.Object) (bool, error) {
			var names []string
			for _, o := range all {
				names = append(names, o.Name)
			}
			states = append(states, names)
			return slices.Equal(names, []string{"stock"}), nil
		})
		want := [][]string{{"prices"}, {"prices", "stock"}, {"stock"}}
		if err != nil || !slices.EqualFunc(states, want, slices.Equal[[]string]) {
			t.Errorf("%v, %v", states, err)
		}
	})
}

func TestAMissingRightEndsTheWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clustertest.Serve(t, clustertest.Object("v1", "ConfigMap", "shop", "prices"), notEstablished(t))
		client, target := server.Client(), server.Target(prices)
		server.Forbid = isWatch
		for name, wait := range waiting(client, target) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if err := wait(ctx); !apierrors.IsForbidden(err) {
				t.Errorf("%s: %v", name, err)
			}
			cancel()
		}
	})
}

func TestTheAnswerOfDoneEndsAwait(t *testing.T) {
	server := clustertest.Serve(t)
	why := errors.New("enough")
	err := server.Client().Await(t.Context(), configMaps, "", nil,
		func([]*cluster.Object) (bool, error) { return false, why })
	if !errors.Is(err, why) {
		t.Errorf("the error is %v", err)
	}
}

func TestAKindThatIsGoneTakesItsObjectsAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clustertest.Serve(t)
		target := cluster.Target{
			Ref:     cluster.Ref{Group: "example.com", Kind: "Widget", Namespace: "shop", Name: "one"},
			Version: "v1", Resource: "widgets", UID: "some",
		}
		gone := 0
		see := func(s cluster.Sighting) {
			if s.Object == nil {
				gone++
			}
		}
		client := server.Client()
		if err := client.Follow(t.Context(), []cluster.Target{target}, see); err != nil || gone != 1 {
			t.Errorf("Follow: %d, %v", gone, err)
		}
		if err := client.Look(t.Context(), []cluster.Target{target}, see); err != nil || gone != 2 {
			t.Errorf("Look: %d, %v", gone, err)
		}
	})
}
