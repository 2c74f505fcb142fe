package offboard

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/finalize"
)

// halt stops what writes, beginning with the phases of first, and looks again,
// until there is nothing of Cast AI's left to stop. It returns the plan of the
// last look.
func (m *removal) halt(ctx context.Context, first, plan *engine.Plan) (*engine.Plan, error) {
	for round := 1; ; round++ {
		report, err := m.run(ctx, first)
		if err != nil {
			return nil, err
		}
		if err := m.stopped(ctx, report, plan); err != nil {
			return nil, err
		}
		if plan, err = m.again(ctx); err != nil {
			return nil, err
		}
		last := round == maxStops
		if first = m.running(ctx, plan, last); len(first.Phases) == 0 || m.accepted() && last {
			return plan, nil
		}
		if last {
			return nil, fmt.Errorf("%s can't be stopped, or comes back: %w; to go on regardless, pass --accept %s",
				names(first), m.soFar(ErrChanged), BlockerRunning)
		}
	}
}

// running returns what of a plan stops what still runs, or waits for its end. The
// last time, pods that may be somebody else's are not waited for any more.
func (m *removal) running(ctx context.Context, plan *engine.Plan, last bool) *engine.Plan {
	out := part(plan, halting)
	for i := range out.Phases {
		phase := &out.Phases[i]
		phase.WaitFor = slices.DeleteFunc(slices.Clone(phase.WaitFor), func(t cluster.Target) bool {
			_, runs := m.runs(ctx, t.Ref)
			return !runs || last && !m.now.IsOwned(t.Ref)
		})
	}
	out.Phases = slices.DeleteFunc(out.Phases, func(p engine.Phase) bool { return len(p.Actions)+len(p.WaitFor) == 0 })
	return out
}

// stopped returns an error if something of Cast AI's still runs after a round of
// stopping: it would put back what is removed, and its webhooks and custom
// resources are not to go while it does. Where a webhook of Cast AI's own is what
// refuses to let it be stopped, this one goes first, and the next round stops the
// rest.
func (m *removal) stopped(ctx context.Context, round *engine.Report, plan *engine.Plan) error {
	var running []string
	refusing := map[string]bool{}
	for _, o := range round.Outcomes {
		if halting(o.Phase) && o.Result == engine.ResultFailed {
			refusing[finalize.RefusedBy(o.Message)] = true
		}
	}
	if len(refusing) > 0 {
		_, err := m.run(ctx, m.webhooks(plan, refusing))
		return err
	}
	for _, o := range round.Outcomes {
		if halting(o.Phase) && o.Verb == "" && o.Result == engine.ResultLeft && m.now.IsOwned(o.Object) {
			if node, runs := m.runs(ctx, o.Object); runs {
				running = append(running, o.Object.String()+" on node "+node)
			}
		}
	}
	if len(running) == 0 || m.accepted() {
		return nil
	}
	return fmt.Errorf("still running after its grace period: %s; %w: "+
		"see to its node, or pass --accept %s to go on regardless",
		strings.Join(running, ", "), engine.ErrGate, BlockerRunning)
}

// webhooks returns what of a plan removes the configurations of these webhooks.
func (m *removal) webhooks(plan *engine.Plan, names map[string]bool) *engine.Plan {
	out := part(plan, func(name string) bool { return name == PhaseAdmission })
	for i := range out.Phases {
		phase := &out.Phases[i]
		phase.Actions = slices.DeleteFunc(slices.Clone(phase.Actions), func(a engine.Action) bool {
			item := m.now.Item(a.Target.Ref)
			if item == nil || !strings.HasSuffix(a.Target.Kind, "WebhookConfiguration") {
				return true
			}
			list, _, _ := unstructured.NestedSlice(item.Object.Body, "webhooks")
			return !slices.ContainsFunc(list, func(w any) bool {
				webhook, _ := w.(map[string]any)
				name, _ := webhook["name"].(string)
				return name != "" && names[name]
			})
		})
	}
	out.Phases = slices.DeleteFunc(out.Phases, func(p engine.Phase) bool { return len(p.Actions) == 0 })
	return out
}

// soFar says, behind an error that ends a run, what was done until then.
func (m *removal) soFar(err error) error {
	stopped, removed := map[cluster.Ref]bool{}, map[cluster.Ref]bool{}
	for _, o := range m.report.Outcomes {
		switch {
		case o.Result != engine.ResultDone:
		case o.Verb == engine.Delete:
			removed[o.Object] = true
		case o.Verb == engine.Patch && halting(o.Phase):
			stopped[o.Object] = true
		}
	}
	text := fmt.Sprintf("%d stopped", len(stopped))
	if n := len(removed); n > 0 {
		first := slices.MinFunc(slices.Collect(maps.Keys(removed)), cluster.Ref.Compare)
		text += fmt.Sprintf(", %d removed, of which the first is %s", n, first)
	}
	return fmt.Errorf("%w (until then: %s)", err, text)
}

// runs tells whether a pod that did not go may still run, and on which node: its
// containers have not ended, and its node is there. What can't be seen may run.
func (m *removal) runs(ctx context.Context, pod cluster.Ref) (node string, runs bool) {
	t := cluster.Target{Ref: pod, Version: "v1", Resource: "pods"}
	fields := [][]string{{"spec", "nodeName"}, {"status", "phase"}, {"status", "containerStatuses"}}
	o, err := m.Cluster.Get(ctx, t, fields...)
	if err != nil {
		return fmt.Sprintf("unknown (%v)", err), !apierrors.IsNotFound(err)
	}
	node, _, _ = unstructured.NestedString(o.Body, "spec", "nodeName")
	switch phase, _, _ := unstructured.NestedString(o.Body, "status", "phase"); {
	case node == "", phase == "Succeeded", phase == "Failed":
		return node, false
	case !slices.ContainsFunc(m.now.Objects(), func(n *cluster.Object) bool {
		return n.Resource.Kind == "Node" &&
			n.Name == node
	}):
		return node, false
	}
	statuses, _, _ := unstructured.NestedSlice(o.Body, "status", "containerStatuses")
	return node, len(statuses) == 0 || slices.ContainsFunc(statuses, func(s any) bool {
		status, _ := s.(map[string]any)
		_, ended, _ := unstructured.NestedMap(status, "state", "terminated")
		return !ended
	})
}

func (m *removal) accepted() bool { return slices.Contains(m.Accept, BlockerRunning) }

func names(plan *engine.Plan) string {
	var out []string
	for _, phase := range plan.Phases {
		for _, a := range phase.Actions {
			out = append(out, a.Target.Ref.String())
		}
		for _, t := range phase.WaitFor {
			out = append(out, t.Ref.String())
		}
	}
	return strings.Join(out, ", ")
}
