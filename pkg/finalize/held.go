package finalize

import (
	"fmt"
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

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
	e.commandFinalizers()
}

// commandFinalizers gives the causes whose finalizers are removed the command that does it: one
// for all that may go from an object, because none that has gone can be put back.
func (e *examination) commandFinalizers() {
	may := map[*cluster.Object][]string{}
	for _, c := range e.Causes {
		if c.Type == Finalizer && c.Action == ClearFinalizers {
			for _, o := range c.objects {
				may[o] = append(may[o], c.Finalizer)
			}
		}
	}
	for i, c := range e.Causes {
		if c.Type == Finalizer && c.Action == ClearFinalizers {
			e.Causes[i].Command, e.Causes[i].Look = stripCommand(c.objects[0], may[c.objects[0]]), ""
		}
	}
}

func (e *examination) addFinalizer(finalizer string, allowed, later bool, objects []*cluster.Object) {
	c := Cause{
		Type: Finalizer, Finalizer: finalizer, objects: objects, Since: oldest(objects),
		Controller: e.owners.of(finalizer, objects), Look: describeCommand(objects[0]),
	}
	e.decide(&c, allowed, later)
	verb := "wait"
	if len(objects) == 1 {
		verb = "waits"
	}
	if later {
		verb = "will wait"
	}
	c.Summary = fmt.Sprintf("%s %s for the finalizer %s, which %s", describe(objects), verb, finalizer,
		e.whose(&c, later))
	if c.Action == ClearFinalizers || c.later {
		for _, o := range objects {
			e.may[o] = append(e.may[o], finalizer)
		}
	}
	e.add(c)
}

// whose says whose a finalizer is, and what its controller has not done, with the evidence. later: the objects
// are not being deleted yet. One who lives, or may live, is not late before its time is over, nor is one who waits
// for something itself.
func (e *examination) whose(c *Cause, later bool) string {
	young := e.options.now().Before(c.Since.Add(e.options.controllerPatience()))
	tense := "should have removed"
	switch {
	case later:
		tense = "should remove"
	case c.Action == Wait || c.itself || c.Controller.Alive != Gone && young:
		tense = "has yet to remove"
	}
	out := c.Controller.Name + " " + tense
	if c.Controller.Evidence != "" {
		out += " (" + c.Controller.Evidence + ")"
	}
	return out
}

// decide says what is done about a finalizer. later: the objects are not being
// deleted yet.
func (e *examination) decide(c *Cause, allowed, later bool) {
	k, _ := lookUp(c.Finalizer, e.options.Known)
	owner, named := c.Controller, allowed && e.options.named(c.objects[0], c.Finalizer)
	untilPatience := latest(c.objects).Add(e.options.controllerPatience())
	young := later || e.options.now().Before(untilPatience)
	if e.options.Force && owner.Alive == AliveUnsure && !owner.Outside && !(owner.awaited && young) {
		named = allowed // or it would be orphaned for good
	}
	protects := ""
	if owner.Guards != "" {
		protects = "; it protects " + owner.Guards
	}
	switch {
	case !allowed:
		c.Action = Nothing
		c.Remedy = fmt.Sprintf("the finalizer stays: it was not allowed to remove %s", c.Finalizer)
	case e.decideProtected(c, named):
	case k.afterPods && slices.ContainsFunc(e.objects, isPod):
		c.Action, c.Remedy, c.later = Wait, "wait: it goes by itself when the pods are gone", true
	case k.afterOthers && e.othersHeld(c.objects):
		c.Action, c.Remedy, c.later = Wait, "wait: it goes by itself when the objects that it waits for are gone", true
	case named && later, named && e.options.Partial && young && (owner.Alive == Alive && !owner.builtIn || owner.Outside):
		c.Action, c.later = Wait, true
		c.Remedy = "remove this finalizer when they are being deleted, if nobody else does"
		if !later {
			c.Until = untilPatience
			c.Remedy = fmt.Sprintf("wait until %s: its controller may be at it", clock(c.Until))
		}
	case named:
		c.Action, c.Remedy = ClearFinalizers, "remove this finalizer"+protects
	case owner.Alive == Alive && !owner.builtIn:
		c.Action, c.later = Wait, owner.doomed
		c.Remedy = fmt.Sprintf("wait for %s, which is alive; only --finalizer=%s removes it by force%s", owner.Name,
			c.Finalizer, protects)
	case (owner.Outside || owner.awaited) && young:
		c.Action = Wait
		c.Remedy = fmt.Sprintf("wait for %s%s", owner.Name, protects)
		if !later {
			c.Until = untilPatience
			c.Remedy = fmt.Sprintf("wait for %s, at least until %s%s", owner.Name,
				clock(untilPatience), protects)
		}
	case owner.Outside:
		c.Action, c.Asks = Nothing, true
		c.Remedy = fmt.Sprintf("let %s remove it, or if it is certain that it may go, pass --finalizer=%s%s", owner.Name,
			c.Finalizer, protects)
	case owner.Alive == AliveUnsure && !owner.builtIn:
		c.Action, c.Asks = Nothing, true
		c.Remedy = fmt.Sprintf("nobody knows whether its controller lives; if it is gone for good, pass "+
			"--finalizer=%s%s", c.Finalizer, protects)
	case later:
		c.Action, c.later = Wait, true
		c.Remedy = "remove this finalizer when they are being deleted, if nobody else does"
	default:
		c.Action, c.Remedy = ClearFinalizers, "remove this finalizer"+protects
	}
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
				Controller: e.owners.of(f, []*cluster.Object{e.object}),
				Action:     Finalize,
				Remedy:     "finalize the namespace when it is empty",
				Look:       describeCommand(e.object),
			}
			e.decideNamespace(&c)
			c.Summary = fmt.Sprintf("the namespace itself has the finalizer %s in %s, which %s", f, list.field,
				e.whose(&c, false))
			e.add(c)
		}
	}
	e.commandNamespace()
}

// commandNamespace gives the causes of the namespace's own finalizers the command that removes
// those that may go. There is none while something is left in it: that would be orphaned.
func (e *examination) commandNamespace() {
	if !e.empty() || len(e.contradictions()) > 0 {
		return
	}
	last := lastActions(e.Diagnosis)
	for i, c := range e.Causes {
		if own := c.Type == SpecFinalizer || c.Type == MetadataFinalizer; own && c.Action == Finalize && len(last) > 0 {
			e.Causes[i].Command, e.Causes[i].Look = last[0].Command, ""
		}
	}
}

// decideNamespace says what is done about a finalizer of the namespace itself.
func (e *examination) decideNamespace(c *Cause) {
	owner := c.Controller
	switch {
	case !e.options.allows(e.object, c.Finalizer):
		c.Action, c.Remedy = Nothing, "the finalizer stays: it was not allowed to remove "+c.Finalizer
	case e.options.named(e.object, c.Finalizer), owner.builtIn:
	case owner.Alive == Alive:
		c.Action = Wait
		c.Remedy = fmt.Sprintf("wait for %s, which is alive; only --finalizer=%s removes it by force", owner.Name,
			c.Finalizer)
	case owner.awaited && e.options.now().Before(c.Since.Add(e.options.controllerPatience())):
		c.Action, c.Until = Wait, c.Since.Add(e.options.controllerPatience())
		c.Remedy = fmt.Sprintf("wait for %s, at least until %s", owner.Name, clock(c.Until))
	case owner.Outside, owner.Alive == AliveUnsure:
		c.Action, c.Asks = Nothing, true
		c.Remedy = fmt.Sprintf("let %s remove it, or if it is gone for good, pass --finalizer=%s", owner.Name, c.Finalizer)
	}
}
