package cluster

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/pager"
)

// listFrom is how many targets of one resource in one namespace are worth a
// list. Fewer are read one by one, so that nothing else is read along.
const listFrom = 20

// Identify returns the identity of the server, the UID of kube-system included
// if the user may read it.
func (c *Client) Identify(ctx context.Context) (Server, error) {
	s, err := c.identify(ctx)
	return s, c.explain(err)
}

// Read reads the whole content of the targets and calls each for every one that
// is there, from several goroutines. One that is gone, or that was replaced by
// another of the same name, is left out. The first error ends it.
func (c *Client) Read(ctx context.Context, targets []Target,
	each func(Target, *unstructured.Unstructured) error) error {
	type place struct {
		resource  schema.GroupVersionResource
		namespace string
	}
	places := map[place][]Target{}
	for _, t := range targets {
		p := place{t.GVR(), t.Namespace}
		places[p] = append(places[p], t)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for p, ts := range places {
		if len(ts) >= listFrom {
			group.Go(func() error {
				if err := c.readPlace(ctx, ts, each); err != nil {
					return fmt.Errorf("can't read %s: %w", p.resource.GroupResource(), c.explain(err))
				}
				return nil
			})
			continue
		}
		for _, t := range ts {
			group.Go(func() error {
				u, err := c.dynamic.Resource(p.resource).Namespace(p.namespace).Get(ctx, t.Name, metav1.GetOptions{})
				if err == nil && (t.UID == "" || u.GetUID() == t.UID) {
					err = each(t, u)
				}
				if err != nil && !apierrors.IsNotFound(err) {
					return fmt.Errorf("can't read %s: %w", t.Ref, c.explain(err))
				}
				return nil
			})
		}
	}
	return group.Wait()
}

// readPlace lists one resource in one namespace, in pages, and picks the targets.
func (c *Client) readPlace(ctx context.Context, targets []Target,
	each func(Target, *unstructured.Unstructured) error) error {
	byName := make(map[string]*Target, len(targets))
	for i := range targets {
		byName[targets[i].Name] = &targets[i]
	}
	api := c.dynamic.Resource(targets[0].GVR()).Namespace(targets[0].Namespace)
	p := pager.New(func(ctx context.Context, opts metav1.ListOptions) (runtime.Object,
		error) {
		return api.List(ctx, opts)
	})
	p.PageSize = pageSize
	p.PageBufferSize = 0
	err := p.EachListItem(ctx, metav1.ListOptions{}, func(item runtime.Object) error {
		u, ok := item.(*unstructured.Unstructured)
		if !ok {
			return fmt.Errorf("the server answered with %T", item)
		}
		t := byName[u.GetName()]
		if t == nil || t.UID != "" && u.GetUID() != t.UID {
			return nil
		}
		// The items of a list do not carry their kind.
		u.SetGroupVersionKind(schema.GroupVersionKind{Group: t.Group, Version: t.Version, Kind: t.Kind})
		return each(*t, u)
	})
	if apierrors.IsNotFound(err) {
		return nil // the kind itself is gone
	}
	return err
}
