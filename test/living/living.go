// Package living runs clusters in which Cast AI is alive: a control plane, a node of package kubelet, and controllers
// that install, reconcile, and put back what is gone.
package living

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/kubectl-castai/test/driver"
	"github.com/castai/kubectl-castai/test/kubelet"
	"github.com/castai/kubectl-castai/test/living/controllers"
)

const (
	// Namespace is where Cast AI is installed.
	Namespace = "castai-agent"
	// Program is the name of what runs in the pods, beside the plugin.
	Program = "castai-living"
	// Node is the name of the node that runs processes.
	Node = "alive"

	registry = "us-docker.pkg.dev/castai-hub/library/"
	mark     = "example.com/processes" // of the node that runs processes
)

// Cluster is a cluster with a node that runs processes.
type Cluster struct {
	*driver.Cluster
	Node    *kubelet.Kubelet
	network *kubelet.Network
	program string
}

// Start starts a cluster. The processes of Stop end with it.
func Start(ctx context.Context, o driver.Options) (*Cluster, error) {
	server, err := driver.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	c, err := Enliven(ctx, server, o.Bin)
	if err != nil {
		return nil, errors.Join(err, server.Stop())
	}
	return c, nil
}

// Enliven adds a node that runs processes to a cluster, until Quit. bin is the folder that the controllers were built
// into.
func Enliven(ctx context.Context, server *driver.Cluster, bin string) (*Cluster, error) {
	program, err := filepath.Abs(filepath.Join(bin, Program))
	if err != nil {
		return nil, err
	}
	if _, err := exec.LookPath(program); err != nil {
		return nil, fmt.Errorf("build the controllers first, with make living: %w", err)
	}
	c := &Cluster{Cluster: server, program: program}
	if c.network, err = kubelet.NewNetwork(ctx, server.Cluster); err == nil {
		err = c.AddLivingNode(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, c.Quit())
	}
	return c, nil
}

// AddLivingNode adds the node that runs processes.
func (c *Cluster) AddLivingNode(ctx context.Context) (err error) {
	images := map[string]kubelet.Image{}
	for image, name := range map[string]string{
		"castware-operator": "operator", "agent": "agent", "evictor": "evictor", "cluster-controller": "cluster-controller",
		"kubectl": "crd-upgrade", "workload-autoscaler": "workload-autoscaler",
		"liqo/controller-manager": "liqo-controller-manager", "liqo/virtual-kubelet": "virtual-kubelet",
	} {
		images[registry+image] = kubelet.Image{Path: c.program, Entrypoint: []string{name}}
	}
	c.Node, err = kubelet.Start(ctx, c.Cluster.Cluster, c.network, kubelet.Options{
		Name: Node, Labels: map[string]string{mark: ""}, Images: images,
		Taints: []corev1.Taint{{Key: mark, Effect: corev1.TaintEffectNoSchedule}},
	})
	return err
}

// Stop ends the processes, and the cluster.
func (c *Cluster) Stop() error { return errors.Join(c.Quit(), c.Cluster.Stop()) }

// Quit ends the processes. The cluster goes on without them.
func (c *Cluster) Quit() error {
	var err error
	if c.Node != nil {
		err = c.Node.Stop()
	}
	if c.network != nil {
		c.network.Stop()
	}
	return err
}

// More is a component to install beside those that always are, and what the charts of all of them get.
type More struct {
	Component, Version string
	Values             map[string]any
}

// Program returns a command of those that a user runs, in a process of its own: install, install-omni or uninstall; or
// outside, which Cast AI runs.
func (c *Cluster) Program(ctx context.Context, name string, more ...More) (*exec.Cmd, error) {
	place := map[string]any{
		"nodeSelector": map[string]any{mark: ""},
		"tolerations":  []any{map[string]any{"key": mark, "operator": "Exists"}},
	}
	components, componentValues := map[string]any{}, maps.Clone(place)
	for _, m := range more {
		components[m.Component] = m.Version
		maps.Copy(componentValues, m.Values)
	}
	values := map[string]any{"values": componentValues, "components": components,
		"webhook": map[string]any{"port": webhookPort()}, "global": place}
	maps.Copy(values, place)
	encoded, err := json.Marshal(values)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, c.program, name) //nolint:gosec // of this project
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig(), "POD_NAMESPACE="+Namespace, controllers.ValuesVariable+
		"="+string(encoded))
	return cmd, nil
}

// webhookPort is the port of the Service behind the webhooks: 443, or another one where only root may listen on that.
func webhookPort() int {
	l, err := net.Listen("tcp", "127.96.255.254:443")
	if err != nil {
		return 8443
	}
	_ = l.Close()
	return 443
}

// Install installs Cast AI and waits until all of it is there.
func (c *Cluster) Install(ctx context.Context, more ...More) error {
	cmd, err := c.Program(ctx, "install", more...)
	if err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("install Cast AI: %w\n%s", err, out)
	}
	return c.Alive(ctx)
}

// Alive waits until the operator says of each component that it is there, and all Deployments in the namespace are
// available.
func (c *Cluster) Alive(ctx context.Context) error {
	api, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		return err
	}
	components := schema.GroupVersionResource{Group: "castware.cast.ai", Version: "v1alpha1", Resource: "components"}
	deployments := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	var last string
	err = wait.PollUntilContextTimeout(ctx, 500*time.Millisecond, 3*time.Minute, true,
		func(ctx context.Context) (bool, error) {
			for _, resource := range []schema.GroupVersionResource{components, deployments} {
				list, err := api.Resource(resource).Namespace(Namespace).List(ctx, metav1.ListOptions{})
				if ctx.Err() != nil {
					return false, ctx.Err() // and not why the last request failed
				}
				if err != nil || len(list.Items) == 0 {
					last = fmt.Sprintf("no %s: %v", resource.Resource, err)
					return false, nil
				}
				for i := range list.Items {
					if o := &list.Items[i]; !available(o) {
						last = fmt.Sprintf("%s %s: %v", o.GetKind(), o.GetName(), o.Object["status"])
						return false, nil
					}
				}
			}
			return true, nil
		})
	if err != nil {
		return fmt.Errorf("wait for Cast AI to live: %w (%s)", err, last)
	}
	return nil
}

func available(o *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == "Available" && m["status"] == "True" {
			return true
		}
	}
	return false
}
