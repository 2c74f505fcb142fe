package hibernate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// Two runs of this plugin are kept apart by a Lease. Cast AI's job knows nothing of
// it: its CronJobs are suspended for the time of a run, and its Jobs waited for.

// jobsResource is what Jobs are asked for by.
func jobsResource() *cluster.Resource {
	return &cluster.Resource{Group: "batch", Version: "v1", Name: "jobs", Kind: "Job", Namespaced: true}
}

// longestRun is how long after its start a run may still be at it.
const longestRun = time.Hour

// apart returns the CronJobs to be suspended for the time of a run, which are those
// of Cast AI's job that could start one meanwhile, and those to be let run
// afterwards: the same, and those that a killed run has left suspended. What would
// not start meanwhile is left alone: if this run is killed, it still wakes the
// cluster in the morning.
func (s *State) apart() (suspend, restore []*CronJob) {
	for _, c := range s.CronJobs {
		switch {
		case c.ours():
			restore = append(restore, c)
		case !c.Own && !c.Suspended && c.startsWithin(time.Now(), longestRun):
			suspend, restore = append(suspend, c), append(restore, c)
		}
	}
	return suspend, restore
}

// leftSuspended tells whether a killed run has left a CronJob suspended.
func (s *State) leftSuspended() bool { return slices.ContainsFunc(s.CronJobs, (*CronJob).ours) }

// ours tells whether a run of this plugin has suspended it.
func (c *CronJob) ours() bool {
	m, ok, err := readMark(c.Object)
	return ok && err == nil && m.Suspended
}

// startsWithin tells whether it may start a Job in that time. Without a time zone
// it is not known when that is: the zone is the controller manager's. Then one that
// pauses is suspended, and one that resumes is not: if this run were killed, nobody
// would wake the cluster in the morning.
func (c *CronJob) startsWithin(now time.Time, bound time.Duration) bool {
	schedule, err := parseCron(c.Action, c.Schedule)
	zone, zoneErr := time.LoadLocation(c.TimeZone)
	if err != nil || zoneErr != nil || c.TimeZone == "" {
		return c.Action == actionPause
	}
	next := schedule.Next(now.In(zone))
	return !next.IsZero() && next.Before(now.Add(bound))
}

// suspend returns the patch that suspends a CronJob; empty: it is suspended.
func suspend(run string) func(o *cluster.Object) (map[string]any, error) {
	return func(o *cluster.Object) (map[string]any, error) {
		if is, _ := specOf(o)["suspend"].(bool); is {
			return map[string]any{}, nil
		}
		annotations, err := mark{Run: run, Suspended: true}.annotation()
		return map[string]any{"metadata": map[string]any{"annotations": annotations},
			"spec": map[string]any{"suspend": true}}, err
	}
}

// unsuspend returns the patch that lets a CronJob run again that a run suspended.
func unsuspend(o *cluster.Object) (map[string]any, error) {
	m, ok, err := readMark(o)
	if err != nil || !ok || !m.Suspended {
		return map[string]any{}, err
	}
	return map[string]any{"metadata": map[string]any{"annotations": map[string]any{MarkAnnotation: nil}},
		"spec": map[string]any{"suspend": false}}, nil
}

func (r *Runner) suspending(jobs []*CronJob, run string) []engine.Phase {
	phase := engine.Phase{Name: phaseQuiet, Title: "Keep Cast AI's jobs from running meanwhile", Gate: true,
		Timeout: r.Step}
	for _, c := range jobs {
		phase.Actions = append(phase.Actions, change(c.Object, "suspends it: it could "+c.Action+" the cluster meanwhile",
			suspend(run)))
	}
	return nonEmpty(phase)
}

func (r *Runner) restoring(jobs []*CronJob) []engine.Phase {
	phase := engine.Phase{Name: phaseRestore, Title: "Let Cast AI's jobs run again", Gate: true, Timeout: r.Step}
	for _, c := range jobs {
		phase.Actions = append(phase.Actions, change(c.Object, "lets it run again", unsuspend))
	}
	return nonEmpty(phase)
}

func nonEmpty(phase engine.Phase) []engine.Phase {
	if len(phase.Actions) == 0 {
		return nil
	}
	return []engine.Phase{phase}
}

// apart suspends CronJobs, and refuses to go on beside a Job that pauses or resumes.
// A resume goes on beside a Job that resumes.
func (r *Runner) apart(ctx context.Context, report *engine.Report, jobs []*CronJob, run string, resumes bool) error {
	if err := r.run(ctx, report, r.suspending(jobs, run)); err != nil || r.DryRun {
		return err
	}
	return r.others(ctx, func(run *OtherRun) (bool, error) {
		if run == nil || resumes && run.Action == actionResume {
			return true, nil
		}
		return false, refuse("Cast AI's Job %s began to %s the cluster: wait for it to end, or end it: kubectl delete job -n %s %[1]s", run.Name, run.Action, r.Namespace)
	})
}

// awaitOthers waits until no Job of Cast AI's pauses or resumes, and tells whether
// there was one.
func (r *Runner) awaitOthers(ctx context.Context) (waited bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.Step, fmt.Errorf("%w for Cast AI's Job to end", engine.ErrTimeout))
	defer cancel()
	err = r.others(ctx, func(run *OtherRun) (bool, error) {
		if run != nil && !waited {
			waited = true
			r.Tell(fmt.Sprintf("Waiting for Cast AI's Job %s to end, which began to %s the cluster at the same time", run.Name,
				run.Action))
		}
		return run == nil, nil
	})
	return waited, err
}

// others watches the Jobs of Cast AI's that pause or resume: done is called with
// one of them, or nil.
func (r *Runner) others(ctx context.Context, done func(*OtherRun) (bool, error)) error {
	return r.Cluster.Await(ctx, jobsResource(), r.Namespace, jobFields(), func(objects []*cluster.Object) (bool, error) {
		s := &State{}
		for _, o := range objects {
			run, err := readOtherRun(o)
			if err != nil {
				return false, err
			}
			if run != nil {
				s.Running = append(s.Running, *run)
			}
		}
		return done(s.runningOther())
	})
}

// restore lets CronJobs run again, whatever became of the run, unless it has lost
// the cluster to another run, which does so then.
func (r *Runner) restore(ctx context.Context, report *engine.Report, jobs []*CronJob) error {
	if r.DryRun || len(jobs) == 0 || errors.Is(context.Cause(ctx), cluster.ErrLost) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBack)
	defer cancel()
	if err := wait.ExponentialBackoffWithContext(ctx, wait.Backoff{Duration: time.Second, Factor: 2, Steps: 3},
		func(ctx context.Context) (bool, error) {
			return r.run(ctx, report, r.restoring(jobs)) == nil, nil
		}); err != nil {
		var refs []string
		for _, c := range jobs {
			refs = append(refs, c.Ref().String())
		}
		return &LeftError{fmt.Sprintf("these may still be suspended: %s: run resume --repair",
			names(refs, func(s string) string { return s }))}
	}
	return nil
}
