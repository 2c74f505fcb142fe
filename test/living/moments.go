package living

import (
	"context"
	"fmt"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
)

// kinds are those of what an installation consists of, without the kinds that it defines itself.
func kinds() []schema.GroupVersionResource {
	var out []schema.GroupVersionResource
	for group, resources := range map[schema.GroupVersion][]string{
		{Version: "v1"}:                                        {"namespaces", "secrets", "configmaps", "serviceaccounts", "services", "pods"},
		{Group: "apps", Version: "v1"}:                         {"deployments", "replicasets"},
		{Group: "batch", Version: "v1"}:                        {"jobs"},
		{Group: "rbac.authorization.k8s.io", Version: "v1"}:    {"roles", "rolebindings", "clusterroles", "clusterrolebindings"},
		{Group: "admissionregistration.k8s.io", Version: "v1"}: {"mutatingwebhookconfigurations", "validatingwebhookconfigurations"},
		{Group: "apiextensions.k8s.io", Version: "v1"}:         {"customresourcedefinitions"},
		{Group: "coordination.k8s.io", Version: "v1"}:          {"leases"},
		{Group: "policy", Version: "v1"}:                       {"poddisruptionbudgets"},
	} {
		for _, r := range resources {
			out = append(out, group.WithResource(r))
		}
	}
	return out
}

// Moments counts the objects that appear in the cluster from now on.
type Moments struct {
	mu      sync.Mutex
	seen    map[types.UID]bool
	last    string
	changed chan struct{} // closed and replaced with every object
}

// Moments begins to count, until ctx ends.
func (c *Cluster) Moments(ctx context.Context) (*Moments, error) {
	client, err := metadata.NewForConfig(c.Config)
	if err != nil {
		return nil, err
	}
	m := &Moments{seen: map[types.UID]bool{}, changed: make(chan struct{})}
	for _, resource := range kinds() {
		list, err := client.Resource(resource).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", resource.Resource, err)
		}
		w, err := client.Resource(resource).Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
		if err != nil {
			return nil, fmt.Errorf("watch %s: %w", resource.Resource, err)
		}
		go func() {
			defer w.Stop()
			for e := range w.ResultChan() {
				if o, ok := e.Object.(*metav1.PartialObjectMetadata); ok && e.Type == watch.Added {
					m.add(o.UID, resource.Resource+"/"+o.Name)
				}
			}
		}()
	}
	return m, nil
}

func (m *Moments) add(uid types.UID, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.seen[uid] {
		m.seen[uid], m.last = true, name
		close(m.changed)
		m.changed = make(chan struct{})
	}
}

// Count returns how many objects have appeared.
func (m *Moments) Count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.seen)
}

// Wait waits for the n-th object and returns the name of the last one.
func (m *Moments) Wait(ctx context.Context, n int) (string, error) {
	for {
		m.mu.Lock()
		count, last, changed := len(m.seen), m.last, m.changed
		m.mu.Unlock()
		if count >= n {
			return last, nil
		}
		select {
		case <-ctx.Done():
			return last, fmt.Errorf("wait for object %d, %d have appeared: %w", n, count, ctx.Err())
		case <-changed:
		}
	}
}
