package cluster

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/pager"
)

// observer is told of the objects that a request lists and watches.
type observer struct {
	// relist is called before a list; what was seen before may have gone unseen.
	relist func()
	// set is called for an object that is there, as it is now.
	set func(runtime.Object) error
	// gone is called for an object that was deleted.
	gone func(runtime.Object)
	// asked is called when the list has been read, and when no change waits. It
	// ends the watching by its answer or its error.
	asked func(listed bool) (over bool, err error)
}

// round lists what a request is for, all pages from the same time, and then
// watches it until the observer has seen enough or the watch ends. over: the
// observer has ended it, by its answer or its error.
//
// It is not client-go's reflector, whose first list may come from the cache of an
// API server that is behind: what is not in there would pass for deleted.
func round(ctx context.Context, lw *cache.ListWatch, opts metav1.ListOptions, o observer) (over bool, err error) {
	version, err := listAll(ctx, lw, opts, o)
	if err != nil {
		return false, err
	}
	if over, err := o.asked(true); over || err != nil {
		return true, err
	}
	opts.ResourceVersion, opts.AllowWatchBookmarks = version, true
	w, err := lw.WatchWithContext(ctx, opts)
	if err != nil {
		return false, err
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		switch event.Type {
		case watch.Error:
			return false, apierrors.FromObject(event.Object)
		case watch.Bookmark:
			continue
		case watch.Deleted:
			o.gone(event.Object)
		case watch.Added, watch.Modified:
			if err := o.set(event.Object); err != nil {
				return true, err
			}
		}
		if len(w.ResultChan()) > 0 {
			continue // ask once for changes that came together
		}
		if over, err := o.asked(false); over || err != nil {
			return true, err
		}
	}
	return false, ctx.Err()
}

// listAll tells the observer of every object that a request lists, and returns
// the resource version of the list.
func listAll(ctx context.Context, lw *cache.ListWatch, opts metav1.ListOptions, o observer) (version string,
	err error) {
	o.relist()
	pages := pager.New(func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
		list, err := lw.ListWithContext(ctx, opts)
		if err != nil {
			return nil, err
		}
		page, err := meta.ListAccessor(list)
		if err != nil {
			return nil, err
		}
		version = page.GetResourceVersion()
		return list, nil
	})
	pages.PageSize = pageSize
	pages.PageBufferSize = 0
	err = pages.EachListItem(ctx, opts, o.set)
	return version, err
}

// retake calls round until it is done or ctx ends: each time it starts from a
// fresh list, whatever ended the watch before. A missing right is an error.
func retake(ctx context.Context, round func() (done bool, err error)) error {
	const soon = time.Second // for a watch to end; the next round has to wait
	fresh := wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 8, Cap: 10 * time.Second}
	for backoff := fresh; ; {
		began := time.Now()
		done, err := round()
		switch {
		case done:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
			return err
		case time.Since(began) >= soon:
			backoff = fresh
			continue
		}
		if err := sleep(ctx, backoff.Step()); err != nil {
			return context.Cause(ctx)
		}
	}
}

// metadataOf lists and watches a resource as metadata, and wholeOf as it is.
func (c *Client) metadataOf(t Target) *cache.ListWatch {
	api := c.metadata.Resource(t.GVR()).Namespace(t.Namespace)
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return api.List(ctx, o)
		},
		WatchFuncWithContext: api.Watch,
	}
}

func (c *Client) wholeOf(r *Resource, namespace string) *cache.ListWatch {
	api := c.dynamic.Resource(r.GVR()).Namespace(namespace)
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return api.List(ctx, o)
		},
		WatchFuncWithContext: api.Watch,
	}
}
