package driver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/castai/kubectl-castai/test/controlplane"
)

// Options of a cluster.
type Options struct {
	// Bin is the folder that kubectl-castai was built into.
	Bin string
	// ContextName and Tokens are those of the control plane.
	ContextName string
	Tokens      []controlplane.Token
	// Nodes that the cluster begins with.
	Nodes []controlplane.Node
	// Timeout of a command in a test, by default three minutes.
	Timeout time.Duration
}

// Cluster is a control plane of its own, and its administrator.
type Cluster struct {
	*controlplane.Cluster
	// Config is the administrator's, without a limit of requests per second.
	Config *rest.Config
	Admin  *User
}

// Start starts a cluster, whose processes Stop ends.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	server, err := controlplane.Start(ctx, controlplane.Options{Quick: true, ContextName: o.ContextName, Tokens: o.Tokens})
	if err != nil {
		return nil, err
	}
	c := &Cluster{Cluster: server}
	if err := c.prepare(ctx, o); err != nil {
		return nil, errors.Join(err, server.Stop())
	}
	return c, nil
}

func (c *Cluster) prepare(ctx context.Context, o Options) (err error) {
	if c.Admin, err = New(c.Cluster, o.Bin); err != nil {
		return err
	}
	if o.Timeout > 0 {
		c.Admin.timeout = o.Timeout
	}
	if c.Config, err = clientcmd.BuildConfigFromFlags("", c.Kubeconfig()); err != nil {
		return err
	}
	c.Config.QPS = -1
	for _, node := range o.Nodes {
		if err := c.AddNode(ctx, node); err != nil {
			return err
		}
	}
	return nil
}

// Stick makes a namespace that stays in Terminating: a ConfigMap in it waits for
// a controller that does not run.
func (c *Cluster) Stick(ctx context.Context, namespace, configMap string) error {
	err := c.Apply(ctx, fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: %[2]s, namespace: %[1]s, finalizers: [example.com/hold]}
`, namespace, configMap))
	if err != nil {
		return err
	}
	_, err = c.Kubectl(ctx, "delete", "namespace", namespace, "--wait=false")
	return err
}

// LetLook lets a user or group, of the kind User or Group, read everything.
func (c *Cluster) LetLook(ctx context.Context, kind, name string) error {
	return c.Apply(ctx, fmt.Sprintf(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: looks}
rules: [{apiGroups: ["*"], resources: ["*"], verbs: [get, list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: looks}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: looks}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: %s, name: %s}]
`, kind, name))
}

// WriteKubeconfig writes a kubeconfig with one context.
func WriteKubeconfig(path string, cluster *clientcmdapi.Cluster, user *clientcmdapi.AuthInfo) error {
	const name = "castai-test"
	return clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{name: cluster},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: user},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	}, path)
}
