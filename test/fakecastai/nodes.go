package fakecastai

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/castai/kubectl-castai/internal/castai"
)

func (a api) ListNodes(w http.ResponseWriter, _ *http.Request, id string, p castai.ListNodesParams) {
	c := a.find(w, id)
	if c == nil {
		return
	}
	found := slices.DeleteFunc(slices.Clone(c.Nodes), func(n castai.Node) bool {
		return p.ExcludeDeleting && slices.Contains([]string{"deleting", "deleted"}, n.State.Phase)
	})
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
		write(w, http.StatusOK, *n)
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
		fail(w, http.StatusBadRequest, "invalid body", castai.FieldViolation{Field: "instanceType", Description: "is required"})
		return
	}
	n := castai.Node{
		Id: a.name("node"), InstanceType: config.InstanceType, Zone: config.Zone, AddedBy: "cast", Role: "worker", CreatedAt: time.Now().UTC(),
		Labels: config.KubernetesLabels, Taints: config.KubernetesTaints, SpotConfig: config.SpotConfig, State: castai.NodeState{Phase: "creating"},
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

// DeleteNode drains a node, and removes it two steps later.
func (a api) DeleteNode(w http.ResponseWriter, _ *http.Request, id, nodeID string, _ castai.DeleteNodeParams) {
	c, n := a.node(w, id, nodeID)
	if n == nil {
		return
	}
	n.State.Phase = "draining"
	operation := a.operate()
	a.after(2, func(ctx context.Context) {
		i := slices.IndexFunc(c.Nodes, func(o castai.Node) bool { return o.Id == nodeID })
		a.finish(operation, a.remove(ctx, &c.Nodes[i]))
	})
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
