package printer

import (
	"fmt"
	"strings"
	"time"

	"github.com/castai/kubectl-castai/internal/hibernate"
	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Managed is what the service's own hibernation of a cluster is at.
type Managed struct {
	// Status is that of the cluster at Cast AI, such as ready or hibernated.
	Status string `json:"status"`
	// Schedules are those of the organization.
	Schedules []ManagedSchedule `json:"schedules"`
	// Untolerated are the components that may not run on the node that wakes the cluster.
	Untolerated []cluster.Ref `json:"untolerated"`
	// Way tells which of the two ways of pausing fits the cluster.
	Way hibernate.Way `json:"way"`
}

// ManagedSchedule is a hibernation schedule of the organization.
type ManagedSchedule struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Enabled bool   `json:"enabled"`
	// Assigned: it is for this cluster. Clusters counts all that it is for.
	Assigned           bool `json:"assigned"`
	Clusters           int  `json:"clusters"`
	hibernate.Schedule `json:"schedule"`
	Forecast           *hibernate.Forecast `json:"forecast,omitempty"`
}

// NewManaged describes it. s must have what Cast AI says of the cluster.
func NewManaged(s *hibernate.State, m *hibernate.Managed, now time.Time) *Managed {
	out := &Managed{Status: m.Cluster.Status, Schedules: []ManagedSchedule{}, Untolerated: []cluster.Ref{},
		Way: s.Way(nil)}
	for _, h := range m.Schedules {
		one := ManagedSchedule{ID: h.Id, Name: h.Name, Enabled: h.Enabled && h.PauseConfig.Enabled, Assigned: m.For(h),
			Clusters: len(h.ClusterAssignments.Items)}
		var err error
		if one.Schedule, err = hibernate.ScheduleOf(h); err == nil && one.Enabled {
			if f, err := one.Schedule.Forecast(now); err == nil {
				one.Forecast = f
			}
		}
		out.Schedules = append(out.Schedules, one)
	}
	lacking, _ := s.Untolerated()
	for _, w := range lacking {
		out.Untolerated = append(out.Untolerated, w.Ref())
	}
	return out
}

// Schedules lists hibernation schedules.
func (t *Text) Schedules(all []ManagedSchedule) {
	if len(all) == 0 {
		t.line("The organization has no hibernation schedules")
		return
	}
	rows := [][]string{{"NAME", "ID", "THIS CLUSTER", "CLUSTERS", "PAUSES", "RESUMES", "ZONE", "IS"}}
	for _, h := range all {
		is := "not enabled"
		if h.Forecast != nil {
			is = h.Forecast.String()
		}
		rows = append(rows, []string{h.Name, h.ID, map[bool]string{true: "yes", false: "no"}[h.Assigned],
			fmt.Sprint(h.Clusters), h.Pause, h.Resume, h.TimeZone, is})
	}
	t.table(rows)
}

// managed shows the service's own hibernation.
func (t *Text) managed(m *Managed) {
	t.line("\nThe service's own hibernation:")
	rows := [][]string{{"  Status", m.Status}}
	for _, h := range m.Schedules {
		if h.Assigned {
			rows = append(rows, []string{"  Schedule", fmt.Sprintf("%s: %s, %s, %s", h.Name, h.Pause, h.Resume, h.TimeZone)})
		}
	}
	if len(rows) == 1 {
		rows = append(rows, []string{"  Schedule", "none is for this cluster (hibernate schedule list)"})
	}
	var lacking []string
	for _, r := range m.Untolerated {
		lacking = append(lacking, r.String())
	}
	if len(lacking) > 0 {
		rows = append(rows, []string{"  Lack a toleration", strings.Join(lacking, ", ")})
	}
	t.facts(append(rows, []string{"  Which way", m.Way.String()}))
}
