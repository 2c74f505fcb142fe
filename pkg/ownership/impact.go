package ownership

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Impact is what an offboarding means to what stays.
type Impact struct {
	// Nodes that Cast AI made: they stay, and go on costing.
	Nodes Nodes `json:"nodes"`
	// Workloads whose pods can only be placed where Cast AI's labels are.
	Workloads []BoundWorkload `json:"workloads,omitempty"`
	// ResizedPods counts the pods whose requests the workload autoscaler changed:
	// they get their manifest's requests back at their next restart.
	ResizedPods int `json:"resizedPods"`
	// PodMutations that are in force until the webhook goes.
	PodMutations []string `json:"podMutations,omitempty"`
	// Settings are custom resources that users wrote and that go with their kinds.
	Settings []cluster.Ref `json:"settings,omitempty"`
	// Dangling are bindings of others to roles that go: they will grant nothing.
	Dangling []cluster.Ref `json:"danglingBindings,omitempty"`
}

// Nodes counts the nodes that Cast AI made.
type Nodes struct {
	Count         int            `json:"count"`
	Spot          int            `json:"spot,omitempty"`
	InstanceTypes map[string]int `json:"instanceTypes,omitempty"`
}

// BoundWorkload is a workload that needs what Cast AI puts on nodes.
type BoundWorkload struct {
	Object   cluster.Ref `json:"object"`
	Replicas int64       `json:"replicas"`
	// Needs are the node labels that its node selector or required affinity name.
	Needs []string `json:"needs"`
}

// castAINodeKeys are the label domains that Cast AI puts on nodes (DOC
// autoscaler-reference-node-labels-and-taints).
var castAINodeKeys = []string{"scheduling.cast.ai/", "provisioner.cast.ai/", "autoscaling.cast.ai/", "live.cast.ai/", "topology.cast.ai/", "omni.cast.ai/", "charts.cast.ai/"}

func isCastAINodeKey(key string) bool {
	return slices.ContainsFunc(castAINodeKeys, func(p string) bool { return strings.HasPrefix(key, p) })
}

// madeByCastAI tells whether Cast AI provisioned a node: CC internal/types.go:14.
func madeByCastAI(o *cluster.Object) bool {
	return o.Labels["provisioner.cast.ai/managed-by"] == "cast.ai" || o.Labels["provisioner.cast.ai/node-id"] != ""
}

func (w *world) impact() Impact {
	impact := Impact{Nodes: Nodes{InstanceTypes: map[string]int{}}}
	for _, o := range w.byKind["Node"] {
		if w.owned(o) || !madeByCastAI(o) {
			continue
		}
		impact.Nodes.Count++
		if o.Labels["scheduling.cast.ai/spot"] == "true" {
			impact.Nodes.Spot++
		}
		if t := o.Labels["node.kubernetes.io/instance-type"]; t != "" {
			impact.Nodes.InstanceTypes[t]++
		}
	}
	for _, o := range w.byKind["Pod"] {
		if o.Annotations["autoscaling.cast.ai/vertical-recommendation-hash"] != "" && !w.owned(o) {
			impact.ResizedPods++
		}
	}
	for _, o := range w.ownedObjects() {
		if w.cat.Setting(o.Ref()) {
			impact.Settings = append(impact.Settings, o.Ref())
		}
		if o.Ref().GroupKind().String() == "PodMutation.pod-mutations.cast.ai" {
			impact.PodMutations = append(impact.PodMutations, o.Name)
		}
	}
	for _, o := range w.workloads {
		if needs := nodeNeeds(o.spec); len(needs) > 0 && !o.owner && !w.owned(o.Object) {
			replicas, found, err := unstructured.NestedInt64(o.Body, "spec", "replicas")
			if !found || err != nil {
				replicas, _, _ = unstructured.NestedInt64(o.Body, "status", "desiredNumberScheduled")
			}
			impact.Workloads = append(impact.Workloads, BoundWorkload{o.Ref(), replicas, needs})
		}
	}
	for _, o := range w.bindings {
		if !w.owned(o.Object) && w.ownedRef(o.role) {
			impact.Dangling = append(impact.Dangling, o.Ref())
		}
	}
	return impact
}

// nodeNeeds lists Cast AI's node labels without which the pods stay Pending:
// those of the node selector and of the required node affinity.
func nodeNeeds(spec map[string]any) []string {
	seen := map[string]bool{}
	selector, _ := spec["nodeSelector"].(map[string]any)
	for key := range selector {
		if isCastAINodeKey(key) {
			seen[key] = true
		}
	}
	terms, _, err := unstructured.NestedSlice(spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
	if err == nil {
		for _, t := range terms {
			term, _ := t.(map[string]any)
			expressions, _ := term["matchExpressions"].([]any)
			for _, e := range expressions {
				expr, _ := e.(map[string]any)
				key, _ := expr["key"].(string)
				op, _ := expr["operator"].(string)
				if isCastAINodeKey(key) && (op == "In" || op == "Exists" || op == "Gt" || op == "Lt") {
					seen[key] = true
				}
			}
		}
	}
	out := make([]string, 0, len(seen))
	for key := range seen {
		out = append(out, key)
	}
	slices.Sort(out)
	return out
}

// Blocker is a condition under which a person must decide before anything is removed.
type Blocker struct {
	Name    string        `json:"name"` // what --accept takes
	Text    string        `json:"text"`
	Remedy  string        `json:"remedy"`
	Objects []cluster.Ref `json:"objects,omitempty"`
}

// gitOpsMarks are the labels and annotations by which a tool says that it will
// put an object back.
var gitOpsMarks = map[string]string{
	"argocd.argoproj.io/tracking-id":       "Argo CD",
	"argocd.argoproj.io/instance":          "Argo CD",
	"kustomize.toolkit.fluxcd.io/name":     "Flux",
	"helm.toolkit.fluxcd.io/name":          "Flux",
	"configmanagement.gke.io/managed":      "Config Sync",
	"configsync.gke.io/resource-id":        "Config Sync",
	"fleet.cattle.io/bundle-id":            "Fleet",
	"objectset.rio.cattle.io/owner-gvk":    "Fleet",
	"kapp.k14s.io/app":                     "kapp",
	"applyset.kubernetes.io/part-of":       "an ApplySet",
	"pulumi.com/autonamed":                 "Pulumi",
	"app.terraform.io/managed":             "Terraform",
	"terraform.io/managed":                 "Terraform",
	"crossplane.io/external-name":          "Crossplane",
	"addons.cluster.x-k8s.io/resource-set": "Cluster API",
}

// Names of the blockers, which --accept takes.
const (
	blockerGitOps     = "gitops"
	blockerHibernated = "hibernation"
	blockerMigrations = "migrations"
	blockerAWSNode    = "aws-node"
	blockerKarpenter  = "karpenter"
	blockerData       = "data"
	blockerDependents = "dependents"
	blockerProxies    = "database-proxies"
)

// KnownBlockers returns all that there are, without objects, in the order in
// which they are shown.
func KnownBlockers() []Blocker {
	return []Blocker{
		{Name: blockerGitOps, Text: "a tool manages objects of Cast AI", Remedy: "remove Cast AI there (or suspend its syncing) first, or it comes back"},
		{Name: blockerHibernated, Text: "the cluster is hibernated, or was when a pause was cut short", Remedy: "resume it first (hibernate resume), or its workloads stay Pending"},
		{Name: blockerMigrations, Text: "live migrations exist", Remedy: "wait for them to end, or delete them"},
		{Name: blockerAWSNode, Text: "castai-live has patched the DaemonSet kube-system/aws-node", Remedy: "run helm uninstall castai-live first, which takes the patch back, or nodes stay without a network"},
		{Name: blockerKarpenter, Text: "castai-kentroller made Karpenter NodePools; pods may run on their nodes", Remedy: "move these pods first: deleting such a NodePool deletes its nodes"},
		{Name: blockerData, Text: "volumes would be deleted with their data", Remedy: "copy what you need, or keep them with --exclude"},
		{Name: blockerDependents, Text: "objects that are not Cast AI's name objects of Cast AI as their owners, so that Kubernetes would delete them, too", Remedy: "remove their metadata.ownerReferences, or name them with --include"},
		{Name: blockerProxies, Text: "database proxies of Cast AI run here; whether applications connect through them can't be seen from outside", Remedy: "point applications at their databases first"},
	}
}

// blockers finds what a person must decide about.
func (w *world) blockers() []Blocker {
	held := map[string][]cluster.Ref{}
	tools := map[string]bool{}
	for _, o := range w.snap.Objects {
		for _, name := range w.blocks(o) {
			held[name] = append(held[name], o.Ref())
			if name == blockerGitOps {
				tools[ManagedBy(o)] = true
			}
		}
	}
	var out []Blocker
	for _, b := range KnownBlockers() {
		if b.Objects = held[b.Name]; len(b.Objects) == 0 {
			continue
		}
		if b.Name == blockerGitOps {
			b.Text = strings.Join(slices.Sorted(maps.Keys(tools)), " and ") + " manages objects of Cast AI"
		}
		out = append(out, b)
	}
	return out
}

// blocks names the blockers that an object is a reason for.
func (w *world) blocks(o *cluster.Object) (names []string) {
	kind := o.Ref().GroupKind()
	is := func(k, group string) bool { return kind.Kind == k && kind.Group == group }
	if is("ConfigMap", "") && o.Name == "castai-hibernate-state" && o.Annotations[hibernationPhase] != "" && o.Annotations[hibernationPhase] != "awake" {
		names = append(names, blockerHibernated)
	}
	if w.owned(o) {
		if ManagedBy(o) != "" {
			names = append(names, blockerGitOps)
		}
		switch {
		case is("Migration", "live.cast.ai"):
			names = append(names, blockerMigrations)
		case is("PersistentVolumeClaim", ""):
			names = append(names, blockerData)
		case is("Service", "") && w.item(o).Component == "castai-db-optimizer":
			names = append(names, blockerProxies)
		}
		return names
	}
	if w.collected(o) {
		names = append(names, blockerDependents)
	}
	switch {
	case is("Node", "") && hasTaint(o, "scheduling.cast.ai/paused-cluster"):
		names = append(names, blockerHibernated)
	case is("DaemonSet", "apps") && o.Namespace == "kube-system" && o.Name == "aws-node" && mentions(o, "live.cast.ai/"):
		names = append(names, blockerAWSNode)
	case is("NodePool", "karpenter.sh") && slices.ContainsFunc(o.Managers, func(m string) bool { return strings.Contains(m, "kentroller") }):
		names = append(names, blockerKarpenter)
	}
	return names
}

// collected tells whether Kubernetes would delete an object once Cast AI's are
// gone: it has owners, and no other than Cast AI's.
func (w *world) collected(o *cluster.Object) bool {
	for _, owner := range o.Owners {
		up := w.byUID[owner.UID]
		if up == nil || !w.owned(up) || up.Namespace != "" && up.Namespace != o.Namespace {
			return false
		}
	}
	return len(o.Owners) > 0
}

// ManagedBy names the tool that will put an object back, or "".
func ManagedBy(o *cluster.Object) string {
	for _, marks := range []map[string]string{o.Labels, o.Annotations} {
		for key := range marks {
			if tool := gitOpsMarks[key]; tool != "" {
				return tool
			}
		}
	}
	if slices.ContainsFunc(o.Managers, func(m string) bool { return m == "Terraform" || m == "HashiCorp" }) {
		return "Terraform"
	}
	// spec.terraform of castware's Cluster is no sign: its chart sets it by
	// default (castware-operator 0.10.1).
	return ""
}

func hasTaint(o *cluster.Object, key string) bool {
	return slices.ContainsFunc(nested(o, "spec", "taints"), func(t map[string]any) bool { return str(t, "key") == key })
}

// mentions tells whether the kept fields of an object contain a text.
func mentions(o *cluster.Object, s string) bool {
	raw, err := json.Marshal(o.Body)
	return err == nil && strings.Contains(string(raw), s)
}
