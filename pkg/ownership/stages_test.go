package ownership_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/internal/console"
)

// surroundings are what an administrator has made for the namespace TENANT: all
// of it leads to something in there, or stands in there, and none of it may be
// written with rights in it.
const surroundings = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: tenant-deployer}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: tenant-platform
  annotations: {meta.helm.sh/release-name: platform, meta.helm.sh/release-namespace: TENANT}
  labels: {app.kubernetes.io/managed-by: Helm}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: castai-costs
  annotations: {helm.sh/hook: pre-install}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: tenant-deployer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tenant-deployer}
subjects:
- {kind: ServiceAccount, namespace: TENANT, name: castai-agent}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: castai-costs}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: castai-costs}
subjects:
- {kind: ServiceAccount, namespace: TENANT, name: castai-cluster-controller}
- {kind: ServiceAccount, namespace: TENANT, name: robot}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: tenant-may-edit, namespace: neighbour}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}
subjects:
- {kind: ServiceAccount, namespace: TENANT, name: castai-agent}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: tenant-reader, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: tenant-reader, namespace: kube-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: tenant-reader}
subjects:
- {kind: ServiceAccount, namespace: TENANT, name: castai-evictor}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: tenant-policies}
webhooks:
- name: policies.example.com
  clientConfig: {service: {namespace: TENANT, name: castai-pod-mutator}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata:
  name: tenant-defaults
  annotations: {helm.sh/hook: post-install}
webhooks:
- name: defaults.example.com
  clientConfig: {service: {namespace: TENANT, name: robot}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: tenant-images
  annotations: {meta.helm.sh/release-name: castai-agent, meta.helm.sh/release-namespace: TENANT}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: tenant-images}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.custom.metrics.k8s.io}
spec: {group: custom.metrics.k8s.io, version: v1beta1, service: {namespace: TENANT, name: castai-agent}}
status: {conditions: [{type: Available, status: "False", reason: MissingEndpoints, message: nothing answers}]}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: widgets.tenant.example.com
  finalizers: [castware.cast.ai/cleanup-helm]
  annotations: {meta.helm.sh/release-name: platform, meta.helm.sh/release-namespace: TENANT}
spec:
  group: tenant.example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets}
---
apiVersion: tenant.example.com/v1
kind: Widget
metadata: {name: mine, namespace: TENANT}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: tenant-fast
  annotations: {meta.helm.sh/release-name: platform, meta.helm.sh/release-namespace: TENANT}
provisioner: ebs.csi.aws.com
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: tenant-data}
spec:
  persistentVolumeReclaimPolicy: Delete
  storageClassName: liqo
  claimRef: {namespace: TENANT, name: data-castai-agent-0}
---
apiVersion: security.openshift.io/v1
kind: SecurityContextConstraints
metadata: {name: tenant-scc}
users: ["system:serviceaccount:TENANT:castai-agent"]
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: limits, namespace: TENANT}
---
apiVersion: v1
kind: LimitRange
metadata:
  name: limits
  namespace: TENANT
  annotations: {meta.helm.sh/release-name: castai-agent, meta.helm.sh/release-namespace: TENANT}
`

// neighbours are others in every cluster.
const neighbours = `
apiVersion: v1
kind: Node
metadata: {name: worker-1, labels: {kubernetes.io/hostname: worker-1, node.kubernetes.io/instance-type: m7g.large}}
spec: {providerID: "aws:///eu-central-1a/i-01"}
---
apiVersion: v1
kind: Node
metadata: {name: worker-2, labels: {kubernetes.io/hostname: worker-2}}
spec: {providerID: "aws:///eu-central-1a/i-02", unschedulable: true}
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: worker-2, namespace: kube-node-lease}
spec: {holderIdentity: worker-2}
---
apiVersion: v1
kind: Namespace
metadata: {name: egressd}
---
apiVersion: v1
kind: Namespace
metadata: {name: stuck, deletionTimestamp: "2026-01-01T00:00:00Z"}
spec: {finalizers: [kubernetes]}
status: {phase: Terminating}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: held
  namespace: stuck
  finalizers: [castware.cast.ai/cleanup-helm, example.com/hold]
  deletionTimestamp: "2026-01-01T00:00:00Z"
---
apiVersion: v1
kind: Namespace
metadata: {name: omni-channel, labels: {team: channel}}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: neighbour
  finalizers: [workloads.cast.ai/tsc-original]
  annotations: {meta.helm.sh/release-name: castai-agent, meta.helm.sh/release-namespace: neighbour}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      tolerations: [{key: scheduling.cast.ai/paused-cluster, operator: Exists}]
      containers: [{name: main, image: registry.example.com/web:1}]
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
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: castai-readonly-for-sre, labels: {app.kubernetes.io/name: castai-agent}}
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: castai-critical}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: metrics-server, namespace: kube-system, labels: {app.kubernetes.io/name: metrics-server}}
spec:
  selector: {matchLabels: {app: metrics-server}}
  template:
    metadata: {labels: {app: metrics-server}}
    spec:
      serviceAccountName: metrics-server
      containers: [{name: main, image: registry.k8s.io/metrics-server/metrics-server:v0.7.2}]
---
apiVersion: v1
kind: Service
metadata: {name: metrics-server, namespace: kube-system}
spec: {selector: {app: metrics-server}}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.metrics.k8s.io}
spec: {group: metrics.k8s.io, version: v1beta1, service: {namespace: kube-system, name: metrics-server}}
`

const (
	thisCluster  = "2f1e4c1a-6b0d-4d55-9a6e-3f0c6d5b7a10"
	otherCluster = "8f2a7c1e-6b0d-4d55-9a6e-3f0c6d5b7a11"
	kubeSystem   = "0b5a7e4e-0000-4000-8000-000000000001"
)

// consoles are clusters at the console: this one, known by the UID of kube-system,
// and others, of which none of the machines is here.
func consoles() []*console.State {
	node := castai.Node{Id: "8f2a7c1e-0001-4000-8000-000000000001", Name: "node-of-another-cluster"}
	node.ProviderId, node.InstanceId = "aws:///eu-central-1a/i-0another", "i-0another"
	this := castai.Cluster{Id: thisCluster, Name: "this", Status: "ready", CredentialsId: "x"}
	this.Anywhere.KubeSystemNamespaceId = kubeSystem
	other := castai.Cluster{Id: otherCluster, Name: "another", Status: "ready", CredentialsId: "x"}
	azure := other
	azure.Name = "another-in-azure"
	azure.Aks.SubscriptionId, azure.Aks.NodeResourceGroup = "another-subscription", "MC_another"
	eks := other
	eks.Name = "another-in-ohio"
	eks.Eks.Region = "us-east-2"
	var out []*console.State
	for _, c := range []castai.Cluster{this, other, azure, eks} {
		out = append(out, &console.State{API: "https://api.cast.ai", ID: c.Id, Cluster: c, Nodes: []castai.Node{node}})
	}
	return out
}

// stages are the clusters that are attacked, and from where.
func stages(t testing.TB) []*stage {
	t.Helper()
	all := castAI(t)
	empty := &scene{}
	guests := all.clone().files(t, fixtures+"/guests/*.yaml").files(t, fixtures+"/foreign/*.yaml").
		files(t, fixtures+"/users/*.yaml").files(t, fixtures+"/unclear/*.yaml")
	elsewhere := (&scene{}).install(t, "charts/castai-agent", install{"costs", "platform", true}).
		install(t, "charts/castai-pod-mutator", install{"costs-mutator", "platform", true})
	applied := (&scene{}).install(t, "charts/castai-agent", install{"castai-agent", "castai-agent", false}).
		install(t, "charts/castai-pod-mutator", install{"castai-pod-mutator", "castai-agent", false}).
		install(t, "charts/castai-evictor", install{"castai-evictor", "castai-agent", false})
	liqo := (&scene{}).install(t, "others/liqo", install{"liqo", "liqo", true})
	left := leftovers(small(t))
	out := []*stage{
		newStage(t, "an empty cluster, a tenant", empty, "shop", "", false),
		newStage(t, "an empty cluster, the tenant of castai-agent", empty, "castai-agent", "", true),
		newStage(t, "an empty cluster, a kubelet", empty, "", "worker-1", false),
		newStage(t, "the agent and the mutator, a tenant", small(t), "shop", "", false),
		newStage(t, "the agent and the mutator, a tenant of omni-channel", small(t), "omni-channel", "", false),
		newStage(t, "the agent and the mutator, the tenant of castai-agent", small(t), "castai-agent", "", true),
		newStage(t, "the agent and the mutator, who made castai-logs", small(t), "castai-logs", "", true),
		newStage(t, "the agent and the mutator, a kubelet", small(t), "", "worker-1", false),
		newStage(t, "only what is cluster-wide is left, a tenant", left, "shop", "", false),
		newStage(t, "only what is cluster-wide is left, the tenant of castai-agent", left, "castai-agent", "", true),
		newStage(t, "elsewhere, a tenant", elsewhere, "shop", "", false),
		newStage(t, "elsewhere, the tenant of that namespace", elsewhere, "platform", "", true),
		newStage(t, "elsewhere, the tenant of castai-agent", elsewhere, "castai-agent", "", true),
		newStage(t, "without Helm, a tenant", applied, "shop", "", false),
		newStage(t, "without Helm, the tenant of castai-agent", applied, "castai-agent", "", true),
		newStage(t, "a user's own Liqo, a tenant", liqo, "shop", "", false),
		newStage(t, "a user's own Liqo, its tenant", liqo, "liqo", "", false),
		newStage(t, "a user's own Liqo, a kubelet", liqo, "", "worker-1", false),
		newStage(t, "everything and others, a tenant", guests, "shop", "", false),
		newStage(t, "everything and others, the tenant of castai-agent", guests, "castai-agent", "", true),
		newStage(t, "everything and others, the tenant of castai-omni", guests, "castai-omni", "", true),
		newStage(t, "everything and others, the tenant of omni-edge-1", guests, "omni-edge-1", "", true),
		newStage(t, "everything and others, a kubelet", guests, "", "worker-1", false),
	}
	return append(out, sharedStages(t)...)
}

// leftovers is what is cluster-wide of a scene.
func leftovers(s *scene) *scene {
	out := &scene{}
	for _, u := range s.objects {
		if u.GetNamespace() == "" && u.GetKind() != "Namespace" {
			out.objects = append(out.objects, u)
		}
	}
	return out
}

// rendered is how the first line of an installation names its release and namespace.
var rendered = regexp.MustCompile(`^# rendered: helm template (\S+) .*?-n (\S+)`)

// sharedStages are installations that lie beside the repository, where they are
// there at all.
func sharedStages(t testing.TB) []*stage {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(filepath.Dir(corpus), "installations", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var out []*stage
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		raw := read(t, file)
		m := rendered.FindStringSubmatch(raw)
		if m == nil {
			t.Fatalf("%s does not say how it was rendered", file)
		}
		s := (&scene{}).manifest(t, install{m[1], m[2], true}, raw)
		out = append(
			out, newStage(t, name+", a tenant", s, "shop", "", false),
			newStage(t, name+", a kubelet", s, "", "worker-1", false),
		)
		if m[2] != "kube-system" {
			out = append(out, newStage(t, name+", the tenant of "+m[2], s, m[2], "", true))
		}
	}
	return out
}
