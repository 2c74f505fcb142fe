package backup

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/offboard"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// Add saves what a further plan of the same run deletes or changes and the
// backup does not have in the state that was judged. Whatever happens meanwhile,
// the folder is a whole backup, of the state before or after. Objects that are
// gone by now stay as they were saved, if they were.
func (s *Saved) Add(ctx context.Context, from Reader, inv *ownership.Inventory, plan *engine.Plan) error {
	w := &writer{dir: s.path, options: s.writer.options, entries: entries(inv, plan), owners: newOwners(inv, plan)}
	var targets []cluster.Target
	for r, e := range w.entries {
		if old := s.writer.entries[r]; old != nil {
			e.Patches = append(slices.Clone(old.Patches), e.Patches...)
			e.controllerless = append(slices.Clone(old.controllerless), e.controllerless...)
			e.Later = old.Later
			if old.File != "" && old.UID == e.UID && old.ResourceVersion == e.ResourceVersion {
				e.take(old)
				continue
			}
			if old.File != "" {
				e.Later++
			}
		}
		targets = append(targets, e.Target)
	}
	for r, old := range s.writer.entries {
		if w.entries[r] == nil {
			w.entries[r] = old // gone since, or done by an earlier plan
		}
	}
	before := s.writer.entries
	if err := w.save(ctx, from, targets); err != nil {
		return err
	}
	for _, t := range targets {
		if e := w.entries[t.Ref]; e.File == "" && before[t.Ref] != nil {
			w.entries[t.Ref] = before[t.Ref] // it has just gone
		}
	}
	s.writer = w
	s.index.Dependents, s.index.Unreadable = dependents(inv, w.entries, s.index.Dependents), inv.Unreadable
	s.index.Plan = merged(s.index.Plan, plan)
	return s.rewrite(targets)
}

// Again saves the object of one action of the last plan, which has changed.
func (s *Saved) Again(ctx context.Context, from Reader, a engine.Action) error {
	old := s.writer.entries[a.Target.Ref]
	if old == nil {
		return errors.New("it is not in the plan that was saved")
	}
	e := *old
	e.Target = a.Target
	if e.File != "" {
		e.Later++
	}
	e.File, e.Changes, e.Owners, e.OwnedBy = "", nil, nil, nil
	s.writer.entries[a.Target.Ref] = &e
	err := s.writer.save(ctx, from, []cluster.Target{a.Target})
	if err != nil || e.File == "" {
		s.writer.entries[a.Target.Ref] = old // gone by now
		return err
	}
	return s.rewrite([]cluster.Target{a.Target})
}

// Versions returns the resourceVersions that are saved, by UID.
func (s *Saved) Versions() map[types.UID]string {
	out := map[types.UID]string{}
	for _, e := range s.writer.entries {
		if e.File != "" {
			out[e.UID] = e.ResourceVersion
		}
	}
	return out
}

// take copies what was found out when the same state of the object was saved.
func (e *Entry) take(old *Entry) {
	e.File, e.SHA256, e.Finalizers, e.NotRestored = old.File, old.SHA256, old.Finalizers, old.NotRestored
	e.Owners, e.OwnedBy, e.Changes, e.Deleted = old.Owners, old.OwnedBy, old.Changes, e.Deleted || old.Deleted
}

// rewrite puts the index in the place of the one before, once what it names is
// on the disk.
func (s *Saved) rewrite(targets []cluster.Target) error {
	s.list()
	folders := map[string]bool{}
	for _, t := range targets {
		e := s.writer.entries[t.Ref]
		for dir := filepath.Dir(e.File); e.File != "" && dir != "."; dir = filepath.Dir(dir) {
			folders[dir] = true
		}
	}
	for dir := range folders {
		if err := syncFolder(filepath.Join(s.path, filepath.FromSlash(dir))); err != nil {
			return err
		}
	}
	temp := filepath.Join(s.path, "."+IndexName)
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	digest, err := writeIndex(temp, s.Dir, s.index, s.writer.options)
	if err != nil {
		return err
	}
	s.Digest = digest
	if err := os.Rename(temp, filepath.Join(s.path, IndexName)); err != nil {
		return err
	}
	return syncFolder(s.path)
}

// merged returns the phases of a plan, and those before them that it no longer
// has because they are done.
func merged(old engine.Plan, plan *engine.Plan) engine.Plan {
	var done []engine.Phase
	for _, phase := range old.Phases {
		if !slices.ContainsFunc(plan.Phases, func(p engine.Phase) bool { return p.Name == phase.Name }) {
			done = append(done, phase)
		}
	}
	return engine.Plan{Phases: append(done, plan.Phases...), Notes: plan.Notes}
}

// stoppedAs corrects the patches that stopped a workload: what it had before is
// what was written on it when its turn came, not when the plan was made.
func stoppedAs(patches []map[string]any, u *unstructured.Unstructured) {
	before, stopped := u.GetAnnotations()[offboard.StoppedAnnotation]
	if !stopped {
		return
	}
	for i, p := range patches {
		meta, _ := p["metadata"].(map[string]any)
		annotations, _ := meta["annotations"].(map[string]any)
		if annotations[offboard.StoppedAnnotation] == nil {
			continue
		}
		annotations = maps.Clone(annotations)
		annotations[offboard.StoppedAnnotation] = before
		meta = maps.Clone(meta)
		meta["annotations"] = annotations
		patches[i] = maps.Clone(p)
		patches[i]["metadata"] = meta
	}
}
