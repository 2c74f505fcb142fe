package clustertest

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

// Request is a request as the server understands it.
type Request struct {
	// Number counts the requests of the server, from 1. A watch is one.
	Number int
	// Verb is that of RBAC: get, list, watch, create, update, patch or delete; get
	// with no Resource asks for the version or for what is served.
	Verb string
	// What the request is for, as in its address. Group, Version and Resource are
	// empty if it is for no object.
	Group, Version, Resource, Subresource, Namespace, Name string
	DryRun                                                 bool
	Path                                                   string
	Query                                                  url.Values
	Body                                                   []byte
	UserAgent                                              string

	kind    *kind // nil: none is served under this name
	applied bool  // its managed fields are up to date
	ends    bool  // a watch that ends when it has sent what there is
}

// String returns VERB RESOURCE[.GROUP][/SUBRESOURCE] [NAMESPACE/]NAME, with " (dry run)"
// behind it, or the path of a request that is for no object.
func (r *Request) String() string {
	if r.Resource == "" {
		return r.Verb + " " + r.Path
	}
	out := r.Verb + " " + r.groupResource().String()
	if r.Subresource != "" {
		out += "/" + r.Subresource
	}
	if name := strings.Trim(r.Namespace+"/"+r.Name, "/"); name != "" {
		out += " " + name
	}
	if r.DryRun {
		out += " (dry run)"
	}
	return out
}

// IsWrite tells whether the request changes an object, or would without dry run.
func (r *Request) IsWrite() bool {
	return r.Resource != "" && !slices.Contains([]string{"get", "list", "watch"}, r.Verb) && !r.isReview()
}

// isReview tells whether the request asks for the rights of the user, or who that is.
func (r *Request) isReview() bool { return r.Resource == "selfsubjectaccessreviews" || r.isWhoAmI() }

func (r *Request) isWhoAmI() bool { return r.Resource == "selfsubjectreviews" }

func (r *Request) groupResource() schema.GroupResource {
	return schema.GroupResource{Group: r.Group, Resource: r.Resource}
}

// manager is the name under which the request writes.
func (r *Request) manager() string {
	if name := r.Query.Get("fieldManager"); name != "" {
		return name
	}
	name, _, _ := strings.Cut(r.UserAgent, "/")
	return name
}

// empty returns an object of the kind with nothing in it.
func (r *Request) empty() *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(r.kind.GroupVersionKind)
	return u
}

// asRequested returns an object in the version of the request.
func (r *Request) asRequested(u *unstructured.Unstructured) *unstructured.Unstructured {
	u = u.DeepCopy()
	u.SetGroupVersionKind(r.kind.GroupVersionKind)
	return u
}

// parse reads a request, its body included.
func parse(req *http.Request) (*Request, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	r := &Request{Path: req.URL.Path, Query: req.URL.Query(), Body: body, UserAgent: req.UserAgent(), Verb: "get"}
	r.DryRun = r.Query.Get("dryRun") == metav1.DryRunAll
	parts := strings.Split(strings.Trim(r.Path, "/"), "/")
	switch {
	case parts[0] == "api" && len(parts) > 2:
		r.Version, parts = parts[1], parts[2:]
	case parts[0] == "apis" && len(parts) > 3:
		r.Group, r.Version, parts = parts[1], parts[2], parts[3:]
	default:
		return r, nil
	}
	// namespaces/NAME/finalize is about the namespace, namespaces/NAME/pods is not.
	if parts[0] == "namespaces" && len(parts) > 2 && !slices.Contains([]string{"status", "finalize"}, parts[2]) {
		r.Namespace, parts = parts[1], parts[2:]
	}
	r.Resource = parts[0]
	if len(parts) > 1 {
		r.Name = parts[1]
	}
	if len(parts) > 2 {
		r.Subresource = strings.Join(parts[2:], "/")
	}
	r.Verb = verbOf(req.Method, r.Name, r.Query.Get("watch") == "true" || r.Query.Get("watch") == "1")
	return r, nil
}

func verbOf(method, name string, watches bool) string {
	switch method {
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		if name == "" {
			return "deletecollection"
		}
		return "delete"
	}
	switch {
	case watches:
		return "watch"
	case name == "":
		return "list"
	}
	return "get"
}

// object decodes the body of a creation or update.
func (r *Request) object() (*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(r.Body); err == nil {
		return u, nil
	}
	// Protobuf, of a kind that Kubernetes' own types know.
	typed, _, err := scheme.Codecs.UniversalDeserializer().Decode(r.Body, nil, nil)
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the object provided is unrecognized: %v", err))
	}
	u.Object, err = runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	return u, err
}
