package clustertest

import (
	"net/http"
	"slices"
	"strings"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
)

// groupVersions returns what is served, in the order of discovery, without the
// core group; broken are those of which an APIService promises that a Service
// serves them, unless it is Available: then a definition says what is served.
func (s *Server) groupVersions() (served []schema.GroupVersion, broken []schema.GroupVersion) {
	for _, k := range s.kinds() {
		if gv := k.GroupVersion(); gv.Group != "" && !slices.Contains(served, gv) {
			served = append(served, gv)
		}
	}
	for _, o := range s.all(apiServiceKind.GroupKind()) {
		if service, _, _ := unstructured.NestedMap(o.Object, "spec", "service"); service == nil || available(o) {
			continue
		}
		group, _, _ := unstructured.NestedString(o.Object, "spec", "group")
		v, _, _ := unstructured.NestedString(o.Object, "spec", "version")
		broken = append(broken, schema.GroupVersion{Group: group, Version: v})
	}
	return served, broken
}

// available tells whether the status of an APIService says that it is.
func available(o *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	return slices.ContainsFunc(conditions, func(item any) bool {
		c, _ := item.(map[string]any)
		return c["type"] == "Available" && c["status"] == "True"
	})
}

// discover answers a request that is for no object: the version and what is
// served. It reports whether it did.
func (s *Server) discover(w http.ResponseWriter, r *http.Request) bool {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.URL.Path == "/version":
		s.answer(w, http.StatusOK, version.Info{Major: "1", Minor: "36", GitVersion: serverVersion})
	case r.URL.Path == "/api" || r.URL.Path == "/apis":
		s.discoverGroups(w, r)
	case parts[0] == "api" && len(parts) == 2:
		s.discoverResources(w, schema.GroupVersion{Version: parts[1]})
	case parts[0] == "apis" && len(parts) == 3:
		s.discoverResources(w, schema.GroupVersion{Group: parts[1], Version: parts[2]})
	default:
		return false
	}
	return true
}

// serverVersion is the version whose behaviour this server has.
const serverVersion = "v1.36.3"

func (s *Server) discoverGroups(w http.ResponseWriter, r *http.Request) {
	served, broken := s.groupVersions()
	core := r.URL.Path == "/api"
	if core {
		served, broken = []schema.GroupVersion{{Version: "v1"}}, nil
	}
	const aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
	if strings.Contains(r.Header.Get("Accept"), aggregated) && !s.NoAggregatedDiscovery {
		w.Header().Set("Content-Type", aggregated)
		s.answer(w, http.StatusOK, s.aggregated(served, broken))
		return
	}
	if core {
		s.answer(
			w,
			http.StatusOK,
			metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}},
		)
		return
	}
	groups := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
	for _, gv := range slices.Concat(served, broken) {
		v := metav1.GroupVersionForDiscovery{GroupVersion: gv.String(), Version: gv.Version}
		i := slices.IndexFunc(groups.Groups, func(g metav1.APIGroup) bool { return g.Name == gv.Group })
		if i < 0 {
			groups.Groups = append(groups.Groups, metav1.APIGroup{Name: gv.Group, PreferredVersion: v})
			i = len(groups.Groups) - 1
		}
		groups.Groups[i].Versions = append(groups.Groups[i].Versions, v)
	}
	s.answer(w, http.StatusOK, groups)
}

func (s *Server) aggregated(served, broken []schema.GroupVersion) apidiscoveryv2.APIGroupDiscoveryList {
	list := apidiscoveryv2.APIGroupDiscoveryList{
		TypeMeta: metav1.TypeMeta{Kind: "APIGroupDiscoveryList", APIVersion: "apidiscovery.k8s.io/v2"},
	}
	for _, gv := range slices.Concat(served, broken) {
		v := apidiscoveryv2.APIVersionDiscovery{
			Version:   gv.Version,
			Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent,
		}
		if slices.Contains(broken, gv) {
			v.Freshness = apidiscoveryv2.DiscoveryFreshnessStale
		}
		for _, k := range s.kinds() {
			if k.GroupVersion() != gv {
				continue
			}
			scope := apidiscoveryv2.ScopeCluster
			if k.namespaced {
				scope = apidiscoveryv2.ScopeNamespace
			}
			gvk := metav1.GroupVersionKind(k.GroupVersionKind)
			resource := apidiscoveryv2.APIResourceDiscovery{
				Resource:     k.resource,
				ResponseKind: &gvk,
				Scope:        scope,
				Verbs:        k.verbs,
			}
			for _, sub := range k.subresources() {
				resource.Subresources = append(
					resource.Subresources,
					apidiscoveryv2.APISubresourceDiscovery{
						Subresource:  sub,
						ResponseKind: &gvk,
						Verbs:        subresourceVerbs,
					},
				)
			}
			v.Resources = append(v.Resources, resource)
		}
		i := slices.IndexFunc(list.Items, func(g apidiscoveryv2.APIGroupDiscovery) bool { return g.Name == gv.Group })
		if i < 0 {
			list.Items = append(
				list.Items,
				apidiscoveryv2.APIGroupDiscovery{ObjectMeta: metav1.ObjectMeta{Name: gv.Group}},
			)
			i = len(list.Items) - 1
		}
		list.Items[i].Versions = append(list.Items[i].Versions, v)
	}
	return list
}

var subresourceVerbs = []string{"get", "patch", "update"}

func (k *kind) subresources() []string {
	var out []string
	if k.status {
		out = append(out, "status")
	}
	if k.resource == "namespaces" {
		out = append(out, "finalize")
	}
	return out
}

func (s *Server) discoverResources(w http.ResponseWriter, gv schema.GroupVersion) {
	served, broken := s.groupVersions()
	switch {
	case slices.Contains(broken, gv):
		s.fail(w, apierrors.NewServiceUnavailable("service unavailable"))
		return
	case gv != schema.GroupVersion{Version: "v1"} && !slices.Contains(served, gv):
		http.NotFound(w, nil) // as for a path that nobody serves
		return
	}
	list := metav1.APIResourceList{
		TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
		GroupVersion: gv.String(),
	}
	for _, k := range s.kinds() {
		if k.GroupVersion() != gv {
			continue
		}
		api := metav1.APIResource{Name: k.resource, Kind: k.Kind, Namespaced: k.namespaced, Verbs: k.verbs}
		list.APIResources = append(list.APIResources, api)
		for _, sub := range k.subresources() {
			api.Name, api.Verbs = k.resource+"/"+sub, subresourceVerbs
			list.APIResources = append(list.APIResources, api)
		}
	}
	s.answer(w, http.StatusOK, list)
}
