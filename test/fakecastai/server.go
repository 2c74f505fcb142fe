// Package fakecastai is a stand-in for the Cast AI API that keeps state: clusters
// that disconnect step by step, nodes, operations, policies with versions,
// hibernation schedules, and faults on demand. It implements the interface made
// from internal/castai/openapi.yaml, so that it answers what the client expects.
//
// Where the behaviour of the service is not documented it does what
// docs/console.md lists as its assumptions.
package fakecastai

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/castai/kubectl-castai/internal/castai"
)

// Options of a fake.
type Options struct {
	// Key that may do everything, and ReadOnlyKey, which may only read.
	Key, ReadOnlyKey string
	// Delay is how long each step of what goes on in the background takes.
	Delay time.Duration
	// PageSize of lists, unless a request wants less. Zero: 50.
	PageSize int
	// Nodes is told of nodes that come and go; nil: nobody is.
	Nodes Machines
	// Slow is how long a slow answer takes.
	Slow time.Duration
	// Forget: a cluster that was removed is not found; otherwise it is archived.
	Forget bool
	// NoOperation: the answer to the deletion of a node is 204, without an operation.
	NoOperation bool
}

// Machines makes and removes what the service's nodes are: Node objects of a
// test cluster.
type Machines interface {
	Add(ctx context.Context, node castai.Node) error
	Remove(ctx context.Context, node castai.Node) error
	// Drain evicts the pods of a node, and tells whether some may not be evicted yet.
	Drain(ctx context.Context, node castai.Node) (held bool, err error)
	// AgentRuns tells whether Cast AI's agent is in the cluster.
	AgentRuns(ctx context.Context) bool
}

// Cluster is a cluster with all that the service has of it.
type Cluster struct {
	castai.Cluster
	Nodes    []castai.Node
	Policies castai.Policies // nil: not found
	Plans    []castai.RebalancingPlan
	Script   string
	// Conflicts is how many changes of the policies meet a newer version.
	Conflicts int
	// LosesCredentials: to disconnect it ends with an archived cluster, and nodes
	// that nobody deletes.
	LosesCredentials bool
	// Keeps are the names of nodes that are not deleted although they should be.
	Keeps []string
	// Lags: that it is being disconnected shows late.
	Lags bool
	// Stuck: it never gets disconnected.
	Stuck bool
	// Lingers: without credentials it counts as connected for long after its agent
	// is gone, until it is disconnected (terraform-provider-castai castai/cluster.go).
	Lingers bool
	// Forgotten: it was removed, and is not found any more.
	Forgotten bool
}

// Server is the fake. Its handler may be used from several goroutines.
type Server struct {
	options Options

	mu         sync.Mutex
	clusters   map[string]*Cluster
	schedules  []castai.HibernationSchedule
	operations map[string]*castai.Operation
	coming     []event
	faults     []*Fault
	requests   []Request
	see        func(n int, r Request)
	serial     int
}

// event is something that happens at a time.
type event struct {
	at time.Time
	do func(ctx context.Context)
}

// New returns a fake without any cluster.
func New(o Options) *Server {
	if o.PageSize == 0 {
		o.PageSize = 50
	}
	return &Server{options: o, clusters: map[string]*Cluster{}, operations: map[string]*castai.Operation{}}
}

// AddCluster adds a cluster, or replaces it.
func (s *Server) AddCluster(c Cluster) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clusters[c.Id] = &c
}

// AddSchedule adds a hibernation schedule.
func (s *Server) AddSchedule(h castai.HibernationSchedule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.schedules = append(s.schedules, h)
}

// Cluster returns a copy of what the service has of a cluster.
func (s *Server) Cluster(id string) Cluster {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := *s.clusters[id]
	c.Nodes, c.Plans = slices.Clone(c.Nodes), slices.Clone(c.Plans)
	return c
}

// Update changes a cluster, as somebody at the console does.
func (s *Server) Update(id string, change func(*Cluster)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s.clusters[id])
}

// SetDelay changes how long each step takes.
func (s *Server) SetDelay(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options.Delay = d
}

// Schedules returns the hibernation schedules.
func (s *Server) Schedules() []castai.HibernationSchedule {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.schedules)
}

// after lets something happen later, in steps of the delay.
func (s *Server) after(steps int, do func(ctx context.Context)) {
	s.coming = append(s.coming, event{time.Now().Add(time.Duration(steps) * s.options.Delay), do})
}

// advance lets happen what is due. Time passes only when somebody looks.
func (s *Server) advance(ctx context.Context) {
	for {
		slices.SortStableFunc(s.coming, func(a, b event) int { return a.at.Compare(b.at) })
		if len(s.coming) == 0 || s.coming[0].at.After(time.Now()) {
			break
		}
		next := s.coming[0]
		s.coming = s.coming[1:]
		next.do(ctx)
	}
	for _, c := range s.clusters {
		// An agent that is gone shows, unless credentials keep the cluster connected.
		if c.CredentialsId == "" && !c.Lingers && c.AgentStatus == "online" && s.options.Nodes != nil &&
			!s.options.Nodes.AgentRuns(ctx) {
			c.AgentStatus = "disconnected"
		}
	}
}

// name returns an id that no other has.
func (s *Server) name(prefix string) string {
	s.serial++
	return fmt.Sprintf("%s-%04d", prefix, s.serial)
}

// page cuts a list as a request wants it.
func page[T any](s *Server, all []T, limit, cursor string) (items []T, next string) {
	start, err := strconv.Atoi(cursor)
	if err != nil || start > len(all) {
		start = 0
	}
	size := s.options.PageSize
	if n, err := strconv.Atoi(limit); err == nil && n > 0 {
		size = min(size, n)
	}
	end := min(start+size, len(all))
	if end < len(all) {
		next = strconv.Itoa(end)
	}
	return slices.Clone(all[start:end]), next
}

func write(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// The client may be gone; that is its own affair.
	_ = json.NewEncoder(w).Encode(body)
}

func fail(w http.ResponseWriter, code int, message string, violations ...castai.FieldViolation) {
	if violations == nil {
		violations = []castai.FieldViolation{}
	}
	write(w, code, map[string]any{"message": message, "fieldViolations": violations})
}
