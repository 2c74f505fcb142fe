package castaitest

import (
	"net/http"
	"slices"

	"github.com/castai/kubectl-castai/internal/castai"
)

func (s *Server) listSchedules(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, castai.HibernationScheduleList{Items: s.Schedules})
}

func (s *Server) scheduleOf(w http.ResponseWriter, r *http.Request) (i int) {
	i = slices.IndexFunc(s.Schedules, func(h castai.HibernationSchedule) bool { return h.Id == r.PathValue("schedule") })
	if i < 0 {
		Fail(w, http.StatusNotFound, "schedule not found")
	}
	return i
}

func (s *Server) schedule(w http.ResponseWriter, r *http.Request) {
	if i := s.scheduleOf(w, r); i >= 0 {
		answer(w, http.StatusOK, s.Schedules[i])
	}
}

func (s *Server) createSchedule(w http.ResponseWriter, r *http.Request) {
	var h castai.HibernationSchedule
	if !decode(w, r, &h) {
		return
	}
	h.Id, h.OrganizationId = "made-"+h.Name, r.PathValue("org")
	s.Schedules = append(s.Schedules, h)
	answer(w, http.StatusOK, h)
}

func (s *Server) assign(w http.ResponseWriter, r *http.Request) {
	var body castai.HibernationScheduleUpdate
	if i := s.scheduleOf(w, r); i >= 0 && decode(w, r, &body) {
		if body.ClusterAssignments.Items != nil { // absent fields stay
			s.Schedules[i].ClusterAssignments = body.ClusterAssignments
		}
		answer(w, http.StatusOK, s.Schedules[i])
	}
}

func (s *Server) deleteSchedule(w http.ResponseWriter, r *http.Request) {
	if i := s.scheduleOf(w, r); i >= 0 {
		s.Schedules = slices.Delete(s.Schedules, i, i+1)
		answer(w, http.StatusOK, struct{}{})
	}
}

// pause removes all nodes, whoever made them.
func (s *Server) pause(w http.ResponseWriter, r *http.Request) {
	s.job(w, r, [3]string{"ready", "hibernating", "hibernated"}, func() {
		for i := range s.Nodes {
			s.remove(i)
		}
	})
}

func (s *Server) resume(w http.ResponseWriter, r *http.Request) {
	s.job(w, r, [3]string{"hibernated", "resuming", "ready"}, func() {})
}

// job takes a cluster that a schedule is for from a status by way of another to the
// third, in two looks.
func (s *Server) job(w http.ResponseWriter, r *http.Request, status [3]string, end func()) {
	assigned := slices.ContainsFunc(s.Schedules, func(h castai.HibernationSchedule) bool {
		return slices.Contains(h.ClusterAssignments.Items, castai.ClusterAssignment{ClusterId: ID})
	})
	switch {
	case !s.there(w, r):
	case !assigned || s.Cluster.Status != status[0]:
		Fail(w, http.StatusBadRequest, "the cluster is "+s.Cluster.Status+", or has no hibernation schedule")
	default:
		s.Cluster.Status = status[1]
		s.coming = append(s.coming, func() {}, func() {
			s.Cluster.Status = status[2]
			end()
		})
		answer(w, http.StatusOK, struct{}{})
	}
}
