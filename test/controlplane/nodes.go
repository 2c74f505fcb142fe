package controlplane

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"runtime"
)

const kwokAnnotation = "kwok.x-k8s.io/node"

// Node is a node to be added to a cluster.
type Node struct {
	Name        string
	Labels      map[string]string
	Annotations map[string]string
	Taints      []Taint
	// ProviderID goes to spec.providerID.
	ProviderID string
	// CPU and Memory are the size of the node, by default 32 and 256Gi.
	CPU, Memory string
	// NoKubelet adds a node that nothing stands in for: it never becomes ready,
	// and nobody starts a pod on it or confirms that one has ended.
	NoKubelet bool
}

// Taint repels pods from a node.
type Taint struct {
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
	Effect string `json:"effect"`
}

// AddNode adds a node. Unless it has no kubelet, it waits until pods can be
// scheduled to it.
func (c *Cluster) AddNode(ctx context.Context, node Node) error {
	labels := map[string]string{
		"kubernetes.io/hostname": node.Name,
		"kubernetes.io/os":       "linux",
		"kubernetes.io/arch":     runtime.GOARCH,
	}
	maps.Copy(labels, node.Labels)
	annotations := map[string]string{}
	if !node.NoKubelet {
		annotations[kwokAnnotation] = "fake"
	}
	maps.Copy(annotations, node.Annotations)
	size := map[string]string{"cpu": "32", "memory": "256Gi", "pods": "110"}
	if node.CPU != "" {
		size["cpu"] = node.CPU
	}
	if node.Memory != "" {
		size["memory"] = node.Memory
	}

	body, err := json.Marshal(map[string]any{
		"apiVersion": "v1",
		"kind":       "Node",
		"metadata":   map[string]any{"name": node.Name, "labels": labels, "annotations": annotations},
		"spec":       map[string]any{"providerID": node.ProviderID, "taints": node.Taints},
		"status":     map[string]any{"capacity": size, "allocatable": size},
	})
	if err != nil {
		return fmt.Errorf("add node %s: %w", node.Name, err)
	}
	if _, err := c.do(ctx, http.MethodPost, c.URL()+"/api/v1/nodes", bytes.NewReader(body)); err != nil {
		return fmt.Errorf("add node %s: %w", node.Name, err)
	}
	if node.NoKubelet {
		return nil
	}
	ready := func(ctx context.Context) error { return c.nodeReady(ctx, node.Name) }
	if err := c.wait(ctx, Kwok, ready); err != nil {
		return fmt.Errorf("add node %s: %w", node.Name, err)
	}
	return nil
}

// nodeReady returns nil if the node is ready and the controller manager, if there
// is one, has noticed it.
func (c *Cluster) nodeReady(ctx context.Context, name string) error {
	content, err := c.do(ctx, http.MethodGet, c.URL()+"/api/v1/nodes/"+url.PathEscape(name), nil)
	if err != nil {
		return err
	}
	var node struct {
		Spec struct {
			Taints []Taint `json:"taints"`
		} `json:"spec"`
		Status struct {
			Conditions []struct{ Type, Status string } `json:"conditions"`
		} `json:"status"`
	}
	if err := json.Unmarshal(content, &node); err != nil {
		return fmt.Errorf("decode node %s: %w", name, err)
	}
	ready := false
	for _, condition := range node.Status.Conditions {
		ready = ready || condition.Type == "Ready" && condition.Status == "True"
	}
	if !ready {
		return errors.New("the node is not ready")
	}
	for _, taint := range node.Spec.Taints {
		if taint.Key == "node.kubernetes.io/not-ready" && c.process(ControllerManager) != nil {
			return errors.New("the node is still tainted as not ready")
		}
	}
	return nil
}
