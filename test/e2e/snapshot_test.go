package e2e

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/dynamic"

	pkgcluster "github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/test/fixtures"
)

// A snapshot reads some kinds as metadata, some as protobuf and some as JSON:
// what it holds is always what the server says of the single object in JSON.
func TestSnapshotHoldsWhatTheServerSays(t *testing.T) {
	cluster.Install(t, fixtures.Foreign)
	kubeconfig := cluster.Kubeconfig()
	flags := genericclioptions.NewConfigFlags(false)
	flags.KubeConfig = &kubeconfig
	client, err := pkgcluster.New(t.Context(), flags, pkgcluster.Options{UserAgent: "e2e"})
	if err != nil {
		t.Fatal(err)
	}
	api, err := dynamic.NewForConfig(cluster.Config)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := client.Snapshot(t.Context(), pkgcluster.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	if len(snap.Unreadable) > 0 {
		t.Errorf("unreadable: %v", snap.Unreadable)
	}
	compared := map[string]int{}
	for _, got := range snap.Objects {
		u, err := api.Resource(got.Resource.GVR()).Namespace(got.Namespace).Get(t.Context(), got.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && u.GetResourceVersion() != got.ResourceVersion {
			continue // it changed since
		}
		if err != nil {
			t.Fatal(err)
		}
		want, err := pkgcluster.NewObject(got.Resource, u)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", got.Ref(), diff)
		}
		if got.Body != nil {
			compared[got.Resource.Kind]++
		}
	}
	for _, kind := range []string{"Namespace", "Node", "Service", "Deployment", "ClusterRoleBinding",
		"ValidatingWebhookConfiguration", "APIService", "StorageClass", "Lease"} {
		if compared[kind] == 0 {
			t.Errorf("no %s was compared: %v", kind, compared)
		}
	}
}
