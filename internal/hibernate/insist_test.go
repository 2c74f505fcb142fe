package hibernate

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/castai/kubectl-castai/internal/castai"
)

// A resume that nobody watches waits for whoever is at it, and goes on trying what
// passes; what does not pass ends it.
func TestAResumeInsists(t *testing.T) {
	for name, tc := range map[string]struct {
		err   error // of the first three tries
		tries int
		want  bool // that it works
	}{
		"it works":          {nil, 1, true},
		"another run":       {&Busy{Refusal{"somebody"}}, 4, true},
		"the API is away":   {&castai.Error{Status: http.StatusServiceUnavailable}, 4, true},
		"a step has failed": {errors.New("refused by a webhook"), 4, true},
		"refused":           {refuse("another cluster"), 1, false},
		"a dead key":        {&castai.Error{Status: http.StatusUnauthorized}, 1, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			r := &Runner{Tell: func(string) {}}
			err := r.Insist(t.Context(), func(context.Context) error {
				if tries++; tries > 3 {
					return nil
				}
				return tc.err
			})
			if tries != tc.tries || (err == nil) != tc.want {
				t.Errorf("%s: %d tries, %v", name, tries, err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Minute)
		defer cancel()
		began, busy := time.Now(), &Busy{Refusal{"somebody"}}
		err := (&Runner{Tell: func(string) {}}).Insist(ctx, func(context.Context) error { return busy })
		if !errors.Is(err, busy) || time.Since(began) != 50*time.Minute {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}

// The night's pause takes long: the resume comes while it holds the Lease.
func TestAResumeWaitsForThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t)
		_, release, err := n.runner().Hold(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(20*time.Minute, release)
		err = n.runner().Insist(t.Context(), func(ctx context.Context) error {
			return n.resume(ctx,
				ResumeOptions{Run: "r", By: "me"})
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestNobodyIsWaitedForThatMakesNoNodes(t *testing.T) {
	off := castai.Policies(`{"enabled": false, "unschedulablePods": {"enabled": true}}`)
	for name, tc := range map[string]struct {
		plan Resume
		off  bool
		want bool
	}{
		"it is turned on":    {Resume{Policies: &Policies{Enabled: true}}, true, true},
		"it stays off":       {Resume{}, true, false},
		"it was off, and is": {Resume{Policies: &Policies{}}, true, false},
		"it is on all along": {Resume{}, false, true},
	} {
		s := situation(t, aNode("a"), func(s *State) {
			if tc.off {
				s.Console.Policies = off
			}
		})
		if got := tc.plan.Awaited(s); got != tc.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// A resume that could not be started for hours is better than none until tomorrow.
func TestAResumeStartsLate(t *testing.T) {
	for action, least := range map[string]int64{actionPause: 0, actionResume: 2 * 60 * 60} {
		spec, _ := Configuration{Image: DefaultImage}.cronJob(Namespace, "x", action).content["spec"].(map[string]any)
		if deadline, _ := spec["startingDeadlineSeconds"].(int64); deadline < least || deadline == 0 {
			t.Errorf("%s may start within %d s", action, deadline)
		}
	}
}

// An answer in part is not put back in the place of the whole.
func TestPoliciesInPartStay(t *testing.T) {
	for _, answer := range []string{"{}", `{"enabled": false}`, `{"enabled": false, "other": 1}`} {
		for _, name := range []string{SwitchAll, SwitchUnschedulable} {
			if p, err := withSwitch(castai.Policies(answer), name, true); err == nil {
				t.Errorf("%s becomes %s", answer, p)
			}
		}
	}
}

// Nor is one that lacks what the pause has recorded: it is asked for again, and the
// cluster stays asleep rather than to lose its policies.
func TestPoliciesInPartAreAskedForAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		answers int
		wakes   bool
	}{"once": {2, true}, "always": {1000, false}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := evening(t)
				if err := n.pause(t.Context(), options()); err != nil {
					t.Fatal(err)
				}
				n.partly = tc.answers
				err := n.resume(t.Context(), ResumeOptions{Run: "r", By: "me"})
				if (err == nil) != tc.wakes || err != nil && !strings.Contains(err.Error(), "without these policies") {
					t.Errorf("the error is %v", err)
				}
				n.partly = 0
				if n.on() != tc.wakes || !strings.Contains(string(n.policies), "1e3") ||
					!strings.Contains(string(n.policies), "other") {
					t.Errorf("the policies are %s", n.policies)
				}
			})
		})
	}
}

// What is absent because it has its zero value, and the switch, are no such policies.
func TestLackingPolicies(t *testing.T) {
	const was = `{"enabled": true, "isScopedMode": false, "nodeDownscaler": {"enabled": true}, "unschedulablePods": {}}`
	for is, missing := range map[string]bool{
		"{}": true, `{"enabled": false}`: true, `{"nodeDownscaler": {"enabled": false}, "more": 1}`: false, "[]": true,
	} {
		if lacks, err := lacking(castai.Policies(is), castai.Policies(was)); (err != nil || lacks != "") != missing {
			t.Errorf("%s: %q, %v", is, lacks, err)
		}
		if lacks, err := lacking(castai.Policies(is), nil); err != nil || lacks != "" {
			t.Errorf("%s, without a record: %q, %v", is, lacks, err)
		}
	}
}

// What runs through every pause needs no further node, and what is not there neither.
func TestKeepable(t *testing.T) {
	s := situation(t, aNode("a"), func(s *State) { s.Namespaces = []string{"kube-system", Namespace, "monitoring"} })
	keep, missing := s.Keepable([]string{"kube-system", Namespace, "castai-pod-node-lifecycle", "monitoring", "opa",
		"istio"})
	if names(keep, func(s string) string { return s }) != "monitoring" ||
		names(missing, func(s string) string { return s }) != "opa, istio" {
		t.Errorf("%v, %v", keep, missing)
	}
}

// One value that can't be read hides neither the pair nor the others.
func TestAPairWithAProblem(t *testing.T) {
	bad := aCronJob("hibernate-pause-a", DefaultImage,
		"pause}, {name: PROTECT_REMOVAL_DISABLED, value: \"yes\"}, {name: HIBERNATE_NODE_LABELS, value: \"team:a\"", "0 22 * * *", "")
	in := anInstallation(t, slots()+bad)
	p := in.Pair("a")
	if p == nil || len(p.Problems) != 2 || p.Configuration.Pause != "0 22 * * *" || len(in.Pairs) != 4 {
		t.Fatalf("%+v", p)
	}
	none := func(string) bool { return false }
	if problem := p.Problem(none); problem == "" || in.Pair("").Problem(none) != "" {
		t.Errorf("%q", problem)
	}
	if problem := p.Problem(func(flag string) bool { return flag != "hibernate-node-labels" }); problem == "" {
		t.Error("the labels would be lost")
	}
	if problem := p.Problem(func(string) bool { return true }); problem != "" {
		t.Errorf("corrected, and still %q", problem)
	}
}

// The controller manager's zone is not known: UTC would be a guess.
func TestNoNextTimesWithoutAZone(t *testing.T) {
	in := anInstallation(t, aCronJob(PauseCronJob, DefaultImage, "pause", "0 22 * * *", "")+
		aCronJob(ResumeCronJob, DefaultImage, "resume", "0 7 * * *", ""))
	if times, err := in.Pair("").NextTimes(time.Now()); err == nil {
		t.Errorf("%+v", times)
	}
}

// A mirror under another name that reads the key by its name.
func TestAMirrorOfTheJobIsFound(t *testing.T) {
	key := "resume}, {name: API_KEY, valueFrom: {secretKeyRef: {name: castai-hibernate, key: API_KEY}}"
	s := situation(t, aNode("a")+aCronJob("x", "registry.example.com/mirror/night:v0.14", key, "0 7 * * *", "")+
		aJob("x-1", "registry.example.com/mirror/night:v0.14", key))
	if len(s.CronJobs) != 1 || s.CronJobs[0].Action != actionResume || s.runningOther() == nil {
		t.Errorf("%+v, %+v", s.CronJobs, s.Running)
	}
}
