package ownership_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// argoLives is what tells where Argo CD's controllers run.
const argoLives = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: argocd-application-controller}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: argocd-application-controller}
subjects: [{kind: ServiceAccount, name: argocd-application-controller, namespace: argocd}]
`

// listing is an object that lists castai-agent/castai-agent among what it applied.
func application(namespace string) string {
	return `
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: agents, namespace: ` + namespace + `}
status: {resources: [{group: apps, version: v1, kind: Deployment, namespace: castai-agent, name: castai-agent}]}
`
}

// agentWith is the agent with more metadata on its Deployment.
func agentWith(meta string) string { return agentLabelled("", meta) }

// agentLabelled is the agent with more labels, too, each with a comma behind it.
func agentLabelled(labels, meta string) string {
	return strings.Replace(anAgent, "uid: agent, labels: {app.kubernetes.io/name: castai-agent}",
		"uid: agent, labels: {"+labels+"app.kubernetes.io/name: castai-agent}, "+meta, 1)
}

// healing is an Application that lists nothing yet, and syncs by itself.
const healing = `
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: agents, namespace: argocd}
spec:
  project: default
  destination: {server: "https://kubernetes.default.svc", namespace: castai-agent}
  syncPolicy: {automated: {prune: true, selfHeal: true}}
`

// written is the mark that a program leaves by which it applies.
func written(manager string) string {
	return "managedFields: [{manager: " + manager +
		", operation: Update, apiVersion: apps/v1, fieldsType: FieldsV1, fieldsV1: {}}]"
}

// Whoever puts Cast AI back is named, with the object that makes it do so and
// what to do about it.
func TestReconcilersBlock(t *testing.T) {
	flux := func(kind, group, namespace, name, rest string) string {
		return "apiVersion: " + group + "\nkind: " + kind + "\nmetadata: {name: " + name + ", namespace: " + namespace +
			"}\n" + rest
	}
	helmMarked := agentWith("annotations: {meta.helm.sh/release-name: agents, meta.helm.sh/release-namespace: castai-agent}")
	fluxLives := strings.ReplaceAll(strings.ReplaceAll(argoLives, "argocd-application-controller", "kustomize-controller"),
		"argocd", "flux-system")
	for name, test := range map[string]struct{ yaml, object, remedy string }{
		"Argo CD's own list": {
			anAgent + "---" + argoLives + "---" +
				application("argocd"), "Application.argoproj.io/argocd/agents", "argocd/agents",
		},
		"Argo CD's annotation names an app in any namespace": {
			agentWith(`annotations: {argocd.argoproj.io/tracking-id: "apps_agents:apps/Deployment:castai-agent/castai-agent"}`) +
				"---" + strings.Split(application("apps"), "status:")[0], "Application.argoproj.io/apps/agents", "apps/agents",
		},
		"Argo CD's annotation names an app where it lives": {
			agentWith(`annotations: {argocd.argoproj.io/tracking-id: "agents:apps/Deployment:castai-agent/castai-agent"}`) +
				"---" + argoLives + "---" + strings.Split(application("argocd"),
				"status:")[0], "Application.argoproj.io/argocd/agents", "argocd/agents",
		},
		"Argo CD's default label, written by it": {
			agentWith(written("argocd-controller")),
			"Deployment.apps/castai-agent/castai-agent", "suspend its syncing",
		},
		"Argo CD's default label names an app where it lives, which heals it": {
			agentLabelled("app.kubernetes.io/instance: agents, ", written("argocd-controller")) + "---" + argoLives + "---" +
				healing, "Application.argoproj.io/argocd/agents", "Application argocd/agents with cascade=false",
		},
		"Argo CD's own label": {
			agentLabelled("argocd.argoproj.io/instance: agents, ", "") + "---" + argoLives + "---" +
				healing, "Application.argoproj.io/argocd/agents", "Application argocd/agents",
		},
		"Argo CD's annotation beside the label of Helm's template": {
			agentLabelled("app.kubernetes.io/instance: castai-agent, ",
				`annotations: {argocd.argoproj.io/tracking-id: "agents:apps/Deployment:castai-agent/castai-agent"}`) +
				"---" + argoLives + "---" + healing, "Application.argoproj.io/argocd/agents", "Application argocd/agents",
		},
		"a Flux HelmRelease in Cast AI's namespace": {
			helmMarked + "---\n" + flux("HelmRelease", "helm.toolkit.fluxcd.io/v2", "castai-agent", "agents", "spec: {}"),
			"HelmRelease.helm.toolkit.fluxcd.io/castai-agent/agents", "flux suspend helmrelease agents -n castai-agent",
		},
		"a Flux HelmRelease that its labels name": {
			agentLabelled("helm.toolkit.fluxcd.io/name: agents, helm.toolkit.fluxcd.io/namespace: infra, ", "") +
				"---\n" + flux("HelmRelease", "helm.toolkit.fluxcd.io/v2", "infra", "agents",
				"spec: {targetNamespace: castai-agent}"),
			"HelmRelease.helm.toolkit.fluxcd.io/infra/agents", "flux suspend helmrelease agents -n infra",
		},
		"a Flux Kustomization's inventory": {
			anAgent + "---" + fluxLives + "---\n" + flux("Kustomization", "kustomize.toolkit.fluxcd.io/v1", "flux-system",
				"infra",
				"status: {inventory: {entries: [{id: castai-agent_castai-agent_apps_Deployment, v: v1}]}}"),
			"Kustomization.kustomize.toolkit.fluxcd.io/flux-system/infra", "flux suspend kustomization infra -n flux-system",
		},
		"a Flux HelmRelease where Flux lives, with a target": {
			agentWith("annotations: {meta.helm.sh/release-name: castai-agent-agents, meta.helm.sh/release-namespace: castai-agent}") +
				"---" + strings.ReplaceAll(fluxLives, "kustomize-controller", "helm-controller") + "---\n" +
				flux("HelmRelease", "helm.toolkit.fluxcd.io/v2", "flux-system", "agents",
					"spec: {targetNamespace: castai-agent, storageNamespace: castai-agent}"),
			"HelmRelease.helm.toolkit.fluxcd.io/flux-system/agents", "flux suspend helmrelease agents -n flux-system",
		},
		"a Flux Kustomization that its labels name": {
			agentLabelled("kustomize.toolkit.fluxcd.io/name: agents, kustomize.toolkit.fluxcd.io/namespace: infra, ", "") +
				"---\n" + flux("Kustomization", "kustomize.toolkit.fluxcd.io/v1", "infra", "agents", "spec: {prune: true}"),
			"Kustomization.kustomize.toolkit.fluxcd.io/infra/agents", "flux suspend kustomization agents -n infra",
		},
		"a Fleet bundle in a cluster that Fleet manages itself": {
			anAgent +
				"---\napiVersion: v1\nkind: Namespace\nmetadata: {name: cluster-fleet-local-local-1a3d67d0a899, labels: {fleet.cattle.io/managed: \"true\"}}\n---\n" +
				flux("BundleDeployment", "fleet.cattle.io/v1alpha1", "cluster-fleet-local-local-1a3d67d0a899", "agents",
					"status: {resources: [{apiVersion: apps/v1, kind: Deployment, namespace: castai-agent, name: castai-agent}]}"),
			"BundleDeployment.fleet.cattle.io/cluster-fleet-local-local-1a3d67d0a899/agents",
			"Fleet bundle behind BundleDeployment cluster-fleet-local-local-1a3d67d0a899/agents",
		},
		"Fleet's labels": {
			agentLabelled("fleet.cattle.io/managed-by-kind: GitRepo, fleet.cattle.io/managed-by-namespace: fleet-default, fleet.cattle.io/managed-by-name: agents, ", ""),
			"Deployment.apps/castai-agent/castai-agent", "suspend its syncing",
		},
		"a Config Sync inventory": {
			anAgent + "---" + strings.NewReplacer("name: argocd-application-controller, namespace: argocd",
				"name: root-reconciler-infra, namespace: config-management-system").Replace(argoLives) +
				"---\n" + flux("ResourceGroup", "kpt.dev/v1alpha1", "config-management-system", "infra",
				"spec: {resources: [{group: apps, kind: Deployment, namespace: castai-agent, name: castai-agent}]}"),
			"ResourceGroup.kpt.dev/config-management-system/infra", "RootSync or RepoSync infra in config-management-system",
		},
		"Config Sync's marks": {
			agentWith("annotations: {configmanagement.gke.io/managed: enabled, configsync.gke.io/resource-id: apps_deployment_castai-agent_castai-agent}"),
			"Deployment.apps/castai-agent/castai-agent", "suspend its syncing",
		},
		"Argo CD that an operator has given its own name": {
			anAgent + "---" + strings.NewReplacer("name: argocd-application-controller, namespace: argocd",
				"name: openshift-gitops-argocd-application-controller, namespace: openshift-gitops").Replace(argoLives) +
				"---" + application("openshift-gitops"), "Application.argoproj.io/openshift-gitops/agents",
			"openshift-gitops/agents",
		},
		"an ApplicationSet makes the Application": {
			anAgent + "---" + argoLives + "---" + strings.Replace(application("argocd"), "metadata: {", "metadata: "+
				"{ownerReferences: [{apiVersion: argoproj.io/v1alpha1, kind: ApplicationSet, name: fleet, uid: u-1, "+
				"controller: true}], ", 1),
			"Application.argoproj.io/argocd/agents", "begin with ApplicationSet fleet, which makes Application agents again",
		},
		"a HelmChart of K3s": {
			helmMarked + "---" + strings.NewReplacer("name: argocd-application-controller, namespace: argocd",
				"name: helm-agents, namespace: kube-system").Replace(argoLives) + "---\n" +
				flux("HelmChart", "helm.cattle.io/v1", "kube-system", "agents", "spec: {targetNamespace: castai-agent}"),
			"HelmChart.helm.cattle.io/kube-system/agents", "HelmChart kube-system/agents",
		},
		"a Release of Crossplane's Helm provider": {
			helmMarked + `---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: releases.helm.crossplane.io}
spec:
  group: helm.crossplane.io
  scope: Cluster
  names: {kind: Release, plural: releases}
  versions: [{name: v1beta1, served: true, storage: true}]
---
apiVersion: helm.crossplane.io/v1beta1
kind: Release
metadata: {name: agents}
spec: {forProvider: {namespace: castai-agent}}
`,
			"Release.helm.crossplane.io/agents", "Release agents",
		},
		"Pulumi": {
			agentWith(written("pulumi-kubernetes-3f2a91bc")), "Deployment.apps/castai-agent/castai-agent", "suspend its syncing",
		},
		"the addon manager of kube-up and others": {
			agentLabelled("addonmanager.kubernetes.io/mode: Reconcile, ", ""),
			"Deployment.apps/castai-agent/castai-agent", "suspend its syncing",
		},
		"an add-on of EKS": {agentWith(written("eks")), "Deployment.apps/castai-agent/castai-agent", "suspend its syncing"},
		"Terraform's Helm provider": {
			agentWith(written("terraform-provider-helm_v2.17.0_x5")), "Deployment.apps/castai-agent/castai-agent",
			"take Cast AI out of the Terraform configuration",
		},
		"Terraform's Kubernetes provider": {
			agentWith(written("Terraform")), "Deployment.apps/castai-agent/castai-agent",
			"take Cast AI out of the Terraform configuration",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inv := new(scene).yaml(t, test.yaml).take(t, ownership.Options{})
			want, err := cluster.ParseRef(test.object)
			if err != nil {
				t.Fatal(err)
			}
			b := gitOps(inv)
			if b == nil || !slices.ContainsFunc(b.Objects, func(r cluster.Ref) bool { return r.String() == want.String() }) {
				t.Fatalf("blockers: %+v", inv.Blockers)
			}
			if !strings.Contains(b.Remedy, test.remedy) {
				t.Errorf("the remedy %q does not say %q", b.Remedy, test.remedy)
			}
		})
	}
}

// An object of a tool in anybody's namespace holds nothing up: whoever may write
// it there can name any object in it.
func TestReconcilersOfTenantsDoNotBlock(t *testing.T) {
	inv := new(scene).yaml(t, anAgent+"---"+argoLives+"---"+application("shop")).take(t, ownership.Options{})
	if b := gitOps(inv); b != nil {
		t.Errorf("it blocks: %+v", b)
	}
	inside := strings.ReplaceAll(application("castai-agent"), "namespace: castai-agent, name: castai-agent}",
		"namespace: kube-system, name: coredns}")
	inv = new(scene).yaml(t, anAgent+"---"+inside).take(t, ownership.Options{})
	if b := gitOps(inv); b != nil {
		t.Errorf("it blocks: %+v", b)
	}
}

// The next helm upgrade of a user's own chart brings back the part of it that is
// Cast AI's.
func TestParentReleaseBlocks(t *testing.T) {
	manifest := "# Source: company/charts/castai-agent/templates/deployment.yaml" + strings.Split(agentWith(
		"annotations: {meta.helm.sh/release-name: platform, meta.helm.sh/release-namespace: castai-agent}"), "---")[1]
	s := new(scene).yaml(t, strings.Split(anAgent, "---")[0]).yaml(t, manifest)
	s.release(t, "company", "platform", "castai-agent", manifest)
	inv := s.take(t, ownership.Options{})
	b := gitOps(inv)
	if b == nil || !strings.Contains(b.Remedy, "helm upgrade platform -n castai-agent without the dependency") {
		t.Errorf("blockers: %+v", inv.Blockers)
	}
}

// Fleet leaves no mark on what it installs but the id of the bundle in the chart
// of the release's record.
func TestFleetBlocksByItsReleases(t *testing.T) {
	helmMarked := agentWith("annotations: {meta.helm.sh/release-name: agents, meta.helm.sh/release-namespace: castai-agent}")
	s := new(scene).yaml(t, helmMarked)
	s.record("castai-agent", "agents", encode(t, map[string]any{
		"name": "agents", "namespace": "castai-agent", "manifest": helmMarked,
		"chart": map[string]any{"metadata": map[string]any{
			"name": "castai-agent", "version": "1.0.0",
			"annotations": map[string]string{"fleet.cattle.io/bundle-id": "infra-agents"},
		}},
	}))
	b := gitOps(s.take(t, ownership.Options{}))
	if b == nil || !strings.Contains(b.Text, "Fleet (Secret/castai-agent/sh.helm.release.v1.agents.v1)") ||
		!strings.Contains(b.Remedy, "Fleet bundle infra-agents") {
		t.Errorf("%+v", b)
	}
}

func gitOps(inv *ownership.Inventory) *ownership.Blocker {
	i := slices.IndexFunc(inv.Blockers, func(b ownership.Blocker) bool { return b.Name == "gitops" })
	if i < 0 {
		return nil
	}
	return &inv.Blockers[i]
}
