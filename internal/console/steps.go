package console

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/internal/castai"
)

// step is what an engine.Call does. Each looks first, so that one that was
// interrupted anywhere can be done again.
type step func(ctx context.Context, tell func(message string)) error

// steps are the steps of a decision.
type steps struct {
	api *castai.Client
	d   *Decision
}

func (s *steps) url(format, id string) string {
	return s.d.state.API + "/" + fmt.Sprintf(format, id)
}

// leaveSchedules takes the cluster out of hibernation schedules. They belong to
// the organization and may hold other clusters, so that none is deleted.
func (s *steps) leaveSchedules(ctx context.Context, tell func(string)) error {
	for _, found := range s.d.state.Schedules {
		err := s.await(ctx, tell, func(ctx context.Context) (bool, string, error) {
			h, err := twice(castai.IsGone, func() (castai.HibernationSchedule, error) {
				return s.api.HibernationSchedule(ctx, found.OrganizationId, found.Id)
			})
			if castai.IsGone(err) {
				return true, "", nil
			}
			if err != nil {
				return false, "", err
			}
			if !assigned(h, s.d.state.ID) {
				return true, "", nil
			}
			others := slices.DeleteFunc(slices.Clone(h.ClusterAssignments.Items),
				func(a castai.ClusterAssignment) bool { return a.ClusterId == s.d.state.ID })
			if others == nil {
				others = []castai.ClusterAssignment{} // null could mean no change
			}
			return false, "leaving hibernation schedule " + h.Name, s.api.AssignSchedule(ctx, found.OrganizationId, found.Id,
				others)
		})
		if err != nil {
			return err
		}
	}
	tell(fmt.Sprintf("it is in no hibernation schedule any more: %s", names(s.d.state.Schedules)))
	return nil
}

func names(list []castai.HibernationSchedule) string {
	var out []string
	for _, h := range list {
		out = append(out, h.Name)
	}
	return strings.Join(out, ", ")
}

// policiesOff turns the switch of all policies off, until the API says that it is.
func (s *steps) policiesOff(ctx context.Context, tell func(string)) error {
	sent := false
	err := s.await(ctx, tell, func(ctx context.Context) (bool, string, error) {
		p, err := s.api.Policies(ctx, s.d.state.ID)
		if err != nil {
			return false, "", err
		}
		enabled, known, err := castai.Enabled(p)
		if err != nil {
			return false, "", err
		}
		if !enabled && (known || sent) {
			return true, "", nil
		}
		off, err := castai.WithEnabled(p, false)
		if err != nil {
			return false, "", err
		}
		err = s.api.PutPolicies(ctx, s.d.state.ID, off)
		if castai.IsConflict(err) {
			return false, "the policies were changed by somebody else meanwhile: reading them again", nil
		}
		sent = sent || err == nil
		return false, "turning the policies off", err
	})
	if err == nil {
		tell("all policies are off; nothing else of them was changed")
	}
	return err
}

// disconnect asks for the disconnection, unless that has been done, and waits
// until it has really happened.
func (s *steps) disconnect(ctx context.Context, tell func(string)) error {
	asked, begun := false, false
	err := s.await(ctx, tell, func(ctx context.Context) (bool, string, error) {
		c, gone, err := look(ctx, s.api, s.d.state.ID)
		if err != nil {
			return false, "", err
		}
		seen := fmt.Sprintf("status %s, agent %s", c.Status, c.AgentStatus)
		switch {
		case gone, c.Status == deleted, c.Status == archived:
			return true, "", nil
		case c.Status == deleting, c.AgentStatus == agentDisconnecting:
			begun = true
			return false, seen + s.nodesLeft(ctx), nil
		case c.AgentStatus == agentDisconnected && (begun || c.CredentialsId == ""):
			return true, "", nil
		case c.Status == failed:
			return false, "", fmt.Errorf("cluster %s has failed while it was being disconnected (%s): repair it in the console, let it reconcile, and run it again", s.d.name(), reason(c))
		case begun:
			return false, "", fmt.Errorf("cluster %s is %s again, although it was being disconnected: look at it in the console",
				s.d.name(), c.Status)
		case asked:
			return false, "it was asked to disconnect, and does not show it yet: " + seen, nil
		}
		if err := s.mayDisconnect(ctx); err != nil {
			return false, "", err
		}
		// keepKubernetesResources: what goes in the cluster is decided here, not there.
		err = s.api.Disconnect(ctx, s.d.state.ID, castai.DisconnectConfig{DeleteProvisionedNodes: s.d.options.DeleteNodes,
			KeepKubernetesResources: true})
		asked = err == nil
		return false, "disconnecting", err
	})
	if err == nil {
		tell("it is disconnected")
	}
	return err
}

// mayDisconnect looks once more at what would make the disconnection harmful.
func (s *steps) mayDisconnect(ctx context.Context) error {
	if s.d.policiesOff {
		p, err := s.api.Policies(ctx, s.d.state.ID)
		if err != nil {
			return err
		}
		enabled, _, err := castai.Enabled(p)
		if err != nil {
			return err
		}
		if enabled {
			return errors.New("somebody has turned the policies on again: find out who (a hibernate job, Terraform), and run it again")
		}
	}
	plans, err := rebalancing(ctx, s.api, s.d.state.ID)
	if err != nil {
		return err
	}
	if before := len(s.d.state.Rebalancing); len(plans) > before {
		return fmt.Errorf("the rebalancing plan %s has begun: wait until it is finished, or cancel it in the console, and run it again", plans[0].RebalancingPlanId)
	}
	return nil
}

// nodesLeft says how many nodes that are to be deleted are still there. It is
// for a person only.
func (s *steps) nodesLeft(ctx context.Context) string {
	if !s.d.options.DeleteNodes {
		return ""
	}
	nodes, err := presentNodes(ctx, s.api, s.d.state.ID)
	if err != nil {
		return ""
	}
	return fmt.Sprintf(", %d of %d nodes left", len(made(nodes)), len(s.d.state.Made()))
}

// checkNodes fails if nodes that Cast AI made are still there. The service may
// give up deleting them without an error (terraform-provider-castai #768), and a
// list that it no longer has says nothing about machines.
func (s *steps) checkNodes(ctx context.Context, tell func(string)) error {
	var survivors []castai.Node
	listed := true
	err := s.await(ctx, tell, func(ctx context.Context) (bool, string, error) {
		c, gone, err := look(ctx, s.api, s.d.state.ID)
		if err != nil {
			return false, "", err
		}
		nodes, err := presentNodes(ctx, s.api, s.d.state.ID)
		if castai.IsGone(err) && (gone || c.Status == archived) {
			survivors, listed = s.d.state.Made(), false
			return true, "", nil
		}
		survivors = made(nodes)
		going := slices.ContainsFunc(survivors, func(n castai.Node) bool {
			return n.State.Phase == "deleting" ||
				n.State.Phase == "draining"
		})
		return !going, fmt.Sprintf("%d nodes are still being deleted", len(survivors)), err
	})
	if err != nil {
		return err
	}
	if len(survivors) == 0 {
		tell(fmt.Sprintf("none is left of the %d nodes that Cast AI made", len(s.d.state.Made())))
		return nil
	}
	var list []string
	for _, n := range survivors {
		list = append(list, fmt.Sprintf("%s (%s)", n.Name, firstOf(n.ProviderId, n.InstanceId, n.Id)))
	}
	if !listed {
		return fmt.Errorf("the API does not list nodes of this cluster any more: look in your cloud whether these %d that Cast AI made are gone: %s", len(survivors), strings.Join(list, ", "))
	}
	return fmt.Errorf("%d nodes that Cast AI made are still there, and you keep paying for them: delete them in your cloud: %s", len(survivors), strings.Join(list, ", "))
}

func firstOf(list ...string) string {
	return list[max(0, slices.IndexFunc(list, func(s string) bool { return s != "" }))]
}

// cleanupScript saves the script. It is never run: it is code from the network
// that wants the credentials of a cloud account.
func (s *steps) cleanupScript(ctx context.Context, tell func(string)) error {
	var script string
	err := s.await(ctx, tell, func(ctx context.Context) (_ bool, _ string, err error) {
		script, err = s.api.CleanupScript(ctx, s.d.state.ID)
		return true, "", err
	})
	if err != nil {
		return err
	}
	if strings.TrimSpace(script) == "" {
		return errors.New("the cleanup script that the API returns is empty")
	}
	if err := save(s.d.options.CleanupScript, script); err != nil {
		return fmt.Errorf("the cleanup script can't be saved: %w", err)
	}
	tell(fmt.Sprintf("saved in %s, and not run: it is code from the network that needs the credentials of your cloud account; read it, then run it there", s.d.options.CleanupScript))
	return nil
}

// removeCluster removes the cluster from the console, once the service lets it,
// and sees that it is gone. A cluster without credentials may count as connected
// for long after its agent is gone: where the service does not let it be removed,
// it is asked to disconnect it, once (terraform-provider-castai castai/cluster.go).
func (s *steps) removeCluster(ctx context.Context, tell func(string)) error {
	asked := false
	err := s.await(ctx, tell, func(ctx context.Context) (bool, string, error) {
		c, gone, err := look(ctx, s.api, s.d.state.ID)
		if err != nil || gone || c.Status == archived {
			return err == nil, "", err
		}
		err = s.api.DeleteCluster(ctx, s.d.state.ID)
		switch {
		case castai.IsStatus(err, 400) && !asked && slices.Contains([]string{connecting, ready, warning}, c.Status):
			asked = true
			err = s.api.Disconnect(ctx, s.d.state.ID, castai.DisconnectConfig{KeepKubernetesResources: true})
			if castai.IsStatus(err, 400) {
				return false, "not yet, and it can't be disconnected: " + message(err), nil
			}
			return false, "disconnecting it first", err
		case castai.IsStatus(err, 400):
			// "Cluster can be removed only if it was disconnected or is in failed state."
			return false, fmt.Sprintf("not yet, with status %s and agent %s: %s", c.Status, c.AgentStatus, message(err)), nil
		case castai.IsGone(err):
			return false, "removing it", nil
		}
		return false, "removing it", err
	})
	if err == nil {
		tell("it is removed from the console")
	}
	return err
}

// message is what the service says of an error.
func message(err error) string {
	var e *castai.Error
	if errors.As(err, &e) && e.Message != "" {
		return e.Message
	}
	return err.Error()
}
