package console

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/internal/castai/castaitest"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// desk is a cluster at the console, and what is told of the work on it.
type desk struct {
	*castaitest.Server
	t    *testing.T
	api  *castai.Client
	told []string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	s := castaitest.Serve()
	s.Nodes = []castai.Node{
		{Id: "n1", Name: "a", ProviderId: "aws:///eu-central-1a/i-1", AddedBy: castAI, State: castai.NodeState{Phase: "ready"}},
		{Id: "n2", Name: "mine", AddedBy: "user", State: castai.NodeState{Phase: "ready"}},
		{Id: "n3", Name: "old", AddedBy: castAI, State: castai.NodeState{Phase: nodeDeleted}},
	}
	s.Cluster.Anywhere.KubeSystemNamespaceId = "uid-1"
	return &desk{Server: s, t: t, api: client(t, s, castaitest.Key)}
}

func client(t *testing.T, s *castaitest.Server, secret string) *castai.Client {
	t.Helper()
	key, err := castai.FindKey("-", strings.NewReader(secret), nil)
	if err != nil {
		t.Fatal(err)
	}
	api, err := castai.New(castai.Options{URL: castaitest.URL, Key: key, UserAgent: "test",
		Backoff: time.Millisecond, Transport: s})
	if err != nil {
		t.Fatal(err)
	}
	return api
}

func (d *desk) observe() *State {
	d.t.Helper()
	s, err := Observe(d.t.Context(), d.api, id)
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

// everything at the console, each wait a millisecond.
func everything(script string) Options {
	return Options{DeleteNodes: true, RemoveCluster: true, CleanupScript: script, Timeout: 10 * time.Second,
		Poll: time.Millisecond, Controller: true}
}

// decide judges a fresh look.
func (d *desk) decide(o Options) *Decision {
	d.t.Helper()
	decision, err := Judge(d.observe(), live(), o)
	if err != nil {
		d.t.Fatal(err)
	}
	return decision
}

// do carries one step out, and returns its error.
func (d *desk) do(decision *Decision, operation string) error {
	d.t.Helper()
	return d.doWithin(d.t.Context(), decision, operation)
}

func (d *desk) doWithin(ctx context.Context, decision *Decision, operation string) error {
	d.t.Helper()
	list := decision.Phases(d.api)
	if last := decision.RemovePhase(d.api); last != nil {
		list = append(list, *last)
	}
	for _, p := range list {
		for _, a := range p.Actions {
			if a.Operation == operation {
				d.told = nil
				return a.Do(ctx, func(m string) { d.told = append(d.told, m) })
			}
		}
	}
	d.t.Fatalf("the decision has no step %s", operation)
	return nil
}

// wrote tells whether a request was sent that begins with method, and holds all parts.
func (d *desk) wrote(method string, parts ...string) bool {
	return slices.ContainsFunc(d.Writes(), func(w string) bool {
		return strings.HasPrefix(w, method+" ") &&
			!slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(w, p) })
	})
}

// The whole way, as the engine goes it.
func TestEverythingAtTheConsole(t *testing.T) {
	d := newDesk(t)
	d.Schedules = []castai.HibernationSchedule{{Id: "h", Name: "nights", OrganizationId: castaitest.Organization,
		ClusterAssignments: castai.ClusterAssignments{Items: []castai.ClusterAssignment{{ClusterId: "other"}, {ClusterId: id}}}}}
	script := filepath.Join(t.TempDir(), "cleanup.sh")
	decision := d.decide(everything(script))
	plan := &engine.Plan{Phases: decision.Phases(d.api)}
	if report, err := engine.Run(t.Context(), nil, plan, engine.Options{}); err != nil ||
		report.Count(engine.ResultFailed) > 0 {
		t.Fatalf("%v, %+v", err, report.Outcomes)
	}
	if got := d.Schedules[0].ClusterAssignments.Items; len(got) != 1 || got[0].ClusterId != "other" {
		t.Errorf("the schedule is for %v", got)
	}
	if want := strings.Replace(castaitest.Policies, "true", "false", 1); string(d.Policies) != want {
		t.Errorf("the policies are %s, not %s", d.Policies, want)
	}
	if !d.wrote("POST", "/disconnect", `"deleteProvisionedNodes":true`, `"keepKubernetesResources":true`) {
		t.Errorf("it asks %v", d.Writes())
	}
	if raw, err := os.ReadFile(script); err != nil || string(raw) != d.Script {
		t.Errorf("the script is %s: %v", raw, err)
	}
	if info, err := os.Stat(script); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("everybody may read the script: %v, %v", info.Mode(), err)
	}
	if d.Nodes[0].State.Phase != nodeDeleted || d.Nodes[1].State.Phase != "ready" || d.wrote("DELETE") {
		t.Errorf("nodes %+v, requests %v", d.Nodes, d.Writes())
	}
	if err := d.do(decision, RemoveCluster); err != nil || d.Cluster.Status != archived {
		t.Errorf("%v: the cluster is %s", err, d.Cluster.Status)
	}
	// All of it again, which changes nothing.
	writes := len(d.Writes())
	for _, operation := range []string{LeaveSchedules, PoliciesOff, Disconnect, CheckNodes, CleanupScript, RemoveCluster} {
		if err := d.do(decision, operation); err != nil {
			t.Errorf("%s again: %v", operation, err)
		}
	}
	if w := d.Writes(); len(w) > writes {
		t.Errorf("it is done twice: %v", w[writes:])
	}
}

// What a look finds, and what it makes of a service that does not have something.
func TestObserve(t *testing.T) {
	d := newDesk(t)
	d.Plans = []castai.RebalancingPlan{{RebalancingPlanId: "p", Status: "draining_nodes"}, {Status: "finished"}}
	d.Schedules = []castai.HibernationSchedule{{Id: "other"}, {Id: "h", ClusterAssignments: castai.ClusterAssignments{
		Items: []castai.ClusterAssignment{{ClusterId: id}}}}}
	s := d.observe()
	if len(s.Nodes) != 2 || len(s.Made()) != 1 || len(s.Rebalancing) != 1 || len(s.Schedules) != 1 ||
		s.Schedules[0].Id != "h" || s.Gone || len(s.Unknown) > 0 || string(s.Policies) != castaitest.Policies {
		t.Errorf("%+v", s)
	}
	answers := func(part string, code int) func() {
		return func() {
			d.Before = func(w http.ResponseWriter, _, path string) bool {
				if strings.HasSuffix(path, part) {
					castaitest.Fail(w, code, "no")
				}
				return strings.HasSuffix(path, part)
			}
		}
	}
	for _, test := range []struct {
		name   string
		change func()
		holds  func(*State) bool
		err    string
	}{
		{"no policies", answers("/policies", 404), func(s *State) bool { return s.Policies == nil }, ""},
		{"policies that nobody may read", answers("/policies", 403), nil, "lacks the permission"},
		{"plans that nobody may read", answers("/rebalancing-plans", 403), nil, "lacks the permission"},
		{"schedules that nobody may read", answers("/hibernation-schedules", 403),
			func(s *State) bool { return len(s.Unknown) == 1 && len(s.Schedules) == 0 }, ""},
		{"a key that died", answers("/hibernation-schedules", 401), nil, "not known there"},
		{"nodes that nobody may read", answers("/nodes", 403), nil, "lacks the permission"},
		{"no organization", func() { d.Before, d.Cluster.OrganizationId = nil, "" },
			func(s *State) bool { return len(s.Unknown) == 1 }, ""},
		{"read-only", func() { d.Cluster.CredentialsId = "" },
			func(s *State) bool { return s.Policies == nil && ReadOnly(s.Cluster) }, ""},
		{"another cluster's answer", func() { d.Cluster.Id = "other" }, nil, "is probably not the API"},
		{"a cluster that only the list has", func() {
			d.Cluster.Id = id
			answers("/"+id, 404)()
		}, nil, "answers 404"},
		{"gone", func() { d.Before, d.Gone = nil, true }, func(s *State) bool { return s.Gone && len(s.Nodes) == 0 }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			d.Update(test.change)
			s, err := Observe(t.Context(), d.api, id)
			if test.err == "" && (err != nil || !test.holds(s)) || test.err != "" && (err == nil ||
				!strings.Contains(err.Error(), test.err)) {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
	if _, err := Observe(t.Context(), client(t, d.Server, "another-key"), id); !castai.IsStatus(err, 401) {
		t.Errorf("with another key: %v", err)
	}
}

// Somebody else acts between two looks: nothing is disconnected over that.
func TestDisconnectStopsForOthers(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*desk)
		says   string
	}{
		{"the policies are on again", func(d *desk) { d.Policies = castai.Policies(castaitest.Policies) }, "turned the policies on"},
		{"nodes are being rebalanced", func(d *desk) {
			d.Plans = []castai.RebalancingPlan{{RebalancingPlanId: "p", Status: "creating_nodes"}}
		}, "plan p has begun"},
		{"it has failed", func(d *desk) { d.Cluster.Status, d.Cluster.ReconcileError = failed, "no credentials" },
			"no credentials"},
		{"it hibernates", func(d *desk) { d.Cluster.Status = hibernating }, "while it is hibernating"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDesk(t)
			decision := d.decide(everything("script"))
			if err := d.do(decision, PoliciesOff); err != nil {
				t.Fatal(err)
			}
			d.Update(func() { test.change(d) })
			before := d.Cluster.Status
			if err := d.do(decision, Disconnect); err == nil || !strings.Contains(err.Error(), test.says) ||
				d.Cluster.Status != before {
				t.Errorf("%v: the cluster is %s", err, d.Cluster.Status)
			}
		})
	}
}

// A disconnection that is undone, and one that does not end, are not taken for done.
func TestDisconnectThatDoesNotEnd(t *testing.T) {
	d := newDesk(t)
	decision := d.decide(everything("script"))
	d.Before = func(w http.ResponseWriter, method, path string) bool {
		if method == http.MethodPost && strings.HasSuffix(path, "/disconnect") {
			d.Cluster.Status = deleting
			w.WriteHeader(http.StatusOK)
			return true
		}
		return false
	}
	d.Policies = nil
	decision.policiesOff = false
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	seen := 0
	err := d.doUntil(ctx, decision, Disconnect, func(string) {
		if seen++; seen == 2 {
			d.Update(func() { d.Cluster.Status = ready })
		}
	})
	if err == nil || !strings.Contains(err.Error(), "ready again") {
		t.Errorf("somebody connects it again: %v", err)
	}
	d.Update(func() { d.Cluster.Status = ready })
	err = d.doUntil(ctx, decision, Disconnect, func(m string) {
		if strings.Contains(m, "1 of 1 nodes left") {
			cancel(enough)
		}
	})
	if !errors.Is(err, enough) {
		t.Errorf("it stays deleting: %v", err)
	}
}

// doUntil is do, with somebody who listens.
func (d *desk) doUntil(ctx context.Context, decision *Decision, operation string, tell func(string)) error {
	for _, p := range decision.Phases(d.api) {
		for _, a := range p.Actions {
			if a.Operation == operation {
				return a.Do(ctx, tell)
			}
		}
	}
	return errors.New("there is no such step")
}

// Nodes that the service gave up on are named: they cost money.
func TestNodesThatStay(t *testing.T) {
	d := newDesk(t)
	decision := d.decide(everything("script"))
	d.Keeps = true
	if err := d.do(decision, Disconnect); err != nil && !strings.Contains(err.Error(), "policies") {
		t.Fatal(err)
	}
	err := d.do(decision, CheckNodes)
	if err == nil || !strings.Contains(err.Error(), "a (aws:///eu-central-1a/i-1)") ||
		strings.Contains(err.Error(), "mine") || strings.Contains(err.Error(), "old") {
		t.Errorf("it says %v", err)
	}
	d.Update(func() {
		d.Cluster.Status = archived
		d.Before = func(w http.ResponseWriter, _, path string) bool {
			if strings.HasSuffix(path, "/nodes") {
				castaitest.Fail(w, http.StatusNotFound, "no list")
			}
			return strings.HasSuffix(path, "/nodes")
		}
	})
	if err := d.do(decision, CheckNodes); err == nil || !strings.Contains(err.Error(), "look in your cloud") {
		t.Errorf("without a list: %v", err)
	}
}

// Policies that somebody changes meanwhile are read again, and a conflict is no failure.
func TestPoliciesOffAgainstOthers(t *testing.T) {
	d := newDesk(t)
	decision := d.decide(everything("script"))
	conflicts := 2
	d.Before = func(w http.ResponseWriter, method, _ string) bool {
		if method != http.MethodPut || conflicts == 0 {
			return false
		}
		conflicts--
		d.Policies = castai.Policies(`{"enabled": true, "theirs": 7}`)
		castaitest.Fail(w, http.StatusConflict, "refetch the policies")
		return true
	}
	if err := d.do(decision, PoliciesOff); err != nil || string(d.Policies) != `{"enabled": false, "theirs": 7}` {
		t.Errorf("%v: %s", err, d.Policies)
	}
	if !slices.ContainsFunc(d.told, func(m string) bool { return strings.Contains(m, "somebody else") }) {
		t.Errorf("it tells %q", d.told)
	}
	d.Update(func() { d.Policies = castai.Policies(`{"enabled": "perhaps"}`) })
	if err := d.do(decision, PoliciesOff); err == nil || !strings.Contains(err.Error(), "can't be read") {
		t.Errorf("a switch that is no switch: %v", err)
	}
	d.Update(func() { d.Policies = castai.Policies(`{"moved": 1}`) })
	if err := d.do(decision, PoliciesOff); err != nil || string(d.Policies) != `{"enabled":false,"moved": 1}` {
		t.Errorf("without a switch: %v, %s", err, d.Policies)
	}
}

// A schedule that was deleted meanwhile does not have the cluster any more.
func TestScheduleThatIsGone(t *testing.T) {
	d := newDesk(t)
	d.Schedules = []castai.HibernationSchedule{{Id: "h", Name: "nights", OrganizationId: castaitest.Organization,
		ClusterAssignments: castai.ClusterAssignments{Items: []castai.ClusterAssignment{{ClusterId: id}}}}}
	decision := d.decide(everything("script"))
	if err := d.do(decision, LeaveSchedules); err != nil || len(d.Schedules[0].ClusterAssignments.Items) > 0 ||
		!d.wrote("PATCH", `"items":[]`) {
		t.Errorf("%v: %v, %v", err, d.Schedules, d.Writes())
	}
	d.Update(func() { d.Schedules = nil })
	if err := d.do(decision, LeaveSchedules); err != nil {
		t.Errorf("gone: %v", err)
	}
}

// A cluster that counts as connected is disconnected first, once.
func TestRemoveClusterThatLingers(t *testing.T) {
	d := newDesk(t)
	decision := d.decide(Options{RemoveCluster: true, Timeout: time.Second, Poll: time.Millisecond})
	if err := d.do(decision, RemoveCluster); err != nil || d.Cluster.Status != archived {
		t.Errorf("%v: it is %s", err, d.Cluster.Status)
	}
	asked := 0
	for _, w := range d.Writes() {
		if strings.Contains(w, "/disconnect") {
			asked++
		}
	}
	if asked != 1 || !d.wrote("POST", `"deleteProvisionedNodes":false`) {
		t.Errorf("asked %d times: %v", asked, d.Writes())
	}

	d = newDesk(t)
	decision = d.decide(Options{RemoveCluster: true, Timeout: time.Second, Poll: time.Millisecond})
	d.Update(func() { d.Cluster.Status = hibernated })
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, engine.ErrTimeout)
	defer cancel()
	err := d.doWithin(ctx, decision, RemoveCluster)
	if !errors.Is(err, engine.ErrTimeout) || len(d.told) == 0 || !strings.Contains(d.told[0], "hibernated") {
		t.Errorf("%v, %q", err, d.told)
	}
}

// A script that is empty, or would replace another file, is an error.
func TestCleanupScript(t *testing.T) {
	d := newDesk(t)
	dir := t.TempDir()
	mine := filepath.Join(dir, "mine.sh")
	if err := os.WriteFile(mine, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.do(d.decide(everything(mine)), CleanupScript); err == nil || !strings.Contains(err.Error(), "name another file") {
		t.Errorf("a file of somebody else's: %v", err)
	}
	if raw, err := os.ReadFile(mine); err != nil || string(raw) != "mine" {
		t.Errorf("it is now %s: %v", raw, err)
	}
	if err := d.do(d.decide(everything(filepath.Join(dir, "missing", "x"))), CleanupScript); err == nil {
		t.Error("there is no such folder")
	}
	d.Update(func() { d.Script = " \n" })
	if err := d.do(d.decide(everything(filepath.Join(dir, "new"))), CleanupScript); err == nil ||
		!strings.Contains(err.Error(), "empty") {
		t.Errorf("an empty script: %v", err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("left in the folder: %v, %v", files, err)
	}
}

// A service that is broken for a while is asked again; one that stays broken is not
// asked for ever, and what will not pass ends it at once.
func TestPatience(t *testing.T) {
	for _, test := range []struct {
		code, failures int
		ends           bool
	}{{503, 6, false}, {503, 1000, true}, {403, 1, true}} {
		d := newDesk(t)
		decision := d.decide(everything("script"))
		asked := 0
		d.Before = func(w http.ResponseWriter, _, path string) bool {
			if !strings.HasSuffix(path, "/policies") || asked >= test.failures {
				return false
			}
			asked++
			castaitest.Fail(w, test.code, "not now")
			return true
		}
		err := d.do(decision, PoliciesOff)
		if (err != nil) != test.ends || test.code == 403 && asked != 1 || asked > 30 {
			t.Errorf("%d: %v, after %d answers", test.code, err, asked)
		}
	}
}
