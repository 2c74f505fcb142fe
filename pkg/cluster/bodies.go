package cluster

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// podFields are the fields of a pod specification that tell who made it and
// which nodes it needs.
func podFields(prefix ...string) [][]string {
	var out [][]string
	for _, f := range []string{
		"containers", "initContainers", "serviceAccountName", "nodeSelector", "affinity", "tolerations",
		"volumes", "imagePullSecrets", "priorityClassName", "nodeName",
	} {
		out = append(out, append(append([]string{}, prefix...), f))
	}
	return out
}

// volumeSecrets are the fields of a PersistentVolume that name the Secrets which its
// driver logs in with (core/v1 PersistentVolumeSource).
func volumeSecrets() [][]string {
	var out [][]string
	for _, driver := range []string{"cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"} {
		out = append(out, []string{"spec", driver, "secretRef"})
	}
	for _, call := range []string{"controllerPublish", "nodeStage", "nodePublish", "controllerExpand", "nodeExpand"} {
		out = append(out, []string{"spec", "csi", call + "SecretRef"})
	}
	return append(out, []string{"spec", "azureFile", "secretName"}, []string{"spec", "azureFile", "secretNamespace"})
}

// bodies names, by plural.group, the kinds of which ownership or impact needs
// more than metadata, and the fields that are kept. Everything else is listed
// as metadata only. Secrets are deliberately absent: their data is read in one
// place, for Helm releases (Client.HelmReleases).
var bodies = map[string][][]string{
	"namespaces": {{"spec"}, {"status"}},
	"nodes":      {{"spec"}, {"status", "conditions"}, {"status", "nodeInfo"}},
	"services":   {{"spec", "selector"}, {"spec", "type"}},
	"deployments.apps": append(podFields("spec", "template", "spec"), []string{"spec", "replicas"},
		[]string{"spec", "template", "metadata", "labels"}, []string{"status", "readyReplicas"}),
	"statefulsets.apps": append(podFields("spec", "template", "spec"), []string{"spec", "replicas"},
		[]string{"spec", "volumeClaimTemplates"},
		[]string{"spec", "template", "metadata", "labels"}, []string{"status", "readyReplicas"}),
	"daemonsets.apps": append(podFields("spec", "template", "spec"),
		[]string{"spec", "template", "metadata", "labels"}, []string{"status", "desiredNumberScheduled"}),
	"jobs.batch": append(podFields("spec", "template", "spec"), []string{"spec", "suspend"},
		[]string{"spec", "template", "metadata", "labels"}, []string{"status", "active"}),
	"cronjobs.batch": append(podFields("spec", "jobTemplate", "spec", "template", "spec"), []string{"spec", "suspend"},
		[]string{"spec", "jobTemplate", "spec", "template", "metadata", "labels"}),
	"persistentvolumeclaims":                                       {{"spec", "storageClassName"}, {"spec", "volumeName"}},
	"persistentvolumes":                                            append(volumeSecrets(), []string{"spec", "storageClassName"}, []string{"spec", "claimRef"}),
	"storageclasses.storage.k8s.io":                                {{"provisioner"}, {"parameters"}},
	"runtimeclasses.node.k8s.io":                                   {{"handler"}, {"scheduling"}},
	"clusterrolebindings.rbac.authorization.k8s.io":                {{"roleRef"}, {"subjects"}},
	"rolebindings.rbac.authorization.k8s.io":                       {{"roleRef"}, {"subjects"}},
	"mutatingwebhookconfigurations.admissionregistration.k8s.io":   {{"webhooks"}},
	"validatingwebhookconfigurations.admissionregistration.k8s.io": {{"webhooks"}},
	"apiservices.apiregistration.k8s.io":                           {{"spec"}, {"status"}},
	"securitycontextconstraints.security.openshift.io":             {{"users"}, {"groups"}},
	"poddisruptionbudgets.policy":                                  {{"spec", "selector"}},
	// What names Secrets and ConfigMaps.
	"serviceaccounts":             {{"secrets"}, {"imagePullSecrets"}},
	"ingresses.networking.k8s.io": {{"spec", "tls"}},
	"routes.route.openshift.io":   {{"spec", "tls", "externalCertificate"}},
	"validatingadmissionpolicybindings.admissionregistration.k8s.io": {{"spec", "paramRef"}},
	"mutatingadmissionpolicybindings.admissionregistration.k8s.io":   {{"spec", "paramRef"}},
	"leases.coordination.k8s.io": {{"spec", "holderIdentity"}, {"spec", "renewTime"},
		{"spec", "leaseDurationSeconds"}},
	"clusters.castware.cast.ai":   {{"spec"}},
	"components.castware.cast.ai": {{"status", "conditions"}},
	// What GitOps tools say that they manage.
	"applications.argoproj.io":                   {{"status", "resources"}},
	"kustomizations.kustomize.toolkit.fluxcd.io": {{"status", "inventory"}},
	"helmreleases.helm.toolkit.fluxcd.io":        {{"spec", "targetNamespace"}, {"spec", "releaseName"}},
	"bundledeployments.fleet.cattle.io":          {{"status", "resources"}},
	"resourcegroups.kpt.dev":                     {{"spec", "resources"}},
	"helmcharts.helm.cattle.io":                  {{"spec", "targetNamespace"}},
	"releases.helm.crossplane.io":                {{"spec", "forProvider", "namespace"}},
}

// project returns the named fields of an object, so that a snapshot holds no
// more of a cluster than the rules look at. It does not copy what is in them.
func project(in map[string]any, fields [][]string) map[string]any {
	out := map[string]any{}
	for _, path := range fields {
		v, found, err := unstructured.NestedFieldNoCopy(in, path...)
		if err != nil || !found {
			continue
		}
		parent, last := out, len(path)-1
		for _, key := range path[:last] {
			child, ok := parent[key].(map[string]any)
			if !ok {
				child = map[string]any{}
				parent[key] = child
			}
			parent = child
		}
		parent[path[last]] = v
	}
	return out
}
