package ownership_test

import (
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// madeSituations are about what a person made by hand as if a controller had.
func madeSituations() []situation {
	const clusterRole = "ClusterRole.rbac.authorization.k8s.io/castai-agent"
	const controlled = "ownerReferences: [{apiVersion: " + rbacV1 + ", kind: ClusterRole, name: castai-agent, uid: " +
		clusterRole + ", controller: true}]"
	const mutation = "ownerReferences: [{apiVersion: pod-mutations.cast.ai/v1, kind: PodMutation, name: mine, " +
		"uid: PodMutation.pod-mutations.cast.ai/mine, controller: true}]"
	vk := "ServiceAccount:omni-edge-1/"
	return []situation{
		{
			name: "pods and Jobs that say that a ClusterRole of Cast AI's controls them", with: small,
			make: yamls(thing("pod-mutations.cast.ai/v1", "PodMutation", "", "mine"),
				thing("v1", "Pod", "shop", "custom", by("manager"), mutation), thing("v1", "Pod", "shop", "hand",
					by("kubectl-run"), mutation),
				thing("v1", "Pod", "shop", "nobody", controlled), thing("v1", "Pod", "castai-agent", "person",
					controlled, by("kubectl-run")), thing("batch/v1", "Job", "shop", "person", controlled, by("terraform")),
				thing("v1", "Pod", "shop", "own", controlled,
					"managedFields: [{manager: castai-agent}, {manager: kubelet}, {manager: kube-scheduler}]")),
			want: map[string]string{
				"Pod/shop/nobody":         "unclear no controller of Kubernetes makes a Pod for a ClusterRole",
				"Pod/castai-agent/person": "unclear kubectl-run wrote it", "Job/shop/person": "unclear terraform wrote it",
				"Pod/shop/own": "owned", "Pod/shop/custom": "owned", "Pod/shop/hand": "unclear kubectl-run wrote it", "Namespace/castai-agent": "foreign",
			},
		},
		{
			name: "accounts in a namespace of Cast AI's Liqo that nobody knows who made",
			make: yamls(thing("v1", "ServiceAccount", "omni-edge-1", "ci"), role("ci-edge"), binding("ci-edge", "ci-edge",
				vk+"ci"), binding("ci-admin", "cluster-admin", vk+"ci"),
				roleBinding("kube-system", "ci-reads", "ClusterRole", "view", vk+"ci"),
				thing("v1", "ServiceAccount", "omni-edge-1", "gw-edge-1"),
				thing(rbacV1, "ClusterRoleBinding", "", "gw-edge-1", "labels: {networking.liqo.io/gateway-name: edge-1}")+
					granted("ClusterRole", "liqo-gateway", vk+"gw-edge-1")),
			want: map[string]string{
				"ServiceAccount/omni-edge-1/ci": "unclear", "ClusterRoleBinding/ci-edge": "foreign",
				"ClusterRoleBinding/ci-admin": "foreign", "ClusterRole/ci-edge": "foreign",
				"RoleBinding/kube-system/ci-reads": "foreign", "ClusterRoleBinding/gw-edge-1": "owned",
				"Namespace/omni-edge-1": "foreign", "ServiceAccount/omni-edge-1/gw-edge-1": "unclear",
			},
		},
	}
}

// What --revert-workloads takes back was written by Cast AI's job and controllers, or
// marked by this plugin: what a person wrote for them to read stays.
func TestOnlyWhatCastAIWroteIsTakenBack(t *testing.T) {
	tolerant := "spec: {template: {spec: {tolerations: [{key: scheduling.cast.ai/paused-cluster, operator: Exists}]}}}\n"
	const moved = "labels: {rebalancing.cast.ai/active: mine}"
	s := small(t).yaml(t, thing("apps/v1", "Deployment", "shop", "person", by("kubectl-client-side-apply"))+tolerant+
		thing("apps/v1", "Deployment", "shop", "nobody")+tolerant+
		thing("apps/v1", "Deployment", "shop", "job", by("OpenAPI-Generator"))+tolerant+
		thing("apps/v1", "Deployment", "shop", "marked", "annotations: {castai.kubectl.dev/hibernate: '{}'}")+tolerant+
		thing("v1", "Namespace", "", "person", moved, byPerson)+thing("v1", "Namespace", "", "nobody", moved)+
		thing("v1", "Namespace", "", "own", moved, "managedFields: [{manager: kubectl-create}, {manager: kentroller}]"))
	inv := s.take(t, ownership.Options{})
	found := map[cluster.Ref]bool{}
	for _, m := range inv.Marks(inv.Objects()) {
		found[m.Object.Ref()] = true
	}
	for name, want := range map[string]bool{
		"Deployment.apps/shop/person": false, "Deployment.apps/shop/nobody": false, "Deployment.apps/shop/job": true,
		"Deployment.apps/shop/marked": true, "Namespace/person": false, "Namespace/nobody": false, "Namespace/own": true,
	} {
		r, err := cluster.ParseRef(name)
		if err != nil {
			t.Fatal(err)
		}
		if found[r] != want {
			t.Errorf("%s is taken back: %t, want %t", name, found[r], want)
		}
	}
}
