// Package attack lets people who hold rights in one place only, and the kubelet
// of a node, act against a real control plane while an administrator works with
// the built plugin. Nothing outside of that place may come to harm by it.
package attack

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/test/controlplane"
	"github.com/castai/kubectl-castai/test/driver"
)

// The control plane that the tests share, one after the other.
var (
	server *driver.Cluster
	client kubernetes.Interface
	admin  *driver.User
)

func TestMain(m *testing.M) {
	options := driver.Options{
		Bin: "../../../bin", Nodes: []controlplane.Node{{Name: "node-1", ProviderID: "aws:///eu-central-1a/i-01"}},
	}
	os.Exit(driver.Main(m, options, func(ctx context.Context, c *driver.Cluster) (err error) {
		server, admin = c, c.Admin
		if client, err = kubernetes.NewForConfig(c.Config); err != nil {
			return err
		}
		return c.Apply(ctx, neighbours)
	}))
}

// quick keeps the waits of an offboarding short: no controller of Cast AI's is
// there to clean up.
var quick = []string{"--clean-up-timeout=2s", "--settle=1s"}

// neighbours are others, and what the tenants' administrator has made for all.
const neighbours = `
apiVersion: v1
kind: Namespace
metadata: {name: neighbour}
---
apiVersion: v1
kind: Namespace
metadata: {name: people}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
---
apiVersion: v1
kind: Secret
metadata: {name: castai-live, namespace: neighbour, annotations: {helm.sh/hook: pre-install}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: castai-agent, namespace: neighbour}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: pod-reader}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: castai-critical}
value: 7
`

// surroundings are what the administrator has made for the namespace TENANT: all of
// it leads to something in there, or stands in there, and none may be written with
// rights in it.
const surroundings = `
apiVersion: v1
kind: Namespace
metadata: {name: TENANT}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: TENANT, namespace: people}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: tenant-admin, namespace: TENANT}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}
subjects: [{kind: ServiceAccount, name: TENANT, namespace: people}]
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: limits, namespace: TENANT}
spec: {hard: {count/jobs.batch: "100"}}
---
apiVersion: v1
kind: LimitRange
metadata: {name: limits, namespace: TENANT}
spec: {limits: []}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: TENANT-deployer, labels: {rbac.authorization.k8s.io/aggregate-to-view: "true"}}
rules: [{apiGroups: [example.com], resources: [widgets], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: TENANT-deployer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: TENANT-deployer}
subjects:
- {kind: ServiceAccount, name: castai-agent, namespace: TENANT}
- {kind: ServiceAccount, name: robot, namespace: TENANT}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: TENANT-may-edit, namespace: neighbour}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}
subjects: [{kind: ServiceAccount, name: castai-agent, namespace: TENANT}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: TENANT-reader, namespace: kube-system}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: TENANT-reader, namespace: kube-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: TENANT-reader}
subjects: [{kind: ServiceAccount, name: castai-agent, namespace: TENANT}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: TENANT-policies, annotations: {helm.sh/hook: post-install}}
webhooks:
- name: policies.example.com
  clientConfig: {service: {namespace: TENANT, name: castai-agent}}
  rules: [{apiGroups: [nothing.example.com], apiVersions: [v1], operations: [CREATE], resources: [nothings]}]
  sideEffects: None
  admissionReviewVersions: [v1]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: TENANT-images
  annotations: {meta.helm.sh/release-name: platform, meta.helm.sh/release-namespace: TENANT}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [nothing.example.com], apiVersions: [v1], operations: [CREATE], resources: [nothings]}]}
  validations: [{expression: "true"}]
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: TENANT-data}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Delete
  storageClassName: liqo
  claimRef: {namespace: TENANT, name: data-castai-agent-0}
  hostPath: {path: /tmp}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: mine, namespace: TENANT}
`

// person is somebody who acts with kubectl.
type person struct{ *driver.User }

// tenants makes namespaces and returns their administrators, who have no other
// rights: ServiceAccounts that present their tokens.
func tenants(t *testing.T, namespaces ...string) map[string]person {
	t.Helper()
	var all strings.Builder
	for _, namespace := range namespaces {
		all.WriteString("---" + strings.ReplaceAll(surroundings, "TENANT", namespace))
	}
	file := filepath.Join(t.TempDir(), "surroundings.yaml")
	check(t, os.WriteFile(file, []byte(all.String()), 0o600))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if out, err := server.Kubectl(ctx, "delete", "-f", file, "--ignore-not-found", "--wait=false"); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		// A namespace that is still on its way out would be in the way of other tests.
		args := []string{"wait", "--for=delete", "--timeout=100s"}
		for _, namespace := range namespaces {
			args = append(args, "namespace/"+namespace)
		}
		if out, err := server.Kubectl(ctx, args...); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	check(t, server.Apply(t.Context(), all.String()))
	out := map[string]person{}
	for _, namespace := range namespaces {
		token, err := client.CoreV1().ServiceAccounts("people").CreateToken(
			t.Context(), namespace, &authenticationv1.TokenRequest{}, metav1.CreateOptions{},
		)
		check(t, err)
		path := filepath.Join(t.TempDir(), "kubeconfig")
		endpoint := &clientcmdapi.Cluster{Server: server.URL(), CertificateAuthorityData: server.Config.CAData}
		check(t, driver.WriteKubeconfig(path, endpoint, &clientcmdapi.AuthInfo{Token: token.Status.Token}))
		out[namespace] = person{admin.Kubeconfig(path)}
	}
	return out
}

// tenant is tenants with one of them.
func tenant(t *testing.T, namespace string) person {
	t.Helper()
	return tenants(t, namespace)[namespace]
}

// chance is what the environment's SEED decides, 1 by default, so that a run can be
// repeated.
func chance(t *testing.T) *rand.Rand {
	t.Helper()
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("SEED"), "1"), 10, 64)
	check(t, err)
	t.Logf("SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // not a secret
}

// sample returns which of so many cases to try: few of them, or all with ATTACK=all.
func sample(t *testing.T, few, there int) []int {
	t.Helper()
	all := chance(t).Perm(there)
	if os.Getenv("ATTACK") != "all" {
		all = all[:few]
	}
	t.Logf("%d of %d cases", len(all), there)
	return all
}

// kubelet returns the identity of a node.
func kubelet(t *testing.T, node string) person {
	t.Helper()
	path, err := server.User("system:node:"+node, "system:nodes")
	check(t, err)
	content, err := os.ReadFile(path)
	check(t, err)
	// KUBECONFIG is a list, and the name of that file has a colon.
	path = filepath.Join(t.TempDir(), "kubeconfig")
	check(t, os.WriteFile(path, content, 0o600)) //nolint:gosec // a folder of the test
	return person{admin.Kubeconfig(path)}
}

// apply writes objects, and fails the test if the person may not.
func (p person) apply(t *testing.T, manifest string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "manifest.yaml")
	check(t, os.WriteFile(file, []byte(manifest), 0o600))
	if r := p.kubectl(t, "create", "--save-config=false", "-f", file); r.Code != 0 {
		t.Fatalf("the attack is not possible: %s", r)
	}
}

// kubectl runs kubectl, however it ends.
func (p person) kubectl(t *testing.T, args ...string) driver.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := p.Kubectl(ctx, args...)
	check(t, err)
	return r
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// remove deletes an object after a test.
func remove(t *testing.T, kind, name string, more ...string) {
	t.Helper()
	args := append([]string{"delete", kind, name, "--ignore-not-found"}, more...)
	if out, err := server.Kubectl(context.Background(), args...); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// decisions are what the plugin says of every object, and of the cluster.
func decisions(t *testing.T) map[decision]bool {
	t.Helper()
	var inv printer.Inventory
	admin.Expect(t, 0, "status", "-o", "json").Document(t, &inv)
	out := map[decision]bool{}
	for _, o := range inv.Owned {
		out[decision{o.Ref, "is owned by " + o.Component}] = true
	}
	for _, o := range inv.Unclear {
		out[decision{o.Ref, "is unclear"}] = true
	}
	for _, b := range inv.Blockers {
		out[decision{what: "blocked by " + b.Name}] = true
	}
	out[decision{what: "the cluster is " + inv.CastAI.ClusterID + " of " + inv.CastAI.APIURL}] = true
	var plan printer.Plan
	admin.Expect(t, 0, "offboard", "--dry-run=client", "-o", "json").Document(t, &plan)
	for _, phase := range plan.Phases {
		for _, a := range phase.Actions {
			out[decision{a.Target.Ref, "is in " + phase.Name + " of the plan"}] = true
		}
	}
	return out
}

// decision is one thing that the plugin says, of an object or of the cluster.
type decision struct {
	object cluster.Ref
	what   string
}

// same fails the test for every decision that differs, of what is outside of a
// place. Pods come and go with nodes.
func same(t *testing.T, before, after map[decision]bool, outside func(cluster.Ref) bool) {
	t.Helper()
	for d := range after {
		if !before[d] && d.object.Kind != "Pod" && outside(d.object) {
			t.Errorf("this is new: %s %s", d.object, d.what)
		}
	}
	for d := range before {
		if !after[d] && d.object.Kind != "Pod" && outside(d.object) {
			t.Errorf("this is no longer so: %s %s", d.object, d.what)
		}
	}
}

// takeOut leaves nothing of Cast AI's, however a test has ended.
func takeOut(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		args := append([]string{"offboard", "--yes", "--no-backup", "--accept=hibernation", "--accept=data",
			"--accept=gitops"}, quick...)
		if r, err := admin.Castai(ctx, args...); err != nil || r.Code != 0 && r.Code != 4 {
			t.Errorf("the cluster can't be cleaned: %v, %s", err, r)
		}
	})
}

// outsideOf is true for what is not in some namespaces, and not one of them itself.
func outsideOf(namespaces ...string) func(cluster.Ref) bool {
	return func(r cluster.Ref) bool {
		return !slices.Contains(namespaces, r.Namespace) && !(r.Kind == "Namespace" && slices.Contains(namespaces, r.Name))
	}
}

// record is a Secret in which Helm keeps a release: a forged one.
func record(t *testing.T, namespace, chart, name string, revision int, manifest string, hooks ...string) string {
	t.Helper()
	var list []map[string]any
	for _, h := range hooks {
		list = append(list, map[string]any{"path": chart + "/templates/x.yaml", "manifest": h})
	}
	doc, err := json.Marshal(map[string]any{
		"name": name, "namespace": namespace, "version": revision, "manifest": manifest, "hooks": list,
		"info":  map[string]any{"status": "deployed"},
		"chart": map[string]any{"metadata": map[string]any{"name": chart, "version": "1.0.0", "home": "https://cast.ai"}},
	})
	check(t, err)
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err = w.Write(doc)
	check(t, err)
	check(t, w.Close())
	secret, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
		"metadata": map[string]any{
			"name": "sh.helm.release.v1." + name + ".v" + itoa(revision), "namespace": namespace,
			"labels": map[string]string{"owner": "helm", "name": name, "version": itoa(revision), "status": "deployed"},
		},
		"stringData": map[string]string{"release": base64.StdEncoding.EncodeToString(packed.Bytes())},
	})
	check(t, err)
	return "---\n" + string(secret) + "\n"
}
