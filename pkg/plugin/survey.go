package plugin

import (
	"context"
	"fmt"
	"time"

	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// connect opens the cluster that the kubeconfig flags select.
func (r *Root) connect(ctx context.Context) (*cluster.Client, error) {
	return cluster.New(ctx, r.Kube, cluster.Options{
		UserAgent: cluster.UserAgent(r.Version.Version),
		OnAway: func(reason string, patience time.Duration) {
			_, _ = fmt.Fprintf(r.ErrOut, "The API server does not answer (%s): waiting for it, up to %s\n", printer.Escape(reason), patience)
		},
	})
}

// survey is what was read of a cluster to judge it.
type survey struct {
	snap     *cluster.Snapshot
	releases []cluster.StoredRelease
	cat      *ownership.Catalogue
}

// look reads the cluster and all records that judging it needs.
func look(ctx context.Context, client *cluster.Client, cat *ownership.Catalogue) (*survey, error) {
	snap, err := client.Snapshot(ctx, cluster.Scope{})
	if err != nil {
		return nil, err
	}
	s := &survey{snap: snap, cat: cat}
	if s.releases, err = client.StoredReleases(ctx, ownership.ReleaseRecords(snap, cat)); err != nil {
		return nil, err
	}
	return s, client.Fill(ctx, ownership.IdentityRecords(snap), ownership.IdentityFields()...)
}

// judge says whose everything is.
func (s *survey) judge(o ownership.Options) *ownership.Inventory {
	return ownership.Take(s.snap, s.releases, s.cat, o)
}

// find reads references to objects as the user writes them and looks them up.
func (s *survey) find(flag string, texts []string) ([]cluster.Ref, error) {
	var out []cluster.Ref
	for _, text := range texts {
		r, err := cluster.ParseRef(text)
		if err != nil {
			return nil, usage(fmt.Errorf("%s: %w", flag, err))
		}
		o, err := s.snap.Find(r)
		if err != nil {
			return nil, usage(fmt.Errorf("%s %s: %w", flag, text, err))
		}
		out = append(out, o.Ref())
	}
	return out, nil
}
