package plugin

import (
	"net/http"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/internal/castai/castaitest"
)

// The CronJobs are not installed beside a schedule by which the service hibernates the
// cluster, unless somebody says so.
func TestInstallBesideTheServicesOwnHibernation(t *testing.T) {
	const accept, own = " --accept=service-schedule", " --image=ghcr.io/castai/kubectl-castai:v9"
	armed := castai.HibernationSchedule{Id: "s", Name: "nights", Enabled: true}
	armed.PauseConfig.Enabled, armed.ResumeConfig.Enabled = true, true
	armed.ClusterAssignments.Items = []castai.ClusterAssignment{{ClusterId: castaitest.ID}}
	for name, tc := range map[string]struct {
		armed, fails bool
		args         string
		code         int
		says         string
		accepts      bool // the jobs do, too
	}{
		"no schedule":                 {},
		"a schedule":                  {armed: true, code: ExitRefused, says: "nights"},
		"accepted":                    {armed: true, args: accept},
		"accepted, this image's jobs": {armed: true, args: accept + own, accepts: true},
		"nobody answers":              {fails: true, says: "is not known"},
	} {
		t.Run(name, func(t *testing.T) {
			atNight(t, func(t *testing.T, e *evening) {
				if tc.armed {
					e.api.Schedules = []castai.HibernationSchedule{armed}
				}
				e.api.Before = func(w http.ResponseWriter, _, path string) bool {
					fails := tc.fails && strings.Contains(path, "schedules")
					if fails {
						castaitest.Fail(w, http.StatusForbidden, "forbidden")
					}
					return fails
				}
				out, code := e.withKey("hibernate install --yes" + tc.args)
				if code != tc.code || !strings.Contains(out, tc.says) {
					t.Fatalf("exit code %d: %s", code, out)
				}
				const made = "CronJob.batch/castai-agent/hibernate-pause"
				if strings.Contains(strings.Join(e.Refs(), " "), made) != (code == ExitOK) {
					t.Errorf("with exit code %d it writes %v", code, e.Writes())
				}
				if code != ExitOK {
					return
				}
				// set asks, too.
				e.api.Update(func() { e.api.Schedules = []castai.HibernationSchedule{armed} })
				want := map[bool]int{true: ExitOK, false: ExitRefused}[tc.accepts || tc.fails]
				if out, code = e.withKey("hibernate set --yes --hibernate-node=m6a.large"); code != want {
					t.Errorf("set: exit code %d, want %d: %s", code, want, out)
				}
			})
		})
	}
}
