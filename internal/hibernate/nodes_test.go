package hibernate

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// Whatever phase the API names, a node that Cast AI was just asked for may still join.
func TestNodesInFlightOfEveryPhase(t *testing.T) {
	for _, phase := range []string{"pending", "creating", "unknown", "not_ready", "ready", "cordoned", "",
		"provisioning"} {
		t.Run(phase, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := evening(t)
				n.order("late", aLateNode)
				n.nodes[len(n.nodes)-1].State.Phase = phase
				n.nodes[len(n.nodes)-1].CreatedAt = time.Now()
				time.AfterFunc(70*time.Second, func() {
					n.mu.Lock()
					for i := range n.nodes {
						if n.nodes[i].Name == "late" {
							n.nodes[i].State.Phase = "creating" // what joins here
						}
					}
					n.mu.Unlock()
					n.join("late", aLateNode)
				})
				if err := n.pause(t.Context(), options()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(3 * time.Minute)
				if n.names() != "made-4" {
					t.Errorf("nodes: %s", n.names())
				}
			})
		})
	}
}

// What the API lists long after it was asked for, and never joined, is not waited for.
func TestANodeThatNeverJoinedIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t)
		n.order("ghost", aLateNode)
		n.nodes[len(n.nodes)-1].State.Phase = "not_ready"
		n.nodes[len(n.nodes)-1].CreatedAt = time.Now().Add(-time.Hour)
		if err := n.pause(t.Context(), options()); err != nil || n.names() != "made-4" {
			t.Errorf("nodes: %s, %v", n.names(), err)
		}
	})
}

// Essential workloads that tolerate the node already, or that are rolled by hand, are
// moved to it by an eviction: no change of their template would.
func TestWhatToleratesEverythingIsMoved(t *testing.T) {
	for name, workload := range map[string]string{
		"tolerates": aWorkload("Deployment", "kube-system/operator",
			"containers: [{name: c, image: i}], tolerations: [{operator: Exists}]", 1),
		"by hand": strings.Replace(aWorkload("StatefulSet", "kube-system/operator", "containers: [{name: c, image: i}]", 1),
			"spec: {replicas", "spec: {updateStrategy: {type: OnDelete}, replicas", 1),
		"paused": strings.Replace(aWorkload("Deployment", "kube-system/operator", "containers: [{name: c, image: i}]", 1),
			"spec: {replicas", "spec: {paused: true, replicas", 1),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := evening(t, workload, aPod("kube-system/operator-1", "a", "operator", "{name: c, image: i}", true))
				gone := n.server.Before(func(r *clustertest.Request) clustertest.Fault {
					if r.Verb == "create" && r.Subresource == "eviction" {
						time.AfterFunc(time.Second, func() {
							n.put(t, aPod("kube-system/operator-2", "made-3", "operator", "{name: c, image: i}", true))
						})
					}
					return clustertest.Fault{}
				})
				defer gone()
				if err := n.pause(t.Context(), options()); err != nil || n.names() != "made-3" {
					t.Errorf("nodes: %s, %v", n.names(), err)
				}
			})
		})
	}
}
