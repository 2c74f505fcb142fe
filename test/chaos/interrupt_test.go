package chaos

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/test/fixtures"
)

// Who waits for a server that is away learns that, and does not have to.
func TestInterruptWhileTheServerIsAway(t *testing.T) {
	p := plane(t)
	if err := fixtures.Install(t.Context(), p.Config, fixtures.Small); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var interrupted time.Time
	r := p.Admin.Follow(t, func(plugin *os.Process, line string) {
		switch {
		case strings.HasPrefix(line, "Remove roles"):
			if err := p.KillAPIServer(); err != nil {
				t.Fatal(err)
			}
		case strings.Contains(line, "does not answer"):
			interrupted = time.Now()
			if err := plugin.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		}
	}, "offboard", "--yes", "--backup-dir", filepath.Join(dir, "first"), "--clean-up-timeout=1s")
	if took := time.Since(interrupted); r.Code != 130 || took > 2*time.Second {
		t.Errorf("it ended %s after the interrupt: %s", took, r)
	}
	if err := p.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	second, _, err := p.offboard(t.Context(), p.Admin, filepath.Join(dir, "second"), nil)
	if err != nil || second.Code != 0 {
		t.Fatalf("%v, %s", err, second)
	}
	after, err := fixtures.Snapshot(t.Context(), p.Config)
	if err != nil {
		t.Fatal(err)
	}
	if left, touched := p.difference(after); len(left)+len(touched) > 0 {
		t.Errorf("left: %v, touched: %v", left, touched)
	}
}
