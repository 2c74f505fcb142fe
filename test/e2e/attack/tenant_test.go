package attack

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/test/compare"
	"github.com/castai/kubectl-castai/test/fixtures"
)

func itoa(n int) string { return strconv.Itoa(n) }

const (
	agentImage   = "us-docker.pkg.dev/castai-hub/library/agent:v0.123.1"
	otherCluster = "8f2a7c1e-6b0d-4d55-9a6e-3f0c6d5b7a11"
)

// others are the objects of others that a forged record claims: those around the
// namespace TENANT, and those of the neighbours.
var others = func() string {
	var b strings.Builder
	for _, o := range [][4]string{
		{
			"rbac.authorization.k8s.io/v1", "ClusterRole", "", "TENANT-deployer",
		}, {"rbac.authorization.k8s.io/v1", "ClusterRole", "", "pod-reader"},
		{
			"rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "", "TENANT-deployer",
		}, {"scheduling.k8s.io/v1", "PriorityClass", "", "castai-critical"},
		{"admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "", "TENANT-policies"},
		{"admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", "", "TENANT-images"},
		{
			"apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "widgets.example.com",
		}, {"v1", "PersistentVolume", "", "TENANT-data"},
		{"v1", "Namespace", "", "neighbour"}, {"v1", "Secret", "neighbour", "castai-live"}, {
			"v1", "ServiceAccount", "neighbour", "castai-agent",
		},
		{
			"rbac.authorization.k8s.io/v1", "RoleBinding", "neighbour", "TENANT-may-edit",
		}, {"v1", "ResourceQuota", "TENANT", "limits"},
		{"v1", "LimitRange", "TENANT", "limits"}, {
			"rbac.authorization.k8s.io/v1", "Role", "kube-system", "TENANT-reader",
		}, {"v1", "Node", "", "node-1"},
	} {
		fmt.Fprintf(&b, "---\napiVersion: %s\nkind: %s\nmetadata: {name: %s, namespace: %q}\n", o[0], o[1], o[3], o[2])
	}
	return b.String()
}()

// mine are objects of Cast AI's that a forged record claims for somebody else.
const mine = `---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: castai-agent}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: castai-agent}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: castai-pod-mutator}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: podmutations.pod-mutations.cast.ai}
`

// nearby is something labelled as Cast AI's, so that the records beside it are read.
const nearby = `---
apiVersion: v1
kind: ConfigMap
metadata: {name: x, namespace: TENANT, labels: {helm.sh/chart: castai-agent-0.153.2}}
`

// copied is a Deployment as Cast AI's chart makes it, which runs as an account that
// bindings of others name.
const copied = `---
apiVersion: v1
kind: ServiceAccount
metadata: {name: castai-agent, namespace: TENANT, labels: {app.kubernetes.io/name: castai-agent, helm.sh/chart: castai-agent-0.153.2}}
---
apiVersion: v1
kind: Service
metadata: {name: castai-agent, namespace: TENANT, labels: {app.kubernetes.io/name: castai-agent}}
spec: {selector: {app: castai-agent}, ports: [{port: 443}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: castai-agent, namespace: TENANT, labels: {app.kubernetes.io/name: castai-agent, helm.sh/chart: castai-agent-0.153.2}}
spec:
  replicas: 0
  selector: {matchLabels: {app: castai-agent}}
  template:
    metadata: {labels: {app: castai-agent}}
    spec:
      serviceAccountName: castai-agent
      containers:
      - name: agent
        image: ` + agentImage + `
        env: [{name: STATIC_CLUSTER_ID, value: ` + otherCluster + `}, {name: API_URL, value: "https://api.example.com"}]
`

// attack is what the administrator of a namespace writes, with TENANT for its name.
type attack struct {
	namespace string
	write     func(t *testing.T, namespace string) string
}

// in puts a namespace in the place of TENANT.
func in(namespace string, parts ...string) string {
	return strings.ReplaceAll(strings.Join(parts, ""), "TENANT", namespace)
}

func manifest(parts ...string) func(*testing.T, string) string {
	return func(_ *testing.T, namespace string) string { return in(namespace, parts...) }
}

// forged is a record that claims objects by its manifest and by its hooks.
func forged(chart, name string, revision int, claimed string) func(*testing.T, string) string {
	return func(t *testing.T, namespace string) string {
		t.Helper()
		claimed := in(namespace, claimed)
		hooks := strings.Split(strings.TrimPrefix(claimed, "---\n"), "---\n")
		return in(namespace, nearby) + record(t, namespace, chart, name, revision, claimed+in(namespace, copied), hooks...)
	}
}

// attacks are those of tenants who have nothing to do with Cast AI.
func attacks() []attack {
	out := []attack{
		{"copies", manifest(copied)},
		{"steals", forged("acme", "acme", 1, mine)},
		{"sleeps", manifest(`---
apiVersion: v1
kind: ConfigMap
metadata: {name: castai-hibernate-state, namespace: TENANT, annotations: {castai.kubectl.dev/hibernation: pausing}}
data: {journal: "{}"}
`)},
		{"names", manifest(copied, `---
apiVersion: v1
kind: ConfigMap
metadata: {name: castai-agent-metadata, namespace: TENANT, labels: {helm.sh/chart: castai-agent-0.153.2}}
data: {CLUSTER_ID: `+otherCluster+`, API_URL: "https://api.example.com"}
`)},
		{"liqo", manifest(strings.NewReplacer("castai-agent", "liqo-controller-manager", agentImage,
			"us-docker.pkg.dev/castai-hub/library/liqo/liqo-controller-manager:v1.2.0").Replace(copied))},
		{"upstream", manifest(strings.NewReplacer("castai-agent", "liqo-controller-manager", agentImage,
			"ghcr.io/liqotech/liqo-controller-manager:v1").Replace(copied))},
		{"claims", manifest(`---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data-castai-agent-0, namespace: TENANT}
spec: {storageClassName: liqo, volumeName: TENANT-data, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: castai-agent, namespace: TENANT, labels: {helm.sh/chart: castai-agent-0.153.2}}
spec:
  replicas: 0
  serviceName: castai-agent
  selector: {matchLabels: {app: castai-agent}}
  template:
    metadata: {labels: {app: castai-agent}}
    spec: {containers: [{name: agent, image: ` + agentImage + `}]}
`)},
		{"binds", manifest(`---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: x, namespace: TENANT}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: pod-reader}
subjects: [{kind: ServiceAccount, name: castai-agent, namespace: castai-agent}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: castai-agent, namespace: TENANT, labels: {helm.sh/chart: castai-agent-0.153.2}}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: ServiceAccount, name: castai-agent, namespace: TENANT}]
`)},
	}
	for i, chart := range []string{
		"castai-agent", "castai", "temporal", "oci-csi-driver", "egressd", "omni-agent", "castai-anything",
		"castware-operator",
	} {
		out = append(out, attack{"forges-" + itoa(i), forged(chart, "platform", 1, others)})
	}
	return out
}

// Tenants who have nothing to do with Cast AI write what they can: whatever the
// plugin decides is decided without them, and an offboarding leaves all of it alone.
// They act in two groups, so that those of one may not decide about what is in the
// namespaces of the other either.
func TestTenants(t *testing.T) {
	takeOut(t)
	list := attacks()
	var namespaces []string
	for _, i := range sample(t, 6, len(list)) {
		namespaces = append(namespaces, list[i].namespace)
	}
	people := tenants(t, namespaces...)
	before := server.Snapshot(t)
	server.Install(t, fixtures.Small)
	owned, err := fixtures.OwnedRefs(fixtures.Small)
	check(t, err)
	calm := decisions(t)
	for group := range slices.Chunk(namespaces, (len(namespaces)+1)/2) {
		t.Run(strings.Join(group, " "), func(t *testing.T) {
			for _, a := range list {
				if slices.Contains(group, a.namespace) {
					people[a.namespace].apply(t, a.write(t, a.namespace))
				}
			}
			now := decisions(t)
			same(t, calm, now, outsideOf(group...))
			calm = now
		})
	}
	installed := server.Settled(t)
	admin.Expect(t, 4, "verify")
	r := admin.Expect(
		t, 0, append([]string{"offboard", "--yes", "--backup-dir=" + filepath.Join(t.TempDir(), "saved")}, quick...)...,
	)
	untouched(t, compare.Offboarding(before, installed, server.Settled(t), owned))
	// A tenant may run what Cast AI publishes: that is named, and nothing is called clean then.
	if !strings.Contains(r.Stdout, "Clean: nothing of Cast AI's is in") &&
		!strings.Contains(r.Stdout, "Nothing is proven to be Cast AI's in") {
		t.Errorf("it does not say that nothing of Cast AI's is left: %s", r)
	}
	admin.Expect(t, 0, "verify")
}

// untouched fails the test for what of Cast AI's is left and what of others was touched.
func untouched(t *testing.T, r compare.Result) {
	t.Helper()
	if len(r.Removed) == 0 {
		t.Error("nothing was removed")
	}
	if len(r.Left) > 0 {
		t.Errorf("%d objects are left:\n%s", len(r.Left), strings.Join(r.Left, "\n"))
	}
	if len(r.Touched) > 0 {
		t.Errorf("%d objects of others were touched:\n%s", len(r.Touched), strings.Join(r.Touched, "\n"))
	}
	t.Logf("%d removed, %d of others untouched", len(r.Removed), r.Untouched)
}
