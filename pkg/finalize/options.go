package finalize

import (
	"context"
	"slices"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// Options say what may be done. The zero value explains everything and allows
// what unstick-ns does after a confirmation.
type Options struct {
	// Owned tells whether a webhook or an APIService belongs to what the caller is
	// about (Product), and may be removed if it does not work. Nil: none does.
	Owned   func(cluster.Ref) bool
	Product string
	// Known are finalizers of which the caller knows who removes them.
	Known []Known
	// Allow tells whether a finalizer may be removed from an object, which may be
	// the namespace itself; see Only. Nil allows those that nobody alive is
	// responsible for and that guard nothing outside of the cluster.
	Allow func(o *cluster.Object, finalizer string) bool
	// Named are finalizers that may be removed, too, whatever they guard.
	Named []string
	// RemoveAPIServices names APIServices to be removed though they are not owned.
	RemoveAPIServices []string
	// RelaxSchemas names CustomResourceDefinitions, plural.group, whose schema may be relaxed
	// while a Runner works if it refuses the removal of finalizers. The Runner puts it back.
	RelaxSchemas []string
	// Force finalizes the namespace first, orphaning what is in it, and sweeps
	// the orphans afterwards.
	Force bool
	// Partial does what can be done even if the namespace stays stuck.
	Partial bool
	// Endure waits for those that are alive until the context of the run ends, and
	// not just as long as Patience.
	Endure bool
	// Approve is asked before a step that Preview has not shown; its error leaves the
	// step out. Nil approves of every step.
	Approve func(ctx context.Context, more *engine.Plan) error
	// Patience is how long nothing may change before force is used; 0 is 10 s.
	Patience time.Duration
	// ControllerPatience is how long the living controller of a finalizer gets
	// after the deletion of its object; 0 is 5 minutes.
	ControllerPatience time.Duration
	// Now is the clock; nil is the system's.
	Now func() time.Time
	// By says who acts, in the annotation of a namespace that is created to
	// reach orphans.
	By string
}

const (
	defaultPatience           = 10 * time.Second
	defaultControllerPatience = 5 * time.Minute
)

// Only allows the named finalizers.
func Only(names ...string) func(*cluster.Object, string) bool {
	return func(_ *cluster.Object, f string) bool { return slices.Contains(names, f) }
}

func (o Options) owned(r cluster.Ref) bool { return o.Owned != nil && o.Owned(r) }

func (o Options) allows(obj *cluster.Object, finalizer string) bool {
	return o.Allow == nil || o.Allow(obj, finalizer) || slices.Contains(o.Named, finalizer)
}

// named tells whether it was said of a finalizer that it may be removed.
func (o Options) named(obj *cluster.Object, finalizer string) bool {
	return o.Allow != nil && o.Allow(obj, finalizer) || slices.Contains(o.Named, finalizer)
}

// whose names the product of the caller, for "it is not ...'s".
func (o Options) whose() string {
	if o.Product == "" {
		return "this tool"
	}
	return o.Product
}

func (o Options) patience() time.Duration {
	if o.Patience > 0 {
		return o.Patience
	}
	return defaultPatience
}

func (o Options) controllerPatience() time.Duration {
	if o.ControllerPatience > 0 {
		return o.ControllerPatience
	}
	return defaultControllerPatience
}

func (o Options) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}

// Scope is what a snapshot must hold to judge the namespaces.
func Scope(namespaces ...string) cluster.Scope {
	return cluster.Scope{
		Namespaces: namespaces,
		Whole: []string{
			"namespaces", "nodes",
			"apiservices.apiregistration.k8s.io",
			"customresourcedefinitions.apiextensions.k8s.io",
			"mutatingwebhookconfigurations.admissionregistration.k8s.io",
			"validatingwebhookconfigurations.admissionregistration.k8s.io",
			// Where the controllers of finalizers live.
			"deployments.apps", "statefulsets.apps", "daemonsets.apps",
			// What is left of claims.
			persistentVolumes,
		},
		Backends: true,
		Events:   true,
		Bodies: map[string][][]string{
			"pods":            {{"spec", "nodeName"}, {"spec", "volumes"}},
			claims:            {{"status", "phase"}},
			persistentVolumes: volumeBody,
			"daemonsets.apps": {{"status", "numberReady"}},
		},
	}
}

// volumeBody is what tells of a volume whose it was, and what becomes of it.
var volumeBody = [][]string{{"spec", "claimRef"}, {"spec", "persistentVolumeReclaimPolicy"}, {"status", "phase"}}
