package fakecastai

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/castai/kubectl-castai/internal/castai"
)

func (a api) ListAuthTokens(w http.ResponseWriter, r *http.Request) {
	own := castai.AuthToken{Id: "token-1", Name: "the key of this request",
		Readonly: r.Header.Get("X-Api-Key") == a.options.ReadOnlyKey}
	write(w, http.StatusOK, castai.AuthTokenList{Items: []castai.AuthToken{own}})
}

// wanted tells whether a node passes the filters of a request (castai/sdk
// api.gen.go, ExternalClusterAPIListNodesParams). Absent ones let all pass.
func wanted(n castai.Node, query url.Values) bool {
	lifecycle := "on_demand"
	if n.SpotConfig.IsSpot {
		lifecycle = "spot"
	}
	const removalDisabled = "autoscaling.cast.ai/removal-disabled"
	is := map[string]string{
		"nodeId": n.Id, "nodeName": n.Name, "nodeStatus": n.State.Phase, "instanceType": n.InstanceType, "zone": n.Zone,
		"lifecycleType": lifecycle,
		"unschedulable": strconv.FormatBool(n.Unschedulable),
		"removalDisabled": strconv.FormatBool(n.Labels[removalDisabled] == "true" ||
			n.Annotations[removalDisabled] == "true"),
	}
	for name, value := range is {
		if values := query[name]; len(values) > 0 && !slices.Contains(values, value) {
			return false
		}
	}
	return true
}

// whole has every field that the public SDK requires.
func whole(n castai.Node) castai.Node {
	if n.Labels == nil {
		n.Labels = map[string]string{}
	}
	if n.Annotations == nil {
		n.Annotations = map[string]string{}
	}
	if n.Taints == nil {
		n.Taints = []castai.Taint{}
	}
	return n
}

func (a api) ListNodes(w http.ResponseWriter, r *http.Request, id string, p castai.ListNodesParams) {
	c := a.find(w, id)
	if c == nil {
		return
	}
	found := slices.DeleteFunc(slices.Clone(c.Nodes), func(n castai.Node) bool {
		return p.ExcludeDeleting && slices.Contains([]string{"deleting", "deleted"}, n.State.Phase) ||
			!wanted(n, r.URL.Query())
	})
	for i := range found {
		found[i] = whole(found[i])
	}
	items, next := page(a.Server, found, p.PageLimit, p.PageCursor)
	write(w, http.StatusOK, castai.NodeList{Items: items, NextCursor: next})
}

// node returns a node that is not gone, or answers that there is none.
func (a api) node(w http.ResponseWriter, id, nodeID string) (*Cluster, *castai.Node) {
	c := a.find(w, id)
	if c == nil {
		return nil, nil
	}
	i := slices.IndexFunc(c.Nodes, func(n castai.Node) bool { return n.Id == nodeID && n.State.Phase != "deleted" })
	if i < 0 {
		fail(w, http.StatusNotFound, "node not found")
		return nil, nil
	}
	return c, &c.Nodes[i]
}

func (a api) GetNode(w http.ResponseWriter, _ *http.Request, id, nodeID string) {
	if _, n := a.node(w, id, nodeID); n != nil {
		write(w, http.StatusOK, whole(*n))
	}
}

// AddNode makes a node: creating, then ready.
func (a api) AddNode(w http.ResponseWriter, r *http.Request, id string) {
	c := a.find(w, id)
	if c == nil {
		return
	}
	var config castai.NodeConfig
	if err := json.NewDecoder(r.Body).Decode(&config); err != nil || config.InstanceType == "" {
		fail(w, http.StatusBadRequest, "invalid body", castai.FieldViolation{Field: "instanceType",
			Description: "is required"})
		return
	}
	n := castai.Node{
		Id: a.name("node"), InstanceType: config.InstanceType, Zone: config.Zone, AddedBy: "cast", Role: "worker",
		CreatedAt: time.Now().UTC(),
		Labels:    config.KubernetesLabels, Taints: config.KubernetesTaints, SpotConfig: config.SpotConfig,
		State: castai.NodeState{Phase: "creating"},
	}
	n.Name, n.InstanceId = "castai-"+n.Id, "i-"+n.Id
	n.ProviderId = "aws:///eu-central-1a/" + n.InstanceId
	c.Nodes = append(c.Nodes, n)
	operation := a.operate()
	a.after(2, func(ctx context.Context) {
		i := slices.IndexFunc(c.Nodes, func(o castai.Node) bool { return o.Id == n.Id })
		c.Nodes[i].State.Phase = "ready"
		var err error
		if a.options.Nodes != nil {
			err = a.options.Nodes.Add(ctx, c.Nodes[i])
		}
		a.finish(operation, err)
	})
	write(w, http.StatusOK, castai.AddedNode{NodeId: n.Id, OperationId: operation.Id})
}

// Order lets a cluster's autoscaler make a node, which joins after so many steps of
// the delay, whatever becomes of the policies meanwhile.
func (s *Server) Order(id string, n castai.Node, steps int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clusters[id]
	n.State.Phase, n.AddedBy, n.CreatedAt = "creating", "cast", time.Now().UTC()
	c.Nodes = append(c.Nodes, n)
	s.after(steps, func(ctx context.Context) {
		i := slices.IndexFunc(c.Nodes, func(o castai.Node) bool { return o.Id == n.Id })
		if c.Nodes[i].State.Phase != "creating" {
			return
		}
		c.Nodes[i].State.Phase = "ready"
		if s.options.Nodes != nil {
			if err := s.options.Nodes.Add(ctx, c.Nodes[i]); err != nil {
				c.Nodes[i].State.Phase = "not_ready"
			}
		}
	})
}

// drainTime is how long a drain takes at most, unless the request says so.
const drainTime = 600 * time.Second

// DeleteNode drains a node, for as long as budgets do not allow it or the time of
// the request is over, and then removes it.
func (a api) DeleteNode(w http.ResponseWriter, _ *http.Request, id, nodeID string, p castai.DeleteNodeParams) {
	c, n := a.node(w, id, nodeID)
	if n == nil {
		return
	}
	n.State.Phase = "draining"
	operation := a.operate()
	end := time.Now().Add(drainTime)
	if p.DrainTimeout > 0 {
		end = time.Now().Add(time.Duration(p.DrainTimeout) * time.Second)
	}
	var drain func(ctx context.Context)
	drain = func(ctx context.Context) {
		i := slices.IndexFunc(c.Nodes, func(o castai.Node) bool { return o.Id == nodeID })
		held := false
		if a.options.Nodes != nil {
			var err error
			if held, err = a.options.Nodes.Drain(ctx, c.Nodes[i]); err != nil {
				a.finish(operation, err)
				return
			}
		}
		if held && time.Now().Before(end) {
			a.after(1, drain)
			return
		}
		if held && !p.ForceDelete {
			a.finish(operation, errors.New("the node can't be drained: PodDisruptionBudgets do not allow it"))
			return
		}
		a.finish(operation, a.remove(ctx, &c.Nodes[i]))
	}
	a.after(2, drain)
	if a.options.NoOperation {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	write(w, http.StatusOK, castai.DeletedNode{OperationId: operation.Id})
}

// remove ends a node, and the machine that it is.
func (a api) remove(ctx context.Context, n *castai.Node) error {
	if a.options.Nodes != nil {
		if err := a.options.Nodes.Remove(ctx, *n); err != nil {
			return err
		}
	}
	n.State.Phase = "deleted"
	return nil
}

// operate begins an operation.
func (a api) operate() *castai.Operation {
	o := &castai.Operation{Id: a.name("operation"), CreatedAt: time.Now().UTC()}
	a.operations[o.Id] = o
	return o
}

func (a api) finish(o *castai.Operation, err error) {
	now := time.Now().UTC()
	o.Done, o.FinishedAt = true, &now
	if err != nil {
		o.Error = &castai.OperationError{Reason: "failed", Details: err.Error()}
	}
}

func (a api) GetOperation(w http.ResponseWriter, _ *http.Request, operationID string) {
	if o := a.operations[operationID]; o != nil {
		write(w, http.StatusOK, *o)
		return
	}
	fail(w, http.StatusNotFound, "operation not found")
}
