package finalize

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// Bounds of the ladder.
const (
	maxTries     = 2 // of one action, beside the engine's own retries
	maxFinalizes = 5 // of a namespace that others write at the same time
	maxLooks     = 3 // that may fail in a row
)

// ladder climbs from rung to rung for several namespaces. It is used by one
// goroutine, through engine.Phase.Next.
type ladder struct {
	look    Look
	options Options
	rungs   map[string]*climb
	tried   map[string]int // how often an action was asked for
	failed  int            // looks in a row
}

// climb is how far one namespace is.
type climb struct {
	uid     types.UID  // of the namespace to be freed; empty: it was gone from the start
	last    *Diagnosis // at the look before; nil: there was none
	created string     // annotation of the namespace that was created to reach orphans
	woken   bool       // the namespace controller was, with nothing left to do for it
}

// next looks again and returns the least that may help. It returns nil when
// nothing is left to do, or nothing more may be done.
func (l *ladder) next(ctx context.Context, left []cluster.Target) (*engine.Step, error) {
	for _, t := range left {
		if t.Group == "" && t.Kind == "Namespace" && l.rungs[t.Name] == nil {
			l.rungs[t.Name] = &climb{uid: t.UID}
		}
	}
	snap, err := l.look(ctx)
	if err != nil {
		if l.failed++; l.failed >= maxLooks || ctx.Err() != nil {
			return nil, fmt.Errorf("can't look at the namespaces again: %w", err)
		}
		return &engine.Step{Title: "Look again in a moment: " + err.Error(), Patience: l.options.patience()}, nil
	}
	l.failed = 0

	step := &engine.Step{}
	var titles []string
	var waits []time.Duration
	for _, name := range slices.Sorted(maps.Keys(l.rungs)) {
		d, err := Diagnose(snap, name, l.options)
		if err != nil {
			return nil, err
		}
		title, actions, wait := l.climb(l.rungs[name], d)
		if actions = l.untried(actions); len(actions) == 0 && wait == 0 {
			continue
		}
		step.Actions = append(step.Actions, actions...)
		waits = append(waits, cmp.Or(wait, l.options.patience()))
		if !slices.Contains(titles, title) {
			titles = append(titles, title)
		}
	}
	if len(waits) == 0 {
		return nil, nil
	}
	step.Patience = slices.Min(waits)
	if len(waits) > 1 {
		step.Patience = max(step.Patience, l.options.patience())
	}
	step.Actions = unique(step.Actions)
	for _, a := range step.Actions {
		l.tried[identify(a)]++
	}
	step.Title = strings.Join(titles, "; ")
	return step, nil
}

// climb returns what to do next for one namespace: actions, or how long to wait
// without any, or neither.
func (l *ladder) climb(c *climb, d *Diagnosis) (title string, actions []engine.Action, wait time.Duration) {
	before := c.last
	c.last = d
	if refuseProtected(d.Namespace) != nil {
		return "", nil, 0
	}
	if d.State == Missing {
		return l.sweep(c, d)
	}
	if d.UID != c.uid {
		if !l.ours(c, d) {
			return "", nil, 0 // somebody made it anew: it is none of this run's business
		}
		c.uid, c.woken, before = d.UID, false, nil
	}
	if d.State == Active {
		if !d.helper {
			return "", nil, 0
		}
		actions = append(clearActions(d, l.options), deleteAction(d.object, helperWhy))
		return fmt.Sprintf("Free the orphans of namespace %s and delete it again", d.Namespace), actions, 0
	}
	if before != nil && moved(before, d) {
		return fmt.Sprintf("Namespace %s makes progress: %s left", d.Namespace, areIs(d.Content.Objects)), nil, l.options.patience()
	}
	if len(d.Blocked()) > 0 && !l.options.Partial && !l.options.Force {
		return "", nil, 0
	}
	return l.force(c, d)
}

// ours tells whether a namespace is the one that was created to reach orphans.
func (l *ladder) ours(c *climb, d *Diagnosis) bool {
	return d.helper && c.created != "" && d.object.Annotations[HelperAnnotation] == c.created
}

// moved tells whether a namespace came closer to its end between two looks.
func moved(before, now *Diagnosis) bool {
	return now.Content.Objects < before.Content.Objects ||
		now.Content.Terminating > before.Content.Terminating ||
		len(now.Content.Unknown) < len(before.Content.Unknown)
}

// force returns the lowest rung of a Terminating namespace that was not tried.
func (l *ladder) force(c *climb, d *Diagnosis) (title string, actions []engine.Action, wait time.Duration) {
	o := l.options
	if o.Force && c.created == "" {
		if actions = l.untried([]engine.Action{finalizeAction(d, o)}); len(actions) > 0 {
			return fmt.Sprintf("Finalize namespace %s by force", d.Namespace), actions, 0
		}
	}
	if actions = l.untried(unblockActions(d)); len(actions) > 0 {
		return fmt.Sprintf("Remove what blocks namespace %s: %s", d.Namespace, targets(actions)), append(actions, lookAgain(d, o)), 0
	}
	if actions = l.untried(clearActions(d, o)); len(actions) > 0 {
		return fmt.Sprintf("Clear finalizers that nobody removes from %s in namespace %s", objects(len(actions)), d.Namespace), append(actions, lookAgain(d, o)), 0
	}
	if until := waits(d); until.After(o.now()) {
		return fmt.Sprintf("Wait for what is at work in namespace %s", d.Namespace), nil, until.Sub(o.now())
	}
	if d.Content.Objects > 0 || !d.Content.Empty() && !o.Force {
		if c.woken || !slices.ContainsFunc(d.Causes, func(c Cause) bool { return c.Action == Wait }) {
			return "", nil, 0
		}
		c.woken = true
		return fmt.Sprintf("Make the namespace controller look at namespace %s again", d.Namespace), []engine.Action{lookAgain(d, o)}, 0
	}
	// It is empty.
	if actions = l.untried(lastActions(d, o)); len(actions) > 0 {
		return fmt.Sprintf("Finalize namespace %s: it is empty", d.Namespace), actions, 0
	}
	for _, cause := range d.Causes {
		if cause.Type == SpecFinalizer || cause.Type == MetadataFinalizer {
			return "", nil, 0 // it was tried, or is not allowed
		}
	}
	if !c.woken {
		c.woken = true
		return fmt.Sprintf("Nothing holds namespace %s any more: make the namespace controller look at it again", d.Namespace), []engine.Action{lookAgain(d, o)}, 0
	}
	return fmt.Sprintf("Finalize namespace %s: it is empty, and the namespace controller does not come", d.Namespace), []engine.Action{finalizeAction(d, o)}, 0
}

// waits returns until when something in the namespace gets its time.
func waits(d *Diagnosis) time.Time {
	var until time.Time
	for _, c := range d.Causes {
		if c.Action == Wait && c.Until.After(until) {
			until = c.Until
		}
	}
	return until
}

// sweep returns what to do about objects without a namespace.
func (l *ladder) sweep(c *climb, d *Diagnosis) (title string, actions []engine.Action, wait time.Duration) {
	if len(d.objects) == 0 {
		return "", nil, 0
	}
	if actions = l.untried(sweepActions(d, l.options)); len(actions) > 0 {
		return fmt.Sprintf("Namespace %s is gone, but %s left in it: delete them", d.Namespace, areIs(len(d.objects))), actions, 0
	}
	if !needsHelper(d, l.options) || c.created != "" {
		return "", nil, 0
	}
	a := createAction(d, l.options)
	c.created = a.Annotations[HelperAnnotation]
	return fmt.Sprintf("Create namespace %s again, to remove the finalizers of %s in it", d.Namespace, objects(len(d.objects))), []engine.Action{a}, time.Millisecond
}

// untried leaves out the actions that were asked for often enough.
func (l *ladder) untried(actions []engine.Action) []engine.Action {
	return slices.DeleteFunc(actions, func(a engine.Action) bool {
		tried := l.tried[identify(a)]
		switch a.Verb {
		case engine.Patch:
			return false
		case engine.Finalize:
			return tried >= maxFinalizes
		}
		return tried >= maxTries
	})
}

// targets lists what actions are on, for a sentence.
func targets(actions []engine.Action) string {
	var names []string
	for _, a := range actions {
		names = append(names, a.Target.Ref.String())
	}
	if len(names) > 3 {
		names = append(names[:3], fmt.Sprintf("%d more", len(names)-3))
	}
	return enumerate(names)
}

func objects(n int) string {
	if n == 1 {
		return "1 object"
	}
	return fmt.Sprintf("%d objects", n)
}
