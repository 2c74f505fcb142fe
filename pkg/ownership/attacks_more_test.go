package ownership_test

import (
	"fmt"
	"strings"
)

// moreAttacks are variations on those that were seen: the same end by other fields,
// kinds and names.
func moreAttacks() []attack {
	const (
		infoOfNobody = "status: {nodeInfo: {kubeletVersion: v1.36.3}}\n"
		owned        = "ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: castai-agent, " +
			"uid: Deployment.apps/castai-agent/castai-agent, controller: true}]"
		crdOwner = "ownerReferences: [{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, " +
			"name: podmutations.pod-mutations.cast.ai, " +
			"uid: CustomResourceDefinition.apiextensions.k8s.io/podmutations.pod-mutations.cast.ai}]"
	)
	with := strings.ReplaceAll
	agent := copied("castai-agent")
	out := []attack{
		// Another cluster's id, by all that names one.
		{"an id in STATIC_CLUSTER_ID", everyTenant, objects(with(named(), "CLUSTER_ID", "STATIC_CLUSTER_ID"))},
		{"an id in CASTAI_CLUSTER_ID", emptyTenant, objects(with(named(), "CLUSTER_ID", "CASTAI_CLUSTER_ID"))},
		{"an id in the ConfigMap of the controller", everyTenant, objects(thing("v1", "ConfigMap", "shop",
			"castai-cluster-controller", helmMarks("castai-agent", "castai-cluster-controller")) +
			"data: {CLUSTER_ID: " + otherCluster + ", API_URL: \"https://eve.example.com\"}\n")},
		{"an id in a DaemonSet", everyTenant, objects(with(with(named(), "kind: Deployment", "kind: DaemonSet"),
			"name: castai-agent\n", "name: castai-spot-handler\n"))},
		{"an id in a Cluster of the operator", wholeTenant, objects(thing("castware.cast.ai/v1alpha1", "Cluster", "shop",
			"castai", agentLabel) + "spec: {provider: eks, cluster: {clusterID: " + otherCluster + "}, api: {apiUrl: x}}\n")},

		// Copies, by other kinds and marks.
		{"a copied StatefulSet", emptyTenant, objects(with(agent, "kind: Deployment", "kind: StatefulSet"))},
		{"a copied DaemonSet with Helm's marks of the real release", everyTenant, objects(workloadYAML("DaemonSet", "shop",
			"castai-spot-handler", "us-docker.pkg.dev/castai-hub/library/spot-handler:v1",
			helmMarks("castai-agent", "castai-agent"), agentLabel))},
		{"a copied CronJob of hibernation", everyTenant, objects(with(night("hibernate-pause", "hibernate", agentLabel),
			"namespace: castai-agent", "namespace: shop"))},
		{"a copy that a mirror serves", emptyTenant, objects(with(agent, "us-docker.pkg.dev", "mirror.example.com"))},
		{"a copied program in an image of others", everyTenant, objects(deployment("shop", "castai-agent-cpvpa",
			"registry.k8s.io/cpa/cpvpa:v0.8.4", helmMarks("castai-agent", "castai-agent"), agentLabel))},
		{"a copied Liqo", wholeTenant, objects(deployment("shop", "liqo-controller-manager",
			"us-docker.pkg.dev/castai-hub/library/liqo/liqo-controller-manager:v1",
			"labels: {helm.sh/chart: liqo-1.2.0}"), thing("v1", "ServiceAccount", "shop", "liqo-controller-manager"))},

		// Owners, in all that names them.
		{"owned by a Deployment elsewhere, with a controller", everyTenant,
			objects(thing("v1", "Secret", "shop", "x", owned))},
		{"owned by a definition of Cast AI's", everyTenant, objects(thing("v1", "ConfigMap", "shop", "x", crdOwner))},
		{"a Deployment that a definition owns", everyTenant, objects(deployment("shop", "web", "registry.example.com/web:1",
			crdOwner))},
		{"a Role that a ClusterRole owns", everyTenant, objects(thing(rbacV1, "Role", "shop", "x", roleOwner))},

		// Pauses and GitOps, by what is read of them.
		{"a pause that ended badly", everyTenant, objects(thing("v1", "ConfigMap", "shop", "castai-hibernate-state",
			"annotations: {castai.kubectl.dev/hibernation: broken}", agentLabel))},
		{"a mark of a pause on a Deployment", everyTenant, objects(deployment("shop", "web", "registry.example.com/web:1",
			"annotations: {castai.kubectl.dev/hibernate: '{\"tolerated\":true}'}"))},
		{"an Argo Application that lists Cast AI", everyTenant,
			objects(thing("argoproj.io/v1alpha1", "Application", "shop", "x") +
				"status: {resources: [{kind: Namespace, name: castai-agent}, {group: apps, kind: Deployment, " +
				"namespace: castai-agent, name: castai-agent}]}\n")},
		{"a HelmRelease of Cast AI's release", everyTenant, objects(thing("helm.toolkit.fluxcd.io/v2", "HelmRelease", "shop",
			"castai-agent") + "spec: {targetNamespace: castai-agent, releaseName: castai-agent}\n")},
		{"a custom resource that Argo tracks", everyTenant,
			objects(thing("pod-mutations.cast.ai/v1", "PodMutation", "shop", "x",
				"annotations: {argocd.argoproj.io/tracking-id: \"x:y\"}"))},

		// What a kubelet says of its node.
		{"a virtual node without a machine", wholeKubelet, objects(thing("v1", "Node", "", "worker-1",
			virtualLabel) + infoOfNobody)},
		{"a node that Cast AI made", everyKubelet, node("provisioner.cast.ai/managed-by: cast.ai, "+
			"scheduling.cast.ai/spot: \"true\"", "")},
		{"a node that waits for a machine", everyKubelet, node("",
			"taints: [{key: scheduling.cast.ai/pod-pinning-preparing, effect: NoSchedule}]")},
		{"a node that hibernation cordoned", everyKubelet, objects(thing("v1", "Node", "", "worker-1",
			"managedFields: [{manager: OpenAPI-Generator}]") + "spec: {unschedulable: true}\n")},
		{"a Lease of a virtual node", wholeKubelet, objects(thing("coordination.k8s.io/v1", "Lease", "kube-node-lease",
			"worker-1", "labels: {liqo.io/type: virtual-node}") + "spec: {holderIdentity: omni-edge-1}\n")},
	}
	// Bindings, of each role that is Cast AI's, for each subject that might count.
	for _, role := range []string{"castai-agent", "castai-cluster-controller", "liqo-controller-manager",
		"cluster-admin"} {
		for _, subject := range []string{
			"ServiceAccount:castai-agent/castai-agent", "ServiceAccount:shop/castai-agent",
			"Group:system:serviceaccounts:castai-agent",
			"User:system:serviceaccount:castai-agent:castai-agent",
		} {
			out = append(out, attack{fmt.Sprintf("binding %s to %s", role, subject), everyTenant,
				objects(roleBinding("shop", role, "ClusterRole", role, subject))})
		}
	}
	// Names that are nearly those of the catalogue, of kinds that are taken by their names.
	for _, name := range []string{"castai-agent-leader-election-lock", "castai-credentials", "castai-omni-agent-token",
		"hibernate"} {
		for _, kind := range [][2]string{{"v1", "Secret"}, {"v1", "ConfigMap"}, {"coordination.k8s.io/v1", "Lease"}} {
			out = append(out, attack{fmt.Sprintf("a %s %s", kind[1], name), emptyTenant,
				objects(thing(kind[0], kind[1], "shop", name, agentLabel))})
		}
	}
	return out
}
