package offboard

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/finalize"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// Source is what a look at a cluster needs of it.
type Source interface {
	Snapshot(ctx context.Context, scope cluster.Scope) (*cluster.Snapshot, error)
	StoredReleases(ctx context.Context, records []cluster.Target) ([]cluster.StoredRelease, error)
	Fill(ctx context.Context, objects []*cluster.Object, fields ...[]string) error
}

// Cluster is what an offboarding needs of a cluster. *cluster.Client is one.
type Cluster interface {
	engine.Cluster
	Source
	finalize.Reader
	Read(ctx context.Context, targets []cluster.Target, each func(cluster.Target, *unstructured.Unstructured) error) error
}

// Survey is what was read of a cluster to judge it.
type Survey struct {
	Snapshot  *cluster.Snapshot
	Releases  []cluster.StoredRelease
	Catalogue *ownership.Catalogue
	Trust     []string
}

// Look reads the cluster and all records that judging it needs; trust are the
// namespaces in which Cast AI lives by the user's word. The error is for
// a server that can't be reached; what can't be read is in the snapshot.
func Look(ctx context.Context, from Source, cat *ownership.Catalogue, trust []string) (*Survey, error) {
	snap, err := from.Snapshot(ctx, cluster.Scope{})
	if err != nil {
		return nil, err
	}
	s := &Survey{Snapshot: snap, Catalogue: cat, Trust: trust}
	if s.Releases, err = from.StoredReleases(ctx, ownership.ReleaseRecords(snap, cat, trust)); err != nil {
		return nil, err
	}
	return s, from.Fill(ctx, ownership.IdentityRecords(snap), ownership.IdentityFields()...)
}

// Judge says whose everything is.
func (s *Survey) Judge(o ownership.Options) *ownership.Inventory {
	o.Trust = s.Trust
	return ownership.Judge(s.Snapshot, s.Releases, s.Catalogue, o)
}

// with returns the survey as it would have been with another state of an object.
func (s *Survey) with(o *cluster.Object) *Survey {
	snap := *s.Snapshot
	snap.Objects = slices.Clone(s.Snapshot.Objects)
	i := slices.IndexFunc(snap.Objects, func(old *cluster.Object) bool { return old.UID == o.UID })
	if i < 0 {
		return s
	}
	snap.Objects[i] = o
	return &Survey{Snapshot: &snap, Releases: s.Releases, Catalogue: s.Catalogue, Trust: s.Trust}
}

// resource returns the resource of a target as the survey found it.
func (s *Survey) resource(t cluster.Target) (*cluster.Resource, error) {
	for _, r := range s.Snapshot.Resources {
		if r.GVR() == t.GVR() {
			return r, nil
		}
	}
	return nil, fmt.Errorf("the server did not serve the kind of %s when the cluster was judged", t.Ref)
}
