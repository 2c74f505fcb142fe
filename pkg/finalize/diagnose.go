// Package finalize finds out why a namespace is stuck in Terminating, and how to
// free it with the least force.
//
// Observe reads the cluster. All else decides on what it saw, without the network:
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
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// HelperAnnotation marks a namespace that was created to reach the orphans of a
// namespace of that name. Its value says why and by whom.
const HelperAnnotation = "castai.kubectl.dev/created-to-free-orphans"

// Diagnose says why the namespace, which must be one of those observed, does not go
// away. The error is for an observation from which nothing can be said: the
// namespaces themselves could not be read, a Refusal if this user may not.
func Diagnose(obs *Observation, name string, o Options) (*Diagnosis, error) {
	snap := obs.Snapshot
	if u := unreadable(snap, "namespaces"); u != nil {
		return nil, refuseUnreadable("namespace "+name, u)
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
	e := &examination{Diagnosis: d, snap: snap, obs: obs, options: o, owners: owners{obs, o.Known}}
	d.may = map[*cluster.Object][]string{}
	read := e.stored()
	e.findAPIs()
	if ns := d.object; ns != nil {
		d.UID, d.ResourceVersion, d.Since = ns.UID, ns.ResourceVersion, ns.Deleting
		d.State = Active
		if ns.Terminating() {
			d.State = Terminating
		}
		d.helper = ns.Annotations[HelperAnnotation] != ""
		d.MetadataFinalizers = ns.Finalizers
		d.SpecFinalizers = specFinalizers(ns)
	}
	if d.object != nil {
		d.Conditions = conditions(d.object, d.Content)
	}
	d.Unseen, d.Volumes = e.unseen(), volumesOf(snap, func(ns string) bool { return ns == name })
	d.Refusal = e.refuse()
	if d.Refusal == nil || d.State == Terminating {
		e.findCauses(read)
	} else {
		e.findUnreadable(read) // for what is not known
		d.Causes = []Cause{}
		if d.State == Missing && len(d.Content.Unknown) > 0 {
			d.Refusal = refuseUnread(name, d.Content.Unknown)
		}
	}
	d.Summary = summarize(d)
	return d, nil
}

// examination is the work on one diagnosis.
type examination struct {
	*Diagnosis
	snap    *cluster.Snapshot
	obs     *Observation
	options Options
	owners  owners
}

func (e *examination) add(c Cause) {
	if c.Objects == nil {
		c.Objects = groups(c.objects)
	}
	e.Causes = append(e.Causes, c)
}

func (e *examination) refuse() *Refusal {
	protected := refuseProtected(e.Namespace, e.State)
	switch {
	case protected != nil:
		return protected
	case e.State == Active && !e.helper:
		return refuseActive(e.Namespace)
	case e.State == Missing && e.Content.Objects == 0:
		return refuseMissing(e.Namespace, e.Volumes)
	}
	return nil
}

// findCauses looks for everything that may hold the namespace.
func (e *examination) findCauses(read map[string]bool) {
	e.findUnreadable(read)
	e.findPods()
	if e.State == Terminating {
		e.findNotDeleting()
	}
	e.findFinalizers()
	e.findWebhooks()
	e.findConversions()
	e.findRefusals()
	if e.State == Terminating {
		e.findNamespaceFinalizers()
		e.finishProven()
		e.findContradiction()
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
	e.findRefusedEnd()
	e.sortCauses()
}

// sortCauses puts those first that need the least force.
func (e *examination) sortCauses() {
	order := []Rung{RemoveAPIService, RemoveWebhook, RelaxSchema, DeletePods, DeleteContent, Wait, ClearFinalizers,
		Finalize, Sweep, Nothing}
	if e.State == Missing && !updatesInMissing(e.server) { // without the namespace, nothing else is possible
		order = slices.Insert(order, 0, Sweep)
	}
	slices.SortStableFunc(e.Causes, func(a, b Cause) int {
		return slices.Index(order, a.Action) - slices.Index(order, b.Action)
	})
}

// unseen names what was to be read in the whole cluster and could not be.
func (e *examination) unseen() []string {
	var out []string
	for _, kind := range e.snap.Scope.Whole {
		if unreadable(e.snap, kind) != nil || slices.Contains(e.snap.Elsewhere, kind) {
			out = append(out, kind)
		}
	}
	return out
}

// findContradiction says that the conditions of the namespace name content where
// none is seen. Whoever is wrong, such a namespace is not known to be empty. The
// conditions of one that was finalized in part are never written again (Kubernetes
// 1.36.3 pkg/controller/namespace/deletion, Delete returns at finalized()).
func (e *examination) findContradiction() {
	says := e.contradictions()
	if len(says) == 0 {
		return
	}
	e.contradicted = true
	e.add(Cause{
		Type: Contradiction, Action: Wait, Since: e.Since,
		Summary: fmt.Sprintf("nothing is seen in namespace %s, but its conditions say otherwise (%s)", e.Namespace,
			strings.Join(says, "; ")),
		Remedy: "wait until the namespace controller has looked again: as long as it says so, the namespace is not " +
			"finalized",
		Look: fmt.Sprintf("kubectl get namespace %s -o jsonpath={.status.conditions}", e.Namespace),
	})
}

// contradictions are the conditions that name content where none is seen.
func (e *examination) contradictions() []string {
	if !e.empty() || !slices.Contains(e.SpecFinalizers, "kubernetes") {
		return nil
	}
	var says []string
	for _, c := range e.Conditions {
		if c.remaining() && !e.known(c) {
			says = append(says, fmt.Sprintf("%s: %s", c.Type, c.Message))
		}
	}
	return says
}

// known tells whether a condition says no more than what a cause explains: which
// groups can't be discovered, or which conversion does not work.
func (e *examination) known(c Condition) bool {
	switch c.Type {
	case "NamespaceDeletionDiscoveryFailure":
		for gv := range c.Groups {
			if !slices.Contains(e.proven, gv) {
				return false
			}
		}
		return len(c.Groups) > 0
	case "NamespaceDeletionContentFailure":
		return len(e.obs.Conversions) > 0 && strings.Contains(c.Message, conversionFailed)
	}
	return false
}

// findUnreadable names the resources of which nobody can say whether the
// namespace holds some. A resource that only this user may not list is no
// obstacle to the namespace controller, but to any certainty here.
func (e *examination) findUnreadable(read map[string]bool) {
	for _, u := range e.snap.Unreadable {
		r := e.obs.resource(u.What)
		if u.GroupVersion != "" || r == nil || !r.Namespaced || e.explained(r) || read[u.What] {
			continue
		}
		e.Content.Unknown = append(e.Content.Unknown, u.What)
		if _, converted := read[u.What]; converted {
			continue // the cause says it all
		}
		if service := e.obs.aggregated(r); service != nil && !u.Forbidden {
			e.addAPIService(service, &API{GroupVersion: r.APIVersion(), Message: fmt.Sprintf("it does not list %s: %s",
				u.What, u.Message)})
			continue
		}
		c := Cause{Type: UnreadableContent, Action: Nothing, Blocks: !u.Forbidden, Since: e.Since}
		c.Objects = []Group{{Group: r.Group, Kind: r.Kind, Resource: r.Name, Names: []string{}}}
		if u.Forbidden {
			c.Summary = fmt.Sprintf("you may not list %s, so nobody knows whether namespace %s holds some", u.What, e.Namespace)
			c.Remedy = "ask for the right to list them"
		} else {
			c.Summary = fmt.Sprintf("%s can't be listed, not even by the namespace controller: %s", u.What, u.Message)
			c.Remedy = unreadableRemedy(u)
		}
		c.Look = fmt.Sprintf("kubectl get %s -n %s", u.What, e.Namespace)
		e.add(c)
	}
}

// unreadableRemedy is what helps against objects that can't be listed.
func unreadableRemedy(u cluster.Unreadable) string {
	switch {
	case strings.Contains(u.Message, conversionFailed):
		return "repair the conversion webhook of the CustomResourceDefinition " + u.What
	case slices.ContainsFunc([]string{"decode", "transform", "unmarshal", "no kind"},
		func(s string) bool { return strings.Contains(u.Message, s) }):
		// Kubernetes 1.36.3, feature AllowUnsafeMalformedObjectDeletion.
		return "an object in the database can't be decoded: restore the encryption key or the API that wrote it, or, " +
			"where the server has " +
			"AllowUnsafeMalformedObjectDeletion, delete it with kubectl delete " +
			"--ignore-store-read-error-with-cluster-breaking-potential"
	}
	return "repair what serves them"
}

// explained tells whether an unavailable API is the reason why a resource can't
// be listed.
func (e *examination) explained(r *cluster.Resource) bool {
	return slices.ContainsFunc(e.Causes, func(c Cause) bool {
		return c.API != nil &&
			c.API.GroupVersion == r.APIVersion()
	})
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
	controlled := slices.Contains(e.SpecFinalizers, "kubernetes")
	if controlled && ordersDeletion(e.server) && slices.ContainsFunc(e.objects, isPod) {
		pods := slices.DeleteFunc(slices.Clone(rest), func(o *cluster.Object) bool { return !isPod(o) })
		e.addAfterPods(slices.DeleteFunc(rest, isPod))
		if rest = pods; len(rest) == 0 {
			return
		}
	}
	c := Cause{Type: NotDeleting, Action: Wait, Since: e.Since, objects: rest}
	what := describe(rest)
	refused, denied := e.contentFailure(rest)
	switch {
	case !controlled:
		// The controller returns at finalized() without looking at the content
		// (Kubernetes 1.36.3 pkg/controller/namespace/deletion, Delete).
		c.Action = DeleteContent
		c.Summary = fmt.Sprintf("%s will never be deleted: the namespace was finalized before, so the namespace "+
			"controller skips its content", what)
		c.Remedy = "delete them"
		c.Command = fmt.Sprintf("kubectl delete %s -n %s", typeName(rest[0]), e.Namespace)
	case len(e.obs.Conversions) > 0:
		c.Summary = fmt.Sprintf("%s: not deleted yet, the namespace controller hangs on a conversion webhook", what)
		c.Remedy = "nothing: they are deleted when the conversion works"
	case refused != "":
		r := e.readRefusal(refused, rest[0])
		c.Summary = fmt.Sprintf("%s: the namespace controller can't delete them, %s refuses it: %s", what, r.what, refused)
		c.Remedy, c.Command, c.Look = r.remedy, r.command, r.look
		if denied {
			c.Action, c.Blocks = Nothing, true
		}
	case !e.Since.IsZero() && e.options.now().Sub(e.Since) < controllerDelay:
		c.Summary = fmt.Sprintf("%s: not deleted yet, the namespace was deleted only now", what)
		c.Remedy = "wait: the namespace controller is at it"
		c.Until = e.Since.Add(controllerDelay)
	default:
		c.Summary = fmt.Sprintf("%s: not deleted yet, the namespace controller has not got to them", what)
		c.Remedy = "make the namespace controller look again; " + e.controllerManager()
	}
	e.add(c)
}

// addAfterPods is for what the namespace controller deletes only when no pods are left.
func (e *examination) addAfterPods(rest []*cluster.Object) {
	if len(rest) == 0 {
		return
	}
	e.add(Cause{
		Type: NotDeleting, Action: Wait, Since: e.Since, objects: rest,
		Summary: fmt.Sprintf("%s: not deleted yet, because pods remain, and the namespace controller removes pods "+
			"first", describe(rest)),
		Remedy: "nothing: they follow the pods",
	})
}

// contentFailure returns why the namespace controller could not delete content, if
// it says so, and whether the server still refuses that: the condition stays until
// the controller looks again.
func (e *examination) contentFailure(rest []*cluster.Object) (message string, denied bool) {
	for _, c := range e.Conditions {
		if c.Type != "NamespaceDeletionContentFailure" || c.Status != "True" {
			continue
		}
		for _, o := range rest {
			if s := e.obs.Samples[classOf(o, "")]; s.Refused != "" {
				return s.Refused, true
			}
		}
		return contentFailure.ReplaceAllString(c.Message, ""), false
	}
	return "", false
}

// controllerManager says whether the process of the namespace controller runs, from
// the Lease by which it elects its leader.
func (e *examination) controllerManager() string {
	lease := e.obs.Manager
	if lease == nil {
		return "if nothing changes, kube-controller-manager may not be running"
	}
	at, _, _ := unstructured.NestedString(lease.Body, "spec", "renewTime")
	if renewed(lease, e.snap.Taken) {
		return "kube-controller-manager runs: its Lease was renewed at " + at
	}
	return fmt.Sprintf("kube-controller-manager does not run: its Lease %s was last renewed at %s", lease.Ref(), at)
}

// ordersDeletion tells whether the namespace controller of a server removes pods
// before all else: by default since 1.33 (OrderedNamespaceDeletion, Kubernetes 1.36.3
// pkg/features/kube_features.go).
func ordersDeletion(server string) bool {
	v, err := version.ParseGeneric(server)
	return err == nil && v.AtLeast(version.MajorMinor(1, 33))
}

// findOrphans is for objects whose namespace is not there.
func (e *examination) findOrphans() {
	if len(e.objects) == 0 && !e.helper {
		return
	}
	c := Cause{Type: Orphans, Action: Sweep, Since: oldest(e.objects), objects: e.objects}
	switch {
	case e.helper:
		c.Summary = fmt.Sprintf("namespace %s was created to free orphaned objects, and has not been deleted again",
			e.Namespace)
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
	if updatesInMissing(e.server) || !slices.ContainsFunc(e.objects,
		func(o *cluster.Object) bool { return len(o.Finalizers) > 0 }) {
		return ""
	}
	return fmt.Sprintf("; to remove their finalizers, create the namespace again, and delete it afterwards with kubectl "+
		"delete namespace %s", e.Namespace)
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
	if kinds[Progressing] && len(d.Causes) == 1 {
		return d.Causes[0].Summary
	}
	if d.State != Terminating {
		return fmt.Sprintf("namespace %s is gone, but %s left in it: %s", d.Namespace, areIs(len(d.objects)),
			describe(d.objects))
	}
	var why []string
	for _, c := range d.Causes {
		why = append(why, c.Summary)
	}
	if len(why) > 4 {
		why = append(why[:3], fmt.Sprintf("%d more causes", len(why)-3))
	}
	if !d.Stuck() {
		return fmt.Sprintf("%s is on its way: %s", d.Title(), strings.Join(why, "; "))
	}
	return fmt.Sprintf("%s is stuck: %s", d.Title(), strings.Join(why, "; "))
}

func areIs(n int) string {
	if n == 1 {
		return "1 object is"
	}
	return fmt.Sprintf("%d objects are", n)
}
