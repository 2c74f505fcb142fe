package cluster

import (
	"strings"
	"testing"
)

func TestRefRoundTrip(t *testing.T) {
	for text, want := range map[string]Ref{
		"ConfigMap/castai-agent/castai-agent-metadata": {Kind: "ConfigMap", Namespace: "castai-agent", Name: "castai-agent-metadata"},
		"Node/omni-edge-1": {Kind: "Node", Name: "omni-edge-1"},
		"ClusterRole.rbac.authorization.k8s.io/broadcastai:read": {Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "broadcastai:read"},
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
	secrets := &Resource{Version: "v1", Name: "secrets", Kind: "Secret", Namespaced: true}
	roles := &Resource{Group: "rbac.authorization.k8s.io", Version: "v1", Name: "clusterroles", Kind: "ClusterRole"}
	snap := &Snapshot{Resources: []*Resource{secrets, roles}, Objects: []*Object{
		{Resource: secrets, Namespace: "a", Name: "s"}, {Resource: roles, Name: "r"},
	}}
	for _, text := range []string{"Secret/a/s", "secrets/a/s", "secret/a/s", "ClusterRole/r", "clusterroles.rbac.authorization.k8s.io/r"} {
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
	} {
		ref, err := ParseRef(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := snap.Find(ref); err == nil || err.Error() != want {
			t.Errorf("Find(%s): %v", text, err)
		}
	}
}

// What is read is written the same way, and names one object only.
func FuzzParseRef(f *testing.F) {
	for _, s := range []string{"ConfigMap/castai-agent/x", "ClusterRole.rbac.authorization.k8s.io/system:a", "/", "a//b", ".g/n", "K./n", "K/n/m/o", "K/\x00", "K/ "} {
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
		"pods": true, "deployments.apps": true, "rolebindings.rbac.authorization.k8s.io": true, "customresourcedefinitions.apiextensions.k8s.io": true,
		"apiservices.apiregistration.k8s.io": true, "recommendations.autoscaling.cast.ai": false, "pods.metrics.k8s.io": false,
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
