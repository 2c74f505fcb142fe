package offboard

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

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
	// gone is what earlier looks of the same run found to be Cast AI's and is not
	// there any more: it proves what it proved then.
	gone *Survey
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
	inv := ownership.Judge(s.Snapshot, s.Releases, s.Catalogue, o)
	if s.gone == nil {
		return inv
	}
	whole := *s.Snapshot
	whole.Objects = slices.Concat(s.Snapshot.Objects, s.gone.Snapshot.Objects)
	before := ownership.Judge(&whole, slices.Concat(s.Releases, s.gone.Releases), s.Catalogue, o)
	o.Known = map[types.UID]ownership.Proof{}
	for _, i := range before.Owned() {
		if !inv.IsOwned(i.Object.Ref()) {
			o.Known[i.Object.UID] = ownership.Proof{Component: i.Component, Evidence: i.For[0]}
		}
	}
	return ownership.Judge(s.Snapshot, s.Releases, s.Catalogue, o)
}

// remember lets what earlier looks found to be Cast AI's, and has been removed
// since, tell whose the rest is, as it did when the user agreed.
func (s *Survey) remember(earlier *Observation) {
	there := map[cluster.Ref]bool{}
	for _, o := range s.Snapshot.Objects {
		there[o.Ref()] = true
	}
	gone := &Survey{Snapshot: &cluster.Snapshot{}}
	add := func(o *cluster.Object) {
		if !there[o.Ref()] {
			there[o.Ref()] = true
			gone.Snapshot.Objects = append(gone.Snapshot.Objects, o)
		}
	}
	for _, i := range earlier.Owned() {
		add(i.Object)
	}
	gone.Releases = earlier.survey.Releases
	if before := earlier.survey.gone; before != nil {
		for _, o := range before.Snapshot.Objects {
			add(o)
		}
		gone.Releases = slices.Concat(gone.Releases, before.Releases)
	}
	gone.Releases = slices.DeleteFunc(slices.Clone(gone.Releases), func(r cluster.StoredRelease) bool {
		return !slices.ContainsFunc(gone.Snapshot.Objects, func(o *cluster.Object) bool { return o.Ref() == r.Ref })
	})
	if len(gone.Snapshot.Objects) > 0 {
		s.gone = gone
	}
}

// with returns the survey as it would have been with another state of objects.
func (s *Survey) with(objects ...*cluster.Object) *Survey {
	fresh := map[types.UID]*cluster.Object{}
	for _, o := range objects {
		fresh[o.UID] = o
	}
	snap := *s.Snapshot
	snap.Objects = slices.Clone(s.Snapshot.Objects)
	for i, old := range snap.Objects {
		if o := fresh[old.UID]; o != nil {
			snap.Objects[i] = o
		}
	}
	return &Survey{Snapshot: &snap, Releases: s.Releases, Catalogue: s.Catalogue, Trust: s.Trust, gone: s.gone}
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
