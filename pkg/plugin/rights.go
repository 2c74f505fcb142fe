package plugin

import (
	"context"
	"fmt"

	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/cluster"
)

// allowed refuses when the user lacks one of the rights, and prints a ClusterRole
// of that name which has all of the missing ones.
func (r *Root) allowed(ctx context.Context, client *cluster.Client, role string, rights []cluster.Right) error {
	missing, err := client.Missing(ctx, rights)
	if err != nil || len(missing) == 0 {
		return err
	}
	if err := printer.ClusterRole(r.ErrOut, role, missing); err != nil {
		return err
	}
	return refused(fmt.Errorf("you lack %d rights that this needs: have an administrator bind the ClusterRole above to you", len(missing)))
}
