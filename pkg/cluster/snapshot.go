package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
)

// Resource is one resource type that the API server serves, in its preferred version.
type Resource struct {
	Group      string
	Version    string
	Name       string // plural, as in a URL
	Kind       string
	Namespaced bool
	Verbs      []string
	// Singular and ShortNames are what kubectl takes for it, too.
	Singular   string
	ShortNames []string
	// Aggregated: another server serves it, as an APIService says.
	Aggregated bool
}

// Called tells whether kubectl takes a word for the resource: its kind, plural,
// singular or a short name.
func (r *Resource) Called(word string) bool {
	low := strings.ToLower(word)
	return strings.EqualFold(r.Kind, word) || low == r.Name || low == r.Singular || slices.Contains(r.ShortNames, low)
}

// GVR returns the resource as the REST clients want it.
func (r *Resource) GVR() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: r.Group, Version: r.Version, Resource: r.Name}
}

// GroupResource returns plural.group, the name that a CustomResourceDefinition carries.
func (r *Resource) GroupResource() schema.GroupResource {
	return schema.GroupResource{Group: r.Group, Resource: r.Name}
}

// APIVersion returns group/version, or the version alone in the core group.
func (r *Resource) APIVersion() string {
	return schema.GroupVersion{Group: r.Group, Version: r.Version}.String()
}

// Can tells whether the API server offers a verb on this resource.
func (r *Resource) Can(verb string) bool { return slices.Contains(r.Verbs, verb) }

// Object is what the rules need of one object: its metadata and, for the kinds
// listed in bodies, the few fields that decide whose it is.
type Object struct {
	Resource        *Resource
	Namespace       string
	Name            string
	UID             types.UID
	ResourceVersion string
	Generation      int64
	Created         time.Time
	Deleting        time.Time // zero: not being deleted
	// Grace is how long it may take to end once its deletion has been asked for
	// (metadata.deletionGracePeriodSeconds); only pods have any.
	Grace       time.Duration
	Labels      map[string]string
	Annotations map[string]string
	Owners      []metav1.OwnerReference
	Finalizers  []string
	Managers    []string       // field managers that wrote it, distinct, sorted
	Body        map[string]any // only the fields that bodies.go names, nil for other kinds
}

// Ref returns the version-independent name of the object.
func (o *Object) Ref() Ref {
	return Ref{Group: o.Resource.Group, Kind: o.Resource.Kind, Namespace: o.Namespace, Name: o.Name}
}

// Terminating tells whether somebody has asked for the deletion of the object.
func (o *Object) Terminating() bool { return !o.Deleting.IsZero() }

// Controller returns the owner reference of the controlling object, or nil.
func (o *Object) Controller() *metav1.OwnerReference {
	for i := range o.Owners {
		if o.Owners[i].Controller != nil && *o.Owners[i].Controller {
			return &o.Owners[i]
		}
	}
	return nil
}

// Unreadable is a part of the API that could not be read, so that nothing can
// be said about what is in it.
type Unreadable struct {
	What    string `json:"what"` // group/version or plural.group
	Message string `json:"message"`
	// Forbidden: only the rights of this user are missing.
	Forbidden bool `json:"forbidden,omitempty"`
	// GroupVersion is set when a whole group/version failed in discovery.
	GroupVersion string `json:"groupVersion,omitempty"`
}

// BuiltIn tells whether the API server itself serves it, not a custom resource
// definition or an API of somebody else's.
func (u Unreadable) BuiltIn() bool {
	_, group, _ := strings.Cut(u.What, ".")
	if u.GroupVersion != "" {
		group, _ = splitGroupVersion(u.GroupVersion)
	}
	return scheme.Scheme.IsGroupRegistered(group) || group == definitions.Group || group == "apiregistration.k8s.io"
}

// Server tells which cluster a snapshot was taken from.
type Server struct {
	Context       string    `json:"context,omitempty"`     // kubeconfig context
	ClusterName   string    `json:"clusterName,omitempty"` // cluster entry of that context
	Host          string    `json:"host"`
	Version       string    `json:"version"`
	KubeSystemUID types.UID `json:"kubeSystemUID,omitempty"` // identifies the cluster for good
}

// DisplayName is what a person calls the cluster: the kubeconfig's cluster
// entry, else its context, else the server's address.
func (s Server) DisplayName() string {
	switch {
	case s.ClusterName != "":
		return s.ClusterName
	case s.Context != "":
		return s.Context
	}
	return s.Host
}

// Snapshot is the state of a cluster at one time. Objects are sorted by Ref, so
// that nothing derived from it depends on the order in which lists arrived.
type Snapshot struct {
	Server     Server
	Scope      Scope // what of the cluster was read
	Resources  []*Resource
	Objects    []*Object
	Unreadable []Unreadable
	// Elsewhere names the kinds of Scope.Whole, by plural.group, that this user may
	// list only in the namespaces of the scope.
	Elsewhere []string
	Backends  []Backend // of webhooks and APIServices, if the scope asked for them
	Taken     time.Time
}

// ErrNotListed says that objects of a kind could not be listed.
var ErrNotListed = errors.New("nobody knows")

// Namespaced tells whether the objects of the kind that is meant are in namespaces.
func (s *Snapshot) Namespaced(ref Ref) bool {
	kinds := s.called(ref)
	return len(kinds) > 0 && kinds[0].Namespaced
}

// called returns the resources that a reference may mean.
func (s *Snapshot) called(ref Ref) (out []*Resource) {
	for _, r := range s.Resources {
		if r.Called(ref.Kind) && (ref.Group == "" || r.Group == ref.Group) {
			out = append(out, r)
		}
	}
	return out
}

// Find returns the object that ref names. Its kind may be any word that kubectl
// takes, without the group where that is unambiguous; the namespace may be left
// out for cluster-scoped kinds only. The error is ErrNotListed where the kind
// could not be listed.
func (s *Snapshot) Find(ref Ref) (*Object, error) {
	kinds := s.called(ref)
	if len(kinds) == 0 {
		return nil, fmt.Errorf("the cluster has no kind %q: kubectl api-resources lists them", ref.GroupKind().String())
	}
	var found []*Object
	for _, o := range s.Objects {
		if o.Name == ref.Name && o.Namespace == ref.Namespace && slices.Contains(kinds, o.Resource) {
			found = append(found, o)
		}
	}
	switch len(found) {
	case 0:
	case 1:
		return found[0], nil
	default:
		return nil, fmt.Errorf("%s may be %s or %s: write the group, too", ref, found[0].Ref(), found[1].Ref())
	}
	for _, u := range s.Unreadable {
		if slices.ContainsFunc(kinds, func(r *Resource) bool { return r.GroupResource().String() == u.What }) {
			return nil, fmt.Errorf("%w whether there is a %s: %s can't be listed (%s)", ErrNotListed, ref, u.What, u.Message)
		}
	}
	if kinds[0].Namespaced && ref.Namespace == "" {
		return nil, fmt.Errorf("%s is namespaced: write %s/NAMESPACE/%s", kinds[0].Kind, kinds[0].Kind, ref.Name)
	}
	return nil, fmt.Errorf("there is no %s in the cluster", ref)
}

// cmpStrings compares a1 with b1, then a2 with b2.
func cmpStrings(a1, b1, a2, b2 string) int {
	return cmp.Or(strings.Compare(a1, b1), strings.Compare(a2, b2))
}

func splitGroupVersion(s string) (group, version string) {
	gv, err := schema.ParseGroupVersion(s)
	if err != nil {
		return "", s
	}
	return gv.Group, gv.Version
}

// Target is everything that a write needs to hit one object and no other: its
// name, the version to address it in, and the UID that it had when the decision
// was made.
type Target struct {
	Ref
	Version         string    `json:"version"`
	Resource        string    `json:"resource"`
	UID             types.UID `json:"uid,omitempty"`
	ResourceVersion string    `json:"resourceVersion,omitempty"`
}

// GVR returns the resource as the REST clients want it.
func (t Target) GVR() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: t.Group, Version: t.Version, Resource: t.Resource}
}

// Target returns the object as the target of a write.
func (o *Object) Target() Target {
	return Target{Ref: o.Ref(), Version: o.Resource.Version, Resource: o.Resource.Name, UID: o.UID,
		ResourceVersion: o.ResourceVersion}
}
