package cluster

import (
	"context"
	"net/http"
	"reflect"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// newTyped returns a client for kinds that Kubernetes itself defines. It speaks
// protobuf, which takes server and client a fraction of the time that JSON does.
func newTyped(config *rest.Config, httpClient *http.Client) (rest.Interface, error) {
	config = rest.CopyConfig(config)
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	config.ContentType = runtime.ContentTypeProtobuf
	return rest.UnversionedRESTClientForConfigAndClient(config, httpClient)
}

// listRequest asks for one page of a resource.
func (c *Client) listRequest(r *Resource, ns string, opts metav1.ListOptions) *rest.Request {
	path := []string{"/apis", r.Group, r.Version}
	if r.Group == "" {
		path = []string{"/api", r.Version}
	}
	if ns != "" {
		path = append(path, "namespaces", ns)
	}
	return c.typed.Get().AbsPath(append(path, r.Name)...).
		SpecificallyVersionedParams(&opts, scheme.ParameterCodec, schema.GroupVersion{Version: "v1"})
}

// contentPage reads one page of a resource, whole.
func (c *Client) contentPage(ctx context.Context, r *Resource, ns string, opts metav1.ListOptions) (runtime.Object,
	error) {
	kind := r.GVR().GroupVersion().WithKind(r.Kind + "List")
	if !scheme.Scheme.Recognizes(kind) {
		return c.dynamic.Resource(r.GVR()).Namespace(ns).List(ctx, opts)
	}
	list, err := scheme.Scheme.New(kind)
	if err != nil {
		return nil, err
	}
	err = c.listRequest(r, ns, opts).Do(ctx).Into(list)
	return list, err
}

// contentOf returns an object of a page as JSON has it: a typed one with no more
// in it than the fields that are wanted, because converting takes long.
func contentOf(item runtime.Object, fields [][]string) (map[string]any, error) {
	if u, ok := item.(runtime.Unstructured); ok {
		return u.UnstructuredContent(), nil
	}
	from := reflect.ValueOf(item).Elem()
	to := reflect.New(from.Type())
	for _, path := range fields {
		copyField(to.Elem(), from, path)
	}
	if !to.Elem().IsZero() {
		return runtime.DefaultUnstructuredConverter.ToUnstructured(to.Interface())
	}
	empty, known := empties.Load(from.Type())
	if !known {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(to.Interface())
		if err != nil {
			return nil, err
		}
		empty, _ = empties.LoadOrStore(from.Type(), content)
	}
	content, _ := empty.(map[string]any)
	return runtime.DeepCopyJSON(content), nil
}

// empties holds by type what an object with none of its fields converts to, as most
// ServiceAccounts have none that is wanted: converting takes long.
var empties sync.Map

// copyField copies one field, named as in JSON, to an empty value of the same
// type. What names lead to no further (a map, a list) is copied whole.
func copyField(to, from reflect.Value, path []string) {
	switch {
	case len(path) > 0 && from.Kind() == reflect.Struct:
		if field, ok := value.TypeReflectEntryOf(from.Type()).Fields()[path[0]]; ok {
			copyField(field.GetFrom(to), field.GetFrom(from), path[1:])
		}
	case len(path) > 0 && from.Kind() == reflect.Pointer && !from.IsNil():
		if to.IsNil() {
			to.Set(reflect.New(from.Type().Elem()))
		}
		copyField(to.Elem(), from.Elem(), path)
	default:
		to.Set(from)
	}
}
