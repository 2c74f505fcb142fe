package hibernate

import (
	"cmp"
	"maps"
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
	// Pairs of CronJobs, by name: the documented one, whose name is empty, and those
	// for further time slots.
	Pairs []*Pair
	// Runs are those that are still known, the newest first.
	Runs []Run
	// objects that all pairs share, by name of a manifest's target.
	objects map[cluster.Ref]*cluster.Object
	// others are CronJobs that hibernate nothing and use what the pairs share.
	others []*cluster.Object
	// admin grants the jobs the role admin, and nobody else anything.
	admin *cluster.Object
}

// Run is a Job of one of the CronJobs.
type Run struct {
	Name    string    `json:"name"`
	Pair    string    `json:"pair,omitempty"`
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
		Kinds: append([]string{"cronjobs.batch", "jobs.batch", "configmaps", "secrets", "serviceaccounts", "roles." + rbac,
			"rolebindings." + rbac}, roles...),
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
	known := map[cluster.Ref]bool{}
	for _, r := range Targets(namespace) {
		known[r] = true
	}
	var cronJobs []*cluster.Object
	for _, o := range snap.Objects {
		switch r := o.Ref(); {
		case known[r]:
			in.objects[r] = o
		case r == ref(rbac, "ClusterRoleBinding", "", adminBinding):
			if only(o, namespace) {
				in.admin = o
			}
		case r.GroupKind().String() == "CronJob.batch" && r.Namespace == namespace:
			cronJobs = append(cronJobs, o)
		}
	}
	if err := in.readPairs(cronJobs); err != nil {
		return nil, err
	}
	for _, o := range snap.Objects {
		if r := o.Ref(); r.GroupKind().String() == "Job.batch" && r.Namespace == namespace {
			if run, ok := in.readRun(o); ok {
				in.Runs = append(in.Runs, run)
			}
		}
	}
	slices.SortFunc(in.Runs, func(a, b Run) int {
		return cmp.Or(b.Started.Compare(a.Started),
			cmp.Compare(a.Name, b.Name))
	})
	return in, nil
}

// shared returns what all pairs share, in a stable order.
func (in *Installation) shared() []*cluster.Object {
	out := slices.Collect(maps.Values(in.objects))
	if in.admin != nil {
		out = append(out, in.admin)
	}
	slices.SortFunc(out, func(a, b *cluster.Object) int { return a.Ref().Compare(b.Ref()) })
	return out
}

// HasSecret tells whether the Secret of the key is there.
func (in *Installation) HasSecret() bool {
	return in.objects[ref("", "Secret", in.Namespace, secretName)] != nil
}

func variables(env []corev1.EnvVar) map[string]string {
	out := map[string]string{}
	for _, e := range env {
		out[e.Name] = e.Value
	}
	return out
}

// readRun reads a Job of one of the CronJobs.
func (in *Installation) readRun(o *cluster.Object) (run Run, ok bool) {
	owner := o.Controller()
	if owner == nil || owner.Kind != "CronJob" {
		return run, false
	}
	for _, p := range in.Pairs {
		for action, c := range p.cronJobs {
			if c.Name == owner.Name {
				return Run{Name: o.Name, Pair: p.Name, Action: action, Started: o.Created, Result: JobResult(o)}, true
			}
		}
	}
	return run, false
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
		b.Subjects[0].Kind == rbacv1.ServiceAccountKind && b.Subjects[0].Name == account &&
		b.Subjects[0].Namespace == namespace
}

// Newest returns the newest run of each action of each pair, the oldest first.
func (in *Installation) Newest() []Run {
	var out []Run
	for _, r := range in.Runs {
		if !slices.ContainsFunc(out, func(o Run) bool { return o.Action == r.Action && o.Pair == r.Pair }) {
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
		"keep":                     func() { c.Keep = other.Keep },
		"accept":                   func() { c.Accept = other.Accept },
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
