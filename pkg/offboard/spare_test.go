package offboard_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// of others, in their own namespace, and owned by objects of Cast AI's, as whoever
// writes them says.
const hungOn = `
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: notes
  namespace: shop
  ownerReferences: [{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, name: castai-agent, uid: ROLE}]
  managedFields: [{manager: kubectl-create, operation: Update}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: data
  namespace: shop
  ownerReferences: [{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, name: castai-agent, uid: ROLE, controller: true}]
  managedFields: [{manager: kubectl-create, operation: Update}]
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  ownerReferences: [{apiVersion: autoscaling.cast.ai/v1, kind: Recommendation, name: web, uid: RECOMMENDATION}]
spec: {template: {spec: {containers: [{name: web, image: "acme/web:1"}]}}}
`

// What is not Cast AI's does not go with its owner, and the plan says so.
func TestWhatOthersHangOntoCastAIStays(t *testing.T) {
	owners := map[string]string{
		"ROLE":           "ClusterRole.rbac.authorization.k8s.io/castai-agent",
		"RECOMMENDATION": "Recommendation.autoscaling.cast.ai/shop/web",
	}
	bubble(t, func(t *testing.T) {
		w := serve(t, "")
		manifest := strings.TrimPrefix(hungOn, "\n---\n")
		for uid, ref := range owners {
			manifest = strings.ReplaceAll(manifest, uid, string(w.Get(parse(t, ref)).GetUID()))
		}
		w.add(t, manifest)
		plan := w.planned(t)
		for _, p := range plan.Phases {
			for _, a := range p.Actions {
				owns := slices.Contains([]string{owners["ROLE"], owners["RECOMMENDATION"]}, a.Target.Ref.String())
				if a.Verb == engine.Delete && a.Orphan != owns {
					t.Errorf("%s: what names it as its owner stays: %v", a.Target.Ref, a.Orphan)
				}
			}
		}
		if notes := strings.Join(plan.Notes, " "); !strings.Contains(notes,
			"ConfigMap/shop/notes, Deployment.apps/shop/web, PersistentVolumeClaim/shop/data") {
			t.Errorf("the notes say %q", notes)
		}
		orphaned := w.collectGarbage(owners)
		if _, err := w.offboard(t); err != nil {
			t.Fatal(err)
		}
		if got := orphaned(); got != len(owners) {
			t.Errorf("%d of %d owners were deleted without what they own", got, len(owners))
		}
		for _, ref := range []string{"ConfigMap/shop/notes", "PersistentVolumeClaim/shop/data", "Deployment.apps/shop/web"} {
			if !w.has(t, ref) {
				t.Errorf("%s is gone", ref)
			}
		}
	})
}

func parse(t *testing.T, ref string) cluster.Ref {
	t.Helper()
	r, err := cluster.ParseRef(ref)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// collectGarbage lets objects go that are to be orphaned, as kube-controller-manager
// does. The function that it returns ends it, and says how many there were.
func (w *world) collectGarbage(owners map[string]string) (end func() int) {
	done, orphaned := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-done:
				orphaned <- n
				return
			case <-time.After(100 * time.Millisecond):
			}
			for _, ref := range owners {
				r, err := cluster.ParseRef(ref)
				if u := w.Get(r); err == nil && u != nil && slices.Contains(u.GetFinalizers(), metav1.FinalizerOrphanDependents) {
					n++
					w.Drop(r)
				}
			}
		}
	}()
	return func() int {
		close(done)
		return <-orphaned
	}
}

// An owner that is not there does not keep what others hang onto Cast AI's.
func TestAnOwnerThatHasGoneKeepsNothing(t *testing.T) {
	const role = "ClusterRole.rbac.authorization.k8s.io/castai-agent"
	for name, test := range map[string]struct {
		uid    string
		orphan bool
	}{"it has gone": {"gone", true}, "it is there": {"there", false}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := serve(t, "")
				w.add(t, fmt.Sprintf(`apiVersion: v1
kind: ConfigMap
metadata:
  name: notes
  namespace: shop
  ownerReferences:
  - {apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, name: castai-agent, uid: %s}
  - {apiVersion: v1, kind: Secret, name: other, uid: %s}
---
apiVersion: v1
kind: Secret
metadata: {name: other, namespace: shop, uid: there}
`, w.Get(parse(t, role)).GetUID(), test.uid))
				for _, p := range w.planned(t).Phases {
					for _, a := range p.Actions {
						if a.Verb == engine.Delete && a.Target.Ref.String() == role && a.Orphan != test.orphan {
							t.Errorf("orphans: %t", a.Orphan)
						}
					}
				}
			})
		})
	}
}
