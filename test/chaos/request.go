package chaos

import (
	"net/http"
	"strings"
)

// Class is what a request asks of the API server.
type Class string

// The classes of requests.
const (
	Discovery Class = "discovery"
	Review    Class = "review" // a SelfSubjectAccessReview
	List      Class = "list"
	Watch     Class = "watch"
	Get       Class = "get"
	Create    Class = "create"
	Patch     Class = "patch"
	Update    Class = "update" // the finalize subresource of a namespace
	Delete    Class = "delete"
)

// Request is one request that passed the proxy.
type Request struct {
	Class  Class
	Method string
	Path   string
}

func (r Request) String() string { return r.Method + " " + r.Path + " (" + string(r.Class) + ")" }

// writes tells whether the request changes anything.
func (r Request) writes() bool {
	return r.Class == Create || r.Class == Patch || r.Class == Update || r.Class == Delete
}

// classify says what a request is.
func classify(r *http.Request) Request {
	out := Request{Method: r.Method, Path: r.URL.Path}
	switch r.Method {
	case http.MethodPost:
		out.Class = Create
		if strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews") {
			out.Class = Review
		}
	case http.MethodPatch:
		out.Class = Patch
	case http.MethodPut:
		out.Class = Update
	case http.MethodDelete:
		out.Class = Delete
	default:
		out.Class = read(r)
	}
	return out
}

// read tells the classes of GET requests apart by the form of their paths:
// /apis/GROUP/VERSION[/namespaces/NAMESPACE]/RESOURCE[/NAME].
func read(r *http.Request) Class {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	skip := 2 // api, v1
	if parts[0] == "apis" {
		skip = 3
	}
	if parts[0] != "api" && parts[0] != "apis" || len(parts) <= skip {
		return Discovery
	}
	rest := parts[skip:]
	if rest[0] == "namespaces" && len(rest) > 2 {
		rest = rest[2:]
	}
	switch {
	case r.URL.Query().Get("watch") == "true":
		return Watch
	case len(rest) == 1:
		return List
	}
	return Get
}
