// Package restore takes Cast AI out of a real control plane and puts it back.
package restore

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/pager"

	"github.com/castai/kubectl-castai/test/controlplane"
	"github.com/castai/kubectl-castai/test/driver"
	"github.com/castai/kubectl-castai/test/fixtures"
)

// commandTimeout is far more than any command takes.
const commandTimeout = 3 * time.Minute

// The control plane that the tests share, one after the other.
var (
	server *driver.Cluster
	api    dynamic.Interface
	admin  *driver.User
)

func TestMain(m *testing.M) {
	options := driver.Options{Bin: "../../../bin", Nodes: []controlplane.Node{{Name: "node-1"}}}
	os.Exit(driver.Main(m, options, func(_ context.Context, c *driver.Cluster) (err error) {
		server, admin = c, c.Admin
		api, err = dynamic.NewForConfig(c.Config)
		return err
	}))
}

// offboard takes Cast AI out, and saves it in dir.
func offboard(t *testing.T, dir string) driver.Result {
	t.Helper()
	return admin.Expect(t, 0, "offboard", "--yes", "--backup-dir", dir, "--clean-up-timeout=5s", "--settle=2s")
}

// install installs fixtures and takes them out at the end of the test.
func install(t *testing.T, sets ...fixtures.Set) {
	t.Helper()
	server.Install(t, sets...)
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
		defer cancel()
		r, err := admin.Castai(ctx, "offboard", "--yes", "--no-backup", "--clean-up-timeout=5s", "--settle=0")
		if err != nil || r.Code != 0 {
			t.Errorf("the cluster can't be cleaned: %v, %s", err, r)
		}
	})
}

// contents returns the whole content of the objects with the given ids, without
// what the server and controllers write.
func contents(t *testing.T, ids []string) map[string]map[string]any {
	t.Helper()
	wanted := map[string]bool{}
	for _, id := range ids {
		wanted[id] = true
	}
	kinds := map[schema.GroupVersionResource]string{}
	for id, o := range server.Snapshot(t) {
		if wanted[id] {
			kinds[o.Resource] = o.Kind
		}
	}
	out := map[string]map[string]any{}
	for resource, kind := range kinds {
		pages := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return api.Resource(resource).List(ctx, o)
		})
		err := pages.EachListItem(t.Context(), metav1.ListOptions{}, func(item runtime.Object) error {
			u, ok := item.(*unstructured.Unstructured)
			if !ok {
				return fmt.Errorf("unexpected %T", item)
			}
			if id := fixtures.ID(schema.GroupKind{Group: resource.Group, Kind: kind}, u.GetNamespace(),
				u.GetName()); wanted[id] {
				out[id] = written(u)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// written returns what people and programs have written of an object.
func written(u *unstructured.Unstructured) map[string]any {
	for _, path := range [][]string{
		{"status"}, {"metadata", "uid"}, {"metadata", "resourceVersion"}, {"metadata", "generation"}, {"metadata",
			"creationTimestamp"},
		{"metadata", "managedFields"}, {"metadata", "annotations", "deployment.kubernetes.io/revision"},
		{"metadata", "annotations", "deprecated.daemonset.template.generation"},
	} {
		unstructured.RemoveNestedField(u.Object, path...)
	}
	if len(u.GetAnnotations()) == 0 {
		unstructured.RemoveNestedField(u.Object, "metadata", "annotations")
	}
	return u.Object
}
