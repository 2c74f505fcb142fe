// Package e2e drives the built plugin, through kubectl, against a real control plane.
package e2e

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/test/compare"
	"github.com/castai/kubectl-castai/test/controlplane"
	"github.com/castai/kubectl-castai/test/driver"
	"github.com/castai/kubectl-castai/test/fixtures"
)

// The cluster that the tests of this package use, one after the other. Each
// leaves it as it was.
var (
	cluster *driver.Cluster
	admin   *driver.User
)

func TestMain(m *testing.M) {
	os.Exit(driver.Main(m, driver.Options{Bin: "../../bin", Tokens: []controlplane.Token{{User: "robot"}},
		Nodes: []controlplane.Node{
			{Name: "node-1", Labels: map[string]string{"node.kubernetes.io/instance-type": "m7g.xlarge"}},
			{Name: "node-2", Labels: map[string]string{
				"node.kubernetes.io/instance-type": "c7g.2xlarge", "provisioner.cast.ai/managed-by": "cast.ai",
				"scheduling.cast.ai/spot": "true",
			}},
		}}, func(ctx context.Context, c *driver.Cluster) error {
		cluster, admin = c, c.Admin
		return c.LetLook(ctx, "Group", "readers")
	}))
}

// refs returns one of the lists of fixtures.
func refs(t *testing.T, list func(...fixtures.Set) ([]string, error), sets ...fixtures.Set) []string {
	t.Helper()
	ids, err := list(sets...)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// nothingElse fails the test unless everything of Cast AI's is gone and nothing
// of others was touched.
func nothingElse(t *testing.T, r compare.Result) {
	t.Helper()
	if len(r.Removed) == 0 {
		t.Error("nothing was removed")
	}
	if len(r.Left) > 0 {
		t.Errorf("%d objects are left:\n%s", len(r.Left), strings.Join(r.Left, "\n"))
	}
	if len(r.Touched) > 0 {
		t.Errorf("%d objects of others were touched:\n%s", len(r.Touched), strings.Join(r.Touched, "\n"))
	}
	t.Logf("%d removed, %d left, %d of others untouched, %d touched", len(r.Removed), len(r.Left), r.Untouched,
		len(r.Touched))
}
