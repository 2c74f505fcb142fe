package fakecastai

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/test/fakecastai/contract"
)

// api answers requests, with the fake's lock held.
type api struct{ *Server }

var _ contract.ServerInterface = api{}

// find returns a cluster, or answers that there is none.
func (a api) find(w http.ResponseWriter, id string) *Cluster {
	c := a.clusters[id]
	if c == nil || c.Forgotten {
		fail(w, http.StatusNotFound, "cluster not found")
		return nil
	}
	return c
}

func (a api) ListClusters(w http.ResponseWriter, _ *http.Request) {
	list := castai.ClusterList{Items: []castai.Cluster{}}
	for _, c := range a.clusters {
		if !c.Forgotten {
			list.Items = append(list.Items, c.Cluster)
		}
	}
	write(w, http.StatusOK, list)
}

func (a api) GetCluster(w http.ResponseWriter, _ *http.Request, id string) {
	if c := a.find(w, id); c != nil {
		write(w, http.StatusOK, c.Cluster)
	}
}

// DeleteCluster removes a cluster that is disconnected or failed. One without
// credentials counts as disconnected once its agent is.
func (a api) DeleteCluster(w http.ResponseWriter, _ *http.Request, id string) {
	c := a.find(w, id)
	switch {
	case c == nil:
		return
	case c.Status == "deleted", c.Status == "failed", c.AgentStatus == "disconnected", c.Status == "archived":
		c.Status, c.AgentStatus, c.Forgotten = "archived", "disconnected", a.options.Forget
		w.WriteHeader(http.StatusNoContent)
	default:
		fail(w, http.StatusBadRequest, "cluster must be disconnected first")
	}
}

func (a api) DisconnectCluster(w http.ResponseWriter, r *http.Request, id string) {
	c := a.find(w, id)
	if c == nil {
		return
	}
	var config castai.DisconnectConfig
	if err := json.NewDecoder(r.Body).Decode(&config); err != nil {
		fail(w, http.StatusBadRequest, "invalid body")
		return
	}
	switch {
	case slices.Contains([]string{"deleted", "archived", "failed", "hibernating", "hibernated", "resuming"}, c.Status):
		fail(w, http.StatusBadRequest, "cluster can't be disconnected while it is "+c.Status)
		return
	case c.CredentialsId == "" && !c.Lingers, c.Status == "deleting":
		// It does nothing (terraform-provider-castai castai/cluster.go).
	default:
		a.disconnect(c, config.DeleteProvisionedNodes)
	}
	write(w, http.StatusOK, c.Cluster)
}

// disconnect takes a cluster from deleting to deleted, in three steps.
func (a api) disconnect(c *Cluster, deleteNodes bool) {
	begin := func() { c.Status, c.AgentStatus = "deleting", "disconnecting" }
	if c.Lags {
		a.after(1, func(context.Context) { begin() })
	} else {
		begin()
	}
	if c.LosesCredentials {
		a.after(2, func(context.Context) { c.Status, c.AgentStatus, c.CredentialsId = "archived", "disconnected", "" })
		return
	}
	if deleteNodes {
		a.after(1, func(context.Context) { c.each(func(n *castai.Node) { n.State.Phase = "deleting" }) })
		a.after(2, func(ctx context.Context) {
			c.each(func(n *castai.Node) {
				if a.remove(ctx, n) != nil {
					n.State.Phase = "not_ready"
				}
			})
		})
	}
	a.after(3, func(context.Context) {
		if !c.Stuck {
			c.Status, c.AgentStatus, c.CredentialsId = "deleted", "disconnected", ""
		}
	})
}

// each does something to the nodes that Cast AI made and that are not kept.
func (c *Cluster) each(do func(*castai.Node)) {
	for i := range c.Nodes {
		if n := &c.Nodes[i]; n.AddedBy == "cast" && n.State.Phase != "deleted" && !slices.Contains(c.Keeps, n.Name) {
			do(n)
		}
	}
}

func (a api) GetCleanupScript(w http.ResponseWriter, _ *http.Request, id string) {
	c := a.find(w, id)
	switch {
	case c == nil:
	case c.Status == "archived":
		fail(w, http.StatusNotFound, "cluster not found")
	default:
		write(w, http.StatusOK, castai.CleanupScript{Script: c.Script})
	}
}

func (a api) GetPolicies(w http.ResponseWriter, _ *http.Request, id string) {
	c := a.find(w, id)
	switch {
	case c == nil:
	case c.Policies == nil:
		fail(w, http.StatusNotFound, "policies do not exist")
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(c.Policies)
	}
}

// UpsertPolicies replaces the policies, if they come with the version that the
// service has.
func (a api) UpsertPolicies(w http.ResponseWriter, r *http.Request, id string) {
	c := a.find(w, id)
	if c == nil {
		return
	}
	var body json.RawMessage
	var fields, current struct {
		Version string `json:"defaultNodeTemplateVersion"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || json.Unmarshal(body, &fields) != nil {
		fail(w, http.StatusBadRequest, "invalid body")
		return
	}
	if c.Policies != nil {
		if err := json.Unmarshal(c.Policies, &current); err != nil {
			fail(w, http.StatusInternalServerError, err.Error())
			return
		}
	}
	if c.Conflicts > 0 || fields.Version != current.Version {
		c.Conflicts = max(0, c.Conflicts-1)
		fail(w, http.StatusBadRequest, "default node template has changed, refetch the policies and try again")
		return
	}
	c.Policies = body
	a.GetPolicies(w, r, id)
}

func (a api) ListRebalancingPlans(w http.ResponseWriter, _ *http.Request, id string,
	p castai.ListRebalancingPlansParams) {
	c := a.find(w, id)
	if c == nil {
		return
	}
	var found []castai.RebalancingPlan
	for _, plan := range c.Plans {
		if len(p.FilterStatuses) == 0 || slices.Contains(p.FilterStatuses, plan.Status) {
			found = append(found, plan)
		}
	}
	items, next := page(a.Server, found, p.Limit, p.Cursor)
	write(w, http.StatusOK, castai.RebalancingPlanList{Items: items, NextCursor: next})
}
