// Package restore takes Cast AI out of a real control plane and puts it back.
package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/pager"

	"github.com/castai/kubectl-castai/test/compare"
	"github.com/castai/kubectl-castai/test/controlplane"
	"github.com/castai/kubectl-castai/test/driver"
	"github.com/castai/kubectl-castai/test/fixtures"
)

// commandTimeout is far more than any command takes.
const commandTimeout = 3 * time.Minute

// The control plane that the tests share, one after the other.
var (
	server *controlplane.Cluster
	config *rest.Config
	api    dynamic.Interface
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
	if err := server.AddNode(ctx, controlplane.Node{Name: "node-1"}); err != nil {
		return 0, err
	}
	if config, err = clientcmd.BuildConfigFromFlags("", server.Kubeconfig()); err != nil {
		return 0, err
	}
	config.QPS = -1
	if api, err = dynamic.NewForConfig(config); err != nil {
		return 0, err
	}
	if admin, err = driver.New(server, "../../../bin"); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// castai runs kubectl castai and expects it to end with code.
func castai(t *testing.T, code int, args ...string) driver.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandTimeout)
	defer cancel()
	r, err := admin.Castai(ctx, args...)
	if err != nil {
		t.Fatalf("kubectl castai %s: %v", strings.Join(args, " "), err)
	}
	if r.Code != code {
		t.Fatalf("kubectl castai %s: want exit code %d, got %s", strings.Join(args, " "), code, r)
	}
	return r
}

// offboard takes Cast AI out, and saves it in dir.
func offboard(t *testing.T, dir string) driver.Result {
	t.Helper()
	return castai(t, 0, "offboard", "--yes", "--backup-dir", dir, "--clean-up-timeout=5s", "--settle=2s")
}

func snapshot(t *testing.T) compare.Snapshot {
	t.Helper()
	s, err := fixtures.Snapshot(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// install installs fixtures and takes them out at the end of the test.
func install(t *testing.T, sets ...fixtures.Set) {
	t.Helper()
	if err := fixtures.Install(t.Context(), config, sets...); err != nil {
		t.Fatal(err)
	}
	settled(t)
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

// settled waits until the controllers are done.
func settled(t *testing.T) {
	t.Helper()
	if _, err := compare.Settled(t.Context(), config); err != nil {
		t.Fatal(err)
	}
}

// unchanged fails the test if do changed anything in the cluster.
func unchanged(t *testing.T, do func()) {
	t.Helper()
	before := snapshot(t)
	do()
	if changes := compare.Changes(before, snapshot(t)); len(changes) > 0 {
		t.Errorf("the cluster has changed:\n%s", strings.Join(changes, "\n"))
	}
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
	for id, o := range snapshot(t) {
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
			if id := fixtures.ID(schema.GroupKind{Group: resource.Group, Kind: kind}, u.GetNamespace(), u.GetName()); wanted[id] {
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
		{"status"}, {"metadata", "uid"}, {"metadata", "resourceVersion"}, {"metadata", "generation"}, {"metadata", "creationTimestamp"},
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
