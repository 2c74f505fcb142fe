package hibernate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Installation is what is there of the objects that pause a cluster on a schedule.
type Installation struct {
	Namespace string
	// Configuration is that of the CronJobs.
	Configuration Configuration
	// Suspended tells of each CronJob whether it does nothing.
	Suspended Suspended
	// Release is the Helm release that it comes from; empty: none.
	Release string
	// Runs are those that are still known, the newest first.
	Runs []Run
	// objects by name of a manifest's target.
	objects map[cluster.Ref]*cluster.Object
	// admin grants the jobs the role admin, and nobody else anything.
	admin *cluster.Object
}

// Suspended tells which of the two CronJobs are suspended.
type Suspended struct {
	Pause  bool `json:"pause"`
	Resume bool `json:"resume"`
}

// Run is a Job of one of the CronJobs.
type Run struct {
	Name    string    `json:"name"`
	Action  string    `json:"action"` // pause or resume
	Started time.Time `json:"started"`
	// Result is running, succeeded or failed; Cast AI's own job succeeds even if
	// it has failed (HB app/main.py).
	Result string `json:"result"`
}

// InstallationScope is what ReadInstallation needs of a cluster.
func InstallationScope(namespace string) cluster.Scope {
	roles := []string{"clusterroles." + rbac, "clusterrolebindings." + rbac}
	return cluster.Scope{
		Namespaces: []string{namespace}, Whole: roles,
		Kinds: append([]string{"cronjobs.batch", "jobs.batch", "configmaps", "secrets", "serviceaccounts", "roles." + rbac, "rolebindings." + rbac}, roles...),
		Bodies: map[string][][]string{
			"cronjobs.batch": {{"spec"}},
			"jobs.batch":     {{"status"}},
		},
	}
}

// ReadInstallation finds the installation in a snapshot of InstallationScope, or
// a wider one. Without its CronJobs and Jobs there is nothing to say; who writes
// must be able to read the rest of the scope, too (Readable).
func ReadInstallation(snap *cluster.Snapshot, namespace string) (*Installation, error) {
	if err := Readable(snap, "cronjobs.batch", "jobs.batch"); err != nil {
		return nil, err
	}
	in := &Installation{Namespace: namespace, objects: map[cluster.Ref]*cluster.Object{}}
	known := map[cluster.Ref]bool{ref("", "ConfigMap", namespace, StateName): true}
	for _, m := range manifests(namespace, Configuration{}, &Key{}) {
		known[m.target.Ref] = true
	}
	for _, o := range snap.Objects {
		switch r := o.Ref(); {
		case known[r]:
			in.objects[r] = o
		case r == ref(rbac, "ClusterRoleBinding", "", adminBinding):
			if only(o, namespace) {
				in.admin = o
			}
		case r.Kind == "Job" && r.Namespace == namespace:
			if run, ok := readRun(o); ok {
				in.Runs = append(in.Runs, run)
			}
		}
	}
	slices.SortFunc(in.Runs, func(a, b Run) int { return cmp.Or(b.Started.Compare(a.Started), cmp.Compare(a.Name, b.Name)) })
	return in, in.readCronJobs()
}

// Installed tells whether both CronJobs are there.
func (in *Installation) Installed() bool {
	return in.cronJob(PauseCronJob) != nil && in.cronJob(ResumeCronJob) != nil
}

// Objects returns what is there, in a stable order.
func (in *Installation) Objects() []*cluster.Object {
	var out []*cluster.Object
	for _, o := range in.objects {
		out = append(out, o)
	}
	if in.admin != nil {
		out = append(out, in.admin)
	}
	slices.SortFunc(out, func(a, b *cluster.Object) int { return a.Ref().Compare(b.Ref()) })
	return out
}

// CronJob returns the CronJob of an action, or nil.
func (in *Installation) CronJob(action string) *cluster.Object {
	return in.cronJob("hibernate-" + action)
}

func (in *Installation) cronJob(name string) *cluster.Object {
	return in.objects[ref("batch", "CronJob", in.Namespace, name)]
}

// HasSecret tells whether the Secret of the key is there.
func (in *Installation) HasSecret() bool {
	return in.objects[ref("", "Secret", in.Namespace, secretName)] != nil
}

// readCronJobs reads the configuration from the CronJobs that are there.
func (in *Installation) readCronJobs() error {
	for _, name := range []string{ResumeCronJob, PauseCronJob} {
		o := in.cronJob(name)
		if o == nil {
			continue
		}
		in.Release = cmp.Or(o.Annotations["meta.helm.sh/release-name"], in.Release)
		var job batchv1.CronJob
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Body, &job); err != nil {
			return fmt.Errorf("%s can't be read: %w", o.Ref(), err)
		}
		c := &in.Configuration
		if job.Spec.TimeZone != nil {
			c.TimeZone = *job.Spec.TimeZone
		}
		suspended := job.Spec.Suspend != nil && *job.Spec.Suspend
		if name == ResumeCronJob {
			c.Resume, in.Suspended.Resume = job.Spec.Schedule, suspended
		} else {
			c.Pause, in.Suspended.Pause = job.Spec.Schedule, suspended
		}
		containers := job.Spec.JobTemplate.Spec.Template.Spec.Containers
		if len(containers) == 0 {
			return fmt.Errorf("%s has no container", o.Ref())
		}
		// The CronJob that pauses has all the settings, in Cast AI's chart, too.
		env := variables(containers[0].Env)
		settings, err := SettingsFromEnv(func(name string) string { return env[name] })
		if err != nil {
			return fmt.Errorf("%s: %w", o.Ref(), err)
		}
		c.Settings, c.Image, c.Provider = settings, containers[0].Image, strings.ToLower(env[envCloud])
	}
	return nil
}

func variables(env []corev1.EnvVar) map[string]string {
	out := map[string]string{}
	for _, e := range env {
		out[e.Name] = e.Value
	}
	return out
}

// readRun reads a Job of one of the CronJobs.
func readRun(o *cluster.Object) (run Run, ok bool) {
	owner := o.Controller()
	if owner == nil || owner.Kind != "CronJob" || owner.Name != PauseCronJob && owner.Name != ResumeCronJob {
		return run, false
	}
	return Run{Name: o.Name, Action: strings.TrimPrefix(owner.Name, "hibernate-"), Started: o.Created, Result: JobResult(o)}, true
}

// JobResult tells from the status of a Job how it ended: running, succeeded or
// failed.
func JobResult(o *cluster.Object) string {
	conditions, _, _ := unstructured.NestedSlice(o.Body, "status", "conditions")
	for _, c := range conditions {
		m, _ := c.(map[string]any)
		switch {
		case m["status"] != string(corev1.ConditionTrue):
		case m["type"] == string(batchv1.JobComplete):
			return "succeeded"
		case m["type"] == string(batchv1.JobFailed):
			return "failed"
		}
	}
	return "running"
}

// only tells whether a binding to the role admin has no other subject than the
// jobs' account.
func only(o *cluster.Object, namespace string) bool {
	var b rbacv1.ClusterRoleBinding
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Body, &b); err != nil {
		return false
	}
	return b.RoleRef.Kind == "ClusterRole" && b.RoleRef.Name == "admin" && len(b.Subjects) == 1 &&
		b.Subjects[0].Kind == rbacv1.ServiceAccountKind && b.Subjects[0].Name == account && b.Subjects[0].Namespace == namespace
}

// Foreign tells whether the installation was not made by this plugin: it grants
// more than the jobs need, and install brings it in order.
func (in *Installation) Foreign() bool {
	o := in.cronJob(PauseCronJob)
	return o == nil || !slices.Contains(o.Managers, cluster.FieldManager)
}

// Newest returns the newest run of each action, the older one first.
func (in *Installation) Newest() []Run {
	var out []Run
	for _, r := range in.Runs {
		if !slices.ContainsFunc(out, func(o Run) bool { return o.Action == r.Action }) {
			out = append([]Run{r}, out...)
		}
	}
	return out
}

// With returns the configuration with those settings of another one whose flags
// were given.
func (c Configuration) With(other Configuration, given func(flag string) bool) Configuration {
	for flag, set := range map[string]func(){
		"pause-schedule": func() { c.Pause = other.Pause }, "resume-schedule": func() { c.Resume = other.Resume },
		"time-zone": func() { c.TimeZone = other.TimeZone }, "hibernate-node": func() { c.Node = other.Node },
		"hibernate-node-labels":    func() { c.NodeLabels = other.NodeLabels },
		"namespaces-to-keep":       func() { c.NamespacesToKeep = other.NamespacesToKeep },
		"protect-removal-disabled": func() { c.ProtectRemovalDisabled = other.ProtectRemovalDisabled },
		"image":                    func() { c.Image = other.Image },
	} {
		if given(flag) {
			set()
		}
	}
	return c
}

// Provider tells from the nodes among the objects which provider's cluster it is,
// in Cast AI's words; empty: none that its jobs know.
func Provider(objects []*cluster.Object) string {
	for _, o := range objects {
		if o.Resource.Kind != "Node" || o.Resource.Group != "" {
			continue
		}
		id, _ := specOf(o)["providerID"].(string)
		scheme, _, _ := strings.Cut(id, "://")
		if p := map[string]string{"aws": "eks", "gce": "gke", "azure": "aks"}[scheme]; p != "" {
			return p
		}
	}
	return ""
}
