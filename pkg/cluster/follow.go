package cluster

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
)

// Sighting is one look at a target while it is being followed.
type Sighting struct {
	Target Target
	Object *Object // nil: it is gone (or another of the same name took its place)
}

// Follow watches the targets until every one is gone or ctx ends, and calls see
// for their state at the start and for each change. It opens one watch for the
// targets of one resource in one namespace. Watches that are cut or expire are
// taken up again after a fresh list. see is called from several goroutines.
func (c *Client) Follow(ctx context.Context, targets []Target, see func(Sighting)) error {
	return eachPlace(ctx, targets, see, func(ctx context.Context, f *following) error {
		return retake(ctx, func() (bool, error) {
			version, err := c.look(ctx, f)
			if err == nil && len(f.left) > 0 {
				err = c.watch(ctx, f, version)
			}
			return f.over(err)
		})
	})
}

// Look calls see for the state of every target, once. Of a kind that the server
// can't list, nothing is seen; the error is for a server that does not answer,
// or the end of ctx. see is called from several goroutines.
func (c *Client) Look(ctx context.Context, targets []Target, see func(Sighting)) error {
	return eachPlace(ctx, targets, see, func(ctx context.Context, f *following) error {
		_, err := c.look(ctx, f)
		if done, _ := f.over(err); done {
			return nil
		}
		if answered := apierrors.APIStatus(nil); errors.As(err, &answered) {
			return nil
		}
		return c.explain(err)
	})
}

// eachPlace calls do for the targets of each resource in each namespace, at the
// same time.
func eachPlace(ctx context.Context, targets []Target, see func(Sighting), do func(context.Context, *following) error) error {
	type place struct{ group, version, resource, namespace string }
	places := map[place]*following{}
	for _, t := range targets {
		p := place{t.Group, t.Version, t.Resource, t.Namespace}
		if places[p] == nil {
			places[p] = &following{any: t, left: map[string]Target{}, see: see}
		}
		places[p].left[t.Name] = t
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, f := range places {
		group.Go(func() error { return do(ctx, f) })
	}
	return group.Wait()
}

// following is the state of following targets of one resource in one namespace.
type following struct {
	any  Target            // one of them
	left map[string]Target // by name
	see  func(Sighting)
}

func (f *following) resource() *Resource {
	return &Resource{Group: f.any.Group, Version: f.any.Version, Name: f.any.Resource, Kind: f.any.Kind}
}

// options selects the targets, if there is only one.
func (f *following) options() metav1.ListOptions {
	var opts metav1.ListOptions
	if len(f.left) == 1 {
		for name := range f.left {
			opts.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
		}
	}
	return opts
}

// report passes on the state of an object, if it is one of the targets; nil
// means that none of this name is there.
func (f *following) report(name string, uid types.UID, o *Object) {
	t, ok := f.left[name]
	if !ok {
		return
	}
	if o != nil && t.UID != "" && uid != t.UID {
		o = nil
	}
	if o == nil {
		delete(f.left, name)
	}
	f.see(Sighting{Target: t, Object: o})
}

// over tells whether nothing is left to be followed. If the kind itself is
// gone, so are its objects.
func (f *following) over(err error) (bool, error) {
	if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
		for name := range f.left {
			f.report(name, "", nil)
		}
	}
	return len(f.left) == 0, err
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
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
			return err
		case time.Since(began) >= soon:
			backoff = fresh
			continue
		}
		if err := sleep(ctx, backoff.Step()); err != nil {
			return err
		}
	}
}

// look lists the targets once, reports each, and returns the resource version
// of the list.
func (c *Client) look(ctx context.Context, f *following) (string, error) {
	opts := f.options()
	opts.Limit = pageSize
	seen := map[string]bool{}
	for {
		list, err := c.metadata.Resource(f.any.GVR()).Namespace(f.any.Namespace).List(ctx, opts)
		if err != nil {
			return "", err
		}
		for i := range list.Items {
			item := &list.Items[i]
			if _, ok := f.left[item.Name]; !ok {
				continue
			}
			o, err := newObject(f.resource(), item, nil, nil)
			if err != nil {
				return "", err
			}
			seen[item.Name] = true
			f.report(item.Name, item.UID, o)
		}
		if opts.Continue = list.Continue; opts.Continue != "" {
			continue
		}
		for name := range f.left {
			if !seen[name] {
				f.report(name, "", nil)
			}
		}
		return list.ResourceVersion, nil
	}
}

// watch reports every change since a resource version, until all targets are
// gone or the watch ends. A watch that the server ends is no error.
func (c *Client) watch(ctx context.Context, f *following, version string) error {
	opts := f.options()
	opts.ResourceVersion, opts.AllowWatchBookmarks = version, true
	w, err := c.metadata.Resource(f.any.GVR()).Namespace(f.any.Namespace).Watch(ctx, opts)
	if err != nil {
		return err
	}
	defer w.Stop()
	for len(f.left) > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case event, ok := <-w.ResultChan():
			if !ok {
				return nil
			}
			if err := f.take(event); err != nil {
				return err
			}
		}
	}
	return nil
}

// take reports what an event of a watch says.
func (f *following) take(event watch.Event) error {
	meta, isMeta := event.Object.(*metav1.PartialObjectMetadata)
	switch event.Type {
	case watch.Deleted:
		if isMeta {
			f.report(meta.Name, meta.UID, nil)
		}
	case watch.Added, watch.Modified:
		if !isMeta {
			return nil
		}
		o, err := newObject(f.resource(), meta, nil, nil)
		if err != nil {
			return err
		}
		f.report(meta.Name, meta.UID, o)
	case watch.Error:
		return apierrors.FromObject(event.Object)
	case watch.Bookmark:
	}
	return nil
}

// sleep waits out a backoff, or less when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// IsGone tells whether err says that the object itself is not there, as opposed
// to "the namespace that it lives in is not there", which up to Kubernetes 1.36
// answers every update of an orphan (NamespaceLifecycle admission plugin).
func IsGone(err error, t Target) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) {
		return false
	}
	if t.Namespace == "" || !errors.As(err, &status) {
		return true
	}
	details := status.Status().Details
	return details == nil || details.Kind != "namespaces" || details.Name != t.Namespace
}
