package offboard

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// Whether a controller lives is not to be read from a field: pods stay "ready"
// on a node that is lost, and so does the holder of a Lease. It lives if its
// pods are ready and its Lease is renewed while we look.
const (
	// renewal is how long a Lease that is held may take to be renewed: client-go's
	// leader election does so every 2 s (RetryPeriod, controller-runtime v0.22
	// pkg/manager/manager.go), and a busy machine is late.
	renewal = 4 * time.Second
	// stale is how far behind the newest of the cluster a Lease is that nobody
	// renews any more; it spares waiting for it.
	stale = time.Minute
	// reactionTime is how long a living controller may be silent before it is
	// looked at again.
	reactionTime = 5 * time.Second

	poll      = 250 * time.Millisecond
	soon      = 3 * time.Second
	lookAgain = 500 * time.Millisecond
	maxLooks  = 10
)

// ready returns the workloads of a component that have ready pods.
func ready(inv *ownership.Inventory, component string) []*cluster.Object {
	var out []*cluster.Object
	for _, i := range inv.Owned() {
		n, _, err := unstructured.NestedInt64(i.Object.Body, "status", "readyReplicas")
		if err == nil && n > 0 && component != "" && i.Component == component && isWorkload(i.Object) {
			out = append(out, i.Object)
		}
	}
	return out
}

// leases returns the Leases that the component's ready pods may hold and that
// may still be renewed: in their namespaces, not held by pods of another
// workload, and not far behind the newest Lease in kube-system, which only
// administrators and the control plane write: its time is the server's.
func leases(inv *ownership.Inventory, component string) []*cluster.Object {
	workloads := ready(inv, component)
	var candidates []*cluster.Object
	var newest time.Time
	for _, o := range inv.Objects() {
		if o.Resource.GroupResource().String() != "leases.coordination.k8s.io" {
			continue
		}
		if at := renewed(o); o.Namespace == metav1.NamespaceSystem && at.After(newest) {
			newest = at
		}
		holder, _, _ := unstructured.NestedString(o.Body, "spec", "holderIdentity")
		if holder != "" && slices.ContainsFunc(workloads,
			func(w *cluster.Object) bool { return w.Namespace == o.Namespace }) &&
			!heldByOthers(inv, component, o.Namespace, holder) {
			candidates = append(candidates, o)
		}
	}
	return slices.DeleteFunc(candidates, func(o *cluster.Object) bool { return renewed(o).Before(newest.Add(-stale)) })
}

// heldByOthers tells whether the holder of a Lease is a pod of another
// component: leader election names it after the pod (WORKLOAD-HASH-ID_UUID).
func heldByOthers(inv *ownership.Inventory, component, namespace, holder string) bool {
	var longest *ownership.Item
	for _, i := range inv.Owned() {
		if isWorkload(i.Object) && i.Object.Namespace == namespace && strings.HasPrefix(holder, i.Object.Name+"-") &&
			(longest == nil || len(i.Object.Name) > len(longest.Object.Name)) {
			longest = i
		}
	}
	return longest != nil && longest.Component != component
}

func renewed(lease *cluster.Object) time.Time {
	text, _, _ := unstructured.NestedString(lease.Body, "spec", "renewTime")
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}
	}
	return at
}

// lives tells whether a component's controller lives: one of its Leases is
// renewed between two looks. It takes no time if there is no such Lease.
func (m *removal) lives(ctx context.Context, component string) bool {
	was := map[cluster.Ref]time.Time{}
	candidates := leases(m.now.Inventory, component)
	for end := time.Now().Add(renewal); len(candidates) > 0; {
		for _, o := range candidates {
			now, err := m.Cluster.Get(ctx, o.Target(), []string{"spec", "renewTime"})
			if err != nil {
				continue // it is looked for again, until the end
			}
			before, seen := was[o.Ref()]
			if at := renewed(now); !seen {
				was[o.Ref()] = at
			} else if at.After(before) {
				return true
			}
		}
		if time.Now().After(end) || pause(ctx, poll) != nil {
			return false
		}
	}
	return false
}

// onlyAlive leaves out of the plan what needs a living controller where none
// lives, and lets those that do take their time as long as they live.
func (m *removal) onlyAlive(ctx context.Context, plan *engine.Plan) *engine.Plan {
	alive := map[string]bool{}
	lives := func(component string) bool {
		live, known := alive[component]
		if !known && !m.dead[component] {
			live = m.lives(ctx, component)
			alive[component], m.dead[component] = live, !live
		}
		return live
	}
	out := &engine.Plan{Notes: plan.Notes}
	for _, phase := range plan.Phases {
		switch phase.Name {
		case PhaseOperations:
			if !slices.ContainsFunc(m.operators(), lives) {
				continue
			}
		case PhaseCleanUp:
			phase.Actions = slices.DeleteFunc(slices.Clone(phase.Actions), func(a engine.Action) bool {
				return !lives(m.componentOf(a.Target.Ref))
			})
			if len(phase.Actions) == 0 {
				continue
			}
			phase.Next = func(ctx context.Context, left []cluster.Target) (*engine.Step, error) {
				for _, t := range left {
					if m.lives(ctx, m.componentOf(t.Ref)) {
						return &engine.Step{Patience: reactionTime}, nil
					}
				}
				return nil, nil
			}
		}
		out.Phases = append(out.Phases, phase)
	}
	return out
}

func (m *removal) componentOf(r cluster.Ref) string {
	if i := m.now.Item(r); i != nil {
		return i.Component
	}
	return ""
}

// operators are the components that install others.
func (m *removal) operators() []string {
	var out []string
	for _, i := range m.now.Owned() {
		if m.Catalogue.Graceful(i.Object.Ref()) && m.Catalogue.Recreates(i.Component) && !slices.Contains(out, i.Component) {
			out = append(out, i.Component)
		}
	}
	return out
}

// untouched is what busy says of a Component that the operator has not begun with.
const untouched = "it has no condition yet"

// busy says what somebody is doing to an object: to a Helm release, by the label
// of its record (status, helm.sh/helm/v3 pkg/storage/driver/secrets.go), or to a
// custom resource, by its condition Progressing (as castware-operator 0.10.1 was
// seen to set it, as soon as it begins with one). It is empty if nobody says that.
func busy(o *cluster.Object) string {
	if isHelmRecord(o) {
		if status := o.Labels["status"]; strings.HasPrefix(status, "pending-") || status == "uninstalling" {
			return "its record says " + status
		}
		return ""
	}
	conditions, _, _ := unstructured.NestedSlice(o.Body, "status", "conditions")
	for _, c := range conditions {
		if condition, _ := c.(map[string]any); condition["type"] == "Progressing" && condition["status"] == "True" {
			return fmt.Sprintf("its condition Progressing says %v", condition["reason"])
		}
	}
	if len(conditions) == 0 {
		return untouched
	}
	return ""
}

// waitFor returns the action that waits until nobody works on an object.
func waitFor(i *ownership.Item, why string) engine.Action {
	o := i.Object
	what := o.Resource.Kind + " " + o.Namespace + "/" + o.Name
	if isHelmRecord(o) {
		what = "the Helm release " + o.Namespace + "/" + o.Labels["name"]
	}
	return engine.Action{
		Verb: engine.Call, Target: o.Target(), Operation: "wait for " + what,
		Why: why + ", and what a backup has of it then could not be put back as it was",
	}
}

// begin carries out what comes before anything is stopped. As long as that sees an
// operator end some work, it looks again: what the operator has made since is to
// be known before it cleans up, and it may have begun with something else. All
// that takes the time of one phase. It returns the plan of the last look.
func (m *removal) begin(ctx context.Context, plan *engine.Plan) (*engine.Plan, error) {
	for end := time.Now().Add(m.CleanUp); ; {
		first := m.onlyAlive(ctx, part(plan, m.beginning))
		ended, waits := m.operations(first, time.Until(end))
		if _, err := m.run(ctx, first); err != nil || !waits {
			return plan, err
		}
		var err error
		if plan, err = m.again(ctx); err != nil || !ended.Load() || !time.Now().Before(end) {
			return plan, err
		}
	}
}

// operations gives the actions of the phase that waits for the operator what they
// do, and the phase its time. It returns whether there is such a phase, and what
// will tell whether one of them has seen work end.
func (m *removal) operations(plan *engine.Plan, timeout time.Duration) (ended *atomic.Bool, waits bool) {
	ended = &atomic.Bool{}
	for i := range plan.Phases {
		phase := &plan.Phases[i]
		if phase.Name != PhaseOperations {
			continue
		}
		waits, phase.Timeout = true, timeout
		for j := range phase.Actions {
			a := &phase.Actions[j]
			a.Do = func(ctx context.Context, tell func(string)) error {
				idle, err := m.idle(ctx, a.Target, tell)
				if idle {
					ended.Store(true)
				}
				return err
			}
		}
	}
	return ended, waits
}

// idle waits until nobody says any more that he works on the object, or it is
// gone, and then returns true. What nobody has begun with is not waited for longer
// than a controller needs to see it. The end of ctx is the phase's time.
func (m *removal) idle(ctx context.Context, t cluster.Target, tell func(string)) (bool, error) {
	var fields [][]string
	if t.Group != "" { // of a Helm record only the labels are read
		fields = [][]string{{"status", "conditions"}}
	}
	for said, begun := "", time.Now(); ; {
		o, err := m.Cluster.Get(ctx, t, fields...)
		switch {
		case cluster.IsGone(err, t):
			return true, nil
		case err != nil && ctx.Err() != nil:
			return false, context.Cause(ctx)
		case err != nil:
			return false, err
		}
		why := busy(o)
		switch {
		case why == "":
			return true, nil
		case why == untouched && time.Since(begun) > reactionTime:
			return false, nil
		case why != said:
			said = why
			tell(why)
		}
		if err := pause(ctx, poll); err != nil {
			return false, err
		}
	}
}

// pause waits, or less when ctx ends, and then returns its cause.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
