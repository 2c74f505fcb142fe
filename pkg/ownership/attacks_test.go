package ownership_test

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// attack is what somebody may write who holds rights in one place.
type attack struct {
	name  string
	stage string // of stages
	write func(*testing.T, *scene)
}

const (
	agentImage   = "us-docker.pkg.dev/castai-hub/library/agent:v0.123.1"
	everyTenant  = "the agent and the mutator, a tenant"
	insideAgent  = "the agent and the mutator, the tenant of castai-agent"
	emptyTenant  = "an empty cluster, a tenant"
	emptyAgent   = "an empty cluster, the tenant of castai-agent"
	everyKubelet = "the agent and the mutator, a kubelet"
	emptyKubelet = "an empty cluster, a kubelet"
	wholeKubelet = "everything and others, a kubelet"
	wholeTenant  = "everything and others, a tenant"
)

// others lists what a forged record claims.
var others = strings.Join([]string{
	role("tenant-deployer"), role("pod-reader"), role("castai-costs"), role("tenant-platform"),
	binding("tenant-deployer", "tenant-deployer"), webhook("tenant-defaults"),
	thing("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "", "tenant-policies"),
	thing("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", "", "tenant-images"),
	thing("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding", "", "tenant-images"),
	thing("apiregistration.k8s.io/v1", "APIService", "", "v1beta1.metrics.k8s.io"),
	thing("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "widgets.tenant.example.com"),
	thing("storage.k8s.io/v1", "StorageClass", "", "tenant-fast"), thing("v1", "PersistentVolume", "", "tenant-data"),
	thing("scheduling.k8s.io/v1", "PriorityClass", "", "castai-critical"), thing("v1", "Namespace", "", "neighbour"),
	thing("v1", "Secret", "neighbour", "castai-live"), thing("v1", "ServiceAccount", "neighbour", "castai-agent"),
	deployment("neighbour", "web", "registry.example.com/web:1"), thing(rbacV1, "Role", "kube-system", "tenant-reader"),
	deployment("kube-system", "metrics-server", "registry.k8s.io/metrics-server/metrics-server:v0.7.2"),
	thing("v1", "Node", "", "worker-2"),
}, "")

// mine is what is Cast AI's in the stages with the agent.
var mine = role("castai-agent") + binding("castai-agent", "castai-agent") +
	thing("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", "", "castai-pod-mutator") +
	thing("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "podmutations.pod-mutations.cast.ai") +
	thing(rbacV1, "Role", "kube-system", "castai-agent")

// record is a forged record that claims objects by its manifest and by its hooks.
func record(namespace, chart, name string, revision int, claimed string) func(*testing.T, *scene) {
	return func(t *testing.T, s *scene) {
		t.Helper()
		var hooks []map[string]string
		for _, doc := range documents.Split(claimed, -1) {
			if strings.TrimSpace(doc) != "" {
				hooks = append(hooks, map[string]string{"path": chart + "/templates/x.yaml", "manifest": doc})
			}
		}
		u := clustertest.Object("v1", "Secret", namespace, fmt.Sprintf("sh.helm.release.v1.%s.v%d", name, revision))
		u.SetLabels(map[string]string{"owner": "helm", "name": name, "version": fmt.Sprint(revision), "status": "deployed"})
		s.objects = append(s.objects, u)
		manifest := deployment(namespace, "castai-agent", agentImage) + claimed
		s.sealed(u, releaseJSON(t, name, namespace, chart, "1.0.0", manifest, hooks))
	}
}

// nearby is something labelled as Cast AI's, so that records beside it are read.
func nearby(namespace string) string {
	return thing("v1", "ConfigMap", namespace, "x", "labels: {helm.sh/chart: castai-agent-0.153.2}")
}

func all(parts ...func(*testing.T, *scene)) func(*testing.T, *scene) {
	return func(t *testing.T, s *scene) {
		t.Helper()
		for _, p := range parts {
			p(t, s)
		}
	}
}

func objects(parts ...string) func(*testing.T, *scene) {
	return func(t *testing.T, s *scene) {
		t.Helper()
		s.yaml(t, strings.Join(parts, "\n"))
	}
}

// node is what a kubelet registers with.
func node(labels, spec string) func(*testing.T, *scene) {
	return objects(thing("v1", "Node", "", "worker-1", "labels: {"+labels+"}") + "spec: {" + spec + "}\n")
}

// copied is the Deployment of castai-agent, in the namespace shop, which runs as
// an account of the tenant's.
func copied(account string) string {
	agent := deployment("shop", "castai-agent", agentImage)
	return strings.ReplaceAll(agent, "serviceAccountName: castai-agent", "serviceAccountName: "+account) +
		thing("v1", "ServiceAccount", "shop", account)
}

// named is that Deployment with the id of another cluster.
func named() string {
	env := "env: [{name: CLUSTER_ID, value: " + otherCluster + "}, {name: API_URL, value: x.example.com}], image:"
	return strings.ReplaceAll(copied("castai-agent"), "image:", env)
}

// service selects the pods of a copied Deployment.
func service(name string) string {
	return thing("v1", "Service", "shop", name) + "spec: {selector: {app: castai-agent}}\n"
}

// bounds are what an administrator sets a tenant, who may not write it.
func bounds(namespace string) string {
	return thing("v1", "ResourceQuota", namespace, "limits") + thing("v1", "LimitRange", namespace, "limits")
}

const (
	agentLabel = "labels: {helm.sh/chart: castai-agent-0.153.2}"
	pausing    = "annotations: {castai.kubectl.dev/hibernation: pausing}"
	roleOwner  = "ownerReferences: [{apiVersion: " + rbacV1 + ", kind: ClusterRole, name: castai-agent, " +
		"uid: ClusterRole.rbac.authorization.k8s.io/castai-agent}]"
)

// attacks are those that were seen to work, or that look as if they might.
func attacks() []attack {
	forged := func(chart, name, claimed string) func(*testing.T, *scene) {
		return all(objects(nearby("shop")), record("shop", chart, name, 1, claimed))
	}
	within := func(chart, name string, revision int) func(*testing.T, *scene) {
		return record("castai-agent", chart, name, revision, others+bounds("castai-agent"))
	}
	out := []attack{
		{"a record with hooks", everyTenant, forged("castai-agent", "castai-agent", others)},
		{"a record in an empty cluster", emptyTenant, forged("castai-agent", "platform", others)},
		{"a newer record of castai-agent's own release", insideAgent, within("castai-agent", "castai-agent", 99)},
		{"a record in castai-agent, which is empty", emptyAgent, within("castai-agent", "castai-agent", 1)},
		{"a record that makes Cast AI's foreign", everyTenant, forged("acme", "acme", mine)},
		{"such a record in castai-agent", insideAgent, record("castai-agent", "acme", "castai-agent", 99, mine)},
		{"a record of a foreign Liqo", wholeTenant, forged("liqo", "liqo", mine)},
		{"a foreign Liqo", wholeTenant, objects(deployment("shop", "liqo-controller-manager",
			"ghcr.io/liqotech/liqo-controller-manager:v1"))},
		{"a Liqo of Cast AI's beside a user's", "a user's own Liqo, a tenant", objects(deployment("shop",
			"liqo-controller-manager", "us-docker.pkg.dev/castai-hub/library/liqo/liqo-controller-manager:v1"))},
		{"a copied Deployment", everyTenant, objects(copied("castai-agent"))},
		{"a copied Deployment in an empty cluster", emptyTenant, objects(copied("castai-agent"))},
		{"a copied Deployment with another account", emptyTenant, objects(copied("robot"), service("robot"))},
		{"a copied Service", emptyTenant, objects(copied("castai-pod-mutator"), service("castai-pod-mutator"),
			service("castai-agent"))},
		{"binding Cast AI's role", everyTenant, objects(roleBinding("shop", "x", "ClusterRole", "castai-agent", "User:eve"))},
		{"binding a user's role to Cast AI's account", insideAgent, objects(roleBinding("castai-agent", "x",
			"ClusterRole", "pod-reader", "ServiceAccount:castai-agent/castai-agent"))},
		{"a binding of the agent's name", everyTenant, objects(roleBinding("shop", "castai-agent", "ClusterRole", "view",
			"ServiceAccount:castai-agent/castai-agent"))},
		{"an account that others bind", insideAgent, objects(thing("v1", "ServiceAccount", "castai-agent", "robot",
			helmMarks("castai-agent", "castai-agent"), agentLabel))},
		{"a paused cluster", everyTenant, objects(thing("v1", "ConfigMap", "shop", "castai-hibernate-state", pausing))},
		{"a paused cluster without Cast AI", emptyTenant, objects(thing("v1", "ConfigMap", "shop",
			"castai-hibernate-state", pausing))},
		{"another cluster's id", emptyTenant, objects(named())},
		{"another cluster's id beside this", everyTenant, objects(named())},
		{"another cluster's id in a ConfigMap", everyTenant, objects(copied("castai-agent"), thing("v1", "ConfigMap",
			"shop", "castai-agent-metadata", agentLabel)+"data: {CLUSTER_ID: "+otherCluster+"}\n")},
		{"owned by a role of Cast AI's", everyTenant, objects(thing("v1", "ConfigMap", "shop", "x", roleOwner))},
		{"a virtual node", wholeKubelet, node("liqo.io/type: virtual-node", "")},
		{"a virtual node by its provider", emptyKubelet, node("", "providerID: castai-omni://x")},
		{"a virtual node by both", everyKubelet, node("liqo.io/type: virtual-node", "providerID: castai-omni://x")},
		{"the id of another cluster's node", emptyKubelet,
			node("provisioner.cast.ai/node-id: 8f2a7c1e-0001-4000-8000-000000000001", "")},
		{"the machine of another cluster's node", emptyKubelet, node("", `providerID: "aws:///eu-central-1a/i-0another"`)},
		{"the resource group of another cluster", emptyKubelet, node("", `providerID: "azure:///subscriptions/`+
			`another-subscription/resourceGroups/MC_another/providers/x"`)},
		{"the taint of a paused cluster", everyKubelet, node(`scheduling.cast.ai/paused-cluster: "true"`,
			"taints: [{key: scheduling.cast.ai/paused-cluster, effect: NoSchedule}]")},
	}
	out = append(out, moreAttacks()...)
	for _, chart := range []string{
		"temporal", "oci-csi-driver", "egressd", "metrics-server", "castai", "castai-umbrella", "omni-agent",
		"castai-anything",
	} {
		out = append(out,
			attack{"a record of chart " + chart, everyTenant, forged(chart, "castai", others)},
			attack{"a record of chart " + chart + " in castai-agent", insideAgent, within(chart, "castai", 1)})
	}
	return out
}

// sealed adds what a record holds.
func (s *scene) sealed(u *unstructured.Unstructured, data []byte) {
	alone := (&scene{}).record(u.GetNamespace(), u.GetLabels()["name"], data).records[0]
	alone.Ref.Name = u.GetName()
	s.records = append(s.records, alone)
}

// TestAttacks lets tenants and kubelets write what has been thought of: nothing
// is decided differently about anything that is not theirs.
func TestAttacks(t *testing.T) {
	byName := map[string]*stage{}
	for _, st := range stages(t) {
		byName[st.name] = st
	}
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			st := byName[a.stage]
			if st == nil {
				t.Fatalf("there is no stage %q", a.stage)
			}
			s := &scene{}
			a.write(t, s)
			var writes []write
			for _, u := range s.objects {
				w := write{object: u}
				for _, r := range s.records {
					if r.Ref == w.ref() {
						w.record = r.Data
					}
				}
				if !st.theirs(w.ref()) {
					t.Fatalf("%s is not the attacker's to write", w.ref())
				}
				writes = append(writes, w)
			}
			if diff := st.interference(t, writes); len(diff) > 0 {
				t.Errorf("on %q, this changes:\n%s", st.name, strings.Join(diff, "\n"))
			}
		})
	}
}
