package clustertest

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

// page is what follows a page of a list: all pages are of the same time.
type page struct {
	version int64
	items   []*unstructured.Unstructured
}

// list answers a list request, in pages if the request has a limit.
func (s *Server) list(w http.ResponseWriter, r *Request, f format) {
	p, err := s.pageOf(r)
	if err != nil {
		s.fail(w, err)
		return
	}
	var meta metav1.ListMeta
	meta.ResourceVersion = strconv.FormatInt(p.version, 10)
	items := p.items
	if limit, err := strconv.Atoi(r.Query.Get("limit")); err == nil && limit > 0 && len(items) > limit {
		rest := int64(len(items) - limit)
		meta.RemainingItemCount = &rest
		meta.Continue = fmt.Sprintf("%d-%s-%d", p.version, r.Resource, len(s.pages))
		s.pages[meta.Continue] = &page{version: p.version, items: items[limit:]}
		items = items[:limit]
	}
	body, err := f.encodeList(r, meta, items)
	if err != nil {
		s.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", f.contentType())
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body) //nolint:gosec // what a test put in, for that test; a client may be gone
}

// pageOf returns what a list request is for, and all that follows it.
func (s *Server) pageOf(r *Request) (*page, error) {
	if token := r.Query.Get("continue"); token != "" {
		p := s.pages[token]
		if p == nil {
			return nil, apierrors.NewBadRequest("continue key is not valid")
		}
		if p.version < s.oldest {
			return nil, apierrors.NewResourceExpired(
				"The provided continue parameter is too old to display a consistent list result. " +
					"You must start a new list without the continue parameter.",
			)
		}
		return p, nil
	}
	matches, err := r.selector()
	if err != nil {
		return nil, err
	}
	p := &page{version: s.version}
	for _, u := range s.all(r.kind.GroupKind()) {
		if matches(u) {
			p.items = append(p.items, u)
		}
	}
	return p, nil
}

// selectable are the fields, beside name and namespace, that field selectors may
// name, by resource (k8s.io/kubernetes v1.36.3 pkg/apis/core/v1/conversion.go).
var selectable = map[string][]string{
	"pods": {
		"spec.nodeName",
		"spec.restartPolicy",
		"spec.schedulerName",
		"spec.serviceAccountName",
		"status.phase",
	},
	"nodes":      {"spec.unschedulable"},
	"namespaces": {"status.phase"},
	"secrets":    {"type"},
}

// selector returns which objects a list or watch request is for.
func (r *Request) selector() (func(*unstructured.Unstructured) bool, error) {
	byLabel, err := labels.Parse(r.Query.Get("labelSelector"))
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	byField, err := fields.ParseSelector(r.Query.Get("fieldSelector"))
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	known := append([]string{"metadata.name", "metadata.namespace"}, selectable[r.Resource]...)
	for _, q := range byField.Requirements() {
		if !slices.Contains(known, q.Field) {
			message := "field label not supported: " + q.Field
			if len(known) == 2 {
				message = fmt.Sprintf("%q is not a known field selector: only %q, %q", q.Field, known[0], known[1])
			}
			return nil, apierrors.NewBadRequest(message)
		}
	}
	return func(u *unstructured.Unstructured) bool {
		if r.Namespace != "" && u.GetNamespace() != r.Namespace || r.Name != "" && u.GetName() != r.Name {
			return false
		}
		values := fields.Set{}
		for _, name := range known {
			values[name] = fieldOf(u, name)
		}
		return byLabel.Matches(labels.Set(u.GetLabels())) && byField.Matches(values)
	}, nil
}

// encodeList returns the answer to a list request.
func (f format) encodeList(r *Request, listMeta metav1.ListMeta, items []*unstructured.Unstructured) ([]byte, error) {
	gvk := r.kind.GroupVersionKind
	gvk.Kind += "List"
	switch {
	case f.metadata:
		list := &metav1.PartialObjectMetadataList{ListMeta: listMeta}
		list.SetGroupVersionKind(
			schema.GroupVersionKind{Group: metav1.GroupName, Version: "v1", Kind: "PartialObjectMetadataList"},
		)
		list.Items = make([]metav1.PartialObjectMetadata, 0, len(items))
		for _, u := range items {
			o, err := f.object(u)
			if err != nil {
				return nil, err
			}
			list.Items = append(list.Items, *o.(*metav1.PartialObjectMetadata))
		}
		return f.marshal(list)
	case f.protobuf:
		list, err := scheme.Scheme.New(gvk)
		if err != nil {
			return nil, err
		}
		objects := make([]runtime.Object, 0, len(items))
		for _, u := range items {
			o, err := f.object(r.asRequested(u))
			if err != nil {
				return nil, err
			}
			objects = append(objects, o)
		}
		if err := meta.SetList(list, objects); err != nil {
			return nil, err
		}
		access, err := meta.ListAccessor(list)
		if err != nil {
			return nil, err
		}
		access.SetResourceVersion(listMeta.ResourceVersion)
		access.SetContinue(listMeta.Continue)
		access.SetRemainingItemCount(listMeta.RemainingItemCount)
		list.GetObjectKind().SetGroupVersionKind(gvk)
		return f.marshal(list)
	}
	list := &unstructured.UnstructuredList{Object: map[string]any{}}
	list.SetGroupVersionKind(gvk)
	list.SetResourceVersion(listMeta.ResourceVersion)
	list.SetContinue(listMeta.Continue)
	list.SetRemainingItemCount(listMeta.RemainingItemCount)
	for _, u := range items {
		item := r.asRequested(u)
		if !r.kind.custom {
			delete(item.Object, "apiVersion")
			delete(item.Object, "kind")
		}
		list.Items = append(list.Items, *item)
	}
	return list.MarshalJSON()
}
