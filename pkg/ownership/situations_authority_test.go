package ownership_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// authoritySituations are about who could have written what the verdict rests on.
func authoritySituations() []situation {
	const agentImage = "us-docker.pkg.dev/castai-hub/library/agent:v1"
	return []situation{
		{
			name: "a copied Deployment beside a ServiceAccount that others' cluster-wide objects name",
			make: yamls(
				deployment("shop", "castai-agent", agentImage), thing("v1", "ServiceAccount", "shop", "castai-agent"), thing("v1",
					"Service", "shop", "castai-agent"),
				role("shop-reader"), binding("shop-reader", "shop-reader", "ServiceAccount:shop/castai-agent"),
				webhook("shop-guard", "shop/castai-agent=guard.example.com"),
				thing("apiregistration.k8s.io/v1", "APIService", "", "v1.shop.example.com")+
					"spec: {group: shop.example.com, version: v1, service: {namespace: shop, name: castai-agent}}\n",
				roleBinding("payments", "reads-payments", "ClusterRole", "view", "ServiceAccount:shop/castai-agent"),
			),
			want: map[string]string{
				"Deployment/shop/castai-agent": "unclear --trust-namespace=shop", "ClusterRole/shop-reader": "foreign",
				"ClusterRoleBinding/shop-reader":          "foreign",
				"MutatingWebhookConfiguration/shop-guard": "foreign", "APIService/v1.shop.example.com": "foreign",
				"RoleBinding/payments/reads-payments": "foreign",
				"ServiceAccount/shop/castai-agent":    "foreign",
			},
		},
		{
			name: "a newer revision of a real release lists what only administrators may delete",
			make: func(t testing.TB, s *scene) {
				stolen := thing("v1", "ResourceQuota", "castai-agent", "platform-quota") + thing("v1", "LimitRange", "castai-agent",
					"platform-limits", helmMarks("castai-agent", "castai-agent"))
				s.yaml(t, stolen)
				s.record("castai-agent", "castai-agent", releaseJSON(t, "castai-agent", "castai-agent", "castai-agent", "9.9.9",
					stolen, nil))
				last := s.objects[len(s.objects)-1]
				last.SetName("sh.helm.release.v1.castai-agent.v9")
				labels := last.GetLabels()
				labels["version"] = "9"
				last.SetLabels(labels)
				s.records[len(s.records)-1].Ref.Name = last.GetName()
			},
			want: map[string]string{
				"ResourceQuota/castai-agent/platform-quota": "unclear may not delete a ResourceQuota",
				"LimitRange/castai-agent/platform-limits":   "unclear may not delete a LimitRange",
				"Namespace/castai-agent":                    "foreign",
				// What the forged revision leaves out is in the namespace of whoever wrote it.
				"Deployment/castai-agent/castai-agent-cpvpa": "owned",
			},
		},
		{
			name: "names that only begin like Cast AI's, beside a release called castai",
			with: func(t testing.TB) *scene {
				return (&scene{}).install(t, "charts/castai-agent", install{"castai", "castai-agent", true})
			},
			make: yamls(
				deployment("castai-agent", "castai-agent-proxy", "registry.example.com/proxy:1",
					"labels: {app.kubernetes.io/name: proxy}"),
				"---\napiVersion: batch/v1\nkind: CronJob\nmetadata: {name: castai-cost-report, namespace: castai-agent}\nspec: {jobTemplate: {spec: {template: {spec: {containers: [{name: c, image: registry.example.com/cost:1}]}}}}}\n",
				strings.Replace(deployment("castai-agent", "uses-the-account", "registry.example.com/x:1"),
					"serviceAccountName: uses-the-account", "serviceAccountName: castai-agent", 1),
				workloadYAML("DaemonSet", "castai-agent", "fluent-bit",
					"registry.example.com/mirror/castai-hub/library/fluent-bit:3"),
				roleBinding("castai-agent", "a-group", "ClusterRole", "view", "Group:castai-agent"),
				thing("v1", "ConfigMap", "castai-agent", "by-agent", "managedFields: [{manager: agent}]"),
				thing("coordination.k8s.io/v1", "Lease", "castai-agent", "theirs")+"spec: {holderIdentity: castai-agent-proxy-0}\n",
				thing("v1", "Secret", "castai-agent", "castai-live"),
				deployment("kube-system", "metrics-server", "registry.k8s.io/metrics-server/metrics-server:v0.8.0"), thing("v1",
					"Service", "kube-system", "metrics-server"),
				thing("apiregistration.k8s.io/v1", "APIService", "", "v1beta1.metrics.k8s.io")+
					"spec: {group: metrics.k8s.io, version: v1beta1, service: {namespace: kube-system, name: metrics-server}}\n",
			),
			want: map[string]string{
				"Deployment/castai-agent/castai-agent-proxy": "foreign", "CronJob/castai-agent/castai-cost-report": "foreign",
				"Deployment/castai-agent/uses-the-account": "foreign", "DaemonSet/castai-agent/fluent-bit": "foreign",
				"RoleBinding/castai-agent/a-group": "foreign", "ConfigMap/castai-agent/by-agent": "unclear no workload uses it",
				"Lease/castai-agent/theirs": "unclear", "Secret/castai-agent/castai-live": "unclear no workload uses it",
				"Deployment/kube-system/metrics-server": "foreign", "APIService/v1beta1.metrics.k8s.io": "foreign",
				"Namespace/castai-agent": "foreign",
			},
		},
		{
			name: "what a kubelet may write about its node",
			make: yamls(
				"---\napiVersion: v1\nkind: Node\nmetadata: {name: real-1, labels: {liqo.io/type: virtual-node, liqo.io/remote-cluster-id: edge-1}}\nspec: {providerID: \"castai-omni://real-1\"}\n",
				"---\napiVersion: v1\nkind: Node\nmetadata: {name: real-2, labels: {liqo.io/type: virtual-node}}\nspec: {}\n",
				"---\napiVersion: v1\nkind: Node\nmetadata: {name: edge-1, labels: {liqo.io/type: virtual-node}}\nspec: {providerID: \"aws:///x/i-1\"}\n",
			),
			want: map[string]string{
				"Node/real-1": "unclear a kubelet may write that", "Node/real-2": "unclear a kubelet may write that",
				"Node/edge-1": "foreign", "Node/omni-edge-1": "owned",
			},
		},
		{
			name: "a foreign record in another namespace lists unmarked objects of Cast AI's",
			make: func(t testing.TB, s *scene) {
				s.forge(t, "acme", "acme", "shop", role("hibernate")+binding("hibernate", "hibernate")+
					thing("v1", "ServiceAccount", "castai-agent", "hibernate"))
			},
			want: map[string]string{"ClusterRole/hibernate": "owned", "ClusterRoleBinding/hibernate": "owned",
				"ServiceAccount/castai-agent/hibernate": "owned"},
		},
	}
}

// A ConfigMap of a tenant's does not say that the cluster is paused.
func TestAPauseElsewhereDoesNotBlock(t *testing.T) {
	inv := small(t).yaml(t, thing("v1", "ConfigMap", "shop", "castai-hibernate-state",
		"annotations: {castai.kubectl.dev/hibernation: paused}")).take(t, ownership.Options{})
	if len(inv.Blockers) > 0 {
		t.Errorf("%+v", inv.Blockers)
	}
}

// Only what is in homes names the cluster's id.
func TestIdentityIsOfHomes(t *testing.T) {
	const forged = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: castai-agent, namespace: shop}\nspec: {template: {spec: {containers: [{name: a, image: us-docker.pkg.dev/castai-hub/library/agent:v1, env: [{name: CLUSTER_ID, value: theirs}]}]}}}\n"
	before := castAI(t).take(t, ownership.Options{}).Identity
	after := castAI(t).yaml(t, forged).take(t, ownership.Options{}).Identity
	if before.ClusterID == "" || after.ClusterID != before.ClusterID || len(after.Sources) != len(before.Sources) {
		t.Errorf("%+v\nis now\n%+v", before, after)
	}
}

// The records of a home's releases are bounded together, and the others are not
// even read.
func TestBoundsHoldForAllRecordsTogether(t *testing.T) {
	s := small(t)
	lists := strings.Repeat("kind: ConfigMap\napiVersion: v1\nmetadata: {name: x}\ndata: "+strings.Repeat("[", 1000)+
		"\n---\n", 14_000)
	doc := encode(t, map[string]any{"name": "x", "manifest": lists,
		"chart": map[string]any{"metadata": map[string]any{"name": "castai-agent", "version": "1.0.0"}}})
	for i := range 20 {
		name := fmt.Sprintf("r%d", i)
		s.record("castai-agent", name, encode(t, map[string]any{"name": name, "manifest": lists,
			"chart": map[string]any{"metadata": map[string]any{"name": "castai-agent", "version": "1.0.0"}}}))
	}
	s.record("shop", "x", doc)
	start := time.Now()
	inv := s.take(t, ownership.Options{})
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
	if len(inv.Unreadable) == 0 {
		t.Error("nothing is unreadable")
	}
	for _, u := range inv.Unreadable {
		if !strings.Contains(u.What, "castai-agent/sh.helm.release") {
			t.Errorf("%+v", u)
		}
	}
}

// A component whose controllers stay and whose definitions go is a blocker, and
// so is the reverse.
func TestASplitComponentBlocks(t *testing.T) {
	mutator := cluster.Ref{Group: "apps", Kind: "Deployment", Namespace: "castai-agent", Name: "castai-pod-mutator"}
	crd := cluster.Ref{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition",
		Name: "podmutations.pod-mutations.cast.ai"}
	for _, exclude := range []cluster.Ref{mutator, crd} {
		inv := castAI(t).take(t, ownership.Options{Exclude: []cluster.Ref{exclude}})
		i := slices.IndexFunc(inv.Blockers, func(b ownership.Blocker) bool { return b.Name == "split" })
		if i < 0 || !strings.Contains(inv.Blockers[i].Text, exclude.Name) ||
			!slices.Contains(inv.Blockers[i].Objects, mutator) || !slices.Contains(inv.Blockers[i].Objects, crd) {
			t.Errorf("without %s: %+v", exclude, inv.Blockers)
		}
	}
	if inv := castAI(t).take(t, ownership.Options{}); slices.ContainsFunc(inv.Blockers,
		func(b ownership.Blocker) bool { return b.Name == "split" }) {
		t.Errorf("a whole installation is split: %+v", inv.Blockers)
	}
}

// A chart of namespaced objects alone takes the administrator's word.
func TestTrustIsTheAdministratorsWord(t *testing.T) {
	s := (&scene{}).yaml(t, thing("v1", "Namespace", "", "costs")+
		deployment("costs", "castai-agent", "us-docker.pkg.dev/castai-hub/library/agent:v1"))
	agent := cluster.Ref{Group: "apps", Kind: "Deployment", Namespace: "costs", Name: "castai-agent"}
	if why := explain(t, s.take(t, ownership.Options{}), agent); !strings.HasPrefix(why, "unclear;") ||
		!strings.Contains(why, "pass --trust-namespace=costs") {
		t.Errorf("without the administrator's word: %s", why)
	}
	inv := s.take(t, ownership.Options{Trust: []string{"costs"}})
	if !inv.IsOwned(agent) || !inv.IsOwned(cluster.Ref{Kind: "Namespace", Name: "costs"}) {
		t.Errorf("%s; %s", explain(t, inv, agent), explain(t, inv, cluster.Ref{Kind: "Namespace", Name: "costs"}))
	}
}

// What remains with an identity of Cast AI's keeps a cluster from being clean.
func TestRemainsAreNotClean(t *testing.T) {
	s := (&scene{}).yaml(t, thing("v1", "Namespace", "", "castai-agent")+
		deployment("castai-agent", "guest", "registry.example.com/guest:1")+thing("v1", "Namespace", "", "shop"))
	inv := s.take(t, ownership.Options{})
	if want := []cluster.Ref{{Kind: "Namespace", Name: "castai-agent"}}; !slices.Equal(inv.Remains, want) || inv.Clean() {
		t.Errorf("%v remain, clean: %t", inv.Remains, inv.Clean())
	}
	if inv := (&scene{}).yaml(t, thing("v1", "Namespace", "", "shop")).take(t, ownership.Options{}); !inv.Clean() {
		t.Errorf("%v remain", inv.Remains)
	}
}

// What is made again while Cast AI goes may have no binding, no namespace and no
// record beside it any more.
func TestLoneNamesAreJudged(t *testing.T) {
	const account = "ServiceAccount:castai-agent/castai-agent"
	app := "labels: {app.kubernetes.io/name: castai-agent}"
	for _, test := range []struct{ name, manifest, ref, want string }{
		{"a bare role", role("castai-agent"), "ClusterRole/castai-agent", "unclear a name alone may be a coincidence"},
		{"a labelled role", role("castai-agent", app), "ClusterRole/castai-agent",
			"owned it has exactly the name of castai-agent"},
		{"a role that Helm marked", role("castai-agent", helmMarks("castai-agent", "castai-agent")),
			"ClusterRole/castai-agent", "unclear a name alone"},
		{"a role of another release", role("castai-agent", helmMarks("shop", "acme")), "ClusterRole/castai-agent", "foreign"},
		{"a role with another label", role("castai-agent", "labels: {app.kubernetes.io/name: acme}"),
			"ClusterRole/castai-agent", "unclear a name alone"},
		{
			"a role that others bind", role("castai-agent", app) + binding("sre", "castai-agent", "Group:sre"),
			"ClusterRole/castai-agent", "unclear a name alone",
		},
		{"a bare binding", binding("castai-agent", "castai-agent", account), "ClusterRoleBinding/castai-agent", "owned"},
		{
			"a bare binding elsewhere", binding("castai-agent", "castai-agent", "ServiceAccount:cast/castai-agent"),
			"ClusterRoleBinding/castai-agent", "owned it, its role and its subjects have exactly the name",
		},
		{
			"a binding of another role elsewhere", binding("castai-agent", "view", "ServiceAccount:cast/castai-agent"),
			"ClusterRoleBinding/castai-agent", "unclear a name alone",
		},
		{
			"a binding of a group", binding("castai-agent", "castai-agent", "Group:sre"),
			"ClusterRoleBinding/castai-agent", "unclear a name alone",
		},
		{"almost the name", role("castai-agent-viewer", app), "ClusterRole/castai-agent-viewer", "foreign"},
		{"a name that others give, too", role("egressd", "labels: {app.kubernetes.io/name: egressd}"), "ClusterRole/egressd",
			"foreign"},
	} {
		t.Run(test.name, func(t *testing.T) {
			empty := func(testing.TB) *scene { return &scene{} }
			situation{with: empty, make: yamls(test.manifest), want: map[string]string{test.ref: test.want}}.test(t)
			inv := (&scene{}).yaml(t, test.manifest).take(t, ownership.Options{})
			if named := strings.HasSuffix(test.ref, "/castai-agent"); inv.Clean() == named {
				t.Errorf("clean is %t, with %s there", inv.Clean(), test.ref)
			}
		})
	}
}

// Where only administrators write, a name of Cast AI's is no tenant's doing.
func TestRemainsInNamespacesOfAdministrators(t *testing.T) {
	for ns, clean := range map[string]bool{"kube-system": false, "openshift-monitoring": false, "default": true,
		"shop": true, "openshifter": true} {
		inv := (&scene{}).yaml(t, thing(rbacV1, "Role", ns, "castai-agent")).take(t, ownership.Options{})
		if inv.Clean() != clean {
			t.Errorf("Role/%s/castai-agent is there, and clean is %t", ns, inv.Clean())
		}
	}
}

// A configuration that calls no Service, because it is switched off or calls an
// address, is known by its name and the marks of its chart, and by nothing less.
func TestWebhooksThatCallNoService(t *testing.T) {
	const name, chart = "castai-pod-pinner", "castai-pod-pinner-1.12.2"
	elsewhere := strings.Replace(webhook(name, "https://pinner.example.com"), "hook.example.com", "pod-pinner.cast.ai", 1)
	pinner := binding(name, name, "ServiceAccount:platform/"+name)
	for _, test := range []struct{ name, manifest, want string }{
		{"of the chart, switched off", labelled(webhook(name), chart, "castai-agent", "castai"), "owned"},
		{"of the chart without Helm", strings.Replace(webhook(name), "metadata:", "metadata:\n  labels: {helm.sh/chart: "+
			chart+"}", 1), "owned"},
		{"of the chart, at an address", labelled(elsewhere, chart, "castai-agent", "castai"), "owned"},
		{"of a release that is known", labelled(pinner, chart, "platform", "castai") +
			strings.Replace(webhook(name), "metadata:", "metadata:\n  "+helmMarks("platform", "castai"), 1), "owned"},
		{"of a release that is unknown", strings.Replace(webhook(name), "metadata:",
			"metadata:\n  "+helmMarks("castai-agent", "mine"), 1), "unclear"},
		{"of a release of somebody else's", labelled(webhook(name), chart, "shop", "acme"), "unclear"},
		{"of another chart", labelled(webhook(name), "acme-1.0.0", "castai-agent", "castai"), "foreign"},
		{"of another component's chart", labelled(webhook(name), "castai-agent-1.0.0", "castai-agent", "castai"), "unclear"},
		{"the name alone", webhook(name), "unclear"},
		{"an address of others", labelled(webhook(name, "https://pinner.example.com"), chart, "castai-agent", "castai"),
			"unclear"},
		{"a Service of others", labelled(webhook(name, "shop/guard=pod-pinner.cast.ai"), chart, "castai-agent", "castai"),
			"unclear"},
	} {
		inv := new(scene).yaml(t, test.manifest).withNamespaces().take(t, ownership.Options{})
		t.Run(test.name, func(t *testing.T) { wantVerdict(t, inv, "MutatingWebhookConfiguration/"+name, test.want) })
	}
}
