package backup

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// OpenAll opens the folders of several backups of one cluster as one: those of
// an offboarding that was interrupted and of the one that went on. Of an object
// that is in several of them the newest saved one counts: what the interrupted run
// stopped says itself what it was before. Errors are those of Open, with the
// folder.
func OpenAll(dirs []string, acceptEdits bool) (all []*Backup, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, CloseAll(all))
		}
	}()
	for _, dir := range dirs {
		b, err := Open(dir, acceptEdits)
		if err != nil {
			return all, fmt.Errorf("%s: %w", dir, err)
		}
		if all = append(all, b); b.Index.Cluster.KubeSystemUID != all[0].Index.Cluster.KubeSystemUID {
			return all, refuse("%s and %s are of different clusters", all[0].Dir, dir)
		}
	}
	slices.SortStableFunc(all, func(a, b *Backup) int { return a.Index.Time.Compare(b.Index.Time) })
	return all, nil
}

// CloseAll closes the folders.
func CloseAll(all []*Backup) error {
	var errs []error
	for _, b := range all {
		errs = append(errs, b.Close())
	}
	return errors.Join(errs...)
}

// Merge returns the backup that several are together, oldest first, as OpenAll
// says. It is valid until they are closed.
func Merge(all []*Backup) *Backup {
	newest := all[len(all)-1]
	if len(all) == 1 {
		return newest
	}
	index := *newest.Index
	index.Objects = nil
	out := &Backup{Index: &index, Dir: newest.Dir, Digest: newest.Digest, edited: map[cluster.Ref]bool{}}
	at := map[cluster.Ref]int{}
	for _, b := range all {
		out.Edited = out.Edited || b.Edited
		maps.Copy(out.edited, b.edited)
		for _, e := range b.Index.Objects {
			i, seen := at[e.Ref]
			switch {
			case !seen:
				at[e.Ref] = len(index.Objects)
				index.Objects = append(index.Objects, e)
			case index.Objects[i].UID == e.UID: // saved again: what was deleted in the end was deleted
				e.Deleted = index.Objects[i].Deleted || e.Deleted
				e.Patches = slices.Concat(index.Objects[i].Patches, e.Patches)
				fallthrough
			default:
				index.Objects[i] = e
			}
		}
	}
	return out
}
