package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// fakeCluster keeps objects as an API server does: deletion waits for
// finalizers, UIDs and resource versions are preconditions.
type fakeCluster struct {
	mu      sync.Mutex
	objects map[cluster.Ref]*cluster.Object
	version int
	changed chan struct{} // closed at each change

	writes []string
	// fail returns the error of the nth write (from 1), if it fails.
	fail func(n int, what string) error
	// before is called before each deletion, with the lock held.
	before func(t cluster.Target)
	// after is called after each change of an object, with the lock held.
	after func(o *cluster.Object)
	// deaf lets Follow hear of nothing after the start, as a watch that is dead.
	deaf bool
	// orphaned are the objects whose deletion leaves what names them as owners.
	orphaned map[cluster.Ref]bool
}

func newFake(objects ...*cluster.Object) *fakeCluster {
	f := &fakeCluster{objects: map[cluster.Ref]*cluster.Object{}, changed: make(chan struct{})}
	for _, o := range objects {
		f.put(o)
	}
	return f
}

var configMaps = &cluster.Resource{Version: "v1", Name: "configmaps", Kind: "ConfigMap", Namespaced: true}

func configMap(name string, finalizers ...string) *cluster.Object {
	return &cluster.Object{Resource: configMaps, Namespace: "default", Name: name, UID: types.UID("uid-" + name),
		Finalizers: finalizers}
}

func (f *fakeCluster) put(o *cluster.Object) {
	f.version++
	o.ResourceVersion = strconv.Itoa(f.version)
	f.objects[o.Ref()] = o
	f.tell()
}

func (f *fakeCluster) tell() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// write counts a write and returns the object that it is for.
func (f *fakeCluster) write(what string, t cluster.Target) (*cluster.Object, error) {
	f.writes = append(f.writes, what+" "+t.Name)
	if f.fail != nil {
		if err := f.fail(len(f.writes), what); err != nil {
			return nil, err
		}
	}
	o := f.objects[t.Ref]
	switch {
	case o == nil:
		return nil, apierrors.NewNotFound(t.GVR().GroupResource(), t.Name)
	case t.UID != "" && o.UID != t.UID:
		return nil, apierrors.NewConflict(t.GVR().GroupResource(), t.Name, fmt.Errorf("the UID is %s", o.UID))
	}
	return o, nil
}

func (f *fakeCluster) Delete(_ context.Context, t cluster.Target, opts cluster.DeleteOptions) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.before != nil {
		f.before(t)
	}
	o, err := f.write("delete", t)
	if err != nil || opts.DryRun {
		return err
	}
	if opts.ResourceVersion != "" && opts.ResourceVersion != o.ResourceVersion {
		return apierrors.NewConflict(t.GVR().GroupResource(), t.Name, fmt.Errorf("it is at %s", o.ResourceVersion))
	}
	if opts.Orphan {
		if f.orphaned == nil {
			f.orphaned = map[cluster.Ref]bool{}
		}
		f.orphaned[t.Ref] = true
	}
	if len(o.Finalizers) == 0 {
		delete(f.objects, t.Ref)
		f.tell()
		return nil
	}
	gone := *o
	gone.Deleting = time.Now()
	f.put(&gone)
	return nil
}

func (f *fakeCluster) MergePatch(_ context.Context, t cluster.Target, patch map[string]any, dry bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	o, err := f.write("patch", t)
	if err != nil || dry {
		return err
	}
	if meta, _ := patch["metadata"].(map[string]any); meta["resourceVersion"] != nil &&
		meta["resourceVersion"] != o.ResourceVersion {
		return apierrors.NewConflict(t.GVR().GroupResource(), t.Name, fmt.Errorf("it is at %s", o.ResourceVersion))
	}
	patched := *o
	f.put(&patched)
	return nil
}

func (f *fakeCluster) StripFinalizers(_ context.Context, t cluster.Target, seen *cluster.Object, names []string,
	_ bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	o, err := f.write("strip", t)
	if err != nil {
		return err
	}
	if o.ResourceVersion != seen.ResourceVersion {
		return apierrors.NewConflict(t.GVR().GroupResource(), t.Name, fmt.Errorf("it is at %s", o.ResourceVersion))
	}
	stripped := *o
	stripped.Finalizers = slices.DeleteFunc(slices.Clone(o.Finalizers),
		func(s string) bool { return slices.Contains(names, s) })
	if f.after != nil {
		f.after(&stripped)
	}
	if len(stripped.Finalizers) == 0 {
		delete(f.objects, t.Ref)
		f.tell()
		return nil
	}
	f.put(&stripped)
	return nil
}

func (f *fakeCluster) FinalizeNamespace(_ context.Context, t cluster.Target, dry bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.write("finalize", t)
	if err == nil && !dry {
		delete(f.objects, t.Ref)
		f.tell()
	}
	return err
}

func (f *fakeCluster) Create(ctx context.Context, t cluster.Target, content map[string]any, dry bool) error {
	f.mu.Lock()
	there := f.objects[t.Ref] != nil
	f.mu.Unlock()
	if there {
		return apierrors.NewAlreadyExists(t.GVR().GroupResource(), t.Name)
	}
	return f.Apply(ctx, t, content, dry)
}

func (f *fakeCluster) Apply(_ context.Context, t cluster.Target, content map[string]any, dry bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes = append(f.writes, fmt.Sprintf("apply %s %v", t.Name, content))
	if f.fail != nil {
		if err := f.fail(len(f.writes), "apply"); err != nil {
			return err
		}
	}
	if f.objects[t.Ref] == nil && !dry {
		f.put(configMap(t.Name))
	}
	return nil
}

func (f *fakeCluster) CreateNamespace(context.Context, string, map[string]string) (cluster.Target, error) {
	return cluster.Target{}, fmt.Errorf("not here")
}

func (f *fakeCluster) Get(_ context.Context, t cluster.Target, _ ...[]string) (*cluster.Object, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.objects[t.Ref]
	if o == nil || t.UID != "" && o.UID != t.UID {
		return nil, apierrors.NewNotFound(t.GVR().GroupResource(), t.Name)
	}
	return o, nil
}

func (f *fakeCluster) Follow(ctx context.Context, targets []cluster.Target, see func(cluster.Sighting)) error {
	left := slices.Clone(targets)
	seen := map[cluster.Ref]string{}
	for {
		f.mu.Lock()
		changed := f.changed
		var sightings []cluster.Sighting
		left = slices.DeleteFunc(left, func(t cluster.Target) bool {
			o := f.objects[t.Ref]
			if o != nil && o.UID != t.UID {
				o = nil
			}
			if o == nil || seen[t.Ref] != o.ResourceVersion {
				sightings = append(sightings, cluster.Sighting{Target: t, Object: o})
			}
			if o != nil {
				seen[t.Ref] = o.ResourceVersion
			}
			return o == nil
		})
		f.mu.Unlock()
		for _, s := range sightings {
			see(s)
		}
		if len(left) == 0 {
			return nil
		}
		if f.deaf {
			changed = nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (f *fakeCluster) Look(_ context.Context, targets []cluster.Target, see func(cluster.Sighting)) error {
	for _, t := range targets {
		f.mu.Lock()
		o := f.objects[t.Ref]
		f.mu.Unlock()
		if o != nil && o.UID != t.UID {
			o = nil
		}
		see(cluster.Sighting{Target: t, Object: o})
	}
	return nil
}
