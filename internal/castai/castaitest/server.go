// Package castaitest stands in for the Cast AI API in unit tests: one cluster of one
// organization, and the rules that the plugin's steps depend on. What takes time there
// takes looks here: each request for the cluster, a node or a list of them is a step
// further, so that no test waits for a clock. Nodes come and go by the clock of a bubble of
// testing/synctest, because a cluster's watches see them. test/fakecastai is the whole of the API,
// beside a real cluster.
package castaitest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"time"

	"github.com/castai/kubectl-castai/internal/castai"
)

// What a server has, and the key that it takes.
const (
	ID           = "2f1e4c1a-6b0d-4d55-9a6e-3f0c6d5b7a10"
	Organization = "3c7f7e2e-0e7e-4a5c-8f3f-4b3b3f1c2d10"
	Key          = "castai-test-key-0123456789"
)

// Server is the API. Its fields may be set before the first request, and through
// Update after that.
type Server struct {
	Cluster   castai.Cluster
	Nodes     []castai.Node
	Policies  castai.Policies
	Schedules []castai.HibernationSchedule
	Plans     []castai.RebalancingPlan
	Script    string
	// Gone: the cluster was removed, and is not found any more.
	Gone bool
	// Keeps: nodes are not deleted, and nobody is told.
	Keeps bool
	// Before may answer a request instead; it returns true then. It may change the fields.
	Before func(w http.ResponseWriter, method, path string) bool
	// Added and Removed are called for nodes that the API makes and deletes.
	Added   func(n castai.Node, config castai.NodeConfig)
	Removed func(n castai.Node)

	mu       sync.Mutex
	handle   http.Handler
	coming   []func() // one at each look
	requests []string
}

// Policies of a cluster that is not paused, with what no client knows.
const Policies = `{"enabled": true, "unschedulablePods": {"enabled": true}, "newer": 1.50e2}`

// Serve returns a server with a managed cluster that is ready and has no nodes.
func Serve() *Server {
	managed := true
	s := &Server{
		Cluster: castai.Cluster{
			Id: ID, Name: "prod", OrganizationId: Organization, Status: "ready", AgentStatus: "online", CredentialsId: "c",
			IsPhase2: &managed, ManagedBy: "console", ProviderType: "eks", Eks: castai.EKS{Region: "eu-central-1"},
		},
		Policies: castai.Policies(Policies), Script: "curl -fsSL https://example.com/cleanup.sh | bash\n",
	}
	s.handle = s.handler()
	return s
}

// URL is the address of the API for clients that send their requests by RoundTrip.
const URL = "https://api.cast.ai"

// RoundTrip answers a request without a network, so that clients work in a bubble of
// testing/synctest.
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	answer := httptest.NewRecorder()
	s.handle.ServeHTTP(answer, r)
	return answer.Result(), nil
}

// Update changes what there is, as somebody at the console does.
func (s *Server) Update(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// Writes are the requests so far that were no GET: METHOD PATH BODY.
func (s *Server) Writes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// look lets the next thing happen that is due.
func (s *Server) look() {
	if len(s.coming) > 0 {
		next := s.coming[0]
		s.coming = s.coming[1:]
		next()
	}
}

func (s *Server) handler() http.Handler {
	const clusters, jobs = "/v1/kubernetes/external-clusters", "/cluster-autoscaler/v1/organizations/{org}/clusters/{id}/"
	const schedules = "/cluster-autoscaler/v1beta/organizations/{org}/hibernation-schedules"
	mux := http.NewServeMux()
	for pattern, do := range map[string]func(http.ResponseWriter, *http.Request){
		"GET " + clusters:                                    s.list,
		"GET " + clusters + "/{id}":                          s.cluster,
		"DELETE " + clusters + "/{id}":                       s.deleteCluster,
		"POST " + clusters + "/{id}/disconnect":              s.disconnect,
		"POST " + clusters + "/{id}/nodes":                   s.addNode,
		"GET " + clusters + "/{id}/{what}":                   s.part,
		"GET " + clusters + "/{id}/nodes/{node}":             s.node,
		"DELETE " + clusters + "/{id}/nodes/{node}":          s.deleteNode,
		"GET /v1/kubernetes/clusters/{id}/policies":          s.policies,
		"PUT /v1/kubernetes/clusters/{id}/policies":          s.putPolicies,
		"GET /v1/kubernetes/clusters/{id}/rebalancing-plans": s.plans,
		"GET " + schedules:                                   s.listSchedules,
		"POST " + schedules:                                  s.createSchedule,
		"GET " + schedules + "/{schedule}":                   s.schedule,
		"PATCH " + schedules + "/{schedule}":                 s.assign,
		"DELETE " + schedules + "/{schedule}":                s.deleteSchedule,
		"POST " + jobs + "hibernation-jobs:pauseCluster":     s.pause,
		"POST " + jobs + "hibernation-jobs:resumeCluster":    s.resume,
	} {
		mux.HandleFunc(pattern, do)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has gone
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if r.Method != http.MethodGet {
			s.requests = append(s.requests, r.Method+" "+r.URL.Path+" "+string(body))
		}
		if s.Before != nil && s.Before(w, r.Method, r.URL.Path) {
			return
		}
		if r.Header.Get("X-Api-Key") != Key {
			Fail(w, http.StatusUnauthorized, "unauthorized")
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// Fail answers with an error of the API's.
func Fail(w http.ResponseWriter, code int, message string) {
	answer(w, code, castai.ErrorBody{Message: message, FieldViolations: []castai.FieldViolation{}})
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // a client that has gone is none of the server's business
}

// there tells whether the request is for the cluster, and answers it if it is not.
func (s *Server) there(w http.ResponseWriter, r *http.Request) bool {
	if r.PathValue("id") == ID && !s.Gone {
		return true
	}
	Fail(w, http.StatusNotFound, "cluster not found")
	return false
}

func (s *Server) list(w http.ResponseWriter, _ *http.Request) {
	list := castai.ClusterList{Items: []castai.Cluster{}}
	if !s.Gone {
		list.Items = append(list.Items, s.Cluster)
	}
	answer(w, http.StatusOK, list)
}

func (s *Server) cluster(w http.ResponseWriter, r *http.Request) {
	s.look()
	if s.there(w, r) {
		answer(w, http.StatusOK, s.Cluster)
	}
}

// deleteCluster removes a cluster that is disconnected or has failed.
func (s *Server) deleteCluster(w http.ResponseWriter, r *http.Request) {
	switch {
	case !s.there(w, r):
	case slices.Contains([]string{"deleted", "failed", "archived"}, s.Cluster.Status),
		s.Cluster.AgentStatus == "disconnected":
		s.Cluster.Status, s.Cluster.AgentStatus = "archived", "disconnected"
		w.WriteHeader(http.StatusNoContent)
	default:
		Fail(w, http.StatusBadRequest, "cluster must be disconnected first")
	}
}

// disconnect takes two looks.
func (s *Server) disconnect(w http.ResponseWriter, r *http.Request) {
	var config castai.DisconnectConfig
	if !s.there(w, r) || !decode(w, r, &config) {
		return
	}
	if !slices.Contains([]string{"ready", "warning", "connecting"}, s.Cluster.Status) {
		Fail(w, http.StatusBadRequest, "cluster can't be disconnected while it is "+s.Cluster.Status)
		return
	}
	s.Cluster.Status, s.Cluster.AgentStatus = "deleting", "disconnecting"
	s.coming = append(s.coming, func() {}, func() {
		s.Cluster.Status, s.Cluster.AgentStatus, s.Cluster.CredentialsId = "deleted", "disconnected", ""
		for i := range s.Nodes {
			if config.DeleteProvisionedNodes && s.Nodes[i].AddedBy == "cast" && !s.Keeps {
				s.remove(i)
			}
		}
	})
	answer(w, http.StatusOK, s.Cluster)
}

// remove deletes a node.
func (s *Server) remove(i int) {
	s.Nodes[i].State.Phase = "deleted"
	if s.Removed != nil {
		s.Removed(s.Nodes[i])
	}
}

// part answers what is below a cluster, or an operation: they are all over at once.
func (s *Server) part(w http.ResponseWriter, r *http.Request) {
	switch what := r.PathValue("what"); {
	case r.PathValue("id") == "operations":
		answer(w, http.StatusOK, castai.Operation{Id: what, Done: true})
	case !s.there(w, r):
	case what == "nodes":
		s.look()
		answer(w, http.StatusOK, castai.NodeList{Items: s.Nodes})
	case what == "cleanup-script":
		answer(w, http.StatusOK, castai.CleanupScript{Script: s.Script})
	default:
		http.NotFound(w, r)
	}
}

// later is when a node has joined the cluster, or has left it: nobody has to look for it.
const later = 10 * time.Second

// after lets something happen later.
func (s *Server) after(do func()) { time.AfterFunc(later, func() { s.Update(do) }) }

// addNode makes a node.
func (s *Server) addNode(w http.ResponseWriter, r *http.Request) {
	var config castai.NodeConfig
	if !s.there(w, r) || !decode(w, r, &config) {
		return
	}
	n := castai.Node{Id: "node-made", Name: "made", AddedBy: "cast", InstanceType: config.InstanceType,
		Labels: config.KubernetesLabels, State: castai.NodeState{Phase: "creating"}}
	i := len(s.Nodes)
	s.Nodes = append(s.Nodes, n)
	s.after(func() {
		if s.Nodes[i].State.Phase != "creating" {
			return // it was deleted before it was there
		}
		s.Nodes[i].State.Phase = "ready"
		if s.Added != nil {
			s.Added(s.Nodes[i], config)
		}
	})
	answer(w, http.StatusOK, castai.AddedNode{NodeId: n.Id, OperationId: "op"})
}

func (s *Server) nodeOf(w http.ResponseWriter, r *http.Request) (i int) {
	i = slices.IndexFunc(s.Nodes, func(n castai.Node) bool {
		return n.Id == r.PathValue("node") && n.State.Phase != "deleted"
	})
	if i < 0 {
		Fail(w, http.StatusNotFound, "node not found")
	}
	return i
}

func (s *Server) node(w http.ResponseWriter, r *http.Request) {
	s.look()
	if i := s.nodeOf(w, r); i >= 0 {
		answer(w, http.StatusOK, s.Nodes[i])
	}
}

func (s *Server) deleteNode(w http.ResponseWriter, r *http.Request) {
	if i := s.nodeOf(w, r); i >= 0 {
		s.Nodes[i].State.Phase = "draining"
		s.after(func() { s.remove(i) })
		answer(w, http.StatusOK, castai.DeletedNode{OperationId: "op"})
	}
}

func (s *Server) policies(w http.ResponseWriter, r *http.Request) {
	if s.there(w, r) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(s.Policies) // byte for byte, as the service does
	}
}

func (s *Server) putPolicies(w http.ResponseWriter, r *http.Request) {
	var p castai.Policies
	if s.there(w, r) && decode(w, r, &p) {
		s.Policies = p
		answer(w, http.StatusOK, p)
	}
}

func (s *Server) plans(w http.ResponseWriter, r *http.Request) {
	if s.there(w, r) {
		answer(w, http.StatusOK, castai.RebalancingPlanList{Items: s.Plans})
	}
}

// decode reads a body, or answers that it can't.
func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	err := json.NewDecoder(r.Body).Decode(into)
	if err != nil {
		Fail(w, http.StatusBadRequest, err.Error())
	}
	return err == nil
}
