package ownership

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Reconciler is what will put objects of Cast AI back after they are removed.
type Reconciler struct {
	Tool string `json:"tool"`
	// Object is what tells the tool to; nil if only marks on Cast AI's objects tell
	// of it.
	Object *cluster.Ref `json:"object,omitempty"`
	// Remedy is what to do first.
	Remedy string `json:"remedy"`
	// Manages are the objects of Cast AI that it puts back.
	Manages []cluster.Ref `json:"manages"`
}

// syncer is a kind of object that makes a tool apply others.
type syncer struct {
	tool, kind string // KIND.GROUP
	// accounts are the names of the ServiceAccounts that the tool's controllers run
	// as, alone or before or after a dash. A ClusterRoleBinding for one of them tells where
	// the tool lives, and so does this label of a Namespace.
	accounts []string
	label    string
	// manages lists what the object says that it applied.
	manages func(o *cluster.Object) []cluster.Ref
	// release is the Helm release that it installs.
	release func(o *cluster.Object) releaseKey
	// marks returns which object of this kind the mark on another one names; the
	// namespace is empty where the mark has none.
	marks func(o *cluster.Object) (namespace, name string)
	// remedy is a format with namespace and name.
	remedy string
}

// syncers are the kinds that this package knows, with the source of the fields:
// AC = argoproj/argo-cd docs/user-guide/resource_tracking.md and
// pkg/apis/application/v1alpha1/types.go (ApplicationStatus.Resources),
// KC = fluxcd/kustomize-controller docs/spec/v1/kustomizations.md (Inventory),
// HC = fluxcd/helm-controller docs/spec/v2/helmreleases.md,
// FL = rancher/fleet pkg/apis/fleet.cattle.io/v1alpha1/bundledeployment_types.go;
// its documentation, "Labels & Annotations",
// CS = Config Sync documentation, "ResourceGroup",
// K3 = k3s-io/helm-controller pkg/apis/helm.cattle.io/v1/types.go (HelmChartSpec); its Job
// runs as helm-NAME, by a ClusterRoleBinding,
// XP = crossplane-contrib/provider-helm apis/release/v1beta1/types.go (ReleaseParameters).
var syncers = []syncer{
	{
		tool: "Argo CD", kind: "Application.argoproj.io", // AC
		accounts: []string{"argocd-application-controller"},
		manages:  func(o *cluster.Object) []cluster.Ref { return refsAt(o, "status", "resources") },
		marks:    argoMark,
		remedy: "delete Application %[1]s/%[2]s with cascade=false, or take Cast AI out of its source " +
			"and switch its automated sync off",
	},
	{
		tool: "Flux", kind: "Kustomization.kustomize.toolkit.fluxcd.io", // KC
		accounts: []string{"kustomize-controller"},
		manages:  fluxInventory,
		marks:    marked("kustomize.toolkit.fluxcd.io/namespace", "kustomize.toolkit.fluxcd.io/name"),
		remedy:   "flux suspend kustomization %[2]s -n %[1]s, and take Cast AI out of its source",
	},
	{
		tool: "Flux", kind: "HelmRelease.helm.toolkit.fluxcd.io", // HC
		accounts: []string{"helm-controller"},
		release:  fluxRelease,
		marks:    marked("helm.toolkit.fluxcd.io/namespace", "helm.toolkit.fluxcd.io/name"),
		remedy:   "flux suspend helmrelease %[2]s -n %[1]s, and take it out of its source",
	},
	{
		tool: "Fleet", kind: "BundleDeployment.fleet.cattle.io", // FL
		accounts: []string{"fleet-agent"}, label: "fleet.cattle.io/managed",
		manages: func(o *cluster.Object) []cluster.Ref { return refsAt(o, "status", "resources") },
		remedy:  "take Cast AI out of the Fleet bundle behind BundleDeployment %[1]s/%[2]s",
	},
	{
		tool: "K3s", kind: "HelmChart.helm.cattle.io", // K3
		accounts: []string{"helm"},
		release: func(o *cluster.Object) releaseKey {
			return releaseKey{cmp.Or(str(o.Body, "spec", "targetNamespace"), o.Namespace), o.Name}
		},
		remedy: "take HelmChart %[1]s/%[2]s out of the manifests of K3s or RKE2, and delete it: that uninstalls its release",
	},
	{
		tool: "Crossplane", kind: "Release.helm.crossplane.io", // XP
		release: func(o *cluster.Object) releaseKey {
			return releaseKey{str(o.Body, "spec", "forProvider", "namespace"),
				cmp.Or(o.Annotations["crossplane.io/external-name"], o.Name)}
		},
		remedy: "take Release %[2]s out of what makes it for Crossplane, and delete it: that uninstalls its release",
	},
	{
		tool: "Config Sync", kind: "ResourceGroup.kpt.dev", // CS
		accounts: []string{"root-reconciler", "ns-reconciler"},
		manages:  func(o *cluster.Object) []cluster.Ref { return refsAt(o, "spec", "resources") },
		remedy:   "take Cast AI out of the source of the RootSync or RepoSync %[2]s in %[1]s",
	},
}

// reconcilers finds what puts objects of Cast AI back: objects of GitOps tools
// that list them, install their Helm release, or are named by their marks; marks
// alone; and Helm releases of a user's own chart that Cast AI's are a part of.
//
// An object of a tool counts where the tool itself lives, in homes of Cast AI,
// and where a mark on an object of Cast AI names it: otherwise, whoever may write
// one in a namespace could hold up every offboarding. So could whoever may write
// custom resources of Cast AI's in a namespace of his own: these count in homes.
func (j *judgement) reconcilers() []Reconciler {
	var ours []*cluster.Object
	for _, o := range j.objects {
		if j.owned(o) && j.counts(o.Namespace) {
			ours = append(ours, o)
		}
	}
	found := map[string]*Reconciler{}
	add := func(tool string, object *cluster.Ref, remedy string, o cluster.Ref) {
		key := tool
		if object != nil {
			key += object.String()
		}
		if found[key] == nil {
			found[key] = &Reconciler{Tool: tool, Object: object, Remedy: remedy}
		}
		if !slices.Contains(found[key].Manages, o) {
			found[key].Manages = append(found[key].Manages, o)
		}
	}
	named := map[cluster.Ref]bool{}
	for _, s := range syncers {
		lives := j.livesIn(s)
		for _, o := range j.objects {
			if o.Ref().GroupKind().String() != s.kind {
				continue
			}
			// What has no namespace only administrators write.
			speaks := lives[o.Namespace] || o.Namespace == ""
			for _, r := range s.applied(o, ours, speaks, j.cluster.isHome(o.Namespace)) {
				add(s.tool, ref(o), s.remedyFor(o), r)
				named[r] = true
			}
		}
	}
	for _, o := range ours {
		if tool := ManagedBy(o); tool != "" && !named[o.Ref()] {
			add(tool, nil, toolRemedy(tool), o.Ref())
		}
		r := j.releaseWith(o)
		switch {
		case r == nil || named[o.Ref()]:
		case r.bundle != "":
			add("Fleet", &r.Stored, text("take Cast AI out of the Fleet bundle %s, or pause it in the management cluster",
				r.bundle), o.Ref())
		case !j.spaces[r.Namespace].ownRelease(r) && !j.ownedRef(r.Stored):
			add("Helm", &r.Stored, text("helm upgrade %s -n %s without the dependency on Cast AI's chart", r.Name, r.Namespace),
				o.Ref())
		}
	}
	var out []Reconciler
	for _, key := range slices.Sorted(maps.Keys(found)) {
		out = append(out, *found[key])
	}
	return out
}

// remedyFor is what to do about a syncer's object, and first about what makes it.
func (s syncer) remedyFor(o *cluster.Object) string {
	remedy := text(s.remedy, o.Namespace, o.Name)
	for _, up := range o.Owners {
		if up.Controller != nil && *up.Controller {
			return text("begin with %s %s, which makes %s %s again: take Cast AI out of it; then %s", up.Kind, up.Name,
				o.Resource.Kind, o.Name, remedy)
		}
	}
	return remedy
}

// toolRemedy is what to do about a tool of which only marks tell.
func toolRemedy(tool string) string {
	if tool == "Terraform" {
		return "take Cast AI out of the Terraform configuration and state first"
	}
	return "remove Cast AI there (or suspend its syncing) first"
}

// applied returns which of the given objects a syncer's object applies: those
// with a mark that names it, and those that it lists or whose Helm release it
// installs. Where the tool lives it speaks for all of them, in a home for those in
// this namespace.
func (s syncer) applied(o *cluster.Object, ours []*cluster.Object, lives, home bool) []cluster.Ref {
	listed := map[cluster.Ref]bool{}
	if s.manages != nil {
		for _, r := range s.manages(o) {
			listed[r] = true
		}
	}
	var installs releaseKey
	if s.release != nil {
		installs = s.release(o)
	}
	var out []cluster.Ref
	for _, our := range ours {
		if s.marked(o, our, lives) {
			out = append(out, our.Ref())
			continue
		}
		key, released := releaseOf(our)
		if (lives || home && our.Namespace == o.Namespace) && (listed[our.Ref()] || released && key == installs) {
			out = append(out, our.Ref())
		}
	}
	return out
}

// marked tells whether a mark on one of our objects names a syncer's object. A
// mark without a namespace means one where the tool lives.
func (s syncer) marked(o, our *cluster.Object, lives bool) bool {
	if s.marks == nil {
		return false
	}
	namespace, name := s.marks(our)
	return name == o.Name && (namespace == o.Namespace || namespace == "" && lives)
}

// livesIn returns the namespaces of the ServiceAccounts of a tool that a
// ClusterRoleBinding names, and those with the label that it gives them.
func (j *judgement) livesIn(s syncer) map[string]bool {
	out := map[string]bool{}
	for _, b := range j.cluster.bindings {
		for _, a := range b.accounts {
			if slices.ContainsFunc(s.accounts, func(name string) bool {
				return a.Name == name || strings.HasPrefix(a.Name, name+"-") || strings.HasSuffix(a.Name, "-"+name)
			}) {
				out[a.Namespace] = true
			}
		}
	}
	for _, o := range j.cluster.byKind["Namespace"] {
		if s.label != "" && o.Labels[s.label] == "true" {
			out[o.Name] = true
		}
	}
	return out
}

// argoMark reads the three ways in which Argo CD tracks an object: the annotation
// APP:GROUP/KIND:NAMESPACE/NAME (of an app in another namespace NAMESPACE_APP),
// its own label, and by default the label that Helm's template sets, too, which
// counts if Argo CD wrote to the object.
func argoMark(o *cluster.Object) (namespace, name string) {
	app, _, tracked := strings.Cut(o.Annotations["argocd.argoproj.io/tracking-id"], ":")
	switch {
	case tracked:
	case o.Labels["argocd.argoproj.io/instance"] != "":
		app = o.Labels["argocd.argoproj.io/instance"]
	case slices.Contains(o.Managers, argoManager):
		app = o.Labels["app.kubernetes.io/instance"]
	}
	if namespace, name, ok := strings.Cut(app, "_"); ok {
		return namespace, name
	}
	return "", app
}

// argoManager is the field manager that Argo CD applies as (AC
// common/common.go ArgoCDSSAManager and the name of its binary).
const argoManager = "argocd-controller"

// marked reads a mark that consists of two labels.
func marked(namespace, name string) func(*cluster.Object) (string, string) {
	return func(o *cluster.Object) (string, string) { return o.Labels[namespace], o.Labels[name] }
}

// fluxRelease is the Helm release of a HelmRelease (HC "Release name", "Target
// namespace").
func fluxRelease(o *cluster.Object) releaseKey {
	target := str(o.Body, "spec", "targetNamespace")
	name := str(o.Body, "spec", "releaseName")
	if name == "" {
		name = o.Name
		if target != "" {
			name = target + "-" + name
		}
	}
	if target == "" {
		target = o.Namespace
	}
	return releaseKey{target, name}
}

// releaseWith returns the live Helm release that an object is a part of. If its
// chart is a user's own, its next helm upgrade brings Cast AI back.
func (j *judgement) releaseWith(o *cluster.Object) *release {
	key, marked := releaseOf(o)
	space := j.spaces[key.namespace]
	if !marked || space == nil || isReleaseRecord(o) {
		return nil
	}
	return space.releaseHere(key)
}

// fluxInventory reads entries with ids NAMESPACE_NAME_GROUP_KIND. A colon in a
// name is written as two underscores (KC "Inventory").
func fluxInventory(o *cluster.Object) []cluster.Ref {
	var out []cluster.Ref
	for _, e := range nested(o, "status", "inventory", "entries") {
		parts := strings.Split(strings.ReplaceAll(str(e, "id"), "__", ":"), "_")
		if len(parts) == 4 {
			out = append(out, cluster.Ref{Namespace: parts[0], Name: parts[1], Group: parts[2], Kind: parts[3]})
		}
	}
	return out
}

// refsAt reads a list of objects with kind, namespace, name, and either group or
// apiVersion.
func refsAt(o *cluster.Object, path ...string) []cluster.Ref {
	var out []cluster.Ref
	for _, e := range nested(o, path...) {
		r := cluster.Ref{
			Group: str(e, "group"), Kind: str(e, "kind"), Namespace: str(e, "namespace"), Name: str(e, "name"),
		}
		if group, _, ok := strings.Cut(str(e, "apiVersion"), "/"); ok && r.Group == "" {
			r.Group = group
		}
		if r.Kind != "" && r.Name != "" {
			out = append(out, r)
		}
	}
	return out
}

// reconcilersText says which tools put objects back, by which of their objects,
// and what to do about each.
func reconcilersText(list []Reconciler) (what, remedy string) {
	var whats, remedies []string
	for _, r := range list {
		it := r.Tool
		if r.Object != nil {
			it += text(" (%s)", r.Object)
		}
		whats = append(whats, text("%s manages %d objects of Cast AI", it, len(r.Manages)))
		remedies = append(remedies, r.Remedy)
	}
	return strings.Join(whats, ", "), strings.Join(slices.Compact(remedies), "; ") + "; otherwise Cast AI comes back"
}
