package backup

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/offboard"
)

// Change is a difference between an object and what is saved of it.
type Change struct {
	Path string `json:"path"`
	Why  string `json:"why"`
}

// rules are what making an object apply-able depends on beside the object.
type rules struct {
	// survives tells whether an owner is there after a restore with the same UID.
	survives func(types.UID) bool
	// finalizers are those whose controllers go away.
	finalizers []string
	// withoutSecrets leaves the data of Secrets out.
	withoutSecrets bool
}

// applyable returns a copy of an object as it can be given to server-side apply
// after the object has been deleted, and what is different in it.
func applyable(u *unstructured.Unstructured, r rules) (*unstructured.Unstructured, []Change) {
	c := &cleaner{Unstructured: u.DeepCopy(), original: u.GetAnnotations()}
	c.started()
	c.metadata(r)
	c.drop("the server or a controller writes it", "status")
	switch c.GroupVersionKind().GroupKind().String() {
	case "Namespace":
		c.silently("spec", "finalizers")
	case "Service":
		c.service()
	case "Secret":
		c.secret(r)
		c.progress()
	case "ConfigMap":
		c.progress()
	case "ServiceAccount":
		c.serviceAccount()
	case "PersistentVolumeClaim":
		c.claim()
	case "PersistentVolume":
		c.volume()
	case "Pod":
		c.pod()
	case "Job.batch":
		c.job()
	case "ClusterRole.rbac.authorization.k8s.io":
		if c.Object["aggregationRule"] != nil {
			c.drop("a controller collects them from the roles that are aggregated", "rules")
		}
	}
	for _, path := range [][]string{
		{"spec", "template", "metadata", "creationTimestamp"},
		{"spec", "jobTemplate", "metadata", "creationTimestamp"},
		{"spec", "jobTemplate", "spec", "template", "metadata", "creationTimestamp"},
	} {
		c.silently(path...)
	}
	return c.Unstructured, c.changes
}

// cleaner is an object on its way to being apply-able.
type cleaner struct {
	*unstructured.Unstructured
	original map[string]string // annotations
	changes  []Change
}

// silently removes a field that the server sets anyway and nobody misses.
func (c *cleaner) silently(path ...string) {
	unstructured.RemoveNestedField(c.Object, path...)
}

// drop removes a field, if it is there, and says why.
func (c *cleaner) drop(why string, path ...string) {
	if _, found, err := unstructured.NestedFieldNoCopy(c.Object, path...); err != nil || !found {
		return
	}
	unstructured.RemoveNestedField(c.Object, path...)
	c.changed(why, path...)
}

func (c *cleaner) changed(why string, path ...string) {
	c.changes = append(c.changes, Change{Path: strings.Join(path, "."), Why: why})
}

// Annotations that controllers and the API server write: they describe the old
// object, and would be wrong, or make controllers do harm, on the new one.
var staleAnnotations = []string{
	"deployment.kubernetes.io/revision",
	"deprecated.daemonset.template.generation",
	"pv.kubernetes.io/bind-completed",
	"pv.kubernetes.io/bound-by-controller",
	"volume.kubernetes.io/selected-node",
	"volume.kubernetes.io/storage-provisioner",
	"volume.beta.kubernetes.io/storage-provisioner",
	"endpoints.kubernetes.io/last-change-trigger-time",
	"kubernetes.io/service-account.uid", // a token controller deletes the Secret when it differs
	"batch.kubernetes.io/job-tracking",
	offboard.StoppedAnnotation,
}

// Labels of the same sort.
var staleLabels = []string{"kubernetes.io/legacy-token-last-used", "kubernetes.io/legacy-token-invalid-since"}

// metadata keeps of an object's metadata what its author writes.
func (c *cleaner) metadata(r rules) {
	for _, field := range []string{
		"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink", "deletionTimestamp",
		"deletionGracePeriodSeconds",
	} {
		c.silently("metadata", field)
	}
	for _, key := range staleAnnotations {
		c.silently("metadata", "annotations", key)
	}
	for _, key := range staleLabels {
		c.silently("metadata", "labels", key)
	}
	for _, field := range []string{"annotations", "labels"} {
		if m, found, err := unstructured.NestedMap(c.Object, "metadata", field); err == nil && found && len(m) == 0 {
			c.silently("metadata", field)
		}
	}
	c.owners(r)
	c.finalizers(r)
}

// owners removes references to owners that will be gone: with one, the garbage
// collector would delete the restored object.
func (c *cleaner) owners(r rules) {
	all := c.GetOwnerReferences()
	keep := slices.DeleteFunc(slices.Clone(all), func(o metav1.OwnerReference) bool { return !r.survives(o.UID) })
	if len(keep) == len(all) {
		return
	}
	c.SetOwnerReferences(keep)
	if len(keep) == 0 {
		c.silently("metadata", "ownerReferences")
	}
	c.changed("restore puts owners back under their new UIDs where it restores them, too", "metadata", "ownerReferences")
}

func (c *cleaner) finalizers(r rules) {
	all := c.GetFinalizers()
	keep := slices.DeleteFunc(slices.Clone(all), func(f string) bool {
		return f == metav1.FinalizerDeleteDependents || f == metav1.FinalizerOrphanDependents ||
			slices.Contains(r.finalizers, f)
	})
	if len(keep) == len(all) {
		return
	}
	c.SetFinalizers(keep)
	if len(keep) == 0 {
		c.silently("metadata", "finalizers")
	}
	c.changed("the controllers that remove them set them themselves", "metadata", "finalizers")
}
