package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/test/compare"
	"github.com/castai/kubectl-castai/test/fixtures"
)

// onASmallDisk runs a command with a disk of so many KiB in the folder $1, and
// prints on stderr what it leaves there.
const onASmallDisk = `mount -t tmpfs -o size=$2k tmpfs "$1" || exit 99
dir=$1; shift 2
"$@"; code=$?
find "$dir" -mindepth 1 | sed 's/^/LEFT /' >&2
exit $code`

// A disk that is full in the middle of the backup, wherever that is, changes
// nothing, and leaves nothing that looks like a backup. One that is full when
// the backup is completed, once the workloads are stopped, deletes nothing.
func TestFullDisk(t *testing.T) {
	p := plane(t)
	if err := fixtures.Install(t.Context(), p.Config, fixtures.Small); err != nil {
		t.Fatal(err)
	}
	before, err := compare.Settled(t.Context(), p.Config)
	if err != nil {
		t.Fatal(err)
	}
	refusals := 0
	for kib := 16; kib <= 4096; kib = kib*3/2 + 3 {
		code, stderr := p.offboardOn(t, kib)
		if code == 0 {
			break
		}
		refusals++
		after, err := fixtures.Snapshot(t.Context(), p.Config)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(stderr, "so nothing more was removed") {
			if code != 1 || !strings.Contains(stderr, "no space left") || !strings.Contains(stderr, "/backup/index.json\n") {
				t.Errorf("with %d KiB: exit code %d, %s", kib, code, stderr)
			}
			for id := range before {
				// Controllers take away the pods of what was stopped, and their own records of these.
				_, there := after[id]
				if kind, _, _ := strings.Cut(id, "/"); !there && !strings.HasPrefix(kind, "Pod") &&
					!strings.HasPrefix(kind, "EndpointSlice") {
					t.Errorf("with %d KiB, %s is gone", kib, id)
				}
			}
			break // what is stopped stays stopped, so the next disk would meet another cluster
		}
		if code != 3 || !strings.Contains(stderr, "nothing was changed") || !strings.Contains(stderr, "no space left") ||
			strings.Contains(stderr, "LEFT") {
			t.Errorf("with %d KiB: exit code %d, %s", kib, code, stderr)
		}
		if changes := compare.Changes(before, after); len(changes) > 0 {
			t.Errorf("with %d KiB, the cluster has changed:\n%s", kib, strings.Join(changes, "\n"))
		}
	}
	if refusals < 3 {
		t.Errorf("the disk was full %d times only", refusals)
	}
	t.Logf("the disk was full %d times", refusals)
}

// offboardOn runs an offboarding whose backup goes to a disk of so many KiB.
func (p *Plane) offboardOn(t *testing.T, kib int) (code int, stderr string) {
	t.Helper()
	disk := t.TempDir()
	cmd := p.Admin.Command(t.Context(), "offboard", "--yes", "--backup-dir", disk+"/backup", "--clean-up-timeout=1s",
		"--settle=0")
	unshare := []string{"unshare", "--mount"}
	if os.Getuid() != 0 {
		unshare = append(unshare, "--map-root-user")
	}
	path, err := exec.LookPath("unshare")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Args = append(append(unshare, "sh", "-c", onASmallDisk, "sh", disk, fmt.Sprint(kib), cmd.Path), cmd.Args[1:]...)
	cmd.Path = path
	var out bytes.Buffer
	cmd.Stderr = &out
	err = cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}
