package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
)

// pageSize is how many objects one list request asks for.
const pageSize = 500

// patienceWithOthers bounds one page of a kind that an aggregated API serves, which may
// take its question and never answer. It is less than one try, so that the server itself
// is not taken to be away. What the server serves itself, custom resources included, has
// all the time of a request: a page of a busy cluster may take long.
const patienceWithOthers = tryTimeout / 2

// patienceWithSilent is for one that gave no answer the last time, or whose API gave none
// for another kind: who looks several times does not wait as often.
const patienceWithSilent = 3 * time.Second

// patience is how long one page of a kind that an aggregated API serves may take.
func (c *Client) patience(r *Resource) time.Duration {
	if _, silent := c.silent.Load(r.GroupResource()); silent {
		return patienceWithSilent
	}
	return patienceWithOthers
}

// Scope says how much of a cluster a snapshot covers. The zero value is all of it.
type Scope struct {
	// Namespaces limits the snapshot to the namespaced objects in these.
	Namespaces []string
	// Whole names the kinds, by plural.group, that are read in the whole cluster
	// even if Namespaces limits the rest. Without Namespaces it changes nothing.
	Whole []string
	// Kinds limits the snapshot to these kinds, by plural.group; none: every kind.
	Kinds []string
	// Except leaves out these kinds, by plural.group.
	Except []string
	// Backends looks up the Services that the API server calls: those of the
	// webhooks and APIServices that the snapshot holds.
	Backends bool
	// Bodies adds fields for kinds, by plural.group, to what snapshots always keep.
	Bodies map[string][][]string
	// Versions reads kinds, by plural.group, in another version than the preferred one.
	Versions map[string]string
	// Events reads Kubernetes' own Events, too. Most of them expire by themselves
	// and go with their namespace; one with a finalizer does neither.
	Events bool
}

// Snapshot reads every object of every resource that can be listed and deleted,
// as metadata, in pages and in parallel. What can't be read (a broken API
// group, a missing right) is named in the result instead of failing it; the
// error is for a server that can't be reached at all.
func (c *Client) Snapshot(ctx context.Context, scope Scope) (*Snapshot, error) {
	snap := &Snapshot{Taken: time.Now(), Scope: scope}
	resources, unreadable, err := c.discover(scope.Events)
	if err != nil {
		return nil, c.explain(err)
	}
	for _, r := range resources {
		r.Version = cmp.Or(scope.Versions[r.GroupResource().String()], r.Version)
	}
	snap.Resources, snap.Unreadable = resources, unreadable
	aggregated, err := c.aggregated(ctx)
	if err != nil {
		return nil, c.explain(err)
	}
	for _, r := range resources {
		r.Aggregated = aggregated(r)
	}
	if snap.Server, err = c.identify(ctx); err != nil {
		return nil, c.explain(err)
	}

	var mu sync.Mutex
	answered := map[*Resource]bool{}
	group, listCtx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for _, r := range resources {
		for _, ns := range scope.namespacesFor(r) {
			group.Go(func() error {
				within := c.patience(r)
				objects, err := c.list(listCtx, r, ns, scope.fields(r))
				if ns == "" && r.Namespaced && apierrors.IsForbidden(err) && len(scope.Namespaces) > 0 {
					mu.Lock()
					snap.Elsewhere = append(snap.Elsewhere, r.GroupResource().String())
					mu.Unlock()
					objects, err = c.listEach(listCtx, r, scope)
				}
				mu.Lock()
				defer mu.Unlock()
				snap.Objects = append(snap.Objects, objects...)
				switch {
				case err == nil:
					answered[r] = true
					c.silent.Delete(r.GroupResource())
				case apierrors.IsNotFound(err), apierrors.IsMethodNotSupported(err):
					// The kind went away since discovery, or was never really listable.
				case listCtx.Err() != nil, apierrors.IsUnauthorized(err):
					return err
				case errors.Is(err, context.DeadlineExceeded):
					snap.Unreadable = append(snap.Unreadable, Unreadable{
						What: r.GroupResource().String(), Message: fmt.Sprintf("no answer within %s", within),
					})
					for _, other := range resources {
						if other.APIVersion() == r.APIVersion() && !answered[other] {
							c.silent.Store(other.GroupResource(), true)
						}
					}
				default:
					snap.Unreadable = append(snap.Unreadable, Unreadable{
						What: r.GroupResource().String(), Message: err.Error(), Forbidden: apierrors.IsForbidden(err),
					})
				}
				return nil
			})
		}
	}
	if err := group.Wait(); err != nil {
		return nil, c.explain(err)
	}
	if scope.Backends {
		if err := c.readBackends(ctx, snap); err != nil {
			return nil, c.explain(err)
		}
	}
	snap.normalize()
	return snap, nil
}

// namespacesFor returns the namespaces in which to list a resource; "" is all.
func (s Scope) namespacesFor(r *Resource) []string {
	switch {
	case len(s.Kinds) > 0 && !slices.Contains(s.Kinds, r.GroupResource().String()),
		slices.Contains(s.Except, r.GroupResource().String()):
		return nil
	case len(s.Namespaces) == 0, slices.Contains(s.Whole, r.GroupResource().String()):
		return []string{metav1.NamespaceAll}
	case r.Namespaced:
		return s.Namespaces
	}
	return nil
}

func (s Scope) fields(r *Resource) [][]string {
	key := r.GroupResource().String()
	return append(slices.Clone(bodies[key]), s.Bodies[key]...)
}

// identify completes the identity of the server.
func (c *Client) identify(ctx context.Context) (Server, error) {
	s := c.server
	system, err := c.metadata.Resource(namespaces).Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	switch {
	case err == nil:
		s.KubeSystemUID = system.UID // identifies a cluster for good
	case !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err):
		return s, err
	}
	if s.Version, err = c.Version(ctx); err != nil {
		return s, err
	}
	return s, nil
}

// discover returns the resources whose objects can be listed and deleted, in
// the version that the server prefers, and the groups that failed.
func (c *Client) discover(events bool) ([]*Resource, []Unreadable, error) {
	var failed []Unreadable
	lists, err := c.discovery.ServerPreferredResources()
	if err != nil {
		groups, ok := discovery.GroupDiscoveryFailedErrorGroups(err)
		if !ok {
			return nil, nil, err
		}
		for gv, err := range groups {
			failed = append(failed, Unreadable{What: gv.String(), GroupVersion: gv.String(), Message: err.Error()})
		}
	}
	var out []*Resource
	for _, list := range lists {
		for _, api := range list.APIResources {
			gv := list.GroupVersion
			r := &Resource{Name: api.Name, Kind: api.Kind, Namespaced: api.Namespaced, Verbs: api.Verbs,
				Singular: api.SingularName, ShortNames: api.ShortNames}
			r.Group, r.Version = splitGroupVersion(gv)
			if r.Can("list") && r.Can("delete") && (events || !isEvent(r)) {
				out = append(out, r)
			}
		}
	}
	return out, failed, nil
}

// isEvent tells whether the resource is Kubernetes' own Events, which two groups
// serve. Other groups may have a kind of that name, and it is one like any other.
func isEvent(r *Resource) bool {
	return r.Name == "events" && r.Kind == "Event" && (r.Group == "" || r.Group == "events.k8s.io")
}

// aggregated returns what tells whether another server serves a kind: that of an
// APIService with a Service (k8s.io/kube-aggregator v0.36.3 pkg/apis/apiregistration).
// Who may not list these is told so of all that is not built in.
func (c *Client) aggregated(ctx context.Context) (func(*Resource) bool, error) {
	r := &Resource{Group: "apiregistration.k8s.io", Version: "v1", Name: "apiservices", Kind: "APIService"}
	services, err := c.list(ctx, r, metav1.NamespaceAll, [][]string{{"spec"}})
	var status apierrors.APIStatus
	switch {
	case ctx.Err() != nil, apierrors.IsUnauthorized(err):
		return nil, err
	case errors.As(err, &status):
		return func(r *Resource) bool { return !(Unreadable{What: r.GroupResource().String()}).BuiltIn() }, nil
	case err != nil:
		return nil, err
	}
	elsewhere := map[string]bool{}
	for _, o := range services {
		elsewhere[o.Name] = len(o.ServiceRefs()) > 0
	}
	return func(r *Resource) bool { return elsewhere[r.Version+"."+r.Group] }, nil
}

// listEach reads a resource in the namespaces of a scope: who may not list it in
// the whole cluster may be allowed to there.
func (c *Client) listEach(ctx context.Context, r *Resource, scope Scope) (out []*Object, err error) {
	for _, ns := range scope.Namespaces {
		objects, err := c.list(ctx, r, ns, scope.fields(r))
		if err != nil {
			return out, err
		}
		out = append(out, objects...)
	}
	return out, nil
}

// list reads all objects of a resource, in one namespace or ("") in all.
func (c *Client) list(ctx context.Context, r *Resource, ns string, fields [][]string) ([]*Object, error) {
	var out []*Object
	same := pool{}
	for opts := (metav1.ListOptions{Limit: pageSize}); ; {
		page, next, err := c.listPage(ctx, r, ns, fields, opts, same)
		if err != nil {
			return out, err
		}
		switch out = append(out, page...); next {
		case "":
			return out, nil
		case opts.Continue:
			return out, fmt.Errorf("%s: the server says that each page is followed by itself", r.GroupResource())
		}
		opts.Continue = next
	}
}

// listPage reads one page of a resource, and the token of the next page: as
// metadata if no fields are wanted, whole otherwise.
func (c *Client) listPage(ctx context.Context, r *Resource, ns string, fields [][]string, opts metav1.ListOptions,
	p pool) ([]*Object, string, error) {
	if r.Aggregated {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.patience(r))
		defer cancel()
	}
	if len(fields) == 0 {
		return c.metadataPage(ctx, r, ns, opts, p)
	}
	list, err := c.contentPage(ctx, r, ns, opts)
	if err != nil {
		return nil, "", err
	}
	page, err := meta.ListAccessor(list)
	if err != nil {
		return nil, "", err
	}
	var out []*Object
	err = meta.EachListItem(list, func(item runtime.Object) error {
		o, err := newObject(r, item, fields, p)
		if err != nil {
			return err
		}
		out = append(out, o)
		return nil
	})
	return out, page.GetContinue(), err
}

// newObject keeps of an object what a snapshot needs. The pool is that of the
// list that it is in, if any.
func newObject(r *Resource, item runtime.Object, fields [][]string, p pool) (*Object, error) {
	meta, ok := item.(metav1.Object)
	if !ok {
		return nil, fmt.Errorf("%s: the server answered with an object without metadata", r.GroupResource())
	}
	name := meta.GetName()
	o := &Object{
		Resource:        r,
		Namespace:       p.one(meta.GetNamespace()),
		Name:            name,
		UID:             meta.GetUID(),
		ResourceVersion: meta.GetResourceVersion(),
		Generation:      meta.GetGeneration(),
		Created:         meta.GetCreationTimestamp().Time,
		Labels:          p.keep(meta.GetLabels(), name),
		Annotations:     p.keep(meta.GetAnnotations(), name),
		Owners:          meta.GetOwnerReferences(),
		Finalizers:      meta.GetFinalizers(),
		Managers:        p.managers(meta.GetManagedFields()),
	}
	if at := meta.GetDeletionTimestamp(); at != nil {
		o.Deleting = at.Time
	}
	if seconds := meta.GetDeletionGracePeriodSeconds(); seconds != nil {
		o.Grace = time.Duration(*seconds) * time.Second
	}
	if len(fields) > 0 {
		all, err := contentOf(item, fields)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", r.GroupResource(), o.Name, err)
		}
		o.Body = project(all, fields)
	}
	return o, nil
}

// longestAnnotation is the longest value of interest to any rule; the rest
// (applied configurations, mostly) would fill the memory for nothing.
const longestAnnotation = 512

// ownDomain begins the annotations that the plugin itself writes. They are read
// to take back what they say, and so are kept whole.
const ownDomain = "castai.kubectl.dev/"

// pool turns equal strings into one: the objects of a list repeat the same few
// keys and values over and over. A nil pool leaves them as they are.
type pool map[string]string

// poolSize keeps what is different in every object from filling a pool.
const poolSize = 1000

func (p pool) one(s string) string {
	if same, ok := p[s]; ok {
		return same
	}
	if p != nil && len(p) < poolSize {
		p[s] = s
	}
	return s
}

// text is one for bytes that are used again.
func (p pool) text(b []byte) string {
	if same, ok := p[string(b)]; ok {
		return same
	}
	return p.one(string(b))
}

// keep copies labels or annotations of an object, and cuts their values. What it
// returns holds on to nothing else of an answer.
func (p pool) keep(in map[string]string, name string) map[string]string {
	if len(in) == 0 {
		return nil
	}
	out := make(map[string]string, len(in))
	for k, v := range in {
		short := shortened(k, v)
		if len(short) < len(v) {
			short = strings.Clone(short)
		}
		if short == name { // as labels often do
			short = name
		} else {
			short = p.one(short)
		}
		out[p.one(k)] = short
	}
	return out
}

// shortened cuts the value of a label or annotation, but for our own.
func shortened[T string | []byte](key string, value T) T {
	if len(value) > longestAnnotation && !strings.HasPrefix(key, ownDomain) {
		return value[:longestAnnotation]
	}
	return value
}

func (p pool) managers(entries []metav1.ManagedFieldsEntry) []string {
	var out []string
	for _, e := range entries {
		out = append(out, p.one(e.Manager))
	}
	return distinct(out)
}

// distinct sorts names and leaves one of each, in the same place.
func distinct(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// normalize sorts a snapshot and drops the objects that several groups serve
// (an Ingress, say): the one that sorts first stays.
func (s *Snapshot) normalize() {
	slices.SortFunc(s.Objects, func(a, b *Object) int { return a.Ref().Compare(b.Ref()) })
	seen := make(map[string]bool, len(s.Objects))
	s.Objects = slices.DeleteFunc(s.Objects, func(o *Object) bool {
		if o.UID == "" {
			return false
		}
		dup := seen[string(o.UID)]
		seen[string(o.UID)] = true
		return dup
	})
	slices.SortFunc(s.Resources, func(a, b *Resource) int {
		return cmpStrings(a.Group, b.Group, a.Name, b.Name)
	})
	slices.SortFunc(s.Unreadable, func(a, b Unreadable) int {
		return cmpStrings(a.What, b.What, a.Message, b.Message)
	})
}

// Fill reads further fields of objects that a snapshot holds as metadata only.
// An object that went away in between stays as it is.
func (c *Client) Fill(ctx context.Context, objects []*Object, fields ...[]string) error {
	for _, o := range objects {
		full, err := c.Get(ctx, o.Target(), fields...)
		if IsGone(err, o.Target()) {
			continue
		}
		if err != nil {
			return fmt.Errorf("can't read %s: %w", o.Ref(), c.explain(err))
		}
		o.Body = full.Body
	}
	return nil
}

// NewObject keeps of an object what a snapshot would.
func NewObject(r *Resource, item runtime.Object) (*Object, error) {
	return newObject(r, item, bodies[r.GroupResource().String()], nil)
}
