// Package engine carries out plans: phases of actions, with preconditions,
// bounded concurrency and deadlines, on watches instead of sleeps, telling what
// happens as events. It decides nothing: offboard and finalize say what to do.
package engine

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Verb is one way of changing an object.
type Verb string

// The verbs of an action.
const (
	// Delete asks for deletion and, in a phase that waits, sees it through: it
	// may strip the finalizers that the action names once they hold the object.
	Delete Verb = "delete"
	// Patch applies a JSON merge patch (stop a workload, suspend a CronJob).
	Patch Verb = "patch"
	// StripFinalizers removes the named finalizers of an object that is being
	// deleted; on any other it fails.
	StripFinalizers Verb = "strip-finalizers"
	// Finalize clears the finalizers of a Terminating namespace through its
	// finalize subresource.
	Finalize Verb = "finalize"
	// CreateNamespace makes an empty namespace, to reach orphans in it.
	CreateNamespace Verb = "create-namespace"
	// Apply creates an object, or sets fields of it, by server-side apply.
	Apply Verb = "apply"
	// Create creates an object. One that is there by then stays as it is.
	Create Verb = "create"
	// Call does something elsewhere than in the Kubernetes API: a request to the
	// Cast AI API, or waiting for what one brings about.
	Call Verb = "call"
)

// removes tells whether the object must be gone for the action to be done.
func (v Verb) removes() bool { return v == Delete || v == StripFinalizers || v == Finalize }

// Action is one write on one object.
type Action struct {
	Verb   Verb           `json:"verb"`
	Target cluster.Target `json:"target"`
	// Why says in a few words why this object, for a person.
	Why string `json:"why"`
	// Command is what one would type to do the same with kubectl.
	Command string `json:"command,omitempty"`
	// Patch is the merge patch of a Patch action.
	Patch map[string]any `json:"patch,omitempty"`
	// Change returns the merge patch of a Patch action from the state that the
	// object is in when its turn comes, with Fields read; nil: it is as it should
	// be. If the object changes in between, Change is called again.
	Change func(o *cluster.Object) (map[string]any, error) `json:"-"`
	Fields [][]string                                      `json:"-"`
	// Content returns what an Apply or Create action sends. It is called when its
	// turn comes, so that it may name objects that earlier phases made.
	Content func(ctx context.Context) (map[string]any, error) `json:"-"`
	// Finalizers are those that may be removed, by exact name. "*" stands for
	// every finalizer that is on the object.
	Finalizers []string `json:"finalizers,omitempty"`
	// Strips tells of a finalizer on the live object that is not among these
	// whether it may be removed, too; nil: it may not.
	Strips func(finalizer string) bool `json:"-"`
	// StripAfter is how long the finalizers' own controllers get.
	StripAfter time.Duration `json:"-"`
	// Seen is the state of the object that the decision was made on. Stripping
	// starts from it and reads the object only if that is no longer its state.
	Seen *cluster.Object `json:"-"`
	// Operation names what a Call does, apart from the others on its target.
	Operation string `json:"operation,omitempty"`
	// Do carries a Call out, and says through tell what it is waiting for. Unlike
	// a write, it sees the run's ctx end and must then return without delay.
	// A dry run leaves it out.
	Do func(ctx context.Context, tell func(message string)) error `json:"-"`
	// Annotations are those of a namespace to be created.
	Annotations map[string]string `json:"annotations,omitempty"`
	// Orphan: what names the object as its owner is not deleted with it.
	Orphan bool `json:"orphan,omitempty"`
	// GracePeriodSeconds overrides the object's own grace period.
	GracePeriodSeconds *int64 `json:"gracePeriodSeconds,omitempty"`
}

// AnyFinalizer in Action.Finalizers allows every finalizer.
const AnyFinalizer = "*"

// Phase is a set of actions that may run in any order, unless it says otherwise.
type Phase struct {
	Name    string   `json:"name"`
	Title   string   `json:"title"`
	Actions []Action `json:"actions"`
	// WaitFor are further objects that must be gone before the phase is done
	// (the pods of stopped workloads, say), beside everything it deletes.
	WaitFor []cluster.Target `json:"waitFor,omitempty"`
	// Timeout bounds the whole phase; zero leaves it to the run's deadline.
	Timeout time.Duration `json:"-"`
	// Patience is how long the phase watches without any change before Next is
	// asked what to do about the rest.
	Patience time.Duration `json:"-"`
	// Next looks again at a cluster that stopped making progress and says what
	// to do about the objects that are left. No further step ends the phase with
	// these objects left.
	Next func(ctx context.Context, left []cluster.Target) (*Step, error) `json:"-"`
	// Ready waits for what was written to have its effect (kinds are served), if
	// the next phases need that. Its error is the phase's.
	Ready func(ctx context.Context) error `json:"-"`
	// Takes tells which actions take others along; nil: all of them do. They are
	// sent when all other actions of the phase have been answered.
	Takes func(a Action) bool `json:"-"`
	// Hold is asked right before each try of such a deletion what it would take
	// along that nobody judged: it names the actions that must not be sent, by the
	// UIDs of their targets, and why. With an error the deletion is not sent, and
	// has failed. It is called from several goroutines.
	Hold func(ctx context.Context, actions []Action) (map[types.UID]string, error) `json:"-"`
	// Dependents is asked right before a number of deletions is sent what names their
	// objects as owners by then and is not to go with them. By the UIDs of the targets
	// it says why a deletion is to orphan them, or why it must not be sent. With an
	// error none of them is sent, and all have failed.
	Dependents func(ctx context.Context, actions []Action) (orphan, held map[types.UID]string, err error) `json:"-"`
	// Gate: if anything in this phase fails or stays, the run ends before the
	// next phase, which would do harm without it.
	Gate bool `json:"gate,omitempty"`
	// InOrder: the actions go one after the other, and none after one that failed.
	InOrder bool `json:"inOrder,omitempty"`
	// Optional: a later phase takes care of what this one leaves.
	Optional bool `json:"optional,omitempty"`
}

// Step is a further round of a phase.
type Step struct {
	// Title says what this round does and why, in a sentence.
	Title   string
	Actions []Action
	// Patience replaces the phase's; a step without actions just watches.
	Patience time.Duration
}

// Plan is what a run will do, in order.
type Plan struct {
	Phases []Phase `json:"phases"`
	// Notes are what a person should know before confirming it.
	Notes []string `json:"notes,omitempty"`
}

// Actions counts the actions of all phases.
func (p *Plan) Actions() int {
	n := 0
	for _, phase := range p.Phases {
		n += len(phase.Actions)
	}
	return n
}
