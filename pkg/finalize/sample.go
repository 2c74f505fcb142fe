package finalize

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Bounds of what is looked at more closely.
const (
	maxClasses    = 64               // of objects
	maxOfClass    = 20               // objects of each that were written last, and as many of the oldest
	maxSamples    = 128              // objects in all
	samplesAtOnce = 8                // of them
	sampleTime    = 15 * time.Second // for one of them; a webhook may take 30 s
)

// Class is the objects of one kind in one namespace that have the same finalizer, or,
// without one, that the namespace controller could not delete.
type Class struct {
	Namespace string
	Resource  schema.GroupResource
	Finalizer string
}

// Sample is what is known of some objects of a class.
type Sample struct {
	// Writes are what field managers did to them, those of one object the last first.
	Writes []Write
	// Refused is what the server says to the removal of the finalizer, or to the deletion,
	// of the first one of which it refuses that; empty: it accepts it, or was not asked.
	Refused string
	// Untracked: one of the objects does not say who wrote it. The API server begins to track
	// only what is created with fields, or applied (k8s.io/apimachinery
	// pkg/util/managedfields/internal/skipnonapplied.go).
	Untracked bool
	// Unanswered: the server said nothing in time.
	Unanswered bool

	tried   int           // of how many it was asked
	refused []cluster.Ref // for which of them it refuses it
}

// refuses tells whether the server refuses it for an object, as far as that is known: if it
// does for all that were tried, it does for the others, too.
func (s *Sample) refuses(o *cluster.Object) bool {
	return s.Refused != "" && (len(s.refused) == s.tried || slices.Contains(s.refused, o.Ref()))
}

// settled tells whether nothing is learned by asking for further objects: a webhook refuses them all, or takes
// its time for each.
func (s *Sample) settled() bool { return s.Unanswered || RefusedBy(s.Refused) != "" }

// add takes in what is known of one more object.
func (s *Sample) add(one Sample) {
	s.Writes = append(s.Writes, one.Writes...)
	s.Untracked, s.Unanswered = s.Untracked || one.Untracked, s.Unanswered || one.Unanswered
	s.Refused = cmp.Or(s.Refused, one.Refused)
	s.tried, s.refused = s.tried+one.tried, append(s.refused, one.refused...)
}

// Write is the last write of one field manager.
type Write struct {
	Manager string
	At      time.Time
	// Of is the name of the object.
	Of string
	// Holds tells whether it has set the finalizer of the class.
	Holds bool
	// After tells whether it came after the deletion of the object.
	After bool
}

// classes are the objects to sample, by their class. The first classes count.
type classes struct {
	order   []Class
	members map[Class][]*cluster.Object
}

func (c *classes) add(class Class, o *cluster.Object) {
	if c.members[class] == nil {
		if len(c.order) == maxClasses {
			return
		}
		c.order = append(c.order, class)
	}
	if c.members == nil {
		c.members = map[Class][]*cluster.Object{}
	}
	c.members[class] = append(c.members[class], o)
}

// toSample returns what is to be looked at more closely.
func (o *Observation) toSample(namespaces []string) *classes {
	out := &classes{}
	failed := map[string]bool{}
	for _, obj := range o.Objects {
		if isNamespace(obj) {
			failed[obj.Name] = slices.ContainsFunc(conditions(obj, Content{}), func(c Condition) bool {
				return c.Type == "NamespaceDeletionContentFailure" && c.Status == "True"
			})
		}
	}
	all := o.Objects
	for _, c := range o.Conversions {
		all = append(slices.Clip(all), c.Objects...)
	}
	for _, obj := range all {
		if obj.Namespace == "" && obj.Resource.Kind != "Namespace" || !slices.Contains(namespaces, namespaceOf(obj)) {
			continue
		}
		if failed[obj.Namespace] && !obj.Terminating() {
			out.add(classOf(obj, ""), obj)
		}
		for _, f := range obj.Finalizers {
			out.add(classOf(obj, f), obj)
		}
	}
	return out
}

func classOf(o *cluster.Object, finalizer string) Class {
	return Class{namespaceOf(o), o.Resource.GroupResource(), finalizer}
}

// probe is one object of a class that is looked at.
type probe struct {
	class  Class
	object *cluster.Object
}

// rounds returns what is looked at: first one object of each class, and then the others, as many as there is
// room for.
func (c *classes) rounds() (first, more []probe) {
	picked := map[Class][]*cluster.Object{}
	for _, class := range c.order {
		picked[class] = pick(c.members[class])
		first = append(first, probe{class, picked[class][0]})
	}
	for i := 1; i < 2*maxOfClass; i++ {
		for _, class := range c.order {
			if i < len(picked[class]) && len(first)+len(more) < maxSamples {
				more = append(more, probe{class, picked[class][i]})
			}
		}
	}
	return first, more
}

// pick returns those of the objects of a class that tell the most: the ones written last, because whoever cleans
// up may have written one of them, and the oldest ones, because the rules of today may refuse them. What is being
// deleted comes first.
func pick(objects []*cluster.Object) []*cluster.Object {
	deleted := slices.DeleteFunc(slices.Clone(objects), func(o *cluster.Object) bool { return !o.Terminating() })
	if len(deleted) == 0 {
		deleted = objects
	}
	// Resource versions can be compared as numbers (https://kubernetes.io/docs/reference/using-api/api-concepts,
	// since 1.35; before it is so with etcd).
	version := func(o *cluster.Object) uint64 {
		n, _ := strconv.ParseUint(o.ResourceVersion, 10, 64) // another kind of server: the order does not matter
		return n
	}
	last := slices.SortedStableFunc(slices.Values(deleted),
		func(a, b *cluster.Object) int { return cmp.Compare(version(b), version(a)) })
	old := slices.SortedStableFunc(slices.Values(deleted),
		func(a, b *cluster.Object) int { return a.Created.Compare(b.Created) })
	var out []*cluster.Object
	for i := range min(maxOfClass, len(deleted)) {
		for _, o := range []*cluster.Object{old[i], last[i]} {
			if !slices.Contains(out, o) {
				out = append(out, o)
			}
		}
	}
	return out
}

// sample looks at some objects of each class. Those that nobody answers for, or a webhook refuses, are not asked for
// again.
func (a *asking) sample(ctx context.Context, samples *classes) error {
	o := a.obs
	first, more := samples.rounds()
	for _, round := range [][]probe{first, more} {
		found := make([]Sample, len(round))
		group, groupCtx := errgroup.WithContext(ctx)
		group.SetLimit(samplesAtOnce)
		for i, p := range round {
			before := o.Samples[p.class]
			group.Go(func() error {
				found[i] = a.look(groupCtx, p, !before.settled())
				return groupCtx.Err()
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		for i, p := range round {
			s := o.Samples[p.class]
			s.add(found[i])
			o.Samples[p.class] = s
		}
	}
	o.findSchemas(ctx, a.client)
	return ctx.Err()
}

// look reads one object whole and, if try is set, asks the server whether it would accept the
// removal of the finalizer, or the deletion.
func (a *asking) look(ctx context.Context, p probe, try bool) (s Sample) {
	t := p.object.Target()
	if p.class.Finalizer == "" {
		if try {
			return a.ask(ctx, question{p.object, "DELETE", "", func(ctx context.Context) error {
				return a.client.Delete(ctx, t, cluster.DeleteOptions{DryRun: true})
			}})
		}
		return s
	}
	full, err := a.client.Get(ctx, t, []string{"metadata", "managedFields"})
	if err != nil {
		return s // it is gone, or the user may not get it
	}
	s.Writes = writes(full, p.class.Finalizer)
	s.Untracked = len(s.Writes) == 0
	if !try || !full.Terminating() || !slices.Contains(full.Finalizers, p.class.Finalizer) {
		return s
	}
	full.Resource = p.object.Resource
	s.add(a.ask(ctx, question{full, "UPDATE", "", func(ctx context.Context) error {
		return a.client.StripFinalizers(ctx, t, full, []string{p.class.Finalizer}, true)
	}}))
	return s
}

// answered is what the server says to a write that is only tried.
func answered(o cluster.Ref, err error) Sample {
	s := Sample{tried: 1}
	switch {
	case err == nil, apierrors.IsNotFound(err), apierrors.IsConflict(err):
	case apierrors.IsForbidden(err) && lacksRight(err):
		// What this user may do is looked at for the whole plan.
	case strings.Contains(err.Error(), "does not support dry run"):
		// A webhook with side effects: only the write itself tells.
	case errors.Is(err, context.DeadlineExceeded), apierrors.IsTimeout(err):
		s.Unanswered, s.Refused = true, fmt.Sprintf("no answer within %s", sampleTime)
	default:
		s.Refused = err.Error()
	}
	if s.Refused != "" {
		s.refused = []cluster.Ref{o}
	}
	return s
}

// lacksRight tells whether RBAC refused, and not an admission plugin, whose
// refusals are Forbidden, too (k8s.io/apiserver v0.36.3
// pkg/endpoints/handlers/responsewriters/errors.go, forbiddenMessage).
func lacksRight(err error) bool {
	return slices.ContainsFunc([]string{"patch", "update", "create", "delete"},
		func(verb string) bool { return strings.Contains(err.Error(), "cannot "+verb+" resource") })
}

// writes returns what the managedFields of an object say, the last first.
func writes(o *cluster.Object, finalizer string) []Write {
	entries, _, _ := unstructured.NestedSlice(o.Body, "metadata", "managedFields")
	var out []Write
	for _, item := range entries {
		m, ok := item.(map[string]any)
		if !ok {
			continue
		}
		w := Write{Of: o.Name}
		w.Manager, _ = m["manager"].(string)
		text, _ := m["time"].(string)
		// An unreadable time stays zero: the write is an old one.
		w.At, _ = time.Parse(time.RFC3339, text)
		_, w.Holds, _ = unstructured.NestedFieldNoCopy(m, "fieldsV1", "f:metadata", "f:finalizers", `v:"`+finalizer+`"`)
		w.After = o.Terminating() && w.At.After(o.Deleting)
		out = append(out, w)
	}
	slices.SortStableFunc(out, func(a, b Write) int { return b.At.Compare(a.At) })
	return out
}
