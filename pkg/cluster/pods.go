package cluster

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/pager"
)

// PodsOn counts the pods on the named nodes that have not ended.
func (c *Client) PodsOn(ctx context.Context, nodes []string) (int, error) {
	var n atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	pods := c.metadata.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"})
	for _, node := range nodes {
		selector := fields.AndSelectors(fields.OneTermEqualSelector("spec.nodeName", node),
			fields.OneTermNotEqualSelector("status.phase", "Succeeded"), fields.OneTermNotEqualSelector("status.phase",
				"Failed"))
		group.Go(func() error {
			list := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object,
				error) {
				return pods.List(ctx, o)
			})
			return list.EachListItem(ctx, metav1.ListOptions{FieldSelector: selector.String()}, func(runtime.Object) error {
				n.Add(1)
				return nil
			})
		})
	}
	err := group.Wait()
	return int(n.Load()), c.explain(err)
}
