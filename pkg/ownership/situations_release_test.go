package ownership_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
)

// releaseSituations are about Helm: what a record, a mark or a chart's name proves.
func releaseSituations() []situation {
	const agentImage = "us-docker.pkg.dev/castai-hub/library/agent:v1"
	return []situation{
		{
			name: "a hostile record of chart castai-agent lists other people's objects",
			make: func(t testing.TB, s *scene) {
				stolen := role("cluster-admin", "labels: {kubernetes.io/bootstrapping: rbac-defaults}") + role("payments-reader") +
					deployment("kube-system", "coredns", "registry.k8s.io/coredns:v1") +
					thing("v1", "Secret", "payments", "db-password") +
					deployment("payments", "ledger-api", "registry.example.com/ledger:1") + thing("storage.k8s.io/v1", "StorageClass",
					"", "gp3")
				// The agent makes the release look real, and gets it read.
				agent := deployment("shop", "castai-agent", agentImage)
				s.yaml(t, stolen+agent).forge(t, "castai-agent", "castai-agent", "shop", stolen+agent)
			},
			want: map[string]string{
				"ClusterRole/cluster-admin":       "foreign",
				"ClusterRole/payments-reader":     "foreign",
				"Deployment/kube-system/coredns":  "foreign",
				"Secret/payments/db-password":     "foreign",
				"Deployment/payments/ledger-api":  "foreign",
				"StorageClass.storage.k8s.io/gp3": "foreign",
			},
		},
		{
			name: "a record of a chart castai-agent that runs nothing of the kind",
			make: func(t testing.TB, s *scene) {
				stolen := role("payments-writer") + deployment("shop", "web-2", "registry.example.com/web:1")
				s.yaml(t, stolen+thing("v1", "ConfigMap", "shop", "bait",
					"labels: {app.kubernetes.io/name: castai-agent}")).forge(t, "castai-agent", "castai-agent", "shop", stolen)
			},
			want: map[string]string{
				"ClusterRole/payments-writer": "foreign", "Deployment/shop/web-2": "foreign", "ConfigMap/shop/bait": "foreign",
				"Secret/shop/sh.helm.release.v1.castai-agent.v1": "foreign",
			},
		},
		{
			name: "a record in one namespace claims to be a release in another",
			make: func(t testing.TB, s *scene) {
				mine := thing("v1", "ConfigMap", "payments", "rates", helmMarks("payments", "ledger"))
				s.yaml(t, mine).yaml(t, deployment("shop", "castai-agent", agentImage))
				s.record("shop", "ledger", releaseJSON(t, "ledger", "payments", "castai-agent", "1.0.0", mine, nil))
			},
			want: map[string]string{
				"ConfigMap/payments/rates":                 "foreign",
				"Secret/shop/sh.helm.release.v1.ledger.v1": "foreign",
			},
		},
		{
			name: "a record lists what another release owns by its marks",
			make: func(t testing.TB, s *scene) {
				vault := role("vault-agent") + thing("v1", "ConfigMap", "vault", "vault-config")
				s.release(t, "vault", "vault", "vault", vault)
				s.yaml(t, thing("v1", "ConfigMap", "shop", "bait", "labels: {app.kubernetes.io/name: castai-agent}"))
				s.forge(t, "castai-agent", "castai-agent", "shop", vault)
			},
			want: map[string]string{"ClusterRole/vault-agent": "foreign", "ConfigMap/vault/vault-config": "foreign"},
		},
		{
			name: "a record lists the unmarked hooks of another release",
			make: func(t testing.TB, s *scene) {
				hook := role("ingress-admission", `annotations: {helm.sh/hook: pre-install}`,
					"labels: {helm.sh/chart: ingress-nginx-4.11.0}") +
					role("castai-agent-ingress", `annotations: {helm.sh/hook: pre-install}`)
				s.yaml(t, thing("v1", "ConfigMap", "shop", "bait", "labels: {app.kubernetes.io/name: castai-agent}"))
				s.release(t, "ingress-nginx", "ingress", "shop", hook)
				s.record("shop", "castai-agent", releaseJSON(t, "castai-agent", "shop", "castai-agent", "1.0.0", "",
					[]map[string]string{{"manifest": hook}}))
			},
			want: map[string]string{"ClusterRole/ingress-admission": "foreign", "ClusterRole/castai-agent-ingress": "foreign"},
		},
		{
			name: "a hook in the release's namespace, without marks, of a renamed release",
			make: func(t testing.TB, s *scene) {
				s.release(t, "castai", "costs", "finops", deployment("finops", "castai-agent", agentImage)+
					installation("finops", "costs-castai-agent")+
					thing("v1", "ServiceAccount", "finops", "costs-kent-preflight", "annotations: {helm.sh/hook: pre-install}")+
					role("costs-kent-preflight", "annotations: {helm.sh/hook: pre-install}")+
					strings.Replace(binding("costs-kent-preflight", "costs-kent-preflight",
						"ServiceAccount:finops/costs-kent-preflight"),
						"  name: costs-kent-preflight\n", "  name: costs-kent-preflight\n  annotations: {helm.sh/hook: pre-install}\n", 1))
			},
			want: map[string]string{
				"ServiceAccount/finops/costs-kent-preflight": "owned a hook of the Helm release finops/costs makes it",
				"ClusterRole/costs-kent-preflight":           "owned only bindings of Cast AI's grant it",
				"ClusterRoleBinding/costs-kent-preflight":    "owned all its subjects",
				"Namespace/finops":                           "owned",
			},
		},
		{
			name: "records that are no releases",
			make: func(t testing.TB, s *scene) {
				marked := thing("v1", "ConfigMap", "castai-agent", "extra", helmMarks("castai-agent", "garbage"))
				truncated := releaseJSON(t, "truncated", "castai-agent", "castai-agent", "1", "", nil)
				s.yaml(t, marked).record("castai-agent", "garbage", []byte("not base64 at all"))
				s.record("castai-agent", "truncated", truncated[:len(truncated)/2])
				s.record("castai-agent", "empty", nil)
				s.record("castai-agent", "number", encode(t, 42))
				s.record("castai-agent", "list", encode(t, []string{"castai-agent"}))
				s.record("castai-agent", "nameless", encode(t, map[string]any{"chart": map[string]any{}}))
				s.record("castai-agent", "other", releaseJSON(t, "castai-agent", "castai-agent", "castai-agent", "1", "", nil))
			},
			want: map[string]string{
				"ConfigMap/castai-agent/extra":                        "unclear",
				"Secret/castai-agent/sh.helm.release.v1.garbage.v1":   "foreign not known to be Cast AI's",
				"Secret/castai-agent/sh.helm.release.v1.truncated.v1": "foreign not known to be Cast AI's",
				"Secret/castai-agent/sh.helm.release.v1.empty.v1":     "foreign not known to be Cast AI's",
				"Secret/castai-agent/sh.helm.release.v1.number.v1":    "foreign not known to be Cast AI's",
				"Secret/castai-agent/sh.helm.release.v1.list.v1":      "foreign not known to be Cast AI's",
				"Secret/castai-agent/sh.helm.release.v1.nameless.v1":  "foreign not known to be Cast AI's",
				"Secret/castai-agent/sh.helm.release.v1.other.v1":     "foreign not known to be Cast AI's",
				"Namespace/castai-agent":                              "foreign",
			},
		},
		{
			name: "a record that unpacks to far more than any release",
			make: func(t testing.TB, s *scene) {
				s.record("castai-agent", "bomb", bomb(t))
			},
			want: map[string]string{"Secret/castai-agent/sh.helm.release.v1.bomb.v1": "foreign not known to be Cast AI's"},
		},
		{
			name: "the record of Cast AI's own release is broken: its labels still tell",
			with: func(t testing.TB) *scene {
				s := small(t)
				for i := range s.records {
					s.records[i].Data = []byte("*")
				}
				return s
			},
			make: yamls(thing("v1", "ConfigMap", "shop", "rates", helmMarks("shop", "rates"))),
			want: map[string]string{
				"ConfigMap/shop/rates":                                   "foreign",
				"Deployment/castai-agent/castai-agent":                   "owned",
				"ClusterRole/castai-agent":                               "owned",
				"ClusterRoleBinding/castai-agent":                        "owned",
				"Namespace/castai-agent":                                 "owned",
				"Secret/castai-agent/sh.helm.release.v1.castai-agent.v1": "owned all that is marked as part of this is Cast AI's",
			},
		},
		{
			name: "upstream charts with the names of charts that Cast AI publishes, too",
			make: func(t testing.TB, s *scene) {
				s.release(t, "temporal", "temporal", "temporal",
					deployment("temporal", "temporal-frontend", "temporalio/server:1.24",
						"labels: {helm.sh/chart: temporal-0.44.0, app.kubernetes.io/name: temporal}")+
						thing("v1", "ConfigMap", "temporal", "temporal-config"))
				s.release(t, "egressd", "egressd", "egressd", workloadYAML("DaemonSet", "egressd", "egressd",
					"ghcr.io/acme/egressd:1", "labels: {helm.sh/chart: egressd-1.0.0, app.kubernetes.io/name: egressd}")+
					role("egressd")+binding("egressd", "egressd", "ServiceAccount:egressd/egressd")+
					thing("v1", "ServiceAccount", "egressd", "egressd"))
				s.release(t, "gpu-metrics-exporter", "gpu", "gpu",
					workloadYAML("DaemonSet", "gpu", "gpu-metrics-exporter", "nvcr.io/nvidia/dcgm-exporter:3",
						"labels: {helm.sh/chart: gpu-metrics-exporter-2.0.0}"))
				s.release(t, "omni-agent", "omni", "omni", deployment("omni", "omni-agent",
					"registry.example.com/retail/omni-agent:1", "labels: {helm.sh/chart: omni-agent-3.0.0, app.kubernetes.io/name: omni-agent}"))
				s.release(t, "pv-monitor", "pv", "storage", deployment("storage", "pv-monitor",
					"registry.example.com/pv-monitor:1"))
			},
			want: map[string]string{
				"Deployment/temporal/temporal-frontend": "foreign", "ConfigMap/temporal/temporal-config": "foreign",
				"DaemonSet/egressd/egressd": "foreign", "ClusterRole/egressd": "foreign", "ClusterRoleBinding/egressd": "foreign",
				"ServiceAccount/egressd/egressd": "foreign", "DaemonSet/gpu/gpu-metrics-exporter": "foreign",
				"Deployment/omni/omni-agent": "foreign", "Deployment/storage/pv-monitor": "foreign", "Namespace/egressd": "foreign",
			},
		},
		{
			name: "a chart by broadcast.ai, whose links end with Cast AI's domain as a text",
			make: func(t testing.TB, s *scene) {
				pod := deployment("streams", "temporal-worker", "registry.broadcast.ai/worker:1", helmMarks("streams", "temporal"))
				s.yaml(t, pod).record("streams", "temporal", encode(t, map[string]any{
					"name": "temporal", "namespace": "streams", "manifest": pod,
					"chart": map[string]any{"metadata": map[string]any{"name": "temporal", "version": "1.0.0",
						"home":    "https://broadcast.ai/castai/",
						"sources": []string{"https://github.com/castaint/x"}, "maintainers": []any{map[string]any{"email": "ops@forecast.ai", "url": "https://cast.ai.example.com"}}}},
				}))
				s.yaml(t, thing("v1", "ConfigMap", "streams", "near", "labels: {helm.sh/chart: castai-agent-1.0.0}"))
			},
			want: map[string]string{"Deployment/streams/temporal-worker": "foreign",
				"ConfigMap/streams/near": "unclear --trust-namespace=streams"},
		},
		{
			name: "a user's umbrella chart is called castai, as Cast AI's is", with: small,
			make: func(t testing.TB, s *scene) {
				labels := "labels: {helm.sh/chart: castai-1.0.0, app.kubernetes.io/instance: costs}"
				s.release(t, "castai", "costs", "castai-agent",
					"---\n# Source: castai/templates/exporter.yaml"+
						deployment("castai-agent", "cost-exporter", "registry.example.com/cost-exporter:1", labels)[3:]+
						"---\n# Source: castai/templates/history.yaml"+
						thing("v1", "PersistentVolumeClaim", "castai-agent", "cost-history", labels)[3:]+
						"---\n# Source: castai/templates/priority.yaml"+
						thing("scheduling.k8s.io/v1", "PriorityClass", "", "platform-critical", labels)[3:]+
						"---\n# Source: castai/templates/storage.yaml"+
						thing("storage.k8s.io/v1", "StorageClass", "", "fast", labels)[3:]+
						"---\n# Source: castai/templates/credentials.yaml"+
						thing("v1", "Secret", "castai-agent", "castai-credentials", labels)[3:]+
						"---\n# Source: castai/charts/redis/templates/x.yaml"+
						thing("v1", "ConfigMap", "castai-agent", "cost-cache", labels)[3:]+
						"---\n# Source: castai/charts/castai-news/templates/x.yaml"+
						thing("v1", "ConfigMap", "castai-agent", "castai-news", "labels: {helm.sh/chart: castai-news-1.0.0}")[3:])
			},
			want: map[string]string{
				"Deployment/castai-agent/cost-exporter":           "unclear Cast AI's chart castai does not make it",
				"PersistentVolumeClaim/castai-agent/cost-history": "unclear Cast AI's chart castai does not make it",
				"PriorityClass/platform-critical":                 "foreign",
				"StorageClass/fast":                               "foreign",
				"ConfigMap/castai-agent/cost-cache":               "unclear Cast AI's chart castai does not make it",
				"Secret/castai-agent/castai-credentials":          "owned",
				"ConfigMap/castai-agent/castai-news":              "owned",
				"Namespace/castai-agent":                          "foreign",
			},
		},
		{
			name: "a user's umbrella chart vendors castai-agent beside own templates",
			make: func(t testing.TB, s *scene) {
				s.release(t, "acme-platform", "platform", "platform",
					"---\n# Source: acme-platform/charts/castai-agent/templates/x.yaml"+
						deployment("platform", "castai-agent", agentImage)[3:]+
						"---\n# Source: acme-platform/charts/castai-agent/templates/y.yaml"+
						installation("platform", "platform-castai-agent")[3:]+
						"---\n# Source: acme-platform/templates/web.yaml"+deployment("platform", "web", "registry.example.com/web:1")[3:]+
						"---\n# Source: acme-platform/templates/role.yaml"+role("castai-agent-platform")[3:])
			},
			want: map[string]string{
				"Deployment/platform/castai-agent":               "owned chart acme-platform-1.0.0",
				"ClusterRole/platform-castai-agent":              "owned",
				"Deployment/platform/web":                        "foreign",
				"ClusterRole/castai-agent-platform":              "unclear such a release may have parts of others",
				"Secret/platform/sh.helm.release.v1.platform.v1": "foreign",
				"Namespace/platform":                             "foreign",
			},
		},
		{
			name: "the same, with an alias for the sub-chart and its image in a mirror",
			make: func(t testing.TB, s *scene) {
				labels := "labels: {helm.sh/chart: costs-0.153.2, app.kubernetes.io/name: costs}"
				// An alias is all that its cluster-scoped objects are called by, so that only
				// the administrator's word says whose namespace it is.
				manifest := "# Source: acme/charts/costs/templates/x.yaml" +
					deployment("tools", "acme-costs", "registry.example.com/castai-hub/library/agent:v1", labels,
						helmMarks("tools", "acme"))[3:] +
					"---\n# Source: acme/templates/x.yaml" + thing("v1", "ConfigMap", "tools", "acme", helmMarks("tools", "acme"))[3:]
				s.yaml(t, manifest).record("tools", "acme", encode(t, map[string]any{
					"name": "acme", "namespace": "tools", "manifest": manifest,
					"chart": map[string]any{
						"metadata": map[string]any{"name": "acme", "version": "1.0.0", "dependencies": []any{map[string]any{
							"name": "costs", "alias": "costs", "version": "0.153.2", "repository": "https://castai.github.io/helm-charts"}}},
						"lock": map[string]any{"dependencies": []any{map[string]any{
							"name": "castai-agent", "version": "0.153.2", "repository": "https://castai.github.io/helm-charts"}}},
					},
				}))
			},
			trust: []string{"tools"},
			want:  map[string]string{"Deployment/tools/acme-costs": "owned chart acme-1.0.0", "ConfigMap/tools/acme": "foreign"},
		},
		{
			name: "a user's own chart with the name castai-agent",
			make: func(t testing.TB, s *scene) {
				s.release(t, "castai-agent", "newsroom", "news",
					deployment("news", "podcast", "registry.example.com/newsroom/podcast:1")+role("newsroom-podcast"))
			},
			want: map[string]string{
				"Deployment/news/podcast":                    "foreign",
				"ClusterRole/newsroom-podcast":               "foreign",
				"Secret/news/sh.helm.release.v1.newsroom.v1": "foreign",
			},
		},
		{
			name: "a user's release called castai-agent in namespace castai-agent, of another chart",
			with: func(t testing.TB) *scene {
				return (&scene{}).install(t, "charts/castai-evictor", install{"castai-evictor", "castai-agent", true})
			},
			make: func(t testing.TB, s *scene) {
				s.release(t, "acme-proxy", "castai-agent", "castai-agent",
					deployment("castai-agent", "castai-agent", "registry.example.com/proxy:1",
						"labels: {app.kubernetes.io/name: castai-agent}")+role("castai-agent"))
			},
			want: map[string]string{
				"Deployment/castai-agent/castai-agent":                   "foreign it belongs to the Helm release castai-agent/castai-agent of chart acme-proxy",
				"ClusterRole/castai-agent":                               "unclear a name alone may be a coincidence",
				"Secret/castai-agent/sh.helm.release.v1.castai-agent.v1": "foreign",
				"Namespace/castai-agent":                                 "foreign",
			},
		},
		{
			name: "a new chart of Cast AI's that the catalogue does not know",
			make: func(t testing.TB, s *scene) {
				s.release(t, "castai-quantum-packer", "packer", "packer",
					deployment("packer", "packer", "us-docker.pkg.dev/castai-hub/library/quantum-packer:v1",
						"labels: {helm.sh/chart: castai-quantum-packer-1.0.0}")+role("packer"))
				s.release(t, "castai-dashboards", "dash", "dash",
					deployment("dash", "dash", "registry.example.com/castai-hub/library/dash:v1"))
			},
			want: map[string]string{
				"Deployment/packer/packer": "unclear --trust-namespace=packer", "ClusterRole/packer": "foreign",
				"Namespace/packer":     "foreign",
				"Deployment/dash/dash": "foreign",
			},
		},
		{
			name: "third-party sub-charts of Cast AI's releases",
			make: func(t testing.TB, s *scene) {
				s.release(t, "castai", "castai", "castai-agent",
					"---\n# Source: castai/templates/secret.yaml"+thing("v1", "Secret", "castai-agent", "castai-credentials")[3:]+
						"---\n# Source: castai/charts/kent/charts/metrics-server/templates/x.yaml"+
						role("system:castai-metrics-server", "labels: {helm.sh/chart: metrics-server-3.13.0}")[3:]+
						"---\n# Source: castai/charts/castai-live/charts/castai-aws-vpc-cni/templates/x.yaml"+
						workloadYAML("DaemonSet", "castai-agent", "aws-node",
							"602401143452.dkr.ecr.eu-central-1.amazonaws.com/amazon-k8s-cni:v1", "labels: {helm.sh/chart: castai-aws-vpc-cni-1.21.2}")[3:])
			},
			want: map[string]string{
				"Secret/castai-agent/castai-credentials":   "owned",
				"ClusterRole/system:castai-metrics-server": "unclear every autoscaler of the cluster and kubectl top read their metrics from it",
				"DaemonSet/castai-agent/aws-node":          "unclear it gives every pod of its nodes their network",
			},
		},
		{
			name: "copied marks",
			make: yamls(
				thing("v1", "ConfigMap", "shop", "copied",
					"labels: {helm.sh/chart: castai-agent-0.153.2, app.kubernetes.io/name: castai-agent, app.kubernetes.io/instance: castai-agent, app.kubernetes.io/managed-by: Helm}"),
				thing("v1", "ConfigMap", "shop", "copied-all", "labels: {helm.sh/chart: castai-agent-0.153.2}",
					helmMarks("castai-agent", "castai-agent")),
				thing("v1", "ConfigMap", "shop", "copied-gone", "labels: {helm.sh/chart: castai-agent-0.153.2}",
					helmMarks("costs", "gone")),
				thing("v1", "ConfigMap", "shop", "managed", "labels: {app.kubernetes.io/managed-by: castai}"),
				role("copied", "labels: {helm.sh/chart: castai-agent-0.153.2}", helmMarks("castai-agent", "castai-agent")),
				thing("v1", "ConfigMap", "shop", "prefix", "labels: {helm.sh/chart: castai-agentx-0.153.2}"),
			),
			want: map[string]string{
				"ConfigMap/shop/copied":      "unclear --trust-namespace=shop",
				"ConfigMap/shop/copied-all":  "unclear --trust-namespace=shop",
				"ConfigMap/shop/copied-gone": "unclear --trust-namespace=shop",
				"ConfigMap/shop/managed":     "foreign",
				"ClusterRole/copied":         "unclear a label alone may have been copied",
				"ConfigMap/shop/prefix":      "foreign",
			},
		},
		{
			name: "labels copied from an installation without Helm",
			with: func(t testing.TB) *scene {
				return (&scene{}).install(t, "charts/castai-pod-mutator", install{"castai-pod-mutator", "platform", false})
			},
			make: func(t testing.TB, s *scene) {
				labels := "labels: {helm.sh/chart: castai-pod-mutator-0.13.3, app.kubernetes.io/instance: castai-pod-mutator}"
				s.yaml(t, thing("v1", "ConfigMap", "shop", "copied", labels)+role("bound-copy", labels)+
					binding("sre", "bound-copy", "User:sre@example.com")+
					strings.Replace(webhook("guard", "shop/guard=guard.example.com"), "metadata:\n", "metadata:\n  "+labels+"\n", 1)+
					crd("example.com", "Guard", "guards", "Cluster", labels)+
					deployment("platform", "web", "registry.example.com/web:1"))
			},
			want: map[string]string{
				"ConfigMap/shop/copied":                       "unclear --trust-namespace=shop",
				"ClusterRole/bound-copy":                      "unclear",
				"MutatingWebhookConfiguration/guard":          "unclear",
				"CustomResourceDefinition/guards.example.com": "unclear",
				"Deployment/platform/web":                     "foreign",
				"Namespace/platform":                          "foreign",
			},
		},
	}
}

// installation is what makes a namespace a home: a role and a binding with the
// label of the agent's chart, as its templates have it.
func installation(namespace, name string) string {
	labels := "labels: {helm.sh/chart: castai-agent-0.153.2, app.kubernetes.io/name: castai-agent}"
	b := strings.Replace(binding(name, name, "ServiceAccount:"+namespace+"/"+name), "metadata:\n", "metadata:\n  "+labels+
		"\n", 1)
	return role(name, labels) + b
}

// bomb is a small record that unpacks to far more than any release.
func bomb(t testing.TB) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	head, err := json.Marshal(map[string]any{"name": "bomb",
		"chart": map[string]any{"metadata": map[string]any{"name": "castai-agent"}}})
	if err != nil {
		t.Fatal(err)
	}
	zeros := bytes.Repeat([]byte("0"), 1<<20)
	write := func(b []byte) {
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	write(bytes.TrimSuffix(head, []byte("}")))
	write([]byte(`,"manifest":"`))
	for range 64 {
		write(zeros)
	}
	write([]byte(`"}`))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return []byte(base64.StdEncoding.EncodeToString(buf.Bytes()))
}
