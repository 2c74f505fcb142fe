package driver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/test/compare"
	"github.com/castai/kubectl-castai/test/fixtures"
)

// Main runs the tests of a package on a cluster that they share, which ready gets
// before them, and returns the exit code once the cluster is stopped.
func Main(m *testing.M, o Options, ready func(context.Context, *Cluster) error) int {
	code, err := run(m, o, ready)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func run(m *testing.M, o Options, ready func(context.Context, *Cluster) error) (code int, err error) {
	ctx := context.Background()
	c, err := Start(ctx, o)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	if err := ready(ctx, c); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// Snapshot returns all that is in the cluster.
func (c *Cluster) Snapshot(t testing.TB) compare.Snapshot {
	t.Helper()
	s, err := fixtures.Snapshot(t.Context(), c.Config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Settled returns all that is in the cluster once its controllers are done.
func (c *Cluster) Settled(t testing.TB) compare.Snapshot {
	t.Helper()
	s, err := compare.Settled(t.Context(), c.Config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Install installs fixtures and returns the cluster with them once its
// controllers are done with them.
func (c *Cluster) Install(t testing.TB, sets ...fixtures.Set) compare.Snapshot {
	t.Helper()
	if err := fixtures.Install(t.Context(), c.Config, sets...); err != nil {
		t.Fatal(err)
	}
	return c.Settled(t)
}

// Unchanged fails the test if do changed anything in the cluster.
func (c *Cluster) Unchanged(t testing.TB, do func()) {
	t.Helper()
	before := c.Snapshot(t)
	do()
	if changes := compare.Changes(before, c.Snapshot(t)); len(changes) > 0 {
		t.Errorf("the cluster has changed:\n%s", strings.Join(changes, "\n"))
	}
}
