// Package chaos lets things go wrong during an offboarding: requests that fail
// in every way, an API server that is killed, a plugin that is killed. Whatever
// happens, the run must end, tell the truth, and leave nothing to a second run
// that it can't do; and nothing of others may be touched.
package chaos

import (
	"context"
	"errors"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/castai/kubectl-castai/test/compare"
	"github.com/castai/kubectl-castai/test/controlplane"
	"github.com/castai/kubectl-castai/test/driver"
	"github.com/castai/kubectl-castai/test/fixtures"
)

// Plane is a control plane on which one trial runs after the other, with the
// objects of others in it.
type Plane struct {
	server *controlplane.Cluster
	config *rest.Config
	user   *driver.User
	before compare.Snapshot
}

// NewPlane starts a control plane. bin is the folder of the plugin.
func NewPlane(ctx context.Context, bin string) (*Plane, error) {
	server, err := controlplane.Start(ctx, controlplane.Options{Quick: true})
	if err != nil {
		return nil, err
	}
	p := &Plane{server: server}
	if err := p.fill(ctx, bin); err != nil {
		return nil, errors.Join(err, server.Stop())
	}
	return p, nil
}

// fill puts a node and the objects of others into the cluster.
func (p *Plane) fill(ctx context.Context, bin string) (err error) {
	if err := p.server.AddNode(ctx, controlplane.Node{Name: "node-1"}); err != nil {
		return err
	}
	if p.user, err = driver.New(p.server, bin); err != nil {
		return err
	}
	if p.config, err = clientcmd.BuildConfigFromFlags("", p.server.Kubeconfig()); err != nil {
		return err
	}
	p.config.QPS = -1
	if err := fixtures.Install(ctx, p.config, fixtures.Foreign); err != nil {
		return err
	}
	p.before, err = compare.Settled(ctx, p.config)
	return err
}

// Stop ends the control plane.
func (p *Plane) Stop() error { return p.server.Stop() }
