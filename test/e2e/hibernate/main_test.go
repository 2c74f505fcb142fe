// Package hibernate pauses and resumes a real control plane, with a fake of the
// Cast AI API that makes and removes its nodes.
package hibernate

import (
	"context"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"

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
	server *driver.Cluster
	client kubernetes.Interface
	admin  *driver.User
	fake   *fakecastai.Server
	api    *httptest.Server
	nodes  *fakecastai.Kubernetes
)

func TestMain(m *testing.M) {
	os.Exit(driver.Main(m, driver.Options{Bin: "../../../bin", Timeout: commandTimeout},
		func(_ context.Context, c *driver.Cluster) (err error) {
			server, admin = c, c.Admin.With("CASTAI_API_KEY="+apiKey, "TZ=Europe/Vilnius")
			if client, err = kubernetes.NewForConfig(c.Config); err != nil {
				return err
			}
			if nodes, err = fakecastai.NewKubernetes(c.Config); err != nil {
				return err
			}
			nodes.Annotations = map[string]string{"kwok.x-k8s.io/node": "fake"}
			fake = fakecastai.New(fakecastai.Options{Key: apiKey, Delay: 200 * time.Millisecond, Nodes: nodes})
			api = httptest.NewServer(fake.Handler())
			return nil
		}))
}

// hibernate runs kubectl castai hibernate and expects it to end with code.
func hibernate(t *testing.T, code int, args ...string) driver.Result {
	t.Helper()
	return secret(t, admin.Expect(t, code, append([]string{"hibernate"}, args...)...))
}

// try runs kubectl castai hibernate as a user.
func try(t *testing.T, user *driver.User, args ...string) driver.Result {
	t.Helper()
	return secret(t, user.Try(t, append([]string{"hibernate"}, args...)...))
}

// secret fails the test if the API key was shown.
func secret(t *testing.T, r driver.Result) driver.Result {
	t.Helper()
	if strings.Contains(r.Stdout+r.Stderr, apiKey) {
		t.Errorf("it shows the API key: %s", r)
	}
	return r
}

// known are the flags that say which cluster it is.
func known(args ...string) []string {
	return append(args, "--api-url="+api.URL, "--cluster-id="+clusterID)
}
