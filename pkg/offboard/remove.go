package offboard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/finalize"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// BlockerRunning is what Accept names to go on although something of Cast AI's
// can't be stopped.
const BlockerRunning = "running"

const (
	// maxStops is how often what came while Cast AI's workloads were being stopped
	// is stopped in turn.
	maxStops = 3
	// maxRounds is how often what came while Cast AI was being removed is removed
	// in turn.
	maxRounds = 3
)

// Result is what became of an offboarding.
type Result struct {
	Report *engine.Report
	// Before is what was judged last before anything was removed.
	Before *ownership.Inventory
	// After is what is left; nil if nobody could look.
	After *ownership.Inventory
	// Returned is what somebody made meanwhile.
	Returned []Return
}

// Remove carries out the plan that Plan returned for the observation, and says
// what became of it, also with an error: the cause of ctx, engine.ErrGate,
// ErrChanged, or what the Saver or the server said.
//
// It stops what writes, looks, judges, plans and saves again, and removes what
// that plan says: what came in between is in it if it is Cast AI's, and left
// alone if not.
func (r *Runner) Remove(ctx context.Context, o *Observation, plan *engine.Plan) (*Result, error) {
	own := *r // what the user names is pinned as it goes on
	m := &removal{Runner: &own, now: o, named: named(o, r.Judge.Include), seen: []*ownership.Inventory{o.Inventory},
		report: &engine.Report{}, asked: time.Now(), dead: map[string]bool{}}
	err := m.course(ctx, plan)
	result := &Result{Report: m.report, Before: m.now.Inventory, After: m.after}
	if errors.Is(err, engine.ErrGate) && (r.Console == nil || !r.Console.Gated(m.report)) {
		if after, lookErr := m.verify(ctx); lookErr == nil {
			result.After = after.Inventory
		}
	}
	if result.After != nil {
		before := m.first
		if before == nil {
			before = m.seen
		}
		result.Returned = Returned(result.After, before...)
		finish(m.report, plan, result.After)
	}
	if err == nil && r.Console != nil {
		err = r.Console.Finish(ctx, m.report, result.After)
	}
	return result, err
}

// removal is one run of a Runner.
type removal struct {
	*Runner
	now  *Observation           // the last one: what is removed is judged by it
	seen []*ownership.Inventory // all of them
	// first are those before anything was removed, nil until then. What comes after them may
	// be somebody's who begins anew.
	first  []*ownership.Inventory
	report *engine.Report
	after  *ownership.Inventory      // what is left; nil before everything was removed
	asked  time.Time                 // when the last deletion was, but for that of the roots
	dead   map[string]bool           // components that did not live when they were needed
	named  map[cluster.Ref]types.UID // of what the user named, when it was confirmed
	mu     sync.Mutex
	saved  map[types.UID]string // resourceVersions in the plan that is carried out, by UID
	kept   map[types.UID]bool   // what was judged to be Cast AI's, and stays all the same
	held   map[types.UID]bool   // what was kept for what it would have taken along
	stayed []cluster.Target     // what was to be deleted, and had not gone when its phase ended
}

// course is the whole way of an offboarding.
func (m *removal) course(ctx context.Context, shown *engine.Plan) error {
	shown, err := m.only(shown)
	if err != nil {
		return err
	}
	if err := m.save(ctx, shown); err != nil {
		return err
	}
	plan, err := m.begin(ctx, shown)
	if err != nil {
		return err
	}
	if plan, err = m.halt(ctx, m.onlyAlive(ctx, part(plan, stopping)), plan); err != nil {
		return err
	}
	m.first = slices.Clone(m.seen)
	err = m.remove(ctx, plan)
	m.staying(shown)
	return err
}

// remove removes what the plan says, looks when nothing may come back any more,
// and removes what came meanwhile: what was still on its way when its maker was
// stopped.
func (m *removal) remove(ctx context.Context, plan *engine.Plan) error {
	for round := 1; ; round++ {
		rest := part(plan, removing)
		m.guard(rest)
		if _, err := m.run(ctx, rest); err != nil {
			return err
		}
		if round == 1 {
			if err := m.takeBack(ctx, plan); err != nil {
				return err
			}
		}
		o, err := m.verify(ctx)
		if err != nil {
			return err
		}
		if round == maxRounds || m.Only != nil || !m.came(o) && !m.freed(o) { // what is new is in no plan
			m.after = o.Inventory
			return nil
		}
		if plan, err = m.take(ctx, o); err != nil {
			return err
		}
		if first := m.running(ctx, plan, false); len(first.Phases) > 0 {
			if plan, err = m.halt(ctx, first, plan); err != nil {
				return err
			}
		}
	}
}

// came tells whether an observation has something of Cast AI's that nobody had
// seen before, and that no tool which keeps a state would make again and again.
func (m *removal) came(o *Observation) bool {
	return slices.ContainsFunc(Returned(o.Inventory, m.seen...), func(r Return) bool {
		return !r.kept && o.IsOwned(r.Ref)
	})
}

// freed tells whether something that was kept may go by now: what came into a
// namespace and held it has gone again.
func (m *removal) freed(o *Observation) bool {
	if m.Refusals(o) != nil {
		return false // what holds it is what a person must decide about
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.kept) > 0 {
		return false // what could not be saved, say, holds it still
	}
	return slices.ContainsFunc(part(m.plan(o), removing).Phases, func(p engine.Phase) bool {
		return p.Name != PhaseRoots && slices.ContainsFunc(p.Actions,
			func(a engine.Action) bool { return m.held[a.Target.UID] })
	})
}

// staying reports the namespaces that are Cast AI's and not asked to go, and
// those that were to go when the plan was shown.
func (m *removal) staying(shown *engine.Plan) {
	was := writes(shown)
	for _, h := range m.now.Homes {
		why := m.now.stays[h.Name]
		if h.Namespace != nil && len(h.Keep) > 0 && was[write{verb: engine.Delete, ref: h.Namespace.Ref(),
			uid: h.Namespace.UID}] {
			why = fmt.Sprintf("%s came into it, and is not Cast AI's", h.Keep[0])
		}
		if why != "" {
			m.report.Outcomes = append(m.report.Outcomes, engine.Outcome{
				Phase: PhaseNamespaces, Verb: engine.Delete, Object: h.Namespace.Ref(), Result: engine.ResultKept, Message: why,
			})
		}
	}
}

// run carries out a part of the plan and adds to the report.
func (m *removal) run(ctx context.Context, plan *engine.Plan) (*engine.Report, error) {
	plan = m.onlyOurs(ctx, m.onlySaved(plan))
	for i := range plan.Phases {
		plan.Phases[i].Dependents = m.dependents
	}
	report, err := engine.Run(ctx, m.Cluster, plan, engine.Options{Changed: m.changed, OnEvent: m.event})
	m.report.Outcomes = append(m.report.Outcomes, report.Outcomes...)
	m.report.Phases = append(m.report.Phases, report.Phases...)
	return report, err
}

// onlyOurs makes sure that nothing is stopped that has changed hands since it was
// judged.
func (m *removal) onlyOurs(ctx context.Context, plan *engine.Plan) *engine.Plan {
	out := &engine.Plan{Notes: plan.Notes}
	for _, phase := range plan.Phases {
		if halting(phase.Name) {
			phase.Actions = slices.Clone(phase.Actions)
			for i := range phase.Actions {
				if a := &phase.Actions[i]; a.Change != nil {
					a.Change = m.ifStillOurs(ctx, *a)
				}
			}
		}
		out.Phases = append(out.Phases, phase)
	}
	return out
}

// ifStillOurs returns the change of an action, or, for an object that is no longer
// in the state that was judged and no longer Cast AI's, a Keep error.
func (m *removal) ifStillOurs(ctx context.Context, a engine.Action) func(*cluster.Object) (map[string]any, error) {
	return func(o *cluster.Object) (map[string]any, error) {
		if o.ResourceVersion == a.Target.ResourceVersion {
			return a.Change(o)
		}
		live, err := m.read(ctx, a.Target)
		if err != nil {
			return nil, err
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if _, ours := m.judgeAgain(live); !ours {
			return nil, engine.Keep(noLonger)
		}
		return a.Change(o)
	}
}

// noLonger is why an object that was judged to be Cast AI's stays.
const noLonger = "somebody changed it meanwhile, and it is no longer certain that it is Cast AI's"

// judgeAgain judges a state of an object that is another one than was judged, and
// returns the inventory that says whose it is. The rest of the cluster is taken as
// it was judged: some of what tells whose the object is may be gone.
func (m *removal) judgeAgain(live *cluster.Object) (inv *ownership.Inventory, ours bool) {
	inv = m.now.Inventory
	if was := inv.Item(live.Ref()); was != nil && sameEvidence(was.Object, live) {
		return inv, inv.IsOwned(live.Ref())
	}
	inv = m.now.survey.with(live).Judge(m.Judge)
	if inv.IsOwned(live.Ref()) {
		return inv, true
	}
	m.keep(live)
	return inv, false
}

// unsaved is no resourceVersion of any object.
const unsaved = "not-saved"

// onlySaved makes sure that nothing is deleted that is not saved: a deletion that
// is meant for a state that there is none of ends with the object gone, or saved
// (see changed).
func (m *removal) onlySaved(plan *engine.Plan) *engine.Plan {
	if m.Saver == nil {
		return plan
	}
	out := &engine.Plan{Notes: plan.Notes}
	for _, phase := range plan.Phases {
		phase.Actions = slices.Clone(phase.Actions)
		for i := range phase.Actions {
			if t := &phase.Actions[i].Target; phase.Actions[i].Verb == engine.Delete && m.saved[t.UID] != t.ResourceVersion {
				t.ResourceVersion = unsaved
			}
		}
		out.Phases = append(out.Phases, phase)
	}
	return out
}

func (m *removal) event(e engine.Event) {
	switch e.Type {
	case engine.Requested, engine.Stripped:
		// Whoever puts back what tells where Cast AI lived puts back the rest, which went before it.
		if e.Phase == nil || e.Phase.Name != PhaseRoots && e.Phase.Name != PhaseLast {
			m.asked = e.Time
		}
	case engine.Failed, engine.Kept, engine.Left:
		if e.Verb == engine.Delete && e.Phase != nil && removing(e.Phase.Name) {
			m.stays(e)
		}
	}
	if m.OnEvent != nil {
		m.OnEvent(e)
	}
}

// stays notes what was to be deleted and is there. What is only kept because
// something else is holds nothing itself.
func (m *removal) stays(e engine.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.Phase.Name != PhaseRoots && e.Phase.Name != PhaseLast {
		m.stayed = append(m.stayed, e.Target)
	}
	if e.Type == engine.Kept {
		if m.held == nil {
			m.held = map[types.UID]bool{}
		}
		m.held[e.Target.UID] = true
	}
}

// again looks, judges, plans and saves again.
func (m *removal) again(ctx context.Context) (*engine.Plan, error) {
	o, err := m.observe(ctx)
	if err != nil {
		return nil, err
	}
	return m.take(ctx, o)
}

// observe looks at the cluster, judges it, and does not forget what it saw before.
func (m *removal) observe(ctx context.Context) (*Observation, error) {
	s, err := Look(ctx, m.Cluster, m.Catalogue, m.Judge.Trust)
	if err != nil {
		return nil, err
	}
	s.remember(m.now)
	m.pin(s)
	o, err := m.Judged(ctx, s)
	if err != nil || m.first == nil {
		return o, err
	}
	late := m.late(o)
	if len(late) == 0 {
		return o, nil
	}
	m.Judge.Arrived = append(slices.Clone(m.Judge.Arrived), late...)
	return m.Judged(ctx, s)
}

// named returns the UIDs of the objects that the user named.
func named(o *Observation, refs []cluster.Ref) map[cluster.Ref]types.UID {
	out := map[cluster.Ref]types.UID{}
	for _, object := range o.Objects() {
		if slices.Contains(refs, object.Ref()) {
			out[object.Ref()] = object.UID
		}
	}
	return out
}

// pin takes out of what the user named, against all evidence, what another object
// has the name of by now: nobody has confirmed that one.
func (m *removal) pin(s *Survey) {
	m.Judge.Include = slices.DeleteFunc(slices.Clone(m.Judge.Include), func(r cluster.Ref) bool {
		return slices.ContainsFunc(s.Snapshot.Objects, func(o *cluster.Object) bool {
			return o.Ref() == r && o.UID != m.named[r]
		})
	})
}

// take makes an observation the one that everything is judged by from now on,
// and plans and saves.
func (m *removal) take(ctx context.Context, o *Observation) (*engine.Plan, error) {
	m.now, m.seen = o, append(m.seen, o.Inventory)
	if err := m.Refusals(o); err != nil {
		return nil, fmt.Errorf("%w: %w", m.soFar(ErrChanged), err)
	}
	plan, err := m.only(m.plan(o))
	if err != nil {
		return nil, err
	}
	return plan, m.save(ctx, plan)
}

// save saves what the plan deletes or changes.
func (m *removal) save(ctx context.Context, plan *engine.Plan) error {
	if m.Saver == nil {
		return nil
	}
	saved, err := m.Saver.Save(ctx, m.now.Inventory, plan)
	if err != nil {
		return err
	}
	m.saved = saved
	return nil
}

// guard lets phases look right before what they delete takes others along, and
// namespaces that get stuck be freed.
func (m *removal) guard(plan *engine.Plan) {
	for i := range plan.Phases {
		switch phase := &plan.Phases[i]; phase.Name {
		case PhaseDefinitions:
			phase.Hold = m.holdDefinitions
		case PhaseRoots, PhaseLast:
			phase.Hold = m.holdRoots
		case PhaseNamespaces:
			phase.Hold, phase.Takes = m.holdNamespaces, func(a engine.Action) bool { return isNamespace(a.Target.Ref) }
			if m.Free != nil {
				phase.Next = finalize.Next(m.observeHomes, m.Free(m.now.Inventory))
			}
		}
	}
}

func (m *removal) observeHomes(ctx context.Context) (*finalize.Observation, error) {
	var homes []string
	for _, h := range m.now.Homes {
		homes = append(homes, h.Name)
	}
	return finalize.Observe(ctx, m.Cluster, homes...)
}

// takeBack takes Cast AI's writing out of users' objects. It starts from a fresh
// look at those in the plan, since the removal may have changed them.
func (m *removal) takeBack(ctx context.Context, plan *engine.Plan) error {
	i := slices.IndexFunc(plan.Phases, func(p engine.Phase) bool { return p.Name == PhaseRevert })
	if i < 0 {
		return nil
	}
	s, err := Look(ctx, m.Cluster, m.Catalogue, m.Judge.Trust)
	if err != nil {
		return err
	}
	phase := m.revert(m.now.Inventory, StillPlanned(&plan.Phases[i], s.Snapshot.Objects))
	if phase == nil {
		return nil
	}
	_, err = m.run(ctx, &engine.Plan{Phases: []engine.Phase{*phase}})
	return err
}
