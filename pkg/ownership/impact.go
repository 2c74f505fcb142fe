package ownership

import (
	"encoding/json"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Impact is what an offboarding means to what stays.
type Impact struct {
	// Nodes that Cast AI made: they stay, and still cost money.
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
	// Users are workloads of others that need what goes.
	Users []User `json:"users,omitempty"`
	// Dangling are bindings of others to roles that go: they will grant nothing.
	Dangling []cluster.Ref `json:"danglingBindings,omitempty"`
}

// User is a workload that needs objects of Cast AI's: its next pod can't start
// without them.
type User struct {
	Object cluster.Ref   `json:"object"`
	Needs  []cluster.Ref `json:"needs"`
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
var castAINodeKeys = []string{"scheduling.cast.ai/", "provisioner.cast.ai/", "autoscaling.cast.ai/", "live.cast.ai/",
	"topology.cast.ai/", "omni.cast.ai/", "charts.cast.ai/"}

func isCastAINodeKey(key string) bool {
	return slices.ContainsFunc(castAINodeKeys, func(p string) bool { return strings.HasPrefix(key, p) })
}

// madeByCastAI tells whether Cast AI provisioned a node: CC internal/types.go:14.
func madeByCastAI(o *cluster.Object) bool {
	return o.Labels["provisioner.cast.ai/managed-by"] == "cast.ai" || o.Labels["provisioner.cast.ai/node-id"] != ""
}

func (j *judgement) impact() Impact {
	impact := Impact{Nodes: Nodes{InstanceTypes: map[string]int{}}}
	for _, o := range j.cluster.byKind["Node"] {
		if j.owned(o) || !madeByCastAI(o) {
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
	for _, o := range j.ownedObjects() {
		if j.cat.Setting(o.Ref()) {
			impact.Settings = append(impact.Settings, o.Ref())
		}
		if o.Ref().GroupKind().String() == "PodMutation.pod-mutations.cast.ai" {
			impact.PodMutations = append(impact.PodMutations, o.Name)
		}
	}
	for _, o := range j.objects {
		if !j.owned(o) {
			j.affect(&impact, o)
		}
	}
	return impact
}

// affect notes what an offboarding means to an object that stays.
func (j *judgement) affect(impact *Impact, o *cluster.Object) {
	switch {
	case o.Resource.Group == "" && o.Resource.Kind == "Pod":
		if o.Annotations["autoscaling.cast.ai/vertical-recommendation-hash"] != "" {
			impact.ResizedPods++
		}
	case o.Resource.Group == rbac && (o.Resource.Kind == "RoleBinding" || o.Resource.Kind == "ClusterRoleBinding"):
		if j.ownedRef(boundRole(o)) {
			impact.Dangling = append(impact.Dangling, o.Ref())
		}
	default:
		spec, ok := podSpec(o)
		if !ok || o.Controller() != nil {
			return
		}
		if uses := slices.DeleteFunc(j.uses(o, spec), func(r cluster.Ref) bool { return !j.ownedRef(r) }); len(uses) > 0 {
			impact.Users = append(impact.Users, User{o.Ref(), uses})
		}
		needs := nodeNeeds(spec)
		if len(needs) == 0 {
			return
		}
		replicas, found, err := unstructured.NestedInt64(o.Body, "spec", "replicas")
		if !found || err != nil {
			replicas, _, _ = unstructured.NestedInt64(o.Body, "status", "desiredNumberScheduled")
		}
		impact.Workloads = append(impact.Workloads, BoundWorkload{o.Ref(), replicas, needs})
	}
}

// uses lists what the pods of a workload can't start without: what they run as and
// mount, where anything of Cast AI's is in their namespace, and their priority.
func (j *judgement) uses(o *cluster.Object, spec map[string]any) []cluster.Ref {
	var out []cluster.Ref
	if j.spaces[o.Namespace] != nil {
		out = references(o.Namespace, spec)
	}
	if name := str(spec, "priorityClassName"); name != "" {
		out = append(out, cluster.Ref{Group: "scheduling.k8s.io", Kind: "PriorityClass", Name: name})
	}
	return out
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
	terms, _, err := unstructured.NestedSlice(spec, "affinity", "nodeAffinity",
		"requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
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

func hasTaint(o *cluster.Object, key string) bool {
	return slices.ContainsFunc(nested(o, "spec", "taints"), func(t map[string]any) bool { return str(t, "key") == key })
}

// mentions tells whether the kept fields of an object contain a text.
func mentions(o *cluster.Object, s string) bool {
	raw, err := json.Marshal(o.Body)
	return err == nil && strings.Contains(string(raw), s)
}
