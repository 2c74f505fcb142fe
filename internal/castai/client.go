// Package castai is a client of the Cast AI API, for the operations that the
// plugin uses. api.gen.go is made from openapi.yaml; this is what makes of it a
// client that keeps the key to itself, tries again, and says what to do.
package castai

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Options of a client.
type Options struct {
	// URL of the API, as ParseURL returns it.
	URL string
	Key Key
	// UserAgent names the plugin in the logs of the service.
	UserAgent string
	// Timeout of one attempt of a request, and Backoff before the second one;
	// zero: the defaults.
	Timeout, Backoff time.Duration
	// Transport sends requests with the key; nil: over the network.
	Transport http.RoundTripper
	// Wrap is put around what sends requests, and does not see the key. It may be nil.
	Wrap func(http.RoundTripper) http.RoundTripper
}

// Client makes requests to the API. Its errors are of type Error, or the cause
// of a context that ended.
type Client struct {
	api *API
}

// New returns a client. It makes no request.
func New(o Options) (*Client, error) {
	server, err := url.Parse(o.URL)
	if err != nil {
		return nil, err
	}
	o.Timeout, o.Backoff = cmp.Or(o.Timeout, defaultTimeout), cmp.Or(o.Backoff, defaultBackoff)
	api, err := NewClient(o.URL, WithHTTPClient(newSender(server, o)))
	return &Client{api}, err
}

// URL returns the address of the API.
func (c *Client) URL() string { return c.api.Server[:len(c.api.Server)-1] }

// Clusters lists the clusters of the key's organization.
func (c *Client) Clusters(ctx context.Context) ([]Cluster, error) {
	resp, err := c.api.ListClusters(ctx)
	list, err := read[ClusterList](ctx, "list the clusters", resp, err)
	return list.Items, err
}

// Cluster returns a cluster. One that was removed may be archived, or gone.
func (c *Client) Cluster(ctx context.Context, id string) (Cluster, error) {
	resp, err := c.api.GetCluster(ctx, id)
	return read[Cluster](ctx, "get cluster "+id, resp, err)
}

// Disconnect begins to disconnect a cluster. Cluster tells when it is done.
func (c *Client) Disconnect(ctx context.Context, id string, config DisconnectConfig) error {
	resp, err := c.api.DisconnectCluster(ctx, id, config)
	return done(ctx, "disconnect cluster "+id, resp, err)
}

// DeleteCluster removes a disconnected or failed cluster from the console.
func (c *Client) DeleteCluster(ctx context.Context, id string) error {
	resp, err := c.api.DeleteCluster(ctx, id)
	return done(ctx, "remove cluster "+id+" from the console", resp, err)
}

// CleanupScript returns the shell command that removes what Cast AI made in the
// cloud account.
func (c *Client) CleanupScript(ctx context.Context, id string) (string, error) {
	resp, err := c.api.GetCleanupScript(ctx, id)
	script, err := read[CleanupScript](ctx, "get the cleanup script of cluster "+id, resp, err)
	return script.Script, err
}

// Policies returns the autoscaler's policies of a cluster, as they are.
func (c *Client) Policies(ctx context.Context, id string) (Policies, error) {
	resp, err := c.api.GetPolicies(ctx, id)
	return read[Policies](ctx, "get the policies of cluster "+id, resp, err)
}

// PutPolicies replaces the policies of a cluster, byte for byte. An error may be
// IsConflict.
func (c *Client) PutPolicies(ctx context.Context, id string, p Policies) error {
	resp, err := c.api.UpsertPoliciesWithBody(ctx, id, "application/json", bytes.NewReader(p))
	return done(ctx, "change the policies of cluster "+id, resp, err)
}

// Nodes lists all nodes of a cluster.
func (c *Client) Nodes(ctx context.Context, id string) ([]Node, error) {
	operation := "list the nodes of cluster " + id
	return pages(operation, func(cursor string) ([]Node, string, error) {
		resp, err := c.api.ListNodes(ctx, id, &ListNodesParams{PageLimit: pageLimit, PageCursor: cursor})
		list, err := read[NodeList](ctx, operation, resp, err)
		return list.Items, list.NextCursor, err
	})
}

// Node returns a node of a cluster. The error of one that is gone IsGone.
func (c *Client) Node(ctx context.Context, id, nodeID string) (Node, error) {
	resp, err := c.api.GetNode(ctx, id, nodeID)
	return read[Node](ctx, fmt.Sprintf("get node %s of cluster %s", nodeID, id), resp, err)
}

// AddNode begins to add a node. It is sent once: twice could make two nodes.
func (c *Client) AddNode(ctx context.Context, id string, config NodeConfig) (AddedNode, error) {
	resp, err := c.api.AddNode(ctx, id, config)
	return read[AddedNode](ctx, "add a node to cluster "+id, resp, err)
}

// DeleteNode begins to drain and delete a node, and returns the operation that
// does it; empty: the service names none, and Node tells when it is gone.
func (c *Client) DeleteNode(ctx context.Context, id, nodeID string, drain time.Duration, force bool) (string, error) {
	operation := fmt.Sprintf("delete node %s of cluster %s", nodeID, id)
	resp, err := c.api.DeleteNode(ctx, id, nodeID, &DeleteNodeParams{DrainTimeout: int64(drain.Seconds()),
		ForceDelete: force})
	body, err := answer(ctx, operation, resp, err)
	if err != nil || len(body) == 0 {
		return "", err
	}
	deleted, err := parse[DeletedNode](operation, body)
	return deleted.OperationId, err
}

// Operation returns an operation on a node: it is over when it is done, and has
// failed when it has an error.
func (c *Client) Operation(ctx context.Context, operationID string) (Operation, error) {
	resp, err := c.api.GetOperation(ctx, operationID)
	return read[Operation](ctx, "get operation "+operationID, resp, err)
}

// RebalancingPlans lists the rebalancing plans of a cluster with the statuses.
func (c *Client) RebalancingPlans(ctx context.Context, id string, statuses ...string) ([]RebalancingPlan, error) {
	operation := "list the rebalancing plans of cluster " + id
	return pages(operation, func(cursor string) ([]RebalancingPlan, string, error) {
		resp, err := c.api.ListRebalancingPlans(ctx, id, &ListRebalancingPlansParams{Limit: pageLimit, Cursor: cursor,
			FilterStatuses: statuses})
		list, err := read[RebalancingPlanList](ctx, operation, resp, err)
		return list.Items, list.NextCursor, err
	})
}

// HibernationSchedules lists the hibernation schedules of an organization.
func (c *Client) HibernationSchedules(ctx context.Context, organizationID string) ([]HibernationSchedule, error) {
	const operation = "list the hibernation schedules"
	return pages(operation, func(cursor string) ([]HibernationSchedule, string, error) {
		resp, err := c.api.ListHibernationSchedules(ctx, organizationID,
			&ListHibernationSchedulesParams{PageLimit: pageLimit, PageCursor: cursor})
		list, err := read[HibernationScheduleList](ctx, operation, resp, err)
		return list.Items, list.NextPageCursor, err
	})
}

// HibernationSchedule returns a hibernation schedule.
func (c *Client) HibernationSchedule(ctx context.Context, organizationID, scheduleID string) (HibernationSchedule,
	error) {
	resp, err := c.api.GetHibernationSchedule(ctx, organizationID, scheduleID)
	return read[HibernationSchedule](ctx, "get hibernation schedule "+scheduleID, resp, err)
}

// AssignSchedule sets the clusters that a hibernation schedule is for, and
// nothing else of it.
func (c *Client) AssignSchedule(ctx context.Context, organizationID, scheduleID string,
	clusters []ClusterAssignment) error {
	body := HibernationScheduleUpdate{ClusterAssignments: ClusterAssignments{Items: clusters}}
	resp, err := c.api.UpdateHibernationSchedule(ctx, organizationID, scheduleID, body)
	return done(ctx, "change hibernation schedule "+scheduleID, resp, err)
}

// CreateHibernationSchedule makes a schedule, and returns it with its id. It is sent
// once: twice could make two.
func (c *Client) CreateHibernationSchedule(ctx context.Context, organizationID string,
	h HibernationSchedule) (HibernationSchedule, error) {
	resp, err := c.api.CreateHibernationSchedule(ctx, organizationID, h)
	return read[HibernationSchedule](ctx, "create hibernation schedule "+h.Name, resp, err)
}

// DeleteHibernationSchedule deletes a schedule, whatever clusters it is for.
func (c *Client) DeleteHibernationSchedule(ctx context.Context, organizationID, scheduleID string) error {
	resp, err := c.api.DeleteHibernationSchedule(ctx, organizationID, scheduleID)
	return done(ctx, "delete hibernation schedule "+scheduleID, resp, err)
}

// PauseCluster begins to hibernate a cluster that a schedule is for. Cluster tells
// how far it is.
func (c *Client) PauseCluster(ctx context.Context, organizationID, id string) error {
	resp, err := c.api.PauseCluster(ctx, organizationID, id)
	return done(ctx, "hibernate cluster "+id, resp, err)
}

// ResumeCluster begins to resume a cluster that a schedule is for. Cluster tells how
// far it is.
func (c *Client) ResumeCluster(ctx context.Context, organizationID, id string) error {
	resp, err := c.api.ResumeCluster(ctx, organizationID, id)
	return done(ctx, "resume cluster "+id, resp, err)
}

// pageLimit is the size of a page, well below the one documented maximum (500,
// of hibernation schedules). mostPages ends a list that never ends.
const (
	pageLimit = "100"
	mostPages = 1000
)

// pages reads a list to its end.
func pages[T any](operation string, page func(cursor string) ([]T, string, error)) ([]T, error) {
	var all []T
	cursor := ""
	for range mostPages {
		items, next, err := page(cursor)
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
		if next == "" {
			return all, nil
		}
		if next == cursor {
			return nil, &Error{Operation: operation, Err: fmt.Errorf("the list does not go on after its cursor %q", cursor)}
		}
		cursor = next
	}
	return nil, &Error{Operation: operation, Err: fmt.Errorf("the list has more than %d pages", mostPages)}
}

// answer returns the body of an answer with success.
func answer(ctx context.Context, operation string, resp *http.Response, err error) ([]byte, error) {
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, &Error{Operation: operation, Err: err}
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, &Error{Operation: operation, Err: err}
	}
	if resp.StatusCode < http.StatusOK || resp.StatusCode >= http.StatusMultipleChoices {
		e := newError(operation, resp.StatusCode, body)
		e.RetryAfter = retryAfter(resp)
		return nil, e
	}
	return body, nil
}

// done is answer for who does not need the body, which may be empty.
func done(ctx context.Context, operation string, resp *http.Response, err error) error {
	_, err = answer(ctx, operation, resp, err)
	return err
}

// read returns what an answer holds.
func read[T any](ctx context.Context, operation string, resp *http.Response, err error) (T, error) {
	body, err := answer(ctx, operation, resp, err)
	if err != nil {
		var none T
		return none, err
	}
	return parse[T](operation, body)
}

func parse[T any](operation string, body []byte) (T, error) {
	var out T
	switch err := json.Unmarshal(body, &out); {
	case len(body) == 0:
		return out, &Error{Operation: operation, Err: fmt.Errorf("the answer is empty")}
	case err != nil:
		return out, &Error{Operation: operation, Err: fmt.Errorf("the answer is not what the API answers (%w)", err)}
	}
	return out, nil
}
