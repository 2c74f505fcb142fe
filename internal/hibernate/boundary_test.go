package hibernate

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// put makes objects that come while a pause is on.
func (n *night) put(t *testing.T, manifests string) {
	t.Helper()
	objects, err := clustertest.Parse([]byte(manifests))
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range objects {
		managed(u)
	}
	n.server.Put(objects...)
}

var aLateNode = castai.NodeConfig{InstanceType: "m7g.xlarge"}

// refusing fails the requests of a kind, all after the first few.
func refusing(request string, after int) func(string) error {
	return func(r string) error {
		if !strings.HasPrefix(r, request) {
			return nil
		}
		if after--; after >= 0 {
			return nil
		}
		return &castai.Error{Operation: r, Status: http.StatusInternalServerError}
	}
}

// A pause that goes on with one that is on, or that has removed nodes, wakes nobody
// when it fails.
func TestASecondPauseThatFailsWakesNobody(t *testing.T) {
	for name, allowed := range map[string]int{"paused": 1000, "nodes are left": 2} {
		for _, request := range []string{"get-policies", "delete-node"} {
			t.Run(name+", "+request+" fails", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := evening(t)
					n.before = refusing("delete-node", allowed)
					if err := n.pause(t.Context(), options()); (err != nil) != (allowed < 3) {
						t.Fatal(err)
					}
					n.before = nil
					n.order("late", aLateNode)
					n.join("late", aLateNode)
					n.before = refusing(request, map[string]int{"get-policies": 2}[request])
					err := n.pause(t.Context(), options())
					n.before = nil
					if err == nil || !strings.Contains(err.Error(), "run pause again") || strings.Contains(err.Error(), "taken back") {
						t.Errorf("the error is %v", err)
					}
					if s := n.sleep(); n.on() || s.Phase != Pausing || s.Who != Ours {
						t.Errorf("autoscaler on: %t; %s", n.on(), s)
					}
				})
			})
		}
	}
}

// A pause that is killed before a node has gone is taken back by the next one that
// fails: nothing of the cluster has gone.
func TestAPauseThatHasRemovedNothingIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t)
		n.before = refusing("delete-node", 0)
		err := n.pause(t.Context(), options())
		n.before = nil
		if err == nil || !n.on() || n.sleep().Asleep() {
			t.Errorf("autoscaler on: %t; %s; %v", n.on(), n.sleep(), err)
		}
	})
}

// The node that a cluster sleeps on is not given up because it is not ready when the
// cluster is woken: nothing else runs.
func TestANodeThatIsNotReadyIsSleptOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t)
		if err := n.pause(t.Context(), options()); err != nil {
			t.Fatal(err)
		}
		nodes := n.names()
		u := n.server.Get(cluster.Ref{Kind: "Node", Name: "made-3"})
		if err := unstructured.SetNestedSlice(u.Object, []any{map[string]any{"type": "Ready", "status": "Unknown"}}, "status", "conditions"); err != nil {
			t.Fatal(err)
		}
		n.server.Put(u)
		if err := n.resume(t.Context(), ResumeOptions{Run: "r", By: "me"}); err != nil {
			t.Fatal(err)
		}
		if !n.on() || n.names() != nodes {
			t.Errorf("autoscaler on: %t; nodes: %s", n.on(), n.names())
		}
	})
}

// Whatever phase the API names, a node that Cast AI was just asked for may still join.
func TestNodesInFlightOfEveryPhase(t *testing.T) {
	for _, phase := range []string{"pending", "creating", "unknown", "not_ready", "ready", "cordoned", "", "provisioning"} {
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

// What would refuse a pause beforehand is no refusal once nodes have gone: "nothing
// was changed" would be false.
func TestNoRefusalOnceNodesHaveGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t)
		n.order("late", aLateNode)
		time.AfterFunc(60*time.Second, func() {
			n.join("late", aLateNode)
			owner := ", ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: rs, uid: u, controller: true}]"
			n.put(t, strings.Replace(aPod("shop/naked", "late", "x", "{name: c, image: i}", true), owner, "", 1))
		})
		err := n.pause(t.Context(), options())
		if _, refusal := errors.AsType[*Refusal](err); refusal || err == nil {
			t.Errorf("a refusal: %t, %v", refusal, err)
		}
		if _, left := errors.AsType[*LeftError](err); !left || !strings.Contains(n.names(), "late") || n.on() {
			t.Errorf("left: %t, nodes %s, autoscaler on: %t, %v", left, n.names(), n.on(), err)
		}
	})
}

// warned is an API that calls the cluster something else once nodes go: its agents
// restart then.
type warned struct {
	*night
	status func() string
}

func (w *warned) Cluster(ctx context.Context, id string) (castai.Cluster, error) {
	c, err := w.night.Cluster(ctx, id)
	c.Status = w.status()
	return c, err
}

func TestAWarningWhileNodesGoEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t)
		status := "ready"
		n.before = func(r string) error {
			if strings.HasPrefix(r, "delete-node") {
				status = "warning"
			}
			return nil
		}
		r := n.runner()
		r.API = &warned{n, func() string { return status }}
		s, err := r.Observe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p, err := PlanPause(s, options())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Pause(t.Context(), p, options()); err != nil || n.sleep().Phase != Paused {
			t.Errorf("%s: %v", n.sleep(), err)
		}
		status = "warning"
		s, err = r.Observe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.Record.Journal = nil
		s.Console.Policies = castai.Policies(policiesOn)
		if _, err := PlanPause(s, options()); err == nil {
			t.Error("a pause begins beside a warning")
		}
	})
}

// Essential workloads that tolerate the node already, or that are rolled by hand, are
// moved to it by an eviction: no change of their template would.
func TestWhatToleratesEverythingIsMoved(t *testing.T) {
	for name, workload := range map[string]string{
		"tolerates": aWorkload("Deployment", "kube-system/operator", "containers: [{name: c, image: i}], tolerations: [{operator: Exists}]", 1),
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

// The CronJobs that a killed run has suspended are seen in a real snapshot, and let run
// again by whatever comes next.
func TestSuspendedCronJobsRunAgain(t *testing.T) {
	killed := strings.Replace(aCronJob("hibernate-resume", vendorImage, actionResume, "0 7 * * 1-5", "suspend: true,"), "metadata: {",
		`metadata: {annotations: {castai.kubectl.dev/hibernate: '{"run":"r0","suspended":true}'}, `, 1)
	suspended := func(t *testing.T, n *night) bool {
		t.Helper()
		s, err := n.runner().Observe(t.Context())
		if err != nil || len(s.CronJobs) != 1 {
			t.Fatal(s, err)
		}
		return s.CronJobs[0].Suspended
	}
	for name, run := range map[string]func(*testing.T, *night) error{
		"a pause of a paused cluster":  func(t *testing.T, n *night) error { return n.pause(t.Context(), options()) },
		"a resume of a paused cluster": func(t *testing.T, n *night) error { return n.resume(t.Context(), ResumeOptions{Run: "r", By: "me"}) },
		"a resume of one that is awake": func(t *testing.T, n *night) error {
			return errors.Join(n.resume(t.Context(), ResumeOptions{Run: "r", By: "me"}), func() error {
				n.put(t, killed)
				return n.resume(t.Context(), ResumeOptions{Run: "r2", By: "me"})
			}())
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := evening(t)
				if err := n.pause(t.Context(), options()); err != nil {
					t.Fatal(err)
				}
				n.put(t, killed)
				if err := run(t, n); err != nil {
					t.Fatal(err)
				}
				if suspended(t, n) {
					t.Error("it is suspended still")
				}
			})
		})
	}
}

// An annotation that somebody else writes into a workload of theirs stops no pause.
func TestAMarkOfAStrangerStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t, "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
			strings.Replace(aWorkload("Deployment", "shop/web", "containers: [{name: c, image: i}]", 1), "metadata: {name: web",
				"metadata: {annotations: {castai.kubectl.dev/hibernate: 'x'}, name: web", 1))
		for range 2 {
			if err := n.pause(t.Context(), options()); err != nil {
				t.Fatal(err)
			}
			if err := n.resume(t.Context(), ResumeOptions{Run: "r", By: "me"}); err != nil || n.sleep().Asleep() {
				t.Fatal(n.sleep(), err)
			}
			n.order("again", aLateNode)
			n.join("again", aLateNode)
		}
	})
}

// What somebody has cordoned since is theirs.
func TestACordonOfSomebodyElseStays(t *testing.T) {
	j := &Journal{Run: "r", Remove: []string{"b"}}
	node := func(manager string) *cluster.Object {
		return &cluster.Object{Resource: nodesResource(), Name: "b", Body: map[string]any{
			"metadata": map[string]any{
				"annotations": map[string]any{MarkAnnotation: `{"run":"r","cordoned":true}`},
				"managedFields": []any{map[string]any{"manager": manager, "fieldsV1": map[string]any{
					"f:spec": map[string]any{"f:unschedulable": map[string]any{}}}}},
			},
			"spec": map[string]any{"unschedulable": true},
		}}
	}
	for manager, uncordons := range map[string]bool{cluster.FieldManager: true, "kubectl-cordon": false} {
		patch, err := wake(j)(node(manager))
		if _, changes := patch["spec"]; err != nil || changes != uncordons {
			t.Errorf("%s: %v, %v", manager, patch, err)
		}
	}
}

// A resume that could not take everything back keeps no later pause from beginning.
func TestAPauseAfterAResumeThatIsNotDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t)
		if err := n.pause(t.Context(), options()); err != nil {
			t.Fatal(err)
		}
		stop := n.server.Before(func(r *clustertest.Request) clustertest.Fault {
			if r.Verb == "patch" && r.Resource == "deployments" {
				return clustertest.Fault{Err: apierrors.NewForbidden(schema.GroupResource{Resource: r.Resource}, r.Name, errors.New("denied by a policy"))}
			}
			return clustertest.Fault{}
		})
		if err := n.resume(t.Context(), ResumeOptions{Run: "r", By: "me"}); err == nil || n.sleep().Phase != Resuming {
			t.Fatal(n.sleep(), err)
		}
		stop()
		n.order("day", aLateNode)
		n.join("day", aLateNode)
		if err := n.pause(t.Context(), options()); err != nil || n.on() || n.sleep().Phase != Paused {
			t.Fatalf("%s: %v", n.sleep(), err)
		}
		if err := n.resume(t.Context(), ResumeOptions{Run: "r", By: "me"}); err != nil || !n.on() || len(n.left()) > 0 {
			t.Errorf("on: %t, left: %v, %v", n.on(), n.left(), err)
		}
	})
}

// The node slept on may go, too: the next pause has another one, and wakes nobody.
func TestTheNodeSleptOnIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t, aNode("od", "type=m5a.large"))
		if err := n.pause(t.Context(), options()); err != nil || n.names() != "od" {
			t.Fatal(n.names(), err)
		}
		n.mu.Lock()
		for i := range n.nodes {
			if n.nodes[i].Name == "od" {
				n.nodes[i].State.Phase = "deleted"
			}
		}
		n.mu.Unlock()
		n.server.Drop(cluster.Ref{Kind: "Node", Name: "od"})
		n.order("late", aLateNode)
		n.join("late", aLateNode)
		if err := n.pause(t.Context(), options()); err != nil || n.on() || !strings.HasPrefix(n.names(), "made-") {
			t.Errorf("autoscaler on: %t; nodes: %s; %v", n.on(), n.names(), err)
		}
	})
}

// What a pause is to keep, a pause that goes on with it keeps, too.
func TestGoingOnKeepsWhatWasToBeKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t, aNode("k", removalDisabled+"=true"))
		o := options()
		o.ProtectRemovalDisabled = true
		n.before = refusing("delete-node", 2)
		if err := n.pause(t.Context(), o); err == nil {
			t.Fatal("no node is left")
		}
		n.before = nil
		if err := n.pause(t.Context(), options()); err != nil || !strings.Contains(n.names(), "k") {
			t.Errorf("nodes: %s, %v", n.names(), err)
		}
	})
}

// Cast AI's job turns all policies off and on, and knows no other.
func TestThePolicyForUnscheduledPodsBesideCastAIsJob(t *testing.T) {
	unscheduled := options()
	unscheduled.Switch = SwitchUnschedulable
	synctest.Test(t, func(t *testing.T) { // it pauses on top of ours
		n := evening(t)
		n.policies = castai.Policies(`{"enabled": true, "unschedulablePods": {"enabled": true}}`)
		if err := n.pause(t.Context(), unscheduled); err != nil {
			t.Fatal(err)
		}
		n.act(t, "theirs pause")
		if err := n.resume(t.Context(), ResumeOptions{Run: "r", By: "me"}); err != nil {
			t.Fatal(err)
		}
		if makes, err := makesNodes(n.policies); err != nil || !makes {
			t.Errorf("policies: %s, %v", n.policies, err)
		}
	})
	synctest.Test(t, func(t *testing.T) { // its CronJobs are there
		n := evening(t, aCronJob("hibernate-resume", vendorImage, actionResume, "0 7 * * 1-5", "timeZone: Etc/UTC,"))
		n.policies = castai.Policies(`{"enabled": true, "unschedulablePods": {"enabled": true}}`)
		err := n.pause(t.Context(), unscheduled)
		if _, refusal := errors.AsType[*Refusal](err); !refusal || !strings.Contains(err.Error(), "does not know the one for unscheduled pods") {
			t.Errorf("got %v", err)
		}
		accepted := unscheduled
		accepted.Accept = []string{OnePolicy}
		if err := n.pause(t.Context(), accepted); err != nil {
			t.Error(err)
		}
	})
}

// resume --start-autoscaler turns on all that makes nodes.
func TestStartTurnsOnWhatMakesNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t)
		n.policies = castai.Policies(`{"enabled": true, "unschedulablePods": {"enabled": false}}`)
		if err := n.resume(t.Context(), ResumeOptions{Run: "r", By: "me", Start: true}); err != nil {
			t.Fatal(err)
		}
		if makes, err := makesNodes(n.policies); err != nil || !makes {
			t.Errorf("policies: %s, %v", n.policies, err)
		}
	})
}

// A Job of Cast AI's that hangs, or that resumes as well, keeps nobody from waking the
// cluster.
func TestAJobThatHangsKeepsNobodyFromResuming(t *testing.T) {
	for name, test := range map[string]struct {
		action string
		age    time.Duration
		refuse bool
	}{
		"it resumes":            {actionResume, time.Minute, false},
		"it resumes, and hangs": {actionResume, 10 * time.Hour, false},
		"it pauses":             {actionPause, time.Minute, true},
		"it pauses, and hangs":  {actionPause, 10 * time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := evening(t)
				n.act(t, "theirs pause")
				n.put(t, aJob("hibernate-1", vendorImage, test.action))
				time.Sleep(test.age)
				err := n.resume(t.Context(), ResumeOptions{Run: "r", By: "me"})
				if test.refuse {
					if err == nil || !strings.Contains(err.Error(), "kubectl delete job -n castai-agent hibernate-1") {
						t.Errorf("got %v", err)
					}
					return
				}
				if err != nil || !n.on() {
					t.Errorf("autoscaler on: %t, %v", n.on(), err)
				}
			})
		})
	}
}

// Without the record, the marks of a pause still tell that there was one.
func TestMarksTellOfAPauseWhoseRecordIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t)
		if err := n.pause(t.Context(), options()); err != nil {
			t.Fatal(err)
		}
		n.server.Drop(cluster.Ref{Kind: "ConfigMap", Namespace: Namespace, Name: StateName})
		if says := n.sleep().String(); !strings.Contains(says, "resume --repair") || strings.Contains(says, "never paused") {
			t.Errorf("status says %q", says)
		}
	})
}
