package fakecastai

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/castai/kubectl-castai/internal/castai"
)

func (a api) ListHibernationSchedules(w http.ResponseWriter, _ *http.Request, organizationID string,
	p castai.ListHibernationSchedulesParams) {
	var found []castai.HibernationSchedule
	for _, h := range a.schedules {
		if h.OrganizationId == organizationID {
			found = append(found, h)
		}
	}
	items, next := page(a.Server, found, p.PageLimit, p.PageCursor)
	write(w, http.StatusOK, castai.HibernationScheduleList{Items: items, NextPageCursor: next,
		TotalCount: int32(len(found))}) //nolint:gosec // a handful
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

// CreateHibernationSchedule wants what the provider of Terraform calls required.
func (a api) CreateHibernationSchedule(w http.ResponseWriter, r *http.Request, organizationID string) {
	var h castai.HibernationSchedule
	if err := json.NewDecoder(r.Body).Decode(&h); err != nil || h.Name == "" ||
		h.ResumeConfig.JobConfig.NodeConfig.InstanceType == "" {
		write(w, http.StatusBadRequest, castai.ErrorBody{Code: 3, Message: "invalid hibernation schedule"})
		return
	}
	h.Id, h.OrganizationId = a.name("schedule"), organizationID
	a.schedules = append(a.schedules, h)
	write(w, http.StatusOK, h)
}

func (a api) DeleteHibernationSchedule(w http.ResponseWriter, _ *http.Request, organizationID, id string) {
	if a.schedule(w, organizationID, id) == nil {
		return
	}
	a.schedules = slices.DeleteFunc(a.schedules, func(h castai.HibernationSchedule) bool { return h.Id == id })
	write(w, http.StatusOK, struct{}{})
}

// job returns the cluster that a hibernation job is for: a schedule must be.
func (a api) job(w http.ResponseWriter, organizationID, id, status string) *Cluster {
	c := a.find(w, id)
	if c == nil {
		return nil
	}
	assigned := slices.ContainsFunc(a.schedules, func(h castai.HibernationSchedule) bool {
		return h.OrganizationId == organizationID && slices.Contains(h.ClusterAssignments.Items,
			castai.ClusterAssignment{ClusterId: id})
	})
	if !assigned || c.Status != status {
		write(w, http.StatusBadRequest, castai.ErrorBody{Code: 9, Message: "the cluster is " + c.Status +
			", or has no hibernation schedule"})
		return nil
	}
	return c
}

// PauseCluster removes all nodes, whoever made them.
func (a api) PauseCluster(w http.ResponseWriter, _ *http.Request, organizationID, id string) {
	c := a.job(w, organizationID, id, "ready")
	if c == nil {
		return
	}
	c.Status = "hibernating"
	a.after(2, func(ctx context.Context) {
		c.Status = "hibernated"
		for i := range c.Nodes {
			if a.options.Nodes != nil {
				if err := a.options.Nodes.Remove(ctx, c.Nodes[i]); err != nil {
					c.Status, c.ReconcileError = "warning", err.Error()
				}
			}
			c.Nodes[i].State.Phase = "deleted"
		}
	})
	write(w, http.StatusOK, struct{}{})
}

// ResumeCluster makes a temporary node, on which Cast AI's components wake the rest.
func (a api) ResumeCluster(w http.ResponseWriter, _ *http.Request, organizationID, id string) {
	c := a.job(w, organizationID, id, "hibernated")
	if c == nil {
		return
	}
	c.Status = "resuming"
	n := castai.Node{
		Id: a.name("node"), InstanceType: "m5a.large", AddedBy: "cast", Role: "worker", CreatedAt: time.Now().UTC(),
		Taints: []castai.Taint{{Key: "provisioning.cast.ai/temporary", Value: "resuming",
			Effect: "NoSchedule"}}, State: castai.NodeState{Phase: "creating"},
	}
	n.Name, n.InstanceId = "castai-"+n.Id, "i-"+n.Id
	n.ProviderId = "aws:///eu-central-1a/" + n.InstanceId
	c.Nodes = append(c.Nodes, n)
	a.after(2, func(ctx context.Context) {
		c.Status = "ready"
		i := slices.IndexFunc(c.Nodes, func(o castai.Node) bool { return o.Id == n.Id })
		c.Nodes[i].State.Phase = "ready"
		if a.options.Nodes != nil {
			if err := a.options.Nodes.Add(ctx, c.Nodes[i]); err != nil {
				c.Status, c.ReconcileError = "warning", err.Error()
			}
		}
	})
	write(w, http.StatusOK, struct{}{})
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
