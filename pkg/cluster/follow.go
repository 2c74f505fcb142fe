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
	type place struct{ group, version, resource, namespace string }
	places := map[place][]Target{}
	for _, t := range targets {
		p := place{t.Group, t.Version, t.Resource, t.Namespace}
		places[p] = append(places[p], t)
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, ts := range places {
		group.Go(func() error { return c.followPlace(ctx, ts, see) })
	}
	return group.Wait()
}

// followPlace follows targets of one resource in one namespace.
func (c *Client) followPlace(ctx context.Context, targets []Target, see func(Sighting)) error {
	left := make(map[string]Target, len(targets))
	for _, t := range targets {
		left[t.Name] = t
	}
	report := func(name string, uid types.UID, o *Object) {
		t, ok := left[name]
		if !ok {
			return
		}
		if o != nil && t.UID != "" && uid != t.UID {
			o = nil
		}
		if o == nil {
			delete(left, name)
		}
		see(Sighting{Target: t, Object: o})
	}
	backoff := wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 8, Cap: 10 * time.Second}
	for len(left) > 0 {
		err := c.listAndWatch(ctx, targets[0], left, report)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch {
		case err == nil:
		case apierrors.IsNotFound(err), apierrors.IsMethodNotSupported(err):
			// The kind itself is gone, and its objects with it.
			for name := range left {
				report(name, "", nil)
			}
		case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
			return err
		default:
			if err := sleep(ctx, backoff.Step()); err != nil {
				return err
			}
		}
	}
	return nil
}

// listAndWatch looks at the targets once and then at every change, until all
// are gone or the watch ends. A watch that the server ends is no error.
func (c *Client) listAndWatch(ctx context.Context, any Target, left map[string]Target, report func(string, types.UID, *Object)) error {
	r := &Resource{Group: any.Group, Version: any.Version, Name: any.Resource, Kind: any.Kind}
	api := c.metadata.Resource(any.GVR()).Namespace(any.Namespace)
	opts := metav1.ListOptions{Limit: pageSize}
	if len(left) == 1 {
		for name := range left {
			opts.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
		}
	}
	seen := map[string]bool{}
	for {
		list, err := api.List(ctx, opts)
		if err != nil {
			return err
		}
		opts.ResourceVersion = ""
		for i := range list.Items {
			item := &list.Items[i]
			if _, ok := left[item.Name]; !ok {
				continue
			}
			o, err := newObject(r, item, nil)
			if err != nil {
				return err
			}
			seen[item.Name] = true
			report(item.Name, item.UID, o)
		}
		opts.Continue = list.Continue
		if list.Continue == "" {
			opts.ResourceVersion = list.ResourceVersion
			break
		}
	}
	for name := range left {
		if !seen[name] {
			report(name, "", nil)
		}
	}
	if len(left) == 0 {
		return nil
	}

	opts.Limit, opts.Continue, opts.AllowWatchBookmarks = 0, "", true
	w, err := api.Watch(ctx, opts)
	if err != nil {
		return err
	}
	defer w.Stop()
	for len(left) > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case event, ok := <-w.ResultChan():
			if !ok {
				return nil
			}
			meta, isMeta := event.Object.(*metav1.PartialObjectMetadata)
			switch event.Type {
			case watch.Deleted:
				if isMeta {
					report(meta.Name, meta.UID, nil)
				}
			case watch.Added, watch.Modified:
				if !isMeta {
					continue
				}
				o, err := newObject(r, meta, nil)
				if err != nil {
					return err
				}
				report(meta.Name, meta.UID, o)
			case watch.Error:
				err := apierrors.FromObject(event.Object)
				if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
					return nil
				}
				return err
			case watch.Bookmark:
			}
		}
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
