package offboard

import (
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// userFacing are the ClusterRoles for people that every cluster has, beside
// those named system:* (k8s.io/kubernetes v1.36.3
// plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go).
var userFacing = []string{"cluster-admin", "admin", "edit", "view"}

// BuiltIn tells whether Kubernetes itself makes the object in every cluster, or
// an object of another kind under such a name: nothing may remove it, whoever
// says so.
func BuiltIn(o *cluster.Object) bool {
	switch {
	case strings.HasPrefix(o.Name, "system:"), strings.HasPrefix(o.Name, "kube-"):
		return true
	case o.Namespace == "kube-public", o.Namespace == "kube-node-lease" && o.Resource.Kind != "Lease":
		return true
	case o.Labels["kubernetes.io/bootstrapping"] != "",
		o.Labels["kube-aggregator.kubernetes.io/automanaged"] != "",
		o.Annotations["apf.kubernetes.io/autoupdate-spec"] != "":
		return true
	}
	switch o.Ref().GroupKind().String() {
	case "ClusterRole.rbac.authorization.k8s.io", "ClusterRoleBinding.rbac.authorization.k8s.io":
		return slices.Contains(userFacing, o.Name)
	case "Namespace", "ServiceAccount":
		return o.Name == "default"
	case "Service", "Endpoints", "EndpointSlice.discovery.k8s.io":
		return o.Namespace == "default" && o.Name == "kubernetes"
	case "PriorityClass.scheduling.k8s.io":
		return strings.HasPrefix(o.Name, "system-")
	case "ConfigMap":
		return o.Name == "extension-apiserver-authentication"
	}
	return false
}
