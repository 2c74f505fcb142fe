package hibernate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// removal has nodes removed, and asks again where that fails.
type removal struct {
	runner *Runner
	mu     sync.Mutex
	nodes  map[cluster.Ref]*removing
	// over is why no further node is asked for: the API does not take the key.
	over error
}

// removing is the removal of one node.
type removing struct {
	node      *Node
	operation string
	asked     int
	err       error
}

// action asks Cast AI to drain and delete a node. What its budgets do not allow to
// be evicted goes with the node after that time: when all nodes go, there is
// nowhere to evict the last pods to.
func (m *removal) action(n *Node) engine.Action {
	return engine.Action{
		Verb: engine.Call, Target: n.Target(), Operation: operationRemove,
		Why: "Cast AI drains it, for as long as pods may take to be evicted, and deletes it",
		Do: func(ctx context.Context, _ func(string)) error {
			if err := m.ended(); err != nil {
				return err
			}
			id, err := m.runner.API.DeleteNode(ctx, m.runner.ClusterID, n.Console.Id, m.runner.Drain, true)
			if castai.IsGone(err) {
				err = nil
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			one := m.nodes[n.Ref()]
			if one == nil {
				one = &removing{node: n}
				m.nodes[n.Ref()] = one
			}
			one.operation, one.err = id, err
			one.asked++
			if refusedKey(err) {
				m.over = err
			}
			return err
		},
	}
}

// ended is why no further node is asked for, or nil.
func (m *removal) ended() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.over
}

// next asks again for the nodes whose removal has failed, a few times, and goes on
// waiting for the others.
func (m *removal) next(ctx context.Context, left []cluster.Target) (*engine.Step, error) {
	if err := m.ended(); err != nil {
		return nil, err
	}
	step, waiting := &engine.Step{Patience: polling}, 0
	for _, t := range left {
		m.mu.Lock()
		one := m.nodes[t.Ref]
		m.mu.Unlock()
		if one == nil {
			continue // never asked for
		}
		if one.err == nil && one.operation != "" {
			if o, err := m.runner.API.Operation(ctx, one.operation); err == nil {
				one.err = failed(o)
			}
		}
		switch {
		case one.err == nil:
			waiting++
		case one.asked < removals:
			step.Title = "Ask again for what failed"
			step.Actions = append(step.Actions, m.action(one.node))
		}
	}
	if waiting == 0 && len(step.Actions) == 0 {
		return nil, nil // no further step: the phase ends with these left
	}
	return step, nil
}

// refusedKey tells whether the API does not take the key, so that no other request
// will fare better.
func refusedKey(err error) bool {
	return castai.IsStatus(err, http.StatusUnauthorized, http.StatusForbidden)
}

// errWoken ends a pause that somebody else resumes meanwhile: Cast AI would make
// nodes as fast as it removes them.
var errWoken = errors.New("somebody else has turned the autoscaler on meanwhile (Cast AI's job, the console, Terraform), and it makes nodes again: no further node is removed")

// stillOff is an error if the autoscaler is on. An answer that fails in passing is
// none.
func (r *Runner) stillOff(ctx context.Context, name string) error {
	policies, err := r.API.Policies(ctx, r.ClusterID)
	switch {
	case refusedKey(err):
		return err
	case err != nil:
		return nil //nolint:nilerr // the next look will tell
	}
	if on, err := switched(policies, name); err != nil || on {
		return errors.Join(err, errWoken)
	}
	return nil
}

// guard carries out phases that remove nodes, for as long as the autoscaler stays
// off and the API takes the key.
func (r *Runner) guard(ctx context.Context, report *engine.Report, p *Pause, phases []engine.Phase) error {
	if r.DryRun {
		return r.run(ctx, report, phases)
	}
	name := p.Journal.Policies.Switch
	if err := r.stillOff(ctx, name); err != nil {
		return err
	}
	guarded, end := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		err := wait.PollUntilContextCancel(guarded, polling, false, func(ctx context.Context) (bool, error) {
			return false, r.stillOff(ctx, name)
		})
		end(err)
	})
	err := r.run(guarded, report, phases)
	end(context.Canceled)
	watch.Wait()
	if err == nil {
		err = r.stillOff(ctx, name)
	}
	return err
}

// follow has the nodes removed that join the cluster while the others go: Cast AI
// may have been asked for them before the autoscaler was stopped. It ends when
// nothing has been on its way for a while.
func (r *Runner) follow(ctx context.Context, report *engine.Report, p *Pause, o PauseOptions, stopped time.Time) error {
	quiet, told := stopped, ""
	waiting, cancel := context.WithTimeoutCause(ctx, r.Step+r.Drain+settling,
		&LeftError{"nodes go on joining the cluster: run pause again once none does, or resume"})
	defer cancel()
	err := wait.PollUntilContextCancel(waiting, polling, true, func(ctx context.Context) (bool, error) {
		s, err := r.Observe(ctx)
		if castai.IsPassing(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		next, err := PlanPause(s, o)
		if err != nil {
			return false, underway(err)
		}
		next.Remove = slices.DeleteFunc(next.Remove, func(n *Node) bool { return n.Object.Terminating() })
		switch {
		case next.Already != "":
		case len(next.Remove) > 0:
			p.Journal = next.Journal
			if err := r.guard(ctx, report, next, r.goodbye(next)); err != nil {
				return false, err
			}
			quiet = time.Now()
			return false, nil
		case len(next.Coming) > 0:
			quiet = time.Now()
			if why := fmt.Sprintf("Waiting for what Cast AI was making when the autoscaler stopped to join the cluster, and to go, too: %s", count(len(next.Coming), "node")); why != told {
				told = why
				r.Tell(why)
			}
			return false, nil
		}
		return time.Since(quiet) >= quietly, nil
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		err = context.Cause(waiting)
	}
	if err == nil {
		err = r.stillOff(ctx, p.Journal.Policies.Switch)
	}
	return err
}

// goodbye is what happens to nodes that joined late.
func (r *Runner) goodbye(p *Pause) []engine.Phase {
	return []engine.Phase{r.record(p.Journal, "Write down which nodes have joined"), r.cordoning(p), r.removing(p)}
}
