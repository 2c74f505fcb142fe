package offboard_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/offboard"
)

func TestBuiltIn(t *testing.T) {
	labelled := func(o *cluster.Object, key string) *cluster.Object {
		o.Labels = map[string]string{key: "x"}
		return o
	}
	rbac := func(kind, name string) *cluster.Object { return object("rbac.authorization.k8s.io", kind, "", name) }
	for _, o := range []*cluster.Object{
		rbac("ClusterRole", "cluster-admin"), rbac("ClusterRole", "admin"), rbac("ClusterRole", "edit"), rbac("ClusterRole",
			"view"),
		rbac("ClusterRoleBinding", "cluster-admin"), rbac("ClusterRole", "system:node"), rbac("ClusterRoleBinding",
			"system:basic-user"),
		object("rbac.authorization.k8s.io", "Role", "kube-system", "system:controller:token-cleaner"),
		object("", "Namespace", "", "default"), object("", "Namespace", "", "kube-system"), object("", "Namespace", "",
			"kube-node-lease"),
		object("", "ServiceAccount", "shop", "default"), object("", "Service", "default", "kubernetes"),
		object("", "ConfigMap", "kube-system", "extension-apiserver-authentication"), object("", "ConfigMap", "shop",
			"kube-root-ca.crt"),
		object("", "ConfigMap", "kube-public", "cluster-info"), object("apps", "DaemonSet", "kube-system", "kube-proxy"),
		object("scheduling.k8s.io", "PriorityClass", "", "system-node-critical"),
		object("networking.k8s.io", "ServiceCIDR", "", "kubernetes"), object("", "ServiceAccount", "kube-system",
			"generic-garbage-collector"),
		object("coordination.k8s.io", "Lease", "kube-node-lease", "node-1"),
		labelled(rbac("ClusterRole", "renamed"), "kubernetes.io/bootstrapping"),
		labelled(object("apiregistration.k8s.io", "APIService", "", "v1.apps"), "kube-aggregator.kubernetes.io/automanaged"),
	} {
		if !offboard.BuiltIn(o) {
			t.Errorf("%s may be included", o.Ref())
		}
	}
	for _, o := range []*cluster.Object{
		rbac("ClusterRole", "castai-agent"), rbac("ClusterRole", "viewer"), rbac("Role", "edit"),
		object("rbac.authorization.k8s.io", "Role", "kube-system", "castai-evictor"),
		object("", "Namespace", "", "castai-agent"), object("", "Secret", "default", "castai-live"),
		object("", "ServiceAccount", "shop", "node-controller"), object("", "Service", "shop", "kubernetes"),
	} {
		if offboard.BuiltIn(o) {
			t.Errorf("%s can't be included", o.Ref())
		}
	}
}

// object returns an object of a kind, with nothing but its name.
func object(group, kind, namespace, name string) *cluster.Object {
	return &cluster.Object{
		Resource: &cluster.Resource{Group: group, Version: "v1", Kind: kind, Name: strings.ToLower(kind) + "s",
			Namespaced: namespace != ""},
		Namespace: namespace, Name: name, UID: types.UID(kind + "/" + namespace + "/" + name), ResourceVersion: "1",
	}
}
