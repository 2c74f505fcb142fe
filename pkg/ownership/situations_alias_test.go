package ownership_test

import (
	"strings"
	"testing"
)

// labelled puts the label of a chart, and Helm's mark of a release, on an object.
func labelled(manifest, chart, namespace, release string) string {
	marks := "  labels: {helm.sh/chart: " + chart + "}\n  " + helmMarks(namespace, release) + "\n"
	return strings.Replace(manifest, "metadata:\n", "metadata:\n"+marks, 1)
}

// aliasSituations are charts that somebody calls otherwise, and what a chart of
// Cast AI's has from others: the marks of one must not take what is another's.
func aliasSituations() []situation {
	const image = "us-docker.pkg.dev/castai-hub/library/agent:v1"
	nothing := func(testing.TB) *scene { return &scene{} }
	own := func(name string) string {
		return labelled(role(name), "part-1.0.0", "platform", "all") +
			labelled(binding(name, name, "ServiceAccount:platform/"+name), "part-1.0.0", "platform", "all")
	}
	return []situation{
		{
			name: "a chart of Cast AI's under an alias, beside others of the same label",
			with: nothing,
			make: yamls(own("castai-agent"), labelled(deployment("platform", "castai-agent", image), "part-1.0.0", "platform",
				"all"),
				labelled(thing("scheduling.k8s.io/v1", "PriorityClass", "", "shop"), "part-1.0.0", "platform", "all"),
				labelled(thing("v1", "ConfigMap", "platform", "castai-agent-settings"), "part-1.0.0", "platform", "all"),
				labelled(thing("v1", "ConfigMap", "platform", "shop-settings"), "part-1.0.0", "platform", "all"),
				labelled(role("castai-shop"), "part-1.0.0", "platform", "all")),
			want: map[string]string{
				"ClusterRoleBinding/castai-agent":          "owned",
				"ClusterRole/castai-agent":                 "owned",
				"Deployment/platform/castai-agent":         "owned",
				"ConfigMap/platform/castai-agent-settings": "owned",
				"ConfigMap/platform/shop-settings":         "unclear",
				"PriorityClass/shop":                       "unclear",
				"ClusterRole/castai-shop":                  "unclear",
			},
		},
		{
			name: "a chart that binds others, too, is no alias",
			with: nothing,
			make: yamls(own("castai-agent"),
				labelled(role("shop"), "part-1.0.0", "platform", "all"),
				labelled(binding("shop", "shop", "ServiceAccount:platform/shop"), "part-1.0.0", "platform", "all")),
			want: map[string]string{
				"ClusterRoleBinding/castai-agent": "foreign",
				"ClusterRoleBinding/shop":         "foreign",
			},
		},
		{
			name: "a chart that runs others, too, is no alias",
			make: yamls(
				labelled(deployment("castai-agent", "castai-dashboard", image), "board-1.0.0", "castai-agent", "board"),
				labelled(deployment("castai-agent", "board", "registry.example.com/board:v1"), "board-1.0.0", "castai-agent",
					"board"),
				labelled(thing("v1", "ConfigMap", "castai-agent", "castai-agent-board"), "board-1.0.0", "castai-agent", "board")),
			want: map[string]string{
				"Deployment/castai-agent/castai-dashboard":  "unclear names a chart that is not Cast AI's",
				"Deployment/castai-agent/board":             "foreign",
				"ConfigMap/castai-agent/castai-agent-board": "foreign",
			},
		},
		{
			name: "a binding, a role and an account with an ordinary name of the catalogue",
			with: nothing,
			make: yamls(role("hibernate") + binding("hibernate", "hibernate", "ServiceAccount:shop/hibernate")),
			want: map[string]string{"ClusterRoleBinding/hibernate": "foreign", "ClusterRole/hibernate": "foreign"},
		},
		{
			name: "two bindings with a name that others may use are too few",
			with: nothing,
			make: yamls(gcpCNI("installer", "provisioner")),
			want: map[string]string{"ClusterRoleBinding/gcp-cni-installer": "foreign",
				"ClusterRole/gcp-cni-installer": "foreign"},
		},
		{
			name: "three bindings with exactly the names of a chart are its set",
			with: nothing,
			make: yamls(gcpCNI("installer", "provisioner", "node")),
			want: map[string]string{"ClusterRoleBinding/gcp-cni-installer": "owned", "ClusterRole/gcp-cni-node": "owned"},
		},
		{
			name: "a set with one more of the same label is somebody else's",
			with: nothing,
			make: yamls(gcpCNI("installer", "provisioner", "node", "shop")),
			want: map[string]string{"ClusterRoleBinding/gcp-cni-installer": "foreign",
				"ClusterRoleBinding/gcp-cni-shop": "foreign"},
		},
		{
			name: "third parties go with a chart of Cast AI's only, and only if nobody relies on them",
			make: func(t testing.TB, s *scene) {
				vector := func(parent string) string {
					return "---\n# Source: " + parent + "/charts/vector/templates/x.yaml" +
						workloadYAML("DaemonSet", "castai-agent", "vector-"+parent, "timberio/vector:1",
							"labels: {helm.sh/chart: vector-1.0.0}")[3:]
				}
				s.release(t, "castai-tetragon", "castai-tetragon", "castai-agent", vector("castai-tetragon")+
					"---\n# Source: castai-tetragon/charts/tetragon/templates/x.yaml"+
					workloadYAML("DaemonSet", "castai-agent", "tetragon", "quay.io/cilium/tetragon:v1",
						"labels: {helm.sh/chart: tetragon-1.0.0}")[3:])
				s.release(t, "platform", "platform", "castai-agent", vector("platform"))
				s.release(t, "castai-evictor", "other", "castai-agent", vector("castai-evictor"))
			},
			want: map[string]string{
				"DaemonSet/castai-agent/vector-castai-tetragon": "owned",
				"DaemonSet/castai-agent/tetragon":               "unclear it enforces the TracingPolicies",
				"DaemonSet/castai-agent/vector-platform":        "foreign",
				"DaemonSet/castai-agent/vector-castai-evictor":  "unclear which others may use",
			},
		},
	}
}

// gcpCNI are the bindings and roles of the chart gcp-cni.
func gcpCNI(programs ...string) string {
	out := ""
	for _, p := range programs {
		name := "gcp-cni-" + p
		out += labelled(role(name), "gcp-cni-0.1.0", "kube-system", "gcp-cni") +
			labelled(binding(name, name, "ServiceAccount:kube-system/"+name), "gcp-cni-0.1.0", "kube-system", "gcp-cni")
	}
	return out
}
