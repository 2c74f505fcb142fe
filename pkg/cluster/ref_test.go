package cluster

import (
	"errors"
	"strings"
	"testing"
)

func TestRefRoundTrip(t *testing.T) {
	for text, want := range map[string]Ref{
		"ConfigMap/castai-agent/castai-agent-metadata": {Kind: "ConfigMap", Namespace: "castai-agent",
			Name: "castai-agent-metadata"},
		"Node/omni-edge-1": {Kind: "Node", Name: "omni-edge-1"},
		"ClusterRole.rbac.authorization.k8s.io/broadcastai:read": {Group: "rbac.authorization.k8s.io", Kind: "ClusterRole",
			Name: "broadcastai:read"},
	} {
		got, err := ParseRef(text)
		if err != nil || got != want {
			t.Errorf("ParseRef(%q) = %+v, %v", text, got, err)
		}
		if got.String() != text {
			t.Errorf("%+v is %q, not %q", got, got, text)
		}
	}
	for _, text := range []string{"", "castai-agent", "Kind/", "/name", "Kind//name", "a/b/c/d", " /x"} {
		if r, err := ParseRef(text); err == nil {
			t.Errorf("ParseRef(%q) = %+v, but it is no reference", text, r)
		}
	}
}

func TestFind(t *testing.T) {
	secrets := &Resource{Version: "v1", Name: "secrets", Kind: "Secret", Singular: "secret", Namespaced: true}
	roles := &Resource{Group: "rbac.authorization.k8s.io", Version: "v1", Name: "clusterroles", Kind: "ClusterRole"}
	deployments := &Resource{Group: "apps", Version: "v1", Name: "deployments", Kind: "Deployment",
		ShortNames: []string{"deploy"}, Namespaced: true}
	one := &Resource{Group: "one.io", Version: "v1", Name: "bundles", Kind: "Bundle"}
	two := &Resource{Group: "two.io", Version: "v1", Name: "bundles", Kind: "Bundle"}
	hidden := &Resource{Group: "rbac.authorization.k8s.io", Version: "v1", Name: "roles", Kind: "Role", Namespaced: true}
	snap := &Snapshot{
		Resources: []*Resource{secrets, roles, deployments, one, two, hidden},
		Objects: []*Object{
			{Resource: secrets, Namespace: "a", Name: "s"}, {Resource: roles, Name: "r"}, {Resource: deployments, Namespace: "a",
				Name: "d"},
			{Resource: one, Name: "b"}, {Resource: two, Name: "b"},
		},
		Unreadable: []Unreadable{{What: "roles.rbac.authorization.k8s.io", Message: "forbidden", Forbidden: true}},
	}
	for _, text := range []string{
		"Secret/a/s", "secrets/a/s", "secret/a/s", "ClusterRole/r", "clusterroles.rbac.authorization.k8s.io/r",
		"deploy/a/d", "deploy.apps/a/d", "Deploy/a/d", "Bundle.one.io/b",
	} {
		ref, err := ParseRef(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := snap.Find(ref); err != nil {
			t.Errorf("Find(%s): %v", text, err)
		}
	}
	for text, want := range map[string]string{
		"Gadget/x":        `the cluster has no kind "Gadget": kubectl api-resources lists them`,
		"Secret/s":        "Secret is namespaced: write Secret/NAMESPACE/s",
		"Secret/b/s":      "there is no Secret/b/s in the cluster",
		"ClusterRole/a/r": "there is no ClusterRole/a/r in the cluster",
		"Bundle/b":        "Bundle/b may be Bundle.one.io/b or Bundle.two.io/b: write the group, too",
		"Role/a/r":        "nobody knows whether there is a Role/a/r: roles.rbac.authorization.k8s.io can't be listed (forbidden)",
	} {
		ref, err := ParseRef(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := snap.Find(ref); err == nil || err.Error() != want ||
			errors.Is(err, ErrNotListed) != (text == "Role/a/r") {
			t.Errorf("Find(%s): %v", text, err)
		}
	}
}

// What is read is written the same way, and names one object only.
func FuzzParseRef(f *testing.F) {
	for _, s := range []string{"ConfigMap/castai-agent/x", "ClusterRole.rbac.authorization.k8s.io/system:a", "/", "a//b",
		".g/n", "K./n", "K/n/m/o", "K/\x00", "K/ "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRef(s)
		if err != nil {
			if !strings.Contains(err.Error(), "KIND[.GROUP]/[NAMESPACE/]NAME") {
				t.Errorf("%v does not say what is expected", err)
			}
			return
		}
		if r.Kind == "" || r.Name == "" || r.String() != s {
			t.Errorf("%q is read as %#v", s, r)
		}
	})
}

func TestBuiltIn(t *testing.T) {
	for what, want := range map[string]bool{
		"pods": true, "deployments.apps": true, "rolebindings.rbac.authorization.k8s.io": true,
		"customresourcedefinitions.apiextensions.k8s.io": true,
		"apiservices.apiregistration.k8s.io":             true, "recommendations.autoscaling.cast.ai": false,
		"pods.metrics.k8s.io": false,
	} {
		if got := (Unreadable{What: what}).BuiltIn(); got != want {
			t.Errorf("%s: %v", what, got)
		}
	}
	for groupVersion, want := range map[string]bool{"v1": true, "batch/v1": true, "metrics.k8s.io/v1beta1": false} {
		if got := (Unreadable{What: groupVersion, GroupVersion: groupVersion}).BuiltIn(); got != want {
			t.Errorf("%s: %v", groupVersion, got)
		}
	}
}
