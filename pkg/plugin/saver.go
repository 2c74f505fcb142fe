package plugin

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/internal/backup"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// saver is the offboard.Saver that makes the backup at first and then adds to it.
type saver struct {
	*saving
	client  *cluster.Client
	saved   *backup.Saved
	journal *backup.Journal
}

// Save saves what the plan deletes or changes.
func (s *saver) Save(ctx context.Context, inv *ownership.Inventory, plan *engine.Plan) (map[types.UID]string, error) {
	var err error
	if s.saved == nil {
		var saved *backup.Saved
		var journal *backup.Journal
		if saved, journal, err = s.open(ctx, s.client, inv, plan); err == nil {
			s.saved, s.journal = saved, journal
		}
	} else if err = s.saved.Add(ctx, s.client, inv, plan); err != nil {
		err = fmt.Errorf("the backup can't be completed, so nothing more was removed: %w", err)
	}
	if err != nil {
		return nil, err
	}
	return s.saved.Versions(), nil
}

// SaveAgain saves an object that has changed.
func (s *saver) SaveAgain(ctx context.Context, _ *ownership.Inventory, a engine.Action) error {
	return s.saved.Again(ctx, s.client, a)
}
