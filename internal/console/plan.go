package console

import (
	"fmt"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// Names of the phases. Suspending and disconnecting come before everything in
// the cluster, because Cast AI's controllers there have a part in it; removing
// comes after everything, because nothing can be asked of the console then.
const (
	PhaseHibernation = "console-hibernation"
	PhaseDisconnect  = "console-disconnect"
	PhaseAfter       = "console-after"
	PhaseRemove      = "console-remove"
)

// Names of the operations.
const (
	LeaveSchedules = "leave-hibernation-schedules"
	PoliciesOff    = "policies-off"
	Disconnect     = "disconnect"
	CheckNodes     = "check-nodes"
	CleanupScript  = "cleanup-script"
	RemoveCluster  = "remove-cluster"
)

// Phases returns what is done at the console before anything in the cluster. If
// one of the steps up to the disconnection fails, nothing after it is started.
func (d *Decision) Phases(api *castai.Client) []engine.Phase {
	s := &steps{api: api, d: d}
	before := engine.Phase{Name: PhaseDisconnect, Title: "Disconnect the cluster from Cast AI's console",
		Timeout: d.options.Timeout, Gate: true, InOrder: true}
	if d.leaveSchedules {
		before.Actions = append(before.Actions, d.call(LeaveSchedules, "take it out of hibernation schedules",
			s.leaveSchedules,
			curl("PATCH", s.url("cluster-autoscaler/v1beta/organizations/%s/hibernation-schedules/SCHEDULE",
				d.state.Cluster.OrganizationId), "clusterAssignments without the cluster")))
	}
	if d.policiesOff {
		before.Actions = append(before.Actions, d.call(PoliciesOff, "turn all policies off", s.policiesOff,
			curl("PUT", s.url("v1/kubernetes/clusters/%s/policies", d.state.ID), "what GET returns, with enabled: false")))
	}
	if d.disconnect {
		before.Actions = append(before.Actions, d.call(Disconnect, d.disconnectWhy(), s.disconnect,
			curl("POST", s.url("v1/kubernetes/external-clusters/%s/disconnect", d.state.ID),
				fmt.Sprintf(`{"deleteProvisionedNodes":%t,"keepKubernetesResources":true}`, d.options.DeleteNodes))))
	}
	after := engine.Phase{Name: PhaseAfter, Title: "Look at what the disconnection leaves", Timeout: d.options.Timeout}
	if d.options.DeleteNodes && !ReadOnly(d.state.Cluster) {
		after.Actions = append(after.Actions, d.call(CheckNodes, "see that the nodes that Cast AI made are gone",
			s.checkNodes,
			curl("GET", s.url("v1/kubernetes/external-clusters/%s/nodes", d.state.ID), "")))
	}
	if d.cleanupScript {
		after.Actions = append(after.Actions, d.call(CleanupScript, "save the script that cleans up the cloud account in "+
			d.options.CleanupScript, s.cleanupScript,
			curl("GET", s.url("v1/kubernetes/external-clusters/%s/cleanup-script", d.state.ID), "")))
	}
	var out []engine.Phase
	for _, phase := range []engine.Phase{before, after} {
		if len(phase.Actions) > 0 {
			out = append(out, phase)
		}
	}
	return out
}

// RemovePhase returns what is done at the very end, nil if that is nothing.
func (d *Decision) RemovePhase(api *castai.Client) *engine.Phase {
	if !d.remove {
		return nil
	}
	s := &steps{api: api, d: d}
	return &engine.Phase{
		Name: PhaseRemove, Title: "Remove the cluster from Cast AI's console", Timeout: d.options.Timeout, InOrder: true,
		Actions: []engine.Action{d.call(RemoveCluster, "remove it from the console, once nothing is left in the cluster",
			s.removeCluster,
			curl("DELETE", s.url("v1/kubernetes/external-clusters/%s", d.state.ID), ""))},
	}
}

// SuspendFirst takes out of the plan what suspends the CronJobs and Jobs of
// castai-hibernate, and returns it as a phase of its own, nil if there is
// nothing: they would turn the policies on again.
func SuspendFirst(plan *engine.Plan, inv *ownership.Inventory) *engine.Phase {
	first := engine.Phase{Name: PhaseHibernation, Title: "Suspend the hibernate CronJobs", Gate: true}
	for i := range plan.Phases {
		phase := &plan.Phases[i]
		var rest []engine.Action
		for _, a := range phase.Actions {
			item := inv.Item(a.Target.Ref)
			if a.Verb == engine.Patch && a.Target.Group == "batch" && item != nil && item.Component == "castai-hibernate" {
				first.Actions, first.Timeout = append(first.Actions, a), phase.Timeout
				continue
			}
			rest = append(rest, a)
		}
		phase.Actions = rest
	}
	if len(first.Actions) == 0 {
		return nil
	}
	return &first
}

func (d *Decision) disconnectWhy() string {
	switch n := len(d.NodesToDelete()); {
	case d.state.Cluster.Status == deleting:
		return "wait until it is disconnected"
	case d.options.DeleteNodes:
		return fmt.Sprintf("disconnect it, delete the %d nodes that Cast AI made, and wait until that is done", n)
	}
	return "disconnect it, keep the nodes that Cast AI made, and wait until that is done"
}

func (d *Decision) call(operation, why string, do step, command string) engine.Action {
	target := cluster.Target{Ref: cluster.Ref{Group: "cast.ai", Kind: "Cluster", Name: d.state.ID}}
	return engine.Action{Verb: engine.Call, Target: target, Operation: operation, Why: why, Command: command, Do: do}
}

// curl returns the command that does the same. The key is in the environment,
// where the command finds it and nobody else reads it.
func curl(method, url, body string) string {
	command := fmt.Sprintf(`curl -fsS -X %s -H "X-API-Key: $CASTAI_API_KEY" %s`, method, url)
	if body != "" {
		command += fmt.Sprintf(" -H 'Content-Type: application/json' -d '%s'", body)
	}
	return command
}
