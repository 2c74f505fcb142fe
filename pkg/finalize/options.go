package finalize

import (
	"slices"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Options say what may be done. The zero value explains everything and allows
// what unstick-ns does after a confirmation.
type Options struct {
	// Owned tells whether an object is Cast AI's. Nil: none is.
	Owned func(cluster.Ref) bool
	// Allow tells whether a finalizer may be removed from an object, which may
	// be the namespace itself. Nil allows all; see Only and CastAIOnly.
	Allow func(o *cluster.Object, finalizer string) bool
	// RemoveAPIServices names APIServices to be removed though they are not Cast AI's.
	RemoveAPIServices []string
	// Force finalizes the namespace first, orphaning what is in it, and sweeps
	// the orphans afterwards.
	Force bool
	// Partial does what can be done even if the namespace stays stuck.
	Partial bool
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

// CastAIOnly allows the finalizers of Cast AI's own components, and those of
// the projects that Cast AI brings along (Liqo, Karpenter) on objects that are
// Cast AI's.
func CastAIOnly(owned func(cluster.Ref) bool) func(*cluster.Object, string) bool {
	return func(o *cluster.Object, finalizer string) bool {
		k, ok := lookUp(finalizer)
		return ok && (k.castAI || k.bundled && owned != nil && owned(o.Ref()))
	}
}

func (o Options) owned(r cluster.Ref) bool { return o.Owned != nil && o.Owned(r) }

func (o Options) allows(obj *cluster.Object, finalizer string) bool {
	return o.Allow == nil || o.Allow(obj, finalizer)
}

// allowed returns the finalizers that may be removed from an object.
func (o Options) allowed(obj *cluster.Object) []string {
	var out []string
	for _, f := range obj.Finalizers {
		if o.allows(obj, f) {
			out = append(out, f)
		}
	}
	return out
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
		},
		Backends: true,
		Bodies: map[string][][]string{
			"pods":            {{"spec", "nodeName"}},
			"daemonsets.apps": {{"status", "numberReady"}},
		},
	}
}
