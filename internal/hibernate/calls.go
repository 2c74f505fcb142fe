package hibernate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/pkg/cluster"
)

// turn sets a switch of the autoscaler and makes sure that it stays so. Others may
// change the policies at the same time, and then they are read again. So they are if an
// answer lacks some of the original ones: what is put replaces all of them.
func (r *Runner) turn(ctx context.Context, original castai.Policies, name string, on bool) error {
	backoff := wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 6}
	lacks := ""
	err := wait.ExponentialBackoffWithContext(ctx, backoff, func(ctx context.Context) (bool, error) {
		policies, err := r.API.Policies(ctx, r.ClusterID)
		if err != nil {
			return false, err
		}
		is, err := switched(policies, name)
		if err != nil || is == on {
			return is == on, err
		}
		if lacks, err = lacking(policies, original); err != nil || lacks != "" {
			return false, err
		}
		if policies, err = withSwitch(policies, name, on); err != nil {
			return false, err
		}
		if err := r.API.PutPolicies(ctx, r.ClusterID, policies); err != nil && !castai.IsConflict(err) {
			return false, err
		}
		return false, nil // look whether it has had its effect
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		if lacks != "" {
			return fmt.Errorf("the API has answered without these policies, which there were before the pause: %s. Nothing was changed of the policies: try again, or set the switch in the console and run this again", lacks)
		}
		return errors.New("the autoscaler's policies do not stay as they are set: somebody else sets them, too")
	}
	return err
}

// makeNode has Cast AI make the hibernation node, or goes on where an earlier run
// stopped, and waits until it is in the cluster and ready.
func (r *Runner) makeNode(ctx context.Context, p *Pause, tell func(string)) error {
	j := p.Journal
	nodes, err := r.API.Nodes(ctx, r.ClusterID)
	if err != nil {
		return err
	}
	mine := func(n castai.Node) bool {
		return j.isMade(n) && !leaving(n)
	}
	if i := slices.IndexFunc(nodes, mine); i >= 0 {
		j.Node.ID = nodes[i].Id
	} else {
		added, err := r.order(ctx, p, tell)
		if err != nil {
			return err
		}
		j.Node.ID, j.Node.Operation = added.NodeId, added.OperationId
	}
	content, err := j.content(r.Namespace, time.Now())
	if err != nil {
		return err
	}
	if err := r.Cluster.Apply(ctx, stateTarget(r.Namespace), content, false); err != nil {
		return err
	}
	tell("waits for Cast AI to make the node")
	if err := r.operation(ctx, j.Node.Operation); err != nil {
		return fmt.Errorf("the hibernation node could not be made: %w", err)
	}
	return r.awaitNode(ctx, tell, func(n *Node) bool {
		return n.Object.Labels[nodeIDLabel] == j.Node.ID || n.Object.Labels[runLabel] == j.Run
	})
}

// order has Cast AI make the node. It is asked once, as twice could make two: if the
// answer is lost, the label of the run tells which node it is.
func (r *Runner) order(ctx context.Context, p *Pause, tell func(string)) (castai.AddedNode, error) {
	added, err := r.API.AddNode(ctx, r.ClusterID, *p.Make)
	if p.unheard = unanswered(ctx, err); !p.unheard {
		return added, err
	}
	tell("checks whether Cast AI makes the node: there was no answer")
	if added.NodeId = r.listed(ctx, p.Journal); added.NodeId == "" {
		return added, err
	}
	p.unheard = false
	return added, nil
}

// unanswered tells whether what was asked for may have been done: there was no answer, or
// one that says nothing of it.
func unanswered(ctx context.Context, err error) bool {
	return err != nil && (castai.IsPassing(err) || ctx.Err() != nil)
}

// listed waits until Cast AI lists the node of a pause, and returns its id; empty: it has
// not within a while, or nothing can be asked.
func (r *Runner) listed(ctx context.Context, j *Journal) (id string) {
	ctx, cancel := context.WithTimeout(ctx, hearsay)
	defer cancel()
	_ = wait.PollUntilContextCancel(ctx, polling, true, func(ctx context.Context) (bool, error) {
		nodes, err := r.API.Nodes(ctx, r.ClusterID)
		for _, n := range nodes {
			if j.isMade(n) && !leaving(n) {
				id = n.Id
			}
		}
		return id != "" || refusedKey(err), nil
	})
	return id
}

// isMade tells whether a node of Cast AI's is the one that the pause had made. If the
// pause was killed before it heard which that is, the label of the run tells.
func (j *Journal) isMade(n castai.Node) bool {
	if j.Node.ID != "" {
		return n.Id == j.Node.ID
	}
	return n.Labels[runLabel] == j.Run && (n.AddedBy == "" || n.AddedBy == castAI) &&
		(n.InstanceType == "" || n.InstanceType == j.Node.InstanceType)
}

// giveUp has Cast AI delete a node that is being made, and waits until it has: it
// may still join the cluster on its way.
func (r *Runner) giveUp(ctx context.Context, id string, tell func(string)) error {
	if _, err := r.API.DeleteNode(ctx, r.ClusterID, id, 0, true); err != nil && !castai.IsGone(err) {
		return err
	}
	tell("waits for Cast AI to delete the node")
	return wait.PollUntilContextCancel(ctx, polling, true, func(ctx context.Context) (bool, error) {
		nodes, err := r.API.Nodes(ctx, r.ClusterID)
		there := slices.ContainsFunc(nodes, func(n castai.Node) bool { return n.Id == id && n.State.Phase != "deleted" })
		return err == nil && !there, err
	})
}

// operation waits until an operation of Cast AI's is over; without a name it is.
func (r *Runner) operation(ctx context.Context, id string) error {
	if id == "" {
		return nil
	}
	return wait.PollUntilContextCancel(ctx, polling, true, func(ctx context.Context) (bool, error) {
		o, err := r.API.Operation(ctx, id)
		if err != nil {
			return false, err
		}
		return o.Done, failed(o)
	})
}

func failed(o castai.Operation) error {
	if o.Error == nil {
		return nil
	}
	return fmt.Errorf("%s (%s)", o.Error.Details, o.Error.Reason)
}

func (r *Runner) awaitReady(ctx context.Context, name string, tell func(string)) error {
	return r.awaitNode(ctx, tell, func(n *Node) bool { return n.Object.Name == name })
}

// awaitNode waits until a node is there, ready, and free of the taints that nodes
// start with.
func (r *Runner) awaitNode(ctx context.Context, tell func(string), is func(*Node) bool) error {
	told := ""
	return r.Cluster.Await(ctx, nodesResource(), "", nodeFields(), func(objects []*cluster.Object) (bool, error) {
		why := "waits for the node to join the cluster"
		for _, o := range objects {
			n, err := newNode(o)
			if err != nil {
				return false, err
			}
			if !is(n) {
				continue
			}
			switch taints := n.otherTaints(); {
			case !n.ready():
				why = "waits for node " + n.Object.Name + " to be ready"
			case len(taints) > 0:
				why = fmt.Sprintf("waits for node %s to lose its taints: %s", n.Object.Name,
					names(taints, func(s string) string { return s }))
			default:
				return true, nil
			}
		}
		if why != told {
			told = why
			tell(why)
		}
		return false, nil
	})
}

// awaitEssential waits until what is essential runs on the nodes that stay.
func (r *Runner) awaitEssential(ctx context.Context, p *Pause, tell func(string)) error {
	stays, told := p.staying(), ""
	return r.Cluster.Await(ctx, PodsResource(), "", podFields(), func(objects []*cluster.Object) (bool, error) {
		pods, err := newPods(objects)
		if err != nil {
			return false, err
		}
		missing := slices.DeleteFunc(Missing(p.Essential, pods, p.Node, stays, p.Journal.Unready), func(w *Workload) bool {
			// Where no budget allows an eviction, its pods move when their nodes go.
			return slices.ContainsFunc(p.Follow, func(m Move) bool { return m.Workload == w })
		})
		if why := "waits for a pod on a node that stays: " + names(missing,
			func(w *Workload) string { return w.Ref().String() }); len(missing) > 0 && why != told {
			told = why
			tell(why)
		}
		return len(missing) == 0, nil
	})
}

// AwaitScheduled waits until no more pods wait for a node than did before the pause.
func (r *Runner) AwaitScheduled(ctx context.Context, before int) error {
	told := -1
	return r.Cluster.Await(ctx, PodsResource(), "", podFields(), func(objects []*cluster.Object) (bool, error) {
		pods, err := newPods(objects)
		if err != nil {
			return false, err
		}
		waiting := Unschedulable(pods) - before
		if waiting > 0 && (told < 0 || waiting < told/2) {
			told = waiting
			r.Tell(fmt.Sprintf("Waiting for nodes for %d pods", waiting))
		}
		return waiting <= 0, nil
	})
}

func newPods(objects []*cluster.Object) ([]*Pod, error) {
	pods := make([]*Pod, 0, len(objects))
	for _, o := range objects {
		p, err := newPod(o)
		if err != nil {
			return nil, err
		}
		pods = append(pods, p)
	}
	return pods, nil
}
