// Package shell runs the plugin through kubectl where people do: under other
// names, without a home, on terminals of several widths, with TAB.
package shell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/castai/kubectl-castai/test/controlplane"
	"github.com/castai/kubectl-castai/test/driver"
	"github.com/castai/kubectl-castai/test/fixtures"
)

// commandTimeout is far more than any command takes.
const commandTimeout = time.Minute

// The cluster that the tests share. Cast AI is in it, and no test removes it.
var (
	cluster *controlplane.Cluster
	admin   *driver.User
	config  *rest.Config
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
	if cluster, err = controlplane.Start(ctx, controlplane.Options{Quick: true}); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	if admin, err = driver.New(cluster, "../../../bin"); err != nil {
		return 0, err
	}
	if config, err = clientcmd.BuildConfigFromFlags("", cluster.Kubeconfig()); err != nil {
		return 0, err
	}
	if err := fixtures.Install(ctx, config, fixtures.Agent, fixtures.Foreign); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// castai runs kubectl castai and expects it to end with code.
func castai(t *testing.T, user *driver.User, code int, args ...string) driver.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandTimeout)
	defer cancel()
	r, err := user.Castai(ctx, args...)
	if err != nil || r.Code != code {
		t.Fatalf("kubectl castai %s: want exit code %d, got %v, %s", strings.Join(args, " "), code, err, r)
	}
	return r
}
