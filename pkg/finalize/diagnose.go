// Package finalize finds out why a namespace is stuck in Terminating, and how to
// free it with the least force.
//
// It decides on snapshots alone, without a client and without the network:
// Diagnose names the causes, Plan and Phase turn them into what the engine does,
// rung by rung (see Rung), each rung only after the one before has had no effect.
//
// A Diagnosis marshals to JSON as a part of the documents Diagnosis and Report.
// Its fields are documented at the types: Diagnosis, Cause and what they hold.
package finalize

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// HelperAnnotation marks a namespace that was created to reach the orphans of a
// namespace of that name. Its value says why and by whom.
const HelperAnnotation = "castai.kubectl.dev/created-to-free-orphans"

// Diagnose says why the namespace does not go away. The snapshot must have been
// taken with a Scope that covers it. The error is for a snapshot from which
// nothing can be said: the namespaces themselves could not be read.
func Diagnose(snap *cluster.Snapshot, name string, o Options) (*Diagnosis, error) {
	if u := unreadable(snap, "namespaces"); u != nil {
		return nil, fmt.Errorf("namespace %s can't be judged, because namespaces can't be listed: %s", name, u.Message)
	}
	d := &Diagnosis{
		Namespace: name, State: Missing, ObservedAt: snap.Taken, server: snap.Server.Version, Causes: []Cause{},
	}
	for _, obj := range snap.Objects {
		if obj.Resource.Group == "" && obj.Resource.Kind == "Namespace" && obj.Name == name {
			d.object = obj
		}
		if obj.Namespace == name {
			d.objects = append(d.objects, obj)
			d.Content.Objects++
			if obj.Terminating() {
				d.Content.Terminating++
			}
		}
	}
	e := &examination{Diagnosis: d, snap: snap, options: o}
	e.findAPIs()
	if ns := d.object; ns != nil {
		d.UID, d.ResourceVersion, d.Since = ns.UID, ns.ResourceVersion, ns.Deleting
		d.State = Active
		if ns.Terminating() {
			d.State = Terminating
		}
		d.helper = ns.Annotations[HelperAnnotation] != ""
		d.MetadataFinalizers = ns.Finalizers
		d.SpecFinalizers, _, _ = unstructured.NestedStringSlice(ns.Body, "spec", "finalizers")
	}
	d.Refusal = e.refuse()
	if d.Refusal == nil || d.State == Terminating {
		e.findCauses()
	} else {
		d.Causes = []Cause{}
	}
	if d.object != nil {
		d.Conditions = conditions(d.object, d.Content)
	}
	d.Summary = summarize(d)
	return d, nil
}

// examination is the work on one diagnosis.
type examination struct {
	*Diagnosis
	snap    *cluster.Snapshot
	options Options
}

func (e *examination) add(c Cause) {
	if c.Objects == nil {
		c.Objects = groups(c.objects)
	}
	e.Causes = append(e.Causes, c)
}

func (e *examination) refuse() *Refusal {
	switch {
	case refuseProtected(e.Namespace) != nil:
		return refuseProtected(e.Namespace)
	case e.State == Active && !e.helper:
		return refuseActive(e.Namespace)
	case e.State == Missing && e.Content.Objects == 0:
		return refuseMissing(e.Namespace)
	}
	return nil
}

// findCauses looks for everything that may hold the namespace.
func (e *examination) findCauses() {
	e.findUnreadable()
	e.findPods()
	if e.State == Terminating {
		e.findNotDeleting()
	}
	e.findFinalizers()
	e.findWebhooks()
	if e.State == Terminating {
		e.findNamespaceFinalizers()
	} else {
		e.findOrphans()
	}
	if len(e.Causes) == 0 {
		e.add(Cause{
			Type: Progressing, Since: e.Since, Action: Wait,
			Summary: fmt.Sprintf("nothing holds namespace %s any more: the namespace controller has yet to notice", e.Namespace),
			Remedy:  "wait: it looks again at least once a minute",
		})
	}
	order := []Rung{RemoveAPIService, RemoveWebhook, DeletePods, DeleteContent, Wait, ClearFinalizers, Finalize, Sweep, Nothing}
	slices.SortStableFunc(e.Causes, func(a, b Cause) int {
		return slices.Index(order, a.Action) - slices.Index(order, b.Action)
	})
}

// findUnreadable names the resources of which nobody can say whether the
// namespace holds some. A resource that only this user may not list is no
// obstacle to the namespace controller, but to any certainty here.
func (e *examination) findUnreadable() {
	for _, u := range e.snap.Unreadable {
		r := e.resource(u.What)
		if u.GroupVersion != "" || r == nil || !r.Namespaced || e.explained(r) {
			continue
		}
		e.Content.Unknown = append(e.Content.Unknown, u.What)
		c := Cause{Type: UnreadableContent, Action: Nothing, Blocks: !u.Forbidden, Since: e.Since}
		c.Objects = []Group{{Group: r.Group, Kind: r.Kind, Resource: r.Name, Names: []string{}}}
		if u.Forbidden {
			c.Summary = fmt.Sprintf("you may not list %s, so nobody knows whether namespace %s holds some", u.What, e.Namespace)
			c.Remedy = "ask for the right to list them"
		} else {
			c.Summary = fmt.Sprintf("%s can't be listed, not even by the namespace controller: %s", u.What, u.Message)
			c.Remedy = "repair what serves them (a conversion webhook, or an aggregated API)"
		}
		c.Command = fmt.Sprintf("kubectl get %s -n %s", u.What, e.Namespace)
		e.add(c)
	}
}

// explained tells whether an unavailable API is the reason why a resource can't
// be listed.
func (e *examination) explained(r *cluster.Resource) bool {
	return slices.ContainsFunc(e.Causes, func(c Cause) bool { return c.API != nil && c.API.GroupVersion == r.APIVersion() })
}

func (e *examination) resource(groupResource string) *cluster.Resource {
	i := slices.IndexFunc(e.snap.Resources, func(r *cluster.Resource) bool { return r.GroupResource().String() == groupResource })
	if i < 0 {
		return nil
	}
	return e.snap.Resources[i]
}

// controllerDelay is how long the namespace controller may take by itself: it
// begins 5 s after the deletion, and looks again every few seconds while content
// remains (Kubernetes 1.36.3 pkg/controller/namespace/namespace_controller.go,
// namespaceDeletionGracePeriod and worker).
const controllerDelay = 3 * namespaceGracePeriod

// findNotDeleting finds the objects that nobody has asked to go.
func (e *examination) findNotDeleting() {
	var rest []*cluster.Object
	for _, o := range e.objects {
		if !o.Terminating() {
			rest = append(rest, o)
		}
	}
	if len(rest) == 0 {
		return
	}
	c := Cause{Type: NotDeleting, Action: Wait, Since: e.Since, objects: rest}
	what := describe(rest)
	pods := slices.ContainsFunc(e.objects, isPod)
	switch {
	case !slices.Contains(e.SpecFinalizers, "kubernetes"):
		// The controller returns at finalized() without looking at the content
		// (Kubernetes 1.36.3 pkg/controller/namespace/deletion, Delete).
		c.Action = DeleteContent
		c.Summary = fmt.Sprintf("%s will never be deleted: the namespace was finalized before, so the namespace controller skips its content", what)
		c.Remedy = "delete them"
		c.Command = fmt.Sprintf("kubectl delete %s -n %s", typeName(rest[0]), e.Namespace)
	case pods:
		c.Summary = fmt.Sprintf("%s: not deleted yet, because pods remain, and the namespace controller removes pods first", what)
		c.Remedy = "nothing: they follow the pods"
	case !e.Since.IsZero() && e.options.now().Sub(e.Since) < controllerDelay:
		c.Summary = fmt.Sprintf("%s: not deleted yet, the namespace was deleted only now", what)
		c.Remedy = "wait: the namespace controller is at it"
		c.Until = e.Since.Add(controllerDelay)
	default:
		c.Summary = fmt.Sprintf("%s: not deleted yet, the namespace controller has not got to them", what)
		c.Remedy = "make the namespace controller look again; if nothing changes, kube-controller-manager may not be running"
	}
	e.add(c)
}

// findFinalizers groups objects by the finalizers that hold them, or will hold
// them once they are deleted.
func (e *examination) findFinalizers() {
	type key struct {
		finalizer      string
		allowed, later bool
	}
	held := map[key][]*cluster.Object{}
	var keys []key
	for _, o := range e.objects {
		for _, f := range o.Finalizers {
			k := key{f, e.options.allows(o, f), e.State != Missing && !o.Terminating()}
			if held[k] == nil {
				keys = append(keys, k)
			}
			held[k] = append(held[k], o)
		}
	}
	slices.SortStableFunc(keys, func(a, b key) int { return strings.Compare(a.finalizer, b.finalizer) })
	for _, k := range keys {
		e.addFinalizer(k.finalizer, k.allowed, k.later, held[k])
	}
}

func (e *examination) addFinalizer(finalizer string, allowed, later bool, objects []*cluster.Object) {
	c := Cause{
		Type: Finalizer, Finalizer: finalizer, objects: objects, Since: oldest(objects),
		Controller: controller(e.snap, finalizer, objects),
		Command:    stripCommand(objects[0], []string{finalizer}),
	}
	verb := "wait"
	if len(objects) == 1 {
		verb = "waits"
	}
	tense := "should have removed"
	if later {
		verb, tense = "will wait", "should remove"
	}
	c.Summary = fmt.Sprintf("%s %s for the finalizer %s, which %s %s", describe(objects), verb, finalizer, c.Controller.Name, tense)
	if c.Controller.Evidence != "" {
		c.Summary += " (" + c.Controller.Evidence + ")"
	}
	k, _ := lookUp(finalizer)
	switch {
	case !allowed:
		c.Action = Nothing
		c.Remedy = fmt.Sprintf("the finalizer stays: it was not allowed to remove %s", finalizer)
	case later:
		c.Action, c.later = Wait, true
		c.Remedy = "remove this finalizer when they are being deleted, if nobody else does"
	case k.afterPods && slices.ContainsFunc(e.objects, isPod):
		c.Action, c.Remedy = Wait, "wait: it goes by itself when the pods are gone"
	case k.afterOthers && e.othersHeld(objects):
		c.Action, c.Remedy = Wait, "wait: it goes by itself when the objects that it waits for are gone"
	case (c.Controller.Alive == Alive && len(k.workloads) > 0 || k.slow) && e.options.now().Before(c.Since.Add(e.options.controllerPatience())):
		c.Action, c.Until = Wait, c.Since.Add(e.options.controllerPatience())
		c.Remedy = fmt.Sprintf("wait until %s: its controller may be at it", c.Until.UTC().Format("15:04:05 MST"))
	default:
		c.Action, c.Remedy = ClearFinalizers, "remove this finalizer"
		if c.Controller.Guards != "" {
			c.Remedy += "; it protects " + c.Controller.Guards
		}
	}
	e.add(c)
}

// othersHeld tells whether further objects have finalizers.
func (e *examination) othersHeld(objects []*cluster.Object) bool {
	return slices.ContainsFunc(e.objects, func(o *cluster.Object) bool {
		return len(o.Finalizers) > 0 && !slices.Contains(objects, o)
	})
}

// findNamespaceFinalizers looks at the finalizers of the namespace object. Its
// metadata.finalizers hold it after the namespace controller is done (Kubernetes
// 1.36.3 pkg/registry/core/namespace/storage, ShouldDeleteNamespaceDuringUpdate).
func (e *examination) findNamespaceFinalizers() {
	for _, list := range []struct {
		kind  CauseType
		field string
		names []string
	}{
		{SpecFinalizer, "spec.finalizers", e.SpecFinalizers},
		{MetadataFinalizer, "metadata.finalizers", e.MetadataFinalizers},
	} {
		for _, f := range list.names {
			if list.kind == SpecFinalizer && f == "kubernetes" {
				continue
			}
			c := Cause{
				Type: list.kind, Finalizer: f, Since: e.Since, objects: []*cluster.Object{e.object},
				Controller: controller(e.snap, f, []*cluster.Object{e.object}),
				Command:    finalizeCommand(e.Namespace), Action: Finalize,
				Remedy: "finalize the namespace when it is empty",
			}
			c.Summary = fmt.Sprintf("the namespace itself has the finalizer %s in %s, which %s should have removed", f, list.field, c.Controller.Name)
			if !e.options.allows(e.object, f) {
				c.Action, c.Remedy = Nothing, "the finalizer stays: it was not allowed to remove "+f
			}
			e.add(c)
		}
	}
}

// findOrphans is for objects whose namespace is not there.
func (e *examination) findOrphans() {
	if len(e.objects) == 0 && !e.helper {
		return
	}
	c := Cause{Type: Orphans, Action: Sweep, Since: oldest(e.objects), objects: e.objects}
	switch {
	case e.helper:
		c.Summary = fmt.Sprintf("namespace %s was created to free orphaned objects, and has not been deleted again", e.Namespace)
		c.Remedy = "delete it again, and what is in it"
		c.Command = "kubectl delete namespace " + e.Namespace
	default:
		c.Summary = fmt.Sprintf("there is no namespace %s, but %s in it", e.Namespace, describe(e.objects))
		c.Remedy = "delete them" + e.recreateNote()
		c.Command = "kubectl create namespace " + e.Namespace
	}
	e.add(c)
}

func (e *examination) recreateNote() string {
	if updatesInMissing(e.server) || !slices.ContainsFunc(e.objects, func(o *cluster.Object) bool { return len(o.Finalizers) > 0 }) {
		return ""
	}
	return "; to remove their finalizers, create the namespace again, and delete it afterwards"
}

// summarize puts the diagnosis into a sentence.
func summarize(d *Diagnosis) string {
	if d.Refusal != nil {
		return d.Refusal.Message
	}
	kinds := map[CauseType]bool{}
	for _, c := range d.Causes {
		kinds[c.Type] = true
	}
	if kinds[Progressing] {
		return d.Causes[0].Summary
	}
	if d.State != Terminating {
		return fmt.Sprintf("namespace %s is gone, but %s left in it: %s", d.Namespace, areIs(len(d.objects)), describe(d.objects))
	}
	var why []string
	for _, c := range d.Causes {
		why = append(why, c.Summary)
	}
	if len(why) > 4 {
		why = append(why[:3], fmt.Sprintf("%d more causes", len(why)-3))
	}
	return fmt.Sprintf("namespace %s is stuck: %s", d.Namespace, strings.Join(why, "; "))
}

func areIs(n int) string {
	if n == 1 {
		return "1 object is"
	}
	return fmt.Sprintf("%d objects are", n)
}
