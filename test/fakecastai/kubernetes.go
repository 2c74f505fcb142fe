package fakecastai

import (
	"context"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/castai/kubectl-castai/internal/castai"
)

// Kubernetes ties the service's nodes to the Node objects of a test cluster.
type Kubernetes struct {
	client kubernetes.Interface
	// Annotations are those of the Node objects that are made. With some, whoever
	// they are for makes the nodes ready; without, they are ready at once.
	Annotations map[string]string
}

// NewKubernetes connects to a cluster.
func NewKubernetes(config *rest.Config) (*Kubernetes, error) {
	client, err := kubernetes.NewForConfig(config)
	return &Kubernetes{client: client}, err
}

// List returns the cluster's nodes as the service sees them. Those with Cast
// AI's label are its own (cluster-controller internal/types.go).
func (k *Kubernetes) List(ctx context.Context) ([]castai.Node, error) {
	list, err := k.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var out []castai.Node
	for _, n := range list.Items {
		by := "user"
		if n.Labels["provisioner.cast.ai/managed-by"] == "cast.ai" {
			by = "cast"
		}
		node := SampleNode(n.Name, n.Spec.ProviderID, by)
		node.Labels = n.Labels
		node.SpotConfig.IsSpot = n.Labels["scheduling.cast.ai/spot"] == "true"
		if kind := n.Labels[corev1.LabelInstanceTypeStable]; kind != "" {
			node.InstanceType = kind
		}
		if id := n.Labels["provisioner.cast.ai/node-id"]; id != "" {
			node.Id = id
		}
		out = append(out, node)
	}
	return out, nil
}

// Add makes a Node object.
func (k *Kubernetes) Add(ctx context.Context, n castai.Node) error {
	labels := map[string]string{"provisioner.cast.ai/managed-by": "cast.ai", "provisioner.cast.ai/node-id": n.Id,
		"kubernetes.io/hostname": n.Name, corev1.LabelInstanceTypeStable: n.InstanceType}
	maps.Copy(labels, n.Labels)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: labels, Annotations: k.Annotations},
		Spec: corev1.NodeSpec{ProviderID: n.ProviderId}}
	for _, t := range n.Taints {
		node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{Key: t.Key, Value: t.Value,
			Effect: corev1.TaintEffect(t.Effect)})
	}
	made, err := k.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if err != nil || len(k.Annotations) > 0 {
		return err
	}
	// A patch: the node controller writes to a new node at the same time.
	const ready = `{"status":{"conditions":[{"type":"Ready","status":"True","reason":"KubeletReady","lastHeartbeatTime":%q,"lastTransitionTime":%[1]q}]}}`
	patch := fmt.Appendf(nil, ready, metav1.Now().UTC().Format(time.RFC3339))
	_, err = k.client.CoreV1().Nodes().Patch(ctx, made.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{},
		"status")
	return err
}

// Drain evicts the pods on a node, but for those of DaemonSets, as their budgets
// allow it.
func (k *Kubernetes) Drain(ctx context.Context, n castai.Node) (held bool, err error) {
	pods, err := k.client.CoreV1().Pods(metav1.NamespaceAll).List(ctx,
		metav1.ListOptions{FieldSelector: "spec.nodeName=" + n.Name})
	if err != nil {
		return false, err
	}
	var blocked atomic.Bool
	group, evict := errgroup.WithContext(ctx)
	for _, p := range pods.Items {
		if owner := metav1.GetControllerOf(&p); owner != nil && owner.Kind == "DaemonSet" {
			continue
		}
		group.Go(func() error {
			eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace},
				DeleteOptions: metav1.NewDeleteOptions(0)}
			switch err := k.client.PolicyV1().Evictions(p.Namespace).Evict(evict, eviction); {
			case apierrors.IsTooManyRequests(err):
				blocked.Store(true)
			case err != nil && !apierrors.IsNotFound(err):
				return fmt.Errorf("evict pod %s/%s: %w", p.Namespace, p.Name, err)
			}
			return nil
		})
	}
	err = group.Wait()
	return blocked.Load(), err
}

// Remove deletes the pods that are left on a node, and its Node object.
func (k *Kubernetes) Remove(ctx context.Context, n castai.Node) error {
	pods, err := k.client.CoreV1().Pods(metav1.NamespaceAll).List(ctx,
		metav1.ListOptions{FieldSelector: "spec.nodeName=" + n.Name})
	if err != nil {
		return err
	}
	group, evict := errgroup.WithContext(ctx)
	for _, p := range pods.Items {
		group.Go(func() error {
			if err := k.client.CoreV1().Pods(p.Namespace).Delete(evict, p.Name, *metav1.NewDeleteOptions(0)); err != nil &&
				!apierrors.IsNotFound(err) {
				return fmt.Errorf("delete pod %s/%s: %w", p.Namespace, p.Name, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := k.client.CoreV1().Nodes().Delete(ctx, n.Name, metav1.DeleteOptions{}); err != nil &&
		!apierrors.IsNotFound(err) {
		return fmt.Errorf("delete node %s: %w", n.Name, err)
	}
	return nil
}

// AgentRuns tells whether the Deployment castai-agent is there and not stopped.
func (k *Kubernetes) AgentRuns(ctx context.Context) bool {
	d, err := k.client.AppsV1().Deployments("castai-agent").Get(ctx, "castai-agent", metav1.GetOptions{})
	return err == nil && (d.Spec.Replicas == nil || *d.Spec.Replicas > 0)
}
