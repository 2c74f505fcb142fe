package plugin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/internal/console"
	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// mostNames is how many nodes a question names.
const mostNames = 20

// consoleRecord is the file in a backup with what the console knew.
const consoleRecord = "console.json"

// consoleOptions are the part of offboard that is done at Cast AI's console.
type consoleOptions struct {
	apiFlags
	enabled bool
	do      console.Options

	state    *console.State
	decision *console.Decision
	last     *engine.Phase // removes the cluster, when all else is done
	onEvent  func(engine.Event)
}

func (c *consoleOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&c.enabled, "console", false,
		"Also disconnect the cluster at Cast AI's console, before anything is removed here: needs an API key")
	f.BoolVar(&c.do.DeleteNodes, "delete-nodes", false, "With --console: let Cast AI delete the nodes that it made")
	f.StringVar(&c.do.CleanupScript, "cleanup-script", "",
		"With --console: file to save the script in that cleans up the cloud account; it is not run")
	f.BoolVar(&c.do.RemoveCluster, "remove-cluster", false,
		"With --console: remove the cluster from the console, once nothing is left here")
	waitVar(f, &c.do.Timeout, "disconnect-timeout", 20*time.Minute,
		"With --console: how long disconnecting may take, and removing")
	waitVar(f, &c.do.Poll, "poll-interval", 2*time.Second, "With --console: how long to wait at first before asking again")
	c.apiFlags.addFlags(f)
}

func (c *consoleOptions) validate() error {
	if !c.enabled && (c.do.DeleteNodes || c.do.CleanupScript != "" || c.do.RemoveCluster || c.keyFile != "" ||
		c.url != "" || c.clusterID != "") {
		return usage(errors.New("--delete-nodes, --cleanup-script, --remove-cluster, --api-key-file, --api-url and --cluster-id need --console"))
	}
	if c.do.CleanupScript != "" {
		// Not to be found out when the cluster is disconnected.
		if dir, err := os.Stat(filepath.Dir(c.do.CleanupScript)); err != nil || !dir.IsDir() {
			return usage(fmt.Errorf("--cleanup-script %s: there is no such folder", c.do.CleanupScript))
		}
	}
	return c.apiFlags.validate()
}

// Around looks at the console and puts what is to be done there around the plan,
// and what a person must decide with the blockers.
func (c *consoleOptions) Around(ctx context.Context, inv *ownership.Inventory, plan *engine.Plan) error {
	if !c.enabled {
		return nil
	}
	key, err := c.key()
	if err != nil {
		return err
	}
	if key.IsZero() {
		return usage(fmt.Errorf("--console needs an API key: in the environment's %s, or in a file with --api-key-file",
			castai.EnvKey))
	}
	api, id, err := c.client(key, inv.Identity)
	if err != nil {
		return err
	}
	if c.state, err = console.Observe(ctx, api, id); err != nil {
		return err
	}
	c.do.Controller, c.do.Named = controllerRuns(inv), c.clusterID != ""
	if c.decision, err = console.Judge(c.state, console.NewLive(inv.Server.KubeSystemUID, inv.Objects()),
		c.do); err != nil {
		return refused(err)
	}
	inv.Blockers = append(inv.Blockers, c.decision.Blockers...)
	if len(c.decision.NodesToDelete()) > 0 {
		inv.Impact.Nodes = ownership.Nodes{} // they do not stay
	}
	phases := c.decision.Phases(api)
	if first := console.SuspendFirst(plan, inv); first != nil {
		phases = append([]engine.Phase{*first}, phases...)
	}
	plan.Phases = append(phases, plan.Phases...)
	if c.last = c.decision.RemovePhase(api); c.last != nil {
		plan.Phases = append(plan.Phases, *c.last)
	}
	return c.say()
}

// say tells what was found at the console, beside the plan.
func (c *consoleOptions) say() error {
	view := console.NewView(c.state)
	line := fmt.Sprintf("Console: cluster %s at %s, status %s, agent %s", cmp.Or(view.Name, view.ID), view.API,
		cmp.Or(view.Status, "unknown"), cmp.Or(view.AgentStatus, "unknown"))
	for _, text := range append([]string{line}, c.decision.Notes...) {
		if _, err := fmt.Fprintln(c.ErrOut, printer.Escape(text)); err != nil {
			return err
		}
	}
	return nil
}

// controllerRuns tells whether castai-cluster-controller is ready.
func controllerRuns(inv *ownership.Inventory) bool {
	return slices.ContainsFunc(inv.Owned(), func(i *ownership.Item) bool {
		n, _, err := unstructured.NestedInt64(i.Object.Body, "status", "readyReplicas")
		return err == nil && n > 0 && i.Component == "castai-cluster-controller" && i.Object.Resource.Kind == "Deployment"
	})
}

// question completes the sentence that the user is asked to confirm.
func (c *consoleOptions) question() string {
	switch {
	case c.decision == nil:
		return ""
	case c.last != nil:
		return " The cluster is disconnected at Cast AI's console first, and removed from it at the end."
	}
	return " The cluster is disconnected at Cast AI's console first."
}

// confirmIdentity asks whether it is this cluster, where nothing proves it.
func (c *consoleOptions) confirmIdentity(ctx context.Context) error {
	if c.decision == nil {
		return nil
	}
	question, word := c.decision.Question()
	if question == "" {
		return nil
	}
	return c.confirm(ctx, false, question, word)
}

// confirmNodes asks separately for the deletion of nodes.
func (c *consoleOptions) confirmNodes(ctx context.Context, client *cluster.Client, yes bool) error {
	if c.decision == nil {
		return nil
	}
	nodes := c.decision.NodesToDelete()
	if len(nodes) == 0 {
		return nil
	}
	var names []string
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	pods, err := client.PodsOn(ctx, names)
	if err != nil {
		return err
	}
	if rest := len(names) - mostNames; rest > 0 {
		names = append(names[:mostNames], fmt.Sprintf("%d more", rest))
	}
	text := fmt.Sprintf("Cast AI deletes %d nodes of this cluster with %d pods on them: %s. The capacity shrinks by that much, and with all policies off nothing makes new nodes: pods that fit nowhere else stay Pending.",
		len(nodes), pods, strings.Join(names, ", "))
	if yes {
		_, err := fmt.Fprintln(c.ErrOut, printer.Escape(text))
		return err
	}
	return c.confirm(ctx, false, text, fmt.Sprintf("delete %d nodes", len(nodes)))
}

// record returns what goes into the backup: the cluster, its nodes and policies
// as they were found.
func (c *consoleOptions) record() (map[string][]byte, error) {
	if c.state == nil {
		return nil, nil
	}
	raw, err := json.MarshalIndent(c.state, "", "  ")
	return map[string][]byte{consoleRecord: append(raw, '\n')}, err
}

// time is how much longer the run may take.
func (c *consoleOptions) time() time.Duration {
	switch {
	case c.decision == nil:
		return 0
	case c.last != nil:
		return 3 * c.do.Timeout
	}
	return 2 * c.do.Timeout
}

// Finishes tells whether Finish carries out the phase.
func (c *consoleOptions) Finishes(phase string) bool { return c.last != nil && phase == c.last.Name }

// Gated tells whether nothing was removed from the cluster, because a step at the
// console did not finish.
func (c *consoleOptions) Gated(r *engine.Report) bool { return c.gated(r) != nil }

// Finish removes the cluster from the console, if nothing of Cast AI's is left
// here and every step at the console was done.
func (c *consoleOptions) Finish(ctx context.Context, r *engine.Report, inv *ownership.Inventory) error {
	if c.last == nil {
		return nil
	}
	// What went late in the cluster is gone, as the inventory shows; a step at the
	// console that failed may need the cluster there.
	unfinished := r.Count(engine.ResultFailed, engine.Call) + r.Count(engine.ResultLeft, engine.Call)
	if inv == nil || !inv.Clean() || unfinished > 0 {
		for _, a := range c.last.Actions {
			r.Outcomes = append(r.Outcomes, engine.Outcome{
				Phase: c.last.Name, Verb: a.Verb, Object: a.Target.Ref, Operation: a.Operation, Result: engine.ResultSkipped,
				Message: "the cluster stays in the console, because something else is left",
			})
		}
		return nil
	}
	removed, err := engine.Run(ctx, nil, &engine.Plan{Phases: []engine.Phase{*c.last}}, engine.Options{OnEvent: c.onEvent})
	r.Outcomes = append(r.Outcomes, removed.Outcomes...)
	r.Phases = append(r.Phases, removed.Phases...)
	return err
}

// first returns the outcome of the first thing in one of the phases that is not
// finished, nil if all is.
func (c *consoleOptions) first(r *engine.Report, phases ...string) *engine.Outcome {
	for i, o := range r.Outcomes {
		if (o.Result == engine.ResultFailed || o.Result == engine.ResultLeft) && slices.Contains(phases, o.Phase) {
			return &r.Outcomes[i]
		}
	}
	return nil
}

// gated returns the error that says why nothing was removed from the cluster:
// it could not be disconnected.
func (c *consoleOptions) gated(r *engine.Report) error {
	o := c.first(r, console.PhaseHibernation, console.PhaseDisconnect)
	switch {
	case o == nil:
		return nil
	case o.Phase == console.PhaseHibernation:
		return fmt.Errorf("%s could not be suspended, so nothing else was done: %s", o.Object, o.Message)
	case o.Result == engine.ResultLeft:
		return fmt.Errorf("%s %w after %s (%s), so nothing was removed from the cluster: run it again to go on, or give it more time with --disconnect-timeout", o.Operation, engine.ErrTimeout, c.do.Timeout, o.Message)
	}
	return fmt.Errorf("%s failed, so nothing was removed from the cluster: %s", o.Operation, o.Message)
}

// unfinished returns the error that says what is left elsewhere than in the
// cluster.
func (c *consoleOptions) unfinished(r *engine.Report) error {
	if o := c.first(r, console.PhaseAfter, console.PhaseRemove); o != nil {
		return fmt.Errorf("%w: %s: %s", errLeft, o.Operation, o.Message)
	}
	return nil
}

// again says what the next run needs, when nothing in the cluster may be left
// that names its id.
func (c *consoleOptions) again() string {
	if c.state == nil {
		return ""
	}
	return " (with --cluster-id=" + c.state.ID + ")"
}
