package hibernate

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/pkg/cluster"
)

// The CronJobs that a killed run has suspended are seen in a real snapshot, and let run
// again by whatever comes next.
func TestSuspendedCronJobsRunAgain(t *testing.T) {
	killed := strings.Replace(aCronJob("hibernate-resume", vendorImage, actionResume, "0 7 * * 1-5", "suspend: true,"),
		"metadata: {",
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
		"a pause of a paused cluster": func(t *testing.T, n *night) error { return n.pause(t.Context(), options()) },
		"a resume of a paused cluster": func(t *testing.T,
			n *night) error {
			return n.resume(t.Context(), ResumeOptions{Run: "r", By: "me"})
		},
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
		if _, refusal := errors.AsType[*Refusal](err); !refusal ||
			!strings.Contains(err.Error(), "does not know the one for unscheduled pods") {
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
