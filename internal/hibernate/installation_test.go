package hibernate

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// What can't be seen is not what is not there.
func TestReadInstallationOfWhatCannotBeSeen(t *testing.T) {
	for _, kind := range []string{"cronjobs.batch", "jobs.batch"} {
		snap := &cluster.Snapshot{Unreadable: []cluster.Unreadable{{What: kind, Message: "forbidden", Forbidden: true}}}
		if _, err := ReadInstallation(snap, Namespace); err == nil || !strings.Contains(err.Error(), kind+" can't be read") {
			t.Errorf("%s: %v", kind, err)
		}
	}
	other := &cluster.Snapshot{Unreadable: []cluster.Unreadable{{What: "widgets.example.com", Message: "forbidden"}}}
	if _, err := ReadInstallation(other, Namespace); err != nil {
		t.Error(err)
	}
}

// Each CronJob has its own state, and only what runs has a next time. What is
// applied says nothing of it, so that what somebody suspended stays so.
func TestEachCronJobIsSuspendedByItself(t *testing.T) {
	in := anInstallation(t, aCronJob(PauseCronJob, DefaultImage, "pause", "0 22 * * *", `timeZone: "Etc/UTC",`)+
		aCronJob(ResumeCronJob, DefaultImage, "resume", "0 7 * * *", `timeZone: "Etc/UTC", suspend: true,`))
	p := in.Pair("")
	if p.Suspended != (Suspended{Resume: true}) {
		t.Errorf("suspended: %+v", p.Suspended)
	}
	if times, err := p.NextTimes(time.Now()); err != nil || times.Pause.IsZero() || !times.Resume.IsZero() {
		t.Errorf("the next times are %+v, %v", times, err)
	}
	for _, a := range in.Install("", p.Configuration, nil).Phases[1].Actions {
		content, err := a.Content(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		spec, _ := content["spec"].(map[string]any)
		if _, found := spec["suspend"]; found || spec["schedule"] == nil {
			t.Errorf("%s sets whether it is suspended, or no schedule: %v", a.Target.Ref, spec)
		}
	}
}

// anInstallation reads objects as the scope of an installation does.
func anInstallation(t *testing.T, manifest string) *Installation {
	t.Helper()
	objects, snap := clustertest.World(t, manifest)
	for _, o := range snap.Objects {
		for _, u := range objects {
			if u.GetName() == o.Name && u.GetKind() == o.Resource.Kind {
				o.Body = u.Object
			}
		}
	}
	in, err := ReadInstallation(snap, Namespace)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

const ourImage = "ghcr.io/castai/kubectl-castai:v1"

// slots are pairs as people make them: installed, copied from the documentation with
// other names, one half missing, and CronJobs that only look like it.
func slots() string {
	return aCronJob(PauseCronJob, DefaultImage, "pause", "0 22 * * 1-5", `timeZone: "Etc/UTC",`) +
		aCronJob(ResumeCronJob, DefaultImage, "resume", "0 7 * * 1-5", `timeZone: "Etc/UTC",`) +
		aCronJob("hibernate-pause-gpu-night", ourImage, "pause", "0 12 * * 6", `timeZone: "Etc/UTC",`) +
		aCronJob("hibernate-resume-gpu-night", ourImage, "resume", "0 18 * * 6", `timeZone: "Etc/UTC",`) +
		aCronJob("team-a-pause", "registry.example.com/mirror/hibernate@sha256:00", "suspend", "0 2 1 1 *", "") +
		aCronJob("report-pause", "registry.example.com/report:1", "pause", "0 3 * * *", "")
}

func TestPairsAreFoundByWhatTheyRun(t *testing.T) {
	in := anInstallation(t, slots())
	if got := in.Names(); got != "the one without a name, gpu-night, team-a" {
		t.Errorf("the pairs are %s", got)
	}
	gpu, half := in.Pair("gpu-night"), in.Pair("team-a")
	if c := gpu.Configuration; c.Pause != "0 12 * * 6" || c.Resume != "0 18 * * 6" || c.Image != ourImage || !gpu.Whole() {
		t.Errorf("%+v", gpu)
	}
	if half.Whole() || half.CronJob("pause") == nil {
		t.Errorf("%+v", half)
	}
	// Two that would have one name: the one that install makes has it.
	in = anInstallation(t, aCronJob("gpu-hibernate-pause", DefaultImage, "pause", "0 1 * * *", "")+
		aCronJob("hibernate-pause-gpu", DefaultImage, "pause", "0 2 * * *", "")+
		aCronJob("hibernate-resume-gpu", DefaultImage, "resume", "0 3 * * *", ""))
	if p := in.Pair("gpu"); p == nil || p.Configuration.Pause != "0 2 * * *" || in.Pair("gpu-hibernate-pause") == nil {
		t.Errorf("the pairs are %s", in.Names())
	}
}

func TestNamesOfPairs(t *testing.T) {
	for name, want := range map[string]string{
		"": "", "gpu-night": "", "a": "", "Night": "lower case", "-a": "lower case", "pause": "leave out the words",
		"a-resume-b":            "leave out the words",
		strings.Repeat("a", 35): "", strings.Repeat("a", 36): "more than 35 characters",
	} {
		err := CheckName(name)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
		if want == "" && name != "" && (pairOf(cronJobName(name, actionPause)) != name ||
			cronJobName("", actionPause) != PauseCronJob) {
			t.Errorf("%q makes %s", name, cronJobName(name, actionPause))
		}
	}
}

// What all pairs share goes with the last CronJob that uses it, a pair's or not.
func TestUninstallLeavesWhatOthersUse(t *testing.T) {
	object := func(kind, name string) string {
		return "---\napiVersion: v1\nkind: " + kind + "\nmetadata: {name: " + name + ", namespace: castai-agent}\n"
	}
	shared := object("Secret", secretName) + object("ServiceAccount", account)
	everything := func(cluster.Ref) bool { return true }
	count := func(in *Installation, pairs []*Pair, owned func(cluster.Ref) bool) (cronJobs, others, users int) {
		plan, _, by := in.Uninstall(pairs, owned)
		for _, p := range plan.Phases {
			for _, a := range p.Actions {
				if a.Target.Ref.Kind == "CronJob" {
					cronJobs++
				} else {
					others++
				}
			}
		}
		return cronJobs, others, len(by)
	}
	in := anInstallation(t, slots()+shared)
	borrower := "---\napiVersion: batch/v1\nkind: CronJob\nmetadata: {name: borrower, namespace: castai-agent}\nspec: {schedule: '0 1 * * *', jobTemplate: {spec: {template: {spec: {containers: [{name: c, image: curl, env: [{name: KEY, valueFrom: {secretKeyRef: {name: castai-hibernate, key: API_KEY}}}]}]}}}}}\n"
	notTeamA := func(r cluster.Ref) bool { return r.Name != "team-a-pause" }
	borrowed := anInstallation(t, slots()+shared+borrower)
	for name, tc := range map[string]struct {
		in                      *Installation
		pairs                   []*Pair
		owned                   func(cluster.Ref) bool
		cronJobs, others, users int
	}{
		"one":                    {in, []*Pair{in.Pair("gpu-night")}, everything, 2, 0, 3},
		"the documented one":     {in, []*Pair{in.Pair("")}, everything, 2, 0, 3},
		"all":                    {in, in.Pairs, everything, 5, 2, 0},
		"all, one is not ours":   {in, in.Pairs, notTeamA, 4, 0, 1},
		"all, and one borrows":   {borrowed, borrowed.Pairs, everything, 5, 0, 1},
		"what a killed run left": {anInstallation(t, shared), nil, everything, 0, 2, 0},
	} {
		if c, o, u := count(tc.in, tc.pairs, tc.owned); c != tc.cronJobs || o != tc.others || u != tc.users {
			t.Errorf("%s: %d CronJobs, %d others and %d users, want %d, %d and %d", name, c, o, u, tc.cronJobs, tc.others,
				tc.users)
		}
	}
}

// Two pairs must not run at the same time, nor wake what the other has sleep.
func TestPairsThatClash(t *testing.T) {
	now := time.Date(2026, 6, 3, 15, 0, 0, 0, time.UTC)
	in := anInstallation(t, slots())
	suspended := anInstallation(t, aCronJob(PauseCronJob, DefaultImage, "pause", "0 22 * * 1-5", "suspend: true,")+
		aCronJob(ResumeCronJob, DefaultImage, "resume", "0 7 * * 1-5", "suspend: true,"))
	for name, tc := range map[string]struct {
		in       *Installation
		pair     string
		schedule Schedule
		accept   []string
		want     string
	}{
		"another time of the day": {in, "lunch", Schedule{"0 12 * * 1-5", "0 13 * * 1-5", "UTC"}, nil, ""},
		"itself": {in, "gpu-night", Schedule{"0 12 * * 6", "0 19 * * 6", "UTC"}, nil,
			"the one without a name from Fri 22:00 to Mon 07:00"},
		"the same, meant": {in, "gpu-night", Schedule{"0 12 * * 6", "0 19 * * 6", "UTC"},
			[]string{OverlappingPairs}, ""},
		"at the same time": {in, "other", Schedule{"0 22 * * 3", "0 6 * * 4", "UTC"},
			[]string{OverlappingPairs}, "comes 0s after"},
		"at the same time by its zone": {in, "other", Schedule{"10 0 * * 4", "0 6 * * 4", "Europe/Berlin"},
			[]string{OverlappingPairs}, "comes 10m0s after"},
		"close to a half": {in, "new-year", Schedule{"50 1 1 1 *", "0 9 1 1 *", "UTC"},
			[]string{OverlappingPairs}, "a pause of team-a comes 10m0s after a pause of new-year"},
		"within the other's night": {in, "other", Schedule{"0 1 * * 3", "0 4 * * 3", "UTC"}, nil,
			"--accept=overlapping-pairs"},
		"beside one that is suspended":   {suspended, "other", Schedule{"0 22 * * 3", "0 6 * * 4", "UTC"}, nil, ""},
		"the documented one against all": {in, "", Schedule{"0 20 * * 1-4", "0 7 * * 2-5", "UTC"}, nil, ""},
	} {
		err := tc.in.Clashes(tc.pair, tc.schedule, now, tc.accept)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

func TestZonesOfOldServers(t *testing.T) {
	for _, tc := range []struct {
		server, zone string
		refused      bool
	}{
		{"v1.24.17-eks-0123", "Etc/UTC", true}, {"v1.23.5", "Europe/Vilnius", true}, {"v1.24.17", "", false},
		{"v1.25.0", "Etc/UTC", false}, {"v1.36.3+k3s1", "Europe/Vilnius", false}, {"", "Etc/UTC", false},
	} {
		if err := (Schedule{DefaultPause, DefaultResume, tc.zone}).TakenBy(tc.server); err != nil != tc.refused {
			t.Errorf("%s, %q: %v", tc.server, tc.zone, err)
		}
	}
}

// Cast AI's own job reads neither KEEP nor ACCEPT; the jobs of this plugin get both.
func TestWhatOnlyThisImageReads(t *testing.T) {
	c := Configuration{Image: DefaultImage, Keep: KeepNodes, Accept: []string{LostPods}}
	if err := c.Readable(); err == nil || !strings.Contains(err.Error(), DefaultImage) {
		t.Error(err)
	}
	c.Image = ourImage
	if err := c.Readable(); err != nil {
		t.Error(err)
	}
	env := map[string]any{}
	m := c.cronJob(Namespace, PauseCronJob, actionPause)
	containers, _, err := unstructured.NestedSlice(m.content, "spec", "jobTemplate", "spec", "template", "spec",
		"containers")
	if err != nil {
		t.Fatal(err)
	}
	container, _ := containers[0].(map[string]any)
	list, _ := container["env"].([]any)
	for _, e := range list {
		one, _ := e.(map[string]any)
		name, _ := one["name"].(string)
		env[name] = one["value"]
	}
	if env[envKeep] != KeepNodes || env[envAccept] != LostPods {
		t.Errorf("the environment is %v", env)
	}
}
