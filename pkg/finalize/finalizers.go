package finalize

import (
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Known is one finalizer, or a family of them, and who removes it.
type Known struct {
	// Name is exact; with a leading "*." a domain and everything below it, with a
	// trailing "*" the beginning of a name.
	Name string
	// By is who removes it.
	By string
	// Workloads are names of Deployments, StatefulSets and DaemonSets that do it;
	// without any, it is a part of a control plane.
	Workloads []string
	// Guards is what may be lost if it is removed by force.
	Guards string
	// Outside: what it guards is outside of the cluster and may cost money or hold
	// data. It is removed only if it is named.
	Outside bool

	// afterPods: it goes by itself when the pods of the namespace are gone.
	afterPods bool
	// afterOthers: it goes by itself when the objects that it waits for are gone.
	afterOthers bool
}

// What finalizers guard outside of a cluster.
const (
	balancer       = "the load balancer at the cloud provider, which may stay and cost money"
	disk           = "the disk at the storage provider, which may stay and cost money"
	snapshot       = "the snapshot at the storage provider, which may stay and cost money"
	cloud          = "the resource at the cloud provider, which may stay and cost money"
	machine        = "the machine at the cloud provider, which may stay and cost money"
	dnsRecord      = "the record at the DNS provider, which may stay"
	infrastructure = "what it manages outside of this cluster, which may stay and cost money"
)

// knownFinalizers is data; the first entry that fits counts. Sources:
// Kubernetes' own: k8s.io/api/core/v1, k8s.io/apimachinery/pkg/apis/meta/v1,
// k8s.io/api/batch/v1, Kubernetes 1.36.3 pkg/volume/util/finalizer.go,
// k8s.io/cloud-provider/service/helpers; volumes: kubernetes-csi external-provisioner,
// external-attacher, external-snapshotter and external-resizer, k8s.io/csi-translation-lib;
// load balancers: kubernetes-sigs/aws-load-balancer-controller pkg/k8s/finalizer.go,
// kubernetes/ingress-gce pkg/utils/common/finalizer.go, Azure/application-gateway-
// kubernetes-ingress, gateways of NGINX and others have none; machines and clouds:
// sigs.k8s.io/karpenter, cluster-api api/core, crossplane-runtime pkg/resource and
// pkg/reconciler/managed, aws-controllers-k8s/runtime pkg/runtime/finalizer.go,
// GoogleCloudPlatform/k8s-config-connector pkg/k8s/constants.go, Azure/azure-service-
// operator v2/internal/reconcilers/common.go, kubernetes-sigs/external-dns,
// hashicorp/hcp-terraform-operator, pulumi/pulumi-kubernetes-operator, rook/rook
// pkg/operator/k8sutil, cert-manager pkg/apis/acme, argo-cd pkg/apis/application,
// fluxcd/pkg/apis/meta, rancher/norman.
var knownFinalizers = []Known{
	{Name: pvcProtection, By: "kube-controller-manager (PVC protection)", afterPods: true,
		Guards: "data of a volume that a pod still uses"},
	{Name: pvProtection, By: "kube-controller-manager (PV protection)",
		Guards: "data of a volume that is still bound"},
	{Name: foreground, By: "kube-controller-manager (garbage collector)", afterOthers: true,
		Guards: "dependents of the object, which are then removed later"},
	{Name: orphanDependent, By: "kube-controller-manager (garbage collector)",
		Guards: "dependents of the object, which are " +
			"then removed with it"},
	{Name: cleanUpCustom, By: "kube-apiserver (CRD finalizer)", afterOthers: true,
		Guards: "custom resources, which would come back with the next definition of that name"},
	{Name: "batch.kubernetes.io/job-tracking", By: "kube-controller-manager (Job controller)"},

	{Name: "service.kubernetes.io/load-balancer-cleanup", By: "the cloud controller manager", Guards: balancer,
		Outside: true},
	{Name: "ingress.k8s.aws/*", By: "the AWS Load Balancer Controller",
		Workloads: []string{"aws-load-balancer-controller"}, Guards: balancer, Outside: true},
	{Name: "group.ingress.k8s.aws/*", By: "the AWS Load Balancer Controller",
		Workloads: []string{"aws-load-balancer-controller"}, Guards: balancer, Outside: true},
	{Name: "service.k8s.aws/*", By: "the AWS Load Balancer Controller",
		Workloads: []string{"aws-load-balancer-controller"}, Guards: balancer, Outside: true},
	{Name: "gateway.k8s.aws/*", By: "the AWS Load Balancer Controller",
		Workloads: []string{"aws-load-balancer-controller"}, Guards: balancer, Outside: true},
	{Name: "elbv2.k8s.aws/*", By: "the AWS Load Balancer Controller",
		Workloads: []string{"aws-load-balancer-controller"}, Guards: balancer, Outside: true},
	{Name: "networking.gke.io/*", By: "the GKE ingress controller", Guards: balancer, Outside: true},
	{Name: "gke.networking.io/*", By: "the GKE service controller", Guards: balancer, Outside: true},
	{Name: "*.networking.gke.io", By: "the GKE ingress controller", Guards: balancer, Outside: true},

	{Name: "external-provisioner.volume.kubernetes.io/finalizer", By: "the CSI external-provisioner", Guards: disk,
		Outside: true},
	{Name: "kubernetes.io/pv-controller", By: "kube-controller-manager (volumes)", Guards: disk, Outside: true},
	{Name: "external-attacher/*", By: "the CSI external-attacher", Guards: "the attachment of a disk to a machine",
		Outside: true},
	{Name: "snapshot.storage.kubernetes.io/*", By: "the CSI snapshot-controller",
		Workloads: []string{"snapshot-controller"}, Guards: snapshot, Outside: true},
	{Name: "groupsnapshot.storage.kubernetes.io/*", By: "the CSI snapshot-controller",
		Workloads: []string{"snapshot-controller"}, Guards: snapshot, Outside: true},
	{Name: "*.ceph.rook.io", By: "Rook", Workloads: []string{"rook-ceph-operator"}, Guards: "the data in Ceph",
		Outside: true},
	{Name: "longhorn.io", By: "Longhorn", Workloads: []string{"longhorn-manager"}, Guards: "the data of its volumes",
		Outside: true},

	{Name: "karpenter.sh/termination", By: "Karpenter", Workloads: []string{"karpenter"}, Guards: machine, Outside: true},
	{Name: "karpenter.k8s.aws/*", By: "Karpenter", Workloads: []string{"karpenter"}, Guards: cloud, Outside: true},
	{Name: "*.cluster.x-k8s.io", By: "Cluster API", Workloads: []string{"capi-controller-manager"}, Guards: machine,
		Outside: true},
	{Name: "machine.sapcloud.io/*", By: "the machine controller manager", Guards: machine, Outside: true},
	{Name: "finalizer.managedresource.crossplane.io", By: "a provider of Crossplane", Guards: cloud, Outside: true},
	{Name: "*.crossplane.io", By: "Crossplane", Workloads: []string{"crossplane"}, Guards: cloud, Outside: true},
	{Name: "*.services.k8s.aws", By: "a controller of ACK", Guards: cloud, Outside: true},
	{Name: "cnrm.cloud.google.com/*", By: "Config Connector", Workloads: []string{"cnrm-controller-manager"},
		Guards: cloud, Outside: true},
	{Name: "serviceoperator.azure.com/*", By: "Azure Service Operator",
		Workloads: []string{"azureserviceoperator-controller-manager"}, Guards: cloud, Outside: true},
	{Name: "app.terraform.io/*", By: "the HCP Terraform operator", Guards: infrastructure, Outside: true},
	{Name: "workspace.app.terraform.io/*", By: "the HCP Terraform operator", Guards: infrastructure, Outside: true},
	{Name: "finalizer.stack.pulumi.com", By: "the Pulumi operator", Workloads: []string{"pulumi-kubernetes-operator"},
		Guards: infrastructure, Outside: true},
	{Name: "externaldns.k8s.io/*", By: "ExternalDNS", Workloads: []string{"external-dns"}, Guards: dnsRecord,
		Outside: true},

	{Name: "acme.cert-manager.io/finalizer", By: "cert-manager", Workloads: []string{"cert-manager"}},
	{Name: "finalizer.acme.cert-manager.io", By: "cert-manager", Workloads: []string{"cert-manager"}},
	{Name: "resources-finalizer.argocd.argoproj.io", By: "Argo CD",
		Workloads: []string{"argocd-application-controller"}, Guards: "what the Application deployed, which then stays"},
	{Name: "finalizers.fluxcd.io", By: "Flux", Workloads: []string{"source-controller", "kustomize-controller",
		"helm-controller"}, Guards: "what Flux deployed, which then stays"},
	{Name: "controller.cattle.io/*", By: "Rancher", Workloads: []string{"rancher", "cattle-cluster-agent"}},
	{Name: "finalizer.clickhouseinstallation.altinity.com", By: "the Altinity ClickHouse operator",
		Workloads: []string{"clickhouse-operator"}},
}

// lookUp finds the entry of a finalizer, the caller's first.
func lookUp(finalizer string, more []Known) (Known, bool) {
	domain, _, _ := strings.Cut(finalizer, "/")
	for _, list := range [][]Known{more, knownFinalizers} {
		for _, k := range list {
			if begin, ok := strings.CutSuffix(k.Name, "*"); ok && strings.HasPrefix(finalizer, begin) {
				return k, true
			}
			if end, ok := strings.CutPrefix(k.Name, "*."); ok && (domain == end || strings.HasSuffix(domain, "."+end)) {
				return k, true
			}
			if k.Name == finalizer {
				return k, true
			}
		}
	}
	return Known{}, false
}

// sawAll tells whether the snapshot holds all objects of the kinds.
func sawAll(snap *cluster.Snapshot, kinds ...string) bool {
	for _, kind := range kinds {
		inScope := len(snap.Scope.Namespaces) == 0 || slices.Contains(snap.Scope.Whole, kind)
		if !inScope || slices.Contains(snap.Elsewhere, kind) || unreadable(snap, kind) != nil {
			return false
		}
	}
	return true
}

// unreadable returns why a kind could not be listed, or nil.
func unreadable(snap *cluster.Snapshot, kind string) *cluster.Unreadable {
	i := slices.IndexFunc(snap.Unreadable, func(u cluster.Unreadable) bool {
		return u.GroupVersion == "" &&
			u.What == kind
	})
	if i < 0 {
		return nil
	}
	return &snap.Unreadable[i]
}
