package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// state is what became of one object since the backup.
type state struct {
	found *unstructured.Unstructured // its metadata only
	// differs are the fields that were saved and are not there as they were.
	differs []Field
	// undo is the merge patch that takes back what the offboarding changed in
	// it, and changed are the fields in which somebody else did since.
	undo    map[string]any
	changed []string
}

// Situation is what of a backup is in the cluster.
type Situation struct {
	states map[cluster.Ref]state
	// closing are the namespaces that are being deleted.
	closing map[string]bool
}

// Look compares the cluster with the backup.
func (b *Backup) Look(ctx context.Context, from Reader) (*Situation, error) {
	s := &Situation{states: map[cluster.Ref]state{}, closing: map[string]bool{}}
	saved := map[cluster.Ref]*Entry{}
	var targets []cluster.Target
	add := func(t cluster.Target, e *Entry) {
		t.UID = "" // whoever is there under that name now
		if _, seen := saved[t.Ref]; !seen {
			targets = append(targets, t)
			saved[t.Ref] = e
		}
	}
	for i := range b.Index.Objects {
		add(b.Index.Objects[i].Target, &b.Index.Objects[i])
	}
	for _, t := range targets {
		if t.Namespace != "" {
			add(cluster.NamespaceTarget(t.Namespace, ""), nil)
		}
	}
	var mu sync.Mutex
	err := from.Read(ctx, targets, func(t cluster.Target, live *unstructured.Unstructured) error {
		var st state
		if e := saved[t.Ref]; e != nil {
			u, err := b.object(e)
			if err != nil {
				return err
			}
			st = compare(e, u, live)
		}
		mu.Lock()
		defer mu.Unlock()
		s.states[t.Ref] = st
		if t.Kind == "Namespace" && t.Group == "" && live.GetDeletionTimestamp() != nil {
			s.closing[t.Name] = true
		}
		return nil
	})
	return s, err
}

// compare says what became of an object of which saved is in the backup.
func compare(e *Entry, saved, live *unstructured.Unstructured) state {
	st := state{differs: differences(saved.Object, live.Object, e.Group == "" && e.Kind == "Secret")}
	st.undo, st.changed = undo(merge(e.Patches), saved.Object, live.Object, "")
	st.found = &unstructured.Unstructured{Object: map[string]any{"metadata": live.Object["metadata"]}}
	return st
}

// same compares values as JSON does: 1 and 1.0 are the same number.
func same(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// merge returns one merge patch that does what several do, one after the other.
func merge(patches []map[string]any) map[string]any {
	out := map[string]any{}
	for _, p := range patches {
		for key, value := range p {
			was, wasMap := out[key].(map[string]any)
			is, isMap := value.(map[string]any)
			if wasMap && isMap {
				value = merge([]map[string]any{was, is})
			}
			out[key] = value
		}
	}
	return out
}

// undo returns the merge patch that takes back a patch, as far as what it wrote
// is still there, and the fields that somebody has changed since. What already
// is as it was saved needs nothing.
func undo(patch, saved, live map[string]any, path string) (back map[string]any, changed []string) {
	back = map[string]any{}
	for key, wrote := range patch {
		here := strings.TrimPrefix(path+"."+key, ".")
		if here == "metadata.uid" || here == "metadata.resourceVersion" {
			continue // a precondition
		}
		was, wasThere := saved[key]
		is, isThere := live[key]
		if inner, ok := wrote.(map[string]any); ok {
			wasMap, _ := was.(map[string]any)
			isMap, _ := is.(map[string]any)
			innerBack, innerChanged := undo(inner, wasMap, isMap, here)
			if len(innerBack) > 0 {
				back[key] = innerBack
			}
			changed = append(changed, innerChanged...)
			continue
		}
		switch {
		case wasThere == isThere && same(was, is):
		case wrote == nil && !isThere, wrote != nil && isThere && same(wrote, is):
			back[key] = was // nil removes it
		default:
			changed = append(changed, here)
		}
	}
	return back, changed
}
