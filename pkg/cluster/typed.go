package cluster

import (
	"context"
	"net/http"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
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
	root := []string{"/apis", r.Group, r.Version}
	if r.Group == "" {
		root = []string{"/api", r.Version}
	}
	return c.typed.Get().AbsPath(root...).NamespaceIfScoped(ns, ns != "").Resource(r.Name).
		SpecificallyVersionedParams(&opts, scheme.ParameterCodec, schema.GroupVersion{Version: "v1"})
}

// contentPage reads one page of a resource, whole.
func (c *Client) contentPage(ctx context.Context, r *Resource, ns string, opts metav1.ListOptions) (runtime.Object, error) {
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

// contentOf returns an object of a page as JSON has it. A typed one loses most of
// its metadata, the largest part, unless one of the fields that are wanted is
// there: a snapshot keeps it apart from the content.
func contentOf(item runtime.Object, fields [][]string) (map[string]any, error) {
	if u, ok := item.(runtime.Unstructured); ok {
		return u.UnstructuredContent(), nil
	}
	wanted := slices.ContainsFunc(fields, func(path []string) bool { return path[0] == "metadata" })
	if meta, ok := item.(metav1.Object); ok && !wanted {
		meta.SetManagedFields(nil)
		meta.SetLabels(nil)
		meta.SetAnnotations(nil)
		meta.SetOwnerReferences(nil)
	}
	return runtime.DefaultUnstructuredConverter.ToUnstructured(item)
}
