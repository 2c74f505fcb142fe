package backup

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

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
	// closing are the namespaces that are being deleted, and taken those that are
	// gone and of whose name somebody has made another.
	closing, taken map[string]bool
	// strangers says, by binding that is gone, why it does not come back: one of
	// the ServiceAccounts that it named is another one by now, or is going.
	strangers map[cluster.Ref]string
}

// Look compares the cluster with the backup.
func (b *Backup) Look(ctx context.Context, from Reader) (*Situation, error) {
	s := &Situation{
		states: map[cluster.Ref]state{}, closing: map[string]bool{}, taken: map[string]bool{},
		strangers: map[cluster.Ref]string{},
	}
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
		if t.Kind == "Namespace" && t.Group == "" {
			s.closing[t.Name] = live.GetDeletionTimestamp() != nil
			s.taken[t.Name] = saved[t.Ref] != nil && st.taken(saved[t.Ref])
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, b.findStrangers(s, saved)
}

// findStrangers looks into the bindings that are gone.
func (b *Backup) findStrangers(s *Situation, saved map[cluster.Ref]*Entry) error {
	for i := range b.Index.Objects {
		e := &b.Index.Objects[i]
		if e.Group != rbacv1.GroupName || !strings.HasSuffix(e.Kind, "Binding") || s.states[e.Ref].found != nil {
			continue
		}
		u, err := b.object(e)
		if err != nil {
			return err
		}
		var binding rbacv1.ClusterRoleBinding
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &binding); err != nil {
			return refuse("%s can't be read: %v", e.File, err)
		}
		for _, subject := range binding.Subjects {
			account := cluster.Ref{Kind: subject.Kind, Namespace: cmp.Or(subject.Namespace, e.Namespace), Name: subject.Name}
			switch st := s.states[account]; {
			case s.closing[account.Namespace]:
				s.strangers[e.Ref] = fmt.Sprintf("it grants rights to %s, and namespace %s is being deleted: run it again when that is gone", account, account.Namespace)
			case s.taken[account.Namespace], saved[account] != nil && st.taken(saved[account]):
				s.strangers[e.Ref] = fmt.Sprintf("it grants rights to %s, which is not the one that had them: --overwrite puts it back", account)
			}
		}
	}
	return nil
}

// taken tells whether somebody else has made another object of the name of one
// that was deleted: what a restore made bears the name of this plugin.
func (st *state) taken(e *Entry) bool {
	return e.Deleted && st.remade(e) && !slices.ContainsFunc(st.found.GetManagedFields(),
		func(m metav1.ManagedFieldsEntry) bool {
			return m.Manager == cluster.FieldManager
		})
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
