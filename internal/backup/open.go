package backup

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Bounds of what is read from a folder that may be anybody's.
const (
	largestIndex  = 512 << 20
	largestObject = 16 << 20 // etcd takes 1.5 MiB by default
)

// Backup is a folder that has been checked.
type Backup struct {
	Index *Index
	// Dir is the folder, and Digest the checksum of its index, which holds those
	// of all objects: who knows it knows that nothing was changed.
	Dir    string
	Digest string
	// Edited: a file is not as it was when the backup was made.
	Edited bool

	root   *os.Root
	edited map[cluster.Ref]bool
}

// Open opens the folder of a backup and checks all of it: it holds files and
// folders only, the index is whole, and every object is what the index says it
// is. Unless edits are accepted, no file may have been changed. The error is a
// Refusal if the folder is a backup, but not one to be trusted.
func Open(dir string, acceptEdits bool) (*Backup, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	b := &Backup{Dir: dir, root: root, edited: map[cluster.Ref]bool{}}
	if err := b.check(dir, acceptEdits); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return b, nil
}

// Close closes the folder.
func (b *Backup) Close() error { return b.root.Close() }

func (b *Backup) check(dir string, acceptEdits bool) error {
	err := fs.WalkDir(b.root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !d.Type().IsRegular() {
			return refuse("%s is not a file, and a backup has nothing but files and folders: somebody has changed the folder",
				path)
		}
		return err
	})
	if err != nil {
		return err
	}
	raw, err := read(b.root, IndexName, largestIndex)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not a backup: it has no %s", dir, IndexName)
	}
	if err != nil {
		return err
	}
	b.Digest = digest(raw)
	if b.Index, err = ReadIndex(raw); err != nil {
		return fmt.Errorf("%s can't be used: %w", IndexName, err)
	}
	for i := range b.Index.Objects {
		e := &b.Index.Objects[i]
		e.root = b.root
		_, sum, err := b.load(e)
		if err != nil {
			return err
		}
		if sum != e.SHA256 {
			if !acceptEdits {
				return refuse("%s has been changed since the backup was made: --accept-edits restores it as it is now", e.File)
			}
			b.Edited, b.edited[e.Ref], e.SHA256 = true, true, sum // as it is now, and no other way
		}
	}
	return nil
}

// object returns an object as it was when the folder was checked.
func (b *Backup) object(e *Entry) (*unstructured.Unstructured, error) {
	u, sum, err := b.load(e)
	if err == nil && sum != e.SHA256 {
		err = refuse("%s has just been changed", e.File)
	}
	return u, err
}

// load reads a file and makes sure that it holds the object that it should.
func (b *Backup) load(e *Entry) (u *unstructured.Unstructured, sum string, err error) {
	raw, err := read(e.root, e.File, largestObject)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", refuse("%s is missing: it is in the index, but not in the folder", e.File)
	}
	if err != nil {
		return nil, "", err
	}
	checksum := sha256.Sum256(raw)
	u, err = parse(raw)
	if err != nil {
		return nil, "", refuse("%s can't be read: %s", e.File, strings.Join(strings.Fields(err.Error()), " "))
	}
	gvk := u.GroupVersionKind()
	if gvk.Group != e.Group || gvk.Version != e.Version || gvk.Kind != e.Kind || u.GetNamespace() != e.Namespace ||
		u.GetName() != e.Name {
		return nil, "", refuse("%s holds another object than %s: somebody has edited it", e.File, e.Ref)
	}
	return u, hex.EncodeToString(checksum[:]), nil
}

// parse reads one object from YAML.
func parse(raw []byte) (*unstructured.Unstructured, error) {
	content, err := yaml.YAMLToJSONStrict(raw)
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(content); err != nil {
		return nil, err
	}
	if _, ok := u.Object["metadata"].(map[string]any); !ok {
		return nil, errors.New("it has no metadata")
	}
	return u, nil
}

// read reads a file inside a folder, up to a size.
func read(root *os.Root, name string, largest int64) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, largest+1))
	err = errors.Join(err, f.Close())
	if err == nil && int64(len(raw)) > largest {
		err = refuse("%s is larger than %d bytes", name, largest)
	}
	return raw, err
}
