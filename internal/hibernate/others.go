package hibernate

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// CronJob is one that pauses or resumes the cluster, of whatever name.
type CronJob struct {
	*cluster.Object
	// Action is what its jobs do: pause or resume.
	Action string
	// Own: its jobs run this plugin, which the Lease keeps apart.
	Own       bool
	Suspended bool
	Schedule  string
	TimeZone  string
}

// OtherRun is a Job that pauses or resumes the cluster and has not ended.
type OtherRun struct {
	Run
	Object *cluster.Object
	// Own: it runs this plugin.
	Own bool
}

// ownImage is the last part of the name of this plugin's image, in any registry.
const ownImage = "kubectl-castai"

// pod is what a CronJob or Job runs, as far as it tells whether it hibernates.
type pod struct {
	action    string
	own       bool
	container *corev1.Container
}

// readPod finds the container that hibernates: it has the action of Cast AI's job
// in its environment and runs that image, or this plugin's, from any registry, or
// reads the Secret that both read (HB deploy.yaml). Any action but resume pauses
// (HB app/main.py).
func readPod(spec corev1.PodSpec) (p pod, ok bool) {
	for i := range spec.Containers {
		c := &spec.Containers[i]
		action, has := variables(c.Env)[envAction]
		name := imageName(c.Image)
		known := slices.Contains([]string{"hibernate", "castai-hibernate", ownImage}, name) ||
			readsKey(*c)
		if !has || !known {
			continue
		}
		if action != actionResume {
			action = actionPause
		}
		return pod{action: action, own: name == ownImage, container: c}, true
	}
	return p, false
}

// imageName is the last part of the repository of an image.
func imageName(image string) string {
	image, _, _ = strings.Cut(image, "@")
	image = image[strings.LastIndex(image, "/")+1:]
	image, _, _ = strings.Cut(image, ":")
	return image
}

// readOther takes in a CronJob or Job that hibernates.
func (s *State) readOther(o *cluster.Object) error {
	if o.Resource.Kind == "CronJob" {
		var job batchv1.CronJob
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Body, &job); err != nil {
			return fmt.Errorf("%s can't be read: %w", o.Ref(), err)
		}
		if p, ok := readPod(job.Spec.JobTemplate.Spec.Template.Spec); ok {
			c := &CronJob{Object: o, Action: p.action, Own: p.own, Schedule: job.Spec.Schedule}
			c.Suspended = job.Spec.Suspend != nil && *job.Spec.Suspend
			if job.Spec.TimeZone != nil {
				c.TimeZone = *job.Spec.TimeZone
			}
			s.CronJobs = append(s.CronJobs, c)
		}
		return nil
	}
	run, err := readOtherRun(o)
	if run != nil {
		s.Running = append(s.Running, *run)
	}
	return err
}

// readOtherRun reads a Job that hibernates and has not ended; nil: it is none.
func readOtherRun(o *cluster.Object) (*OtherRun, error) {
	var job batchv1.Job
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Body, &job); err != nil {
		return nil, fmt.Errorf("%s can't be read: %w", o.Ref(), err)
	}
	p, ok := readPod(job.Spec.Template.Spec)
	if !ok || JobResult(o) != "running" || o.Terminating() || job.Spec.Suspend != nil && *job.Spec.Suspend {
		return nil, nil
	}
	run := Run{Name: o.Name, Action: p.action, Started: o.Created, Result: "running"}
	return &OtherRun{Run: run, Object: o, Own: p.own}, nil
}

// runningOther returns the Job of Cast AI's that pauses or resumes right now, the
// oldest of several, or nil. Those of this plugin are kept apart by the Lease. One
// that began long ago hangs: its pod may wait for a node that only a resume brings.
func (s *State) runningOther() *OtherRun {
	var out *OtherRun
	for i := range s.Running {
		run := &s.Running[i]
		hangs := !run.Started.IsZero() && time.Since(run.Started) > longestRun
		if !run.Own && !within(run.Name) && !hangs && (out == nil ||
			cmp.Or(run.Started.Compare(out.Started), cmp.Compare(run.Name, out.Name)) < 0) {
			out = run
		}
	}
	return out
}

// within tells whether this process is a pod of the Job: their names begin with it
// (k8s.io/kubernetes pkg/controller/job).
func within(job string) bool {
	host, err := os.Hostname()
	return err == nil && strings.HasPrefix(host, job+"-")
}
