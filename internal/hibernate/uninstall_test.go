package hibernate

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// installed is a cluster with the documented pair and what it needs.
func installed(t *testing.T) *night {
	shared := ""
	for kind, name := range map[string]string{"Secret": secretName, "ServiceAccount": account, "ConfigMap": StateName} {
		shared += "---\napiVersion: v1\nkind: " + kind + "\nmetadata: {name: " + name + ", namespace: castai-agent}\n"
	}
	return evening(t, aCronJob(PauseCronJob, ourImage, "pause", "0 3 * * *", `timeZone: "Etc/UTC",`),
		aCronJob(ResumeCronJob, ourImage, "resume", "0 7 * * *", `timeZone: "Etc/UTC",`), shared)
}

// lookForUninstall is what the command does before and after its question.
func (n *night) lookForUninstall(ctx context.Context) (*engine.Plan, error) {
	s, err := n.runner().Observe(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.Removable(); err != nil {
		return nil, err
	}
	snap, err := n.client.Snapshot(ctx, InstallationScope(Namespace))
	if err != nil {
		return nil, err
	}
	in, err := ReadInstallation(snap, Namespace)
	if err != nil {
		return nil, err
	}
	plan, _, _ := in.Uninstall(in.Pairs, func(cluster.Ref) bool { return true })
	return plan, nil
}

// installedStill lists what is there of the installation.
func (n *night) installedStill() string {
	var out []string
	for _, r := range n.server.Refs() {
		if strings.Contains(r, "hibernate") && !strings.HasPrefix(r, "Lease") {
			out = append(out, r)
		}
	}
	return strings.Join(out, " ")
}

func TestUninstallLooksAgain(t *testing.T) {
	pause := func(t *testing.T, n *night) {
		if err := n.pause(t.Context(), options()); err != nil {
			t.Fatal(err)
		}
	}
	write := func(n *night) {
		state := n.server.Get(stateTarget(Namespace).Ref)
		if err := unstructured.SetNestedField(state.Object, "x", "data", "other"); err != nil {
			n.t.Fatal(err)
		}
		n.server.Put(state)
	}
	for name, tc := range map[string]struct {
		asked   func(*testing.T, *night) // while the question is open
		removes func(*night)             // once the CronJobs are being removed
		want    string                   // part of the error
		left    string
	}{
		"nobody does anything": {},
		"a pause begins while it asks": {
			asked: pause, want: "Wake the cluster first", left: "CronJob.batch/castai-agent/hibernate-pause",
		},
		"another pair comes while it asks": {
			asked: func(t *testing.T, n *night) {
				objects, err := clustertest.Parse([]byte(aCronJob("hibernate-pause-b", ourImage, "pause", "0 4 * * *", "")))
				if err != nil {
					t.Fatal(err)
				}
				n.server.Put(objects...)
			},
			want: "hibernate-pause-b", left: "CronJob.batch/castai-agent/hibernate-pause",
		},
		"a Job of Cast AI's has begun when the CronJobs go": {
			removes: func(n *night) {
				objects, err := clustertest.Parse([]byte(aJob("hibernate-pause-1", vendorImage, "pause")))
				if err != nil {
					n.t.Fatal(err)
				}
				n.server.Put(objects...)
			},
			want: "the rest stays", left: StateName,
		},
		"somebody writes to the state": {removes: write, left: StateName},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := installed(t)
				agreed, err := n.lookForUninstall(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if tc.asked != nil {
					tc.asked(t, n)
				}
				if tc.removes != nil {
					n.server.BeforeNth(1, func(r *clustertest.Request) bool {
						return r.Verb == "delete" &&
							strings.Contains(r.Path, PauseCronJob)
					},
						func(*clustertest.Request) clustertest.Fault { tc.removes(n); return clustertest.Fault{} })
				}
				report, err := n.runner().Uninstall(t.Context(), agreed, n.lookForUninstall)
				if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
					t.Errorf("it says %v, want %q", err, tc.want)
				}
				if still := n.installedStill(); tc.left == "" && still != "" || !strings.Contains(still, tc.left) {
					t.Errorf("left: %s, want %s", still, tc.left)
				}
				if name == "somebody writes to the state" && report.Count(engine.ResultKept) != 1 {
					t.Errorf("%+v", report.Outcomes)
				}
			})
		})
	}
}

// While a pause or a resume runs, nothing of it is removed.
func TestUninstallWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := installed(t)
		agreed, err := n.lookForUninstall(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, release, err := n.runner().Hold(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		before := n.installedStill()
		_, err = n.runner().Uninstall(t.Context(), agreed, n.lookForUninstall)
		if _, ok := errors.AsType[*Refusal](err); !ok || n.installedStill() != before {
			t.Errorf("it says %v, and has left %s", err, n.installedStill())
		}
	})
}
