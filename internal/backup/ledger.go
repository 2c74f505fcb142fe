package backup

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// digest is the checksum of an index.
func digest(index []byte) string {
	sum := sha256.Sum256(index)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Digest returns the checksum of the index in a folder.
func Digest(dir string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(dir, IndexName))
	if err != nil {
		return "", err
	}
	return digest(raw), nil
}

// Offboard is the task of an offboarding.
const Offboard = "offboard"

// Remembered is a backup that was made here.
type Remembered struct {
	Folder  string    `json:"folder"`
	Time    time.Time `json:"time"`
	Task    string    `json:"task"`
	Cluster string    `json:"cluster"`
	// KubeSystemUID tells the cluster from others of the same name.
	KubeSystemUID types.UID `json:"kubeSystemUID"`
	Objects       int       `json:"objects"`
	Digest        string    `json:"digest"`
}

// Ledger is the file in which a user's backups are remembered, outside of their
// folders, so that a folder that somebody has changed, checksums and all, is
// told from one that is as it was made. Who can write this file can write the
// user's kubeconfig, too, which is beside it.
type Ledger string

// largestLedger bounds what is read of a ledger: some ten thousand backups.
const largestLedger = 4 << 20

// LedgerIn returns the ledger of a user with that home folder.
func LedgerIn(home string) Ledger {
	return Ledger(filepath.Join(home, ".kube", "castai", "backups.jsonl"))
}

// Remember adds a backup.
func (l Ledger) Remember(r Remembered) error {
	folder, err := filepath.Abs(r.Folder)
	if err != nil {
		return err
	}
	r.Folder = folder
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(string(l)), folderMode); err != nil {
		return err
	}
	f, err := os.OpenFile(string(l), os.O_WRONLY|os.O_CREATE|os.O_APPEND, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Sync(), f.Close())
}

// Backups returns those that are remembered, oldest first. Of a folder that was
// added to, each state is one. Without a file there are none, and a line that
// can't be read is none.
func (l Ledger) Backups() ([]Remembered, error) {
	f, err := os.Open(string(l))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, largestLedger))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	var out []Remembered
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, len(raw)+1)
	for lines.Scan() {
		var r Remembered
		if json.Unmarshal(lines.Bytes(), &r) == nil && r.Digest != "" {
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b Remembered) int { return a.Time.Compare(b.Time) })
	return out, lines.Err()
}

// Origin says what is known of where the content of a backup is from.
type Origin string

// The origins.
const (
	OriginHere    Origin = "here"    // it was made here, and is as it was made
	OriginUnknown Origin = "unknown" // it was not made here, as far as is known
	OriginChanged Origin = "changed" // it was made here, and is not as it was made
)

// Origin looks a backup up among those that are remembered.
func (b *Backup) Origin(made []Remembered) Origin {
	if slices.ContainsFunc(made, func(r Remembered) bool { return r.Digest == b.Digest }) {
		return OriginHere
	}
	dir, err := filepath.Abs(b.Dir)
	same := func(r Remembered) bool {
		return err == nil && r.Folder == dir ||
			r.KubeSystemUID == b.Index.Cluster.KubeSystemUID && r.Time.Equal(b.Index.Time)
	}
	if slices.ContainsFunc(made, same) {
		return OriginChanged
	}
	return OriginUnknown
}

// Folder is a backup that can still be restored, and what it holds.
type Folder struct {
	Remembered `json:",inline"`
	// Ended: the run came to its end. Otherwise it was interrupted, or goes on.
	Ended bool `json:"ended"`
}

// Folders returns the backups of a cluster that are still there, oldest first.
func Folders(made []Remembered, cluster types.UID) []Folder {
	last := map[string]Remembered{}
	for _, r := range made {
		if r.KubeSystemUID == cluster {
			last[r.Folder] = r
		}
	}
	var out []Folder
	for _, r := range last {
		if _, err := os.Stat(filepath.Join(r.Folder, IndexName)); err == nil {
			out = append(out, Folder{r, ended(r.Folder)})
		}
	}
	slices.SortFunc(out, func(a, b Folder) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Folder, b.Folder)) })
	return out
}

// Interrupted returns the folders of offboardings of a cluster that were
// interrupted before a time, back to the last one that came to its end.
func Interrupted(made []Remembered, cluster types.UID, before time.Time) []Folder {
	var out []Folder
	for _, f := range Folders(made, cluster) {
		switch {
		case f.Task != Offboard || !f.Time.Before(before):
		case f.Ended:
			out = nil
		default:
			out = append(out, f)
		}
	}
	return out
}

// FoldersOf returns what is known of folders from themselves.
func FoldersOf(opened []*Backup) []Folder {
	var out []Folder
	for _, b := range opened {
		out = append(out, Folder{Remembered: Remembered{
			Folder: b.Dir, Time: b.Index.Time, Cluster: b.Index.Cluster.DisplayName(),
			KubeSystemUID: b.Index.Cluster.KubeSystemUID, Objects: len(b.Index.Objects), Digest: b.Digest,
		}, Ended: ended(b.Dir)})
	}
	return out
}

// ended tells whether the last line of a report says that the run ended, and
// that nothing ended it early.
func ended(dir string) bool {
	f, err := os.Open(filepath.Join(dir, ReportName))
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // only read
	const most = 64 << 10            // more than the last line
	if info, err := f.Stat(); err == nil && info.Size() > most {
		_, _ = f.Seek(-most, io.SeekEnd)
	}
	raw, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return false
	}
	lines := bytes.Split(bytes.TrimSpace(raw), []byte("\n"))
	var r Record
	return json.Unmarshal(lines[len(lines)-1], &r) == nil && r.Type == Ended && r.Error == ""
}
