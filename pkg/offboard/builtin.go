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

// controllers are the ServiceAccounts that kube-controller-manager makes in
// kube-system for its controllers (controller_policy.go in the same folder).
var controllers = strings.Fields(`
	attachdetach-controller bootstrap-signer certificate-controller clusterrole-aggregation-controller cronjob-
	controller daemon-set-controller deployment-controller device-taint-eviction-controller disruption-controller
	endpoint-controller endpointslice-controller endpointslicemirroring-controller ephemeral-volume-controller
	expand-controller generic-garbage-collector horizontal-pod-autoscaler job-controller kube-apiserver-serving-
	clustertrustbundle-publisher legacy-service-account-token-cleaner namespace-controller node-controller
	persistent-volume-binder pod-garbage-collector podcertificaterequestcleaner podgroup-protection-controller pv-
	protection-controller pvc-protection-controller replicaset-controller replication-controller resource-claim-
	controller resourcepoolstatusrequest-controller resourcequota-controller root-ca-cert-publisher route-
	controller selinux-warning-controller service-account-controller service-cidrs-controller service-controller
	statefulset-controller storage-version-garbage-collector storage-version-migrator-controller taint-eviction-
	controller token-cleaner ttl-after-finished-controller ttl-controller validatingadmissionpolicy-status-
	controller volumeattributesclass-protection-controller`)

// BuiltIn tells whether Kubernetes itself makes the object in every cluster, or
// an object of another kind under such a name: nothing may remove it, whoever
// says so.
func BuiltIn(o *cluster.Object) bool {
	switch {
	case strings.HasPrefix(o.Name, "system:"), strings.HasPrefix(o.Name, "kube-"):
		return true
	case o.Namespace == "kube-public", o.Namespace == "kube-node-lease":
		return true
	case o.Labels["kubernetes.io/bootstrapping"] != "",
		o.Labels["kube-aggregator.kubernetes.io/automanaged"] != "",
		o.Annotations["apf.kubernetes.io/autoupdate-spec"] != "":
		return true
	}
	switch o.Ref().GroupKind().String() {
	case "ClusterRole.rbac.authorization.k8s.io", "ClusterRoleBinding.rbac.authorization.k8s.io":
		return slices.Contains(userFacing, o.Name)
	case "Namespace":
		return o.Name == "default"
	case "ServiceAccount":
		return o.Name == "default" || o.Namespace == "kube-system" && slices.Contains(controllers, o.Name)
	case "ServiceCIDR.networking.k8s.io":
		return o.Name == "kubernetes"
	case "Service", "Endpoints", "EndpointSlice.discovery.k8s.io":
		return o.Namespace == "default" && o.Name == "kubernetes"
	case "PriorityClass.scheduling.k8s.io":
		return strings.HasPrefix(o.Name, "system-")
	case "ConfigMap":
		return o.Name == "extension-apiserver-authentication"
	}
	return false
}
