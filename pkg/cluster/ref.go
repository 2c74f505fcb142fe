// Package cluster is the only package that talks to the Kubernetes API.
//
// It turns an API server into a Snapshot (what is there) and carries out single
// writes with preconditions. What those objects mean, and what should happen to
// them, is decided elsewhere on the snapshot, without the network.
package cluster

import (
	"cmp"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Ref names one object independently of the API version that it is served in.
type Ref struct {
	Group     string `json:"group,omitempty"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// GroupKind returns the kind of the object.
func (r Ref) GroupKind() schema.GroupKind { return schema.GroupKind{Group: r.Group, Kind: r.Kind} }

// String returns KIND[.GROUP]/[NAMESPACE/]NAME, the form that ParseRef reads.
func (r Ref) String() string {
	var b strings.Builder
	b.WriteString(r.Kind)
	if r.Group != "" {
		b.WriteString("." + r.Group)
	}
	if r.Namespace != "" {
		b.WriteString("/" + r.Namespace)
	}
	b.WriteString("/" + r.Name)
	return b.String()
}

// Compare orders references by group, kind, namespace and name.
func (r Ref) Compare(o Ref) int {
	return cmp.Or(
		cmp.Compare(r.Group, o.Group),
		cmp.Compare(r.Kind, o.Kind),
		cmp.Compare(r.Namespace, o.Namespace),
		cmp.Compare(r.Name, o.Name),
	)
}

// ParseRef reads KIND[.GROUP]/[NAMESPACE/]NAME, for example
// ConfigMap/castai-agent/castai-agent-metadata or
// ClusterRole.rbac.authorization.k8s.io/castai-agent. It does not ask the
// cluster whether such a kind or object exists; Snapshot.Find does.
func ParseRef(s string) (Ref, error) {
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 {
		return Ref{}, fmt.Errorf("%q is not an object: write KIND[.GROUP]/[NAMESPACE/]NAME, for example ConfigMap/castai-agent/castai-agent-metadata", s)
	}
	for _, p := range parts {
		if strings.TrimSpace(p) == "" {
			return Ref{}, fmt.Errorf("%q has an empty part: write KIND[.GROUP]/[NAMESPACE/]NAME", s)
		}
	}
	kind, group, dot := strings.Cut(parts[0], ".")
	if kind == "" || dot && group == "" {
		return Ref{}, fmt.Errorf("%q names no kind or an empty group: write KIND[.GROUP]/[NAMESPACE/]NAME", s)
	}
	r := Ref{Group: group, Kind: kind, Name: parts[len(parts)-1]}
	if len(parts) == 3 {
		r.Namespace = parts[1]
	}
	return r, nil
}
