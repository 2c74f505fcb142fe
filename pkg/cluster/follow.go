package cluster

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
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
			over, err := round(ctx, c.metadataOf(f.any), f.options(), f.observer())
			if f.over(err) {
				return true, nil
			}
			return over, err
		})
	})
}

// Look calls see for the state of every target, once. Of a kind that the server
// can't list, nothing is seen; the error is for a server that does not answer,
// or the end of ctx. see is called from several goroutines.
func (c *Client) Look(ctx context.Context, targets []Target, see func(Sighting)) error {
	return eachPlace(ctx, targets, see, func(ctx context.Context, f *following) error {
		o := f.observer()
		_, err := listAll(ctx, c.metadataOf(f.any), f.options(), o)
		if err == nil {
			_, err = o.asked(true)
		}
		if f.over(err) {
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
func eachPlace(ctx context.Context, targets []Target, see func(Sighting),
	do func(context.Context, *following) error) error {
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
func (f *following) over(err error) bool {
	if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
		for name := range f.left {
			f.report(name, "", nil)
		}
	}
	return len(f.left) == 0
}

// observer reports every state of the targets. A target that is not in a list is
// gone.
func (f *following) observer() observer {
	seen := map[string]bool{}
	return observer{
		relist: func() { clear(seen) },
		set: func(item runtime.Object) error {
			o, err := newObject(f.resource(), item, nil, nil)
			if err != nil {
				return err
			}
			seen[o.Name] = true
			f.report(o.Name, o.UID, o)
			return nil
		},
		gone: func(item runtime.Object) {
			if m, err := meta.Accessor(item); err == nil {
				f.report(m.GetName(), m.GetUID(), nil)
			}
		},
		asked: func(listed bool) (bool, error) {
			for name := range f.left {
				if listed && !seen[name] {
					f.report(name, "", nil)
				}
			}
			return len(f.left) == 0, nil
		},
	}
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
