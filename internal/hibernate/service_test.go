package hibernate

import (
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/internal/castai"
)

// What the service has hibernated is not awake, and only the service wakes it.
func TestTheServiceHasHibernatedIt(t *testing.T) {
	for status, want := range map[string]Phase{"hibernated": Paused, "hibernating": Pausing, "resuming": Resuming,
		"ready": Awake} {
		s := situation(t, aNode("a"), func(s *State) { s.Console.Cluster.Status = status })
		sleep := s.Sleep()
		_, err := PlanResume(s, ResumeOptions{Run: "r", By: "me"})
		if sleep.Phase != want || (err != nil) != (want != Awake) || want != Awake &&
			!strings.Contains(sleep.Clause(), "by the service") {
			t.Errorf("%s: %s, resume: %v", status, sleep.Clause(), err)
		}
	}
}

func TestClauses(t *testing.T) {
	for want, sleep := range map[string]Sleep{
		"the cluster is paused":                     {Phase: Paused, Who: CastAI},
		"a pause by Cast AI's job has begun":        {Phase: Pausing, Who: CastAI},
		"a resume has begun":                        {Phase: Resuming, Who: Ours},
		"Cast AI's Job x is pausing":                {Phase: Pausing, Who: CastAI, Job: "x"},
		"the cluster is being hibernated by":        {Phase: Pausing, Who: Service},
		"the cluster is awake, and never paused by": {Phase: Awake},
	} {
		if got := sleep.Clause(); !strings.HasPrefix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Only a cluster that the console calls ready was not hibernated.
func TestAFailedHibernationIsNotAwake(t *testing.T) {
	for status, refused := range map[string]bool{"ready": false, "failed": true, "warning": true, "": true} {
		s := situation(t, aNode("a"))
		_, err := PlanManagedResume(s, &Managed{Cluster: castai.Cluster{Id: "id", OrganizationId: "o", Status: status,
			ReconcileError: "no quota"}})
		if (err != nil) != refused || refused && !strings.Contains(err.Error(), "no quota") {
			t.Errorf("%q: %v", status, err)
		}
	}
}

// A schedule of the service's needs what its pause by hand needs: nobody asks later.
func TestPlanAssign(t *testing.T) {
	whole := aNode("a") + components(resuming, addons)
	h := NewSchedule("nights", Schedule{Pause: "0 22 * * *", Resume: "0 7 * * *", TimeZone: "UTC"}, "m5a.large")
	h.Id = "h"
	other := h
	other.Id, other.Name, other.ClusterAssignments = "other", "weekends", clusters("id")
	off, endless, long := other, h, h
	off.Enabled = false
	endless.ResumeConfig.Enabled = false
	long.ResumeConfig.Schedule.CronExpression = "CRON_TZ=UTC 0 7 2 1 *"
	for name, tc := range map[string]struct {
		objects  string
		schedule castai.HibernationSchedule
		there    []castai.HibernationSchedule
		change   func(*State)
		o        ManagedOptions
		want     string
		tolerate int
	}{
		"fits": {objects: whole, schedule: h},
		"no controller": {objects: aNode("a"), schedule: h,
			want: "castai-agent, castai-cluster-controller must be"},
		"no toleration": {objects: aNode("a") + components("", ""), schedule: h, want: "--add-tolerations"},
		"tolerations are added": {objects: aNode("a") + components("", ""), schedule: h, o: ManagedOptions{Tolerate: true},
			tolerate: 2},
		"CronJobs": {objects: whole + aCronJob(PauseCronJob, DefaultImage, "pause", "0 22 * * *", ""),
			schedule: h, want: "hibernate-pause"},
		"they can't be seen": {objects: whole, schedule: h,
			change: func(s *State) { s.Blind = "cronjobs.batch can't be read" }, want: "can't be read"},
		"another schedule": {objects: whole, schedule: h, there: []castai.HibernationSchedule{other},
			want: "weekends"},
		"another one, accepted": {objects: whole, schedule: h, there: []castai.HibernationSchedule{other},
			o: ManagedOptions{Accept: []string{OverlappingPairs}}},
		"another one that sleeps": {objects: whole, schedule: h, there: []castai.HibernationSchedule{off}},
		"a pod would be lost":     {objects: whole + aLonePod, schedule: h, want: "shop/alone"},
		"a pod may be lost":       {objects: whole + aLonePod, schedule: h, o: ManagedOptions{Accept: []string{LostPods}}},
		"it never resumes":        {objects: whole, schedule: endless, want: "resumes none"},
		"it sleeps for long":      {objects: whole, schedule: long, want: LongSleep},
		"the cluster sleeps": {objects: whole, schedule: h, change: func(s *State) {
			s.Record.Journal = &Journal{Run: "r", Phase: Pausing, Policies: &Policies{Switch: SwitchAll}}
		}, want: "a pause has begun"},
	} {
		t.Run(name, func(t *testing.T) {
			s := situation(t, tc.objects)
			if tc.change != nil {
				tc.change(s)
			}
			m := &Managed{Cluster: castai.Cluster{Id: "id", OrganizationId: "o", Status: "ready"},
				Schedules: append(tc.there, tc.schedule)}
			p, err := PlanAssign(s, m, tc.schedule, tc.o)
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("it says %v, want %q", err, tc.want)
				}
				return
			}
			if err != nil || len(p.Tolerate) != tc.tolerate {
				t.Errorf("%v, %+v", err, p)
			}
		})
	}
}

// A pause beside a schedule of the service's needs a yes.
func TestThePauseLooksForTheService(t *testing.T) {
	h := NewSchedule("nights", Schedule{Pause: "0 22 * * *", Resume: "0 7 * * *"}, "m5a.large", "id")
	off, elsewhere := h, h
	off.Enabled = false
	elsewhere.ClusterAssignments = clusters("other")
	for name, tc := range map[string]struct {
		schedule castai.HibernationSchedule
		accept   []string
		refused  bool
	}{
		"for this cluster": {h, nil, true}, "accepted": {h, []string{ServiceSchedule}, false}, "not enabled": {off, nil,
			false}, "for another": {elsewhere, nil, false},
	} {
		m := &Managed{Cluster: castai.Cluster{Id: "id"}, Schedules: []castai.HibernationSchedule{tc.schedule}}
		if err := m.Unarmed(tc.accept); (err != nil) != tc.refused || tc.refused && !strings.Contains(err.Error(), "nights") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A node that was being made when Cast AI's job paused the cluster joins later: only
// the autoscaler tells that the cluster still sleeps.
func TestInDoubtNothingIsRemoved(t *testing.T) {
	ran := time.Date(2026, 7, 1, 22, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		change func(*State)
		want   string
	}{
		"not asked":       {func(s *State) { s.Console = nil }, "--api-key-file"},
		"asked, it is on": {func(*State) {}, ""},
		"asked, and off": {func(s *State) {
			s.Console.Policies = castai.Policies(`{"enabled": false}`)
			for i := range s.Console.Nodes {
				s.Console.Nodes[i].CreatedAt = ran.Add(-time.Minute)
			}
		}, "paused"},
		"never paused":  {func(s *State) { s.Console, s.Record = nil, Record{} }, "begun"},
		"it has failed": {func(s *State) { s.Console, s.Record.Status = nil, "exception" }, ""},
	} {
		s := situation(t, aNode("sleeper", PausedKey+"=true")+aNode("late"), func(s *State) {
			s.Record = Record{Status: statusSuccess, Time: ran, Vendor: true}
			for _, n := range s.Nodes {
				if n.Object.Name == "late" {
					n.Object.Labels[provisioner+"managed-by"], n.Object.Created = "cast.ai", ran.Add(2*time.Minute)
				}
			}
			tc.change(s)
		})
		if name == "never paused" {
			for _, n := range s.Nodes {
				delete(n.Object.Labels, provisioner+"managed-by")
			}
		}
		for _, n := range s.Nodes {
			if s.Console == nil {
				n.Console = nil
			}
		}
		err := s.Removable()
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}
