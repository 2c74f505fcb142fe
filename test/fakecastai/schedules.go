package fakecastai

import (
	"encoding/json"
	"net/http"

	"github.com/castai/kubectl-castai/internal/castai"
)

func (a api) ListHibernationSchedules(w http.ResponseWriter, _ *http.Request, organizationID string, p castai.ListHibernationSchedulesParams) {
	var found []castai.HibernationSchedule
	for _, h := range a.schedules {
		if h.OrganizationId == organizationID {
			found = append(found, h)
		}
	}
	items, next := page(a.Server, found, p.PageLimit, p.PageCursor)
	write(w, http.StatusOK, castai.HibernationScheduleList{Items: items, NextPageCursor: next, TotalCount: int32(len(found))}) //nolint:gosec // a handful
}

// schedule returns a schedule, or answers that there is none.
func (a api) schedule(w http.ResponseWriter, organizationID, id string) *castai.HibernationSchedule {
	for i := range a.schedules {
		if h := &a.schedules[i]; h.OrganizationId == organizationID && h.Id == id {
			return h
		}
	}
	// As a google.rpc.Status, which cluster-autoscaler answers with.
	write(w, http.StatusNotFound, castai.ErrorBody{Code: 5, Message: "schedule not found"})
	return nil
}

func (a api) GetHibernationSchedule(w http.ResponseWriter, _ *http.Request, organizationID, id string) {
	if h := a.schedule(w, organizationID, id); h != nil {
		write(w, http.StatusOK, *h)
	}
}

func (a api) UpdateHibernationSchedule(w http.ResponseWriter, r *http.Request, organizationID, id string) {
	h := a.schedule(w, organizationID, id)
	if h == nil {
		return
	}
	var body struct {
		ClusterAssignments *castai.ClusterAssignments `json:"clusterAssignments"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		write(w, http.StatusBadRequest, castai.ErrorBody{Code: 3, Message: "invalid body"})
		return
	}
	if body.ClusterAssignments != nil {
		h.ClusterAssignments = *body.ClusterAssignments
	}
	write(w, http.StatusOK, *h)
}
