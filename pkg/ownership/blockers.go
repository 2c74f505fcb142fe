package ownership

import (
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

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
	"fleet.cattle.io/managed-by-name":      "Fleet",
	"objectset.rio.cattle.io/owner-gvk":    "Fleet",
	"kapp.k14s.io/app":                     "kapp",
	"applyset.kubernetes.io/part-of":       "an ApplySet",
	"pulumi.com/autonamed":                 "Pulumi",
	"app.terraform.io/managed":             "Terraform",
	"terraform.io/managed":                 "Terraform",
	"crossplane.io/external-name":          "Crossplane",
	"addons.cluster.x-k8s.io/resource-set": "Cluster API",
	"addonmanager.kubernetes.io/mode":      "the addon manager", // kubernetes cluster/addons/addon-manager/README.md
}

// gitOpsManagers are the field managers of such tools. Argo CD's default mark is
// a label that Helm's template sets, too.
var gitOpsManagers = map[string]string{
	argoManager:            "Argo CD",
	"kustomize-controller": "Flux",
	"helm-controller":      "Flux",
	"fleetagent":           "Fleet",
	"configsync":           "Config Sync",
	"Terraform":            "Terraform",
	"HashiCorp":            "Terraform",
	"eks":                  "EKS", // its add-ons: Amazon EKS User Guide, "Determine fields you can customize"
}

// gitOpsPrograms are what the field managers of tools begin with that write under the
// names of their programs: Helm does (helm/helm pkg/kube/client.go getManagedFieldsManager),
// so that Terraform's provider is terraform-provider-helm_VERSION; Pulumi adds an id
// (pulumi/pulumi-kubernetes#2271).
var gitOpsPrograms = map[string]string{"terraform-provider-": "Terraform", "pulumi-": "Pulumi"}

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
	blockerSplit      = "split"
)

// KnownBlockers returns all that there are, without objects, in the order in
// which they are shown.
func KnownBlockers() []Blocker {
	return []Blocker{
		{Name: blockerGitOps, Text: "a tool manages objects of Cast AI",
			Remedy: "remove Cast AI there (or suspend its syncing) first, or it comes back"},
		{Name: blockerHibernated, Text: "the cluster is hibernated, or was when a pause was cut short",
			Remedy: "resume it first (hibernate resume), or its workloads stay Pending"},
		{Name: blockerMigrations, Text: "live migrations exist", Remedy: "wait for them to end, or delete them"},
		{Name: blockerAWSNode, Text: "castai-live has patched the DaemonSet kube-system/aws-node",
			Remedy: "run helm uninstall castai-live first, which takes the patch back, or nodes stay without a network"},
		{Name: blockerKarpenter, Text: "castai-kentroller made Karpenter NodePools; pods may run on their nodes",
			Remedy: "move these pods first: deleting such a NodePool deletes its nodes"},
		{Name: blockerData, Text: "volumes would be deleted with their data",
			Remedy: "copy what you need, or keep them with --exclude"},
		{Name: blockerDependents,
			Text: "objects that are not Cast AI's name objects of Cast AI as their owners, so that Kubernetes would delete them, too", Remedy: "remove their metadata.ownerReferences, or name them with --include"},
		{Name: blockerProxies,
			Text: "database proxies of Cast AI run here; whether applications connect through them can't be seen from outside", Remedy: "point applications at their databases first"},
		{Name: blockerSplit, Text: "of a component, a part would go and another stay",
			Remedy: "name all of it with --include, or keep all of it with --exclude"},
	}
}

// blockers finds what a person must decide about.
func (j *judgement) blockers() []Blocker {
	held := map[string][]cluster.Ref{}
	for _, o := range j.objects {
		for _, name := range j.blocks(o) {
			held[name] = append(held[name], o.Ref())
		}
	}
	reconcilers := j.reconcilers()
	for _, r := range reconcilers {
		if r.Object != nil {
			held[blockerGitOps] = append(held[blockerGitOps], *r.Object)
		} else {
			held[blockerGitOps] = append(held[blockerGitOps], r.Manages...)
		}
	}
	splits := j.splits()
	for _, s := range splits {
		held[blockerSplit] = append(append(held[blockerSplit], s.goes...), s.stays...)
	}
	var out []Blocker
	for _, b := range KnownBlockers() {
		if b.Objects = held[b.Name]; len(b.Objects) == 0 {
			continue
		}
		if b.Name == blockerGitOps {
			b.Text, b.Remedy = reconcilersText(reconcilers)
		}
		if b.Name == blockerSplit {
			b.Text = splitText(splits)
		}
		out = append(out, b)
	}
	return out
}

// blocks names the blockers that an object is a reason for. What is in a
// namespace that is not a home is none, but for kube-system: whoever may write
// there must not hold up an offboarding of everything else.
func (j *judgement) blocks(o *cluster.Object) []string {
	if !j.counts(o.Namespace) {
		return j.blocksAnywhere(o)
	}
	kind := o.Ref().GroupKind()
	is := func(k, group string) bool { return kind.Kind == k && kind.Group == group }
	var names []string
	phase := o.Annotations[hibernationPhase]
	if is("ConfigMap", "") && o.Name == "castai-hibernate-state" && o.Namespace != "kube-system" && phase != "" &&
		phase != "awake" {
		names = append(names, blockerHibernated)
	}
	if j.owned(o) {
		switch {
		case is("PersistentVolumeClaim", ""):
			names = append(names, blockerData)
		case is("Service", "") && j.item(o).Component == "castai-db-optimizer":
			names = append(names, blockerProxies)
		}
		return append(names, j.blocksAnywhere(o)...)
	}
	if j.collected(o) {
		names = append(names, blockerDependents)
	}
	switch {
	case is("Node", "") && hasTaint(o, "scheduling.cast.ai/paused-cluster"):
		names = append(names, blockerHibernated)
	case is("DaemonSet", "apps") && o.Namespace == "kube-system" && o.Name == "aws-node" && mentions(o, "live.cast.ai/"):
		names = append(names, blockerAWSNode)
	case is("NodePool", "karpenter.sh") && slices.ContainsFunc(o.Managers,
		func(m string) bool { return m == "kentroller" || m == "castai-kentroller" }):
		names = append(names, blockerKarpenter)
	}
	return names
}

// counts tells whether what is in a namespace may be a reason to ask: that is so
// in the cluster's scope, in homes, and in kube-system.
func (j *judgement) counts(ns string) bool {
	return ns == "" || ns == "kube-system" || j.cluster.isHome(ns)
}

// blocksAnywhere: a live migration is in the namespace of the pod that it moves.
func (j *judgement) blocksAnywhere(o *cluster.Object) []string {
	if kind := o.Ref().GroupKind(); kind.Kind == "Migration" && kind.Group == "live.cast.ai" && j.owned(o) {
		return []string{blockerMigrations}
	}
	return nil
}

// collected tells whether Kubernetes would delete an object once Cast AI's are
// gone: it has owners, and no other than Cast AI's.
func (j *judgement) collected(o *cluster.Object) bool {
	for _, r := range o.Owners {
		if !slices.ContainsFunc(j.owners(o), func(up *cluster.Object) bool { return up.UID == r.UID && j.owned(up) }) {
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
	for _, m := range o.Managers {
		if tool := gitOpsManagers[m]; tool != "" {
			return tool
		}
		for program, tool := range gitOpsPrograms {
			if strings.HasPrefix(m, program) {
				return tool
			}
		}
	}
	// spec.terraform of castware's Cluster is no sign: its chart sets it by
	// default (castware-operator 0.10.1).
	return ""
}
