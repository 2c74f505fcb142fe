package ownership_test

import (
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// charted puts the label of a chart and Helm's marks of a release on an object.
func charted(manifest, chart, namespace, release string) string {
	return strings.Replace(manifest, "metadata:\n", "metadata:\n  labels: {helm.sh/chart: "+chart+"}\n  "+
		helmMarks(namespace, release)+"\n", 1)
}

// TestStrangersBesideCastAI is about what people put beside Cast AI, with names
// and uses that are nearly Cast AI's: none of it goes.
func TestStrangersBesideCastAI(t *testing.T) {
	const agent = "ServiceAccount:castai-agent/castai-agent"
	pulls := strings.Replace(deployment("castai-agent", "castai-evictor",
		"us-docker.pkg.dev/castai-hub/library/evictor:v1"),
		"      containers:", "      imagePullSecrets: [{name: regcred}]\n      containers:", 1)
	with := small
	for _, s := range []situation{
		{
			name: "a role of an administrator's that is bound to the agent, too",
			make: yamls(role("secret-reader"), binding("secret-reader-binding", "secret-reader", agent),
				roleBinding("shop", "ci", "ClusterRole", "secret-reader", "User:alice")),
			want: map[string]string{"ClusterRole/secret-reader": "unclear nothing in it says that it was made for them"},
		},
		{
			name: "accounts and Secrets with names that only OpenShift gives",
			make: yamls(
				thing("v1", "ServiceAccount", "castai-agent", "deployer"),
				thing("v1", "Secret", "castai-agent", "ci-token", "annotations: {kubernetes.io/service-account.name: deployer}"),
				thing("v1", "Secret", "castai-agent", "mine", "annotations: {kubernetes.io/service-account.name: default}"),
			),
			want: map[string]string{
				"ServiceAccount/castai-agent/deployer": "unclear", "Secret/castai-agent/ci-token": "unclear",
				"Secret/castai-agent/mine": "unclear",
				"Namespace/castai-agent":   "foreign",
			},
		},
		{
			name: "a person's account of such a name on OpenShift",
			make: yamls(
				thing("security.openshift.io/v1", "SecurityContextConstraints", "", "restricted"),
				thing("v1", "ServiceAccount", "castai-agent", "deployer", "managedFields: [{manager: kubectl-create}]"),
			),
			want: map[string]string{"Namespace/castai-agent": "foreign"},
		},
		{
			name: "another kind of the same name",
			make: yamls(
				crd("gcp.example.com", "ServiceAccount", "serviceaccounts", "Namespaced"),
				"---\napiVersion: gcp.example.com/v1\nkind: ServiceAccount\nmetadata: {name: default, namespace: castai-agent}\n",
			),
			want: map[string]string{"Namespace/castai-agent": "foreign"},
		},
		{
			name: "one of the charts without a source says nothing about another",
			make: yamls(
				charted(binding("castai-cluster-agent", "castai-cluster-agent", "ServiceAccount:kube-system/castai-cluster-agent"),
					"castai-cluster-agent-1.0.0", "kube-system", "castai-cluster-agent"),
				charted(thing("storage.k8s.io/v1", "StorageClass", "", "oci-bv"), "oci-csi-driver-1.0.0", "kube-system", "oci"),
				charted(deployment("kube-system", "csi-oci-controller", "ghcr.io/oracle/cloud-provider-oci:v1"),
					"oci-csi-driver-1.0.0", "kube-system", "oci"),
			),
			want: map[string]string{
				"ClusterRoleBinding/castai-cluster-agent": "owned", "StorageClass/oci-bv": "foreign",
				"Deployment/kube-system/csi-oci-controller": "foreign",
			},
		},
		{
			name: "a Secret that an account of others pulls with",
			make: yamls(
				pulls, thing("v1", "Secret", "castai-agent", "regcred"), thing("v1", "ServiceAccount", "castai-agent", "web")+
					"imagePullSecrets: [{name: regcred}]\n",
				deployment("castai-agent", "web", "registry.example.com/web:1"),
			),
			want: map[string]string{"Secret/castai-agent/regcred": "foreign ServiceAccount web uses it"},
		},
		{
			name: "a Secret that a pod of others uses",
			make: yamls(
				pulls, thing("v1", "Secret", "castai-agent", "regcred"),
				thing("v1", "Pod", "castai-agent", "debug")+
					"spec: {imagePullSecrets: [{name: regcred}], containers: [{name: a, image: x}]}\n",
			),
			want: map[string]string{"Secret/castai-agent/regcred": "unclear others live in its namespace"},
		},
		{
			name: "a Secret that only Cast AI pulls with", make: yamls(pulls, thing("v1", "Secret", "castai-agent", "regcred")),
			want: map[string]string{"Secret/castai-agent/regcred": "owned"},
		},
		{
			name: "the user's word for a namespace, beside ordinary names", trust: []string{"platform"},
			make: yamls(
				charted(thing("v1", "ConfigMap", "platform", "x"), "castai-hibernate-0.2.12", "platform", "hib"),
				charted(deployment("platform", "temporal-frontend", "temporalio/server:1.2"), "temporal-0.50.0", "platform",
					"temporal"),
				charted(thing("scheduling.k8s.io/v1", "PriorityClass", "", "temporal"), "temporal-0.50.0", "platform", "temporal"),
				thing("v1", "ServiceAccount", "platform", "rebalancer"), deployment("platform", "rebalancer",
					"registry.example.com/kafka/rebalancer:1"),
				binding("rebalancer", "rebalancer", "ServiceAccount:platform/rebalancer"), role("rebalancer"),
			),
			want: map[string]string{
				"ConfigMap/platform/x": "owned", "Deployment/platform/temporal-frontend": "foreign",
				"PriorityClass/temporal":         "foreign",
				"Deployment/platform/rebalancer": "foreign", "ClusterRoleBinding/rebalancer": "foreign",
				"ClusterRole/rebalancer": "foreign",
			},
		},
		{
			name: "a role of a catalogue's ordinary name that only RoleBindings grant",
			make: yamls(
				charted(binding("castai-gpu-metrics-exporter", "castai-gpu-metrics-exporter",
					"ServiceAccount:castai-agent/castai-gpu-metrics-exporter"), "gpu-metrics-exporter-0.1.30", "castai-agent", "gpu"),
				role("list-pods-clusterrole"), roleBinding("shop", "list", "ClusterRole", "list-pods-clusterrole", "User:alice"),
			),
			want: map[string]string{"ClusterRole/list-pods-clusterrole": "unclear others may use the name"},
		},
		{
			name: "an account of others that Cast AI was told to run as",
			make: yamls(
				charted(binding("castai-spot-handler", "castai-spot-handler", "ServiceAccount:platform/default"),
					"castai-spot-handler-0.35.3", "platform", "spot"),
				binding("platform-admin", "cluster-admin", "ServiceAccount:platform/default"),
				role("platform-operator-role"), binding("platform-operator", "platform-operator-role",
					"ServiceAccount:platform/default"),
			),
			want: map[string]string{
				"ClusterRoleBinding/castai-spot-handler": "owned", "ClusterRoleBinding/platform-admin": "foreign",
				"ClusterRoleBinding/platform-operator": "foreign", "ClusterRole/platform-operator-role": "foreign",
			},
		},
		{
			name: "ordinary names in a namespace that Cast AI leads to",
			make: yamls(
				charted(binding("castai-spot-handler", "castai-spot-handler", "ServiceAccount:platform/castai-spot-handler"),
					"castai-spot-handler-0.35.3", "platform", "spot"),
				deployment("platform", "cluster-controller", "registry.example.com/vpn/cluster-controller:1"),
				deployment("platform", "pod-mutator", "registry.example.com/team/pod-mutator:1"),
				webhook("defaults", "platform/pod-mutator=mutate.example.com"), webhook("policies",
					"platform/cluster-controller=policies.example.com"),
				thing("apiregistration.k8s.io/v1", "APIService", "", "v1.things.example.com")+
					"spec: {group: things.example.com, version: v1, service: {namespace: platform, name: cluster-controller}}\n",
			),
			want: map[string]string{
				"Deployment/platform/cluster-controller": "foreign", "Deployment/platform/pod-mutator": "foreign",
				"MutatingWebhookConfiguration/defaults": "unclear", "MutatingWebhookConfiguration/policies": "unclear",
				"APIService/v1.things.example.com": "unclear",
			},
		},
		{
			name: "the label of a program on what people made for it",
			make: yamls(
				thing("v1", "ConfigMap", "castai-agent", "dashboards", "labels: {app.kubernetes.io/name: castai-agent}"),
				thing("v1", "Secret", "castai-agent", "workflows", "labels: {app.kubernetes.io/name: temporal}"),
				thing("networking.k8s.io/v1", "NetworkPolicy", "castai-agent", "egressd",
					"labels: {app.kubernetes.io/name: egressd}"),
			),
			want: map[string]string{
				"ConfigMap/castai-agent/dashboards":  "unclear neither its name nor a release",
				"Secret/castai-agent/workflows":      "unclear",
				"NetworkPolicy/castai-agent/egressd": "unclear", "Namespace/castai-agent": "foreign",
			},
		},
	} {
		s.with = with
		t.Run(s.name, s.test)
	}
}

// What OpenShift puts into every namespace holds none.
func TestOpenShiftsOwnHoldsNoNamespace(t *testing.T) {
	s := small(t).yaml(t, thing("v1", "ServiceAccount", "castai-agent", "deployer")+
		thing("v1", "Secret", "castai-agent", "builder-dockercfg-x7k2p",
			"annotations: {kubernetes.io/service-account.name: builder}", by("openshift-controller-manager")))
	for _, openshift := range []bool{false, true} {
		if openshift {
			s.yaml(t, thing("security.openshift.io/v1", "SecurityContextConstraints", "", "restricted"))
		}
		inv := s.take(t, ownership.Options{})
		if goes := inv.IsOwned(cluster.Ref{Kind: "Namespace", Name: "castai-agent"}); goes != openshift {
			t.Errorf("OpenShift: %t, the namespace goes: %t", openshift, goes)
		}
	}
}

// What the user excludes stays, also if it is of a kind that is in every namespace.
func TestExcludedNoiseKeepsItsNamespace(t *testing.T) {
	s := small(t).yaml(t, thing("v1", "ServiceAccount", "castai-agent", "default"))
	inv := s.take(t, ownership.Options{Exclude: []cluster.Ref{{Kind: "ServiceAccount", Namespace: "castai-agent",
		Name: "default"}}})
	if inv.IsOwned(cluster.Ref{Kind: "Namespace", Name: "castai-agent"}) {
		t.Error("the namespace goes")
	}
}

// The taint of one node, which its kubelet registers with, frees no other node,
// where hibernation is not installed.
func TestForgedPauseUncordonsNothing(t *testing.T) {
	s := small(t).yaml(t, thing("v1", "Node", "", "w1")+
		"spec: {taints: [{key: scheduling.cast.ai/paused-cluster, effect: NoSchedule}]}\n"+
		thing("v1", "Node", "", "w2", "managedFields: [{manager: OpenAPI-Generator}]")+"spec: {unschedulable: true}\n")
	inv := s.take(t, ownership.Options{})
	for _, m := range inv.Marks(inv.Objects()) {
		if m.Object.Name == "w2" {
			t.Errorf("%s: %v", m.Text, m.Patch)
		}
	}
}
