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
	maxLooks     = 3 // that may fail, or find something that blocks, in a row
)

// ladder climbs from rung to rung for several namespaces. It is used by one
// goroutine, through engine.Phase.Next.
type ladder struct {
	look    Look
	options Options
	rungs   map[string]*climb         // by Diagnosis.Title
	objects map[string]cluster.Target // those that are no namespaces, likewise
	tried   map[string]int            // how often an action was asked for
	shown   map[string]bool           // steps that a person has seen; nil: all
	refused map[string]bool           // steps that were not approved
	failed  int                       // looks in a row
	settled bool                      // the engine was given time to see what the last look saw
}

func newLadder(look Look, o Options) *ladder {
	return &ladder{look: look, options: o, rungs: map[string]*climb{}, objects: map[string]cluster.Target{},
		tried: map[string]int{}, refused: map[string]bool{}}
}

// show says what a person has seen before the run.
func (l *ladder) show(preview *engine.Plan) {
	l.shown = map[string]bool{}
	for _, phase := range preview.Phases {
		for _, a := range phase.Actions {
			l.remember(a)
		}
	}
}

func (l *ladder) remember(a engine.Action) {
	for _, s := range steps(a) {
		l.shown[s] = true
	}
}

// approved leaves out the actions that nobody has seen and that are not approved of
// now. What wakes a controller changes nothing, and what this run has created is its
// own.
func (l *ladder) approved(ctx context.Context, actions []engine.Action) []engine.Action {
	if l.shown == nil || l.options.Approve == nil {
		return actions
	}
	var old, more []engine.Action
	for _, a := range actions {
		unseen := func(s string) bool { return !l.shown[s] }
		switch {
		case slices.ContainsFunc(steps(a), func(s string) bool { return l.refused[s] }):
		case a.Verb == engine.Patch, l.made(a.Target), !slices.ContainsFunc(steps(a), unseen):
			old = append(old, a)
		default:
			more = append(more, a)
		}
	}
	if len(more) == 0 {
		return old
	}
	err := l.options.Approve(ctx, &engine.Plan{Phases: []engine.Phase{{Name: "more",
		Title: "What has become necessary since", Actions: more}}})
	if err != nil {
		for _, a := range more {
			for _, s := range steps(a) {
				l.refused[s] = true
			}
		}
		return old
	}
	for _, a := range more {
		l.remember(a)
	}
	return append(old, more...)
}

// made tells whether a target is a namespace that this run has created.
func (l *ladder) made(t cluster.Target) bool {
	c := l.rungs[rungOf(t)]
	return t.Group == "" && t.Kind == "Namespace" && c != nil && c.created != "" && c.uid == t.UID
}

// climb is how far one namespace is.
type climb struct {
	uid     types.UID  // of the namespace to be freed; empty: it was gone from the start
	last    *Diagnosis // at the look before; nil: there was none
	created string     // annotation of the namespace that was created to reach orphans
	woken   time.Time  // when the namespace controller was, with nothing left to do for it
	blocked int        // looks in a row that found something that blocks
	waited  int        // looks at conditions that contradict what is seen
}

// next looks again and returns the least that may help. It returns nil when
// nothing is left to do, or nothing more may be done.
func (l *ladder) next(ctx context.Context, left []cluster.Target) (*engine.Step, error) {
	for _, t := range left {
		if t.Group == "" && t.Kind == "Namespace" && l.rungs[rungOf(t)] == nil {
			l.rungs[rungOf(t)] = &climb{uid: t.UID}
		}
	}
	snap, err := l.look(ctx)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause // which says what to do, and the request's error does not
		}
		if l.failed++; l.failed >= maxLooks {
			return nil, fmt.Errorf("can't look again: %w", err)
		}
		return &engine.Step{Title: "Look again in a moment: " + err.Error(), Patience: l.options.patience()}, nil
	}
	l.failed = 0

	step := &engine.Step{}
	titles := map[string][]string{} // the namespaces of each
	var waits []time.Duration
	for _, name := range slices.Sorted(maps.Keys(l.rungs)) {
		d, err := l.diagnose(snap, name)
		if err != nil {
			return nil, err
		}
		title, actions, wait := l.climb(ctx, l.rungs[name], d)
		if len(actions) == 0 && wait == 0 {
			continue
		}
		step.Actions = append(step.Actions, actions...)
		waits = append(waits, cmp.Or(wait, l.options.patience()))
		titles[title] = append(titles[title], name)
	}
	if len(waits) == 0 {
		return l.settle(snap.Snapshot, left), nil
	}
	l.settled = false
	step.Patience = slices.Min(waits)
	if len(waits) > 1 {
		step.Patience = max(step.Patience, l.options.patience())
	}
	step.Actions = unique(step.Actions)
	for _, a := range step.Actions {
		l.tried[identify(a)]++
	}
	step.Title = join(titles)
	return step, nil
}

// rungOf is Diagnosis.Title of a namespace.
func rungOf(t cluster.Target) string { return "namespace " + t.Name }

func (l *ladder) diagnose(o *Observation, title string) (*Diagnosis, error) {
	if t, ok := l.objects[title]; ok {
		return DiagnoseObject(o, t, l.options)
	}
	return Diagnose(o, strings.TrimPrefix(title, rungOf(cluster.Target{})), l.options)
}

// settle returns a step in which the engine sees for itself that something it
// still waits for is gone, or nil.
func (l *ladder) settle(snap *cluster.Snapshot, left []cluster.Target) *engine.Step {
	there := map[types.UID]bool{}
	for _, o := range snap.Objects {
		there[o.UID] = true
	}
	if l.settled || !slices.ContainsFunc(left, func(t cluster.Target) bool { return !there[t.UID] }) {
		return nil
	}
	l.settled = true
	return &engine.Step{Patience: l.options.patience()}
}

// join puts the titles of what is done for several namespaces together. A title
// has %s where the namespaces go.
func join(titles map[string][]string) string {
	var out []string
	for _, title := range slices.Sorted(maps.Keys(titles)) {
		out = append(out, strings.ReplaceAll(title, "%s", list(titles[title])))
	}
	return strings.Join(out, "; ")
}

// list puts titles of diagnoses into a sentence. Only namespaces come in numbers.
func list(titles []string) string {
	switch {
	case len(titles) > 3:
		return fmt.Sprintf("%d namespaces", len(titles))
	case len(titles) < 2:
		return strings.Join(titles, "")
	}
	var names []string
	for _, t := range titles {
		names = append(names, strings.TrimPrefix(t, rungOf(cluster.Target{})))
	}
	return "namespaces " + enumerate(names)
}

// climb returns what to do next for one namespace: actions, or how long to wait
// without any, or neither. The title has %s where the namespace goes.
func (l *ladder) climb(ctx context.Context, c *climb, d *Diagnosis) (title string, actions []engine.Action,
	wait time.Duration) {
	before := c.last
	c.last = d
	if d.Object != nil {
		if d.State != Terminating || d.UID != c.uid || d.Refusal != nil {
			return "", nil, 0 // it is gone, or somebody made it anew
		}
		return l.free(ctx, c, before, d)
	}
	if refuseProtected(d.Namespace, d.State) != nil {
		return "", nil, 0
	}
	if d.State == Missing {
		return l.sweep(ctx, c, d)
	}
	if d.UID != c.uid {
		if !l.ours(c, d) {
			return "", nil, 0 // somebody made it anew: it is none of this run's business
		}
		c.uid, c.woken, before = d.UID, time.Time{}, nil
	}
	if d.State == Active {
		if !d.helper {
			return "", nil, 0
		}
		actions = l.may(ctx, append(clearActions(d, false), deleteAction(d.object, helperWhy)))
		return "Free the orphans of %s and delete it again", actions, 0
	}
	return l.free(ctx, c, before, d)
}

// free returns what to do next for what is being deleted.
func (l *ladder) free(ctx context.Context, c *climb, before, d *Diagnosis) (title string, actions []engine.Action,
	wait time.Duration) {
	if before != nil && moved(before, d) {
		return fmt.Sprintf("Progress: %s left in %%s", areIs(d.Content.Objects)), nil, l.options.patience()
	}
	if blocked := d.Blocked(); len(blocked) > 0 && !l.options.Partial && !l.options.Force {
		// A server that was just rid of an API may need a moment.
		if c.blocked++; c.blocked >= maxLooks {
			return "", nil, 0
		}
		return "Look at %s again in a moment: " + blocked[0].Summary, nil, l.options.patience()
	}
	c.blocked = 0
	return l.force(ctx, c, d)
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
func (l *ladder) force(ctx context.Context, c *climb, d *Diagnosis) (title string, actions []engine.Action,
	wait time.Duration) {
	o := l.options
	if o.Force && c.created == "" {
		if actions = l.may(ctx, []engine.Action{finalizeAction(d)}); len(actions) > 0 {
			return "Finalize %s by force", actions, 0
		}
	}
	if actions = l.may(ctx, unblockActions(d)); len(actions) > 0 {
		return fmt.Sprintf("Remove what blocks %%s: %s", targets(actions)), append(actions, nudge(d, o)...), 0
	}
	if actions = l.may(ctx, clearActions(d, false)); len(actions) > 0 {
		title = fmt.Sprintf("Remove finalizers that nobody else removes from %s in %%s", objects(len(actions)))
		if d.Object != nil {
			title = fmt.Sprintf("Remove finalizers that nobody else removes from %s, for %%s", objects(len(actions)))
		}
		return title, append(actions, nudge(d, o)...), 0
	}
	if until := waits(d); until.After(o.now()) {
		return "Wait for what is at work in %s", nil, until.Sub(o.now())
	}
	if d.Object != nil {
		return l.endure(d)
	}
	if d.contradicted || d.Content.Objects > 0 || !d.empty() && !o.Force {
		return l.wake(c, d)
	}
	// It is empty.
	if actions = l.may(ctx, lastActions(d)); len(actions) > 0 {
		return "Finalize %s, because nothing is left in it", actions, 0
	}
	for _, cause := range d.Causes {
		if cause.Type == SpecFinalizer || cause.Type == MetadataFinalizer {
			if cause.Action == Wait {
				return l.wake(c, d)
			}
			return "", nil, 0 // it was tried, or is not allowed
		}
	}
	if c.woken.IsZero() {
		return l.wake(c, d)
	}
	if actions = l.may(ctx, []engine.Action{finishAction(d)}); len(actions) > 0 {
		return "Finalize %s, because nothing is left in it and the namespace controller does not come", actions, 0
	}
	return "", nil, 0
}

// Who endures looks at a namespace this often, and wakes its controller.
const (
	endurance = 30 * time.Second
	wakeAgain = time.Minute
)

// wake makes the namespace controller look again: once, or, for who endures, again
// and again, because a controller that is away comes back.
func (l *ladder) wake(c *climb, d *Diagnosis) (title string, actions []engine.Action, wait time.Duration) {
	o := l.options
	i := slices.IndexFunc(d.Causes, func(c Cause) bool { return c.Action == Wait })
	if i < 0 && !d.empty() {
		return "", nil, 0
	}
	switch {
	case c.woken.IsZero():
		c.woken = o.now()
		if i >= 0 && d.Causes[i].Type == Progressing {
			return "Nothing holds %s any more: make the namespace controller look again", []engine.Action{lookAgain(d, o)}, 0
		}
		return "Make the namespace controller look at %s again", []engine.Action{lookAgain(d, o)}, 0
	case d.contradicted && !o.Endure && c.waited < maxLooks:
		c.waited++ // the controller takes its time to look
		return "Wait for the conditions of %s to be written again", nil, max(controllerDelay, o.patience())
	case !o.Endure, i < 0:
		return "", nil, 0
	case o.now().Sub(c.woken) >= wakeAgain:
		c.woken = o.now()
		actions = []engine.Action{lookAgain(d, o)}
	}
	return "Wait on for %s: " + d.Causes[i].Summary, actions, max(endurance, o.patience())
}

// endure waits on for what is alive, for who endures. Nobody has to be woken for an
// object: who removes its finalizers watches it.
func (l *ladder) endure(d *Diagnosis) (title string, actions []engine.Action, wait time.Duration) {
	i := slices.IndexFunc(d.Causes, func(c Cause) bool { return c.Action == Wait })
	if i < 0 || !l.options.Endure {
		return "", nil, 0
	}
	return "Wait on for %s: " + d.Causes[i].Summary, nil, max(endurance, l.options.patience())
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
func (l *ladder) sweep(ctx context.Context, c *climb, d *Diagnosis) (title string, actions []engine.Action,
	wait time.Duration) {
	if len(d.objects) == 0 {
		return "", nil, 0
	}
	if actions = l.may(ctx, sweepActions(d)); len(actions) > 0 {
		return fmt.Sprintf("Delete %s that %%s left behind", objects(len(d.objects))), actions, 0
	}
	if !needsHelper(d) || c.created != "" {
		return "", nil, 0
	}
	a := createAction(d, l.options)
	if actions = l.may(ctx, []engine.Action{a}); len(actions) == 0 {
		return "", nil, 0
	}
	c.created = a.Annotations[HelperAnnotation]
	return fmt.Sprintf("Create %%s again, to remove the finalizers of %s in it", objects(len(d.objects))), actions,
		time.Millisecond
}

// may leaves out what was tried often enough, and what nobody approves of.
func (l *ladder) may(ctx context.Context, actions []engine.Action) []engine.Action {
	return l.approved(ctx, l.untried(actions))
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
