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
		{Version: "v1"}: {"namespaces", "secrets", "configmaps", "serviceaccounts",
			"services", "pods"},
		{Group: "apps", Version: "v1"}:  {"deployments", "replicasets"},
		{Group: "batch", Version: "v1"}: {"jobs"},
		{Group: "rbac.authorization.k8s.io", Version: "v1"}: {"roles", "rolebindings", "clusterroles",
			"clusterrolebindings"},
		{Group: "admissionregistration.k8s.io", Version: "v1"}: {"mutatingwebhookconfigurations",
			"validatingwebhookconfigurations"},
		{Group: "apiextensions.k8s.io", Version: "v1"}: {"customresourcedefinitions"},
		{Group: "coordination.k8s.io", Version: "v1"}:  {"leases"},
		{Group: "policy", Version: "v1"}:               {"poddisruptionbudgets"},
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
	names   []string      // of what has happened, in order
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
		m.seen[what], m.names = true, append(m.names, name)
		close(m.changed)
		m.changed = make(chan struct{})
	}
}

// now returns what has happened so far, and what is closed when something more does.
func (m *Moments) now() ([]string, chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.names, m.changed
}

// Wait asks of one moment after the other whether it is the one to wait for, and says which that was.
func (m *Moments) Wait(ctx context.Context, is func(name string) bool) (string, error) {
	for asked := 0; ; {
		names, changed := m.now()
		for ; asked < len(names); asked++ {
			if is(names[asked]) {
				return names[asked], nil
			}
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("wait for a moment, there were %d: %w", asked, ctx.Err())
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
		names, changed := m.now()
		count, last := len(names), ""
		if count > 0 {
			last = names[count-1]
		}
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
