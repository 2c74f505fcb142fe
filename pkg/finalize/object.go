package finalize

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Finalizers of Kubernetes' own that protect something which can be looked at
// (k8s.io/apimachinery v0.36.3 pkg/apis/meta/v1, Kubernetes 1.36.3
// pkg/volume/util/finalizer.go, k8s.io/apiextensions-apiserver v0.36.3).
const (
	pvcProtection   = "kubernetes.io/pvc-protection"
	pvProtection    = "kubernetes.io/pv-protection"
	foreground      = "foregroundDeletion"
	orphanDependent = "orphan"
	cleanUpCustom   = "customresourcecleanup.apiextensions.k8s.io"
)

const claims = "persistentvolumeclaims"

// ObserveObject reads what DiagnoseObject needs to judge one object: the object, what
// it waits for, and what may refuse a change of it. What can't be read is named in the
// result. The error is for a server that can't be reached, or an object that can't be
// read.
func ObserveObject(ctx context.Context, c Reader, t cluster.Target) (*Observation, error) {
	there, err := c.Get(ctx, t)
	converts := err != nil && strings.Contains(err.Error(), conversionFailed)
	if err != nil && !apierrors.IsNotFound(err) && !converts {
		return nil, fmt.Errorf("can't read %s: %w", t.Ref, err)
	}
	snap, err := c.Snapshot(ctx, objectScope(t, there))
	if err != nil {
		return nil, err
	}
	o := &Observation{Snapshot: snap, Samples: map[Class]Sample{}}
	if there != nil && unreadable(snap, kindOf(t)) != nil {
		o.Objects = append(o.Objects, there) // one may be read where a list may not
	}
	if t.Namespace != "" {
		if err := o.readNamespaces(ctx, c, []string{t.Namespace}); err != nil {
			return nil, err
		}
	}
	if converts || o.conversionFails() {
		if err := o.findConversions(ctx, c); err != nil {
			return nil, err
		}
	}
	o.findRelaxed(ctx, c)
	samples := &classes{}
	for _, obj := range inside(o, t) {
		for _, f := range obj.Finalizers {
			samples.add(classOf(obj, f), obj)
		}
	}
	if len(samples.order) == 0 {
		return o, nil
	}
	if err := o.findOwners(ctx, c); err != nil {
		return nil, err
	}
	return o, (&asking{obs: o, client: c}).sample(ctx, samples)
}

// objectScope is what a snapshot must hold to judge one object. Dependents of it may be
// of any kind, in its namespace or, if it has none, in any (Kubernetes 1.36.3
// pkg/controller/garbagecollector).
func objectScope(t cluster.Target, o *cluster.Object) cluster.Scope {
	s := Scope()
	if t.Namespace != "" {
		s.Namespaces = []string{t.Namespace}
	}
	s.Bodies["pods"] = append(s.Bodies["pods"], []string{"status", "phase"})
	if o != nil && waitsForDependents(o) {
		return s
	}
	s.Kinds = append(slices.Clone(s.Whole), kindOf(t))
	switch {
	case t.Namespace != "":
		s.Kinds = append(s.Kinds, "pods", claims)
	case isDefinition(t.Ref):
		s.Kinds = append(s.Kinds, t.Name)
	default:
		s.Kinds = append(s.Kinds, claims)
	}
	return s
}

func waitsForDependents(o *cluster.Object) bool {
	return slices.Contains(o.Finalizers, foreground) || slices.Contains(o.Finalizers, orphanDependent)
}

// kindOf returns plural.group.
func kindOf(t cluster.Target) string { return t.GVR().GroupResource().String() }

func isDefinition(r cluster.Ref) bool {
	return r.Group == "apiextensions.k8s.io" && r.Kind == "CustomResourceDefinition"
}

func isClaim(o *cluster.Object) bool { return o.Resource.GroupResource().String() == claims }

// subject returns the object that t names, or nil.
func subject(o *Observation, t cluster.Target) *cluster.Object {
	is := func(obj *cluster.Object) bool {
		return obj.Name == t.Name && obj.Namespace == t.Namespace && obj.Resource.GroupResource().String() == kindOf(t)
	}
	if i := slices.IndexFunc(o.Objects, is); i >= 0 {
		return o.Objects[i]
	}
	for _, c := range o.Conversions {
		if i := slices.IndexFunc(c.Objects, is); i >= 0 {
			return c.Objects[i]
		}
	}
	return nil
}

// inside returns an object and what has to go before it can, and is being deleted with
// it: the custom resources of a definition, the dependents of an owner, the pods that
// still hold a claim.
func inside(o *Observation, t cluster.Target) []*cluster.Object {
	s := subject(o, t)
	if s == nil {
		return nil
	}
	out := []*cluster.Object{s}
	switch {
	case isDefinition(t.Ref):
		out = append(out, customResources(o, t.Name)...)
	case isClaim(s):
		for _, pod := range podsOf(o, s) {
			if pod.Terminating() {
				out = append(out, pod)
			}
		}
	}
	if slices.Contains(s.Finalizers, foreground) {
		out = append(out, dependents(o, s, true)...)
	}
	return out
}

// customResources returns the objects of a definition.
func customResources(o *Observation, definition string) []*cluster.Object {
	var out []*cluster.Object
	for _, obj := range o.Objects {
		if obj.Resource.GroupResource().String() == definition {
			out = append(out, obj)
		}
	}
	for _, c := range o.Conversions {
		if c.Definition == definition && len(out) == 0 {
			out = append(out, c.Objects...)
		}
	}
	return out
}

// podsOf returns the pods that may use a claim: those that mount it and have not ended
// (Kubernetes 1.36.3 pkg/controller/volume/pvcprotection).
func podsOf(o *Observation, claim *cluster.Object) []*cluster.Object {
	return slices.DeleteFunc(slices.Clone(o.Objects), func(obj *cluster.Object) bool {
		if !isPod(obj) || obj.Namespace != claim.Namespace || !slices.Contains(claimsOf(obj), claim.Name) {
			return true
		}
		phase, _, _ := unstructured.NestedString(obj.Body, "status", "phase")
		return phase == "Succeeded" || phase == "Failed"
	})
}

// claimsOf returns the names of the claims that a pod mounts, those of its generic
// ephemeral volumes included: POD-VOLUME (k8s.io/component-helpers
// storage/ephemeral).
func claimsOf(pod *cluster.Object) []string {
	volumes, _, _ := unstructured.NestedSlice(pod.Body, "spec", "volumes")
	var out []string
	for _, item := range volumes {
		v, ok := item.(map[string]any)
		if !ok {
			continue
		}
		if name, _, _ := unstructured.NestedString(v, "persistentVolumeClaim", "claimName"); name != "" {
			out = append(out, name)
		}
		if name, _ := v["name"].(string); v["ephemeral"] != nil {
			out = append(out, pod.Name+"-"+name)
		}
	}
	return out
}

// dependents returns all that an object owns, directly or not, or that blocks its
// deletion in the foreground.
func dependents(o *Observation, owner *cluster.Object, blocking bool) []*cluster.Object {
	owned := map[types.UID][]*cluster.Object{}
	for _, obj := range o.Objects {
		for _, ref := range obj.Owners {
			if !blocking || ref.BlockOwnerDeletion != nil && *ref.BlockOwnerDeletion {
				owned[ref.UID] = append(owned[ref.UID], obj)
			}
		}
	}
	var out []*cluster.Object
	seen := map[types.UID]bool{owner.UID: true}
	for next := []*cluster.Object{owner}; len(next) > 0; next = next[1:] {
		for _, obj := range owned[next[0].UID] {
			if !seen[obj.UID] {
				seen[obj.UID] = true
				out, next = append(out, obj), append(next, obj)
			}
		}
	}
	return out
}

// boundClaim returns the claim that a volume is bound to, or nil.
func boundClaim(o *Observation, volume *cluster.Object) *cluster.Object {
	text := func(field string) string {
		s, _, _ := unstructured.NestedString(volume.Body, "spec", "claimRef", field)
		return s
	}
	i := slices.IndexFunc(o.Objects, func(obj *cluster.Object) bool {
		return isClaim(obj) && obj.Namespace == text("namespace") && obj.Name == text("name") &&
			(text("uid") == "" || string(obj.UID) == text("uid"))
	})
	if i < 0 {
		return nil
	}
	return o.Objects[i]
}

// DiagnoseObject says why the object that t names does not go away. The error is for an
// observation from which nothing can be said: its kind could not be read.
func DiagnoseObject(obs *Observation, t cluster.Target, o Options) (*Diagnosis, error) {
	snap, ref := obs.Snapshot, t.Ref
	d := &Diagnosis{
		Namespace: t.Namespace, Object: &ref, State: Missing, ObservedAt: snap.Taken, server: snap.Server.Version,
		Causes: []Cause{}, subject: subject(obs, t), may: map[*cluster.Object][]string{},
	}
	if d.subject == nil {
		if u := unreadable(snap, kindOf(t)); u != nil {
			return nil, refuseUnreadable(t.Ref.String(), u)
		}
		d.Refusal = &Refusal{d.Title(), NotFound, fmt.Sprintf("there is no %s: kubectl get %s%s lists the ones there are",
			t.Ref, kindOf(t), inNamespace(t.Namespace))}
		d.Summary = d.Refusal.Message
		return d, nil
	}
	s := d.subject
	d.UID, d.ResourceVersion, d.Since, d.State = s.UID, s.ResourceVersion, oldest([]*cluster.Object{s}), Active
	if s.Terminating() {
		d.State = Terminating
	}
	d.objects = inside(obs, t)
	for _, obj := range d.objects[1:] {
		d.Content.Objects++
		if obj.Terminating() {
			d.Content.Terminating++
		}
	}
	e := &examination{Diagnosis: d, snap: snap, obs: obs, options: o, owners: owners{obs, o.Known}}
	d.object = obs.namespace(t.Namespace)
	d.Unseen = e.unseen()
	if d.Refusal = e.refuseObject(t); d.Refusal == nil {
		e.findPods()
		e.findDependentsLeft()
		e.findFinalizers()
		e.findWebhooks()
		e.findConversions()
		e.findRefusals()
		if len(e.Causes) == 0 {
			e.add(Cause{Type: Progressing, Since: e.Since, Action: Wait,
				Summary: fmt.Sprintf("nothing holds %s any more: the API server is about to remove it", d.Title()),
				Remedy:  "wait"})
		}
		e.sortCauses()
	}
	d.Summary = summarize(d)
	return d, nil
}

// refuseObject returns why an object is not touched, whatever holds it.
func (e *examination) refuseObject(t cluster.Target) *Refusal {
	switch {
	case e.State == Active:
		return &Refusal{e.Title(), NotTerminating, fmt.Sprintf(
			"%s is not being deleted, so its finalizers stay: delete it first, with kubectl delete %s%s", e.Title(),
			typeName(e.subject), inNamespace(t.Namespace))}
	case t.Namespace != "" && e.object == nil && unreadable(e.snap, "namespaces") == nil:
		// NamespaceLifecycle admits no update there; see updatesInMissing.
		return &Refusal{e.Title(), NotFound, fmt.Sprintf(
			"the namespace of %s is gone: %s frees all that is left in it", e.Title(), program("unstick-ns "+t.Namespace))}
	}
	return nil
}

// findDependentsLeft finds what has to go first and that nobody has asked to go.
func (e *examination) findDependentsLeft() {
	rest := slices.DeleteFunc(slices.Clone(e.objects), func(o *cluster.Object) bool { return o.Terminating() })
	if len(rest) == 0 {
		return
	}
	who := "the garbage collector of kube-controller-manager"
	if isDefinition(e.subject.Ref()) {
		who = "kube-apiserver"
	}
	e.add(Cause{
		Type: NotDeleting, Action: Wait, Since: e.Since, objects: rest,
		Summary: fmt.Sprintf("%s: not deleted yet, %s has not got to them", describe(rest), who),
		Remedy:  "wait for " + who,
	})
}

// protected returns what a finalizer of Kubernetes' own protects of the object, and why
// that can't be said where it can't.
func (e *examination) protected(finalizer string) (what []*cluster.Object, unknown string) {
	unlisted := func(kind string) string {
		if u := unreadable(e.snap, kind); u != nil {
			return fmt.Sprintf("%s can't be listed: %s", u.What, u.Message)
		}
		return ""
	}
	switch finalizer {
	case pvcProtection:
		return podsOf(e.obs, e.subject), unlisted("pods")
	case pvProtection:
		if claim := boundClaim(e.obs, e.subject); claim != nil {
			what = append(what, claim)
		}
		return what, unlisted(claims)
	case cleanUpCustom:
		return e.objects[1:], unlisted(e.subject.Name)
	case foreground, orphanDependent:
		for _, u := range e.snap.Unreadable {
			unknown = fmt.Sprintf("%s can't be listed: %s", u.What, u.Message)
		}
		return dependents(e.obs, e.subject, finalizer == foreground), unknown
	}
	return nil, ""
}

// decideProtected decides about a finalizer of Kubernetes' own on the object that is to
// be freed, as long as what it protects is there, or may be. It tells whether it did.
func (e *examination) decideProtected(c *Cause, named bool) bool {
	if e.subject == nil || !c.Controller.builtIn || c.Controller.Guards == "" || c.objects[0] != e.subject {
		return false
	}
	what, unknown := e.protected(c.Finalizer)
	within := !slices.ContainsFunc(what, func(o *cluster.Object) bool { return !slices.Contains(e.objects, o) })
	going := !slices.ContainsFunc(what, func(o *cluster.Object) bool { return !o.Terminating() })
	switch {
	case named && (c.Finalizer == foreground || c.Finalizer == orphanDependent):
		c.Action = ClearFinalizers // what it protects goes, or stays, without it
		c.Remedy = "remove this finalizer; it protects " + c.Controller.Guards
	case len(what) > 0 && within:
		c.Action, c.later = Wait, true
		c.Remedy = fmt.Sprintf("wait: it goes by itself when %s gone", isAre(what))
	case len(what) > 0 && going && isClaim(what[0]):
		c.Action, c.later, c.Blocks, c.itself = Nothing, true, true, true
		c.Remedy = fmt.Sprintf("free the claim first, it goes by itself then: %s", program("unstick "+typeName(what[0])+
			inNamespace(what[0].Namespace)))
	case len(what) > 0:
		c.Action, c.Blocks, c.itself = Nothing, true, true
		c.Remedy = fmt.Sprintf("it goes by itself when %s gone, or let go of it; it protects %s", isAre(what),
			c.Controller.Guards)
	case unknown != "" && !named:
		c.Action, c.Asks = Nothing, true
		c.Remedy = fmt.Sprintf("nobody knows what it protects (%s); if it is certain that it may go, pass --finalizer=%s",
			unknown, c.Finalizer)
	default:
		return false
	}
	return true
}

// isAre lists objects, for "when ... gone".
func isAre(objects []*cluster.Object) string {
	if len(objects) == 1 {
		return describe(objects) + " is"
	}
	return describe(objects) + " are"
}

// inNamespace is the flag of kubectl for a namespace, if there is one.
func inNamespace(ns string) string {
	if ns == "" {
		return ""
	}
	return " -n " + ns
}

// Title names what the diagnosis is about: "namespace shop", or an object as
// KIND[.GROUP]/[NAMESPACE/]NAME.
func (d *Diagnosis) Title() string {
	if d.Object != nil {
		return d.Object.String()
	}
	return "namespace " + d.Namespace
}

// command is what frees it.
func (d *Diagnosis) command() string {
	if d.Object == nil {
		return program("unstick-ns " + d.Namespace)
	}
	return program("unstick " + typeName(d.subject) + inNamespace(d.Namespace))
}
