package ownership_test

import (
	"strings"
	"testing"
)

// namespaceSituations are about who lives in a namespace, and whose it is.
func namespaceSituations() []situation {
	const image = "us-docker.pkg.dev/castai-hub/library/"
	return []situation{
		{
			name: "the guests of the fixtures",
			make: func(t testing.TB, s *scene) {
				ns := s.find("Namespace", "", "castai-agent")
				s.files(t, fixtures+"/guests/*.yaml")
				if ns == nil {
					t.Fatal("the installation has no namespace")
				}
			},
			want: map[string]string{
				"DaemonSet/castai-agent/nvidia-device-plugin":      "foreign",
				"ServiceAccount/castai-agent/nvidia-device-plugin": "foreign uses it, which is not Cast AI's",
				"ClusterRole/nvidia-device-plugin":                 "foreign", "ClusterRoleBinding/nvidia-device-plugin": "foreign",
				"ResourceQuota/castai-agent/platform-default": "unclear no workload uses it",
				"Secret/castai-agent/registry-pull":           "unclear no workload uses it",
				"ConfigMap/castai-agent/castai-agent-runbook": "unclear no workload uses it", "Namespace/castai-agent": "foreign",
			},
		},
		{
			name: "more guests in castai-agent",
			make: func(t testing.TB, s *scene) {
				s.release(t, "nvidia-device-plugin", "nvdp", "castai-agent",
					workloadYAML("DaemonSet", "castai-agent", "nvdp", "nvcr.io/nvidia/k8s-device-plugin:v0.17",
						"labels: {helm.sh/chart: nvidia-device-plugin-0.17.0}")+thing("v1", "ServiceAccount", "castai-agent", "nvdp")+
						role("nvdp")+binding("nvdp", "nvdp", "ServiceAccount:castai-agent/nvdp"))
				s.yaml(t, crd("external-secrets.io", "ExternalSecret", "externalsecrets", "Namespaced")+
					"---\napiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {name: castai-api-key, namespace: castai-agent}\n"+
					crd("helm.toolkit.fluxcd.io", "HelmRelease", "helmreleases", "Namespaced")+
					"---\napiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: castai-agent, namespace: castai-agent}\n"+
					thing("v1", "PersistentVolumeClaim", "castai-agent", "notes")+thing("v1", "LimitRange", "castai-agent", "limits")+
					thing("networking.k8s.io/v1", "Ingress", "castai-agent", "grafana")+
					thing("networking.k8s.io/v1", "NetworkPolicy", "castai-agent", "default-deny")+
					"---\napiVersion: v1\nkind: Pod\nmetadata: {name: debug, namespace: castai-agent}\nspec: {containers: [{name: x, image: busybox}]}\n"+
					"---\napiVersion: batch/v1\nkind: Job\nmetadata: {name: migrate, namespace: castai-agent}\nspec: {template: {spec: {containers: [{name: x, image: registry.example.com/migrate:1}]}}}\n"+
					"---\napiVersion: batch/v1\nkind: Job\nmetadata: {name: prepared, namespace: castai-agent}\nspec: {template: {spec: {initContainers: [{name: i, image: us-docker.pkg.dev/castai-hub/library/busybox:1}], containers: [{name: x, image: registry.example.com/migrate:1}]}}}\n"+
					roleBinding("castai-agent", "devs", "ClusterRole", "edit", "Group:devs")+
					thing("v1", "ConfigMap", "castai-agent", "vector", "labels: {app.kubernetes.io/name: vector}")+
					thing("v1", "ConfigMap", "castai-agent", "istio-ca-root-cert")+
					thing("v1", "Secret", "castai-agent", "synced", "managedFields: [{manager: external-secrets}]")+
					thing("v1", "ConfigMap", "castai-agent", "state", "managedFields: [{manager: castai-evictor}]")+
					thing("v1", "ConfigMap", "castai-agent", "touched",
						"managedFields: [{manager: castai-evictor}, {manager: kubectl-edit}]"))
			},
			want: map[string]string{
				"DaemonSet/castai-agent/nvdp": "foreign", "ServiceAccount/castai-agent/nvdp": "foreign",
				"ClusterRole/nvdp": "foreign", "ClusterRoleBinding/nvdp": "foreign",
				"Secret/castai-agent/sh.helm.release.v1.nvdp.v1": "foreign",
				"ExternalSecret/castai-agent/castai-api-key":     "foreign is not one of Cast AI's API groups",
				"HelmRelease/castai-agent/castai-agent":          "foreign is not one of Cast AI's API groups",
				"PersistentVolumeClaim/castai-agent/notes":       "unclear", "LimitRange/castai-agent/limits": "unclear",
				"Ingress/castai-agent/grafana":            "unclear",
				"NetworkPolicy/castai-agent/default-deny": "unclear",
				"Pod/castai-agent/debug":                  "foreign no workload of Cast AI's made",
				"Job/castai-agent/migrate":                "foreign nothing in it is Cast AI's",
				"Job/castai-agent/prepared":               "foreign nothing in it is Cast AI's",
				"RoleBinding/castai-agent/devs":           "foreign", "ConfigMap/castai-agent/vector": "foreign names something else",
				"Secret/castai-agent/synced": "unclear", "ConfigMap/castai-agent/state": "owned castai-evictor wrote it",
				"ConfigMap/castai-agent/touched": "unclear",
				"Namespace/castai-agent":         "foreign",
			},
		},
		{
			name: "CronJobs of hibernation for further time slots, with this plugin's image",
			with: small,
			make: yamls(
				thing("v1", "ServiceAccount", "castai-agent", "hibernate", "labels: {app.kubernetes.io/name: castai-hibernate}"),
				night("hibernate-pause-lunch", "hibernate", "labels: {app.kubernetes.io/name: castai-hibernate}"),
				night("hibernate-pause-unlabelled", "hibernate", ""),
				night("hibernate-pause-other", "default", "labels: {app.kubernetes.io/name: castai-hibernate}"),
				night("audit", "auditor", ""),
			),
			want: map[string]string{
				"CronJob/castai-agent/hibernate-pause-lunch":      "owned runs as the ServiceAccount hibernate",
				"CronJob/castai-agent/hibernate-pause-unlabelled": "unclear",
				"CronJob/castai-agent/hibernate-pause-other":      "unclear", "CronJob/castai-agent/audit": "unclear",
			},
		},
		{
			name: "what Istio and Kubernetes put into every namespace holds none",
			with: small,
			make: yamls(
				thing("v1", "ConfigMap", "castai-agent", "istio-ca-root-cert", "managedFields: [{manager: pilot-discovery}]"),
				thing("v1", "ConfigMap", "castai-agent", "kube-root-ca.crt"),
				crd("networking.istio.io", "Gateway", "gateways", "Namespaced"),
				thing("v1", "ServiceAccount", "castai-agent", "default"), thing("v1", "Secret", "castai-agent",
					"default-token-x7k2p", "annotations: {kubernetes.io/service-account.name: default}",
					"managedFields: [{manager: kube-controller-manager}]"),
				thing("v1", "Secret", "castai-agent", "castai-agent-token-x",
					"annotations: {kubernetes.io/service-account.name: castai-agent}"),
			),
			want: map[string]string{"Namespace/castai-agent": "owned", "ConfigMap/castai-agent/istio-ca-root-cert": "foreign",
				"Secret/castai-agent/castai-agent-token-x": "owned it belongs to the ServiceAccount castai-agent"},
		},
		{
			name: "namespaces of users with Cast AI's names",
			make: func(t testing.TB, s *scene) {
				s.yaml(t, workloadYAML("StatefulSet", "castai-logs", "loki", "grafana/loki:3")+
					thing("v1", "ServiceAccount", "castai-logs", "loki")+thing("v1", "PersistentVolumeClaim", "castai-logs",
					"storage-loki-0")+
					binding("loki", "view", "ServiceAccount:castai-logs/loki")+
					thing("v1", "ConfigMap", "castai-pod-node-lifecycle", "notes")+
					deployment("castai-llms", "ollama", "ollama/ollama:1")+thing("v1", "ServiceAccount", "castai-llms", "ollama")+
					thing("v1", "Namespace", "", "castai-agent-2")+thing("v1", "Namespace", "", "xcastai-agent"))
			},
			want: map[string]string{
				"StatefulSet/castai-logs/loki": "foreign", "ServiceAccount/castai-logs/loki": "foreign",
				"PersistentVolumeClaim/castai-logs/storage-loki-0": "foreign",
				"ClusterRoleBinding/loki":                          "foreign", "Namespace/castai-logs": "foreign",
				"ConfigMap/castai-pod-node-lifecycle/notes": "unclear",
				"Namespace/castai-pod-node-lifecycle":       "foreign", "Deployment/castai-llms/ollama": "foreign",
				"Namespace/castai-llms":    "foreign",
				"Namespace/castai-agent-2": "foreign", "Namespace/xcastai-agent": "foreign",
			},
		},
		{
			name: "a namespace that a user's own release made for Cast AI",
			with: small,
			make: func(t testing.TB, s *scene) {
				s.forge(t, "acme-namespaces", "namespaces", "flux-system", thing("v1", "Namespace", "", "castai-agent"))
				annotate(s.find("Namespace", "", "castai-agent"), "meta.helm.sh/release-name", "namespaces",
					"meta.helm.sh/release-namespace", "flux-system")
			},
			want: map[string]string{"Namespace/castai-agent": "unclear it belongs to the Helm release flux-system/namespaces",
				"Deployment/castai-agent/castai-agent": "owned"},
		},
		{
			name: "a shared namespace, with Helm",
			with: func(t testing.TB) *scene {
				return (&scene{}).install(t, "charts/castai-agent", install{"costs", "platform", true}).install(t,
					"charts/castai-evictor", install{"packer", "platform", true})
			},
			make: yamls(
				deployment("platform", "web", "registry.example.com/web:1"), thing("v1", "ServiceAccount", "platform",
					"web"), thing("v1", "Service", "platform", "web")+"spec: {selector: {app: web}}\n",
				thing("v1", "ConfigMap", "platform", "settings"), thing("v1", "Secret", "platform", "database"), thing("v1",
					"ResourceQuota", "platform", "quota"),
				binding("web", "web", "ServiceAccount:platform/web"), role("web"), thing("coordination.k8s.io/v1", "Lease",
					"platform", "web-leader")+"spec: {holderIdentity: web-1}\n",
				thing("v1", "ConfigMap", "platform", "castai-agent-metadata"),
			),
			want: map[string]string{
				"Namespace/platform": "foreign", "Deployment/platform/web": "foreign", "ServiceAccount/platform/web": "foreign",
				"Service/platform/web":        "foreign",
				"ConfigMap/platform/settings": "foreign", "Secret/platform/database": "foreign",
				"ResourceQuota/platform/quota": "foreign",
				"ClusterRoleBinding/web":       "foreign", "ClusterRole/web": "foreign", "Lease/platform/web-leader": "foreign",
				"Deployment/platform/costs-castai-agent":   "owned",
				"ConfigMap/platform/castai-agent-metadata": "owned castai-agent makes one of this name there",
			},
		},
		{
			name: "a shared namespace, without Helm",
			with: func(t testing.TB) *scene {
				s := (&scene{}).install(t, "charts/castai-pod-mutator", install{"costs", "platform", false})
				return s.yaml(t, deployment("platform", "web", "registry.example.com/web:1"))
			},
			make: yamls(
				thing("v1", "Service", "platform", "web")+"spec: {selector: {app: web}}\n", thing("v1", "ConfigMap", "platform",
					"settings"),
				thing("v1", "PersistentVolumeClaim", "platform", "data"), thing("v1", "ServiceAccount", "platform",
					"default"), binding("defaults", "view", "ServiceAccount:platform/default"),
			),
			want: map[string]string{
				"Namespace/platform": "foreign", "Deployment/platform/web": "foreign", "Service/platform/web": "foreign",
				"ConfigMap/platform/settings":         "foreign",
				"PersistentVolumeClaim/platform/data": "foreign", "ClusterRoleBinding/defaults": "foreign",
				"MutatingWebhookConfiguration/castai-pod-mutator": "owned",
			},
		},
		{
			name: "an unnamed home with a user's own things",
			with: func(t testing.TB) *scene {
				return (&scene{}).install(t, "charts/castai-agent", install{"costs", "platform", true})
			},
			make: yamls(thing("v1", "ConfigMap", "platform", "runbook"), thing("v1", "Secret", "platform", "sealed")),
			want: map[string]string{"ConfigMap/platform/runbook": "unclear no workload uses it",
				"Secret/platform/sealed": "unclear", "Namespace/platform": "foreign"},
		},
		{
			name: "Cast AI in built-in namespaces",
			with: func(t testing.TB) *scene {
				return (&scene{}).install(t, "charts/castai-spot-handler", install{"spot", "kube-system", true}).install(t,
					"charts/castai-agent", install{"agent", "default", true})
			},
			make: yamls(deployment("kube-system", "coredns", "registry.k8s.io/coredns:1"),
				thing("v1", "ConfigMap", "default", "mine"), thing("v1", "ConfigMap", "kube-system", "cluster-info")),
			want: map[string]string{
				"Namespace/kube-system": "foreign", "Namespace/default": "foreign", "Deployment/kube-system/coredns": "foreign",
				"ConfigMap/default/mine": "foreign", "ConfigMap/kube-system/cluster-info": "foreign",
			},
		},
		{
			name: "two installations",
			with: func(t testing.TB) *scene {
				return (&scene{}).install(t, "charts/castai-pod-mutator", install{"pod-mutator", "castai-agent", true}).install(t,
					"charts/castai-evictor", install{"packer", "tools", true})
			},
			make: yamls(deployment("shop", "web", "registry.example.com/web:1"),
				thing("v1", "ServiceAccount", "tools", "default"), binding("tools-default", "view",
					"ServiceAccount:tools/default")),
			want: map[string]string{"Namespace/castai-agent": "owned", "Namespace/tools": "owned",
				"Deployment/shop/web": "foreign", "ClusterRoleBinding/tools-default": "foreign"},
		},
		{
			name: "the volumes of a StatefulSet of Cast AI's, and others",
			with: func(t testing.TB) *scene {
				set := workloadYAML("StatefulSet", "castai-logs", "castai-audit-logs-receiver", image+"audit-logs-receiver:v1")
				return (&scene{}).yaml(t, strings.Replace(set, "spec:\n",
					"spec:\n  volumeClaimTemplates: [{metadata: {name: data}}]\n", 1))
			},
			make: yamls(thing("v1", "PersistentVolumeClaim", "castai-logs", "data-castai-audit-logs-receiver-0"),
				thing("v1", "PersistentVolumeClaim", "castai-logs", "copy-of-castai-audit-logs-receiver-0"), thing("v1",
					"PersistentVolumeClaim", "castai-logs", "backup-0"), thing("v1", "PersistentVolumeClaim", "castai-logs",
					"data-castai-audit-logs-receiver")),
			want: map[string]string{
				"PersistentVolumeClaim/castai-logs/data-castai-audit-logs-receiver-0":    "owned it belongs to the StatefulSet castai-audit-logs-receiver",
				"PersistentVolumeClaim/castai-logs/copy-of-castai-audit-logs-receiver-0": "unclear",
				"PersistentVolumeClaim/castai-logs/backup-0":                             "unclear",
				"PersistentVolumeClaim/castai-logs/data-castai-audit-logs-receiver":      "unclear", "Namespace/castai-logs": "foreign",
			},
		},
		{
			name: "workloads of users with Cast AI's names and images",
			make: yamls(
				deployment("shop", "castai-agent", "registry.example.com/agent:1"),
				deployment("shop", "evictor", image+"evictor:v1"),
				deployment("shop", "castai-evictor", image+"busybox:v1"),
				deployment("shop", "podcastai-agent", "registry.example.com/castai-hub/library/agent:1"),
				deployment("tools", "castai-evictor", "registry.example.com/castai-hub/library/evictor:v1"),
				deployment("shop", "sidecars", "registry.example.com/web:1", "labels: {app.kubernetes.io/name: castai-agent}"),
			),
			want: map[string]string{
				"Deployment/shop/castai-agent": "foreign", "Deployment/shop/evictor": "unclear --trust-namespace=shop",
				"Deployment/shop/castai-evictor": "unclear --trust-namespace=shop", "Deployment/shop/podcastai-agent": "foreign",
				"Deployment/tools/castai-evictor": "unclear --trust-namespace=tools", "Deployment/shop/sidecars": "foreign",
			},
		},
	}
}

// liqoSituations are about whose Liqo it is.
func liqoSituations() []situation {
	upstream := func(t testing.TB, s *scene) {
		s.install(t, "others/liqo", install{"liqo", "liqo", true})
		s.files(t, fixtures+"/upstream-liqo/*.yaml")
	}
	foreign := map[string]string{
		"Deployment/liqo/liqo-controller-manager": "foreign", "StorageClass/liqo": "foreign", "RuntimeClass/liqo": "foreign",
		"MutatingWebhookConfiguration/liqo-webhook": "foreign", "APIService/v1beta1.metrics.liqo.io": "foreign",
		"ClusterRole/liqo-controller-manager": "foreign", "CustomResourceDefinition/foreignclusters.core.liqo.io": "foreign",
		"ForeignCluster/x": "foreign", "Namespace/liqo-tenant-x": "foreign", "Namespace/liqo-storage": "foreign",
		"PersistentVolumeClaim/liqo-storage/notebook": "foreign",
		"NamespaceOffloading/research/offloading":     "foreign",
	}
	return []situation{
		{name: "an upstream Liqo beside Cast AI", with: small, make: upstream, want: foreign},
		{
			name: "the same without Helm", with: small,
			make: func(t testing.TB, s *scene) {
				s.install(t, "others/liqo", install{"liqo", "liqo", false})
				s.files(t, fixtures+"/upstream-liqo/*.yaml")
			},
			want: foreign,
		},
		{
			name: "an upstream Liqo beside remains of Cast AI's", with: small,
			make: func(t testing.TB, s *scene) {
				upstream(t, s)
				s.yaml(t,
					"---\napiVersion: v1\nkind: Namespace\nmetadata: {name: omni-edge, labels: {liqo.io/tenant-namespace: \"true\"}}\n"+crd("omni.cast.ai", "Edge", "edges", "Namespaced"))
			},
			want: map[string]string{
				"CustomResourceDefinition/foreignclusters.core.liqo.io": "unclear a Liqo that is not Cast AI's uses it, too",
				"Namespace/omni-edge": "foreign", "StorageClass/liqo": "foreign",
				"Deployment/liqo/liqo-controller-manager": "foreign",
			},
		},
		{
			name: "an upstream Liqo, and one of Cast AI's images under a name of everybody's Liqo", with: small,
			make: func(t testing.TB, s *scene) {
				upstream(t, s)
				s.yaml(t, deployment("edge", "liqo-webhook", "us-docker.pkg.dev/castai-hub/library/liqo-webhook:1"))
			},
			want: map[string]string{
				"Deployment/edge/liqo-webhook":            "unclear it runs images from Cast AI's registry",
				"Deployment/liqo/liqo-controller-manager": "foreign",
			},
		},
		{
			name: "definitions of a Liqo that is gone", with: small,
			make: yamls(crd("core.liqo.io", "ForeignCluster", "foreignclusters", "Cluster"),
				thing("core.liqo.io/v1beta1", "ForeignCluster", "", "x")),
			want: map[string]string{"CustomResourceDefinition/foreignclusters.core.liqo.io": "unclear nothing in the cluster tells whose Liqo it was", "ForeignCluster/x": "unclear its kind is defined"},
		},
		{
			name: "Cast AI's Liqo, and data in its storage",
			make: yamls(thing("v1", "PersistentVolumeClaim", "liqo-storage", "notebook"),
				thing("v1", "Secret", "omni-edge-1", "wireguard"), thing("v1", "Secret", "castai-omni", "mine")),
			want: map[string]string{
				"PersistentVolumeClaim/liqo-storage/notebook": "unclear", "Namespace/liqo-storage": "foreign",
				"Secret/omni-edge-1/wireguard": "owned made the namespace for themselves", "Secret/castai-omni/mine": "unclear",
				"StorageClass/liqo": "owned",
			},
		},
	}
}

// leftoverSituations are what earlier removals leave.
func leftoverSituations() []situation {
	gone := func(namespaces ...string) func(testing.TB) *scene {
		return func(t testing.TB) *scene {
			s := castAI(t)
			s.install(t, "charts/castai-agent", install{"costs", "finops", true}) // another one, elsewhere
			kept := &scene{}
			for _, u := range s.objects {
				lost := false
				for _, ns := range namespaces {
					lost = lost || u.GetNamespace() == ns || u.GetKind() == "Namespace" && u.GetName() == ns
				}
				if !lost {
					kept.objects = append(kept.objects, u)
				}
			}
			for _, r := range s.records {
				if kept.find("Secret", r.Ref.Namespace, r.Ref.Name) != nil {
					kept.records = append(kept.records, r)
				}
			}
			return kept
		}
	}
	return []situation{
		{
			name: "the documented procedure ran half: its namespaces are gone",
			with: gone("castai-agent", "castai-omni"),
			make: yamls(binding("sre", "castai-agent", "User:sre@example.com"),
				webhook("castai-x", "castai-agent/x=x.example.com"), binding("their-own", "view", "ServiceAccount:shop/gone")),
			want: map[string]string{
				"ClusterRole/castai-agent": "owned", "ClusterRoleBinding/castai-agent": "owned", "ClusterRole/hibernate": "owned",
				"ClusterRoleBinding/hibernate-admin": "owned", "MutatingWebhookConfiguration/castai-pod-mutator": "owned",
				"ValidatingWebhookConfiguration/vpodmutation.cast.ai":                           "owned",
				"MutatingWebhookConfiguration/castware-operator-mutating-webhook-configuration": "owned",
				"ClusterRole/castai-evictor-crd-upgrade":                                        "owned",
				"ClusterRole/list-pods-clusterrole":                                             "owned", "Role/kube-system/castai-agent": "owned",
				"RoleBinding/kube-system/castware-operator-kube-system-access": "owned",
				"CustomResourceDefinition/recommendations.autoscaling.cast.ai": "owned", "Recommendation/shop/web": "owned",
				"CustomResourceDefinition/foreignclusters.core.liqo.io": "owned",
				"APIService/v1beta1.metrics.liqo.io":                    "owned", "StorageClass/liqo": "owned", "Node/omni-edge-1": "owned",
				"Namespace/castai-audit": "owned",
				"ClusterRoleBinding/sre": "foreign", "MutatingWebhookConfiguration/castai-x": "unclear",
				"ClusterRoleBinding/their-own": "foreign",
			},
		},
		{
			name: "a custom namespace is gone, and a user's binding points into it, too",
			with: gone("finops"),
			make: yamls(binding("report", "view", "ServiceAccount:finops/report"),
				webhook("finops-guard", "finops/guard=guard.example.com")),
			want: map[string]string{
				"ClusterRole/costs-castai-agent": "owned", "ClusterRoleBinding/costs-castai-agent": "owned",
				"ClusterRoleBinding/report":                 "foreign",
				"MutatingWebhookConfiguration/finops-guard": "unclear nothing else in it says",
			},
		},
		{
			name: "castai-agent is being deleted, and what is left in it has no marks",
			with: func(t testing.TB) *scene {
				s := &scene{}
				s.yaml(t,
					"---\napiVersion: v1\nkind: Namespace\nmetadata: {name: castai-agent, deletionTimestamp: \"2026-01-01T00:00:00Z\"}\n")
				return s
			},
			make: yamls(thing("v1", "Secret", "castai-agent", "stuck", "finalizers: [example.com/x]"),
				deployment("castai-agent", "web", "registry.example.com/web:1")),
			want: map[string]string{"Secret/castai-agent/stuck": "foreign", "Deployment/castai-agent/web": "foreign",
				"Namespace/castai-agent": "foreign"},
		},
	}
}

// night is a CronJob that runs this plugin, which users do, too.
func night(name, account, meta string) string {
	return thing("batch/v1", "CronJob", "castai-agent", name, meta) +
		"spec: {schedule: \"0 1 * * *\", jobTemplate: {spec: {template: {spec: {serviceAccountName: " + account +
		", containers: [{name: pauser, image: \"ghcr.io/castai/kubectl-castai:v1\"}]}}}}}\n"
}
