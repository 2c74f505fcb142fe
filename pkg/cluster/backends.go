package cluster

import (
	"cmp"
	"context"
	"slices"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// Backend is a Service that the API server itself calls, for an admission
// webhook or an aggregated API.
type Backend struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Found: there is such a Service.
	Found bool `json:"found"`
	// External: it is a name outside of the cluster, of which nothing is known.
	External bool `json:"external,omitempty"`
	// Ready counts its endpoints that take requests.
	Ready int `json:"ready"`
	// Unreadable says why nothing is known about it.
	Unreadable string `json:"unreadable,omitempty"`
}

// Dead tells whether nobody answers at the Service for certain.
func (b Backend) Dead() bool {
	return b.Unreadable == "" && !b.External && (!b.Found || b.Ready == 0)
}

// Backend returns what the snapshot knows about a Service that the API server
// calls. Without knowledge ok is false.
func (s *Snapshot) Backend(namespace, name string) (b Backend, ok bool) {
	i := slices.IndexFunc(s.Backends, func(b Backend) bool { return b.Namespace == namespace && b.Name == name })
	if i < 0 {
		return Backend{}, false
	}
	return s.Backends[i], true
}

// ServiceRefs returns namespace and name of the Services that an object of the
// kinds APIService, MutatingWebhookConfiguration and
// ValidatingWebhookConfiguration makes the API server call.
func (o *Object) ServiceRefs() [][2]string {
	var refs [][2]string
	add := func(in map[string]any, path ...string) {
		ref, _, _ := unstructured.NestedFieldNoCopy(in, path...)
		m, _ := ref.(map[string]any)
		ns, _ := m["namespace"].(string)
		if name, _ := m["name"].(string); name != "" {
			refs = append(refs, [2]string{ns, name})
		}
	}
	add(o.Body, "spec", "service")
	webhooks, _ := o.Body["webhooks"].([]any)
	for _, w := range webhooks {
		if w, ok := w.(map[string]any); ok {
			add(w, "clientConfig", "service")
		}
	}
	return refs
}

// readBackends looks up the Services that webhooks and APIServices name. They
// are few, and may live anywhere, so each is read by its name.
func (c *Client) readBackends(ctx context.Context, snap *Snapshot) error {
	seen := map[[2]string]bool{}
	for _, o := range snap.Objects {
		if o.Resource.Group != "apiregistration.k8s.io" && o.Resource.Group != "admissionregistration.k8s.io" {
			continue
		}
		for _, ref := range o.ServiceRefs() {
			if !seen[ref] {
				seen[ref] = true
				snap.Backends = append(snap.Backends, Backend{Namespace: ref[0], Name: ref[1]})
			}
		}
	}
	slices.SortFunc(snap.Backends, func(a, b Backend) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for i := range snap.Backends {
		group.Go(func() error { return c.readBackend(ctx, &snap.Backends[i]) })
	}
	return group.Wait()
}

func (c *Client) readBackend(ctx context.Context, b *Backend) error {
	service, err := c.dynamic.Resource(corev1.SchemeGroupVersion.WithResource("services")).Namespace(b.Namespace).Get(ctx,
		b.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		b.Unreadable = err.Error()
		return ctx.Err()
	}
	b.Found = true
	kind, _, _ := unstructured.NestedString(service.Object, "spec", "type")
	if b.External = kind == string(corev1.ServiceTypeExternalName); b.External {
		return nil
	}
	list,
		err := c.dynamic.Resource(discoveryv1.SchemeGroupVersion.WithResource("endpointslices")).Namespace(b.Namespace).List(ctx,
		metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + b.Name})
	if err == nil {
		b.Ready, err = readyAddresses(list.Items)
	}
	if err != nil {
		b.Unreadable = err.Error()
	}
	return ctx.Err()
}

// readyAddresses counts the addresses in EndpointSlices that take requests.
func readyAddresses(slices []unstructured.Unstructured) (int, error) {
	n := 0
	for _, item := range slices {
		var s discoveryv1.EndpointSlice
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(item.Object, &s); err != nil {
			return 0, err
		}
		for _, e := range s.Endpoints {
			// Unset means ready (EndpointConditions, k8s.io/api/discovery/v1).
			if e.Conditions.Ready == nil || *e.Conditions.Ready {
				n += len(e.Addresses)
			}
		}
	}
	return n, nil
}
