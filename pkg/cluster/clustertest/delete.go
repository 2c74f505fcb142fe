package clustertest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// immortal namespaces can't be deleted (NewLifecycle in k8s.io/apiserver v0.36.3
// pkg/server/plugins.go).
var immortal = []string{"default", "kube-system", "kube-public"}

// delete asks for the deletion of an object (Store.Delete in k8s.io/apiserver
// v0.36.3 pkg/registry/generic/registry). gone tells whether nothing held it up.
func (s *Server) delete(r *Request, o metav1.DeleteOptions) (u *unstructured.Unstructured, gone bool, err error) {
	k := key{r.kind.GroupKind(), r.Namespace, r.Name}
	isNamespace := k.GroupKind == schema.GroupKind{Kind: "Namespace"}
	if isNamespace && slices.Contains(immortal, r.Name) {
		return nil, false, apierrors.NewForbidden(
			r.groupResource(),
			r.Name,
			fmt.Errorf("this namespace may not be deleted"),
		)
	}
	old := s.objects[k]
	if old == nil {
		return nil, false, apierrors.NewNotFound(r.groupResource(), r.Name)
	}
	if err := preconditions(r, o.Preconditions, old); err != nil {
		return nil, false, err
	}
	u = old.DeepCopy()
	grace := graceOf(u, o.GracePeriodSeconds)
	if u.GetDeletionTimestamp() == nil && u.GetGeneration() > 0 {
		u.SetGeneration(u.GetGeneration() + 1)
	}
	held := grace > 0
	if at := u.GetDeletionTimestamp(); at == nil || grace < pending(u) {
		now := metav1.NewTime(time.Now().Add(time.Duration(grace) * time.Second))
		u.SetDeletionTimestamp(&now)
		if !isNamespace {
			u.SetDeletionGracePeriodSeconds(&grace)
		}
	}
	collect(u, o.PropagationPolicy)
	switch k.GroupKind {
	case schema.GroupKind{Kind: "Namespace"}:
		set(u, "Terminating", "status", "phase")
		held = old.GetDeletionTimestamp() == nil || heldBySpec(u)
	case crdKind.GroupKind():
		if old.GetDeletionTimestamp() == nil {
			u.SetFinalizers(append(u.GetFinalizers(), crdCleanup))
		}
	}
	switch gone = !held && len(u.GetFinalizers()) == 0; {
	case r.DryRun:
	case gone:
		s.erase(k)
	case !same(old, u):
		u = s.write(u)
		s.cleanUp()
	}
	return u, gone, nil
}

// preconditions checks what a deletion asks the object to be.
func preconditions(r *Request, p *metav1.Preconditions, old *unstructured.Unstructured) error {
	conflict := func(what, want, is, since string) error {
		const words = "the %s in the precondition (%s) does not match the %s in record (%s). The object might have been %s"
		err := fmt.Errorf(words, what, want, what, is, since)
		return apierrors.NewConflict(schema.GroupResource{Group: r.Group, Resource: r.kind.Kind}, r.Name, err)
	}
	switch {
	case p == nil:
		return nil
	case p.UID != nil && *p.UID != old.GetUID():
		if r.kind.isNamespace() || r.kind.GroupVersionKind == crdKind { // which have storages of their own
			return apierrors.NewConflict(r.groupResource(), r.Name, otherUID(*p.UID, old.GetUID()))
		}
		return conflict("UID", string(*p.UID), string(old.GetUID()), "deleted and then recreated")
	case p.ResourceVersion != nil && *p.ResourceVersion != old.GetResourceVersion():
		return conflict("ResourceVersion", *p.ResourceVersion, old.GetResourceVersion(), "modified")
	}
	return nil
}

// graceOf returns for how many seconds a deletion leaves an object to whoever
// ends it: pods that a node runs, to the kubelet (podStrategy.CheckGracefulDelete
// in k8s.io/kubernetes v1.36.3 pkg/registry/core/pod). A deletion that is under
// way can only be shortened.
func graceOf(u *unstructured.Unstructured, asked *int64) int64 {
	node, _, _ := unstructured.NestedString(u.Object, "spec", "nodeName")
	phase, _, _ := unstructured.NestedString(u.Object, "status", "phase")
	if (u.GroupVersionKind().GroupKind() != schema.GroupKind{Kind: "Pod"}) || node == "" || phase == "Succeeded" ||
		phase == "Failed" {
		return 0
	}
	grace, found, _ := unstructured.NestedInt64(u.Object, "spec", "terminationGracePeriodSeconds")
	if !found {
		grace = 30
	}
	if asked != nil {
		grace = *asked
		if grace < 0 {
			grace = 1
		}
	}
	if u.GetDeletionTimestamp() != nil {
		grace = min(grace, pending(u))
	}
	return grace
}

// pending returns the grace period of a deletion that is under way.
func pending(u *unstructured.Unstructured) int64 {
	if grace := u.GetDeletionGracePeriodSeconds(); grace != nil {
		return *grace
	}
	return 0
}

// collect sets the finalizers by which the garbage collector learns what is to
// become of dependents.
func collect(u *unstructured.Unstructured, policy *metav1.DeletionPropagation) {
	if policy == nil {
		return
	}
	finalizers := slices.DeleteFunc(slices.Clone(u.GetFinalizers()), func(f string) bool {
		return f == metav1.FinalizerOrphanDependents || f == metav1.FinalizerDeleteDependents
	})
	switch *policy {
	case metav1.DeletePropagationOrphan:
		finalizers = append(finalizers, metav1.FinalizerOrphanDependents)
	case metav1.DeletePropagationForeground:
		finalizers = append(finalizers, metav1.FinalizerDeleteDependents)
	case metav1.DeletePropagationBackground:
	}
	u.SetFinalizers(finalizers)
}

// crdCleanup holds a CustomResourceDefinition until its objects are gone. The
// API server itself deletes these (k8s.io/apiextensions-apiserver v0.36.3
// pkg/controller/finalizer).
const crdCleanup = "customresourcecleanup.apiextensions.k8s.io"

// cleanUp does what the API server does by itself after a deletion.
func (s *Server) cleanUp() {
	for _, crd := range s.all(crdKind.GroupKind()) {
		i := slices.Index(crd.GetFinalizers(), crdCleanup)
		if i < 0 || crd.GetDeletionTimestamp() == nil {
			continue
		}
		left := 0
		for _, k := range customKinds(crd)[:1] {
			for _, o := range s.all(k.GroupKind()) {
				if left++; o.GetDeletionTimestamp() != nil {
					continue
				}
				r := &Request{kind: k, Namespace: o.GetNamespace(), Name: o.GetName()}
				if _, gone, err := s.delete(r, metav1.DeleteOptions{}); gone && err == nil {
					return // which has gone on with the rest
				}
			}
		}
		if left > 0 {
			continue
		}
		crd = crd.DeepCopy()
		if crd.SetFinalizers(slices.Delete(crd.GetFinalizers(), i, i+1)); mayGo(crd) {
			s.erase(keyOf(crd))
		} else {
			s.write(crd)
		}
	}
}

// evict deletes a pod, unless a PodDisruptionBudget does not allow it (EvictionREST in
// k8s.io/kubernetes v1.36.3 pkg/registry/core/pod/storage/eviction.go).
func (s *Server) evict(w http.ResponseWriter, r *Request) {
	var eviction policyv1.Eviction
	if err := json.Unmarshal(r.Body, &eviction); err != nil {
		s.fail(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	var budgets int
	if pod := s.objects[key{r.kind.GroupKind(), r.Namespace, r.Name}]; pod != nil {
		for _, b := range s.all(schema.GroupKind{Group: "policy", Kind: "PodDisruptionBudget"}) {
			var budget policyv1.PodDisruptionBudget
			err := runtime.DefaultUnstructuredConverter.FromUnstructured(b.Object, &budget)
			selector, bad := metav1.LabelSelectorAsSelector(budget.Spec.Selector)
			if err != nil || bad != nil || budget.Namespace != r.Namespace || !selector.Matches(labels.Set(pod.GetLabels())) {
				continue
			}
			if budgets++; budget.Status.DisruptionsAllowed < 1 {
				s.fail(w, apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 0))
				return
			}
		}
	}
	if budgets > 1 {
		const words = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
		s.fail(w, failure(http.StatusInternalServerError, metav1.StatusReasonUnknown, words))
		return
	}
	var o metav1.DeleteOptions
	if eviction.DeleteOptions != nil {
		o = *eviction.DeleteOptions
	}
	if _, _, err := s.delete(r, o); err != nil {
		s.fail(w, err)
		return
	}
	s.answer(w, http.StatusCreated, metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess,
	})
}
