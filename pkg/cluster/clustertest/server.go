package clustertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Server is an API server without controllers: it keeps objects, and enforces
// what a real one enforces of preconditions, finalizers, namespaces, dry runs,
// pages and watches. What it does is compared with a real server's answers by
// test/conformance. It does not validate the content of objects, set defaults,
// or call webhooks.
//
// Clients of it work in a bubble of testing/synctest: connections are pipes,
// unless URL or Kubeconfig asks for a port.
type Server struct {
	// NoAggregatedDiscovery, NoProtobuf and NoFairness make it an old server. Set
	// them before the first request.
	NoAggregatedDiscovery, NoProtobuf, NoFairness bool
	// Forbid tells whether the user lacks the right to a request. It answers
	// SelfSubjectAccessReviews, too. It may be nil.
	Forbid func(*Request) bool
	// Logs is what pods have logged, by NAMESPACE/NAME.
	Logs map[string]string

	t     testing.TB
	http  *http.Server
	pipes *pipes
	port  func() string

	mu       sync.Mutex
	objects  map[key]*unstructured.Unstructured
	served   []*kind // what kinds returns, nil once a CustomResourceDefinition has changed
	version  int64
	history  []change
	oldest   int64         // version up to which history is forgotten
	changed  chan struct{} // closed at each change
	closed   chan struct{}
	pages    map[string]*page
	marks    int // bookmarks asked for
	requests []*Request
	hooks    []*hook
}

// Serve starts a server that holds the objects, as Put stores them, and the
// namespaces of a new cluster. It ends with the test.
func Serve(t testing.TB, objects ...*unstructured.Unstructured) *Server {
	t.Helper()
	s := &Server{
		t: t, pipes: newPipes(), objects: map[key]*unstructured.Unstructured{},
		changed: make(chan struct{}), closed: make(chan struct{}), pages: map[string]*page{},
	}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	s.port = sync.OnceValue(s.listen)
	go s.serve(s.pipes)
	t.Cleanup(func() {
		close(s.closed)
		_ = s.http.Close()
	})
	for _, name := range []string{"default", "kube-node-lease", "kube-public", "kube-system"} {
		s.Put(Object("v1", "Namespace", "", name))
	}
	s.Put(objects...)
	return s
}

// ServeManifest is Serve with the objects of a multi-document manifest.
func ServeManifest(t testing.TB, manifest string) *Server {
	t.Helper()
	objects, err := Parse([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	return Serve(t, objects...)
}

func (s *Server) serve(l net.Listener) {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		s.t.Error(err)
	}
}

// listen opens a port on this machine.
func (s *Server) listen() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	go s.serve(l)
	return "http://" + l.Addr().String()
}

// URL returns the address of the server on this machine.
func (s *Server) URL() string { return s.port() }

// Kubeconfig writes a kubeconfig with the server's address and returns its path.
func (s *Server) Kubeconfig() string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "config")
	if err := clientcmd.WriteToFile(kubeconfig(s.URL()), path); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func kubeconfig(address string) clientcmdapi.Config {
	const name = "test"
	return clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{name: {Server: address}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: {}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	}
}

// Client connects to the server. Its requests end with the test.
func (s *Server) Client() *cluster.Client {
	s.t.Helper()
	c, err := cluster.New(s.t.Context(), s.Getter(), cluster.Options{UserAgent: cluster.UserAgent("test")})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// Config returns how clients reach the server, without a port.
func (s *Server) Config() *rest.Config {
	return &rest.Config{
		Host: "http://api.test", Dial: s.pipes.dial, QPS: -1,
		Proxy: func(*http.Request) (*url.URL, error) { return nil, nil },
	}
}

// Instead returns Config for whatever cluster the flags of a command select: their
// WrapConfigFn.
func (s *Server) Instead(*rest.Config) *rest.Config { return s.Config() }

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r, err := parse(req)
	if err != nil {
		panic(http.ErrAbortHandler) // the client has gone
	}
	if !s.NoFairness {
		w.Header().Set("X-Kubernetes-PF-FlowSchema-UID", "test")
	}
	if !s.hooked(w, req, r) {
		s.dispatch(w, req, r)
	}
}

// dispatch carries out a request and answers it. Nothing is sent while the lock
// is held: a client may read late.
func (s *Server) dispatch(w http.ResponseWriter, req *http.Request, r *Request) {
	answer := httptest.NewRecorder()
	stream := s.do(answer, req, r)
	if stream != nil {
		stream.run(w, req)
		return
	}
	if answer.Code >= http.StatusBadRequest {
		inProtobuf(answer, req)
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = answer.Body.WriteTo(w) // a client that has gone is none of the server's business
}

// do answers a request, or returns the stream that does.
func (s *Server) do(w http.ResponseWriter, req *http.Request, r *Request) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Resource == "" {
		if !s.discover(w, req) {
			http.NotFound(w, req)
		}
		return nil
	}
	if r.isReview() {
		s.review(w, r)
		return nil
	}
	if s.Forbid != nil && s.Forbid(r) {
		s.fail(w, apierrors.NewForbidden(r.groupResource(), r.Name, fmt.Errorf(
			"the test forbids it: User %q cannot %s resource %q in API group %q", "test", r.Verb,
			strings.TrimSuffix(r.Resource+"/"+r.Subresource, "/"), r.Group)))
		return nil
	}
	_, broken := s.groupVersions()
	if slices.Contains(broken, schema.GroupVersion{Group: r.Group, Version: r.Version}) {
		s.fail(w, apierrors.NewServiceUnavailable("service unavailable"))
		return nil
	}
	r.kind = s.kindOf(func(k *kind) bool {
		return k.Group == r.Group && k.Version == r.Version && k.resource == r.Resource &&
			(k.namespaced || r.Namespace == "")
	})
	if r.kind != nil && r.Verb == "create" && r.Resource == "pods" && r.Subresource == "eviction" {
		s.evict(w, r)
		return nil
	}
	if r.kind != nil && r.Verb == "get" && r.Resource == "pods" && r.Subresource == "log" {
		s.log(w, r)
		return nil
	}
	if r.kind == nil || r.Subresource != "" && !slices.Contains(r.kind.subresources(), r.Subresource) {
		if s.kindOf(func(k *kind) bool { return k.Group == r.Group && k.Version == r.Version && !k.custom }) == nil {
			http.NotFound(w, req)
			return nil
		}
		s.fail(w, failure(http.StatusNotFound, metav1.StatusReasonNotFound,
			"the server could not find the requested resource"))
		return nil
	}
	f, ok := s.negotiate(req.Header.Get("Accept"), r.kind)
	if !ok {
		const words = "406: Not Acceptable Available representations: "
		s.fail(w, failure(http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable, words+acceptable))
		return nil
	}
	if r.Verb == "watch" {
		return s.watch(w, r, f)
	}
	s.carryOut(w, req, r, f)
	return nil
}

func (s *Server) carryOut(w http.ResponseWriter, req *http.Request, r *Request, f format) {
	var u *unstructured.Unstructured
	var err error
	code := http.StatusOK
	switch r.Verb {
	case "list":
		s.list(w, r, f)
		return
	case "get":
		if u = s.objects[key{r.kind.GroupKind(), r.Namespace, r.Name}]; u == nil {
			err = apierrors.NewNotFound(r.groupResource(), r.Name)
		}
	case "create":
		code = http.StatusCreated
		if u, err = r.object(); err == nil {
			u, err = s.create(r, u)
		}
	case "update":
		u, err = s.update(r, func(*unstructured.Unstructured) (*unstructured.Unstructured, error) { return r.object() })
	case "patch":
		var created bool
		if u, created, err = s.patch(
			r,
			strings.TrimSpace(strings.Split(req.Header.Get("Content-Type"), ";")[0]),
		); created {
			code = http.StatusCreated
		}
	case "delete":
		s.deletion(w, r, f)
		return
	default:
		err = apierrors.NewMethodNotSupported(r.groupResource(), r.Verb)
	}
	if err != nil {
		s.fail(w, err)
		return
	}
	s.send(w, code, f, r.asRequested(u))
}

// deletion answers a deletion: with the object if it is still there, otherwise
// with a Status.
func (s *Server) deletion(w http.ResponseWriter, r *Request, f format) {
	o, err := deleteOptions(r)
	if err != nil {
		s.fail(w, err)
		return
	}
	u, gone, err := s.delete(r, o)
	switch {
	case err != nil:
		s.fail(w, err)
	case gone:
		s.answer(w, http.StatusOK, metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess,
			Details: &metav1.StatusDetails{Name: r.Name, Group: r.Group, Kind: r.Resource, UID: u.GetUID()},
		})
	default:
		s.send(w, http.StatusOK, f, r.asRequested(u))
	}
}

// UserName is whom the server takes everybody for.
const UserName = "tester"

// review answers a SelfSubjectAccessReview, or a SelfSubjectReview.
func (s *Server) review(w http.ResponseWriter, r *Request) {
	review, err := r.object()
	if err != nil {
		s.fail(w, err)
		return
	}
	if r.isWhoAmI() {
		set(review, map[string]any{"username": UserName, "groups": []any{"system:authenticated"}}, "status", "userInfo")
		s.answer(w, http.StatusCreated, review.Object)
		return
	}
	attribute := func(name string) string {
		value, _, _ := unstructured.NestedString(review.Object, "spec", "resourceAttributes", name)
		return value
	}
	about := &Request{
		Verb: attribute(
			"verb",
		),
		Group:       attribute("group"),
		Version:     attribute("version"),
		Resource:    attribute("resource"),
		Subresource: attribute("subresource"),
		Namespace:   attribute("namespace"),
		Name:        attribute("name"),
	}
	set(review, s.Forbid == nil || !s.Forbid(about), "status", "allowed")
	s.answer(w, http.StatusCreated, review.Object)
}

// log sends what a pod has logged, and follows nothing.
func (s *Server) log(w http.ResponseWriter, r *Request) {
	if s.objects[key{r.kind.GroupKind(), r.Namespace, r.Name}] == nil {
		s.fail(w, apierrors.NewNotFound(r.groupResource(), r.Name))
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write([]byte(s.Logs[r.Namespace+"/"+r.Name])) // a client that has gone is none of the server's business
}

// answer sends a document as JSON.
func (s *Server) answer(w http.ResponseWriter, code int, document any) {
	body, err := json.Marshal(document)
	if err != nil {
		s.t.Error(err)
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(code)
	_, _ = w.Write(body) // a client that has gone is none of the server's business
}

// fail sends an error as the Status that a real server sends.
func (s *Server) fail(w http.ResponseWriter, err error) {
	status := statusOf(err)
	if status.Details != nil && status.Details.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", seconds(status.Details.RetryAfterSeconds))
	}
	s.answer(w, int(status.Code), status)
}

// failure is an error that is about the request and no object.
func failure(code int32, reason metav1.StatusReason, message string) error {
	status := metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message}
	return &apierrors.StatusError{ErrStatus: status}
}

// statusOf returns an error as the server sends it (ErrorToAPIStatus in
// k8s.io/apiserver v0.36.3 pkg/endpoints/handlers/responsewriters).
func statusOf(err error) metav1.Status {
	var known apierrors.APIStatus
	if !errors.As(err, &known) {
		return metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
			Code: http.StatusInternalServerError, Reason: metav1.StatusReasonUnknown, Message: err.Error(),
		}
	}
	status := known.Status()
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	return status
}

// pipes is a listener whose connections stay in the process.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
	close    func()
}

func newPipes() *pipes {
	p := &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.closed) })
	return p
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.accepted <- server:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.close()
	return nil
}

func (p *pipes) Addr() net.Addr { return pipeAddress{} }

type pipeAddress struct{}

func (pipeAddress) Network() string { return "pipe" }
func (pipeAddress) String() string  { return "api.test" }
