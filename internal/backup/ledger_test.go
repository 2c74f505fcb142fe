package backup

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// made makes a backup and remembers it.
func made(t *testing.T, l Ledger) (dir string) {
	t.Helper()
	var noted Remembered
	dir, _ = write(t, Options{Task: Offboard, Note: func(r Remembered) error {
		noted = r
		return l.Remember(r)
	}})
	sum, err := Digest(dir)
	if err != nil || sum != noted.Digest {
		t.Fatalf("%s, not %s: %v", noted.Digest, sum, err)
	}
	return dir
}

// Who can write the folder can also compute checksums: only what is remembered
// outside of it tells.
func TestOriginOfAFolderWithNewChecksums(t *testing.T) {
	l := LedgerIn(t.TempDir())
	dir := made(t, l)
	origin := func(dir string) Origin {
		t.Helper()
		b, err := Open(dir, false)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = b.Close() }()
		list, err := l.Backups()
		if err != nil {
			t.Fatal(err)
		}
		return b.Origin(list)
	}
	if got := origin(dir); got != OriginHere {
		t.Errorf("as it was made: %s", got)
	}
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.CopyFS(moved, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if got := origin(moved); got != OriginHere {
		t.Errorf("moved: %s", got)
	}
	old, err := os.ReadFile(filepath.Join(dir, agentFile))
	if err != nil {
		t.Fatal(err)
	}
	replace(t, moved, agentFile, "replicas: 2", "replicas: 3")
	edited, err := os.ReadFile(filepath.Join(moved, agentFile))
	if err != nil {
		t.Fatal(err)
	}
	replace(t, moved, IndexName, checksum(old), checksum(edited))
	if got := origin(moved); got != OriginChanged {
		t.Errorf("changed, with a new checksum: %s", got)
	}
	other, _ := write(t, Options{})
	replace(t, other, IndexName, `"kubeSystemUID": "`, `"kubeSystemUID": "of-another-`)
	if got := origin(other); got != OriginUnknown {
		t.Errorf("made elsewhere: %s", got)
	}
}

func checksum(raw []byte) string { return digest(raw)[len("sha256:"):] }

func TestLedger(t *testing.T) {
	l := LedgerIn(filepath.Join(t.TempDir(), "home"))
	if list, err := l.Backups(); err != nil || len(list) > 0 {
		t.Errorf("without a file: %v, %v", list, err)
	}
	now := time.Now().UTC()
	for _, r := range []Remembered{{Folder: "/b", Time: now, Digest: "2"},
		{Folder: "/a", Time: now.Add(-time.Hour), Digest: "1"}} {
		if err := l.Remember(r); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(string(l), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("{\"folder\":\n"); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	list, err := l.Backups()
	if err != nil || len(list) != 2 || list[0].Digest != "1" {
		t.Errorf("%+v, %v", list, err)
	}
	if info, err := os.Stat(string(l)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := Ledger(filepath.Join(string(l), "x", "y")).Remember(Remembered{}); err == nil {
		t.Error("nothing can be written below a file")
	}
}

// folder makes one that looks like a backup, whose run ended as the report says.
func folder(t *testing.T, l Ledger, n int, task, report string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{IndexName: "{}", ReportName: report} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := Remembered{Folder: dir, Time: time.Unix(int64(n), 0), Task: task, KubeSystemUID: "u", Digest: dir}
	if err := l.Remember(r); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestInterruptedRunsAreFound(t *testing.T) {
	const ended, failed, killed = `{"type":"done"}` + "\n" + `{"type":"ended"}` +
		"\n", `{"type":"ended","error":"interrupted"}`, `{"type":"done"}`
	l := LedgerIn(t.TempDir())
	folder(t, l, 1, Offboard, failed) // and then everything was taken out
	folder(t, l, 2, Offboard, ended)
	first := folder(t, l, 3, Offboard, failed)
	folder(t, l, 4, "unstick", killed)
	second := folder(t, l, 5, Offboard, killed)
	gone := folder(t, l, 6, Offboard, killed)
	folder(t, l, 8, Offboard, killed)
	if err := os.RemoveAll(gone); err != nil {
		t.Fatal(err)
	}
	list, err := l.Backups()
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for _, f := range Interrupted(list, "u", time.Unix(7, 0)) {
		dirs = append(dirs, f.Folder)
	}
	if want := []string{first, second}; !slices.Equal(dirs, want) {
		t.Errorf("%q, not %q", dirs, want)
	}
	if other := Interrupted(list, types.UID("another cluster"), time.Unix(7, 0)); len(other) > 0 {
		t.Errorf("%+v", other)
	}
}
