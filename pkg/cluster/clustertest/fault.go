package clustertest

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
)

// Fault is what becomes of a request instead of, or beside, its answer. The zero
// value is no fault.
type Fault struct {
	// Err is answered and nothing is done: one of k8s.io/apimachinery's
	// pkg/api/errors, such as NewTooManyRequests or NewInternalError.
	Err error
	// Lost breaks the connection, before the request is carried out, and
	// AnswerLost after that.
	Lost, AnswerLost bool
	// Hang answers nothing until the client gives up.
	Hang bool
	// HTML is answered with success, and nothing is done: what stands between the
	// client and the server, a proxy that wants a login say, answers so.
	HTML string
	// EndWatch lets a watch end when it has sent what there is already.
	EndWatch bool
}

// hook is called before requests.
type hook struct {
	before func(*Request) Fault
}

// Before calls f before every request is carried out, and does to it what f
// returns. f may change what the server holds, as somebody else would; it is
// called from the goroutine of the request. stop ends it.
func (s *Server) Before(f func(*Request) Fault) (stop func()) {
	h := &hook{before: f}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = append(s.hooks, h)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.hooks = slices.DeleteFunc(s.hooks, func(other *hook) bool { return other == h })
	}
}

// BeforeNth is Before for the nth request, from 1, that matches.
func (s *Server) BeforeNth(n int, match func(*Request) bool, f func(*Request) Fault) (stop func()) {
	seen := 0
	return s.Before(func(r *Request) Fault {
		if !match(r) {
			return Fault{}
		}
		s.mu.Lock()
		seen++
		hit := seen == n
		s.mu.Unlock()
		if !hit {
			return Fault{}
		}
		return f(r)
	})
}

// Requests returns the requests so far, in the order of their arrival.
func (s *Server) Requests() []*Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Writes returns the requests so far that would change an object, as
// Request.String has them.
func (s *Server) Writes() []string {
	var out []string
	for _, r := range s.Requests() {
		if r.IsWrite() {
			out = append(out, r.String())
		}
	}
	return out
}

// hooked counts a request, lets the hooks see it and does what they want. done
// tells that there is nothing left to do.
func (s *Server) hooked(w http.ResponseWriter, req *http.Request, r *Request) (done bool) {
	s.mu.Lock()
	r.Number = len(s.requests) + 1
	s.requests = append(s.requests, r)
	hooks := slices.Clone(s.hooks)
	s.mu.Unlock()
	for _, h := range hooks {
		switch fault := h.before(r); {
		case fault.Lost:
			panic(http.ErrAbortHandler)
		case fault.AnswerLost:
			s.dispatch(httptest.NewRecorder(), req, r)
			panic(http.ErrAbortHandler)
		case fault.Hang:
			select {
			case <-req.Context().Done():
			case <-s.closed:
			}
			panic(http.ErrAbortHandler)
		case fault.HTML != "":
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte(fault.HTML)) // a client that has gone is none of the server's business
			return true
		case fault.Err != nil:
			s.fail(w, fault.Err)
			return true
		case fault.EndWatch:
			r.ends = true
		}
	}
	return false
}

func seconds(n int32) string { return strconv.Itoa(int(n)) }
