package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	goyaml "go.yaml.in/yaml/v2"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// Who owns the files may read them, and nobody else: they hold Secrets.
const (
	folderMode = 0o700
	fileMode   = 0o600
)

// atOnce is how many files are written at a time.
const atOnce = 16

// Reader reads the whole content of objects.
type Reader interface {
	Read(ctx context.Context, targets []cluster.Target, each func(cluster.Target, *unstructured.Unstructured) error) error
}

// Options of a backup.
type Options struct {
	// Dir is the folder to make. Empty: one in the current folder, named after
	// Task, the cluster and the time.
	Dir string
	// Task is what the objects are going to be removed for: offboard, unstick.
	Task string
	// WithoutSecrets leaves the data of Secrets out.
	WithoutSecrets bool
	// Tool is the version of the plugin.
	Tool string
	// Note, unless nil, is told of each state of the backup before it is there: see
	// Ledger.
	Note func(Remembered) error
	// More are further files, by name.
	More map[string][]byte
}

// Saved says what was written. While the run goes on, Add and Again add to it.
type Saved struct {
	Dir     string
	Digest  string // of the index
	Objects int
	// Secrets counts those whose data is in the backup.
	Secrets int

	path   string // absolute
	index  *Index
	writer *writer // of the last plan
}

// Write saves every object that the plan deletes or changes, with what the
// inventory knows of them; an Inventory of just a Server knows nothing. The folder
// appears under its name only when all is in it and on the disk; an error leaves
// nothing behind. Objects that are gone by now are left out.
func Write(ctx context.Context, from Reader, inv *ownership.Inventory, plan *engine.Plan, o Options) (saved *Saved,
	err error) {
	now := time.Now().UTC().Truncate(time.Second)
	if o.Dir == "" {
		o.Dir = fmt.Sprintf("castai-%s-%s-%s", o.Task, folderName(inv.Server.DisplayName()), now.Format("20060102T150405Z"))
	}
	dir, err := vacant(o.Dir)
	if err != nil {
		return nil, err
	}
	// The same parent, so that it can be renamed; MkdirTemp makes it 0700.
	temp, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()

	w := &writer{dir: temp, options: o, entries: entries(inv, plan), owners: newOwners(inv, plan)}
	targets := make([]cluster.Target, 0, len(w.entries))
	for _, e := range w.entries {
		targets = append(targets, e.Target)
	}
	slices.SortFunc(targets, func(a, b cluster.Target) int { return a.Compare(b.Ref) })
	if err := w.save(ctx, from, targets); err != nil {
		return nil, err
	}
	index := &Index{
		APIVersion: APIVersion, Kind: Kind, Cluster: inv.Server, Time: now, Tool: o.Tool, SecretsLeftOut: o.WithoutSecrets,
		Objects: []Entry{}, Dependents: dependents(inv, w.entries, nil), Unreadable: inv.Unreadable, Plan: *plan,
	}
	saved = &Saved{Dir: o.Dir, path: dir, index: index, writer: w}
	saved.list()
	if saved.Digest, err = writeIndex(filepath.Join(temp, IndexName), o.Dir, index, o); err != nil {
		return nil, err
	}
	for name, content := range o.More {
		if err := writeFile(filepath.Join(temp, name), whole(content)); err != nil {
			return nil, err
		}
	}
	w.dir = dir
	return saved, publish(temp, dir)
}

// writeIndex writes the index of the backup in a folder, and notes it. It
// returns its digest.
func writeIndex(path, dir string, index *Index, o Options) (string, error) {
	sum := sha256.New()
	err := writeFile(path, func(w io.Writer) error { return index.write(io.MultiWriter(w, sum)) })
	r := Remembered{
		Folder: dir, Time: index.Time, Task: o.Task, Cluster: index.Cluster.DisplayName(),
		KubeSystemUID: index.Cluster.KubeSystemUID,
		Objects:       len(index.Objects), Digest: "sha256:" + hex.EncodeToString(sum.Sum(nil)),
	}
	if err == nil && o.Note != nil {
		err = o.Note(r)
	}
	return r.Digest, err
}

// list puts what the writer has saved into the index, and counts.
func (s *Saved) list() {
	s.index.Objects, s.Objects, s.Secrets = slices.Grow(s.index.Objects[:0], len(s.writer.entries)), 0, 0
	for _, r := range slices.SortedFunc(maps.Keys(s.writer.entries), cluster.Ref.Compare) {
		e := s.writer.entries[r]
		if e.File == "" {
			continue // gone since the plan was made
		}
		s.index.Objects = append(s.index.Objects, *e)
		s.Objects++
		if e.Group == "" && e.Kind == "Secret" && !s.writer.options.WithoutSecrets {
			s.Secrets++
		}
	}
}

// vacant returns the absolute path of a folder that does not exist yet or is empty.
func vacant(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return dir, nil
	}
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s exists, and is not a folder", dir)
	}
	list, err := os.ReadDir(dir)
	if err == nil && len(list) > 0 {
		err = fmt.Errorf("%s is there already, and not empty", dir)
	}
	return dir, err
}

// publish syncs the folders and gives the whole its name.
func publish(temp, dir string) error {
	err := filepath.WalkDir(temp, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return syncFolder(path)
	})
	if err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(temp, dir); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(dir))
}

// syncFolder makes the names in a folder last. Windows has no such thing.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	if err = write(f); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// whole writes what is in memory already.
func whole(data []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}

// writer writes the objects of one backup.
type writer struct {
	dir     string
	options Options
	entries map[cluster.Ref]*Entry
	owners  *owners
}

// save saves the objects. A disk takes milliseconds to confirm a file, but many
// of them at a time, so several are written while the next are read.
func (w *writer) save(ctx context.Context, from Reader, targets []cluster.Target) error {
	files, filesCtx := errgroup.WithContext(ctx)
	files.SetLimit(atOnce)
	readErr := from.Read(filesCtx, targets, func(t cluster.Target, u *unstructured.Unstructured) error {
		files.Go(func() error { return w.object(t, u) })
		return nil
	})
	// Where a file could not be written, that ended the reading, too.
	if err := files.Wait(); err != nil {
		return err
	}
	return readErr
}

// object saves one object. It is called from several goroutines, once for each.
func (w *writer) object(t cluster.Target, u *unstructured.Unstructured) error {
	e := w.entries[t.Ref]
	e.ResourceVersion = u.GetResourceVersion() // of what is saved
	e.Finalizers = u.GetFinalizers()
	e.NotRestored = unrestorable(u, w.options.WithoutSecrets)
	w.owners.of(u, e)
	stoppedAs(e.Patches, u)
	clean, changes := applyable(u, rules{
		survives: w.owners.survives, finalizers: e.controllerless, withoutSecrets: w.options.WithoutSecrets,
	})
	e.Changes = changes
	content, err := encode(clean)
	if err != nil {
		return fmt.Errorf("%s can't be saved: %w", t.Ref, err)
	}
	file := laterName(t, e.Later)
	path := filepath.Join(w.dir, filepath.FromSlash(file))
	if err := os.MkdirAll(filepath.Dir(path), folderMode); err != nil {
		return err
	}
	if err := writeFile(path, whole(content)); err != nil {
		return err
	}
	sum := sha256.Sum256(content)
	e.File, e.SHA256 = file, hex.EncodeToString(sum[:])
	return nil
}

// encode returns an object as YAML, after making sure that the same is read from it.
func encode(u *unstructured.Unstructured) ([]byte, error) {
	want, err := json.Marshal(u.Object)
	if err != nil {
		return nil, err
	}
	content, err := goyaml.Marshal(u.Object) // yaml.Marshal would go through JSON once more
	if err != nil {
		return nil, err
	}
	got, err := yaml.YAMLToJSON(content)
	if err == nil && !bytes.Equal(got, want) {
		err = errors.New("something in it is lost as YAML")
	}
	return content, err
}

// entries lists what a plan deletes or changes.
func entries(inv *ownership.Inventory, plan *engine.Plan) map[cluster.Ref]*Entry {
	out := map[cluster.Ref]*Entry{}
	for _, phase := range plan.Phases {
		for _, a := range phase.Actions {
			if a.Verb == engine.Call {
				continue
			}
			e := out[a.Target.Ref]
			if e == nil {
				e = &Entry{Target: a.Target}
				if item := inv.Item(a.Target.Ref); item != nil {
					e.Evidence = item.For
				}
				out[a.Target.Ref] = e
			}
			e.controllerless = append(e.controllerless, a.Finalizers...)
			switch a.Verb {
			case engine.Patch:
				e.Patches = append(e.Patches, a.Patch)
			case engine.Delete, engine.StripFinalizers, engine.Finalize:
				e.Deleted = true
			case engine.CreateNamespace, engine.Apply, engine.Create, engine.Call:
			}
		}
	}
	return out
}

// dependents lists what goes with the objects of the plan without being deleted
// by it. before is what earlier plans of the run left to go.
func dependents(inv *ownership.Inventory, entries map[cluster.Ref]*Entry, before []cluster.Ref) []cluster.Ref {
	var out []cluster.Ref
	for _, r := range before {
		if e := entries[r]; e != nil && !e.Deleted {
			out = append(out, r) // it was stopped, and may have gone since
		}
	}
	for _, i := range inv.Owned() {
		r := i.Object.Ref()
		if e := entries[r]; (e == nil || i.Dependent && !e.Deleted) && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out
}
