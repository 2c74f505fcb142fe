package finalize

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// known is one finalizer, or a family of them, and who removes it.
type known struct {
	name string // exact; with a leading "*" the end of the name, with a trailing "*" its beginning
	by   string
	// workloads are names of Deployments, StatefulSets and DaemonSets that do
	// it; without any, it is a part of the control plane.
	workloads []string
	castAI    bool
	// bundled: Cast AI brings this project along, but a user may have it, too.
	bundled bool
	// afterPods: it goes by itself when the pods of the namespace are gone.
	afterPods bool
	// afterOthers: it goes by itself when the objects it waits for are gone.
	afterOthers bool
	// slow: it waits for something outside of the cluster, without a visible sign.
	slow   bool
	guards string
}

// knownFinalizers is data. Kubernetes' own are the constants of the same values
// in k8s.io/api, k8s.io/apimachinery/pkg/apis/meta/v1, k8s.io/cloud-provider and
// Kubernetes 1.36.3 pkg/volume/util/finalizer.go and pkg/apis/batch; Cast AI's
// and Liqo's were found in their charts, images and sources.
var knownFinalizers = []known{
	{name: "kubernetes.io/pvc-protection", by: "kube-controller-manager (PVC protection)", afterPods: true, guards: "data of a volume that a pod still uses"},
	{name: "kubernetes.io/pv-protection", by: "kube-controller-manager (PV protection)", guards: "data of a volume that is still bound"},
	{name: "foregroundDeletion", by: "kube-controller-manager (garbage collector)", afterOthers: true, guards: "dependents of the object, which are then removed later"},
	{name: "orphan", by: "kube-controller-manager (garbage collector)", guards: "dependents of the object, which are then removed with it"},
	{name: "customresourcecleanup.apiextensions.k8s.io", by: "kube-apiserver (CRD finalizer)", guards: "custom resources, which would come back with the next definition of that name"},
	{name: "batch.kubernetes.io/job-tracking", by: "kube-controller-manager (Job controller)"},
	{name: "service.kubernetes.io/load-balancer-cleanup", by: "the cloud controller manager", slow: true, guards: "the load balancer at the cloud provider, which may stay and cost money"},
	{name: "external-provisioner.volume.kubernetes.io/finalizer", by: "the CSI external-provisioner", slow: true, guards: "the disk at the storage provider"},
	{name: "external-attacher/*", by: "the CSI external-attacher", slow: true, guards: "the attachment of a disk"},
	{name: "snapshot.storage.kubernetes.io/*", by: "the CSI snapshot-controller", workloads: []string{"snapshot-controller"}, slow: true, guards: "the snapshot at the storage provider"},
	{name: "ingress.k8s.aws/resources", by: "the AWS Load Balancer Controller", workloads: []string{"aws-load-balancer-controller"}, slow: true, guards: "the load balancer at AWS, which may stay and cost money"},
	{name: "service.k8s.aws/resources", by: "the AWS Load Balancer Controller", workloads: []string{"aws-load-balancer-controller"}, slow: true, guards: "the load balancer at AWS, which may stay and cost money"},
	{name: "elbv2.k8s.aws/resources", by: "the AWS Load Balancer Controller", workloads: []string{"aws-load-balancer-controller"}, slow: true, guards: "the target group at AWS"},
	{name: "networking.gke.io/*", by: "the GKE ingress controller", slow: true, guards: "the load balancer at Google Cloud, which may stay and cost money"},
	{name: "acme.cert-manager.io/finalizer", by: "cert-manager", workloads: []string{"cert-manager"}},
	{name: "finalizer.acme.cert-manager.io", by: "cert-manager", workloads: []string{"cert-manager"}},
	{name: "karpenter.sh/termination", bundled: true, by: "Karpenter", workloads: []string{"karpenter", "castai-kentroller"}, slow: true, guards: "the machine at the cloud provider, which may stay and cost money"},
	{name: "resources-finalizer.argocd.argoproj.io", by: "Argo CD", workloads: []string{"argocd-application-controller"}, guards: "what the Application deployed, which then stays"},
	{name: "finalizers.fluxcd.io", by: "Flux", workloads: []string{"source-controller", "kustomize-controller", "helm-controller"}, guards: "what Flux deployed, which then stays"},
	{name: "controller.cattle.io/*", by: "Rancher", workloads: []string{"rancher", "cattle-cluster-agent"}},

	{name: "castware.cast.ai/cleanup-helm", by: "castware-operator", workloads: []string{"castware-operator"}, castAI: true},
	{name: "autoscaling.cast.ai/*", by: "castai-workload-autoscaler", workloads: []string{"castai-workload-autoscaler"}, castAI: true},
	{name: "workloads.cast.ai/*", by: "castai-workload-autoscaler or its guardrails", workloads: []string{"castai-workload-autoscaler"}, castAI: true, guards: "original settings of a workload"},
	{name: "*.omni.cast.ai", by: "omni-agent", workloads: []string{"omni-agent"}, castAI: true},
	{name: "omni.cast.ai/*", by: "omni-agent", workloads: []string{"omni-agent"}, castAI: true},
	{name: "*.cast.ai", by: "a component of Cast AI", castAI: true},
	{name: "crdreplicator.liqo.io/*", bundled: true, by: "liqo-crd-replicator", workloads: []string{"liqo-crd-replicator"}},
	{name: "*.liqo.io", bundled: true, by: "liqo-controller-manager", workloads: []string{"liqo-controller-manager"}},
	{name: "finalizer.clickhouseinstallation.altinity.com", bundled: true, by: "the Altinity ClickHouse operator", workloads: []string{"clickhouse-operator"}},
}

// lookUp finds the entry of a finalizer.
func lookUp(finalizer string) (known, bool) {
	domain, _, _ := strings.Cut(finalizer, "/")
	for _, k := range knownFinalizers {
		if begin, ok := strings.CutSuffix(k.name, "*"); ok && strings.HasPrefix(finalizer, begin) {
			return k, true
		}
		// A domain and everything below it.
		if end, ok := strings.CutPrefix(k.name, "*."); ok && (domain == end || strings.HasSuffix(domain, "."+end)) {
			return k, true
		}
		if k.name == finalizer {
			return k, true
		}
	}
	return known{}, false
}

// controller says who should remove a finalizer and whether it still can.
func controller(snap *cluster.Snapshot, finalizer string, objects []*cluster.Object) *Controller {
	k, ok := lookUp(finalizer)
	if !ok {
		c := &Controller{Name: "an unknown controller", Alive: AliveUnsure}
		if domain, _, qualified := strings.Cut(finalizer, "/"); qualified || strings.Contains(finalizer, ".") {
			c.Name = "the unknown controller of " + domain
		}
		if by := writers(objects); len(by) > 0 {
			c.Evidence = "last written by " + enumerate(by)
		}
		return c
	}
	c := &Controller{Name: k.by, CastAI: k.castAI, Guards: k.guards, Alive: AliveUnsure}
	if len(k.workloads) == 0 {
		if strings.HasPrefix(k.by, "kube-") {
			c.Alive, c.Evidence = Alive, "it is a part of the control plane"
		}
		return c
	}
	c.Alive, c.Evidence = living(snap, k.workloads)
	return c
}

// living tells whether a workload of one of the names has ready pods.
func living(snap *cluster.Snapshot, names []string) (Liveness, string) {
	var idle *cluster.Object
	for _, o := range snap.Objects {
		if o.Resource.Group != "apps" || !slices.Contains(names, o.Name) {
			continue
		}
		ready, _, _ := unstructured.NestedInt64(o.Body, "status", "readyReplicas")
		if o.Resource.Kind == "DaemonSet" {
			ready, _, _ = unstructured.NestedInt64(o.Body, "status", "numberReady")
		}
		switch {
		case o.Resource.Kind != "Deployment" && o.Resource.Kind != "StatefulSet" && o.Resource.Kind != "DaemonSet":
		case ready > 0:
			return Alive, fmt.Sprintf("%s %s/%s has %d ready pods", o.Resource.Kind, o.Namespace, o.Name, ready)
		default:
			idle = o
		}
	}
	if idle != nil {
		return Gone, fmt.Sprintf("%s %s/%s has no ready pod", idle.Resource.Kind, idle.Namespace, idle.Name)
	}
	if !sawAll(snap, "deployments.apps", "statefulsets.apps", "daemonsets.apps") {
		return AliveUnsure, "the workloads of the cluster could not be read"
	}
	return Gone, "no workload named " + strings.Join(names, " or ") + " is in the cluster"
}

// sawAll tells whether the snapshot holds all objects of the kinds.
func sawAll(snap *cluster.Snapshot, kinds ...string) bool {
	for _, kind := range kinds {
		if len(snap.Scope.Namespaces) > 0 && !slices.Contains(snap.Scope.Whole, kind) || unreadable(snap, kind) != nil {
			return false
		}
	}
	return true
}

// unreadable returns why a kind could not be listed, or nil.
func unreadable(snap *cluster.Snapshot, kind string) *cluster.Unreadable {
	i := slices.IndexFunc(snap.Unreadable, func(u cluster.Unreadable) bool { return u.GroupVersion == "" && u.What == kind })
	if i < 0 {
		return nil
	}
	return &snap.Unreadable[i]
}

// writers returns the field managers of the objects, beside the usual clients.
func writers(objects []*cluster.Object) []string {
	var out []string
	for _, o := range objects {
		for _, m := range o.Managers {
			if !strings.HasPrefix(m, "kubectl") && m != "kube-controller-manager" && !slices.Contains(out, m) {
				out = append(out, m)
			}
		}
	}
	slices.Sort(out)
	return out[:min(len(out), 3)]
}
