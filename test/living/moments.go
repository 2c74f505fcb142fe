package living

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

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

// Moments counts what happens in the cluster from now on: objects that appear, or go.
type Moments struct {
	mu      sync.Mutex
	seen    map[moment]bool
	last    string
	changed chan struct{} // closed and replaced with every object
}

// moment is that an object appeared, or went.
type moment struct {
	what watch.EventType
	uid  types.UID
}

// Moments begins to count events of these types, until ctx ends.
func (c *Cluster) Moments(ctx context.Context, what ...watch.EventType) (*Moments, error) {
	client, err := metadata.NewForConfig(c.Config)
	if err != nil {
		return nil, err
	}
	m := &Moments{seen: map[moment]bool{}, changed: make(chan struct{})}
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
				if o, ok := e.Object.(*metav1.PartialObjectMetadata); ok && slices.Contains(what, e.Type) {
					m.add(moment{e.Type, o.UID}, string(e.Type)+" "+resource.Resource+"/"+o.Name)
				}
			}
		}()
	}
	return m, nil
}

func (m *Moments) add(what moment, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.seen[what] {
		m.seen[what], m.last = true, name
		close(m.changed)
		m.changed = make(chan struct{})
	}
}

// Wait waits for the n-th moment and says what happened.
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
			return last, fmt.Errorf("wait for moment %d, there were %d: %w", n, count, ctx.Err())
		case <-changed:
		}
	}
}

// Until waits for the n-th moment, or until nothing has happened for so long. It returns how many there were, and what
// happened last.
func (m *Moments) Until(ctx context.Context, n int, quiet time.Duration) (int, string, error) {
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	for {
		m.mu.Lock()
		count, last, changed := len(m.seen), m.last, m.changed
		m.mu.Unlock()
		if count >= n {
			return count, last, nil
		}
		select {
		case <-ctx.Done():
			return count, last, ctx.Err()
		case <-timer.C:
			return count, last, nil
		case <-changed:
			timer.Reset(quiet)
		}
	}
}
