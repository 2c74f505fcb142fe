package console

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// Names of the blockers, which --accept takes.
const (
	BlockerIdentity    = "console-identity"
	BlockerGone        = "console-gone"
	BlockerTerraform   = "console-terraform"
	BlockerRebalancing = "console-rebalancing"
	BlockerHibernated  = "console-hibernated"
	BlockerFailed      = "console-failed"
	BlockerController  = "console-controller"
)

// Blockers returns the names of all of them.
func Blockers() []string {
	return []string{BlockerIdentity, BlockerGone, BlockerTerraform, BlockerRebalancing, BlockerHibernated, BlockerFailed,
		BlockerController}
}

// Options of the console's part.
type Options struct {
	// DeleteNodes lets Cast AI delete the nodes that it made.
	DeleteNodes bool
	// RemoveCluster removes the cluster from the console at the very end.
	RemoveCluster bool
	// CleanupScript is the file to save the cleanup script in; empty: none.
	CleanupScript string
	// Timeout of disconnecting, and of removing.
	Timeout time.Duration
	// Poll is how long the first wait between two looks is; zero: the default.
	Poll time.Duration
	// Named: the user has named the cluster, and not only the live cluster has.
	Named bool
	// Asked: a person can be asked whether it is the one. Accepted: one has said so
	// already.
	Asked, Accepted bool
	// Controller tells whether castai-cluster-controller runs, which drains nodes.
	Controller bool
}

// Decision is what is to be done at the console.
type Decision struct {
	// Blockers are what a person must decide first.
	Blockers []ownership.Blocker
	// Notes say what is left out, and why.
	Notes []string

	state   *State
	options Options

	leaveSchedules, policiesOff, disconnect, cleanupScript, remove bool

	// question is what only a person can answer: whether it is this cluster.
	question string
}

// Judge decides what is to be done, purely. The error is a refusal that no flag
// overrides: it is another cluster, or its status allows nothing now.
func Judge(s *State, live Live, o Options) (*Decision, error) {
	d := &Decision{state: s, options: o}
	for _, u := range s.Unknown {
		d.note("%s", u)
	}
	if s.Gone {
		d.block(BlockerGone, fmt.Sprintf("%s has no cluster %s", s.API, s.ID),
			"the key belongs to another organization or region (--api-url): use the right one; if the cluster was removed from the console already, leave --console out")
		return d, nil
	}
	if err := d.identify(live); err != nil {
		return nil, err
	}
	if err := d.byStatus(); err != nil {
		return nil, err
	}
	d.remove = o.RemoveCluster && s.Cluster.Status != archived
	return d, nil
}

// identify decides whether it is known that the API's cluster is the live one.
// Without a proof a person must name it twice: with --cluster-id, and at a
// question or with --accept. What the nodes say can be forged by whoever holds
// one of them.
func (d *Decision) identify(live Live) error {
	s, o := d.state, d.options
	proof, text := prove(s.Cluster, s.Nodes, live)
	switch {
	case proof == different:
		return fmt.Errorf("cluster %s at the console is not the cluster of the kubeconfig: %s: check --context and --cluster-id", d.name(), text)
	case proof == same:
		d.note("it is this cluster: %s", text)
		return nil
	case proof == likely && o.Named && o.Accepted:
		d.note("you say that it is this cluster, and %s", text)
		return nil
	case proof == likely && o.Named && o.Asked:
		d.question = fmt.Sprintf("Is cluster %s at the console the cluster of the kubeconfig? Nothing proves it: %s, which kubelets write.", d.name(), text)
		return nil
	}
	remedy := "compare its name and nodes in the console with kubectl get nodes"
	if proof == likely {
		text += ", which kubelets write"
		remedy += fmt.Sprintf(", and if it is the one, name it with --cluster-id=%s", s.ID)
	}
	if o.DeleteNodes {
		return fmt.Errorf("nothing proves that cluster %s at the console is the cluster of the kubeconfig: %s; --delete-nodes would delete the nodes of whichever cluster it is: %s, and pass --accept=%s", d.name(), text, remedy, BlockerIdentity)
	}
	d.block(BlockerIdentity,
		fmt.Sprintf("nothing proves that cluster %s at the console is the cluster of the kubeconfig: %s", d.name(),
			text), remedy)
	return nil
}

// Question returns what only a person can answer, and the word to answer with;
// nothing if it is proven which cluster it is.
func (d *Decision) Question() (question, word string) {
	return d.question, cmp.Or(d.state.Cluster.Name, d.state.ID)
}

// byStatus decides what a cluster in its status needs.
func (d *Decision) byStatus() error {
	s, o := d.state, d.options
	switch status := s.Cluster.Status; status {
	case connecting, ready, warning:
		if ReadOnly(s.Cluster) {
			d.note("Cast AI may only read the cluster: no policies, nothing to disconnect, no cleanup script")
			if o.DeleteNodes {
				return fmt.Errorf("cluster %s is read-only at the console: Cast AI has made no nodes that --delete-nodes could delete", d.name())
			}
			return nil
		}
		d.leaveSchedules, d.policiesOff, d.disconnect = len(s.Schedules) > 0, s.Policies != nil, true
		if s.Policies == nil {
			d.note("it has no policies")
		}
	case deleting:
		d.disconnect = true
		d.note("it is being disconnected already: whether nodes are deleted was decided then")
	case deleted:
		d.note("it is disconnected already")
	case archived:
		d.note("it was removed from the console already")
	case failed:
		d.failed()
		if o.DeleteNodes {
			return fmt.Errorf("cluster %s has failed at the console (%s), so that it can't delete nodes: repair it there and let it reconcile, or leave --delete-nodes out", d.name(), reason(s.Cluster))
		}
	case hibernating, resuming:
		return fmt.Errorf("cluster %s is %s: wait until that is over, and run it again", d.name(), status)
	case hibernated:
		d.block(BlockerHibernated,
			fmt.Sprintf("cluster %s is hibernated at the console: it has no nodes that anything could be done on", d.name()),
			"resume it in the console first; whether a hibernated cluster can be disconnected is not documented")
		d.leaveSchedules, d.policiesOff, d.disconnect = len(s.Schedules) > 0, s.Policies != nil, true
	default:
		return fmt.Errorf("cluster %s has the status %q at the console, which this version does not know: take it out there, then run offboard without --console", d.name(), status)
	}
	d.cleanupScript = o.CleanupScript != "" && s.Cluster.Status != archived
	if d.disconnect {
		d.whileConnected()
	}
	return nil
}

// failed: such a cluster can be removed, and not be disconnected (API reference
// of DELETE; terraform-provider-castai castai/cluster.go).
func (d *Decision) failed() {
	d.policiesOff = d.state.Policies != nil
	d.leaveSchedules = len(d.state.Schedules) > 0
	d.block(BlockerFailed,
		fmt.Sprintf("cluster %s has failed at the console (%s): it can be removed, but not be disconnected, and what Cast AI made in the cloud stays", d.name(), reason(d.state.Cluster)),
		"repair its credentials in the console and let it reconcile first")
}

func reason(c castai.Cluster) string {
	if c.ReconcileError != "" {
		return c.ReconcileError
	}
	return "the API gives no reason"
}

// whileConnected adds the blockers of a cluster that has to be disconnected.
func (d *Decision) whileConnected() {
	s := d.state
	if strings.EqualFold(s.Cluster.ManagedBy, "terraform") {
		d.block(BlockerTerraform, fmt.Sprintf("cluster %s is managed by Terraform, which would connect it again", d.name()),
			"run terraform destroy for its castai_* resources (castai_autoscaler and castai_eks_cluster, castai_gke_cluster or castai_aks_cluster) where they are applied, then offboard without --console")
	}
	if len(s.Rebalancing) > 0 {
		plan := s.Rebalancing[0]
		d.block(BlockerRebalancing, fmt.Sprintf("the rebalancing plan %s is %s: nodes are being replaced",
			plan.RebalancingPlanId, plan.Status),
			"wait until it is finished, or cancel it in the console")
	}
	if d.options.DeleteNodes && !d.options.Controller && s.Cluster.Status != deleting {
		d.block(BlockerController, "castai-cluster-controller does not run, which drains the nodes that Cast AI deletes",
			"start it again, or leave --delete-nodes out")
	}
}

func (d *Decision) block(name, text, remedy string) {
	d.Blockers = append(d.Blockers, ownership.Blocker{Name: name, Text: text, Remedy: remedy})
}

func (d *Decision) note(format string, args ...any) {
	d.Notes = append(d.Notes, fmt.Sprintf(format, args...))
}

// name is what a person calls the cluster.
func (d *Decision) name() string {
	if d.state.Cluster.Name == "" {
		return d.state.ID
	}
	return fmt.Sprintf("%s (%s)", d.state.Cluster.Name, d.state.ID)
}

// NodesToDelete returns the nodes that disconnecting will delete.
func (d *Decision) NodesToDelete() []castai.Node {
	if !d.disconnect || !d.options.DeleteNodes || d.state.Cluster.Status == deleting {
		return nil
	}
	return d.state.Made()
}
