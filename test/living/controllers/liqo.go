package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
)

const (
	// ofVirtualNode is the label of the pods of a virtual kubelet.
	ofVirtualNode = "offloading.liqo.io/virtual-node"
	// kubeletVariable holds the specification of such a pod, in JSON, and nodeVariable the name of its node.
	kubeletVariable = "VIRTUAL_KUBELET"
	nodeVariable    = "NODE_NAME"

	virtualNodeFinalizer    = "virtualnode-controller.liqo.io/finalizer"
	foreignClusterFinalizer = "api-server-checker.liqo.io/finalizer"
)

// LiqoControllerManager is liqo-controller-manager: it runs a virtual kubelet for each VirtualNode, in its namespace,
// and cleans up after one that is deleted as liqotech/liqo v1.2 does
// (pkg/liqo-controller-manager/offloading/virtualnode-controller: deletion-routine.go, virtualkubelet.go), except that
// it evicts no pods. A ForeignCluster, unlike there, it lets go only when no VirtualNode needs it.
func LiqoControllerManager(ctx context.Context) error {
	return lead(ctx, "liqo-controller-manager", func(ctx context.Context, c client.Client) error {
		nodes, err := liqo(ctx, c, schema.GroupVersion{Group: "offloading.liqo.io", Version: "v1beta1"}, "VirtualNode")
		if err != nil {
			return err
		}
		clusters, err := liqo(ctx, c, schema.GroupVersion{Group: "core.liqo.io", Version: "v1beta1"}, "ForeignCluster")
		if err != nil {
			return err
		}
		var failed []error
		for i := range nodes {
			o := &nodes[i]
			failed = append(failed, hold(ctx, c, o, virtualNodeFinalizer,
				func() error { return runVirtualKubelet(ctx, c, o) },
				func() (bool, error) { return endVirtualKubelet(ctx, c, o) }))
		}
		for i := range clusters {
			failed = append(failed, hold(ctx, c, &clusters[i], foreignClusterFinalizer,
				func() error { return nil },
				func() (bool, error) { return len(nodes) == 0, nil }))
		}
		return errors.Join(failed...)
	})
}

// liqo lists the objects of a kind of Liqo's.
func liqo(ctx context.Context, c client.Client, group schema.GroupVersion, kind string) ([]unstructured.Unstructured,
	error) {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(group.WithKind(kind + "List"))
	err := c.List(ctx, list)
	return list.Items, err
}

// hold works for an object that has the finalizer. One that is deleted it lets go when end says that all is done.
func hold(ctx context.Context, c client.Client, o client.Object, finalizer string, work func() error,
	end func() (bool, error)) error {
	if o.GetDeletionTimestamp() == nil {
		if controllerutil.AddFinalizer(o, finalizer) {
			return c.Update(ctx, o)
		}
		return work()
	}
	if !controllerutil.ContainsFinalizer(o, finalizer) {
		return nil
	}
	if done, err := end(); err != nil || !done {
		return err
	}
	controllerutil.RemoveFinalizer(o, finalizer)
	return client.IgnoreNotFound(c.Update(ctx, o))
}

// runVirtualKubelet makes what a virtual kubelet consists of, as far as it is not there.
func runVirtualKubelet(ctx context.Context, c client.Client, o client.Object) error {
	account, binding := kubeletRights(o)
	meta := kubeletMeta(o)
	pod := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: kubeletLabels(o)}}
	if err := json.Unmarshal([]byte(os.Getenv(kubeletVariable)), &pod.Spec); err != nil {
		return fmt.Errorf("read %s: %w", kubeletVariable, err)
	}
	pod.Spec.ServiceAccountName = account.Name
	for i := range pod.Spec.Containers {
		container := &pod.Spec.Containers[i]
		container.Env = append(container.Env, corev1.EnvVar{Name: nodeVariable, Value: nodeOf(o)})
	}
	deployment := &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: kubeletLabels(o)}, Template: pod,
	}}
	for _, made := range []client.Object{account, binding, deployment} {
		if err := c.Create(ctx, made); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}

// endVirtualKubelet takes one step after the other: the Deployment, its pods, their rights, the node. It returns
// whether all has gone.
func endVirtualKubelet(ctx context.Context, c client.Client, o client.Object) (bool, error) {
	err := c.Delete(ctx, &appsv1.Deployment{ObjectMeta: kubeletMeta(o)})
	if client.IgnoreNotFound(err) != nil {
		return false, err
	}
	pods := &corev1.PodList{}
	err = c.List(ctx, pods, client.InNamespace(o.GetNamespace()), client.MatchingLabels(kubeletLabels(o)))
	if err != nil || len(pods.Items) > 0 {
		return false, err
	}
	account, binding := kubeletRights(o)
	for _, made := range []client.Object{binding, account} {
		if err := client.IgnoreNotFound(c.Delete(ctx, made)); err != nil {
			return false, err
		}
	}
	err = c.Delete(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeOf(o)}})
	return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
}

// nodeOf is the name of the node of a VirtualNode.
func nodeOf(o client.Object) string { return "omni-" + o.GetName() }

func kubeletMeta(o client.Object) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: "vk-" + o.GetName(), Namespace: o.GetNamespace(),
		Labels: map[string]string{"offloading.liqo.io/component": "virtual-kubelet"}}
}

func kubeletLabels(o client.Object) map[string]string {
	return map[string]string{ofVirtualNode: o.GetName()}
}

func kubeletRights(o client.Object) (*corev1.ServiceAccount, *rbacv1.ClusterRoleBinding) {
	meta := kubeletMeta(o)
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: meta.Name, Namespace: meta.Namespace}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "liqo-node-" + o.GetName()},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "liqo-virtual-kubelet-local"},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: meta.Name, Namespace: meta.Namespace}},
		}
}

// VirtualKubelet is the virtual kubelet of a VirtualNode: it makes the node, with a Lease, and makes it again when
// somebody has deleted it, until it is told to end (liqotech/liqo v1.2 cmd/virtual-kubelet/root/root.go).
func VirtualKubelet(ctx context.Context) error {
	c, err := newClient()
	if err != nil {
		return err
	}
	every(ctx, time.Second, func() {
		if err := beNode(ctx, c, os.Getenv(nodeVariable)); err != nil {
			fmt.Fprintln(os.Stderr, err) // the next time may be better
		}
	})
	return nil
}

// beNode makes a node and renews its Lease.
func beNode(ctx context.Context, c client.Client, name string) error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := controllerutil.CreateOrUpdate(ctx, c, node, func() error {
		node.Labels = map[string]string{"type": "virtual-kubelet", "liqo.io/type": "virtual-node",
			"omni.cast.ai/type": "virtual-node"}
		node.Spec.ProviderID = "castai-omni://" + name
		taint := corev1.Taint{Key: "virtual-node.omni.cast.ai/not-allowed", Value: "true", Effect: corev1.TaintEffectNoExecute}
		if len(node.Spec.Taints) == 0 {
			node.Spec.Taints = []corev1.Taint{taint}
		}
		return nil
	})
	if err != nil {
		return err
	}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: corev1.NamespaceNodeLease}}
	_, err = controllerutil.CreateOrUpdate(ctx, c, lease, func() error {
		now, seconds := metav1.NowMicro(), int32(40)
		lease.Spec = coordinationv1.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: &seconds, RenewTime: &now}
		return controllerutil.SetOwnerReference(node, lease, c.Scheme())
	})
	return err
}
