// Package unstick frees stuck namespaces of a real control plane.
package unstick

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/test/controlplane"
	"github.com/castai/kubectl-castai/test/driver"
)

// The control plane that all tests share. Those that break something for the
// whole cluster do not run in parallel with others.
var (
	server *controlplane.Cluster
	client *cluster.Client   // the plugin's
	api    dynamic.Interface // the tests'
	admin  *driver.User
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctx := context.Background()
	if server, err = controlplane.Start(ctx, controlplane.Options{Quick: true}); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	if client, err = connect(ctx, server.Kubeconfig()); err != nil {
		return 0, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", server.Kubeconfig())
	if err != nil {
		return 0, err
	}
	config = rest.CopyConfig(config)
	config.QPS = -1
	if api, err = dynamic.NewForConfig(config); err != nil {
		return 0, err
	}
	if admin, err = driver.New(server, "../../../bin"); err != nil {
		return 0, err
	}
	if err := server.Apply(ctx, definition("example.com", "widgets", "Widget")); err != nil {
		return 0, err
	}
	if _, err := server.Kubectl(ctx, "wait", "--for=condition=Established", "crd/widgets.example.com"); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// connect opens a cluster as the plugin does.
func connect(ctx context.Context, kubeconfig string) (*cluster.Client, error) {
	flags := genericclioptions.NewConfigFlags(false)
	flags.KubeConfig = &kubeconfig
	return cluster.New(ctx, flags, cluster.Options{UserAgent: "unstick-test"})
}

// definition is a CustomResourceDefinition without any rules.
func definition(group, plural, kind string) string {
	return fmt.Sprintf(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[2]s.%[1]s}
spec:
  group: %[1]s
  scope: Namespaced
  names: {plural: %[2]s, kind: %[3]s}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`, group, plural, kind)
}
