package e2e

import (
	"context"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/test/fixtures"
)

// A controller that makes objects again is told by name, with what to do, and
// the run does not claim to be clean.
func TestSomethingMakesItAgain(t *testing.T) {
	cluster.Install(t, fixtures.Agent)
	api, err := dynamic.NewForConfig(cluster.Config)
	if err != nil {
		t.Fatal(err)
	}
	roles := api.Resource(schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1",
		Resource: "clusterroles"})
	const name = "castai-agent"
	role, err := roles.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	events, err := roles.Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name,
		ResourceVersion: role.GetResourceVersion()})
	if err != nil {
		t.Fatal(err)
	}
	again := role.DeepCopy()
	again.SetUID("")
	again.SetResourceVersion("")
	again.SetManagedFields(nil)
	made := make(chan error, 1)
	go func() {
		for e := range events.ResultChan() {
			if e.Type == watch.Deleted {
				_, err := roles.Create(t.Context(), again, metav1.CreateOptions{FieldManager: "argocd-controller"})
				made <- err
				return
			}
		}
		made <- apierrors.NewTimeoutError("it was never deleted", 0)
	}()

	var report printer.Report
	r := admin.Expect(t, 4, append([]string{"offboard", "--yes", "-o", "json"}, quick...)...)
	events.Stop()
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := roles.Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	r.Document(t, &report)
	if len(report.Returned) != 1 || report.Returned[0].Name != name ||
		!strings.Contains(report.Returned[0].Remedy, "Argo CD") {
		t.Errorf("returned: %+v", report.Returned)
	}
	if !strings.Contains(r.Stderr, "came back") {
		t.Errorf("the error does not say why: %s", r.Stderr)
	}
}
