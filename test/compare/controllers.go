package compare

import (
	"slices"

	"github.com/castai/kubectl-castai/test/fixtures"
)

// Controllers are the writes that Kubernetes itself does all the time, or as a
// consequence of what others do. A change counts as a controller's only if it
// changed nobody else's fields.
var Controllers = []struct {
	Manager string
	Kinds   []string
	Why     string
}{
	{"kube-controller-manager", []string{"Deployment.apps", "ReplicaSet.apps", "DaemonSet.apps", "StatefulSet.apps",
		"Job.batch", "CronJob.batch", "HorizontalPodAutoscaler.autoscaling", "PodDisruptionBudget.policy"}, "status, and how many replicas there are"},
	{"kube-controller-manager", []string{"Pod", "PersistentVolumeClaim", "PersistentVolume", "Namespace", "ResourceQuota"},
		"status"},
	{"kube-controller-manager", []string{"Node", "Lease.coordination.k8s.io"},
		"heartbeats of nodes and its own leadership"},
	{"kubernetes-service-cidr-controller", []string{"ServiceCIDR.networking.k8s.io"}, "status, by kube-apiserver"},
	{"service-cidr-controller", []string{"ServiceCIDR.networking.k8s.io"}, "status, by kube-controller-manager"},
	{"kube-controller-manager", []string{"EndpointSlice.discovery.k8s.io", "Endpoints"}, "the pods behind Services"},
	{"clusterrole-aggregation-controller", []string{"ClusterRole.rbac.authorization.k8s.io"},
		"admin, edit and view hold the rules of the roles that are aggregated to them"},
	{"kube-scheduler", []string{"Pod", "Lease.coordination.k8s.io"}, "where a pod runs, and its own leadership"},
	{"kube-apiserver", []string{"Lease.coordination.k8s.io", "APIService.apiregistration.k8s.io",
		"CustomResourceDefinition.apiextensions.k8s.io", "ConfigMap", "FlowSchema.flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration.flowcontrol.apiserver.k8s.io", "Endpoints", "EndpointSlice.discovery.k8s.io"}, "its own identity, what it serves, and the tracking of legacy tokens"},
	{"api-priority-and-fairness-config-consumer-v1", []string{"FlowSchema.flowcontrol.apiserver.k8s.io"}, "status"},
	{"kwok", []string{"Node", "Pod", "Lease.coordination.k8s.io"}, "the kubelets of the test cluster"},
	{"kubelet", []string{"Node", "Pod", "Lease.coordination.k8s.io"}, "the kubelet of the nodes that run processes"},
}

// written tells whether controllers alone changed an object.
func written(then, now fixtures.Object) bool {
	if then.UID != now.UID || len(then.ManagedFields) == 0 {
		return false
	}
	for _, manager := range writers(then, now) {
		if !byController(manager, now) {
			return false
		}
	}
	return true
}

// made tells whether a controller made the object and may make it again: it has
// written all of it.
func made(o fixtures.Object) bool {
	for _, e := range o.ManagedFields {
		if !byController(e.Manager, o) {
			return false
		}
	}
	return len(o.ManagedFields) > 0
}

func byController(manager string, o fixtures.Object) bool {
	kind := kindOf(o)
	for _, c := range Controllers {
		if c.Manager == manager && slices.Contains(c.Kinds, kind) {
			return true
		}
	}
	return false
}

func kindOf(o fixtures.Object) string {
	if o.Resource.Group == "" {
		return o.Kind
	}
	return o.Kind + "." + o.Resource.Group
}
