// Package hibernate pauses a cluster for the night and resumes it: it observes,
// plans, and hands the plan to the engine. It also knows the CronJobs that do
// this on a schedule, Cast AI's own and those that install makes.
//
// What is said here about Cast AI's job is from castai/hibernate v0.14 (HB), its
// deploy.yaml, and the chart castai-hibernate 0.2.12 (HC).
package hibernate

import "github.com/castai/kubectl-castai/pkg/cluster"

// Namespace is where Cast AI's job and its chart look for everything (HB
// app/main.py, cast_namespace).
const Namespace = "castai-agent"

// The objects of an installation have fixed names (HB deploy.yaml, HC values.yaml).
const (
	PauseCronJob  = "hibernate-pause"
	ResumeCronJob = "hibernate-resume"
	secretName    = "castai-hibernate"
	StateName     = "castai-hibernate-state"
	// account is the name of the ServiceAccount and of all its roles and bindings.
	account = "hibernate"
	// adminBinding grants the account the built-in role admin. Nothing needs it.
	adminBinding = "hibernate-admin"
)

// PausedKey is the key of the taint of the node that a cluster sleeps on, of the
// toleration for it, and of that node's label (HB app/k8s_utils.py).
const PausedKey = "scheduling.cast.ai/paused-cluster"

// ref names an object of an installation.
func ref(group, kind, namespace, name string) cluster.Ref {
	return cluster.Ref{Group: group, Kind: kind, Namespace: namespace, Name: name}
}

// What Cast AI writes on nodes (cluster-controller internal/types.go; DOC
// autoscaler-reference-node-labels-and-taints).
const (
	provisioner     = "provisioner.cast.ai/"
	nodeIDLabel     = provisioner + "node-id"
	spotLabel       = "scheduling.cast.ai/spot"
	removalDisabled = "autoscaling.cast.ai/removal-disabled"
)

// leaseName is that of the Lease that keeps two runs apart.
const leaseName = "castai-hibernate"
