package hibernate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// The service's own hibernation scales a cluster to no node at all, and wakes it with
// a temporary one (DOC docs.cast.ai/docs/cluster-hibernation). It is started through
// hibernation jobs, which need a schedule that the cluster is assigned to.

// ManagedAPI is what that needs of the Cast AI API.
type ManagedAPI interface {
	Cluster(ctx context.Context, id string) (castai.Cluster, error)
	HibernationSchedules(ctx context.Context, organizationID string) ([]castai.HibernationSchedule, error)
	HibernationSchedule(ctx context.Context, organizationID, scheduleID string) (castai.HibernationSchedule, error)
	CreateHibernationSchedule(ctx context.Context, organizationID string,
		h castai.HibernationSchedule) (castai.HibernationSchedule, error)
	DeleteHibernationSchedule(ctx context.Context, organizationID, scheduleID string) error
	AssignSchedule(ctx context.Context, organizationID, scheduleID string, clusters []castai.ClusterAssignment) error
	PauseCluster(ctx context.Context, organizationID, id string) error
	ResumeCluster(ctx context.Context, organizationID, id string) error
}

// The statuses of a cluster that the service hibernates (castai/terraform-provider-castai
// castai/sdk, ExternalclusterV1Cluster.status).
const (
	statusReady       = "ready"
	statusHibernating = "hibernating"
	statusHibernated  = "hibernated"
	statusResuming    = "resuming"
)

// Managed is what there is of the service's own hibernation of a cluster.
type Managed struct {
	Cluster   castai.Cluster
	Schedules []castai.HibernationSchedule
}

// ObserveManaged asks for the schedules of the cluster's organization.
func ObserveManaged(ctx context.Context, api ManagedAPI, id string) (*Managed, error) {
	c, err := api.Cluster(ctx, id)
	if err != nil {
		return nil, err
	}
	if c.OrganizationId == "" {
		return nil, fmt.Errorf("the API names no organization of cluster %s, which its hibernation schedules belong to", id)
	}
	all, err := api.HibernationSchedules(ctx, c.OrganizationId)
	return &Managed{c, all}, err
}

// For tells whether a schedule is for the cluster.
func (m *Managed) For(h castai.HibernationSchedule) bool {
	return slices.ContainsFunc(h.ClusterAssignments.Items,
		func(a castai.ClusterAssignment) bool { return a.ClusterId == m.Cluster.Id })
}

// assigned returns the schedules that are for the cluster.
func (m *Managed) assigned() []castai.HibernationSchedule {
	return slices.DeleteFunc(slices.Clone(m.Schedules), func(h castai.HibernationSchedule) bool { return !m.For(h) })
}

// Find returns the schedule of that id, or the one of that name, if there is only one.
func (m *Managed) Find(name string) (h castai.HibernationSchedule, err error) {
	var found []castai.HibernationSchedule
	for _, h := range m.Schedules {
		if h.Id == name {
			return h, nil
		}
		if h.Name == name {
			found = append(found, h)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return h, refuse("there is no hibernation schedule %s: hibernate schedule list shows them", name)
	}
	return h, refuse("there are %d hibernation schedules of the name %s: name one by its id (hibernate schedule list)",
		len(found), name)
}

// zonePrefix comes before a cron expression that has a zone.
const zonePrefix = "CRON_TZ="

// ScheduleOf is when a schedule of the service's pauses and resumes. One zone for
// both is all that it can say.
func ScheduleOf(h castai.HibernationSchedule) (Schedule, error) {
	s := Schedule{TimeZone: DefaultTimeZone}
	zones := []string{}
	for _, one := range []struct {
		into *string
		cron string
	}{{&s.Pause, h.PauseConfig.Schedule.CronExpression}, {&s.Resume, h.ResumeConfig.Schedule.CronExpression}} {
		zone := DefaultTimeZone
		*one.into = one.cron
		if rest, ok := strings.CutPrefix(one.cron, zonePrefix); ok {
			zone, *one.into, _ = strings.Cut(rest, " ")
		}
		zones = append(zones, zone)
	}
	if s.TimeZone = zones[0]; zones[0] != zones[1] {
		return s, fmt.Errorf("it pauses by the clock of %s and resumes by that of %s", zones[0], zones[1])
	}
	return s, nil
}

// NewSchedule makes a schedule of the service's for clusters. instanceType is that of
// the first node of a cluster that wakes up.
func NewSchedule(name string, s Schedule, instanceType string, clusters ...string) castai.HibernationSchedule {
	cron := func(expression string) castai.HibernationCron {
		if s.TimeZone == "" {
			return castai.HibernationCron{CronExpression: expression}
		}
		return castai.HibernationCron{CronExpression: zonePrefix + s.TimeZone + " " + expression}
	}
	items := []castai.ClusterAssignment{}
	for _, id := range clusters {
		items = append(items, castai.ClusterAssignment{ClusterId: id})
	}
	return castai.HibernationSchedule{
		Name: name, Enabled: true,
		PauseConfig: castai.HibernationPause{Enabled: true, Schedule: cron(s.Pause)},
		ResumeConfig: castai.HibernationResume{
			Enabled: true, Schedule: cron(s.Resume),
			JobConfig: castai.HibernationJobConfig{NodeConfig: castai.HibernationNode{InstanceType: instanceType}},
		},
		ClusterAssignments: castai.ClusterAssignments{Items: items},
	}
}

// Assign makes a schedule one for the cluster, or not, until the API says that it is
// so. A schedule is one of the whole organization: the others in it stay.
func (m *Managed) Assign(ctx context.Context, api ManagedAPI, h castai.HibernationSchedule, assigned bool) error {
	backoff := wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 6}
	err := wait.ExponentialBackoffWithContext(ctx, backoff, func(ctx context.Context) (bool, error) {
		now, err := api.HibernationSchedule(ctx, m.Cluster.OrganizationId, h.Id)
		if err != nil || m.For(now) == assigned {
			return err == nil, err
		}
		items := slices.DeleteFunc(slices.Clone(now.ClusterAssignments.Items),
			func(a castai.ClusterAssignment) bool { return a.ClusterId == m.Cluster.Id })
		if items == nil {
			items = []castai.ClusterAssignment{} // null could mean no change
		}
		if assigned {
			items = append(items, castai.ClusterAssignment{ClusterId: m.Cluster.Id})
		}
		return false, api.AssignSchedule(ctx, m.Cluster.OrganizationId, h.Id, items)
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		return fmt.Errorf("the clusters of hibernation schedule %s do not stay as they are set: somebody else sets them, too",
			h.Name)
	}
	return err
}

// Delete deletes a schedule that is for no other cluster, and looks right before.
func (m *Managed) Delete(ctx context.Context, api ManagedAPI, h castai.HibernationSchedule) error {
	now, err := api.HibernationSchedule(ctx, m.Cluster.OrganizationId, h.Id)
	if castai.IsGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, a := range now.ClusterAssignments.Items {
		if a.ClusterId != m.Cluster.Id {
			return refuse("the hibernation schedule %s is for other clusters, too (%s is one): hibernate schedule unassign takes this one out of it", now.Name, a.ClusterId)
		}
	}
	if err := api.DeleteHibernationSchedule(ctx, m.Cluster.OrganizationId, h.Id); err != nil && !castai.IsGone(err) {
		return err
	}
	return nil
}

// resumingTaint is that of the temporary node on which a cluster wakes up (DOC
// docs.cast.ai/docs/cluster-hibernation).
func resumingTaint() *corev1.Taint {
	return &corev1.Taint{Key: "provisioning.cast.ai/temporary", Value: "resuming", Effect: corev1.TaintEffectNoSchedule}
}

// wakers are the components that must run on that node.
var wakers = []string{"castai-agent", "castai-cluster-controller"}

// Untolerated returns those of the components that wake a cluster which may not run
// on its temporary node, and the names of those that are not there at all. Charts
// since 2026-03 tolerate CriticalAddonsOnly instead (HC a3752165).
func (s *State) Untolerated() (out []*Workload, absent []string) {
	critical := &corev1.Taint{Key: "CriticalAddonsOnly", Value: "true", Effect: corev1.TaintEffectNoSchedule}
	for _, name := range wakers {
		i := slices.IndexFunc(s.Workloads, func(w *Workload) bool {
			return w.Namespace == s.Namespace && w.Resource.Kind == "Deployment" &&
				(w.Name == name || w.Labels["app.kubernetes.io/name"] == name)
		})
		if i < 0 {
			absent = append(absent, name)
			continue
		}
		if all := s.Workloads[i].Template.Spec.Tolerations; !tolerated(all, resumingTaint()) && !tolerated(all, critical) {
			out = append(out, s.Workloads[i])
		}
	}
	return out, absent
}

// ManagedOptions are what a user decides about it.
type ManagedOptions struct {
	// Tolerate: give the components the toleration that they lack.
	Tolerate bool
	// Accept are the names of the refusals that the user goes on against.
	Accept []string
}

// ManagedPlan is what has to be done to have the service hibernate a cluster, or
// resume it.
type ManagedPlan struct {
	// Already: there is nothing to do, and why.
	Already string
	// Begun: it has begun already, and is only waited for.
	Begun    bool
	Tolerate []*Workload
	Warnings []string
	Pause    bool
}

// PlanManagedPause says what has to be done to have the service hibernate the
// cluster. All nodes go, and nothing runs meanwhile.
func PlanManagedPause(s *State, m *Managed, o ManagedOptions) (*ManagedPlan, error) {
	p := &ManagedPlan{Pause: true}
	if err := s.ThisCluster(); err != nil {
		return nil, err
	}
	switch m.Cluster.Status {
	case statusHibernated:
		return &ManagedPlan{Already: "the service has hibernated the cluster"}, nil
	case statusHibernating:
		p.Begun = true
		return p, nil
	case statusReady:
	default:
		return nil, refuse("the console says that the cluster is %s, and not ready: see to that first",
			cmp.Or(m.Cluster.Status, "in an unknown state"))
	}
	if err := s.unmanaged(m); err != nil {
		return nil, err
	}
	var err error
	if p.Tolerate, err = s.wakes(o); err != nil {
		return nil, err
	}
	if n := len(s.Nodes); n > mostNodes {
		p.Warnings = append(p.Warnings,
			fmt.Sprintf("the cluster has %d nodes: of more than %d, the service may fail to hibernate it", n, mostNodes))
	}
	p.Warnings = append(p.Warnings,
		fmt.Sprintf("all %d nodes go, those that Cast AI did not make, too, and nothing runs until the cluster is resumed: kube-system and Cast AI's components neither", len(s.Nodes)))
	return p, nil
}

// mostNodes is of how many the service is known to hibernate clusters
// (terraform-provider-castai issue 590).
const mostNodes = 1000

// unmanaged refuses a cluster that something else pauses, or that no schedule is for.
func (s *State) unmanaged(m *Managed) error {
	if err := s.alone(); err != nil {
		return err
	}
	if len(m.assigned()) == 0 {
		return refuse("the service needs a hibernation schedule that is for the cluster: run hibernate schedule create --assign, or hibernate schedule assign")
	}
	return nil
}

// PlanManagedResume says what has to be done to have the service resume the cluster.
func PlanManagedResume(s *State, m *Managed) (*ManagedPlan, error) {
	if err := s.ThisCluster(); err != nil {
		return nil, err
	}
	switch m.Cluster.Status {
	case statusHibernated:
		if len(m.assigned()) == 0 {
			return nil, refuse("the service needs a hibernation schedule that is for the cluster, whose node it wakes up with: run hibernate schedule assign")
		}
		return &ManagedPlan{}, nil
	case statusResuming:
		return &ManagedPlan{Begun: true}, nil
	case statusHibernating:
		return nil, refuse("the service is hibernating the cluster right now: wait for it to end (hibernate pause --managed waits)")
	}
	if m.Cluster.Status != statusReady {
		return nil, unready(m.Cluster)
	}
	return &ManagedPlan{Already: "the service has not hibernated the cluster: the console says that it is ready"}, nil
}

// addToleration returns the patch that lets a component run on the temporary node.
func addToleration(o *cluster.Object) (map[string]any, error) {
	taint := resumingTaint()
	list := append(listAt(o, tolerations...), map[string]any{"key": taint.Key, "operator": "Equal", "value": taint.Value,
		"effect": string(taint.Effect)})
	return map[string]any{"spec": podTolerations(list)}, nil
}

// Tolerating lets the components run on the node that wakes the cluster.
func (r *Runner) Tolerating(p *ManagedPlan) []engine.Phase {
	phase := engine.Phase{Name: phaseTolerate, Title: "Let Cast AI's components run on the node that wakes the cluster",
		Gate: true, Timeout: r.Step}
	for _, w := range p.Tolerate {
		phase.Actions = append(phase.Actions, change(w.Object, "it wakes the cluster, and stays so", addToleration))
	}
	return nonEmpty(phase)
}

// ManagedPhases returns the plan.
func (r *Runner) ManagedPhases(p *ManagedPlan, api ManagedAPI, organizationID string) []engine.Phase {
	title, why, start, done := "Have the service resume the cluster", "makes a temporary node, then those that pods wait for", api.ResumeCluster, managedEnd{statusHibernated, statusResuming, statusReady}
	if p.Pause {
		title, why, start, done = "Have the service hibernate the cluster", "removes all nodes", api.PauseCluster, managedEnd{statusReady, statusHibernating, statusHibernated}
	}
	if p.Begun {
		start, why = nil, "has begun, and is waited for"
	}
	return append(r.Tolerating(p), engine.Phase{Name: phaseAutoscaler, Title: title, Gate: true, Timeout: r.Managed,
		Actions: []engine.Action{{
			Verb: engine.Call, Target: r.console(), Operation: operationAwait, Why: why,
			Do: func(ctx context.Context, tell func(string)) error {
				if start != nil {
					if err := start(ctx, organizationID, r.ClusterID); err != nil && !r.began(ctx, api, done) {
						return err
					}
				}
				return r.awaitStatus(ctx, api, done, tell)
			},
		}}})
}

// managedEnd are the statuses that a cluster goes through.
type managedEnd struct{ before, during, after string }

// began tells whether it has begun although the answer was lost.
func (r *Runner) began(ctx context.Context, api ManagedAPI, end managedEnd) bool {
	c, err := api.Cluster(ctx, r.ClusterID)
	return err == nil && (c.Status == end.during || c.Status == end.after)
}

// awaitStatus waits until the service says that it is done, or has given up.
func (r *Runner) awaitStatus(ctx context.Context, api ManagedAPI, end managedEnd, tell func(string)) error {
	began := false
	return wait.PollUntilContextCancel(ctx, polling, true, func(ctx context.Context) (bool, error) {
		c, err := api.Cluster(ctx, r.ClusterID)
		if castai.IsPassing(err) {
			return false, nil
		}
		switch {
		case err != nil:
			return false, err
		case c.Status == end.after:
			return true, nil
		case c.Status == end.during:
			began = true
			tell("waits for the service: the cluster is " + c.Status)
		case c.Status != end.before || began:
			return false, errors.New("the cluster is " + cmp.Or(c.Status, "in an unknown state") +
				" now: the console says why (" + cmp.Or(c.ReconcileError, "no reason is given by the API") + ")")
		}
		return false, nil
	})
}

// RunManaged carries out a plan.
func (r *Runner) RunManaged(ctx context.Context, report *engine.Report, phases []engine.Phase) error {
	return r.run(ctx, report, phases)
}

// Way says which of the two ways of pausing fits a cluster.
type Way struct {
	// Managed: the service's own hibernation does.
	Managed bool `json:"managed"`
	// Why not, or why.
	Why []string `json:"why"`
}

// Way tells which way fits, and why.
func (s *State) Way(keep []string) Way {
	var against []string
	if provider := strings.ToLower(s.Console.Cluster.ProviderType); defaultNodes[provider] == "" {
		against = append(against, fmt.Sprintf("the service hibernates EKS, GKE and AKS, and this is %s",
			cmp.Or(provider, "something else")))
	}
	if len(keep) > 0 {
		against = append(against, "namespaces are to be kept, and the service keeps none")
	}
	foreign := 0
	for _, n := range s.Nodes {
		if !n.own() {
			foreign++
		}
	}
	switch {
	case foreign == 1:
		against = append(against, "one node is not Cast AI's, and would go, too")
	case foreign > 1:
		against = append(against, fmt.Sprintf("%d nodes are not Cast AI's, and would go, too", foreign))
	}
	if len(s.Nodes) > mostNodes {
		against = append(against, fmt.Sprintf("it has more than %d nodes", mostNodes))
	}
	if len(against) > 0 {
		return Way{Why: against}
	}
	why := []string{"no node is left to pay for"}
	if lacking, absent := s.Untolerated(); len(lacking)+len(absent) > 0 {
		why = append(why, "Cast AI's components need a toleration first (--add-tolerations)")
	}
	return Way{Managed: true, Why: append(why, "it has to be enabled for the organization")}
}

// String says it in a sentence, without a full stop.
func (w Way) String() string {
	if w.Managed {
		return "the service's own hibernation (--managed) fits this cluster, too: " + strings.Join(w.Why, "; ")
	}
	return "this way fits the cluster better than the service's own hibernation: " + strings.Join(w.Why, "; ")
}
