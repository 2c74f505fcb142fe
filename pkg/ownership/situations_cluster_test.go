package ownership_test

import (
	"strings"
	"testing"
)

// clusterSituations are about what is cluster-wide, and about what others hung
// onto objects of Cast AI's.
func clusterSituations() []situation {
	owned := func(kind, apiVersion, name, uid, controller string) string {
		return "ownerReferences: [{apiVersion: " + apiVersion + ", kind: " + kind + ", name: " + name + ", uid: \"" + uid +
			"\"" + controller + "}]"
	}
	agent := func(more string) string {
		return owned("Deployment", "apps/v1", "castai-agent", "Deployment.apps/castai-agent/castai-agent", more)
	}
	return []situation{
		{
			name: "webhooks",
			make: yamls(
				webhook("mixed", "castai-agent/castai-pod-mutator=pod-mutator.cast.ai", "shop/guard=guard.example.com"),
				webhook("by-url", "https://castai-agent.castai-agent.svc/validate"),
				webhook("mine-renamed", "castai-agent/castai-pod-mutator=anything.example.com"),
				webhook("castai-pod-pinner-2", "castai-agents/castai-pod-pinner=pod-pinner.cast.ai"),
				webhook("gone-service", "castai-agent/policy-server=policy.example.com"),
				webhook("gone-service-own", "castai-agent/castai-new-thing=new.cast.ai"),
				webhook("empty"),
				webhook("castai-mutate-endpointslice", "mesh/endpoint-mutator=mutate.example.com"),
				strings.Replace(webhook("helm-foreign", "castai-agent/castai-pod-mutator=x.cast.ai"), "metadata:\n",
					"metadata:\n  "+helmMarks("mesh", "mesh")+"\n", 1),
			),
			want: map[string]string{
				"MutatingWebhookConfiguration/mixed":                       "unclear it calls other Services, too",
				"MutatingWebhookConfiguration/by-url":                      "foreign",
				"MutatingWebhookConfiguration/mine-renamed":                "owned it calls the Service castai-agent/castai-pod-mutator",
				"MutatingWebhookConfiguration/castai-pod-pinner-2":         "foreign",
				"MutatingWebhookConfiguration/gone-service":                "unclear nothing else in it says that it is Cast AI's",
				"MutatingWebhookConfiguration/gone-service-own":            "owned it calls the Service castai-agent/castai-new-thing",
				"MutatingWebhookConfiguration/empty":                       "foreign",
				"MutatingWebhookConfiguration/castai-mutate-endpointslice": "foreign",
				"MutatingWebhookConfiguration/helm-foreign":                "unclear it belongs to the Helm release mesh/mesh",
			},
		},
		{
			name: "API services",
			make: yamls(
				thing("apiregistration.k8s.io/v1", "APIService", "", "v1beta1.metrics.k8s.io")+
					"spec: {group: metrics.k8s.io, version: v1beta1, service: {namespace: kube-system, name: metrics-server}}\n",
				thing("apiregistration.k8s.io/v1", "APIService", "", "v1.custom.metrics.k8s.io")+
					"spec: {group: custom.metrics.k8s.io, version: v1, service: {namespace: castai-agent, name: prometheus-adapter}}\n",
				thing("apiregistration.k8s.io/v1", "APIService", "", "v1.autoscaling.cast.ai")+
					"spec: {group: autoscaling.cast.ai, version: v1}\n",
				thing("apiregistration.k8s.io/v1", "APIService", "", "v1.external.cast.ai")+
					"spec: {group: external.cast.ai, version: v1, service: {namespace: shop, name: api}}\n",
			),
			want: map[string]string{
				"APIService/v1beta1.metrics.k8s.io":   "foreign",
				"APIService/v1.custom.metrics.k8s.io": "unclear nothing else in it says",
				"APIService/v1.autoscaling.cast.ai":   "foreign", "APIService/v1.external.cast.ai": "foreign",
			},
		},
		{
			name: "custom resource definitions",
			make: func(t testing.TB, s *scene) {
				s.files(t, fixtures+"/unclear/*.yaml")
				s.yaml(t, crd("autoscaling.cast.ai", "Forecast", "forecasts", "Namespaced", helmMarks("shop", "forecaster"))+
					crd("sub.autoscaling.cast.ai", "X", "xs", "Cluster")+crd("cast.ai", "Y", "ys", "Cluster")+
					crd("castai.kb.io", "Z", "zs", "Cluster")+
					crd("autoscaling.cast.ai.", "W", "ws", "Cluster")+crd("cilium.io", "TracingPolicy", "tracingpolicies", "Cluster")+
					"---\napiVersion: autoscaling.cast.ai/v1\nkind: Forecast\nmetadata: {name: web, namespace: shop}\n")
			},
			want: map[string]string{
				"CustomResourceDefinition/things.pod.cast.ai":            "unclear it is not one of Cast AI's known groups",
				"Thing/shop/thing":                                       "unclear its kind is defined",
				"CustomResourceDefinition/studios.broad.cast.ai":         "unclear",
				"CustomResourceDefinition/forecasts.autoscaling.cast.ai": "unclear it belongs to the Helm release shop/forecaster",
				"Forecast/shop/web":                                      "unclear its kind is defined",
				"CustomResourceDefinition/xs.sub.autoscaling.cast.ai":    "unclear", "CustomResourceDefinition/ys.cast.ai": "unclear",
				"CustomResourceDefinition/zs.castai.kb.io":           "unclear",
				"CustomResourceDefinition/ws.autoscaling.cast.ai.":   "foreign",
				"CustomResourceDefinition/tracingpolicies.cilium.io": "foreign",
			},
		},
		{
			name: "a chart of Cast AI's lists a CRD that others use, too",
			make: func(t testing.TB, s *scene) {
				s.release(t, "castai-ai-optimizer-proxy", "ai", "castai-llms",
					crd("autoscaling.aibrix.ai", "PodAutoscaler", "podautoscalers", "Namespaced"))
				s.yaml(t,
					"---\napiVersion: autoscaling.aibrix.ai/v1\nkind: PodAutoscaler\nmetadata: {name: mine, namespace: shop}\n")
			},
			want: map[string]string{"CustomResourceDefinition/podautoscalers.autoscaling.aibrix.ai": "unclear",
				"PodAutoscaler/shop/mine": "unclear its kind is defined"},
		},
		{
			name: "others' objects with an owner of Cast AI's",
			make: yamls(
				deployment("castai-agent", "sidekick", "registry.example.com/sidekick:1", agent("")),
				thing("v1", "ConfigMap", "castai-agent", "charted", agent(""), "labels: {helm.sh/chart: acme-1.0.0}"),
				thing("v1", "ConfigMap", "castai-agent", "released", agent(""), helmMarks("shop", "acme")),
				thing("v1", "ConfigMap", "castai-agent", "by-hand", agent(""),
					"managedFields: [{manager: kubectl-client-side-apply}]"),
				thing("v1", "ConfigMap", "castai-agent", "by-controller", agent(""), "managedFields: [{manager: castai-agent}]"),
				thing("apps/v1", "ReplicaSet", "castai-agent", "castai-agent-abc", agent(", controller: true")),
				thing("v1", "ConfigMap", "shop", "cross-namespace", agent("")),
				thing("v1", "ConfigMap", "castai-agent", "wrong-kind",
					owned("StatefulSet", "apps/v1", "castai-agent", "Deployment.apps/castai-agent/castai-agent", "")),
				thing("v1", "ConfigMap", "castai-agent", "no-uid", owned("Deployment", "apps/v1", "castai-agent", "", "")),
				thing("autoscaling/v2", "HorizontalPodAutoscaler", "shop", "web",
					owned("Recommendation", "autoscaling.cast.ai/v1", "web", "Recommendation.autoscaling.cast.ai/shop/web",
						""), "managedFields: [{manager: workload-autoscaler}, {manager: helm}]"),
				thing("autoscaling/v2", "HorizontalPodAutoscaler", "shop", "checkout",
					owned("Recommendation", "autoscaling.cast.ai/v1", "checkout", "Recommendation.autoscaling.cast.ai/shop/checkout",
						""), "managedFields: [{manager: workload-autoscaler}]"),
				thing("v1", "ConfigMap", "castai-agent", "two-owners",
					"ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: castai-agent, uid: Deployment.apps/castai-agent/castai-agent}, {apiVersion: v1, kind: ConfigMap, name: mine, uid: other}]"),
			),
			want: map[string]string{
				"Deployment/castai-agent/sidekick":         "unclear nothing in it is Cast AI's",
				"ConfigMap/castai-agent/charted":           "unclear names a chart that is not Cast AI's",
				"ConfigMap/castai-agent/released":          "unclear it belongs to the Helm release shop/acme",
				"ConfigMap/castai-agent/by-hand":           "unclear kubectl-client-side-apply wrote it",
				"ConfigMap/castai-agent/by-controller":     "owned Deployment castai-agent owns it",
				"ReplicaSet/castai-agent/castai-agent-abc": "owned Deployment castai-agent owns it",
				"ConfigMap/shop/cross-namespace":           "foreign", "ConfigMap/castai-agent/wrong-kind": "foreign",
				"ConfigMap/castai-agent/no-uid":         "foreign",
				"HorizontalPodAutoscaler/shop/web":      "unclear helm wrote it",
				"HorizontalPodAutoscaler/shop/checkout": "owned Recommendation checkout owns it",
				"ConfigMap/castai-agent/two-owners":     "foreign",
			},
		},
		{
			name: "nodes",
			make: yamls(
				"---\napiVersion: v1\nkind: Node\nmetadata: {name: spot-1, labels: {provisioner.cast.ai/managed-by: cast.ai, scheduling.cast.ai/spot: \"true\"}}\nspec: {providerID: \"aws:///x/i-1\"}\n",
				"---\napiVersion: v1\nkind: Node\nmetadata: {name: named-omni, labels: {liqo.io/type: virtual-node}}\nspec: {providerID: \"azure:///omni\"}\n",
				"---\napiVersion: v1\nkind: Node\nmetadata: {name: castai-omni, labels: {type: virtual-kubelet}}\nspec: {providerID: \"xcastai-omni://edge\"}\n",
				"---\napiVersion: v1\nkind: Node\nmetadata: {name: placeholder}\nspec: {taints: [{key: scheduling.cast.ai/pod-pinning-preparing, effect: NoSchedule}]}\n",
				thing("coordination.k8s.io/v1", "Lease", "kube-node-lease", "spot-1"),
			),
			want: map[string]string{
				"Node/spot-1": "foreign", "Node/named-omni": "foreign", "Node/castai-omni": "foreign",
				"Node/placeholder": "unclear a machine may be about to join", "Lease/kube-node-lease/spot-1": "foreign",
			},
		},
		{
			name: "what Cast AI's controllers write on behalf of users",
			make: yamls(
				crd("karpenter.sh", "NodePool", "nodepools", "Cluster"),
				thing("karpenter.sh/v1", "NodePool", "", "shadow", "managedFields: [{manager: castai-kentroller}]"),
				thing("karpenter.sh/v1", "NodePool", "", "mine", "managedFields: [{manager: kubectl}]"),
				thing("karpenter.sh/v1", "NodePool", "", "touched",
					"managedFields: [{manager: castai-kentroller}, {manager: kubectl}]"),
				thing("policy/v1", "PodDisruptionBudget", "shop", "castai-api-pdb", "managedFields: [{manager: pdb-controller}]"),
				thing("policy/v1", "PodDisruptionBudget", "shop", "castai-web-pdb", "managedFields: [{manager: kubectl}]"),
				thing("v1", "PersistentVolumeClaim", "shop", "data")+"spec: {storageClassName: liqo}\n",
				thing("v1", "PersistentVolume", "", "pv-liqo")+"spec: {storageClassName: liqo}\n",
			),
			want: map[string]string{
				"NodePool/shadow": "unclear only castai-kentroller wrote it", "NodePool/mine": "foreign",
				"NodePool/touched":                        "foreign",
				"PodDisruptionBudget/shop/castai-api-pdb": "unclear which leaves its budgets on purpose",
				"PodDisruptionBudget/shop/castai-web-pdb": "foreign",
				"PersistentVolumeClaim/shop/data":         "foreign", "PersistentVolume/pv-liqo": "foreign",
			},
		},
	}
}
