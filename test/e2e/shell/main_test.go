// Package shell runs the plugin through kubectl where people do: under other
// names, without a home, on terminals of several widths, with TAB.
package shell

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/test/driver"
	"github.com/castai/kubectl-castai/test/fixtures"
)

// commandTimeout is far more than any command takes here.
const commandTimeout = time.Minute

// The cluster that the tests share. Cast AI is in it, and no test removes it.
var (
	cluster *driver.Cluster
	admin   *driver.User
)

func TestMain(m *testing.M) {
	os.Exit(driver.Main(m, driver.Options{Bin: "../../../bin", Timeout: commandTimeout},
		func(ctx context.Context, c *driver.Cluster) error {
			cluster, admin = c, c.Admin
			return fixtures.Install(ctx, c.Config, fixtures.Agent, fixtures.Foreign)
		}))
}
