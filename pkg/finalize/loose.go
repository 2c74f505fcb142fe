package finalize

import (
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// maxLoose is how many pods without a workload are looked at one by one.
const maxLoose = 200

// findOwners reads what tells who controls what.
func (o *Observation) findOwners(ctx context.Context, c Reader) (err error) {
	if o.Owners, err = c.Snapshot(ctx, ownersScope()); err != nil {
		return err
	}
	return o.findLoose(ctx, c)
}

// looseKinds are those of which a controller may be, beside the ones that Scope reads.
var looseKinds = []string{"pods", "replicasets.apps", "replicationcontrollers", "cronjobs.batch"}

// findLoose reads the pods that no Deployment, StatefulSet or DaemonSet makes: a
// controller may run as a bare pod, or be made by a Job, a Rollout, a
// DeploymentConfig or whatever else the cluster has. What may make one later
// counts, too: a CronJob, or a ReplicaSet or ReplicationController that nothing controls.
func (o *Observation) findLoose(ctx context.Context, c Reader) error {
	snap, err := c.Snapshot(ctx, cluster.Scope{Kinds: looseKinds,
		Bodies: map[string][][]string{"pods": {{"status", "phase"}}}})
	if err != nil {
		return err
	}
	o.LooseUnreadable = !sawAll(snap, looseKinds...)
	loose := loosePods(snap.Objects)
	if len(loose) > maxLoose {
		loose, o.LooseUnreadable = loose[:maxLoose], true
	}
	for _, obj := range snap.Objects {
		if obj.Resource.Kind == "CronJob" { // it was read whole enough
			o.Loose = append(o.Loose, obj)
		}
	}
	for _, obj := range loose {
		full, err := c.Get(ctx, obj.Target(), []string{"spec", "serviceAccountName"}, []string{"spec", "containers"},
			[]string{"spec", "template", "spec"}, []string{"spec", "replicas"}, []string{"status", "conditions"},
			[]string{"status", "readyReplicas"})
		switch {
		case apierrors.IsNotFound(err):
			continue
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			o.LooseUnreadable = true
			continue
		}
		o.Loose = append(o.Loose, full)
	}
	return nil
}

// runs tells whether a pod may be ready, or get ready: of Jobs, a cluster may keep hundreds that have
// ended (k8s.io/api/core/v1, PodPhase).
func runs(pod *cluster.Object) bool {
	phase, _, _ := unstructured.NestedString(pod.Body, "status", "phase")
	return !slices.Contains([]string{"Succeeded", "Failed"}, phase)
}

// loosePods picks the pods that may be or get ready and that no workload of the group apps stands
// for, and what makes pods and is controlled by nothing.
func loosePods(objects []*cluster.Object) []*cluster.Object {
	workloads := map[types.UID]bool{} // ReplicaSets that a Deployment makes
	for _, o := range objects {
		if owner := o.Controller(); o.Resource.Kind == "ReplicaSet" && owner != nil && owner.Kind == "Deployment" {
			workloads[o.UID] = true
		}
	}
	var out []*cluster.Object
	for _, o := range objects {
		if slices.Contains([]string{"ReplicaSet", "ReplicationController"}, o.Resource.Kind) && o.Controller() == nil {
			out = append(out, o)
			continue
		}
		if o.Resource.Kind != "Pod" || o.Resource.Group != "" || o.Terminating() || !runs(o) {
			continue
		}
		owner := o.Controller()
		if owner != nil && (workloads[owner.UID] || readyField[owner.Kind] != "") {
			continue
		}
		out = append(out, o)
	}
	return out
}

// isReady tells whether a pod answers to its readiness probes, or has none and runs.
func isReady(pod *cluster.Object) bool {
	conditions, _, _ := unstructured.NestedSlice(pod.Body, "status", "conditions")
	for _, item := range conditions {
		if m, ok := item.(map[string]any); ok && m["type"] == "Ready" && m["status"] == "True" {
			return true
		}
	}
	return false
}
