package printer

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/internal/backup"
	"github.com/castai/kubectl-castai/internal/console"
	"github.com/castai/kubectl-castai/internal/hibernate"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// shown returns what a text is, without colours.
func shown(t *testing.T, show func(*Text)) string {
	t.Helper()
	var out bytes.Buffer
	text := NewText(NewTerminal(&out, ColorNever))
	show(text)
	if err := text.Err(); err != nil {
		t.Error(err)
	}
	return out.String()
}

// same compares texts line by line.
func same(t *testing.T, got, want string) {
	t.Helper()
	want = strings.TrimPrefix(want, "\n")
	if got == want {
		return
	}
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(a), len(b)) {
		a, b := strings.Join(a[min(i, len(a)):min(i+1, len(a))], ""), strings.Join(b[min(i, len(b)):min(i+1, len(b))], "")
		if a != b {
			t.Errorf("line %d is %q, not %q", i+1, a, b)
		}
	}
}

var (
	prod = cluster.Server{Context: "prod", ClusterName: "prod", Host: "https://api.prod", Version: "v1.33.1"}
	then = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
)

func target(kind, namespace, name string) cluster.Target {
	return cluster.Target{Ref: ref(kind, namespace, name)}
}

// A restore shows what comes back, what that grants, and everything that does not.
func TestRestorePlan(t *testing.T) {
	one := &backup.Backup{Dir: "saved", Index: &backup.Index{Time: then, Objects: make([]backup.Entry, 3)}}
	r := &backup.Restoration{
		Plan: &engine.Plan{Phases: []engine.Phase{{Name: "apply", Title: "Put back what is in namespaces",
			Actions: []engine.Action{{Verb: engine.Apply, Target: target("ConfigMap", "castai-agent", "settings")}}}}},
		There:      2,
		Impossible: []backup.Leftover{{Object: ref("Secret", "castai-agent", "key"), Why: "its data was not saved"}},
		Held: []backup.Leftover{{Object: ref("Pod", "a", "x"), Why: "its namespace is Terminating"},
			{Object: ref("Pod", "a", "y"), Why: "its namespace is Terminating"}},
		Conflicts: []backup.Conflict{
			{Object: ref("ConfigMap", "a", "mine"), Fields: []backup.Field{{Path: "data.x", Backup: "1", Cluster: nil}}},
			{Object: ref("Secret", "a", "s"), Overwritten: true, Fields: []backup.Field{{Path: "data.k", Backup: "geheim",
				Cluster: "x", Secret: true}}},
		},
		Grants: []backup.Grant{{Object: ref("ClusterRoleBinding", "", "all"), Text: "everything, to everybody", Wide: true},
			{Object: ref("Role", "a", "few"), Text: "get pods"}},
	}
	got := shown(t, func(text *Text) { text.RestorePlan(prod, []*backup.Backup{one}, r) })
	if strings.Contains(got, "geheim") {
		t.Errorf("it shows what is in a Secret: %s", got)
	}
	same(t, got, `
Cluster  prod, https://api.prod, Kubernetes v1.33.1
Backup   saved, of 2026-01-02T15:04:05Z, with 3 objects

This grants again:
  ClusterRoleBinding/all: everything, to everybody
  Role/a/few: get pods

Made anew since, and different: this is overwritten
  Secret/a/s
    - data.k: (secret)
    + data.k: (secret)

Made anew since, and different: this stays as it is, unless --overwrite is given
  ConfigMap/a/mine
    - data.x: (none)
    + data.x: "1"

1. Put back what is in namespaces: 1 object
   apply   ConfigMap castai-agent/settings

There already, as it was: 2 objects

Can't come back:
  its data was not saved:
    Secret/castai-agent/key

Left as it is:
  its namespace is Terminating:
    Pod/a/x, Pod/a/y

Not in any backup: what controllers make for these objects (they make it again), and the console of Cast AI `+
		"(the cluster shows up there again once its agent has connected).\n")

	nothing := &backup.Restoration{Plan: &engine.Plan{}}
	same(t, shown(t, func(text *Text) { text.RestorePlan(prod, []*backup.Backup{one}, nothing) }), `
Cluster  prod, https://api.prod, Kubernetes v1.33.1
Backup   saved, of 2026-01-02T15:04:05Z, with 3 objects
`)
	doc := NewRestore(prod, []*backup.Backup{one, one}, r, &engine.Report{}, errors.New("interrupted"))
	if len(doc.Earlier) != 1 || doc.Backup.Folder != "saved" || doc.Report.Outcomes == nil || doc.Error != "interrupted" ||
		doc.Differences == nil {
		t.Errorf("%+v", doc)
	}
}

// What a restore did is counted, and nothing of it is left out.
func TestRestored(t *testing.T) {
	n := 0
	outcome := func(verb engine.Verb, result engine.Result) engine.Outcome {
		n++
		return engine.Outcome{Verb: verb, Result: result, Object: ref("ConfigMap", "a", fmt.Sprint(n))}
	}
	report := &engine.Report{Phases: []engine.PhaseTime{{Elapsed: 1500 * time.Millisecond}, {Elapsed: time.Second}}}
	report.Outcomes = []engine.Outcome{outcome(engine.Apply, engine.ResultDone), outcome(engine.Create, engine.ResultDone),
		outcome(engine.Patch, engine.ResultDone), outcome(engine.Apply, engine.ResultFailed),
		outcome(engine.Apply, engine.ResultSkipped)}
	same(t, shown(t, func(text *Text) { text.Restored(prod, report, 2) }),
		"\n\n2 objects put back, 1 as before, 1 failed, 1 not started, 2 left as they are, in prod, in 2.5 s\n")
	report.DryRun = true
	same(t, shown(t, func(text *Text) { text.Restored(prod, report, 0) }),
		"\n\nThe server would accept 3 of the writes and refuse 1. Nothing was changed.\n")
}

func TestBackups(t *testing.T) {
	folder := func(name string, ended bool) backup.Folder {
		return backup.Folder{Remembered: backup.Remembered{Folder: name, Time: then, Objects: 7, Task: "offboard"}, Ended: ended}
	}
	list := NewBackups(prod, []backup.Folder{folder("a", false), folder("b", true)})
	same(t, shown(t, func(text *Text) { text.Backups(prod, list, "kubectl castai") }), `
TIME                  OF        OBJECTS  RUN          FOLDER
2026-01-02T15:04:05Z  offboard  7        interrupted  a
2026-01-02T15:04:05Z  offboard  7        ended        b

To put back what is in them: kubectl castai restore FOLDER...
`)
	same(t, shown(t, func(text *Text) { text.Backups(prod, NewBackups(prod, nil), "kubectl castai") }),
		"\nNo backup of prod was made here. Name the folder of one: kubectl castai restore DIR\n")
	same(t, shown(t, func(text *Text) {
		text.Continued("kubectl castai", []backup.Folder{folder("a", false), folder("b", true)})
		text.Saved("b", 1, "No Secret is in it.", "kubectl castai")
		text.NothingChanged("1 object would be put back")
	}), `
An earlier run was interrupted: what it removed is in a.
To put everything back: kubectl castai restore a b
Backup: 1 object in b. No Secret is in it.
To put them back: kubectl castai restore b

1 object would be put back. Nothing was changed.
`)
}

// A ClusterRole has one rule for each set of verbs of a group, and can be applied.
func TestClusterRole(t *testing.T) {
	var out bytes.Buffer
	err := ClusterRole(&out, "castai-offboard", []cluster.Right{
		{Resource: "pods", Verb: "list"}, {Resource: "pods", Verb: "delete"}, {Resource: "secrets", Verb: "list"},
		{Resource: "pods", Verb: "list", Namespace: "shop"}, {Resource: "secrets", Verb: "delete"},
		{Group: "apps", Resource: "deployments", Subresource: "scale", Verb: "patch"},
		{Resource: "nodes", Verb: "list"},
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, out.String(), `
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: castai-offboard
rules:
- apiGroups:
  - ""
  resources:
  - pods
  - secrets
  verbs:
  - list
  - delete
- apiGroups:
  - apps
  resources:
  - deployments/scale
  verbs:
  - patch
- apiGroups:
  - ""
  resources:
  - nodes
  verbs:
  - list
`)
}

func TestConsole(t *testing.T) {
	on := true
	recently := time.Now().Add(-time.Minute)
	view := &console.View{API: "https://api.cast.ai", ID: "id", Name: "prod", Status: "ready", AgentStatus: "online",
		ManagedBy: "console", ReadOnly: true, Policies: &on, Nodes: 3, MadeNodes: 2, LastSnapshot: &recently}
	same(t, shown(t, func(text *Text) { text.Console(view) }), `

At Cast AI's console:
  cluster     prod (id) at https://api.cast.ai
  status      ready, read-only, agent online
  snapshot    1m0s ago
  managed by  console
  policies    on
  nodes       3, 2 of them made by Cast AI
`)
	same(t, shown(t, func(text *Text) { text.Console(&console.View{Problem: "the API answers 403"}) }), `

At Cast AI's console:
  cluster  ? (id unknown) at the API
  unknown  the API answers 403
`)
}

// A run as it happens: what is out of the ordinary has a line, and many are counted.
func TestProgress(t *testing.T) {
	phase := &engine.Phase{Name: "p", Title: "Remove roles", Actions: make([]engine.Action, 2)}
	for i := range phase.Actions {
		phase.Actions[i] = engine.Action{Verb: engine.Delete, Target: target("Role", "a", fmt.Sprint("r", i))}
	}
	role := target("Role", "a", "r0")
	for name, test := range map[string]struct {
		dry    bool
		events []engine.Event
		want   string
	}{
		"all goes well": {false, []engine.Event{{Type: engine.PhaseStarted, Total: 2},
			{Type: engine.Requested, Target: role, Total: 2}, {Type: engine.Done, Target: role, Done: 1, Total: 2},
			{Type: engine.PhaseEnded, Done: 2, Total: 2}}, `
Remove roles (2 objects)
  done in 4.5 s
`},
		"what is out of the ordinary": {false, []engine.Event{{Type: engine.PhaseStarted, Total: 2},
			{Type: engine.Stripped, Target: role, Message: "a/b", Total: 2},
			{Type: engine.Failed, Target: role, Message: "forbidden", Total: 2},
			{Type: engine.Kept, Target: role, Message: "it was made anew", Total: 2},
			{Type: engine.Left, Target: role, Message: "it is being deleted", Total: 2},
			{Type: engine.Failed, Verb: engine.Call, Operation: "disconnect", Message: "403", Total: 2},
			{Type: engine.Waiting, Verb: engine.Call, Operation: "disconnect", Message: "status deleting", Total: 2},
			{Type: engine.Left, Verb: engine.Call, Operation: "disconnect", Message: "status deleting", Total: 2},
			{Type: engine.PhaseEnded, Done: 1, Total: 2}}, `
Remove roles (2 objects)
  Role/a/r0: removed the finalizers a/b
  Role/a/r0: forbidden
  Role/a/r0 stays: it was made anew
  Role/a/r0 is still there: it is being deleted
  disconnect failed: 403
  disconnect: status deleting
  disconnect did not finish: status deleting
  1 of 2 steps done in 12.0 s
`},
		"a look first": {true, []engine.Event{{Type: engine.PhaseStarted}, {Type: engine.StepStarted, Message: "Look again"},
			{Type: engine.PhaseEnded}}, `
Remove roles
  Look again
  done in 3.0 s
`},
		"a dry run": {true, []engine.Event{{Type: engine.PhaseStarted, Total: 2}, {Type: engine.PhaseEnded, Done: 2, Total: 2}},
			`
Remove roles (2 objects)
  accepted in 1.5 s
`},
		"many": {false, []engine.Event{{Type: engine.PhaseStarted, Total: 100},
			{Type: engine.Stripped, Message: "a/b", Total: 100}, {Type: engine.Done, Done: 50, Total: 100},
			{Type: engine.Done, Done: 51, Total: 100}, {Type: engine.Stripped, Message: "a/b", Total: 100},
			{Type: engine.PhaseEnded, Done: 100, Total: 100}}, `
Remove roles (2 objects)
  50 of 100 objects
  finalizers removed from 2 of 100 objects
  removed the finalizers a/b from 2 objects
  done in 7.5 s
`},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			p := NewProgress(&out, test.dry)
			for i, e := range test.events {
				e.Phase, e.Time = phase, then.Add(time.Duration(i)*1500*time.Millisecond)
				p.Event(e)
			}
			same(t, out.String(), test.want)
		})
	}
	var out bytes.Buffer
	quiet := NewTerminal(&out, ColorNever)
	quiet.Quiet = true
	NewProgress(quiet, false).Event(engine.Event{Type: engine.PhaseStarted, Phase: phase, Total: 2})
	if out.Len() > 0 {
		t.Errorf("quiet: %s", out.String())
	}
}

// What is drawn on a terminal says how far it is, and what it waits for longest.
func TestLive(t *testing.T) {
	var out bytes.Buffer
	p := &Progress{text: NewText(&out)}
	p.live = &live{terminal: NewTerminal(&out, ColorNever)}
	p.text.w = &p.live.lines
	p.live.terminal.live.Store(p.live)
	phase := &engine.Phase{Title: "Remove roles", Timeout: 10 * time.Minute, Actions: make([]engine.Action, 4)}
	at := func(after time.Duration, e engine.Event) {
		e.Phase, e.Time, e.Total = phase, then.Add(after), 4
		p.Event(e)
	}
	at(0, engine.Event{Type: engine.PhaseStarted})
	looks := func(after time.Duration) string {
		p.live.mu.Lock()
		defer p.live.mu.Unlock()
		return p.live.count(then.Add(after), 80) + "\n" + p.live.work(then.Add(after))
	}
	same(t, looks(time.Second), "  [....................] 0 of 4, 1 s (limit 10 min)\n  looking")
	at(time.Second, engine.Event{Type: engine.Requested, Target: target("Role", "a", "one")})
	at(2*time.Second, engine.Event{Type: engine.Waiting, Target: target("Role", "a", "one"), Message: "its finalizer \x1b[31m"})
	at(2*time.Second, engine.Event{Type: engine.Requested, Verb: engine.Call, Operation: "disconnect"})
	same(t, looks(2*time.Second), "  [....................] 0 of 4, 2 s (limit 10 min)\n  disconnect")
	same(t, looks(65*time.Second), "  [....................] 0 of 4, 1 min 5 s (limit 10 min)\n"+
		`  waiting for Role/a/one and 1 more: its finalizer \x1b[31m`)
	at(66*time.Second, engine.Event{Type: engine.Done, Target: target("Role", "a", "one"), Done: 2})
	same(t, looks(66*time.Second), "  [##########..........] 2 of 4, 1 min 6 s (limit 10 min)\n  waiting for disconnect")
	if _, err := fmt.Fprintln(p.live.terminal, "from elsewhere"); err != nil {
		t.Error(err)
	}
	at(67*time.Second, engine.Event{Type: engine.PhaseEnded, Done: 4})
	same(t, out.String(), "Remove roles (4 objects)\nfrom elsewhere\n  done in 1 min 7 s\n")
}

// The schedules of an organization, and those of a cluster.
func TestSchedules(t *testing.T) {
	nights := hibernate.Schedule{Pause: "0 22 * * *", Resume: "0 7 * * *", TimeZone: "Europe/Vilnius"}
	forecast, err := nights.Forecast(then)
	if err != nil {
		t.Fatal(err)
	}
	all := []ManagedSchedule{{ID: "h1", Name: "nights", Enabled: true, Assigned: true, Clusters: 2, Schedule: nights,
		Forecast: forecast}, {ID: "h2", Name: "never", Schedule: nights}}
	same(t, shown(t, func(text *Text) { text.Schedules(all) }), `
NAME    ID  THIS CLUSTER  CLUSTERS  PAUSES      RESUMES    ZONE            IS
nights  h1  yes           2         0 22 * * *  0 7 * * *  Europe/Vilnius  asleep 38 % of the week, `+
		`longest stretch 9 h (Fri 22:00 to Sat 07:00)
never   h2  no            0         0 22 * * *  0 7 * * *  Europe/Vilnius  not enabled
`)
	same(t, shown(t, func(text *Text) { text.Schedules(nil) }), "The organization has no hibernation schedules\n")
	managed := &Managed{Status: "ready", Schedules: all, Untolerated: []cluster.Ref{ref("Deployment", "castai-agent", "agent")},
		Way: hibernate.Way{Managed: true, Why: []string{"it fits"}}}
	got := shown(t, func(text *Text) { text.managed(managed) })
	for _, want := range []string{"nights: 0 22 * * *", "Lack a toleration", "Deployment/castai-agent/agent"} {
		if !strings.Contains(got, want) || strings.Contains(got, "never: ") {
			t.Errorf("no %q in %s", want, got)
		}
	}
	managed.Schedules = all[1:]
	if got := shown(t, func(text *Text) { text.managed(managed) }); !strings.Contains(got, "none is for this cluster") {
		t.Error(got)
	}
}

// What a cluster is at: each fact on a line of its own, and nothing that is not known.
func TestHibernationText(t *testing.T) {
	off := false
	doc := &Hibernation{
		Metadata: NewMetadata(prod), Phase: hibernate.Paused, Whose: hibernate.Ours, State: "asleep", Autoscaler: &off,
		Journal: &hibernate.Journal{Error: "no node came", Node: &hibernate.SleepNode{InstanceType: "m5a.large"}},
		Pairs: []HibernateInstallation{
			{Namespace: "castai-agent", Configuration: hibernate.Configuration{Schedule: hibernate.Schedule{Pause: "0 22 * * *",
				Resume: "0 7 * * *"}, Image: "castai/hibernate:v0.14"}, Release: "pauser", Suspended: hibernate.Suspended{Pause: true},
				Problem: "its settings are in a Secret", Runs: []hibernate.Run{{Name: "old", Result: "failed", Started: then}}},
			{Name: "lunch", Runs: []hibernate.Run{{Name: "new", Result: "succeeded", Started: then.Add(time.Hour)}}},
		},
		Leftovers: []Leftover{{Object: ref("Node", "", "a"), Why: "cordoned"}},
	}
	got := shown(t, func(text *Text) { text.Hibernation(doc) })
	for _, want := range []string{"asleep", "no node came", "being made (m5a.large)", "(suspended)", "the controller manager's zone",
		"Helm, release pauser", "its settings are in a Secret", "lunch", "never: there is no CronJob for it", "Node/a",
		"(without a name)"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
	if strings.Index(got, "new") > strings.Index(got, "old") {
		t.Errorf("the newest run is not first: %s", got)
	}
	if got := shown(t, func(text *Text) { text.Hibernation(&Hibernation{}) }); !strings.Contains(got, "not installed") {
		t.Error(got)
	}
}
