package offboard

import (
	"context"
	"fmt"
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// changed judges and saves an object anew that is no longer in the state that
// was judged, and returns the state that may be deleted.
func (m *removal) changed(ctx context.Context, a engine.Action) (cluster.Target, error) {
	live, err := m.read(ctx, a.Target)
	if err != nil {
		return cluster.Target{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	inv, ours := m.judgeAgain(live)
	if !ours {
		return cluster.Target{}, engine.Keep(noLonger)
	}
	a.Target = live.Target()
	if m.Saver == nil {
		return a.Target, nil
	}
	if err := m.Saver.SaveAgain(ctx, inv, a); err != nil {
		m.keep(live)
		return cluster.Target{}, fmt.Errorf("it has changed and can't be saved again, so it stays: %w", err)
	}
	return a.Target, nil // if what was saved is newer, this state is no longer there
}

// keep notes that an object stays: what would take it along must stay, too.
func (m *removal) keep(o *cluster.Object) {
	if m.kept == nil {
		m.kept = map[types.UID]bool{}
	}
	m.kept[o.UID] = true
}

// read reads an object as a snapshot has it.
func (m *removal) read(ctx context.Context, t cluster.Target) (o *cluster.Object, err error) {
	resource, err := m.now.survey.resource(t)
	if err != nil {
		return nil, err
	}
	err = m.Cluster.Read(ctx, []cluster.Target{t}, func(_ cluster.Target, u *unstructured.Unstructured) error {
		o, err = cluster.NewObject(resource, u)
		return err
	})
	if err == nil && o == nil {
		err = apierrors.NewNotFound(t.GVR().GroupResource(), t.Name)
	}
	return o, err
}

// sameEvidence tells whether two states of an object say the same about whose it
// is.
func sameEvidence(a, b *cluster.Object) bool {
	return a.UID == b.UID && sameMarks(a, b) && reflect.DeepEqual(a.Body, b.Body)
}

// sameMarks is sameEvidence for the metadata.
func sameMarks(a, b *cluster.Object) bool {
	return reflect.DeepEqual(a.Labels, b.Labels) && reflect.DeepEqual(a.Annotations, b.Annotations) &&
		reflect.DeepEqual(a.Owners, b.Owners) && reflect.DeepEqual(a.Managers, b.Managers)
}
