package hibernate

import (
	"strings"
	"testing"
	"time"

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
	objects, snap := clustertest.World(t, aCronJob(PauseCronJob, DefaultImage, "pause", "0 22 * * *", "")+
		aCronJob(ResumeCronJob, DefaultImage, "resume", "0 7 * * *", "suspend: true,"))
	for _, o := range snap.Objects {
		for _, u := range objects {
			if u.GetName() == o.Name {
				o.Body = u.Object // as the scope of an installation reads it
			}
		}
	}
	in, err := ReadInstallation(snap, Namespace)
	if err != nil {
		t.Fatal(err)
	}
	if in.Suspended != (Suspended{Resume: true}) {
		t.Errorf("suspended: %+v", in.Suspended)
	}
	if times, err := in.NextTimes(time.Now()); err != nil || times.Pause.IsZero() || !times.Resume.IsZero() {
		t.Errorf("the next times are %+v, %v", times, err)
	}
	for _, m := range manifests(Namespace, in.Configuration, nil) {
		spec, _ := m.content["spec"].(map[string]any)
		if _, found := spec["suspend"]; found {
			t.Errorf("%s sets whether it is suspended", m.target.Ref)
		}
	}
}
