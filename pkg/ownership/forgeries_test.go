package ownership_test

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

const (
	virtualLabel = "labels: {liqo.io/type: virtual-node}"
	kubeletInfo  = "status: {nodeInfo: {kubeletVersion: v1.36.3, operatingSystem: linux, architecture: amd64}}\n"
)

// A node with a machine is nobody's virtual node, whatever its kubelet says of
// it, and a binding is for one node.
func TestAMachineIsNoVirtualNode(t *testing.T) {
	for _, field := range []string{"machineID", "systemUUID", "bootID", "kernelVersion", "osImage",
		"containerRuntimeVersion"} {
		inv := castAI(t).yaml(t, thing("v1", "Node", "", "edge-1", virtualLabel)+"status: {nodeInfo: {"+field+": x}}\n").
			take(t, ownership.Options{})
		wantVerdict(t, inv, "Node/edge-1", "unclear; hint [node] it looks like a virtual node")
		wantVerdict(t, inv, "Node/edge-1", "status.nodeInfo."+field)
		wantVerdict(t, inv, "Node/omni-edge-1", "owned")
		only := castAI(t)
		node := only.find("Node", "", "omni-edge-1").Object
		node["status"] = map[string]any{"nodeInfo": map[string]any{field: "x"}}
		wantVerdict(t, only.take(t, ownership.Options{}), "Node/omni-edge-1", "unclear")
	}
	both := castAI(t).yaml(t, thing("v1", "Node", "", "edge-1", virtualLabel)+kubeletInfo).take(t, ownership.Options{})
	wantVerdict(t, both, "Node/edge-1", "unclear")
	wantVerdict(t, both, "Node/omni-edge-1", "owned")
	alone := castAI(t)
	alone.find("Node", "", "omni-edge-1").SetName("edge-1")
	wantVerdict(t, alone.take(t, ownership.Options{}), "Node/edge-1", "owned")
}

// wantVerdict checks that what is said of an object has a text in it.
func wantVerdict(t *testing.T, inv *ownership.Inventory, name, want string) {
	t.Helper()
	r, err := cluster.ParseRef(name)
	if err != nil {
		t.Fatal(err)
	}
	if got := explain(t, inv, r); !strings.Contains(got, want) ||
		strings.Contains(want, "owned") != strings.HasPrefix(got, "owned") {
		t.Errorf("%s: %s\nwant %s", name, got, want)
	}
}

// A namespace that begins as those of Cast AI's Liqo do may be a tenant namespace
// of anybody's Liqo.
func TestANamespaceDoesNotTellWhoseLiqoItIs(t *testing.T) {
	const tenant = "labels: {liqo.io/tenant-namespace: \"true\", liqo.io/remote-cluster-id: retail}"
	users := func() *scene {
		s := &scene{}
		return s.yaml(t, thing("v1", "Namespace", "", "omni-retail", tenant)+
			crd("core.liqo.io", "ForeignCluster", "foreignclusters", "Cluster")+
			thing("v1", "Secret", "omni-retail", "wireguard")+
			thing("storage.k8s.io/v1", "StorageClass", "", "liqo")+"provisioner: liqo.io/storage\n")
	}
	inv := users().take(t, ownership.Options{})
	for _, name := range []string{
		"Namespace/omni-retail", "Secret/omni-retail/wireguard", "StorageClass/liqo",
		"CustomResourceDefinition/foreignclusters.core.liqo.io",
	} {
		r, err := cluster.ParseRef(name)
		if err != nil {
			t.Fatal(err)
		}
		if inv.IsOwned(r) {
			t.Errorf("%s: %s", name, explain(t, inv, r))
		}
	}
	omni := users().yaml(t, crd("omni.cast.ai", "Edge", "edges", "Namespaced")).take(t, ownership.Options{})
	wantVerdict(t, omni, "CustomResourceDefinition/foreignclusters.core.liqo.io", "owned")
}

// Whoever may make namespaces can give one any name: what is in it names no
// cluster.
func TestANamespaceOfThatNameProvesNoIdentity(t *testing.T) {
	cat := catalogue(t)
	for _, home := range cat.Namespaces {
		name := strings.ReplaceAll(home.Name, "*", "eve")
		forged := thing("v1", "Namespace", "", name) +
			thing("v1", "ConfigMap", name, "castai-agent-metadata") + "data: {CLUSTER_ID: " + otherCluster + "}\n" +
			strings.ReplaceAll(named(), "namespace: shop", "namespace: "+name)
		if inv := (&scene{}).yaml(t, forged).take(t, ownership.Options{}); len(inv.Identity.Sources) > 0 ||
			inv.Identity.APIURL != "" {
			t.Errorf("%s alone: %+v", name, inv.Identity)
		}
		if name == "castai-agent" {
			continue // where the agent lives
		}
		agent := small(t).yaml(t, thing("v1", "ConfigMap", "castai-agent", "castai-agent-metadata")+
			"data: {CLUSTER_ID: mine}\n")
		inv := agent.yaml(t, forged).take(t, ownership.Options{})
		if inv.Identity.Conflict || inv.Identity.ClusterID != "mine" {
			t.Errorf("%s beside the agent: %+v", name, inv.Identity)
		}
	}
}

// Who may write custom resources of Cast AI's in a namespace of his own can't say
// that a tool manages Cast AI.
func TestMarksOnTenantsCustomResourcesDoNotBlock(t *testing.T) {
	for _, meta := range []string{
		"annotations: {argocd.argoproj.io/tracking-id: \"x:y\"}", "labels: {app.terraform.io/managed: \"true\"}",
		"managedFields: [{manager: kustomize-controller}]",
		"labels: {kustomize.toolkit.fluxcd.io/name: apps, kustomize.toolkit.fluxcd.io/namespace: shop}",
	} {
		inv := castAI(t).yaml(t, thing("autoscaling.cast.ai/v1", "Recommendation", "shop", "mine", meta)+
			thing("kustomize.toolkit.fluxcd.io/v1", "Kustomization", "shop", "apps")).take(t, ownership.Options{})
		for _, b := range inv.Blockers {
			if b.Name == "gitops" {
				t.Errorf("%s: %+v", meta, b)
			}
		}
	}
}

// Some of Cast AI's programs come in images of others: a name that nobody else
// gives and Helm's marks of an installation here are enough.
func TestProgramsInImagesOfOthers(t *testing.T) {
	shared := func(more string) *ownership.Inventory {
		s := &scene{}
		s.install(t, "charts/castai-agent", install{"castai-agent", "platform", true})
		s.records = nil
		s.objects = slices.DeleteFunc(s.objects,
			func(u *unstructured.Unstructured) bool { return u.GetLabels()["owner"] == "helm" })
		return s.yaml(t, deployment("platform", "web", "registry.example.com/web:1")+more).take(t, ownership.Options{})
	}
	scaler := func(name string, marks ...string) string {
		return deployment("platform", name, "registry.k8s.io/cpa/cpvpa:v0.8.4", marks...)
	}
	wantVerdict(t, shared(""), "Deployment.apps/platform/castai-agent-cpvpa", "owned")
	for _, forged := range []string{
		scaler("scaler", helmMarks("platform", "castai-agent")), scaler("castai-evictor"),
		scaler("castai-evictor", helmMarks("platform", "scaler")), scaler("temporal", helmMarks("platform", "castai-agent")),
	} {
		inv := shared(forged)
		for _, i := range inv.Owned() {
			if name := i.Object.Name; name == "scaler" || name == "castai-evictor" || name == "temporal" {
				t.Errorf("%s", explain(t, inv, i.Object.Ref()))
			}
		}
	}
}

// Who uses what goes is named, with what he needs.
func TestUsersOfWhatGoes(t *testing.T) {
	reporter := strings.ReplaceAll(deployment("castai-agent", "reporter", "registry.example.com/reporter:1"),
		"serviceAccountName: reporter", "serviceAccountName: castai-agent\n      volumes: [{name: v, configMap: {name: castai-agent-autoscaler}}]")
	apart := deployment("shop", "web", "registry.example.com/web:1")
	inv := small(t).yaml(t, reporter+apart).take(t, ownership.Options{})
	if len(inv.Impact.Users) != 1 || inv.Impact.Users[0].Object.Name != "reporter" {
		t.Fatalf("%+v", inv.Impact.Users)
	}
	needs := inv.Impact.Users[0].Needs
	if !slices.Contains(needs, cluster.Ref{Kind: "ServiceAccount", Namespace: "castai-agent", Name: "castai-agent"}) ||
		!slices.Contains(needs, cluster.Ref{Kind: "ConfigMap", Namespace: "castai-agent", Name: "castai-agent-autoscaler"}) {
		t.Errorf("%+v", needs)
	}
}

// Where nothing tells whose the Liqo is, --trust-namespace does not take its
// controllers without its definitions and webhooks.
func TestALiqoIsNotTakenApart(t *testing.T) {
	const image = "us-docker.pkg.dev/castai-hub/library/liqo/liqo-controller-manager:v1"
	s := (&scene{}).yaml(t, thing("v1", "Namespace", "", "edge")+deployment("edge", "liqo-controller-manager", image)+
		crd("core.liqo.io", "ForeignCluster", "foreignclusters", "Cluster")+
		webhook("liqo-webhook", "edge/liqo-webhook=x.liqo.io"))
	trusted := s.take(t, ownership.Options{Trust: []string{"edge"}})
	wantVerdict(t, trusted, "Deployment.apps/edge/liqo-controller-manager", "unclear")
	wantVerdict(t, trusted, "MutatingWebhookConfiguration/liqo-webhook", "unclear")
	wantVerdict(t, trusted, "CustomResourceDefinition/foreignclusters.core.liqo.io", "foreign")
	if split := blocker(trusted, "split"); len(split.Objects) > 0 {
		t.Errorf("%+v", split)
	}
	controller := cluster.Ref{Group: "apps", Kind: "Deployment", Namespace: "edge", Name: "liqo-controller-manager"}
	split := blocker(s.take(t, ownership.Options{Trust: []string{"edge"}, Include: []cluster.Ref{controller}}), "split")
	for _, want := range []string{"liqo-controller-manager", "foreignclusters.core.liqo.io", "liqo-webhook"} {
		if !slices.ContainsFunc(split.Objects, func(r cluster.Ref) bool { return r.Name == want }) {
			t.Errorf("%s is not in %+v", want, split)
		}
	}
	if alone := s.take(t, ownership.Options{}); len(blocker(alone, "split").Objects) > 0 {
		t.Errorf("%+v", alone.Blockers)
	}
}

// blocker returns the blocker of that name, if there is one.
func blocker(inv *ownership.Inventory, name string) ownership.Blocker {
	i := slices.IndexFunc(inv.Blockers, func(b ownership.Blocker) bool { return b.Name == name })
	if i < 0 {
		return ownership.Blocker{}
	}
	return inv.Blockers[i]
}
