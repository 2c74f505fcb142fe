package chaos

import (
	"bufio"
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
	if err := fixtures.Install(t.Context(), p.config, fixtures.Small); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := p.user.Command(t.Context(), "offboard", "--yes", "--backup-dir", filepath.Join(dir, "first"), "--clean-up-timeout=1s")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	var interrupted time.Time
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		switch {
		case strings.HasPrefix(lines.Text(), "Remove roles"):
			if err := p.server.KillAPIServer(); err != nil {
				t.Fatal(err)
			}
		case strings.Contains(lines.Text(), "does not answer"):
			interrupted = time.Now()
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // the exit code tells
	if took := time.Since(interrupted); cmd.ProcessState.ExitCode() != 130 || took > 2*time.Second {
		t.Errorf("it ended %s after the interrupt with the exit code %d:\n%s", took, cmd.ProcessState.ExitCode(), &said)
	}
	if err := p.server.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	second, _, err := p.offboard(t.Context(), p.user, filepath.Join(dir, "second"), nil)
	if err != nil || second.Code != 0 {
		t.Fatalf("%v, %s", err, second)
	}
	after, err := fixtures.Snapshot(t.Context(), p.config)
	if err != nil {
		t.Fatal(err)
	}
	if left, touched := p.difference(after); len(left)+len(touched) > 0 {
		t.Errorf("left: %v, touched: %v", left, touched)
	}
}
