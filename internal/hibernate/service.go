package hibernate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/castai/kubectl-castai/internal/castai"
)

// ServiceSchedule is what --accept takes to pause a cluster that the service's own
// hibernation pauses, too.
const ServiceSchedule = "service-schedule"

// serviceSleep tells whether the service has hibernated the cluster, or is at it.
func (s *State) serviceSleep() (sleep Sleep, ok bool) {
	if s.Console == nil {
		return sleep, false
	}
	phase, ok := map[string]Phase{statusHibernated: Paused, statusHibernating: Pausing,
		statusResuming: Resuming}[s.Console.Cluster.Status]
	return Sleep{Phase: phase, Who: Service}, ok
}

// byService says what the service has done.
func (s Sleep) byService() string {
	if s.Phase == Paused {
		return "hibernated by the service: resume --managed wakes it"
	}
	return map[Phase]string{Pausing: "being hibernated", Resuming: "being resumed"}[s.Phase] +
		" by the service right now: wait for it to end"
}

// Clause is String as a sentence of its own.
func (s Sleep) Clause() string {
	if s.Who == Service || s.Job == "" && s.Phase != Pausing && s.Phase != Resuming {
		return "the cluster is " + s.String()
	}
	return s.String()
}

// Doubt says what speaks for a pause by Cast AI's job on a cluster that seems to be
// awake; empty: nothing does. That job's resume writes nothing down, and a node that
// was being made joins later than the pause: only the autoscaler tells.
func (s *State) Doubt() string {
	sleeper := slices.ContainsFunc(s.Nodes, func(n *Node) bool { return n.Object.Labels[PausedKey] == "true" })
	if s.Console != nil || !sleeper || !s.Record.Vendor || s.Record.Status != statusSuccess {
		return ""
	}
	return "Cast AI's job paused the cluster at " + s.Record.Time.Local().Format(LocalTime) +
		", and only the API tells whether it is awake since"
}

// lostPods are those, on the nodes that go, that nothing would make again.
func (s *State) lostPods(goes func(node string) bool) (lost []string) {
	for _, pod := range s.Pods {
		if goes(pod.Spec.NodeName) && pod.alone() {
			lost = append(lost, pod.Object.Namespace+"/"+pod.Object.Name)
		}
	}
	return lost
}

// wakes refuses a cluster that would not wake as it was, and returns the components
// that are to get the toleration that they lack.
func (s *State) wakes(o ManagedOptions) ([]*Workload, error) {
	lacking, absent := s.Untolerated()
	if len(absent) > 0 {
		return nil, refuse("%s must be in namespace %s to wake the cluster, and is not", strings.Join(absent, ", "),
			s.Namespace)
	}
	if len(lacking) > 0 && !o.Tolerate {
		return nil,
			refuse("%s may not run on the temporary node on which the cluster wakes up (its taint is %s): it would not wake. Pass --add-tolerations, or set tolerations in the values of the charts, which the next upgrade needs anyway",
				names(lacking, func(w *Workload) string { return w.Ref().String() }), resumingTaint().ToString())
	}
	if lost := s.lostPods(func(string) bool { return true }); len(lost) > 0 && !slices.Contains(o.Accept, LostPods) {
		return nil, refuse("all nodes go, and these pods have no controller that would make them again: %s. Remove them, or pass --accept=%s", strings.Join(lost, ", "), LostPods)
	}
	return lacking, nil
}

// PlanAssign says what has to be done before a schedule is one for the cluster: from
// then on the service hibernates it without asking anybody.
func PlanAssign(s *State, m *Managed, h castai.HibernationSchedule, o ManagedOptions) (*ManagedPlan, error) {
	if err := s.ThisCluster(); err != nil {
		return nil, err
	}
	if err := s.alone(); err != nil {
		return nil, err
	}
	if h.PauseConfig.Enabled && !h.ResumeConfig.Enabled {
		return nil, refuse("the hibernation schedule %s pauses clusters and resumes none: enable its resume at the console first", h.Name)
	}
	for _, other := range m.armed() {
		if other.Id != h.Id && !slices.Contains(o.Accept, OverlappingPairs) {
			return nil, refuse("the hibernation schedule %s is for the cluster already: hibernate schedule unassign takes it out of that one; or pass --accept=%s", other.Name, OverlappingPairs)
		}
	}
	if schedule, err := ScheduleOf(h); err == nil {
		if err := schedule.Validate(time.Now(), o.Accept); err != nil {
			return nil, refuse("the hibernation schedule %s: %v", h.Name, err)
		}
	}
	lacking, err := s.wakes(o)
	return &ManagedPlan{Tolerate: lacking}, err
}

// armed returns the schedules by which the service hibernates the cluster.
func (m *Managed) armed() []castai.HibernationSchedule {
	return slices.DeleteFunc(m.assigned(), func(h castai.HibernationSchedule) bool {
		return !h.Enabled ||
			!h.PauseConfig.Enabled
	})
}

// Armed tells whether the service hibernates the cluster by a schedule.
func (m *Managed) Armed() bool { return len(m.armed()) > 0 }

// Unarmed refuses to pause a cluster that the service hibernates, too: it would wake it
// with the autoscaler off.
func (m *Managed) Unarmed(accept []string) error {
	armed := m.armed()
	if len(armed) == 0 || slices.Contains(accept, ServiceSchedule) {
		return nil
	}
	return refuse("the service hibernates the cluster, too, by the schedule %s: two ways of pausing do not mix. Take the cluster out of it (hibernate schedule unassign), or pass --accept=%s",
		names(armed, func(h castai.HibernationSchedule) string { return cmp.Or(h.Name, h.Id) }), ServiceSchedule)
}

// alone refuses a cluster that something else than the service pauses.
func (s *State) alone() error {
	if s.Blind != "" {
		return refuse("%s. Whether another job pauses or resumes is not known then", s.Blind)
	}
	if sleep := s.Sleep(); sleep.Asleep() {
		return refuse("%s. Wake it first: two ways of pausing do not mix", sleep.Clause())
	}
	var awake []string
	for _, c := range s.CronJobs {
		if !c.Suspended {
			awake = append(awake, c.Ref().String())
		}
	}
	if len(awake) > 0 {
		return refuse("these CronJobs pause and resume the cluster, too: %s. Remove or suspend them first (hibernate uninstall --all): two ways of pausing do not mix", strings.Join(awake, ", "))
	}
	return nil
}

// unready is what the console says of a cluster that is neither awake nor hibernated.
func unready(c castai.Cluster) error {
	why := ""
	if c.ReconcileError != "" {
		why = fmt.Sprintf(" (%s)", c.ReconcileError)
	}
	return refuse("the console says that the cluster is %s%s, and neither hibernated nor ready: see to that first",
		cmp.Or(c.Status, "in an unknown state"), why)
}
