package plugin

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/cluster"
)

// silence is how long the API server may think about a write that is only tried before that is said.
const silence = 3 * time.Second

// telling is a cluster that says on out what the API server is being asked while it takes its time, one question
// for each silence.
type telling struct {
	*cluster.Client
	out io.Writer

	mu   sync.Mutex
	said time.Time
}

// StripFinalizers is that of the Client.
func (t *telling) StripFinalizers(ctx context.Context, target cluster.Target, o *cluster.Object, names []string,
	dry bool) error {
	if dry {
		defer t.watch("the removal of finalizers from " + target.Ref.String())()
	}
	return t.Client.StripFinalizers(ctx, target, o, names, dry)
}

// Delete is that of the Client.
func (t *telling) Delete(ctx context.Context, target cluster.Target, o cluster.DeleteOptions) error {
	if o.DryRun {
		defer t.watch("the deletion of " + target.Ref.String())()
	}
	return t.Client.Delete(ctx, target, o)
}

// watch says what is asked if the answer does not come soon; the function returned is for when it does.
func (t *telling) watch(what string) (answered func()) {
	timer := time.AfterFunc(silence, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.said.IsZero() || time.Since(t.said) >= silence {
			t.said = time.Now()
			_, _ = fmt.Fprintf(t.out, "Asking the API server whether it would accept %s: no answer for %s yet\n",
				printer.Escape(what), silence) // a message; the diagnosis says what came of it
		}
	})
	return func() { timer.Stop() }
}

// teller is the cluster of the command.
func (o *unstickOptions) teller() *telling {
	out := o.ErrOut
	if t, ok := out.(*printer.Terminal); ok && t.Quiet {
		out = io.Discard
	}
	return &telling{Client: o.client, out: out}
}
