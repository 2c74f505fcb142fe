package cluster

import (
	"slices"
	"testing"
)

func TestServiceRefs(t *testing.T) {
	o := &Object{Body: map[string]any{"webhooks": []any{
		map[string]any{"clientConfig": map[string]any{"service": map[string]any{"namespace": "a", "name": "hook",
			"port": int64(443)}}},
		map[string]any{"clientConfig": map[string]any{"url": "https://example.com"}},
		"nonsense",
	}}}
	if got, want := o.ServiceRefs(), [][2]string{{"a", "hook"}}; !slices.Equal(got, want) {
		t.Errorf("of a webhook: %v", got)
	}
	o = &Object{Body: map[string]any{"spec": map[string]any{"service": map[string]any{"namespace": "b", "name": "api",
		"port": int64(443)}}}}
	if got, want := o.ServiceRefs(), [][2]string{{"b", "api"}}; !slices.Equal(got, want) {
		t.Errorf("of an APIService: %v", got)
	}
	if got := (&Object{}).ServiceRefs(); len(got) > 0 {
		t.Errorf("of nothing: %v", got)
	}
}

func TestBackendDead(t *testing.T) {
	for _, tc := range []struct {
		b    Backend
		dead bool
	}{
		{Backend{}, true},
		{Backend{Found: true}, true},
		{Backend{Found: true, Ready: 1}, false},
		{Backend{Found: true, External: true}, false},
		{Backend{Unreadable: "forbidden"}, false},
	} {
		if got := tc.b.Dead(); got != tc.dead {
			t.Errorf("%+v: dead %t", tc.b, got)
		}
	}
}

func TestScopeWhole(t *testing.T) {
	few := []string{"nodes", "configmaps"}
	for _, tc := range []struct {
		r     Resource
		kinds []string
		want  []string
	}{
		{Resource{Name: "configmaps", Namespaced: true}, nil, []string{"a", "b"}},
		{Resource{Group: "apps", Name: "deployments", Namespaced: true}, nil, []string{""}},
		{Resource{Name: "nodes"}, nil, []string{""}},
		{Resource{Name: "persistentvolumes"}, nil, nil},
		{Resource{Name: "configmaps", Namespaced: true}, few, []string{"a", "b"}},
		{Resource{Name: "nodes"}, few, []string{""}},
		{Resource{Group: "apps", Name: "deployments", Namespaced: true}, few, nil},
		{Resource{Name: "pods", Namespaced: true}, nil, nil},
	} {
		s := Scope{Namespaces: []string{"a", "b"}, Whole: []string{"nodes", "deployments.apps"}, Kinds: tc.kinds,
			Except: []string{"pods"}}
		if got := s.namespacesFor(&tc.r); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q, want %q", tc.r.Name, got, tc.want)
		}
	}
}
