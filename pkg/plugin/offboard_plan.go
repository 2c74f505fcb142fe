package plugin

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/offboard"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// largestPlan bounds what is read of a plan file.
const largestPlan = 256 << 20

// planFile is a plan that was made, and perhaps reviewed, before.
type planFile struct {
	path string
	doc  *printer.Plan // nil without a file
}

// read reads the file, if one was named.
func (p *planFile) read() error {
	if p.path == "" {
		return nil
	}
	f, err := os.Open(p.path)
	if err != nil {
		return usage(fmt.Errorf("--plan: %w", err))
	}
	raw, err := io.ReadAll(io.LimitReader(f, largestPlan))
	if err = errors.Join(err, f.Close()); err != nil {
		return usage(fmt.Errorf("--plan: %w", err))
	}
	if p.doc, err = printer.ReadPlan(raw); err != nil {
		return refused(fmt.Errorf("--plan %s: %w", p.path, err))
	}
	return nil
}

// holds refuses a plan that does not do exactly what the file says, after the
// differences. Nothing was changed by then.
func (p *planFile) holds(w io.Writer, inv *ownership.Inventory, plan *engine.Plan) error {
	if p.doc == nil {
		return nil
	}
	if was, is := p.doc.Metadata, inv.Server; was.KubeSystemUID == "" || was.KubeSystemUID != is.KubeSystemUID {
		return refused(fmt.Errorf("--plan %s is for another cluster: %s (%s), and not %s (%s)", p.path, was.Cluster,
			was.Server, is.DisplayName(), is.Host))
	}
	changes := offboard.Difference(p.doc.Engine(), plan)
	if len(changes) == 0 {
		return nil
	}
	if err := p.differences(w, changes); err != nil {
		return err
	}
	return refused(fmt.Errorf("the cluster, or the flags, are not those of the plan in %s any more: pass the same flags, or make a new plan with --dry-run=client -o json",
		p.path))
}

// differences shows what is not as in the file.
func (p *planFile) differences(w io.Writer, changes []string) error {
	text := printer.NewText(w)
	text.Changes(fmt.Sprintf("Since the plan in %s was made, on %s:", p.path,
		p.doc.Metadata.Time.Format("2006-01-02 at 15:04:05 MST")), changes)
	return text.Err()
}

// bounds returns what a run may do at most; nil: what its plan says.
func (p *planFile) bounds() *engine.Plan {
	if p.doc == nil {
		return nil
	}
	return p.doc.Engine()
}

// shortDigest is what a question shows of a digest.
func shortDigest(digest string) string {
	_, sum, _ := strings.Cut(digest, ":")
	return sum[:min(len(sum), 12)]
}
