package hibernate

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// service is an organization with schedules, whose cluster goes from one status to
// the next each time that somebody asks.
type service struct {
	ManagedAPI
	cluster   castai.Cluster
	schedules []castai.HibernationSchedule
	next      []string
	// lost: the answer to a job does not arrive, although it begins.
	lost bool
	// taken is called before each change of the assignments.
	taken func(*service)
	asked []string
}

func (s *service) Cluster(context.Context, string) (castai.Cluster, error) {
	if len(s.next) > 0 {
		s.cluster.Status, s.next = s.next[0], s.next[1:]
	}
	return s.cluster, nil
}

func (s *service) HibernationSchedules(context.Context, string) ([]castai.HibernationSchedule, error) {
	return slices.Clone(s.schedules), nil
}

func (s *service) HibernationSchedule(_ context.Context, _, id string) (castai.HibernationSchedule, error) {
	for _, h := range s.schedules {
		if h.Id == id {
			return h, nil
		}
	}
	return castai.HibernationSchedule{}, &castai.Error{Status: http.StatusNotFound}
}

func (s *service) AssignSchedule(_ context.Context, _, id string, clusters []castai.ClusterAssignment) error {
	if s.taken != nil {
		s.taken(s)
		s.taken = nil
		return nil
	}
	for i := range s.schedules {
		if s.schedules[i].Id == id {
			s.schedules[i].ClusterAssignments.Items = clusters
		}
	}
	return nil
}

func (s *service) DeleteHibernationSchedule(_ context.Context, _, id string) error {
	s.asked = append(s.asked, "delete "+id)
	return nil
}

func (s *service) PauseCluster(context.Context, string, string) error  { return s.begin("pause") }
func (s *service) ResumeCluster(context.Context, string, string) error { return s.begin("resume") }

func (s *service) begin(what string) error {
	s.asked = append(s.asked, what)
	if s.lost {
		return errors.New("the answer breaks off")
	}
	return nil
}

func clusters(ids ...string) castai.ClusterAssignments {
	var out castai.ClusterAssignments
	for _, id := range ids {
		out.Items = append(out.Items, castai.ClusterAssignment{ClusterId: id})
	}
	return out
}

// components are those that wake a cluster, with these tolerations.
func components(agent, controller string) string {
	return aWorkload("Deployment", "castai-agent/castai-agent", "containers: [{name: c, image: i}], tolerations: ["+agent+
		"]", 1) +
		aWorkload("Deployment", "castai-agent/castai-cluster-controller", "containers: [{name: c, image: i}], tolerations: ["+
			controller+"]", 1)
}

const (
	resuming = "{key: provisioning.cast.ai/temporary, operator: Equal, value: resuming, effect: NoSchedule}"
	addons   = "{key: CriticalAddonsOnly, operator: Exists}"
)

func TestPlanManagedPause(t *testing.T) {
	whole := aNode("a") + components(resuming, addons)
	for name, tc := range map[string]struct {
		objects  string
		status   string
		schedule castai.ClusterAssignments
		change   func(*State)
		o        ManagedOptions
		want     string // part of the refusal
		already  bool
		tolerate int
	}{
		"fits":               {objects: whole},
		"hibernated":         {objects: whole, status: "hibernated", already: true},
		"failed":             {objects: whole, status: "failed", want: "failed"},
		"without a schedule": {objects: whole, schedule: clusters("other"), want: "hibernate schedule create --assign"},
		"paused by this plugin": {objects: whole, change: func(s *State) {
			s.Record.Journal = &Journal{Run: "r", Phase: Paused, Policies: &Policies{Switch: SwitchAll, Enabled: true}}
			s.Console.Policies = castai.Policies(`{"enabled":false}`)
		}, want: "two ways of pausing do not mix"},
		"beside CronJobs": {objects: whole + aCronJob(PauseCronJob, DefaultImage, "pause", "0 22 * * *", ""),
			want: "CronJob.batch/castai-agent/hibernate-pause"},
		"beside suspended ones": {objects: whole + aCronJob(PauseCronJob, DefaultImage, "pause", "0 22 * * *",
			"suspend: true,")},
		"another cluster": {objects: whole, change: func(s *State) {
			s.Server.KubeSystemUID,
				s.Console.Cluster.Anywhere.KubeSystemNamespaceId = "a", "b"
		}, want: "--cluster-id"},
		"CronJobs can't be seen": {objects: whole, change: func(s *State) { s.Blind = "cronjobs.batch can't be read" },
			want: "can't be read"},
		"an agent would not wake it": {objects: aNode("a") + components("", resuming),
			want: "Deployment.apps/castai-agent/castai-agent may not run"},
		"tolerations are added": {objects: aNode("a") +
			components("",
				"{key: provisioning.cast.ai/temporary, operator: Equal, value: other}"), o: ManagedOptions{Tolerate: true}, tolerate: 2},
		"no controller": {objects: aNode("a") + aWorkload("Deployment", "castai-agent/castai-agent",
			"tolerations: ["+resuming+"]", 1), want: "castai-cluster-controller must be in namespace castai-agent"},
		"a pod would be lost": {objects: whole + aLonePod, want: "shop/alone"},
		"a pod may be lost":   {objects: whole + aLonePod, o: ManagedOptions{Accept: []string{LostPods}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := situation(t, tc.objects)
			if tc.change != nil {
				tc.change(s)
			}
			m := &Managed{Cluster: castai.Cluster{Id: "id", OrganizationId: "o", Status: "ready"},
				Schedules: []castai.HibernationSchedule{{Id: "h", ClusterAssignments: clusters("id")}}}
			if tc.status != "" {
				m.Cluster.Status = tc.status
			}
			if tc.schedule.Items != nil {
				m.Schedules[0].ClusterAssignments = tc.schedule
			}
			p, err := PlanManagedPause(s, m, tc.o)
			if tc.want != "" {
				if _, ok := errors.AsType[*Refusal](err); !ok || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("got %v, want a refusal with %q", err, tc.want)
				}
				return
			}
			if err != nil || p.Already != "" != tc.already || len(p.Tolerate) != tc.tolerate {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
}

const aLonePod = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: alone, namespace: shop}\nspec: {nodeName: a, containers: [{name: c, image: i}]}\n"

func TestPlanManagedResume(t *testing.T) {
	for status, want := range map[string]string{"ready": "already", "hibernating": "right now", "hibernated": "",
		"resuming": "begun"} {
		m := &Managed{Cluster: castai.Cluster{Id: "id", Status: status},
			Schedules: []castai.HibernationSchedule{{Id: "h", ClusterAssignments: clusters("id")}}}
		p, err := PlanManagedResume(situation(t, ""), m)
		switch {
		case want == "right now" && (err == nil || !strings.Contains(err.Error(), want)), want != "right now" && err != nil:
			t.Errorf("%s: %v", status, err)
		case err == nil && (p.Already != "" != (want == "already") || p.Begun != (want == "begun")):
			t.Errorf("%s: %+v", status, p)
		}
	}
	none := &Managed{Cluster: castai.Cluster{Id: "id", Status: "hibernated"}}
	if _, err := PlanManagedResume(situation(t, ""), none); err == nil ||
		!strings.Contains(err.Error(), "hibernate schedule assign") {
		t.Error(err)
	}
}

// The service does it step by step, its answer may be lost, and it may give up.
func TestTheServiceHibernates(t *testing.T) {
	for name, tc := range map[string]struct {
		pause bool
		begun bool
		next  []string
		lost  bool
		want  string
		asked string
	}{
		"pauses": {pause: true, next: []string{"ready", "hibernating", "hibernating", "hibernated"},
			asked: "pause"},
		"resumes":            {next: []string{"hibernated", "resuming", "ready"}, asked: "resume"},
		"goes on":            {pause: true, begun: true, next: []string{"hibernating", "hibernated"}},
		"the answer is lost": {pause: true, next: []string{"hibernating", "hibernated"}, lost: true, asked: "pause"},
		"it never began": {pause: true, next: []string{"ready"}, lost: true, asked: "pause",
			want: "the answer breaks off"},
		"gives up": {pause: true, next: []string{"hibernating", "ready"}, asked: "pause",
			want: "the cluster is ready now"},
		"fails": {next: []string{"resuming", "failed"}, asked: "resume",
			want: "the cluster is failed now"},
		"never begins within a time": {pause: true, next: []string{"ready"}, asked: "pause", want: "time"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := evening(t, components("", resuming))
				r := n.runner()
				r.Managed = 30 * time.Minute
				s, err := r.Observe(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				api := &service{cluster: castai.Cluster{Id: "id"}, next: tc.next, lost: tc.lost}
				p := &ManagedPlan{Pause: tc.pause, Begun: tc.begun}
				if p.Tolerate, _ = s.Untolerated(); len(p.Tolerate) != 1 {
					t.Fatalf("%d lack the toleration", len(p.Tolerate))
				}
				err = r.RunManaged(t.Context(), &engine.Report{}, r.ManagedPhases(p, api, "o"))
				if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
					t.Errorf("%v, want %q", err, tc.want)
				}
				if asked := strings.Join(api.asked, " "); asked != tc.asked {
					t.Errorf("the service was asked to %q", asked)
				}
				agent := n.server.Get(p.Tolerate[0].Ref())
				if list, _, err := unstructured.NestedSlice(agent.Object, tolerations...); err != nil || len(list) != 1 {
					t.Errorf("the agent tolerates %v, %v", list, err)
				}
			})
		})
	}
}

// A schedule is the organization's: the other clusters in it stay, whoever else
// changes it, and one that is for others is not deleted.
func TestSchedulesOfTheOrganization(t *testing.T) {
	api := &service{schedules: []castai.HibernationSchedule{{Id: "h", Name: "nights",
		ClusterAssignments: clusters("other")}, {Id: "i", Name: "twice"}, {Id: "j", Name: "twice"}}}
	m := &Managed{Cluster: castai.Cluster{Id: "id", OrganizationId: "o"}, Schedules: api.schedules}
	if _, err := m.Find("twice"); err == nil || !strings.Contains(err.Error(), "by its id") {
		t.Error(err)
	}
	if h, err := m.Find("j"); err != nil || h.Id != "j" {
		t.Error(err)
	}
	h, err := m.Find("nights")
	if err != nil {
		t.Fatal(err)
	}
	// Somebody adds another cluster at the same time, and wins.
	api.taken = func(s *service) { s.schedules[0].ClusterAssignments = clusters("other", "third") }
	if err := m.Assign(t.Context(), api, h, true); err != nil {
		t.Fatal(err)
	}
	if got := api.schedules[0].ClusterAssignments; !slices.Equal(got.Items, clusters("other", "third", "id").Items) {
		t.Errorf("it is for %v", got)
	}
	if err := m.Delete(t.Context(), api, h); err == nil || len(api.asked) > 0 {
		t.Errorf("it is deleted: %v", err)
	}
	if err := m.Assign(t.Context(), api, h, false); err != nil ||
		!slices.Equal(api.schedules[0].ClusterAssignments.Items, clusters("other", "third").Items) {
		t.Errorf("%v: it is for %v", err, api.schedules[0].ClusterAssignments)
	}
	api.schedules[0].ClusterAssignments = clusters("id")
	if err := m.Delete(t.Context(), api, h); err != nil || len(api.asked) != 1 {
		t.Errorf("%v: %v", err, api.asked)
	}
}

func TestSchedulesWithZones(t *testing.T) {
	h := NewSchedule("nights", Schedule{DefaultPause, DefaultResume, "Europe/Vilnius"}, "m5a.large", "id")
	if h.PauseConfig.Schedule.CronExpression != "CRON_TZ=Europe/Vilnius 0 22 * * 1-5" ||
		h.ResumeConfig.JobConfig.NodeConfig.InstanceType != "m5a.large" {
		t.Errorf("%+v", h)
	}
	if s, err := ScheduleOf(h); err != nil || s != (Schedule{DefaultPause, DefaultResume, "Europe/Vilnius"}) {
		t.Errorf("%+v, %v", s, err)
	}
	h.ResumeConfig.Schedule.CronExpression = DefaultResume
	if _, err := ScheduleOf(h); err == nil || !strings.Contains(err.Error(), "Etc/UTC") {
		t.Error(err)
	}
}

func TestWhichWayFits(t *testing.T) {
	whole := aNode("a") + components(resuming, resuming)
	for name, tc := range map[string]struct {
		objects  string
		provider string
		keep     []string
		managed  bool
		want     string
	}{
		"fits": {objects: whole, provider: "eks", managed: true, want: "no node is left"},
		"tolerations are missing": {objects: aNode("a") + components("", ""), provider: "aks", managed: true,
			want: "--add-tolerations"},
		"another provider":   {objects: whole, provider: "openshift", want: "this is openshift"},
		"namespaces to keep": {objects: whole, provider: "gke", keep: []string{"shop"}, want: "keeps none"},
		"a node that is not Cast AI's": {objects: whole + aNode("f", "foreign"), provider: "eks",
			want: "one node is not Cast AI's"},
		"nodes that are not Cast AI's": {objects: whole + aNode("f", "foreign") + aNode("g", "foreign"), provider: "eks",
			want: "2 nodes are not Cast AI's"},
	} {
		s := situation(t, tc.objects, func(s *State) { s.Console.Cluster.ProviderType = tc.provider })
		if w := s.Way(tc.keep); w.Managed != tc.managed || !strings.Contains(w.String(), tc.want) {
			t.Errorf("%s: %s", name, w)
		}
	}
}
