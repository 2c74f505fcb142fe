package offboard

import (
	"context"
	"fmt"
	"maps"
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
	// before is what earlier looks of the same run found, nil for the first one.
	before *memory
	// recalled is what is Cast AI's only because of that.
	recalled map[types.UID]ownership.Proof
}

// memory is what of Cast AI's was there in earlier looks of a run.
type memory struct {
	items    map[cluster.Ref]*ownership.Item // the last state of each object
	releases []cluster.StoredRelease
	recalled map[types.UID]ownership.Proof // in the last of these looks
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
	if s.before == nil {
		return inv
	}
	o.Known = s.recall(inv, o)
	s.recalled = o.Known
	if len(o.Known) == 0 {
		return inv
	}
	return ownership.Judge(s.Snapshot, s.Releases, s.Catalogue, o)
}

// recall returns what is not known any more to be Cast AI's and was when the user
// agreed: what has been removed since told so, or it was made again by the same
// chart under the same name.
func (s *Survey) recall(inv *ownership.Inventory, o ownership.Options) map[types.UID]ownership.Proof {
	known := map[types.UID]ownership.Proof{}
	there := map[cluster.Ref]bool{}
	for _, object := range s.Snapshot.Objects {
		r := object.Ref()
		there[r] = true
		was := s.before.items[r]
		if was == nil || inv.IsOwned(r) || !sameChart(was.Object, object) {
			continue
		}
		if _, recalled := s.before.recalled[object.UID]; recalled || was.Object.UID != object.UID {
			known[object.UID] = ownership.Proof{Component: was.Component, Evidence: was.For[0]}
		}
	}
	whole := *s.Snapshot
	whole.Objects = slices.Clone(s.Snapshot.Objects)
	for r, was := range s.before.items {
		if !there[r] {
			whole.Objects = append(whole.Objects, was.Object)
		}
	}
	releases := slices.DeleteFunc(slices.Clone(s.before.releases), func(r cluster.StoredRelease) bool {
		return there[r.Ref]
	})
	for _, i := range ownership.Judge(&whole, append(releases, s.Releases...), s.Catalogue, o).Owned() {
		if r := i.Object.Ref(); there[r] && !inv.IsOwned(r) {
			known[i.Object.UID] = ownership.Proof{Component: i.Component, Evidence: i.For[0]}
		}
	}
	return known
}

// sameChart tells whether an object was made by the chart that made the one of
// this name before. Without Helm's marks, which a controller does not put back,
// the bindings of others would make it unclear whose it is.
func sameChart(was, o *cluster.Object) bool {
	const chart = "helm.sh/chart"
	return o.Labels[chart] != "" && o.Labels[chart] == was.Labels[chart]
}

// remember lets what an earlier look found, and those before it, count in this
// one.
func (s *Survey) remember(earlier *Observation) {
	s.before = &memory{
		items: map[cluster.Ref]*ownership.Item{}, releases: earlier.survey.Releases, recalled: earlier.survey.recalled,
	}
	if old := earlier.survey.before; old != nil {
		maps.Copy(s.before.items, old.items)
		s.before.releases = slices.Concat(old.releases, s.before.releases)
	}
	for _, i := range earlier.Owned() {
		s.before.items[i.Object.Ref()] = i
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
	return &Survey{Snapshot: &snap, Releases: s.Releases, Catalogue: s.Catalogue, Trust: s.Trust, before: s.before}
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
