package finalize

import (
	"fmt"
	"slices"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// LookAgainAnnotation is written on a Terminating namespace to wake the
// namespace controller, which may otherwise sit out a minute after an error
// (Kubernetes 1.36.3 pkg/controller/namespace/namespace_controller.go,
// nsControllerRateLimiter; every update of the namespace queues it in 5 s).
const LookAgainAnnotation = "castai.kubectl.dev/look-again"

// unblockActions remove what keeps the namespace controller from its work.
func unblockActions(d *Diagnosis) []engine.Action {
	var out []engine.Action
	for _, c := range d.Causes {
		switch c.Action {
		case RemoveAPIService, RemoveWebhook, DeleteContent:
			for _, o := range c.objects {
				out = append(out, deleteAction(o, c.Summary))
			}
		case DeletePods:
			out = append(out, endPods(c)...)
		}
	}
	return out
}

// laterPods are the pods whose kubelet still has time to confirm that they ended.
func laterPods(d *Diagnosis) []engine.Action {
	var out []engine.Action
	for _, c := range d.Causes {
		if c.Type == TerminatingPods && c.later {
			out = append(out, endPods(c)...)
		}
	}
	return out
}

// endPods delete pods without a grace period.
func endPods(c Cause) []engine.Action {
	var out []engine.Action
	zero := int64(0)
	for _, o := range c.objects {
		a := deleteAction(o, c.Summary)
		a.GracePeriodSeconds = &zero
		a.Command = fmt.Sprintf("kubectl delete pod %s -n %s --grace-period=0 --force", o.Name, o.Namespace)
		out = append(out, a)
	}
	return out
}

// clearActions remove the finalizers that nobody else removes, from objects that
// are being deleted, or those that will be only later.
func clearActions(d *Diagnosis, later bool) []engine.Action {
	names := map[*cluster.Object][]string{}
	var order []*cluster.Object
	for _, c := range d.Causes {
		if c.Type != Finalizer || c.later != later || !later && c.Action != ClearFinalizers {
			continue
		}
		for _, obj := range c.objects {
			if names[obj] == nil {
				order = append(order, obj)
			}
			names[obj] = append(names[obj], c.Finalizer)
		}
	}
	var out []engine.Action
	for _, obj := range order {
		out = append(out, stripAction(obj, names[obj]))
	}
	return out
}

func stripAction(obj *cluster.Object, names []string) engine.Action {
	return engine.Action{
		Verb: engine.StripFinalizers, Target: obj.Target(), Finalizers: names, Seen: seen(obj),
		Why: "it waits for " + enumerate(names), Command: stripCommand(obj, names),
	}
}

// seen returns an object as the base of a write, if it may be one.
func seen(o *cluster.Object) *cluster.Object {
	if !o.Terminating() {
		return nil
	}
	return o
}

// mayFinish tells whether the namespace may be finalized once nothing is left in it,
// as far as can be said beforehand.
func (d *Diagnosis) mayFinish() bool {
	if d.Object != nil || d.State != Terminating || len(d.Blocked()) > 0 || d.refusedEnd() {
		return false
	}
	return !slices.ContainsFunc(d.Causes, func(c Cause) bool {
		return c.Type == SpecFinalizer ||
			c.Type == MetadataFinalizer
	})
}

// finishAction ends a namespace, by then empty, to which the controller does not come.
func finishAction(d *Diagnosis) engine.Action {
	a := finalizeAction(d)
	a.Why = "nothing is left in it, and the namespace controller does not come"
	return a
}

// lastActions end a namespace that is empty but for its own finalizers.
func lastActions(d *Diagnosis) []engine.Action {
	var may []string
	rest := false
	for _, c := range d.Causes {
		if c.Type != SpecFinalizer && c.Type != MetadataFinalizer {
			continue
		}
		switch {
		case c.Action != Finalize:
			rest = true
		case c.Type == MetadataFinalizer:
			may = append(may, c.Finalizer)
		}
	}
	switch {
	case !rest:
		for _, c := range d.Causes {
			if c.Action == Finalize && c.API == nil {
				return []engine.Action{finalizeAction(d)}
			}
		}
	case len(may) > 0:
		return []engine.Action{stripAction(d.object, may)}
	}
	return nil
}

// finalizeAction ends the namespace in the state in which it was judged.
func finalizeAction(d *Diagnosis) engine.Action {
	why := "it is empty"
	switch {
	case d.Content.Objects > 0:
		why = fmt.Sprintf("as told by force; this orphans %s", describe(d.objects))
	case !d.empty():
		why = fmt.Sprintf("as told by force; nobody knows what of %s this orphans", enumerate(d.Content.Unknown))
	}
	return engine.Action{Verb: engine.Finalize, Target: d.object.Target(), Why: why, Command: finalizeCommand(d.Namespace)}
}

// helperWhy is why a namespace that this package created is deleted.
const helperWhy = "it was created to free orphaned objects"

// sweepActions ask for the deletion of objects without a namespace, which the
// server allows (NamespaceLifecycle admission, k8s.io/apiserver v0.36.3).
func sweepActions(d *Diagnosis) []engine.Action {
	var out []engine.Action
	zero := int64(0)
	direct := updatesInMissing(d.server)
	for _, obj := range d.objects {
		if obj.Terminating() && !isPod(obj) {
			if names := d.may[obj]; direct && len(names) > 0 {
				out = append(out, stripAction(obj, names))
			}
			continue
		}
		a := deleteAction(obj, "its namespace is gone")
		if isPod(obj) {
			a.GracePeriodSeconds = &zero
			a.Command += " --grace-period=0 --force"
		}
		if direct {
			a.Finalizers = d.may[obj]
		}
		out = append(out, a)
	}
	return out
}

// needsHelper tells whether only a namespace of the same name gives access to
// all orphans, and whether that would free them all: otherwise the namespace
// would get stuck in turn.
func needsHelper(d *Diagnosis) bool {
	held := false
	for _, obj := range d.objects {
		held = held || len(obj.Finalizers) > 0
		if len(d.may[obj]) < len(obj.Finalizers) {
			return false
		}
	}
	return held && !updatesInMissing(d.server)
}

// createAction makes a namespace through which orphans can be reached.
func createAction(d *Diagnosis, o Options) engine.Action {
	by := o.By
	if by == "" {
		by = cluster.FieldManager
	}
	return engine.Action{
		Verb: engine.CreateNamespace, Target: cluster.NamespaceTarget(d.Namespace, ""),
		Why:     fmt.Sprintf("this server updates no object in a missing namespace, and %s in it", areIs(len(d.objects))),
		Command: "kubectl create namespace " + d.Namespace,
		Annotations: map[string]string{HelperAnnotation: fmt.Sprintf(
			"created by %s at %s to remove the finalizers of %d orphaned objects; it is deleted again at once",
			by, o.now().UTC().Format(time.RFC3339), len(d.objects))},
	}
}

func deleteAction(o *cluster.Object, why string) engine.Action {
	command := "kubectl delete " + typeName(o)
	if o.Namespace != "" {
		command += " -n " + o.Namespace
	}
	return engine.Action{Verb: engine.Delete, Target: o.Target(), Why: why, Command: command}
}

// nudge makes the controller of a namespace see what was done. An object needs none.
func nudge(d *Diagnosis, o Options) []engine.Action {
	if d.Object != nil {
		return nil
	}
	return []engine.Action{lookAgain(d, o)}
}

// lookAgain wakes the namespace controller.
func lookAgain(d *Diagnosis, o Options) engine.Action {
	at := o.now().UTC().Format(time.RFC3339Nano)
	return engine.Action{
		Verb: engine.Patch, Target: d.object.Target(),
		Patch:   map[string]any{"metadata": map[string]any{"annotations": map[string]any{LookAgainAnnotation: at}}},
		Why:     "an update makes the namespace controller look again",
		Command: fmt.Sprintf("kubectl annotate namespace %s --overwrite %s=%s", d.Namespace, LookAgainAnnotation, at),
	}
}

// Rights returns what a user needs for all that Preview shows, and for looking.
func Rights(ds []*Diagnosis, o Options) []cluster.Right {
	out := engine.Rights(Preview(ds, o))
	add := func(r cluster.Right, verbs ...string) {
		for _, r.Verb = range verbs {
			if !slices.Contains(out, r) {
				out = append(out, r)
			}
		}
	}
	for _, d := range ds {
		if d.Object != nil {
			continue // what is done to it, and to what it waits for, is in the preview
		}
		add(cluster.Right{Resource: "namespaces"}, "get", "list", "watch", "patch")
		for _, g := range groups(d.objects) {
			add(cluster.Right{Group: g.Group, Resource: g.Resource, Namespace: d.Namespace}, "list", "watch")
		}
		for _, c := range d.Causes {
			if c.Type == UnreadableContent {
				add(cluster.Right{Group: c.Objects[0].Group, Resource: c.Objects[0].Resource, Namespace: d.Namespace}, "list")
			}
			if c.Action == Sweep && needsHelper(d) {
				add(cluster.Right{Resource: "namespaces"}, "create", "delete")
			}
		}
	}
	return out
}
