package cluster

import (
	"context"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Await watches all objects of a resource, in one namespace or ("") in all, and
// calls done for the state at the start and after each change, until it returns
// true or an error, or ctx ends, whose cause is then the error. The objects hold
// the fields that snapshots keep and those named here. A watch that is cut or
// expires is taken up again after a fresh list.
func (c *Client) Await(ctx context.Context, r *Resource, namespace string, fields [][]string,
	done func([]*Object) (bool, error),
) error {
	fields = append(slices.Clone(bodies[r.GroupResource().String()]), fields...)
	objects := map[Ref]*Object{}
	o := observer{
		relist: func() { clear(objects) },
		set: func(item runtime.Object) error {
			o, err := newObject(r, item, fields, nil)
			if err == nil {
				objects[o.Ref()] = o
			}
			return err
		},
		gone: func(item runtime.Object) {
			if m, err := meta.Accessor(item); err == nil {
				delete(objects, Ref{Group: r.Group, Kind: r.Kind, Namespace: m.GetNamespace(), Name: m.GetName()})
			}
		},
		asked: func(bool) (bool, error) {
			return done(slices.SortedFunc(maps.Values(objects), func(a, b *Object) int { return a.Ref().Compare(b.Ref()) }))
		},
	}
	return c.explain(retake(ctx, func() (bool, error) {
		return round(ctx, c.wholeOf(r, namespace), metav1.ListOptions{},
			o)
	}))
}
