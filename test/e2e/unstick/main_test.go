// Package unstick frees stuck namespaces of a real control plane.
package unstick

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/dynamic"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/test/driver"
)

// The control plane that all tests share. Those that break something for the
// whole cluster do not run in parallel with others.
var (
	server *driver.Cluster
	client *cluster.Client   // the plugin's
	api    dynamic.Interface // the tests'
	admin  *driver.User
)

// atOnce is how many tests run in parallel: they wait for controllers, and need little
// of the machine meanwhile.
const atOnce = "8"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", atOnce); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(driver.Main(m, driver.Options{Bin: "../../../bin"}, func(ctx context.Context, c *driver.Cluster) (err error) {
		server, admin = c, c.Admin
		if client, err = connect(ctx, c.Kubeconfig()); err != nil {
			return err
		}
		if api, err = dynamic.NewForConfig(c.Config); err != nil {
			return err
		}
		if err := c.Apply(ctx, definition("example.com", "widgets", "Widget")); err != nil {
			return err
		}
		_, err = c.Kubectl(ctx, "wait", "--for=condition=Established", "crd/widgets.example.com")
		return err
	}))
}

// connect opens a cluster as the plugin does.
func connect(ctx context.Context, kubeconfig string) (*cluster.Client, error) {
	flags := genericclioptions.NewConfigFlags(false)
	flags.KubeConfig = &kubeconfig
	return cluster.New(ctx, flags, cluster.Options{UserAgent: "unstick-test"})
}

// second returns a further version for a definition, v2, which is like the first, but not
// stored.
func second(definition string) string {
	_, version, _ := strings.Cut(definition, "    - name: v1")
	return "    - name: v2" + strings.Replace(version, "storage: true", "storage: false", 1)
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
