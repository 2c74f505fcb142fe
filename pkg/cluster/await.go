package cluster

import (
	"context"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
)

// Await watches all objects of a resource, in one namespace or ("") in all, and
// calls done for the state at the start and after each change, until it returns
// true or an error, or ctx ends. The objects hold the fields that snapshots keep
// and those named here. A watch that is cut or expires is taken up again after a
// fresh list.
func (c *Client) Await(ctx context.Context, r *Resource, namespace string, fields [][]string, done func([]*Object) (bool, error)) error {
	a := &awaiting{client: c, resource: r, namespace: namespace, fields: append(slices.Clone(bodies[r.GroupResource().String()]), fields...), done: done}
	backoff := wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 8, Cap: 10 * time.Second}
	for {
		over, err := a.watch(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case over, apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
			return c.explain(err)
		case err != nil:
			_ = sleep(ctx, backoff.Step()) // the next round sees whether ctx has ended
		}
	}
}

// awaiting is what one call of Await knows.
type awaiting struct {
	client    *Client
	resource  *Resource
	namespace string
	fields    [][]string
	done      func([]*Object) (bool, error)
	objects   map[string]*Object
}

// watch looks at the objects once and then at every change. over: done has said
// so, by its answer or its error.
func (a *awaiting) watch(ctx context.Context) (over bool, err error) {
	api := a.client.dynamic.Resource(a.resource.GVR()).Namespace(a.namespace)
	a.objects = map[string]*Object{}
	opts := metav1.ListOptions{Limit: pageSize}
	for {
		list, err := api.List(ctx, opts)
		if err != nil {
			return false, err
		}
		for i := range list.Items {
			if err := a.take(&list.Items[i]); err != nil {
				return true, err
			}
		}
		if opts.Continue = list.GetContinue(); opts.Continue == "" {
			opts = metav1.ListOptions{ResourceVersion: list.GetResourceVersion(), AllowWatchBookmarks: true}
			break
		}
	}
	if over, err := a.ask(); over {
		return true, err
	}
	w, err := api.Watch(ctx, opts)
	if err != nil {
		return false, err
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		changed, err := a.see(event)
		if err != nil {
			return false, err
		}
		if !changed || len(w.ResultChan()) > 0 {
			continue // ask once for changes that came together
		}
		if over, err := a.ask(); over {
			return true, err
		}
	}
	return false, nil
}

// see takes in one event and tells whether it changed anything.
func (a *awaiting) see(event watch.Event) (bool, error) {
	u, ok := event.Object.(*unstructured.Unstructured)
	switch {
	case event.Type == watch.Error:
		return false, apierrors.FromObject(event.Object)
	case !ok, event.Type == watch.Bookmark:
		return false, nil
	case event.Type == watch.Deleted:
		delete(a.objects, u.GetNamespace()+"/"+u.GetName())
		return true, nil
	}
	return true, a.take(u)
}

func (a *awaiting) take(u *unstructured.Unstructured) error {
	o, err := newObject(a.resource, u, a.fields, nil)
	if err == nil {
		a.objects[u.GetNamespace()+"/"+u.GetName()] = o
	}
	return err
}

func (a *awaiting) ask() (bool, error) {
	over, err := a.done(slices.SortedFunc(maps.Values(a.objects), func(x, y *Object) int { return x.Ref().Compare(y.Ref()) }))
	return over || err != nil, err
}
