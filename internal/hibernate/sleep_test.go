package hibernate

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/pkg/cluster"
)

// aJob is the manifest of a Job that has not ended.
func aJob(name, image, action string, more ...string) string {
	return fmt.Sprintf("---\napiVersion: batch/v1\nkind: Job\nmetadata: {name: %s, namespace: castai-agent}\nspec: {%s template: {spec: {containers: [{name: c, image: %q, env: [{name: ACTION, value: %s}]}]}}}\n",
		name, strings.Join(more, ""), image, action)
}

func aCronJob(name, image, action, schedule, spec string) string {
	return fmt.Sprintf("---\napiVersion: batch/v1\nkind: CronJob\nmetadata: {name: %s, namespace: castai-agent}\nspec: {schedule: %q, %s jobTemplate: {spec: {template: {spec: {containers: [{name: c, image: %q, env: [{name: ACTION, value: %s}]}]}}}}}\n",
		name, schedule, spec, image, action)
}

const vendorImage = "castai/hibernate:v0.14"

// Whoever paused a cluster, by whatever it is seen: one truth about it.
func TestWhatAClusterIsAt(t *testing.T) {
	ran := time.Date(2026, 7, 1, 22, 0, 0, 0, time.UTC)
	paused := func() *Journal {
		return &Journal{Run: "r0", Phase: Paused, By: "them", Since: ran,
			Policies: &Policies{Switch: SwitchAll, Enabled: true}}
	}
	byJob := Record{Status: statusSuccess, Time: ran, Vendor: true}
	failed := Record{Status: "exception", Time: ran, Vendor: true}
	labelled := aNode("sleeper", PausedKey+"=true")
	cordoned := vendorNode("cordoned", "unschedulable: true", "f:unschedulable")
	made := func(at time.Time) func(*State) {
		return func(s *State) {
			for i := range s.Console.Nodes {
				if s.Console.Nodes[i].Name == "other" {
					s.Console.Nodes[i].CreatedAt = at
				}
			}
		}
	}
	for name, tc := range map[string]struct {
		manifests string
		record    Record
		on        bool
		unasked   bool
		change    func(*State)
		want      Phase
		who       Who
		text      string
	}{
		"never paused":     {manifests: aNode("a"), on: true, want: Awake, text: "never paused"},
		"off, by a person": {manifests: aNode("a"), want: Awake},
		"paused": {manifests: aNode("a"), record: Record{Journal: paused()}, want: Paused,
			who: Ours, text: "by them"},
		"paused, not asked": {manifests: aNode("a"), record: Record{Journal: paused()}, unasked: true,
			want: Paused, who: Ours},
		"paused, and woken by others": {manifests: aNode("a"), record: Record{Journal: paused()}, on: true,
			want: Woken, who: Ours, text: "turned the autoscaler on"},
		"by Cast AI's job": {manifests: labelled, record: byJob, want: Paused, who: CastAI,
			text: "Cast AI's job"},
		"by Cast AI's job, not asked": {manifests: labelled, record: byJob, unasked: true, want: Paused,
			who: CastAI, text: "without an API key"},
		"and resumed by it": {manifests: labelled, record: byJob, on: true, want: Awake},
		"resumed, and then off by a person": {manifests: labelled + aNode("other"), record: byJob,
			change: made(ran.Add(9 * time.Hour)), want: Awake},
		"a node that had been asked for before": {manifests: labelled + aNode("other"), record: byJob,
			change: made(ran.Add(-time.Minute)), want: Paused, who: CastAI},
		"the job failed, and it is off": {manifests: aNode("a"), record: failed, want: Awake},
		"the job was killed": {manifests: cordoned, want: Pausing, who: CastAI,
			text: "begun and not ended"},
		"the job was killed, and the taint is left": {manifests: aNode("a", "spec="+pausedNodeSpec), want: Pausing,
			who: CastAI},
		"the job was killed, and it is on": {manifests: cordoned, on: true, want: Awake},
		"it runs": {manifests: aNode("a") + aJob("hibernate-pause-1", vendorImage, "pause"),
			want: Pausing, who: CastAI, text: "Job hibernate-pause-1"},
		"from another registry": {manifests: aNode("a") +
			aJob("x", "registry.example.com/mirror/hibernate@sha256:0", "anything"), on: true, want: Pausing, who: CastAI},
		"it resumes": {manifests: aNode("a") + aJob("x", vendorImage, "resume"), record: byJob,
			want: Resuming, who: CastAI, text: "resuming it right now"},
		"it waits to be let run": {manifests: aNode("a") +
			aJob("x", vendorImage, "pause", "suspend: true,"), on: true, want: Awake},
		"a Job of this plugin": {manifests: aNode("a") + aJob("x", "ghcr.io/castai/kubectl-castai:v1",
			"pause"), on: true, want: Awake},
		"a Job of somebody else": {manifests: aNode("a") + aJob("x", "registry.example.com/bear/winter:1",
			"pause"), on: true, want: Awake},
	} {
		t.Run(name, func(t *testing.T) {
			s := situation(t, tc.manifests, func(s *State) {
				s.Record = tc.record
				s.Console.Policies = castai.Policies(fmt.Sprintf(`{"enabled": %t, "unschedulablePods": {"enabled": true}}`, tc.on))
				if tc.change != nil {
					tc.change(s)
				}
				if tc.unasked {
					s.Console = nil
				}
			})
			got := s.Sleep()
			if got.Phase != tc.want || tc.who != "" && got.Who != tc.who {
				t.Errorf("it is %s by %q, want %s by %q", got.Phase, got.Who, tc.want, tc.who)
			}
			if !strings.Contains(got.String(), tc.text) {
				t.Errorf("it says %q, without %q", got, tc.text)
			}
		})
	}
}

// What both tools write down tells which of them was the last.
func TestWhoWroteTheState(t *testing.T) {
	at := time.Date(2026, 7, 1, 22, 0, 0, 0, time.UTC)
	journal := &Journal{Run: "r1", Phase: Awake, Since: at}
	content, err := journal.content(Namespace, at)
	if err != nil {
		t.Fatal(err)
	}
	data, _ := content["data"].(map[string]any)
	for name, tc := range map[string]struct {
		change func()
		vendor bool
	}{
		"this plugin":   {change: func() {}},
		"Cast AI's job": {change: func() { data[keyTime] = "2026-07-02T22:00:00" }, vendor: true},
		"an older release": {change: func() {
			data[keyJournal], data[keyTime] = `{"phase":"awake","since":"2026-07-01T22:00:00Z"}`, "2026-07-01T22:00:03"
		}},
		"after an older release": {
			change: func() {
				data[keyJournal], data[keyTime] = `{"phase":"awake","since":"2026-07-01T22:00:00Z"}`, "2026-07-02T22:00:03"
			}, vendor: true,
		},
		"without a journal": {change: func() { delete(data, keyJournal) }, vendor: true},
		"as it is shipped":  {change: func() { data[keyTime] = "2022-01-01T00:00:00Z" }},
	} {
		t.Run(name, func(t *testing.T) {
			content, err = journal.content(Namespace, at)
			if err != nil {
				t.Fatal(err)
			}
			data, _ = content["data"].(map[string]any)
			tc.change()
			r, err := readRecord(&cluster.Object{Resource: &cluster.Resource{Kind: "ConfigMap"}, Body: content})
			if err != nil || r.Vendor != tc.vendor {
				t.Errorf("Cast AI's job wrote it: %t, want %t (%v)", r.Vendor, tc.vendor, err)
			}
		})
	}
}

// A pause by Cast AI's job is taken over: what was before it is known.
func TestAPauseOfCastAIsIsTakenOver(t *testing.T) {
	s := situation(t, aNode("sleeper", PausedKey+"=true", "type=m5a.large"), func(s *State) {
		s.Record = Record{Status: statusSuccess, Time: time.Now(), Vendor: true}
		s.Console.Policies = castai.Policies(`{"enabled": false, "unschedulablePods": {"enabled": true}}`)
	})
	o := options()
	o.Switch = SwitchUnschedulable
	p := plan(t, s, o)
	if j := p.Journal; p.Already != "" || !j.Adopted || !j.Policies.Enabled || j.Policies.Switch != SwitchAll ||
		p.Node == nil {
		t.Errorf("it plans %+v, %+v", p, p.Journal)
	}
	s.Record = Record{Journal: p.Journal}
	s.Record.Journal.Phase = Paused
	r, err := PlanResume(s, ResumeOptions{Run: "r2", By: "me"})
	if err != nil || r.Policies == nil || !r.Policies.Enabled || len(r.Changes) != 1 {
		t.Errorf("the resume is %+v, %v", r, err)
	}
}

func TestNobodyPausesBesideAJobOfCastAIs(t *testing.T) {
	s := situation(t, aNode("a")+aJob("night-1", vendorImage, "pause"))
	if _, err := PlanPause(s, options()); err == nil || !strings.Contains(err.Error(), "night-1") {
		t.Errorf("a pause: %v", err)
	}
	if _, err := PlanResume(s, ResumeOptions{}); err == nil || !strings.Contains(err.Error(), "night-1") {
		t.Errorf("a resume: %v", err)
	}
}

// CronJobs of any name that could start a Job meanwhile are suspended, and no others.
func TestWhichCronJobsAreKeptApart(t *testing.T) {
	in := time.Now().UTC().Add(20 * time.Minute)
	soon, later := fmt.Sprintf("%d %d * * *", in.Minute(), in.Hour()), fmt.Sprintf("%d %d * * *", in.Minute(),
		(in.Hour()+6)%24)
	s := situation(t, aNode("a")+
		aCronJob("soon", vendorImage, "pause", soon, "timeZone: Etc/UTC,")+
		aCronJob("later", vendorImage, "resume", later, "timeZone: Etc/UTC,")+
		aCronJob("somewhere", vendorImage, "resume", later, "")+
		aCronJob("anytime", vendorImage, "pause", later, "")+
		aCronJob("suspended", vendorImage, "pause", soon, "timeZone: Etc/UTC, suspend: true,")+
		aCronJob("own", "registry.example.com/kubectl-castai:v1", "pause", soon, "timeZone: Etc/UTC,")+
		aCronJob("report", "registry.example.com/report:v1", "pause", soon, "timeZone: Etc/UTC,")+
		strings.Replace(aCronJob("killed", vendorImage, "pause", soon, "suspend: true,"), "metadata: {",
			`metadata: {annotations: {castai.kubectl.dev/hibernate: '{"run":"r0","suspended":true}'}, `, 1))
	suspended, restored := s.apart()
	if got := cronJobNames(suspended); got != "anytime soon" {
		t.Errorf("it suspends %s", got)
	}
	if got := cronJobNames(restored); got != "anytime killed soon" {
		t.Errorf("it lets run again %s", got)
	}
	if left := Leftovers(s); len(left) != 1 || left[0].Name != "killed" {
		t.Errorf("leftovers: %v", left)
	}
}

func cronJobNames(jobs []*CronJob) string {
	var out []string
	for _, c := range jobs {
		out = append(out, c.Name)
	}
	return strings.Join(out, " ")
}

// A CronJob is as it was after a run, whoever suspended it.
func TestSuspendingIsTakenBack(t *testing.T) {
	for name, manifest := range map[string]string{
		"running": aCronJob("c", vendorImage, "pause", "* * * * *", ""), "suspended": aCronJob("c", vendorImage, "pause",
			"* * * * *", "suspend: true,"),
	} {
		was := object(t, manifest)
		o := was
		for _, do := range []patchFunc{suspend("r1"), suspend("r1"), unsuspend, unsuspend} {
			patch, err := do(o)
			if err != nil {
				t.Fatal(err)
			}
			o = patched(t, o, patch)
		}
		before, _ := specOf(was)["suspend"].(bool)
		if after, _ := specOf(o)["suspend"].(bool); after != before || len(o.Annotations) != len(was.Annotations) {
			t.Errorf("%s: it is suspended: %t, with annotations %v", name, after, o.Annotations)
		}
	}
}

// Pods that nobody makes again are named, before they are lost.
func TestLostPods(t *testing.T) {
	alone := func(ref, on string) string {
		pod := aPod(ref, on, "x", "{name: c}", true)
		i, k := strings.Index(pod, ", ownerReferences"), strings.Index(pod, "}\nspec")
		return pod[:i] + pod[k:]
	}
	static := strings.Replace(alone("kube-system/static", "goes"), "labels:",
		"annotations: {kubernetes.io/config.mirror: x}, labels:", 1)
	manifests := aNode("goes") + aNode("sleeper", "type=m5a.large") + aPod("shop/web", "goes", "web", "{name: c}", true) +
		static + alone("shop/stays", "sleeper")
	plan(t, situation(t, manifests), options())
	s := situation(t, manifests+alone("shop/debug", "goes"))
	if _, err := PlanPause(s, options()); err == nil || !strings.Contains(err.Error(), "shop/debug") ||
		strings.Contains(err.Error(), "stays") {
		t.Errorf("got %v", err)
	}
	o := options()
	o.Accept = []string{LostPods}
	if p := plan(t, s, o); !strings.Contains(strings.Join(p.Warnings, ""), "shop/debug") {
		t.Errorf("it is not said: %v", p.Warnings)
	}
}

// Nodes that Cast AI is making when a pause begins are known.
func TestNodesInFlight(t *testing.T) {
	coming := func(phase string) castai.Node {
		return castai.Node{Id: phase, AddedBy: castAI, State: castai.NodeState{Phase: phase}}
	}
	s := situation(t, aNode("a"), func(s *State) {
		s.Console.Nodes[0].State.Phase = "creating" // it has joined
		s.Console.Nodes = append(s.Console.Nodes, coming("pending"), coming("creating"), coming("deleted"), coming("ready"),
			castai.Node{Id: "theirs", AddedBy: "user", State: castai.NodeState{Phase: "creating"}})
	})
	if p := plan(t, s, options()); len(p.Coming) != 2 {
		t.Errorf("on their way: %+v", p.Coming)
	}
}
