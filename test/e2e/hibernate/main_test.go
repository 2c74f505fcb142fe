// Package hibernate pauses and resumes a real control plane, with a fake of the
// Cast AI API that makes and removes its nodes.
package hibernate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/castai/kubectl-castai/test/controlplane"
	"github.com/castai/kubectl-castai/test/driver"
	"github.com/castai/kubectl-castai/test/fakecastai"
)

const (
	// commandTimeout is far more than any command takes.
	commandTimeout = 4 * time.Minute
	clusterID      = "2f1e4c1a-6b0d-4d55-9a6e-3f0c6d5b7a10"
	apiKey         = "a-key-of-the-fake"
)

// The control plane that the tests share, one after the other.
var (
	server *controlplane.Cluster
	client kubernetes.Interface
	admin  *driver.User
	fake   *fakecastai.Server
	api    *httptest.Server
	nodes  *fakecastai.Kubernetes
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
	config, err := clientcmd.BuildConfigFromFlags("", server.Kubeconfig())
	if err != nil {
		return 0, err
	}
	config.QPS = -1
	if client, err = kubernetes.NewForConfig(config); err != nil {
		return 0, err
	}
	if nodes, err = fakecastai.NewKubernetes(config); err != nil {
		return 0, err
	}
	nodes.Annotations = map[string]string{"kwok.x-k8s.io/node": "fake"}
	fake = fakecastai.New(fakecastai.Options{Key: apiKey, Delay: 200 * time.Millisecond, Nodes: nodes})
	api = httptest.NewServer(fake.Handler())
	defer api.Close()
	if admin, err = driver.New(server, "../../../bin"); err != nil {
		return 0, err
	}
	admin = admin.With("CASTAI_API_KEY="+apiKey, "TZ=Europe/Vilnius")
	return m.Run(), nil
}

// hibernate runs kubectl castai hibernate and expects it to end with code.
func hibernate(t *testing.T, code int, args ...string) driver.Result {
	t.Helper()
	r := try(t, admin, args...)
	if r.Code != code {
		t.Fatalf("kubectl castai hibernate %s: want exit code %d, got %s", strings.Join(args, " "), code, r)
	}
	return r
}

// try runs kubectl castai hibernate as a user.
func try(t *testing.T, user *driver.User, args ...string) driver.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandTimeout)
	defer cancel()
	r, err := user.Castai(ctx, append([]string{"hibernate"}, args...)...)
	if err != nil {
		t.Fatalf("kubectl castai hibernate %s: %v", strings.Join(args, " "), err)
	}
	if bytes.Contains([]byte(r.Stdout+r.Stderr), []byte(apiKey)) {
		t.Errorf("kubectl castai hibernate %s shows the API key", strings.Join(args, " "))
	}
	return r
}

// known are the flags that say which cluster it is.
func known(args ...string) []string {
	return append(args, "--api-url="+api.URL, "--cluster-id="+clusterID)
}
