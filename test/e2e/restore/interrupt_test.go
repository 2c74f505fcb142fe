package restore

import (
	"bufio"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/test/fixtures"
)

// A restore that is interrupted, here while the API server is away, says what is
// missing; the next one puts the rest back.
func TestInterruptedRestore(t *testing.T) {
	install(t, fixtures.Small)
	ids, err := fixtures.OwnedRefs(fixtures.Small)
	if err != nil {
		t.Fatal(err)
	}
	before := contents(t, ids)
	dir := filepath.Join(t.TempDir(), "backup")
	offboard(t, dir)

	cmd := admin.Command(t.Context(), "restore", dir, "--yes")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	away := false
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		switch {
		case strings.HasPrefix(lines.Text(), "Put back accounts and roles"):
			if err := server.KillAPIServer(); err != nil {
				t.Fatal(err)
			}
		case strings.Contains(lines.Text(), "does not answer") && !away:
			away = true
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // the exit code tells
	if err := server.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code := cmd.ProcessState.ExitCode(); code != 130 || !strings.Contains(said.String(), "run it again to go on") {
		t.Errorf("it ended with the exit code %d:\n%s", code, &said)
	}

	castai(t, 0, "restore", dir, "--yes")
	settled(t)
	after := contents(t, ids)
	for _, id := range slices.Sorted(maps.Keys(before)) {
		if after[id] == nil && reason(id, "") == "" {
			t.Errorf("%s did not come back", id)
		}
	}
}
