package restore

import (
	"os"
	"path/filepath"
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

	r := admin.FollowTo(t, func(line string) bool {
		if strings.HasPrefix(line, "Put back accounts and roles") {
			if err := server.KillAPIServer(); err != nil {
				t.Fatal(err)
			}
		}
		return strings.Contains(line, "does not answer")
	}, os.Interrupt, "restore", dir, "--yes")
	if err := server.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r.Code != 130 || !strings.Contains(r.Stderr, "run it again to go on") {
		t.Errorf("interrupted: %s", r)
	}

	admin.Expect(t, 0, "restore", dir, "--yes")
	server.Settled(t)
	back(t, before, contents(t, ids))
}
