package backup

import (
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/offboard"
)

// started undoes what an offboarding did to stop a workload: this one, or an earlier
// one that did not get to its end.
func (c *cleaner) started() {
	const why = "an offboarding had stopped it"
	selector, found, err := unstructured.NestedMap(c.Object, "spec", "template", "spec", "nodeSelector")
	if err == nil && found && selector[offboard.StopLabel] != nil && c.GetKind() == "DaemonSet" {
		c.drop(why, "spec", "template", "spec", "nodeSelector", offboard.StopLabel)
		if len(selector) == 1 {
			c.silently("spec", "template", "spec", "nodeSelector")
		}
	}
	before, found := c.GetAnnotations()[offboard.StoppedAnnotation]
	if !found {
		return
	}
	if replicas, err := strconv.ParseInt(before, 10, 32); err == nil {
		if now, _, err := unstructured.NestedInt64(c.Object, "spec", "replicas"); err == nil && now == 0 {
			c.set(why, replicas, "spec", "replicas")
		}
	} else if before == "false" {
		c.set(why, false, "spec", "suspend")
	}
}

// set changes a field. Its parents are maps, or the object has no such field.
func (c *cleaner) set(why string, value any, path ...string) {
	if err := unstructured.SetNestedField(c.Object, value, path...); err == nil {
		c.changed(why, path...)
	}
}

// service leaves the addresses out: they may be somebody else's by now. That a
// Service is headless is kept, and so are node ports, which people tell their
// firewalls.
func (c *cleaner) service() {
	if ip, _, err := unstructured.NestedString(c.Object, "spec", "clusterIP"); err == nil && ip == "None" {
		return
	}
	const why = "the cluster gives it a new address"
	c.drop(why, "spec", "clusterIP")
	c.silently("spec", "clusterIPs")
	c.drop(why, "spec", "healthCheckNodePort")
}

// secret leaves out what is generated, and all data if that was asked for. The
// configuration that kubectl apply keeps in an annotation holds the data, too.
func (c *cleaner) secret(r rules) {
	kind, _, _ := unstructured.NestedString(c.Object, "type")
	if kind == "kubernetes.io/service-account-token" {
		c.drop("a controller generates the token", "data")
	}
	if r.withoutSecrets {
		for _, path := range [][]string{
			{"data"}, {"stringData"}, {"metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"},
		} {
			c.drop("left out: secrets were not to be saved", path...)
		}
	}
}

// serviceAccount leaves out the references to tokens and pull secrets that
// controllers (up to Kubernetes 1.23, and of OpenShift) generate for each
// account: theirs will have other names.
func (c *cleaner) serviceAccount() {
	for _, field := range []string{"secrets", "imagePullSecrets"} {
		list, found, err := unstructured.NestedSlice(c.Object, field)
		if err != nil || !found {
			continue
		}
		keep := slices.DeleteFunc(slices.Clone(list), func(ref any) bool {
			m, _ := ref.(map[string]any)
			name, _ := m["name"].(string)
			return strings.HasPrefix(name, c.GetName()+"-token-") || strings.HasPrefix(name, c.GetName()+"-dockercfg-")
		})
		switch {
		case len(keep) == len(list):
		case len(keep) == 0:
			c.drop("a controller generates them anew", field)
		default:
			c.set("a controller generates some of them anew", keep, field)
		}
	}
}

// claim leaves out the volume that a controller bound it to: it goes with the
// claim, and a claim for a volume that is gone is lost.
func (c *cleaner) claim() {
	if _, bound := c.original["pv.kubernetes.io/bound-by-controller"]; bound {
		c.drop("its volume goes with it: the data in it is not saved", "spec", "volumeName")
	}
}

// volume leaves out which claim it was bound to, down to its name: the claim
// will be another one.
func (c *cleaner) volume() {
	c.silently("spec", "claimRef", "resourceVersion")
	c.drop("the claim will be another one of the same name", "spec", "claimRef", "uid")
}

// pod leaves out where it ran and what admission puts into every pod.
func (c *cleaner) pod() {
	c.drop("the scheduler decides", "spec", "nodeName")
	c.silently("spec", "ephemeralContainers")
	c.without(func(name string) bool { return strings.HasPrefix(name, "kube-api-access-") }, "spec", "volumes")
	for _, kind := range []string{"containers", "initContainers"} {
		containers, found, err := unstructured.NestedSlice(c.Object, "spec", kind)
		if err != nil || !found {
			continue
		}
		for _, container := range containers {
			if m, ok := container.(map[string]any); ok {
				inner := &cleaner{Unstructured: &unstructured.Unstructured{Object: m}}
				inner.without(func(name string) bool { return strings.HasPrefix(name, "kube-api-access-") }, "volumeMounts")
			}
		}
		_ = unstructured.SetNestedSlice(c.Object, containers, "spec", kind) // it was a list before
	}
}

// without removes the elements of a list whose names match.
func (c *cleaner) without(match func(name string) bool, path ...string) {
	list, found, err := unstructured.NestedSlice(c.Object, path...)
	if err != nil || !found {
		return
	}
	keep := slices.DeleteFunc(slices.Clone(list), func(e any) bool {
		m, _ := e.(map[string]any)
		name, _ := m["name"].(string)
		return match(name)
	})
	if len(keep) == 0 {
		c.silently(path...)
		return
	}
	_ = unstructured.SetNestedSlice(c.Object, keep, path...) // it was a list before
}

// job leaves out the selector and the labels that the server generates from the
// UID of the Job (batch/v1 JobSpec.ManualSelector).
func (c *cleaner) job() {
	if manual, _, err := unstructured.NestedBool(c.Object, "spec", "manualSelector"); err == nil && manual {
		return
	}
	c.drop("the server generates it from the new UID", "spec", "selector")
	for _, key := range []string{"controller-uid", "batch.kubernetes.io/controller-uid"} {
		c.silently("metadata", "labels", key)
		c.silently("spec", "template", "metadata", "labels", key)
	}
}

// unrestorable says why an object is not to be applied again, or nothing.
func unrestorable(u *unstructured.Unstructured, withoutSecrets bool) string {
	if u.GetDeletionTimestamp() != nil {
		return "it was being deleted already when the backup was made"
	}
	labels := u.GetLabels()
	if err := (&cleaner{Unstructured: u.DeepCopy()}).release(); err != nil && !withoutSecrets {
		return "it is the record of a Helm release that was being worked on, and can't be read: " + err.Error()
	}
	switch u.GroupVersionKind().GroupKind().String() {
	case "Secret":
		if withoutSecrets {
			return "its data was left out of the backup"
		}
	case "ConfigMap":
		if u.GetName() == "kube-root-ca.crt" {
			return "a controller makes it in every namespace"
		}
	case "Node":
		return "a node is not made by applying it: who runs it registers it"
	case "Lease.coordination.k8s.io":
		return "who needs it takes it again"
	case "CertificateSigningRequest.certificates.k8s.io":
		return "a request is made by who needs the certificate"
	case "Endpoints", "EndpointSlice.discovery.k8s.io":
		if labels["endpointslice.kubernetes.io/managed-by"] == "endpointslice-controller.k8s.io" ||
			onlyBy(u, "kube-controller-manager") {
			return "a controller makes it for the Service"
		}
	case "ControllerRevision.apps", "IPAddress.networking.k8s.io", "VolumeAttachment.storage.k8s.io", "CSIStorageCapacity.storage.k8s.io":
		return "a controller makes it"
	case "APIService.apiregistration.k8s.io":
		if labels["kube-aggregator.kubernetes.io/automanaged"] != "" {
			return "the API server makes it for the kinds that it serves"
		}
	case "Job.batch":
		if finished(u) {
			return "it has finished: applying it would run it again"
		}
	case "Pod":
		phase, _, _ := unstructured.NestedString(u.Object, "status", "phase")
		if phase == "Succeeded" || phase == "Failed" {
			return "it has finished: applying it would run it again"
		}
		if u.GetAnnotations()["kubernetes.io/config.mirror"] != "" {
			return "the kubelet makes it from a file"
		}
	}
	return ""
}

// finished tells whether a Job has come to its end, for better or worse.
func finished(u *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	return slices.ContainsFunc(conditions, func(c any) bool {
		m, _ := c.(map[string]any)
		return (m["type"] == "Complete" || m["type"] == "Failed") && m["status"] == "True"
	})
}

// onlyBy tells whether nobody but the manager has written an object.
func onlyBy(u *unstructured.Unstructured, manager string) bool {
	fields := u.GetManagedFields()
	for _, f := range fields {
		if f.Manager != manager {
			return false
		}
	}
	return len(fields) > 0
}
