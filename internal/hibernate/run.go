package hibernate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// API is what hibernation needs of the Cast AI API.
type API interface {
	Cluster(ctx context.Context, id string) (castai.Cluster, error)
	Policies(ctx context.Context, id string) (castai.Policies, error)
	PutPolicies(ctx context.Context, id string, p castai.Policies) error
	Nodes(ctx context.Context, id string) ([]castai.Node, error)
	AddNode(ctx context.Context, id string, config castai.NodeConfig) (castai.AddedNode, error)
	DeleteNode(ctx context.Context, id, nodeID string, drain time.Duration, force bool) (string, error)
	Operation(ctx context.Context, operationID string) (castai.Operation, error)
}

// Cluster is what it needs of the cluster.
type Cluster interface {
	engine.Cluster
	Snapshot(ctx context.Context, scope cluster.Scope) (*cluster.Snapshot, error)
	Await(ctx context.Context, r *cluster.Resource, namespace string, fields [][]string,
		done func([]*cluster.Object) (bool, error)) error
	Evict(ctx context.Context, pod cluster.Target) error
	Hold(ctx context.Context, namespace, name, holder string, tell func(holder string)) (held context.Context,
		release func(), err error)
}

// Runner pauses and resumes one cluster.
type Runner struct {
	Cluster   Cluster
	API       API
	ClusterID string
	Namespace string
	// By is who it is, for the journal.
	By string
	// DryRun sends the writes to the cluster with dryRun=All, and calls nobody.
	DryRun bool
	// OnEvent is told what happens.
	OnEvent func(engine.Event)
	// Tell is told what is out of the ordinary.
	Tell func(message string)
	// Drain is how long the pods of a node get to be evicted as their
	// PodDisruptionBudgets allow; then the node goes all the same.
	Drain time.Duration
	// Step bounds each other step.
	Step time.Duration
	// Managed bounds what the service does on its own.
	Managed time.Duration
}

// Bounds of waiting.
const (
	polling  = 2 * time.Second  // between two looks at an operation of Cast AI's
	takeBack = 3 * time.Minute  // to take back what was done
	settling = 5 * time.Minute  // for a node to go after it was drained
	removals = 3                // how often a node's removal is asked for
	hearsay  = 30 * time.Second // for a node to be listed whose order had no answer
	quietly  = 15 * time.Second // without a node on its way, since the autoscaler stopped
)

// Observe looks at the cluster, and, with an API, at what Cast AI says of it.
func (r *Runner) Observe(ctx context.Context) (*State, error) {
	var console *Console
	if r.API != nil {
		var err error
		if console, err = r.ask(ctx); err != nil {
			return nil, err
		}
	}
	s, err := r.look(ctx)
	if err != nil {
		return nil, err
	}
	s.Console = console
	s.match()
	return s, nil
}

// look looks at the cluster alone.
func (r *Runner) look(ctx context.Context) (*State, error) {
	snap, err := r.Cluster.Snapshot(ctx, Scope(r.Namespace))
	if err != nil {
		return nil, err
	}
	record, err := r.Cluster.Get(ctx, stateTarget(r.Namespace), stateFields()...)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("the state of hibernation can't be read: %w", err)
	}
	return NewState(snap, r.Namespace, record, nil)
}

func (r *Runner) ask(ctx context.Context) (c *Console, err error) {
	c = &Console{}
	if c.Cluster, err = r.API.Cluster(ctx, r.ClusterID); err != nil {
		return nil, err
	}
	if c.Policies, err = r.API.Policies(ctx, r.ClusterID); err != nil {
		return nil, err
	}
	c.Nodes, err = r.API.Nodes(ctx, r.ClusterID)
	return c, err
}

// Hold makes sure that nobody else pauses or resumes the cluster meanwhile.
func (r *Runner) Hold(ctx context.Context) (held context.Context, release func(), err error) {
	held, release, err = r.Cluster.Hold(ctx, r.Namespace, leaseName, r.By, func(holder string) {
		r.Tell(fmt.Sprintf("%s has begun something: waiting to see whether it is still alive", holder))
	})
	if busy, ok := errors.AsType[*cluster.HeldError](err); ok {
		return nil, nil, &Busy{Refusal{fmt.Sprintf("%s pauses or resumes the cluster right now: wait for it to end",
			busy.Holder)}}
	}
	return held, release, err
}

// Pause carries out what is planned, and plans again once there is a hibernation
// node. If it fails before a node has been removed, it takes everything back.
// What was done is in the report in any case.
func (r *Runner) Pause(ctx context.Context, p *Pause, o PauseOptions) (*engine.Report, error) {
	report := &engine.Report{DryRun: r.DryRun}
	restore := p.Restore
	if err := r.apart(ctx, report, p.Suspend, p.Journal.Run, false); err != nil {
		return report, errors.Join(err, r.restore(ctx, report, restore))
	}
	err := r.fall(ctx, report, p, o)
	return report, errors.Join(err, r.restore(ctx, report, restore))
}

// fall is a pause, once nobody else is at it.
func (r *Runner) fall(ctx context.Context, report *engine.Report, p *Pause, o PauseOptions) error {
	stopped, begun := time.Now(), p.begun
	o.underway = true
	err := r.run(ctx, report, r.prepare(p))
	if err == nil && !r.DryRun {
		p, err = r.ready(ctx, p, o)
	}
	if err == nil && p.Node != nil {
		if err = r.run(ctx, report, r.fallAsleep(p)); err == nil && !r.DryRun {
			// Nothing new starts on what goes any more: what is there now, counts. What
			// could not move keeps its node.
			o.Keep = stillKept(o.Keep)
			var now *Pause
			if now, err = r.again(ctx, o); err == nil {
				p = now
				err = r.run(ctx, report, r.corrections(p))
			}
		}
	}
	if err == nil && p.Node != nil {
		err = r.guard(ctx, report, p, []engine.Phase{r.removing(p)})
	}
	if r.DryRun {
		return err
	}
	if err == nil && len(left(report)) == 0 {
		err = r.follow(ctx, report, p, o, stopped)
	}
	begun = begun || removed(report)
	err = unfinished(report, err, begun)
	if errors.Is(context.Cause(ctx), cluster.ErrLost) {
		return err // what was done is the other one's to go on with
	}
	if err != nil && !begun {
		return r.rollBack(ctx, report, p, err)
	}
	// Nodes that are gone do not come back: from here on, on.
	j := p.Journal
	j.Phase, j.Since = Paused, time.Now().UTC().Truncate(time.Second)
	if err != nil {
		j.Phase, j.Error = Pausing, err.Error()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBack)
	defer cancel()
	return errors.Join(err, r.end(ctx, report, p))
}

// ready returns the plan of a cluster whose autoscaler is off and whose hibernation
// node is there. A Job of Cast AI's may have begun in the moment before its
// CronJob was suspended: it is waited for, and whatever it has done is looked at
// anew.
func (r *Runner) ready(ctx context.Context, p *Pause, o PauseOptions) (*Pause, error) {
	waited, err := r.awaitOthers(ctx)
	if err != nil || !waited && p.Node != nil {
		return p, err
	}
	if waited {
		if err := r.turn(ctx, p.Journal.Policies.Original, p.Journal.Policies.Switch, false); err != nil {
			return p, err
		}
	}
	next, err := r.again(ctx, o)
	if err != nil {
		return p, err
	}
	return next, nil
}

// unfinished is the error of a pause that went to its end and has left nodes, or
// that stopped among them for a reason that another run does not go away by. begun:
// nodes are gone, so that nothing is taken back.
func unfinished(report *engine.Report, err error, begun bool) error {
	nodes := left(report)
	_, refused := errors.AsType[*underwayError](err)
	if said, ok := errors.AsType[*LeftError](err); ok {
		return said
	}
	stopped := errors.Is(err, errWoken) || refusedKey(err) || refused
	switch {
	case err == nil && len(nodes) == 0:
		return nil
	case err != nil && begun && !stopped:
		return fmt.Errorf("%w: what is paused stays so: run pause again to go on, or resume", err)
	case err != nil && !begun:
		return err
	}
	message := because(report)
	if len(nodes) > 0 {
		message = fmt.Sprintf("%d nodes are still there: %s%s", len(nodes), names(nodes, func(s string) string { return s }),
			message)
	}
	if err != nil {
		message = strings.TrimPrefix(message+"; ", "; ") + err.Error()
	}
	return &LeftError{message + ": run pause again to go on, or resume"}
}

// end writes down how a pause went. Its last act, on a pause that went well, is to
// have the node removed that it runs on.
func (r *Runner) end(ctx context.Context, report *engine.Report, p *Pause) error {
	if p.Node == nil { // it could not be made
		return r.run(ctx, report, []engine.Phase{r.record(p.Journal, "Write down how it went")})
	}
	if err := r.run(ctx, report, []engine.Phase{r.untainting(p)}); err != nil {
		p.Journal.Phase, p.Journal.Error = Pausing, err.Error()
		return errors.Join(err, r.run(ctx, report, []engine.Phase{r.record(p.Journal, "Write down how it went")}))
	}
	phases := []engine.Phase{r.record(p.Journal, "Write down how it went")}
	if p.Last != nil && p.Journal.Phase == Paused {
		phases = append(phases, r.ending(p))
	}
	return r.run(ctx, report, phases)
}

// again looks and plans anew.
func (r *Runner) again(ctx context.Context, o PauseOptions) (*Pause, error) {
	s, err := r.Observe(ctx)
	if err != nil {
		return nil, err
	}
	p, err := PlanPause(s, o)
	if err == nil && p.Node == nil {
		err = errors.New("the hibernation node is there for Cast AI, but not in the cluster")
	}
	return p, underway(err)
}

// underwayError is a reason to refuse a pause that has come up while one is carried
// out, so that something was changed.
type underwayError struct{ *Refusal }

// Unwrap hides that it was a refusal.
func (*underwayError) Unwrap() error { return nil }

func underway(err error) error {
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		return &underwayError{refusal}
	}
	return err
}

// LeftError says what a run that went to its end has left.
type LeftError struct{ Message string }

// Error is the message.
func (e *LeftError) Error() string { return e.Message }

// run carries out phases that depend on each other, and adds to the report.
func (r *Runner) run(ctx context.Context, report *engine.Report, phases []engine.Phase) error {
	part, err := engine.Run(ctx, r.Cluster, &engine.Plan{Phases: phases},
		engine.Options{DryRun: r.DryRun, OnEvent: r.OnEvent})
	report.Outcomes = append(report.Outcomes, part.Outcomes...)
	report.Phases = append(report.Phases, part.Phases...)
	if !errors.Is(err, engine.ErrGate) {
		return err
	}
	for _, o := range part.Outcomes {
		switch o.Result {
		case engine.ResultFailed:
			return failure(o)
		case engine.ResultLeft:
			return fmt.Errorf("%w waiting: %s", engine.ErrTimeout, cmp.Or(o.Message, o.Object.String()))
		case engine.ResultDone, engine.ResultGone, engine.ResultSkipped:
		}
	}
	return err
}

// failure is why an action failed. What the API says names the cluster already.
func failure(o engine.Outcome) error {
	if o.Verb == engine.Call {
		return errors.New(o.Message)
	}
	return fmt.Errorf("%s: %s", o.Object, o.Message)
}

// because is why nodes could not be removed, as far as somebody has said so.
func because(report *engine.Report) string {
	for _, o := range report.Outcomes {
		if o.Phase == phaseRemove && o.Result == engine.ResultFailed {
			return " (" + o.Message + ")"
		}
	}
	return ""
}

// removed tells whether a node was removed, or is about to be.
func removed(report *engine.Report) bool {
	for _, o := range report.Outcomes {
		if o.Phase == phaseRemove && o.Operation == operationRemove && o.Result == engine.ResultDone {
			return true
		}
	}
	return false
}

// left returns the names of the nodes that should be gone and are not.
func left(report *engine.Report) []string {
	seen := map[string]bool{}
	for _, o := range report.Outcomes {
		// Those that are waited for have no verb, and no outcome once they are gone.
		if o.Phase == phaseRemove && (o.Verb == "" && o.Result == engine.ResultLeft || o.Result == engine.ResultSkipped) {
			seen[o.Object.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// rollBack takes back what a pause has done, and says so. What is in the cluster is
// taken back whether Cast AI answers or not.
func (r *Runner) rollBack(ctx context.Context, report *engine.Report, p *Pause, cause error) error {
	r.Tell(fmt.Sprintf("The pause failed: %v. Taking back what was done.", cause))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBack)
	defer cancel()
	late := p.unheard && r.listed(ctx, p.Journal) != ""
	s, err := r.look(ctx)
	silent := error(nil)
	if err == nil {
		if s.Console, silent = r.ask(ctx); silent != nil {
			s.Console = nil
		}
		s.match()
		var resume *Resume
		if resume, err = PlanResume(s, ResumeOptions{By: r.By}); err == nil && resume.Already == "" {
			resume.Journal.Error = cause.Error()
			resume.clusterFirst = silent != nil
			if late && resume.Unmade == "" {
				resume.giveUpOrphan(s)
			}
			if j := resume.Journal; silent != nil && j.Node != nil && j.Node.Made && !s.has(j.Node.Name) {
				resume.Unmade = j.Node.ID
			}
			err = r.wake(ctx, report, resume)
		}
	}
	if err != nil {
		return fmt.Errorf("%w; and this could not be taken back: %w: run resume", cause, underway(err))
	}
	if p.unheard && !late {
		return fmt.Errorf("%w; whether Cast AI makes a node all the same is not known, and everything else was taken back: if one joins with the label %s=%s, resume --repair gives it up", cause, runLabel, p.Journal.Run)
	}
	return fmt.Errorf("%w; everything was taken back", cause)
}

// Resume carries out what is planned, and adds to the report. A failure leaves the
// journal as it is, so that the next resume goes on.
func (r *Runner) Resume(ctx context.Context, report *engine.Report, p *Resume) error {
	if p.blind { // a cluster that sleeps costs more than two that wake it
		return r.wake(ctx, report, p)
	}
	err := r.apart(ctx, report, p.Suspend, p.Journal.Run, true)
	if err == nil {
		err = r.wake(ctx, report, p)
	}
	return errors.Join(err, r.restore(ctx, report, p.Restore))
}

// wake is a resume, once nobody else is at it.
func (r *Runner) wake(ctx context.Context, report *engine.Report, p *Resume) error {
	why, whole := p.Journal.Error, report
	report = &engine.Report{}
	defer func() {
		whole.Outcomes, whole.Phases = append(whole.Outcomes, report.Outcomes...), append(whole.Phases, report.Phases...)
	}()
	err := r.run(ctx, report, r.wakeUp(p))
	if r.DryRun {
		return err
	}
	err = errors.Join(err, notTakenBack(report))
	j := p.Journal
	j.Since, j.Error = time.Now().UTC().Truncate(time.Second), why
	if err != nil {
		j.Error = err.Error()
	} else {
		j.Phase, j.Adopted, j.Remove, j.Kept, j.Tolerate, j.Unready = Awake, false, nil, nil, nil, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBack)
	defer cancel()
	return errors.Join(err, r.run(ctx, report, []engine.Phase{r.record(j, "Write down how it went")}))
}

// notTakenBack names what a resume has left of a pause, and why.
func notTakenBack(report *engine.Report) error {
	var out []error
	for _, o := range report.Outcomes {
		if !slices.Contains(wakePhases, o.Phase) || o.Result == engine.ResultDone || o.Result == engine.ResultGone {
			continue
		}
		switch o.Phase {
		case phaseAutoscaler:
			out = append(out, fmt.Errorf("the autoscaler is not as it was (%s)", cmp.Or(o.Message, "it was not come to that")))
		case phaseNode:
			out = append(out, fmt.Errorf("the node that was being made may still come (%s)",
				cmp.Or(o.Message, "it was not come to that")))
		default:
			out = append(out, fmt.Errorf("%s: %s", o.Object, cmp.Or(o.Message, "it was not come to that")))
		}
	}
	return one(out)
}

// one makes one sentence of several errors.
func one(all []error) error {
	if len(all) == 0 {
		return nil
	}
	err := all[0]
	for _, next := range all[1:] {
		err = fmt.Errorf("%w; %w", err, next)
	}
	return err
}
