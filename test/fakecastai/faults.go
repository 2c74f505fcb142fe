package fakecastai

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/test/fakecastai/contract"
)

// Kind is a way in which an answer goes wrong.
type Kind string

// The kinds of faults.
const (
	Unauthorized Kind = "401"
	Forbidden    Kind = "403"
	NotFound     Kind = "404"
	BadRequest   Kind = "400" // with fieldViolations
	Conflict     Kind = "409"
	Busy         Kind = "429"
	BusyFor      Kind = "429-retry-after"
	BusyForLong  Kind = "429-retry-later"
	Broken       Kind = "500"
	Unavailable  Kind = "503"
	Slow         Kind = "slow"    // far longer than usual
	Cut          Kind = "cut"     // it is done, and the answer breaks off
	Reset        Kind = "reset"   // nothing is done, and there is no answer
	Garbage      Kind = "garbage" // it is done, and the answer is no JSON
	HTML         Kind = "html"    // a page of somebody else, a proxy for example
	Empty        Kind = "empty"   // it is done, and the answer is 200 without a body
	NoContent    Kind = "204"     // it is done, and the answer is 204
	Redirect     Kind = "redirect"
)

// Kinds returns those that pass within seconds.
func Kinds() []Kind {
	return []Kind{
		Unauthorized, Forbidden, NotFound, BadRequest, Conflict, Busy, BusyFor, Broken, Unavailable, Slow, Cut, Reset,
		Garbage, HTML, Empty,
		NoContent, Redirect,
	}
}

// Fault spoils answers.
type Fault struct {
	Kind Kind
	// At is the number of the request, from 1, and From the first one; 0: any.
	At, From int
	// Method and Path (a part of it) say which requests; empty: any.
	Method, Path string
	// When says it, too; nil: always. It must not call the fake.
	When func(Request) bool
	// Times is how often; 0: always.
	Times int

	used int
}

// Request is one that the fake got. Keys are not kept.
type Request struct {
	Method, Path, Query, Body string
	// Key tells whether a key came with it.
	Key bool
}

// Inject adds a fault.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// OnRequest calls see with the number of each request, from 1, and the request,
// before it is answered.
func (s *Server) OnRequest(see func(n int, r Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.see = see
}

// Heal removes all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Requests returns the requests so far, in order.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Writes returns METHOD PATH of the requests so far that change something.
func (s *Server) Writes() []string {
	var out []string
	for _, r := range s.Requests() {
		if r.Method != http.MethodGet {
			out = append(out, r.Method+" "+r.Path)
		}
	}
	return out
}

// Handler answers requests.
func (s *Server) Handler() http.Handler {
	router := contract.HandlerFromMux(api{s}, chi.NewRouter())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		kind := s.record(r, string(body))
		if kind == Slow {
			select {
			case <-r.Context().Done():
				return
			case <-time.After(s.options.Slow):
			}
		}
		if spoil(w, kind) {
			return
		}
		good := httptest.NewRecorder()
		s.serve(good, r, router)
		deliver(w, good, kind)
	})
}

// record notes a request and returns the fault that hits it, if one does.
func (s *Server) record(r *http.Request, body string) Kind {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, Request{r.Method, r.URL.Path, r.URL.RawQuery, body, r.Header.Get("X-Api-Key") != ""})
	if s.see != nil {
		s.see(len(s.requests), s.requests[len(s.requests)-1])
	}
	for _, f := range s.faults {
		if f.At != 0 && f.At != len(s.requests) || len(s.requests) < f.From || f.Method != "" && f.Method != r.Method ||
			!strings.Contains(r.URL.Path, f.Path) || f.Times > 0 && f.used >= f.Times {
			continue
		}
		if f.When != nil && !f.When(s.requests[len(s.requests)-1]) {
			continue
		}
		f.used++
		return f.Kind
	}
	return ""
}

// serve answers a request as the service does.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, router http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance(r.Context())
	key := r.Header.Get("X-Api-Key")
	switch {
	case key == "" || key != s.options.Key && key != s.options.ReadOnlyKey:
		fail(w, http.StatusUnauthorized, "Unauthorized")
	case key == s.options.ReadOnlyKey && r.Method != http.MethodGet:
		fail(w, http.StatusForbidden, "Forbidden")
	default:
		router.ServeHTTP(w, r)
	}
}

// spoil answers in the place of the service; false: it shall answer first.
func spoil(w http.ResponseWriter, kind Kind) bool {
	switch kind {
	case BadRequest:
		fail(w, http.StatusBadRequest, "invalid request",
			castai.FieldViolation{Field: "clusterId", Description: "is not known"})
	case Unauthorized, Forbidden, NotFound, Conflict, Busy, Broken, Unavailable:
		code, err := strconv.Atoi(string(kind))
		if err != nil {
			panic(err) // the kinds are their codes
		}
		fail(w, code, http.StatusText(code))
	case BusyFor, BusyForLong:
		w.Header().Set("Retry-After", map[Kind]string{BusyFor: "1", BusyForLong: "90"}[kind])
		fail(w, http.StatusTooManyRequests, "Too Many Requests")
	case Reset:
		panic(http.ErrAbortHandler)
	case HTML:
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!doctype html><title>Sign in</title>")
	case Redirect:
		w.Header().Set("Location", "https://login.example.com/")
		w.WriteHeader(http.StatusFound)
	case Slow, Cut, Garbage, Empty, NoContent, "":
		return false
	}
	return true
}

// deliver sends an answer, or what the fault leaves of it.
func deliver(w http.ResponseWriter, good *httptest.ResponseRecorder, kind Kind) {
	body := good.Body.Bytes()
	switch kind {
	case Cut:
		w.Header().Set("Content-Length", strconv.Itoa(len(body)+100))
		w.WriteHeader(good.Code)
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case Garbage:
		body = []byte(`{"items": [`)
	case Empty:
		body = nil
		good.Code = http.StatusOK
	case NoContent:
		w.WriteHeader(http.StatusNoContent)
		return
	case Unauthorized, Forbidden, NotFound, BadRequest, Conflict, Busy, BusyFor, BusyForLong, Broken, Unavailable,
		Slow, Reset, HTML, Redirect:
	}
	w.Header().Set("Content-Type", good.Header().Get("Content-Type"))
	w.WriteHeader(good.Code)
	_, _ = w.Write(body)
}
