package ownership_test

import "testing"

// accessSituations are about roles and bindings.
func accessSituations() []situation {
	agent := "ServiceAccount:castai-agent/castai-agent"
	return []situation{
		{
			name: "the look-alikes of the fixtures",
			make: func(t testing.TB, s *scene) {
				s.files(t, fixtures+"/foreign/*.yaml")
				s.install(t, "others/castai-dashboard", install{"castai-dashboard", "dashboards", true})
				s.install(t, "others/corp-mirror", install{"castai-agent", "mirror", true})
				s.install(t, "others/tetragon", install{"tetragon", "kube-system", true})
			},
			want: map[string]string{
				"ClusterRole/podcastai-viewer": "foreign", "ClusterRole/castai-readonly-for-sre": "foreign",
				"ClusterRole/view-castai-costs": "foreign", "ClusterRoleBinding/sre-can-view-agent": "foreign",
				"ClusterRoleBinding/finops-reads-as-agent": "foreign", "ClusterRoleBinding/castai-break-glass": "foreign",
				"ClusterRoleBinding/psp-castai-restricted":    "foreign",
				"ClusterRoleBinding/shared-cost-viewers":      "unclear it has other subjects",
				"ClusterRoleBinding/castai-agent-docs-reader": "foreign", "ClusterRole/egressd": "foreign",
				"ClusterRoleBinding/egressd": "foreign",
				"ClusterRole/rebalancer":     "foreign", "ClusterRole/target-registrar-role": "foreign",
				"ClusterRoleBinding/azure-spot-handler": "foreign",
				"ClusterRole/castai-dashboard":          "foreign", "Deployment/dashboards/castai-dashboard": "foreign",
				"Deployment/mirror/castai-agent": "foreign", "ConfigMap/mirror/copied-labels": "unclear",
				"ServiceAccount/mirror/castai-spot-handler":          "foreign",
				"Secret/mirror/sh.helm.release.v1.castai-evictor.v1": "foreign", "DaemonSet/kube-system/tetragon": "foreign",
				"DaemonSet/kube-system/aws-node": "foreign", "CustomResourceDefinition/eniconfigs.crd.k8s.amazonaws.com": "foreign",
				"CustomResourceDefinition/flights.cast.airline.io":                 "foreign",
				"CustomResourceDefinition/foos.cast.ai.example.com":                "foreign",
				"CustomResourceDefinition/widgets.broadcast.ai":                    "foreign",
				"CustomResourceDefinition/sensors.liqo.iot.example.com":            "foreign",
				"CustomResourceDefinition/bottles.xliqo.io":                        "foreign",
				"CustomResourceDefinition/recommendations.autoscaling.example.com": "foreign",
				"StorageClass/liqo-backup":                                         "foreign", "RuntimeClass/spot-runc": "foreign",
				"PriorityClass/castai-critical": "foreign",
				"Namespace/castai-costs":        "foreign", "Namespace/omni-channel": "foreign", "Namespace/omni-test": "foreign",
				"Namespace/edge-lab":                      "foreign",
				"PodDisruptionBudget/shop/castai-web-pdb": "foreign", "Deployment/shop/castai-report": "foreign",
				"Role/kube-system/castai-agent-metrics": "foreign", "Lease/kube-system/agent-leader-election-lock": "foreign",
				"CronJob/greenops/hibernate-pause": "foreign", "ServiceAccount/greenops/hibernate": "foreign",
				"RoleBinding/greenops/hibernate":                                  "foreign",
				"ValidatingWebhookConfiguration/guard-recommendations":            "foreign",
				"ValidatingWebhookConfiguration/castai-change-audit":              "foreign",
				"MutatingWebhookConfiguration/castai-pod-mutator-proxy":           "foreign",
				"ValidatingAdmissionPolicy/require-scheduling-cast-ai-toleration": "foreign",
				"Deployment/clickhouse/clickhouse-operator":                       "foreign", "ClickHouseInstallation/clickhouse/orders": "foreign",
				"Node/ip-10-0-42-7.eu-central-1.compute.internal": "foreign", "Node/virtual-node-aci-linux": "foreign",
			},
		},
		{
			name: "bindings with mixed, group, missing and odd subjects",
			make: yamls(
				binding("mixed-user", "view", agent, "User:anna@example.com"),
				binding("mixed-group", "view", agent, "Group:system:authenticated"),
				binding("mixed-account", "view", agent, "ServiceAccount:shop/web"),
				binding("only-group", "view", "Group:system:serviceaccounts:castai-agent"),
				thing(rbacV1, "ClusterRoleBinding", "", "no-subjects")+
					"roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: castai-agent}\n",
				binding("gone-namespace", "view", "ServiceAccount:castai-agents/castai-agent"),
				binding("user-castai", "view", "User:castai-agent"),
				binding("account-as-user", "view", "User:system:serviceaccount:castai-agent:castai-agent"),
				binding("other-account-as-user", "view", "User:system:serviceaccount:castai-agent-2:castai-agent"),
				roleBinding("shop", "no-namespace", "ClusterRole", "view", "ServiceAccount:castai-agent"),
				roleBinding("castai-agent", "no-namespace", "ClusterRole", "view", "ServiceAccount:castai-agent"),
				roleBinding("shop", "reads-shop", "ClusterRole", "view", agent),
			),
			want: map[string]string{
				"ClusterRoleBinding/mixed-user":    "unclear it has other subjects",
				"ClusterRoleBinding/mixed-group":   "unclear it has other subjects",
				"ClusterRoleBinding/mixed-account": "unclear it has other subjects", "ClusterRoleBinding/only-group": "foreign",
				"ClusterRoleBinding/no-subjects": "foreign", "ClusterRoleBinding/gone-namespace": "foreign",
				"ClusterRoleBinding/user-castai":           "foreign",
				"ClusterRoleBinding/account-as-user":       "owned all its subjects",
				"ClusterRoleBinding/other-account-as-user": "foreign",
				"RoleBinding/shop/no-namespace":            "foreign", "RoleBinding/castai-agent/no-namespace": "owned",
				"RoleBinding/shop/reads-shop": "unclear whoever may bind roles in this namespace can have made it",
			},
		},
		{
			name: "roles of others that bindings of Cast AI's grant",
			make: yamls(
				role("pod-reader"), binding("castai-reads-pods", "pod-reader", agent),
				role("shared-reader"), binding("castai-shared", "shared-reader", agent), binding("sre-shared", "shared-reader",
					"Group:sre"),
				role("monitoring", helmMarks("monitoring", "kube-prometheus")), binding("monitoring", "monitoring", agent),
				role("edit", "labels: {kubernetes.io/bootstrapping: rbac-defaults}"), binding("edit", "edit", agent),
				role("system:thing"), binding("system:thing", "system:thing", agent),
				role("aggregate-me", `labels: {rbac.authorization.k8s.io/aggregate-to-view: "true"}`), binding("castai-aggregate",
					"aggregate-me", agent),
				role("castai-extra-role"), binding("castai-extra", "castai-extra-role", agent),
				roleBinding("castai-agent", "dev-access", "Role", "developers", "Group:dev"), thing(rbacV1, "Role", "castai-agent",
					"developers"),
			),
			want: map[string]string{
				"ClusterRole/pod-reader":               "unclear nothing in it says that it was made for them",
				"ClusterRoleBinding/castai-reads-pods": "owned all its subjects",
				"ClusterRole/shared-reader":            "unclear bindings of others grant it",
				"ClusterRoleBinding/castai-shared":     "owned",
				"ClusterRoleBinding/sre-shared":        "foreign",
				"ClusterRole/monitoring":               "unclear it belongs to the Helm release monitoring/kube-prometheus",
				"ClusterRole/edit":                     "foreign",
				"ClusterRoleBinding/edit":              "owned",
				"ClusterRole/system:thing":             "foreign",
				"ClusterRole/aggregate-me":             "unclear",
				"ClusterRole/castai-extra-role":        "unclear nothing in it says that it was made for them",
				"RoleBinding/castai-agent/dev-access":  "foreign its subjects are not all",
				"Role/castai-agent/developers":         "foreign grants it to others",
				"Namespace/castai-agent":               "foreign",
			},
		},
		{
			name: "the default ServiceAccount of castai-agent, which a guest uses",
			make: yamls(
				binding("gpu-plugin", "gpu-plugin", "ServiceAccount:castai-agent/default"), role("gpu-plugin"), thing("v1",
					"ServiceAccount", "castai-agent", "default"),
				"---\napiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: gpu-plugin, namespace: castai-agent}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: p, image: nvcr.io/p}]}}}\n",
			),
			want: map[string]string{"ClusterRoleBinding/gpu-plugin": "foreign", "ClusterRole/gpu-plugin": "foreign",
				"DaemonSet/castai-agent/gpu-plugin": "foreign nothing in it is Cast AI's"},
		},
		{
			name: "SecurityContextConstraints",
			make: yamls(
				thing("security.openshift.io/v1", "SecurityContextConstraints", "", "castai-mine")+
					"users: [system:serviceaccount:castai-agent:castai-agent]\n",
				thing("security.openshift.io/v1", "SecurityContextConstraints", "", "castai-mixed")+
					"users: [system:serviceaccount:castai-agent:castai-agent, system:admin]\n",
				thing("security.openshift.io/v1", "SecurityContextConstraints", "", "castai-groups")+
					"users: [system:serviceaccount:castai-agent:castai-agent]\ngroups: [sre]\n",
				thing("security.openshift.io/v1", "SecurityContextConstraints", "", "castai-group")+
					"groups: [system:serviceaccounts:castai-agent]\n",
				thing("security.openshift.io/v1", "SecurityContextConstraints", "", "castai-nobody"),
			),
			want: map[string]string{
				"SecurityContextConstraints/castai-mine": "owned", "SecurityContextConstraints/castai-mixed": "foreign",
				"SecurityContextConstraints/castai-groups": "foreign", "SecurityContextConstraints/castai-group": "foreign",
				"SecurityContextConstraints/castai-nobody": "foreign",
			},
		},
	}
}
