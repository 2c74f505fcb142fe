package hibernate

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/castai/kubectl-castai/internal/castai"
)

// The answer to the order of a node is lost. One that is listed soon is the hibernation
// node; of one that may come later, nobody says that it was taken back.
func TestTheOrderOfANodeHasNoAnswer(t *testing.T) {
	for name, tc := range map[string]struct {
		silent time.Duration
		paused bool
		nodes  string // after the pause, and a while
		after  string // after resume --repair
	}{
		"listed at once":          {time.Millisecond, true, "made-3", "made-3"},
		"listed after 5 s":        {5 * time.Second, true, "made-3", "made-3"},
		"listed in the roll-back": {45 * time.Second, false, "a b c", "a b c"},
		"listed after it":         {5 * time.Minute, false, "a b c made-3", "a b c"},
		"never made":              {-1, false, "a b c", "a b c"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := evening(t)
				n.silent = tc.silent
				err := n.pause(t.Context(), options())
				if (err == nil) != tc.paused {
					t.Fatal(err)
				}
				claims := err != nil && strings.Contains(err.Error(), "everything was taken back")
				if known := tc.silent > 0 && tc.silent < time.Minute; err != nil && (claims != known ||
					!claims && !strings.Contains(err.Error(), "resume --repair gives it up")) {
					t.Errorf("the error is %v", err)
				}
				time.Sleep(10 * time.Minute)
				if n.on() == tc.paused || n.names() != tc.nodes {
					t.Errorf("the autoscaler is on: %t, with the nodes %s", n.on(), n.names())
				}
				if err := n.resume(t.Context(), ResumeOptions{Run: "r2", By: "me", Repair: true}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				if left := n.left(); len(left) > 0 || !n.on() || n.names() != tc.after {
					t.Errorf("left: %v, with the nodes %s", left, n.names())
				}
			})
		})
	}
}

// A node that a pause had made is given up only while nothing but what is on all nodes
// can be there.
func TestANodeThatIsUsedIsNotGivenUp(t *testing.T) {
	const taint = "spec=taints: [{key: " + PausedKey + ", value: 'true', effect: NoSchedule}]"
	made := func(extra ...string) string {
		return aNode("made", append([]string{runLabel + "=r0", "type=m5a.large"}, extra...)...)
	}
	web := aPod("shop/web", "made", "web", "{name: c, image: i}", true)
	for name, tc := range map[string]struct {
		node, pods string
		given      bool
	}{
		"tainted":               {made(taint), "", true},
		"with a daemon":         {made(taint), strings.ReplaceAll(web, "ReplicaSet", "DaemonSet"), true},
		"with a pod":            {made(taint), web, false},
		"without the taint":     {made(), "", false},
		"another's of its name": {aNode("made", taint, "foreign"), "", false},
	} {
		s := situation(t, aNode("a")+tc.node+tc.pods, func(s *State) {
			s.Record.Journal = &Journal{Run: "r0", Phase: Awake, Policies: &Policies{Switch: SwitchAll, Enabled: true},
				Node: &SleepNode{Made: true, InstanceType: "m5a.large"}}
			for i := range s.Console.Nodes {
				if n := &s.Console.Nodes[i]; n.Name == "made" && n.AddedBy == castAI {
					n.Labels, n.InstanceType = map[string]string{runLabel: "r0"}, "m5a.large"
				}
			}
			s.match()
		})
		for _, repair := range []bool{true, false} {
			r, err := PlanResume(s, ResumeOptions{Run: "r9", By: "me", Repair: repair})
			if err != nil || (r.Unmade != "") != (tc.given && repair) {
				t.Errorf("%s, repair %t: gives up %q (%v)", name, repair, r.Unmade, err)
			}
		}
	}
}

// What was refused was not made, and nobody waits for it.
func TestOnlyALostAnswerLeavesADoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t)
		began := time.Now()
		n.before = func(request string) error {
			if request == "add-node" {
				return &castai.Error{Operation: "add a node", Status: 400}
			}
			return nil
		}
		err := n.pause(t.Context(), options())
		if err == nil || !strings.Contains(err.Error(), "everything was taken back") || time.Since(began) > 10*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}
