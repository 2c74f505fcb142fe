// Package compare tells from snapshots of a cluster what an offboarding did: what
// of Cast AI's is gone, what is left, and what of others was touched.
package compare

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"github.com/castai/kubectl-castai/test/fixtures"
)

// Snapshot is the metadata of every object in a cluster, by id.
type Snapshot = map[string]fixtures.Object

// Result is what became of the objects of a cluster: sorted ids.
type Result struct {
	// Removed and Left were installed with Cast AI. Left also holds what is new
	// and neither another owner's nor a controller's.
	Removed, Left []string
	// Touched are objects of others that are gone, replaced or changed, by
	// somebody else than the controllers of Kubernetes.
	Touched []string
	// Untouched counts the objects of others that are as they were.
	Untouched int
}

// Offboarding compares a cluster before fixtures were installed, with them, and
// after an offboarding. owned are the ids of the fixtures that are Cast AI's.
func Offboarding(before, installed, after Snapshot, owned []string) Result {
	s := newSorter(before, installed, owned)
	var r Result
	for _, id := range slices.Sorted(maps.Keys(installed)) {
		then := installed[id]
		now, there := after[id]
		switch {
		case there && s.owned(id, then):
			r.Left = append(r.Left, id)
		case s.owned(id, then):
			r.Removed = append(r.Removed, id)
		case !there && serviceAddress(then):
		case there && (now.UID == then.UID && now.ResourceVersion == then.ResourceVersion || written(then, now)):
			r.Untouched++
		default:
			r.Touched = append(r.Touched, id)
		}
	}
	rest := newSorter(before, after, owned)
	for _, id := range slices.Sorted(maps.Keys(after)) {
		if _, was := installed[id]; !was && !made(after[id]) && !rest.ofOthers(after[id]) {
			r.Left = append(r.Left, id)
		}
	}
	slices.Sort(r.Left)
	return r
}

// Changes returns what somebody else than the controllers of Kubernetes changed
// between two snapshots, by id and in words.
func Changes(before, after Snapshot) []string {
	var out []string
	d := fixtures.Diff(before, after)
	for _, id := range d.New {
		if !made(after[id]) {
			out = append(out, id+" is new")
		}
	}
	for _, id := range d.Gone {
		if serviceAddress(before[id]) {
			continue
		}
		out = append(out, id+" is gone")
	}
	for _, id := range d.Replaced {
		out = append(out, id+" was replaced")
	}
	for _, id := range d.Changed {
		if !written(before[id], after[id]) {
			out = append(out, id+" was changed by "+strings.Join(writers(before[id], after[id]), ", "))
		}
	}
	return out
}

// Settled takes snapshots until two in a row hold the same objects: until the
// controllers are done with what was installed.
func Settled(ctx context.Context, config *rest.Config) (Snapshot, error) {
	var last Snapshot
	err := wait.PollUntilContextTimeout(ctx, time.Second, time.Minute, true, func(ctx context.Context) (bool, error) {
		next, err := fixtures.Snapshot(ctx, config)
		if err != nil {
			return false, err
		}
		d := fixtures.Diff(last, next)
		last = next
		return len(d.New)+len(d.Gone)+len(d.Replaced) == 0, nil
	})
	return last, err
}

// sorter says whose an object is: by its id, or by that of what it depends on.
type sorter struct {
	before, all Snapshot
	ids         map[string]bool
	byUID       map[types.UID]string
}

func newSorter(before, all Snapshot, owned []string) *sorter {
	s := &sorter{before: before, all: all, ids: map[string]bool{}, byUID: map[types.UID]string{}}
	for _, id := range owned {
		s.ids[id] = true
	}
	for id, o := range all {
		s.byUID[o.UID] = id
	}
	return s
}

// owned tells whether an object is Cast AI's: a fixture that is, or what the
// controllers of Kubernetes made of one.
func (s *sorter) owned(id string, o fixtures.Object) bool {
	if s.ids[id] {
		return true
	}
	if _, was := s.before[id]; was {
		return false
	}
	if len(o.OwnerReferences) > 0 {
		return !slices.ContainsFunc(o.OwnerReferences, func(r metav1.OwnerReference) bool {
			owner := s.byUID[r.UID]
			return owner == "" || !s.owned(owner, s.all[owner])
		})
	}
	switch {
	case perNamespace(id, o):
		return s.ids["Namespace/"+o.Namespace]
	case strings.HasPrefix(id, "Endpoints/"):
		return s.ids["Service/"+o.Namespace+"/"+o.Name]
	case o.Labels["kube-aggregator.kubernetes.io/automanaged"] != "":
		return s.ownedGroup(o.Name)
	}
	return false
}

// ofOthers tells whether a controller made the object for another owner's.
func (s *sorter) ofOthers(o fixtures.Object) bool {
	return len(o.OwnerReferences) > 0 && slices.ContainsFunc(o.OwnerReferences, func(r metav1.OwnerReference) bool {
		owner := s.byUID[r.UID]
		return owner != "" && !s.owned(owner, s.all[owner])
	})
}

// perNamespace tells whether the object is one of those that every namespace has.
func perNamespace(id string, o fixtures.Object) bool {
	return id == "ServiceAccount/"+o.Namespace+"/default" || id == "ConfigMap/"+o.Namespace+"/kube-root-ca.crt"
}

// serviceAddress tells whether the API server keeps the address of a Service in
// the object. Whose Service that is, metadata does not tell.
func serviceAddress(o fixtures.Object) bool {
	return kindOf(o) == "IPAddress.networking.k8s.io" &&
		o.Labels["ipaddress.kubernetes.io/managed-by"] == "ipallocator.k8s.io"
}

// ownedGroup tells whether all kinds of an APIService's group are Cast AI's.
func (s *sorter) ownedGroup(apiService string) bool {
	_, group, _ := strings.Cut(apiService, ".")
	found := false
	for id := range s.all {
		if strings.HasPrefix(id, "CustomResourceDefinition.") && strings.HasSuffix(id, "."+group) {
			_, name, _ := strings.Cut(id, "/")
			if _, g, _ := strings.Cut(name, "."); g != group {
				continue
			}
			if !s.ids[id] {
				return false
			}
			found = true
		}
	}
	return found
}

// writers names those whose fields differ between two states of an object.
func writers(then, now fixtures.Object) []string {
	entries := func(o fixtures.Object) map[string]metav1.ManagedFieldsEntry {
		m := map[string]metav1.ManagedFieldsEntry{}
		for _, e := range o.ManagedFields {
			m[e.Manager+"|"+string(e.Operation)+"|"+e.Subresource] = e
		}
		return m
	}
	a, b := entries(then), entries(now)
	seen := map[string]bool{}
	for _, pair := range [][2]map[string]metav1.ManagedFieldsEntry{{a, b}, {b, a}} {
		for key, e := range pair[0] {
			if other, ok := pair[1][key]; !ok || !reflect.DeepEqual(e, other) {
				seen[e.Manager] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}
