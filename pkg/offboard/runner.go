package offboard

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/finalize"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// Saver keeps what is about to be deleted or changed.
type Saver interface {
	// Save saves what the plan deletes or changes, as far as it is not saved yet
	// in the state that the inventory judged, and returns the resourceVersions that
	// are saved, by UID. An error means that nothing of the plan may be done.
	Save(ctx context.Context, inv *ownership.Inventory, plan *engine.Plan) (map[types.UID]string, error)
	// SaveAgain saves the object of one action of that plan, which has changed.
	SaveAgain(ctx context.Context, inv *ownership.Inventory, a engine.Action) error
}

// Console is what is done at Cast AI's console around the removal.
type Console interface {
	// Around puts what is to be done there around a plan, and what a person must
	// decide first with the blockers of the inventory.
	Around(ctx context.Context, inv *ownership.Inventory, plan *engine.Plan) error
	// Finishes tells whether Finish carries out the phase of this name.
	Finishes(phase string) bool
	// Finish does what comes last. after is nil if nobody could look.
	Finish(ctx context.Context, r *engine.Report, after *ownership.Inventory) error
	// Gated tells whether the report says that nothing was removed, because a step
	// at the console did not finish.
	Gated(r *engine.Report) bool
}

// Runner takes Cast AI out of a cluster:
//
//	o, err := r.Observe(ctx)           // what is there, whose it is
//	plan, err := r.Plan(ctx, o)        // what to do, in which order
//	err = r.Refusals(o)                // what a person must decide first
//	result, err := r.Remove(ctx, o, plan)
//
// It asks nobody and prints nothing; what happens it tells as events.
type Runner struct {
	Cluster   Cluster
	Catalogue *ownership.Catalogue
	// Judge are the user's exceptions.
	Judge ownership.Options
	// Accept names the blockers that the user knows of.
	Accept []string
	// CleanUp, Phase: see Options. Settle is how long nothing may come back.
	CleanUp, Phase, Settle time.Duration
	// Only, if it is not nil, is a plan that was agreed to before: nothing is done
	// that it does not do. What is removed is judged as without it.
	Only *engine.Plan
	// Revert also takes back what Cast AI wrote into users' objects.
	Revert bool
	// Free says how namespaces of Cast AI's that get stuck may be freed; nil: they
	// are left stuck.
	Free func(inv *ownership.Inventory) finalize.Options
	// Saver is nil if nothing is to be saved, Console if nothing is to be done there.
	Saver   Saver
	Console Console
	OnEvent func(engine.Event)
}

// Observation is one look at a cluster, judged.
type Observation struct {
	*ownership.Inventory
	survey *Survey
	stays  map[string]string // namespaces that do not go whole, and why
}

// Snapshot returns what the observation was made of.
func (o *Observation) Snapshot() *cluster.Snapshot { return o.survey.Snapshot }

// Observe looks at the cluster and judges it. The error is for a server that
// can't be reached; what can't be read is in the inventory.
func (r *Runner) Observe(ctx context.Context) (*Observation, error) {
	s, err := Look(ctx, r.Cluster, r.Catalogue, r.Judge.Trust)
	if err != nil {
		return nil, err
	}
	return r.Judged(ctx, s)
}

// Judged judges what was read before.
func (r *Runner) Judged(ctx context.Context, s *Survey) (*Observation, error) {
	var err error
	o := &Observation{Inventory: s.Judge(r.Judge), survey: s}
	o.stays, err = r.unreadableIn(ctx, o.Inventory)
	return o, err
}

// Plan returns the plan for an observation, with what is done at the console.
func (r *Runner) Plan(ctx context.Context, o *Observation) (*engine.Plan, error) {
	plan := r.plan(o)
	if r.Console == nil {
		return plan, nil
	}
	return plan, r.Console.Around(ctx, o.Inventory, plan)
}

// plan returns what is to be done in the cluster.
func (r *Runner) plan(o *Observation) *engine.Plan {
	plan := New(o.Inventory, r.Catalogue, Options{CleanUp: r.CleanUp, Phase: r.Phase, Stays: o.stays})
	if phase := r.revert(o.Inventory, o.Objects()); phase != nil {
		plan.Phases = append(plan.Phases, *phase)
	}
	return plan
}

func (r *Runner) revert(inv *ownership.Inventory, objects []*cluster.Object) *engine.Phase {
	if !r.Revert {
		return nil
	}
	return Revert(inv, objects, r.Phase)
}

// Refusal is why an offboarding is not started, or not gone on with.
type Refusal struct {
	Reason string
	// Missing are the rights without which a part of the cluster can't be read.
	Missing []cluster.Right
}

func (r *Refusal) Error() string { return r.Reason }

// Refusals returns a *Refusal if something must be decided or made readable
// first: what can't be seen can't be known to stay untouched or to be left, and
// what is removed may be all that tells whose it is.
func (r *Runner) Refusals(o *Observation) error {
	for _, u := range o.Unreadable {
		if u.BuiltIn() && !u.Forbidden {
			return &Refusal{Reason: fmt.Sprintf(
				"%s can't be read, so it is not certain whose everything is: try again later (%s)", u.What, u.Message)}
		}
	}
	if missing := forbidden(o.Unreadable); len(missing) > 0 {
		return &Refusal{Missing: missing, Reason: fmt.Sprintf(
			"you may not read %d kinds of objects, so nothing is known of them: have an administrator bind the ClusterRole above to you",
			len(missing)/2)}
	}
	if len(o.Owned()) == 0 && !r.Revert {
		return nil // there is nothing to decide about
	}
	var open []string
	for _, b := range o.Blockers {
		if !slices.Contains(r.Accept, b.Name) {
			open = append(open, fmt.Sprintf("%s (%s: %s)", b.Name, b.Text, b.Remedy))
		}
	}
	if len(open) == 0 {
		return nil
	}
	return &Refusal{Reason: fmt.Sprintf("to be decided first, as status explains: %s; to go on regardless, pass --accept NAME",
		strings.Join(open, ", "))}
}

// forbidden returns the rights whose lack made parts of the API unreadable.
func forbidden(list []cluster.Unreadable) []cluster.Right {
	var out []cluster.Right
	for _, u := range list {
		if u.Forbidden {
			resource, group, _ := strings.Cut(u.What, ".")
			for _, verb := range []string{"get", "list"} {
				out = append(out, cluster.Right{Group: group, Resource: resource, Verb: verb})
			}
		}
	}
	return out
}

// Check lets the server go through all checks of the plan's writes, and changes
// nothing.
func (r *Runner) Check(ctx context.Context, plan *engine.Plan) (*engine.Report, error) {
	return engine.Run(ctx, r.Cluster, plan, engine.Options{DryRun: true, OnEvent: r.OnEvent})
}

// reaction is how long a controller gets to put back what just went. That is
// all the settle time adds where the end of a namespace was waited for longer
// than that: its controller's own grace is 5 s.
const reaction = time.Second

// verify looks again when nothing but roots was asked to go for the settle time, and
// the last that did go is gone for as long as a controller needs to react. What the
// user named may be gone by now.
func (m *removal) verify(ctx context.Context) (*Observation, error) {
	wait := max(time.Until(m.asked.Add(m.Settle)), min(m.Settle, reaction))
	phase := &engine.Phase{Name: PhaseVerify, Title: "Look again"}
	if wait > 0 {
		phase.Title = fmt.Sprintf("Wait %d s for what may come back, and look again", int(math.Ceil(wait.Seconds())))
	}
	m.event(engine.Event{Type: engine.PhaseStarted, Time: time.Now(), Phase: phase})
	defer func() { m.event(engine.Event{Type: engine.PhaseEnded, Time: time.Now(), Phase: phase}) }()
	if err := pause(ctx, wait); err != nil {
		return nil, err
	}
	o, err := m.observe(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return o, err
}

// ErrChanged ends a run that found, once Cast AI's workloads were stopped, that
// a person must decide about something new. What was done by then is said behind it.
var ErrChanged = errors.New("the run ended before it removed what is left")
