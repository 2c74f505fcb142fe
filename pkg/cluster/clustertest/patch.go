package clustertest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// patch changes an object by a JSON patch, a JSON merge patch or a server-side
// apply. No client of this project sends the strategic merge patch.
func (s *Server) patch(r *Request, contentType string) (u *unstructured.Unstructured, created bool, err error) {
	if types.PatchType(contentType) == types.ApplyPatchType {
		return s.apply(r)
	}
	u, err = s.update(r, func(old *unstructured.Unstructured) (*unstructured.Unstructured, error) {
		before, err := old.MarshalJSON()
		if err != nil {
			return nil, err
		}
		after, err := patched(before, r.Body, types.PatchType(contentType))
		if err != nil {
			return nil, err
		}
		u := &unstructured.Unstructured{}
		return u, u.UnmarshalJSON(after)
	})
	return u, false, err
}

func patched(before, patch []byte, kind types.PatchType) ([]byte, error) {
	switch kind {
	case types.MergePatchType:
		if err := json.Unmarshal(patch, &map[string]any{}); err != nil {
			return nil, apierrors.NewBadRequest("error decoding patch: " + err.Error())
		}
		return jsonpatch.MergePatch(before, patch)
	case types.JSONPatchType:
		p, err := jsonpatch.DecodePatch(patch)
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		after, err := p.Apply(before)
		if err != nil {
			return nil, failure(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid, err.Error())
		}
		return after, nil
	}
	return nil, failure(http.StatusUnsupportedMediaType, metav1.StatusReasonUnsupportedMediaType,
		"415: Unsupported Media Type")
}

// apply is the server-side apply, which makes the object if there is none
// (applyPatcher in k8s.io/apiserver v0.36.3 pkg/endpoints/handlers/patch.go).
func (s *Server) apply(r *Request) (u *unstructured.Unstructured, created bool, err error) {
	manager := r.Query.Get("fieldManager")
	if manager == "" {
		return nil, false, apierrors.NewInvalid(
			schema.GroupKind{Group: metav1.GroupName, Kind: "PatchOptions"},
			"",
			field.ErrorList{
				field.Required(field.NewPath("fieldManager"), "is required for apply patch"),
			},
		)
	}
	patch := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(r.Body, &patch.Object); err != nil {
		return nil, false, apierrors.NewBadRequest(fmt.Sprintf("error decoding YAML: %v", err))
	}
	merge := func(live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
		if len(patch.GetManagedFields()) > 0 {
			return nil, apierrors.NewBadRequest("metadata.managedFields must be nil")
		}
		if uid := patch.GetUID(); uid != "" && uid != live.GetUID() && live.GetUID() == "" {
			return nil, apierrors.NewConflict(
				r.groupResource(),
				r.Name,
				fmt.Errorf("uid mismatch: the provided object specified uid %s, and no existing object was found", uid),
			)
		}
		m, err := r.fieldManager()
		if err != nil {
			return nil, err
		}
		merged, err := m.Apply(live, patch, manager, r.Query.Get("force") == "true")
		if err != nil {
			return nil, err
		}
		return merged.(*unstructured.Unstructured), nil
	}
	if s.objects[key{r.kind.GroupKind(), r.Namespace, r.Name}] != nil {
		r.applied = true
		u, err := s.update(r, merge)
		return u, false, err
	}
	live := r.empty()
	live.SetNamespace(r.Namespace)
	live.SetName(r.Name)
	if u, err = merge(live); err != nil {
		return nil, false, err
	}
	r.applied = true
	u, err = s.create(r, u)
	return u, err == nil, err
}

// manage writes down who manages which field.
func (s *Server) manage(r *Request, old, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if r.applied {
		return u, nil
	}
	m, err := r.fieldManager()
	if err != nil {
		return nil, err
	}
	out := m.UpdateNoErrors(old, u, r.manager())
	return out.(*unstructured.Unstructured), nil
}

// fieldManager returns the library by which the real server merges, for the
// kind and subresource of a request.
func (r *Request) fieldManager() (*managedfields.FieldManager, error) {
	gvk := r.kind.GroupVersionKind
	if r.kind.typed() {
		return managedfields.NewDefaultFieldManager(
			typeConverter(),
			bare{},
			bare{},
			bare{},
			gvk,
			gvk.GroupVersion(),
			r.Subresource,
			nil,
		)
	}
	return managedfields.NewDefaultCRDFieldManager(
		managedfields.NewDeducedTypeConverter(),
		bare{},
		bare{},
		bare{},
		gvk,
		gvk.GroupVersion(),
		r.Subresource,
		nil,
	)
}

// typeConverter reads the schemas of Kubernetes' kinds, once.
var typeConverter = sync.OnceValue(
	func() managedfields.TypeConverter { return applyconfigurations.NewTypeConverter(scheme.Scheme) },
)

// bare lets a field manager work on objects as they are: one version, no
// defaults.
type bare struct{}

func (bare) Convert(_, _, _ any) error { return fmt.Errorf("there is one version of each kind") }

func (bare) ConvertToVersion(in runtime.Object, _ runtime.GroupVersioner) (runtime.Object, error) {
	return in, nil
}

func (bare) ConvertFieldLabel(_ schema.GroupVersionKind, label, value string) (string, string, error) {
	return label, value, nil
}

func (bare) Default(runtime.Object) {}

func (bare) New(gvk schema.GroupVersionKind) (runtime.Object, error) {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(gvk)
	return u, nil
}

// deleteOptions reads the body and the query of a deletion.
func deleteOptions(r *Request) (metav1.DeleteOptions, error) {
	var o metav1.DeleteOptions
	if len(r.Body) > 0 {
		if err := json.Unmarshal(r.Body, &o); err != nil {
			return o, apierrors.NewBadRequest(err.Error())
		}
	}
	r.DryRun = r.DryRun || len(o.DryRun) > 0
	return o, nil
}
