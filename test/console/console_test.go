// Package console tests the part of an offboarding that is done at Cast AI's
// console, against the fake of its API: every step, and every fault at every
// request.
package console

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/internal/console"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/test/fakecastai"
)

const (
	id    = "2f1e4c1a-6b0d-4d55-9a6e-3f0c6d5b7a10"
	other = "7d0c6f3e-5a3b-4c55-8d6e-1f0c6d5b7a99"
	key   = "castai-test-key-0123456789"
)

// world is a fake with two clusters, and a client of it.
type world struct {
	t      *testing.T
	fake   *fakecastai.Server
	client *castai.Client
	dir    string
}

func newWorld(t *testing.T, change func(*fakecastai.Cluster)) *world {
	t.Helper()
	fake := fakecastai.New(fakecastai.Options{Key: key, Delay: time.Millisecond, Slow: 5 * time.Second, PageSize: 2})
	mine := fakecastai.Sample(id, "prod",
		fakecastai.SampleNode("node-1", "aws:///eu-central-1a/i-1", "user"), fakecastai.SampleNode("cast-1",
			"aws:///eu-central-1a/i-2", "cast"),
		fakecastai.SampleNode("cast-2", "aws:///eu-central-1b/i-3", "cast"))
	if change != nil {
		change(&mine)
	}
	fake.AddCluster(mine)
	fake.AddCluster(fakecastai.Sample(other, "other", fakecastai.SampleNode("x", "aws:///eu-central-1a/i-9", "cast")))
	fake.AddSchedule(castai.HibernationSchedule{
		Id: "s-1", OrganizationId: fakecastai.Organization, Name: "nights", Enabled: true,
		ClusterAssignments: castai.ClusterAssignments{Items: []castai.ClusterAssignment{{ClusterId: other}, {ClusterId: id}}},
	})
	server := httptest.NewServer(fake.Handler())
	t.Cleanup(server.Close)
	k, err := castai.FindKey("-", strings.NewReader(key), nil)
	if err != nil {
		t.Fatal(err)
	}
	client, err := castai.New(castai.Options{URL: server.URL, Key: k, UserAgent: "test", Timeout: 100 * time.Millisecond,
		Backoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return &world{t, fake, client, t.TempDir()}
}

// live is the cluster of the kubeconfig.
var live = console.Live{KubeSystemUID: "uid", Nodes: []console.LiveNode{{Name: "node-1",
	ProviderID: "aws:///eu-central-1a/i-1"}}}

func (w *world) options() console.Options {
	return console.Options{
		DeleteNodes: true, RemoveCluster: true, CleanupScript: filepath.Join(w.dir,
			"cleanup.sh"), Timeout: 10 * time.Second, Poll: time.Millisecond, Controller: true,
		// The API knows the UID of kube-system only of clusters that are "anywhere".
		Named: true, Accepted: true,
	}
}

// ended is how a run ended.
type ended struct {
	observed bool // false: it ended before there was a plan
	blockers []string
	report   *engine.Report
	err      error
}

// done tells whether everything that was planned was done.
func (e ended) done() bool {
	return e.observed && e.err == nil && len(e.blockers) == 0 && e.report.Count(engine.ResultFailed)+
		e.report.Count(engine.ResultLeft)+e.report.Count(engine.ResultSkipped) == 0
}

// run does what offboard does at the console, in its order. between is called
// where the objects in the cluster are removed.
func (w *world) run(ctx context.Context, o console.Options, between func()) ended {
	w.t.Helper()
	state, err := console.Observe(ctx, w.client, id)
	if err != nil {
		return ended{err: err}
	}
	d, err := console.Judge(state, live, o)
	if err != nil {
		return ended{err: err}
	}
	var blockers []string
	for _, b := range d.Blockers {
		blockers = append(blockers, b.Name)
	}
	if len(blockers) > 0 {
		return ended{observed: true, blockers: blockers}
	}
	report, err := engine.Run(ctx, nil, &engine.Plan{Phases: d.Phases(w.client)}, engine.Options{})
	out := ended{observed: true, report: report, err: err}
	if err != nil || !out.done() {
		return out
	}
	between()
	if last := d.RemovePhase(w.client); last != nil {
		removed, err := engine.Run(ctx, nil, &engine.Plan{Phases: []engine.Phase{*last}}, engine.Options{})
		report.Outcomes, out.err = append(report.Outcomes, removed.Outcomes...), err
	}
	return out
}

// safe fails the test if anything was done that must never be done.
func (w *world) safe(context string) {
	w.t.Helper()
	if o := w.fake.Cluster(other); o.Status != "ready" || string(o.Policies) != fakecastai.SamplePolicies ||
		o.Nodes[0].State.Phase != "ready" {
		w.t.Errorf("%s: the other cluster was touched: %+v", context, o)
	}
	if items := w.fake.Schedules()[0].ClusterAssignments.Items; !slices.Contains(items,
		castai.ClusterAssignment{ClusterId: other}) {
		w.t.Errorf("%s: the other cluster left the schedule", context)
	}
	if n := w.fake.Cluster(id).Nodes[0]; n.State.Phase != "ready" {
		w.t.Errorf("%s: a node of the user is %s", context, n.State.Phase)
	}
	var policiesOff, disconnected bool
	for _, r := range w.fake.Requests() {
		switch {
		case !r.Key:
			w.t.Errorf("%s: %s %s came without a key", context, r.Method, r.Path)
		case strings.Contains(r.Path, "/actions") || strings.Contains(r.Path, "lifecycle-actions"):
			w.t.Errorf("%s: %s takes work from the controllers", context, r.Path)
		case r.Method == "GET":
		case strings.Contains(r.Path, other):
			w.t.Errorf("%s: %s %s", context, r.Method, r.Path)
		case strings.HasSuffix(r.Path, "/policies"):
			policiesOff = true
			if want := strings.Replace(fakecastai.SamplePolicies, "true", "false", 1); r.Body != want {
				w.t.Errorf("%s: the policies were changed to %s", context, r.Body)
			}
		case strings.HasSuffix(r.Path, "/disconnect"):
			disconnected = true
			if r.Body != `{"deleteProvisionedNodes":true,"keepKubernetesResources":true}` {
				w.t.Errorf("%s: disconnected with %s", context, r.Body)
			}
			if !policiesOff && w.fake.Cluster(id).Policies != nil {
				w.t.Errorf("%s: disconnected with the policies on", context)
			}
		case r.Method == "DELETE" && !strings.Contains(r.Path, "/nodes/"):
			if !disconnected {
				w.t.Errorf("%s: removed without having been disconnected", context)
			}
		case r.Method == "DELETE", r.Method == "POST":
			w.t.Errorf("%s: %s %s", context, r.Method, r.Path)
		}
	}
}

// finished fails the test unless the console has nothing left of the cluster.
func (w *world) finished(context string) {
	w.t.Helper()
	c := w.fake.Cluster(id)
	if c.Status != "archived" {
		w.t.Errorf("%s: the cluster is %s", context, c.Status)
	}
	for _, n := range c.Nodes[1:] {
		if n.State.Phase != "deleted" {
			w.t.Errorf("%s: node %s is %s", context, n.Name, n.State.Phase)
		}
	}
	if items := w.fake.Schedules()[0].ClusterAssignments.Items; len(items) != 1 {
		w.t.Errorf("%s: the schedule has %v", context, items)
	}
	path := filepath.Join(w.dir, "cleanup.sh")
	script, err := os.ReadFile(path)
	if err != nil || string(script) != c.Script {
		w.t.Errorf("%s: the script is %q, %v", context, script, err)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm() != 0o600 {
		w.t.Errorf("%s: the script may be read by others: %s", context, info.Mode())
	}
}

func TestEverythingInOrder(t *testing.T) {
	w := newWorld(t, nil)
	between := false
	e := w.run(t.Context(), w.options(), func() {
		between = true
		if c := w.fake.Cluster(id); c.Status != "deleted" || c.AgentStatus != "disconnected" {
			t.Errorf("the cluster is %s and the agent %s when objects are removed", c.Status, c.AgentStatus)
		}
	})
	if !e.done() || !between {
		t.Fatalf("%+v", e)
	}
	w.safe("")
	w.finished("")
	var got []string
	for _, write := range w.fake.Writes() {
		method, path, _ := strings.Cut(write, " ")
		got = append(got, method+" "+path[strings.LastIndex(path, "/")+1:])
	}
	if want := []string{"PATCH s-1", "PUT policies", "POST disconnect", "DELETE " + id}; !slices.Equal(got, want) {
		t.Errorf("wrote %q, want %q", got, want)
	}
	// And again: nothing is done twice.
	before := len(w.fake.Writes())
	if e := w.run(t.Context(), w.options(), func() {}); !e.done() || len(w.fake.Writes()) != before {
		t.Errorf("the second run did %q: %+v", w.fake.Writes()[before:], e)
	}
}

func TestPolicyConflictsAreRetried(t *testing.T) {
	w := newWorld(t, func(c *fakecastai.Cluster) { c.Conflicts = 3 })
	if e := w.run(t.Context(), w.options(), func() {}); !e.done() {
		t.Fatalf("%+v", e)
	}
	w.finished("")
}

// A service that wants to be left alone for longer than a request waits is left
// alone.
func TestBusyForLong(t *testing.T) {
	w := newWorld(t, nil)
	var seen []time.Time
	w.fake.OnRequest(func(_ int, r fakecastai.Request) {
		if r.Method == "PUT" {
			seen = append(seen, time.Now())
		}
	})
	w.fake.Inject(fakecastai.Fault{Kind: fakecastai.BusyForLong, Method: "PUT"})
	o := w.options()
	o.Timeout = 2 * time.Second
	e := w.run(t.Context(), o, func() { t.Error("the policies count as off") })
	if !errors.Is(e.err, engine.ErrGate) || len(seen) != 1 {
		t.Errorf("asked %d times: %+v", len(seen), e)
	}
}

// The service may take its time to show what it was asked for.
func TestDisconnectedOnce(t *testing.T) {
	w := newWorld(t, func(c *fakecastai.Cluster) { c.Lags = true })
	w.fake.SetDelay(100 * time.Millisecond)
	if e := w.run(t.Context(), w.options(), func() {}); !e.done() {
		t.Fatalf("%+v", e)
	}
	n := 0
	for _, write := range w.fake.Writes() {
		if strings.HasSuffix(write, "/disconnect") {
			n++
		}
	}
	if n != 1 {
		t.Errorf("disconnected %d times", n)
	}
	w.finished("")
}

// What the disconnection leaves is said, and the cluster stays in the console.
func TestNodesThatSurvive(t *testing.T) {
	for name, change := range map[string]func(*fakecastai.Cluster){
		"one is kept":               func(c *fakecastai.Cluster) { c.Keeps = []string{"cast-2"} },
		"the credentials were lost": func(c *fakecastai.Cluster) { c.LosesCredentials = true },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, change)
			e := w.run(t.Context(), w.options(), func() { t.Error("everything seems to be well") })
			i := slices.IndexFunc(e.report.Outcomes, func(o engine.Outcome) bool { return o.Operation == console.CheckNodes })
			if o := e.report.Outcomes[i]; o.Result != engine.ResultFailed ||
				!strings.Contains(o.Message, "cast-2 (aws:///eu-central-1b/i-3)") {
				t.Errorf("%+v", o)
			}
			w.safe(name)
		})
	}
}

func TestTheEndOfTime(t *testing.T) {
	w := newWorld(t, func(c *fakecastai.Cluster) { c.Stuck = true })
	o := w.options()
	o.Timeout = 300 * time.Millisecond
	e := w.run(t.Context(), o, func() { t.Error("the cluster counts as disconnected") })
	if !errors.Is(e.err, engine.ErrGate) || e.report.Count(engine.ResultLeft) != 1 {
		t.Errorf("%+v", e)
	}
	i := slices.IndexFunc(e.report.Outcomes, func(o engine.Outcome) bool { return o.Result == engine.ResultLeft })
	if !strings.Contains(e.report.Outcomes[i].Message, "status deleting, agent disconnecting") {
		t.Errorf("%+v", e.report.Outcomes[i])
	}
}

// A cluster without credentials that the service takes for connected is disconnected
// once, and then removed.
func TestAClusterWithoutCredentialsIsDisconnectedFirst(t *testing.T) {
	w := newWorld(t, func(c *fakecastai.Cluster) {
		c.CredentialsId, c.Lingers, c.Policies = "", true, nil
	})
	o := w.options()
	o.DeleteNodes, o.CleanupScript = false, ""
	if e := w.run(t.Context(), o, func() {}); !e.done() {
		t.Fatalf("%+v", e)
	}
	writes := strings.Join(w.fake.Writes(), "\n")
	if w.fake.Cluster(id).Status != "archived" || strings.Count(writes, "/disconnect") != 1 {
		t.Errorf("it is %s after\n%s", w.fake.Cluster(id).Status, writes)
	}
}

// A cluster that nobody finds any more was removed, if the key can be trusted.
func TestARemovedClusterThatIsForgotten(t *testing.T) {
	w := newWorld(t, nil)
	if e := w.run(t.Context(), w.options(), func() {}); !e.done() {
		t.Fatalf("%+v", e)
	}
	w.fake.Update(id, func(c *fakecastai.Cluster) { c.Forgotten = true })
	if e := w.run(t.Context(), w.options(), func() {}); !slices.Equal(e.blockers, []string{console.BlockerGone}) {
		t.Errorf("%+v", e)
	}
}

func TestTheScriptOverwritesNothing(t *testing.T) {
	w := newWorld(t, nil)
	o := w.options()
	err := os.WriteFile(o.CleanupScript, []byte("precious"), 0o644) //nolint:gosec // as a user's files are
	if err != nil {
		t.Fatal(err)
	}
	e := w.run(t.Context(), o, func() { t.Error("everything seems to be well") })
	if content, err := os.ReadFile(o.CleanupScript); err != nil || string(content) != "precious" {
		t.Errorf("the file holds %q, %v", content, err)
	}
	if e.report.Count(engine.ResultFailed) != 1 {
		t.Errorf("%+v", e)
	}
}

// sample tells whether a case is tried: all of them with CASTAI_CHAOS=all.
func sample(n int) bool { return os.Getenv("CASTAI_CHAOS") == "all" || n%13 == 0 }

// length is how many requests a run without faults makes.
func length(t *testing.T) int {
	t.Helper()
	w := newWorld(t, nil)
	if e := w.run(t.Context(), w.options(), func() {}); !e.done() {
		t.Fatalf("%+v", e)
	}
	return len(w.fake.Requests())
}

// With any fault at any request a run either does everything or says what it did
// not do, nothing forbidden is done, and the next run finishes.
func TestFaultsAnywhere(t *testing.T) {
	n, last := 0, length(t)
	for _, kind := range fakecastai.Kinds() {
		for at := 1; at <= last; at++ {
			for _, times := range []int{1, 0} {
				// A service that always asks for a second is as one that is always busy, and takes hours.
				if n++; !sample(n) || kind == fakecastai.BusyFor && times == 0 {
					continue
				}
				name := fmt.Sprintf("%s at request %d, %d times", kind, at, times)
				w := newWorld(t, nil)
				fault := fakecastai.Fault{Kind: kind, At: at}
				if times == 0 {
					fault = fakecastai.Fault{Kind: kind, From: at}
				}
				w.fake.Inject(fault)
				e := w.run(t.Context(), w.options(), func() {
					if c := w.fake.Cluster(id); c.Status != "deleted" {
						t.Errorf("%s: the cluster is %s when objects are removed", name, c.Status)
					}
				})
				if e.done() {
					w.finished(name)
				}
				w.fake.Heal()
				if e = w.run(t.Context(), w.options(), func() {}); !e.done() {
					t.Errorf("%s: the next run ended with %+v", name, e)
				}
				w.finished(name)
				w.safe(name)
			}
		}
	}
	t.Logf("%d cases", n)
}

// A run that is interrupted at any request is finished by the next one.
func TestInterruptsAnywhere(t *testing.T) {
	for at, last := 1, length(t); at <= last; at++ {
		w := newWorld(t, nil)
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("interrupted")
		w.fake.OnRequest(func(n int, _ fakecastai.Request) {
			if n == at {
				cancel(stop)
			}
		})
		e := w.run(ctx, w.options(), func() {})
		if !errors.Is(e.err, stop) && !e.done() {
			t.Errorf("interrupted at request %d: %+v", at, e)
		}
		if e = w.run(t.Context(), w.options(), func() {}); !e.done() {
			t.Errorf("interrupted at request %d, the next run ended with %+v", at, e)
		}
		w.finished(fmt.Sprint("interrupted at ", at))
		w.safe(fmt.Sprint("interrupted at ", at))
	}
}
