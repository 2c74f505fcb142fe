package clustertest

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/watch"
)

// key names an object in storage, which all versions of a kind share.
type key struct {
	schema.GroupKind
	namespace, name string
}

func keyOf(u *unstructured.Unstructured) key {
	return key{u.GroupVersionKind().GroupKind(), u.GetNamespace(), u.GetName()}
}

// change is one entry of the history that watches read.
type change struct {
	version  int64
	kind     watch.EventType
	old, now *unstructured.Unstructured // old is nil at creation; now is the last state at deletion
}

// all returns the objects of a kind in the order in which lists have them.
// Stored objects are never changed, only replaced.
func (s *Server) all(gk schema.GroupKind) []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	for k, u := range s.objects {
		if k.GroupKind == gk {
			out = append(out, u)
		}
	}
	slices.SortFunc(out, func(a, b *unstructured.Unstructured) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return out
}

// write stores a new state of an object and tells the watches.
func (s *Server) write(u *unstructured.Unstructured) *unstructured.Unstructured {
	k := keyOf(u)
	old := s.objects[k]
	s.version++
	u = u.DeepCopy()
	u.SetResourceVersion(strconv.FormatInt(s.version, 10))
	s.objects[k] = u
	s.defined(k)
	c := change{version: s.version, kind: watch.Modified, old: old, now: u}
	if old == nil {
		c.kind = watch.Added
	}
	s.history = append(s.history, c)
	s.tell()
	return u
}

// erase removes an object from storage and tells the watches.
func (s *Server) erase(k key) {
	last := s.objects[k].DeepCopy()
	delete(s.objects, k)
	s.defined(k)
	s.version++
	last.SetResourceVersion(strconv.FormatInt(s.version, 10))
	s.history = append(s.history, change{version: s.version, kind: watch.Deleted, old: last, now: last})
	s.tell()
	s.cleanUp()
}

// defined forgets what is served if an object says that.
func (s *Server) defined(k key) {
	if k.GroupKind == crdKind.GroupKind() {
		s.served = nil
	}
}

// tell wakes the watches.
func (s *Server) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// admitCreate is the admission plugin NamespaceLifecycle for creations, and
// admitUpdate for updates (k8s.io/apiserver v0.36.3
// pkg/admission/plugin/namespace/lifecycle).
func (s *Server) admitCreate(r *Request, name string) error {
	if err := s.admitUpdate(r); err != nil || r.Namespace == "" {
		return err
	}
	ns := s.objects[namespaceKey(r.Namespace)]
	if phase, _, _ := unstructured.NestedString(ns.Object, "status", "phase"); phase != "Terminating" {
		return nil
	}
	err := apierrors.NewForbidden(r.groupResource(), name,
		fmt.Errorf("unable to create new content in namespace %s because it is being terminated", r.Namespace))
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{
		Type:    "NamespaceTerminating",
		Message: fmt.Sprintf("namespace %s is being terminated", r.Namespace),
		Field:   "metadata.namespace",
	})
	return err
}

func (s *Server) admitUpdate(r *Request) error {
	if r.Namespace == "" || s.objects[namespaceKey(r.Namespace)] != nil {
		return nil
	}
	return apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, r.Namespace)
}

func namespaceKey(name string) key { return key{schema.GroupKind{Kind: "Namespace"}, "", name} }

// create stores a new object (k8s.io/apiserver v0.36.3 pkg/registry/rest/create.go).
func (s *Server) create(r *Request, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if err := s.fits(r, u); err != nil {
		return nil, err
	}
	if err := s.admitCreate(r, u.GetName()); err != nil {
		return nil, err
	}
	for u.GetName() == "" && u.GetGenerateName() != "" {
		u.SetName(u.GetGenerateName() + utilrand.String(5))
		if s.objects[keyOf(u)] != nil {
			u.SetName("")
		}
	}
	if u.GetName() == "" {
		return nil, apierrors.NewInvalid(r.kind.GroupKind(), "", field.ErrorList{
			field.Required(field.NewPath("metadata", "name"), "name or generateName is required"),
		})
	}
	if old := s.objects[keyOf(u)]; old != nil {
		err := apierrors.NewAlreadyExists(r.groupResource(), u.GetName())
		if old.GetDeletionTimestamp() != nil {
			err.ErrStatus.Message = "object is being deleted: " + err.ErrStatus.Message
		}
		return nil, err
	}
	if u.GetResourceVersion() != "" {
		return nil, errors.New("resourceVersion should not be set on objects to be created")
	}
	u.SetUID(types.UID(uuid.NewString()))
	u.SetCreationTimestamp(metav1.Now())
	u.SetDeletionTimestamp(nil)
	u.SetDeletionGracePeriodSeconds(nil)
	if r.kind.status {
		unstructured.RemoveNestedField(u.Object, "status")
	}
	unstructured.RemoveNestedField(u.Object, "metadata", "generation")
	if r.kind.generation {
		u.SetGeneration(1)
	}
	initialize(u)
	u, err := s.manage(r, r.empty(), u)
	if err != nil {
		return nil, err
	}
	if r.DryRun {
		return u, nil
	}
	return s.write(u), nil
}

// initialize sets what the server itself sets in new objects of some kinds.
func initialize(u *unstructured.Unstructured) {
	switch u.GroupVersionKind().GroupKind() {
	case schema.GroupKind{Kind: "Namespace"}:
		label(u)
		set(u, []any{"kubernetes"}, "spec", "finalizers")
		set(u, "Active", "status", "phase")
	case schema.GroupKind{Kind: "Pod"}:
		set(u, "Pending", "status", "phase")
	case crdKind.GroupKind():
		// A moment later, at a real server.
		set(u, []any{map[string]any{"type": "Established", "status": "True"}}, "status", "conditions")
	}
}

// label gives a namespace the label that every namespace has.
func label(u *unstructured.Unstructured) {
	labels := map[string]string{"kubernetes.io/metadata.name": u.GetName()}
	maps.Copy(labels, u.GetLabels())
	u.SetLabels(labels)
}

// set sets a field of an object that the server made itself, and so can.
func set(u *unstructured.Unstructured, value any, path ...string) {
	if err := unstructured.SetNestedField(u.Object, value, path...); err != nil {
		u.Object[path[0]] = map[string]any{}
		_ = unstructured.SetNestedField(u.Object, value, path...) // now it can't fail
	}
}

// fits compares an object with the address that it was sent to.
func (s *Server) fits(r *Request, u *unstructured.Unstructured) error {
	switch gvk := u.GroupVersionKind(); {
	case gvk != r.kind.GroupVersionKind:
		return apierrors.NewBadRequest(
			fmt.Sprintf("%s in version %q cannot be handled as a %s", gvk.Kind, gvk.GroupVersion(), r.kind.Kind),
		)
	case u.GetNamespace() != "" && u.GetNamespace() != r.Namespace:
		return apierrors.NewBadRequest(
			"the namespace of the provided object does not match the namespace sent on the request",
		)
	case r.Name != "" && u.GetName() != "" && u.GetName() != r.Name:
		return apierrors.NewBadRequest(
			fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", u.GetName(), r.Name),
		)
	}
	u.SetNamespace(r.Namespace)
	if r.Name != "" {
		u.SetName(r.Name)
	}
	return nil
}

// update replaces an object by what change makes of it (Store.Update and
// BeforeUpdate in k8s.io/apiserver v0.36.3 pkg/registry).
func (s *Server) update(
	r *Request,
	change func(old *unstructured.Unstructured) (*unstructured.Unstructured, error),
) (*unstructured.Unstructured, error) {
	k := key{r.kind.GroupKind(), r.Namespace, r.Name}
	stored := s.objects[k]
	if stored == nil {
		return nil, apierrors.NewNotFound(r.groupResource(), r.Name)
	}
	old := r.asRequested(stored)
	u, err := change(old.DeepCopy())
	if err != nil {
		return nil, err
	}
	if err := s.fits(r, u); err != nil {
		return nil, err
	}
	if err := s.unchanged(r, old, u); err != nil {
		return nil, err
	}
	r.keepRest(old, u)
	if r.kind.isNamespace() {
		label(u)
	}
	for _, f := range []string{"uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
		"generation"} {
		keep(u, old, "metadata", f)
	}
	if added := newFinalizers(old, u); old.GetDeletionTimestamp() != nil && len(added) > 0 {
		return nil, apierrors.NewInvalid(
			r.kind.GroupKind(),
			r.Name,
			field.ErrorList{
				field.Forbidden(
					field.NewPath("metadata", "finalizers"),
					fmt.Sprintf(
						"no new finalizers can be added if the object is being deleted, found new finalizers %#v",
						added,
					),
				),
			},
		)
	}
	if err := s.admitUpdate(r); err != nil {
		return nil, err
	}
	if r.kind.generation && !same(old, u, "status") {
		u.SetGeneration(old.GetGeneration() + 1)
	}
	if !r.applied {
		if u, err = s.manage(r, old, u); err != nil {
			return nil, err
		}
	}
	u.SetResourceVersion(old.GetResourceVersion())
	switch {
	case mayGo(u):
		if !r.DryRun {
			s.erase(k)
		}
		return u, nil
	case r.DryRun:
		return u, nil
	case same(old, u):
		return old, nil // nothing is written
	}
	return s.write(u), nil
}

// unchanged checks the preconditions that an object carries in its metadata.
func (s *Server) unchanged(r *Request, old, u *unstructured.Unstructured) error {
	switch version := u.GetResourceVersion(); {
	case version == "" && r.kind.custom:
		return apierrors.NewInvalid(schema.GroupKind{Group: r.Group, Kind: r.Resource}, r.Name, field.ErrorList{
			field.Invalid(field.NewPath("metadata", "resourceVersion"), 0, "must be specified for an update"),
		})
	case version != "" && version != old.GetResourceVersion():
		return apierrors.NewConflict(r.groupResource(), r.Name,
			errors.New("the object has been modified; please apply your changes to the latest version and try again"))
	}
	uid := u.GetUID()
	switch {
	case uid == "" || uid == old.GetUID():
		return nil
	case r.Verb == "patch":
		return apierrors.NewInvalid(r.kind.GroupKind(), r.Name, field.ErrorList{
			field.Invalid(field.NewPath("metadata", "uid"), string(uid), "field is immutable"),
		})
	}
	path := "/registry/" + strings.Trim(r.Resource+"/"+r.Namespace, "/") + "/" + r.Name
	return apierrors.NewConflict(r.groupResource(), r.Name, storageError(path, uid, old.GetUID()))
}

// storageError is what a real server says of another UID (k8s.io/apiserver
// v0.36.3 pkg/storage/errors.go).
func storageError(path string, want, is types.UID) error {
	const words = "StorageError: invalid object, Code: 4, Key: %s, ResourceVersion: 0, AdditionalErrorMsg: %w"
	return fmt.Errorf(words, path, otherUID(want, is))
}

func otherUID(want, is types.UID) error {
	const words = "Precondition failed: UID in precondition: %s, UID in object meta: %s"
	return fmt.Errorf(words, want, is) //nolint:staticcheck // the server's own words
}

// keepRest takes back what a request to this resource or subresource can't change.
func (r *Request) keepRest(old, u *unstructured.Unstructured) {
	switch {
	case r.Subresource == "status":
		status, found := u.Object["status"]
		metadata := u.Object["metadata"]
		for k := range u.Object {
			delete(u.Object, k)
		}
		maps.Copy(u.Object, old.DeepCopy().Object)
		u.Object["metadata"] = metadata
		if delete(u.Object, "status"); found {
			u.Object["status"] = status
		}
	case r.Subresource == "finalize":
		keep(u, old, "status")
	case r.kind.status:
		keep(u, old, "status")
		if r.kind.isNamespace() {
			keep(u, old, "spec", "finalizers")
		}
	}
}

// keep sets a field to what it was.
func keep(u, old *unstructured.Unstructured, path ...string) {
	value, found, err := unstructured.NestedFieldCopy(old.Object, path...)
	if !found || err != nil {
		unstructured.RemoveNestedField(u.Object, path...)
		return
	}
	set(u, value, path...)
}

func newFinalizers(old, u *unstructured.Unstructured) []string {
	var out []string
	for _, f := range u.GetFinalizers() {
		if !slices.Contains(old.GetFinalizers(), f) {
			out = append(out, f)
		}
	}
	return out
}

// same tells whether two states of an object differ in nothing but the times of
// managed fields; with fields, in nothing but metadata and these.
func same(a, b *unstructured.Unstructured, without ...string) bool {
	strip := func(u *unstructured.Unstructured) map[string]any {
		u = u.DeepCopy()
		if len(without) > 0 {
			for _, f := range append([]string{"metadata"}, without...) {
				delete(u.Object, f)
			}
			return u.Object
		}
		fields := u.GetManagedFields()
		for i := range fields {
			fields[i].Time = nil
		}
		u.SetManagedFields(fields)
		return u.Object
	}
	return reflect.DeepEqual(strip(a), strip(b))
}

// mayGo tells whether nothing holds up the deletion of an object any more
// (ShouldDeleteDuringUpdate; ShouldDeleteNamespaceDuringUpdate in
// k8s.io/kubernetes v1.36.3 pkg/registry/core/namespace/storage).
func mayGo(u *unstructured.Unstructured) bool {
	if u.GetDeletionTimestamp() == nil || len(u.GetFinalizers()) > 0 {
		return false
	}
	if grace := u.GetDeletionGracePeriodSeconds(); grace != nil && *grace > 0 {
		return false
	}
	return !heldBySpec(u)
}

// heldBySpec tells whether an object is a namespace with finalizers in its spec.
func heldBySpec(u *unstructured.Unstructured) bool {
	if u.GroupVersionKind().GroupKind() != (schema.GroupKind{Kind: "Namespace"}) {
		return false
	}
	finalizers, _, _ := unstructured.NestedSlice(u.Object, "spec", "finalizers")
	return len(finalizers) > 0
}
