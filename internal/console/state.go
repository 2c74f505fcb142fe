// Package console does the part of an offboarding that is done in Cast AI's
// console: policies off, disconnect, remove the cluster. Observe reads what the
// API knows, Judge decides on it, and Phases are what pkg/engine carries out.
package console

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/castai/kubectl-castai/internal/castai"
)

// State is what the API knows of a cluster.
type State struct {
	API string `json:"api"`
	// ID is the cluster's, also of one that the API does not have.
	ID string `json:"id"`
	// Gone: the API does not have the cluster. It was removed, or never was in the
	// organization and region of the key.
	Gone    bool           `json:"gone,omitempty"`
	Cluster castai.Cluster `json:"cluster"`
	// Nodes are those that are not deleted.
	Nodes []castai.Node `json:"nodes"`
	// Policies of the autoscaler; nil: there are none.
	Policies castai.Policies `json:"policies,omitempty"`
	// Schedules are the hibernation schedules that the cluster is in.
	Schedules []castai.HibernationSchedule `json:"hibernationSchedules,omitempty"`
	// Rebalancing are the plans that are being carried out.
	Rebalancing []castai.RebalancingPlan `json:"rebalancingPlans,omitempty"`
	// Unknown says what could not be read, and need not be.
	Unknown []string `json:"unknown,omitempty"`
}

// The values of Cluster.Status (castai/sdk/api.gen.go, ExternalclusterV1Cluster;
// archived: sdk/client.go).
const (
	connecting  = "connecting"
	ready       = "ready"
	warning     = "warning"
	failed      = "failed"
	deleting    = "deleting" // to be disconnected, and not yet
	deleted     = "deleted"  // disconnected
	hibernating = "hibernating"
	hibernated  = "hibernated"
	resuming    = "resuming"
	archived    = "archived" // removed from the console
)

// The values of Cluster.AgentStatus that matter here.
const (
	agentDisconnecting = "disconnecting"
	agentDisconnected  = "disconnected"
)

// active are the statuses of rebalancing plans that change nodes.
var active = []string{"creating_nodes", "preparing_nodes", "draining_nodes", "deleting_nodes"}

// nodeDeleted is the phase of a node that is gone.
const nodeDeleted = "deleted"

// castAI is who added the nodes that Cast AI made (terraform-provider-castai #768).
const castAI = "cast"

// Observe reads what the API knows of a cluster. It changes nothing.
func Observe(ctx context.Context, api *castai.Client, id string) (*State, error) {
	s := &State{API: api.URL(), ID: id, Nodes: []castai.Node{}}
	var err error
	if s.Cluster, s.Gone, err = look(ctx, api, id); err != nil || s.Gone {
		return s, err
	}
	if !strings.EqualFold(s.Cluster.Id, id) {
		return nil, fmt.Errorf("the Cast AI API answers with cluster %q where %s was asked for: --api-url is probably not the API", s.Cluster.Id, id)
	}
	if s.Nodes, err = presentNodes(ctx, api, id); err != nil && !(castai.IsGone(err) && s.Cluster.Status == archived) {
		return nil, err
	}
	if s.Cluster.Status == archived || ReadOnly(s.Cluster) {
		return s, nil
	}
	if s.Policies, err = policies(ctx, api, id); err != nil {
		return nil, err
	}
	if s.Rebalancing, err = rebalancing(ctx, api, id); err != nil {
		return nil, err
	}
	return s, s.readSchedules(ctx, api)
}

// ReadOnly tells whether Cast AI may only read the cluster: there is nothing to
// disconnect (terraform-provider-castai castai/cluster.go) and nothing to turn off.
func ReadOnly(c castai.Cluster) bool {
	return c.CredentialsId == "" && c.Status != deleting && c.Status != deleted && c.Status != archived
}

// look returns a cluster, or that the API does not have it. That counts only if
// the list of all clusters, which the key may read, does not have it either.
func look(ctx context.Context, api *castai.Client, id string) (c castai.Cluster, gone bool, err error) {
	c, err = api.Cluster(ctx, id)
	if !castai.IsGone(err) {
		return c, false, err
	}
	list, listErr := api.Clusters(ctx)
	if listErr != nil {
		return c, false, listErr
	}
	if slices.ContainsFunc(list, func(other castai.Cluster) bool { return other.Id == id && other.Status != archived }) {
		return c, false, err
	}
	return castai.Cluster{}, true, nil
}

// presentNodes lists the nodes that are not deleted.
func presentNodes(ctx context.Context, api *castai.Client, id string) ([]castai.Node, error) {
	nodes, err := api.Nodes(ctx, id)
	nodes = slices.DeleteFunc(nodes, func(n castai.Node) bool { return n.State.Phase == nodeDeleted })
	return append([]castai.Node{}, nodes...), err
}

// policies returns the policies, nil if there are none. That they are missing
// must be said twice.
func policies(ctx context.Context, api *castai.Client, id string) (castai.Policies, error) {
	p, err := twice(castai.IsGone, func() (castai.Policies, error) { return api.Policies(ctx, id) })
	if castai.IsGone(err) {
		return nil, nil
	}
	return p, err
}

// twice reads again what the first answer says is not to be had: one answer may
// be of something between us and the service.
func twice[T any](missing func(error) bool, read func() (T, error)) (T, error) {
	out, err := read()
	if missing(err) {
		return read()
	}
	return out, err
}

// rebalancing returns the plans that are being carried out.
func rebalancing(ctx context.Context, api *castai.Client, id string) ([]castai.RebalancingPlan, error) {
	plans, err := api.RebalancingPlans(ctx, id, active...)
	// Whether the filter works is not ours to trust.
	return slices.DeleteFunc(plans, func(p castai.RebalancingPlan) bool { return !slices.Contains(active, p.Status) }), err
}

// readSchedules finds the hibernation schedules with the cluster. They are a
// feature that not every organization has, and that not every key may read; a
// cluster that is disconnected can't be hibernated anyway.
func (s *State) readSchedules(ctx context.Context, api *castai.Client) error {
	if s.Cluster.OrganizationId == "" {
		s.Unknown = append(s.Unknown, "hibernation schedules: the API names no organization")
		return nil
	}
	unavailable := func(err error) bool { return castai.IsStatus(err, 400, 403, 404, 501) }
	all, err := twice(unavailable, func() ([]castai.HibernationSchedule, error) {
		return api.HibernationSchedules(ctx, s.Cluster.OrganizationId)
	})
	switch {
	case unavailable(err):
		s.Unknown = append(s.Unknown, "hibernation schedules: "+err.Error())
		return nil
	case err != nil:
		return err
	}
	for _, h := range all {
		if assigned(h, s.ID) {
			s.Schedules = append(s.Schedules, h)
		}
	}
	return nil
}

func assigned(h castai.HibernationSchedule, id string) bool {
	return slices.ContainsFunc(h.ClusterAssignments.Items,
		func(a castai.ClusterAssignment) bool { return a.ClusterId == id })
}

// Made returns the nodes that Cast AI made.
func (s *State) Made() []castai.Node { return made(s.Nodes) }

func made(nodes []castai.Node) []castai.Node {
	return slices.DeleteFunc(slices.Clone(nodes), func(n castai.Node) bool { return n.AddedBy != castAI })
}

// View is what status shows of the console.
type View struct {
	API         string `json:"api,omitempty"`
	ID          string `json:"id,omitempty"`
	Name        string `json:"name,omitempty"`
	Status      string `json:"status,omitempty"`
	AgentStatus string `json:"agentStatus,omitempty"`
	ManagedBy   string `json:"managedBy,omitempty"`
	ReadOnly    bool   `json:"readOnly,omitempty"`
	// LastSnapshot is when the agent last reported.
	LastSnapshot *time.Time `json:"lastSnapshot,omitempty"`
	// Policies tells whether the autoscaler's policies are on; absent: there are
	// none, as of a cluster that is read-only or archived.
	Policies *bool `json:"policies,omitempty"`
	// Nodes, and those of them that Cast AI made.
	Nodes     int `json:"nodes"`
	MadeNodes int `json:"madeNodes"`
	// Problem says why nothing more is known.
	Problem string `json:"problem,omitempty"`
}

// NewView returns what is to be shown of a state.
func NewView(s *State) *View {
	c := s.Cluster
	v := &View{
		API: s.API, ID: s.ID, Name: c.Name, Status: c.Status, AgentStatus: c.AgentStatus, ManagedBy: c.ManagedBy,
		ReadOnly: !s.Gone && ReadOnly(c), Nodes: len(s.Nodes), MadeNodes: len(s.Made()),
	}
	if s.Gone {
		v.Problem = "the API does not have this cluster: it was removed, or the key belongs to another organization or region"
	}
	if !c.AgentSnapshotReceivedAt.IsZero() {
		v.LastSnapshot = &c.AgentSnapshotReceivedAt
	}
	if s.Policies != nil {
		if enabled, _, err := castai.Enabled(s.Policies); err == nil {
			v.Policies = &enabled
		}
	}
	return v
}
