package compare

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/test/fixtures"
)

// object is one that the managers wrote. The version stands for what they wrote last.
func object(kind schema.GroupKind, uid, version string, managers ...string) fixtures.Object {
	o := fixtures.Object{Resource: schema.GroupVersionResource{Group: kind.Group}, Kind: kind.Kind}
	o.UID, o.ResourceVersion = types.UID(uid), version
	for _, m := range managers {
		o.ManagedFields = append(o.ManagedFields, metav1.ManagedFieldsEntry{Manager: m,
			FieldsV1: metav1.NewFieldsV1(version)})
	}
	return o
}

func TestOffboarding(t *testing.T) {
	deployment, pod := schema.GroupKind{Group: "apps", Kind: "Deployment"}, schema.GroupKind{Kind: "Pod"}
	configMap := schema.GroupKind{Kind: "ConfigMap"}
	ofAgent := func(o fixtures.Object) fixtures.Object {
		o.OwnerReferences = []metav1.OwnerReference{{UID: "agent"}}
		return o
	}
	ofWeb := func(o fixtures.Object) fixtures.Object {
		o.OwnerReferences = []metav1.OwnerReference{{UID: "web"}}
		return o
	}
	statusOf := func(o fixtures.Object, version string) fixtures.Object {
		o.ManagedFields = append(slices.Clone(o.ManagedFields),
			object(deployment, "", version, "kube-controller-manager").ManagedFields...)
		o.ResourceVersion = version
		return o
	}
	web := object(deployment, "web", "1", "kubectl")
	installed := Snapshot{
		"Deployment.apps/castai-agent/agent": object(deployment, "agent", "1", "helm"),
		"Pod/castai-agent/agent-1":           ofAgent(object(pod, "agent-1", "1", "kube-controller-manager")),
		"Deployment.apps/shop/web":           web,
		"Pod/shop/web-1":                     ofWeb(object(pod, "web-1", "1", "kube-controller-manager")),
		"ConfigMap/shop/settings":            object(configMap, "settings", "1", "kubectl"),
	}
	with := func(changes Snapshot) Snapshot {
		after := Snapshot{"Deployment.apps/shop/web": web, "Pod/shop/web-1": installed["Pod/shop/web-1"],
			"ConfigMap/shop/settings": installed["ConfigMap/shop/settings"]}
		for id, o := range changes {
			after[id] = o
			if o.UID == "" {
				delete(after, id)
			}
		}
		return after
	}
	for _, test := range []struct {
		name          string
		after         Snapshot
		left, touched []string
	}{
		{"as it should be", with(nil), nil, nil},
		{"left", with(Snapshot{"Pod/castai-agent/agent-1": installed["Pod/castai-agent/agent-1"]}),
			[]string{"Pod/castai-agent/agent-1"}, nil},
		{"another's is gone", with(Snapshot{"ConfigMap/shop/settings": {}}), nil, []string{"ConfigMap/shop/settings"}},
		{"another's pod is gone", with(Snapshot{"Pod/shop/web-1": {}}), nil, []string{"Pod/shop/web-1"}},
		{"replaced", with(Snapshot{"ConfigMap/shop/settings": object(configMap, "other", "1", "kubectl")}), nil,
			[]string{"ConfigMap/shop/settings"}},
		{"changed", with(Snapshot{"ConfigMap/shop/settings": object(configMap, "settings", "2", "kubectl")}), nil,
			[]string{"ConfigMap/shop/settings"}},
		{"changed by a controller", with(Snapshot{"Deployment.apps/shop/web": statusOf(web, "2")}), nil, nil},
		{"a controller's name is no excuse for any kind",
			with(Snapshot{"ConfigMap/shop/settings": object(configMap, "settings", "2", "kubectl",
				"kwok")}), nil, []string{"ConfigMap/shop/settings"}},
		{"new", with(Snapshot{"ConfigMap/shop/backup": object(configMap, "backup", "1", "kubectl-castai")}),
			[]string{"ConfigMap/shop/backup"}, nil},
		{"a new pod of another's",
			with(Snapshot{"Pod/shop/web-2": ofWeb(object(pod, "web-2", "1", "kube-controller-manager"))}), nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := Offboarding(Snapshot{}, installed, test.after, []string{"Deployment.apps/castai-agent/agent"})
			if !slices.Equal(r.Left, test.left) || !slices.Equal(r.Touched, test.touched) {
				t.Errorf("got %+v", r)
			}
		})
	}
}
