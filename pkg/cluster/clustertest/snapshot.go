// Package clustertest stands in for a cluster in unit tests.
//
// Snapshot and World make snapshots from manifests, for tests of what is decided.
//
// Serve and ServeManifest start a Server, for tests of what is done: an API
// server in the process, which the real client of pkg/cluster talks to over
// HTTP. It enforces what a real one enforces: preconditions, finalizers, the end
// of namespaces, dry runs, pages, watches, who manages a field. A test lets
// somebody else act between two requests, or breaks one, through Server.Before:
//
//	server := clustertest.ServeManifest(t, manifest)
//	server.BeforeNth(1, isDelete, func(*clustertest.Request) clustertest.Fault {
//		server.Drop(ref) // somebody is quicker
//		return clustertest.Fault{AnswerLost: true}
//	})
//	report, err := engine.Run(t.Context(), server.Client(), plan, engine.Options{})
//
// Then it looks at server.Get, Refs and Writes. In a bubble of testing/synctest
// all of this takes no time. What runs through flags, a command say, reaches the
// server by Getter or Kubeconfig.
package clustertest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Parse reads the objects of a multi-document manifest.
func Parse(manifest []byte) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifest)))
	for {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		raw, err := yaml.YAMLToJSON(doc)
		if err != nil {
			return nil, err
		}
		if bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
			continue
		}
		u := &unstructured.Unstructured{}
		if err := u.UnmarshalJSON(raw); err != nil {
			return nil, fmt.Errorf("%w in %s", err, doc)
		}
		out = append(out, u)
	}
}

// World returns the objects of a manifest, and a snapshot of a cluster with them.
func World(t testing.TB, manifest string) ([]*unstructured.Unstructured, *cluster.Snapshot) {
	t.Helper()
	objects, err := Parse([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	snap, err := Snapshot(objects...)
	if err != nil {
		t.Fatal(err)
	}
	return objects, snap
}

// Snapshot makes the snapshot that a cluster with these objects would give:
// namespaces are made for what lives in them, UIDs are the references. Objects
// of one kind and name must not be given twice.
func Snapshot(objects ...*unstructured.Unstructured) (*cluster.Snapshot, error) {
	snap := &cluster.Snapshot{
		Server: cluster.Server{Context: "test", Host: "https://test", Version: "v1.36.3", KubeSystemUID: "test"},
	}
	resources := map[schema.GroupKind]*cluster.Resource{}
	scopes := crdScopes(objects)
	seen := map[cluster.Ref]bool{}
	add := func(u *unstructured.Unstructured) error {
		gvk := u.GroupVersionKind()
		r := resources[gvk.GroupKind()]
		if r == nil {
			plural, _ := meta.UnsafeGuessKindToResource(gvk)
			r = &cluster.Resource{
				Group:   gvk.Group,
				Version: gvk.Version,
				Kind:    gvk.Kind,
				Name:    plural.Resource,
				Verbs:   []string{"list", "delete", "watch", "patch"},
			}
			if gvk.Kind == "SecurityContextConstraints" { // a plural already
				r.Name = "securitycontextconstraints"
			}
			if crd := scopes[gvk.GroupKind()]; crd != nil {
				r.Name, r.Namespaced = crd.Name, crd.Namespaced
			} else {
				r.Namespaced = Namespaced(gvk)
			}
			resources[gvk.GroupKind()] = r
			snap.Resources = append(snap.Resources, r)
		}
		u = u.DeepCopy()
		if !r.Namespaced {
			u.SetNamespace("")
		} else if u.GetNamespace() == "" {
			u.SetNamespace("default")
		}
		if u.GetUID() == "" {
			u.SetUID(
				types.UID(
					cluster.Ref{
						Group:     gvk.Group,
						Kind:      gvk.Kind,
						Namespace: u.GetNamespace(),
						Name:      u.GetName(),
					}.String(),
				),
			)
		}
		u.SetResourceVersion("1")
		o, err := cluster.NewObject(r, u)
		if err != nil {
			return err
		}
		if seen[o.Ref()] {
			return fmt.Errorf("%s is there twice", o.Ref())
		}
		seen[o.Ref()] = true
		snap.Objects = append(snap.Objects, o)
		return nil
	}
	for _, u := range objects {
		if err := add(u); err != nil {
			return nil, err
		}
	}
	for _, o := range slices.Clone(snap.Objects) {
		ns := cluster.Ref{Kind: "Namespace", Name: o.Namespace}
		if o.Namespace == "" || seen[ns] {
			continue
		}
		if err := add(Object("v1", "Namespace", "", o.Namespace)); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(snap.Objects, func(a, b *cluster.Object) int { return a.Ref().Compare(b.Ref()) })
	return snap, nil
}

// Object makes a bare object.
func Object(apiVersion, kind, namespace, name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind}}
	u.SetNamespace(namespace)
	u.SetName(name)
	return u
}

// crdScopes reads which kinds the CRDs among the objects define.
func crdScopes(objects []*unstructured.Unstructured) map[schema.GroupKind]*cluster.Resource {
	out := map[schema.GroupKind]*cluster.Resource{}
	for _, u := range objects {
		if u.GetKind() != "CustomResourceDefinition" {
			continue
		}
		group, _, _ := unstructured.NestedString(u.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(u.Object, "spec", "names", "kind")
		plural, _, _ := unstructured.NestedString(u.Object, "spec", "names", "plural")
		scope, _, _ := unstructured.NestedString(u.Object, "spec", "scope")
		out[schema.GroupKind{Group: group, Kind: kind}] = &cluster.Resource{
			Name:       plural,
			Namespaced: scope == "Namespaced",
		}
	}
	return out
}

// clusterScoped are the built-in kinds that live in no namespace.
var clusterScoped = []string{
	"Namespace",
	"Node",
	"PersistentVolume",
	"ClusterRole",
	"ClusterRoleBinding",
	"CustomResourceDefinition",
	"APIService",
	"MutatingWebhookConfiguration",
	"ValidatingWebhookConfiguration",
	"ValidatingAdmissionPolicy",
	"ValidatingAdmissionPolicyBinding",
	"StorageClass",
	"RuntimeClass",
	"PriorityClass",
	"IngressClass",
	"CSIDriver",
	"SecurityContextConstraints",
	"CertificateSigningRequest",
	"DeviceClass", "ResourceSlice", "CSINode", "VolumeAttachment", "VolumeAttributesClass", "IPAddress", "ServiceCIDR",
	"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "FlowSchema", "PriorityLevelConfiguration",
	"TracingPolicy",
}

// Namespaced tells whether the objects of a kind live in namespaces, as far as
// that can be told without the CRD of a custom kind.
func Namespaced(gvk schema.GroupVersionKind) bool {
	if slices.Contains(clusterScoped, gvk.Kind) {
		return false
	}
	return scheme.Scheme.Recognizes(gvk) || strings.Contains(gvk.Group, ".")
}
