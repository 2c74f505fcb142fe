// Package chaos lets things go wrong during an offboarding: requests that fail
// in every way, an API server that is killed, a plugin that is killed. Whatever
// happens, the run must end, tell the truth, and leave nothing to a second run
// that it can't do; and nothing of others may be touched.
package chaos

import (
	"context"
	"errors"

	"github.com/castai/kubectl-castai/test/compare"
	"github.com/castai/kubectl-castai/test/controlplane"
	"github.com/castai/kubectl-castai/test/driver"
	"github.com/castai/kubectl-castai/test/fixtures"
)

// Plane is a control plane on which one trial runs after the other, with the
// objects of others in it.
type Plane struct {
	*driver.Cluster
	before compare.Snapshot
}

// NewPlane starts a control plane. bin is the folder of the plugin.
func NewPlane(ctx context.Context, bin string) (*Plane, error) {
	c, err := driver.Start(ctx, driver.Options{Bin: bin, Nodes: []controlplane.Node{{Name: "node-1"}}})
	if err != nil {
		return nil, err
	}
	p := &Plane{Cluster: c}
	if err := fixtures.Install(ctx, c.Config, fixtures.Foreign); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	if p.before, err = compare.Settled(ctx, c.Config); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return p, nil
}
