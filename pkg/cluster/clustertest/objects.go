package clustertest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Put stores objects as if they had been there: nothing is checked, so that an
// object may be in deletion, in a namespace that is gone or of a kind that its
// CustomResourceDefinition, which must be put first, defines. A namespace that
// is not there is made. What the server sets (UID, times, a namespace's phase) it
// sets unless it is there.
func (s *Server) Put(objects ...*unstructured.Unstructured) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range objects {
		gvk := u.GroupVersionKind()
		k := s.kindOf(func(k *kind) bool { return k.GroupKind() == gvk.GroupKind() })
		if k == nil {
			s.t.Fatalf("the server does not serve %s: put its CustomResourceDefinition first", gvk)
		}
		u = u.DeepCopy()
		switch {
		case !k.namespaced:
			u.SetNamespace("")
		case u.GetNamespace() == "":
			u.SetNamespace(metav1.NamespaceDefault)
		}
		if k.namespaced && s.objects[namespaceKey(u.GetNamespace())] == nil {
			ns := complete(Object("v1", "Namespace", "", u.GetNamespace()))
			s.write(ns)
		}
		if k.generation && u.GetGeneration() == 0 {
			u.SetGeneration(1)
		}
		s.write(complete(u))
	}
}

// complete sets what is missing of what the server sets.
func complete(u *unstructured.Unstructured) *unstructured.Unstructured {
	if u.GetUID() == "" {
		u.SetUID(types.UID(uuid.NewString()))
	}
	if at := u.GetCreationTimestamp(); at.IsZero() {
		u.SetCreationTimestamp(metav1.NewTime(time.Now().Truncate(time.Second)))
	}
	before := u.DeepCopy()
	initialize(u)
	for _, path := range [][]string{{"status", "phase"}, {"status", "conditions"}, {"spec", "finalizers"}} {
		if value, found, err := unstructured.NestedFieldCopy(before.Object, path...); found && err == nil {
			set(u, value, path...)
		}
	}
	return u
}

// Drop removes an object from storage, whatever holds it up.
func (s *Server) Drop(ref cluster.Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := (key{ref.GroupKind(), ref.Namespace, ref.Name}); s.objects[k] != nil {
		s.erase(k)
	}
}

// Get returns an object as it is stored, or nil.
func (s *Server) Get(ref cluster.Ref) *unstructured.Unstructured {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.objects[key{ref.GroupKind(), ref.Namespace, ref.Name}]; u != nil {
		return u.DeepCopy()
	}
	return nil
}

// Refs names what is stored, in order.
func (s *Server) Refs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for k := range s.objects {
		out = append(out, cluster.Ref{Group: k.Group, Kind: k.Kind, Namespace: k.namespace, Name: k.name}.String())
	}
	slices.Sort(out)
	return out
}

// Target returns an object that is stored as the target of a write.
func (s *Server) Target(ref cluster.Ref) cluster.Target {
	s.t.Helper()
	u := s.Get(ref)
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kindOf(func(k *kind) bool { return k.GroupKind() == ref.GroupKind() })
	if u == nil || k == nil {
		s.t.Fatalf("%s is not there", ref)
	}
	return cluster.Target{
		Ref:             ref,
		Version:         k.Version,
		Resource:        k.resource,
		UID:             u.GetUID(),
		ResourceVersion: u.GetResourceVersion(),
	}
}

// Forget drops the history up to now, as compaction does: watches from before
// and the further pages of lists from before have expired.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	s.oldest, s.history = s.version, nil
}

// Bookmark sends a bookmark to every watch that allows it.
func (s *Server) Bookmark() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marks++
	s.tell()
}

// fieldOf returns a field for a field selector: as text, empty if it is not there.
func fieldOf(u *unstructured.Unstructured, path string) string {
	value, found, err := unstructured.NestedFieldNoCopy(u.Object, strings.Split(path, ".")...)
	if !found || err != nil {
		return ""
	}
	return fmt.Sprint(value)
}

// Getter returns how a command reaches the server, in place of the flags of a
// kubeconfig.
func (s *Server) Getter() genericclioptions.RESTClientGetter { return getter{s} }

type getter struct{ server *Server }

func (g getter) ToRESTConfig() (*rest.Config, error) { return g.server.Config(), nil }

func (g getter) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	return clientcmd.NewDefaultClientConfig(kubeconfig(g.server.Config().Host), nil)
}

func (g getter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	c, err := discovery.NewDiscoveryClientForConfig(g.server.Config())
	if err != nil {
		return nil, err
	}
	return memory.NewMemCacheClient(c), nil
}

func (g getter) ToRESTMapper() (meta.RESTMapper, error) {
	c, err := g.ToDiscoveryClient()
	if err != nil {
		return nil, err
	}
	return restmapper.NewDeferredDiscoveryRESTMapper(c), nil
}
