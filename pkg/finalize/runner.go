package finalize

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// Cluster is what a Runner needs of a cluster: to read it, and to carry a plan out.
type Cluster interface {
	Reader
	engine.Cluster
}

// Runner frees namespaces, or one object: it observes them, says why they are stuck,
// plans what to do, says what it refuses, and does it. It prints nothing and asks nobody but
// Options.Approve.
type Runner struct {
	Cluster    Cluster
	Namespaces []string
	// Object is the one to be freed; then Namespaces does not count.
	Object  *cluster.Target
	Options Options
	// OnEvent is called for each event of a run, from one goroutine at a time.
	OnEvent func(engine.Event)
}

// Observe reads what is to be judged. The error is for a server that can't be reached.
func (r *Runner) Observe(ctx context.Context) (*Observation, error) {
	if r.Object != nil {
		return ObserveObject(ctx, r.Cluster, *r.Object)
	}
	return Observe(ctx, r.Cluster, r.Namespaces...)
}

// Diagnose says of each namespace, or of the object, why it does not go away; see
// Diagnose and DiagnoseObject.
func (r *Runner) Diagnose(o *Observation) ([]*Diagnosis, error) {
	if r.Object != nil {
		d, err := DiagnoseObject(o, *r.Object, r.Options)
		return []*Diagnosis{d}, err
	}
	var out []*Diagnosis
	for _, name := range r.Namespaces {
		d, err := Diagnose(o, name, r.Options)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// Plan returns what will be done if nothing changes by itself; see Preview.
func (r *Runner) Plan(ds []*Diagnosis) *engine.Plan { return Preview(ds, r.Options) }

// Refusals returns why namespaces will not be touched, in their order, without those
// that will.
func (r *Runner) Refusals(ds []*Diagnosis) []*Refusal {
	var out []*Refusal
	for _, d := range ds {
		if refusal := Refuse(d, r.Options); refusal != nil {
			out = append(out, refusal)
		}
	}
	return out
}

// Result is what a run did and what it left.
type Result struct {
	Report *engine.Report
	// After are the diagnoses made when it was over, in the order of those before.
	After []*Diagnosis
	// Left says of each namespace that is not freed what is left, and why.
	Left []string
}

// Run frees the namespaces of the diagnoses, and looks again. Its error is the first
// Refusal, with nothing changed, or that of a run that ended early; then the result
// holds what was done.
func (r *Runner) Run(ctx context.Context, ds []*Diagnosis) (*Result, error) {
	only := *r
	only.Namespaces = namesOf(ds)
	plan, err := Plan(ds, only.Observe, r.Options)
	if err != nil {
		return nil, err
	}
	out := &Result{}
	out.Report, err = r.relaxed(ctx, ds, plan)
	if ctx.Err() != nil {
		return out, err
	}
	obs, lookErr := only.Observe(ctx)
	if lookErr == nil {
		out.After, lookErr = only.Diagnose(obs)
	}
	if err == nil {
		err = lookErr
	}
	if out.After != nil {
		out.Left = Left(ds, out.After, out.Report)
	}
	return out, err
}

func namesOf(ds []*Diagnosis) []string {
	var out []string
	for _, d := range ds {
		out = append(out, d.Namespace)
	}
	return out
}

// OrphanedNamespaces returns the names of namespaces that are not there, but in which
// objects claim to live, or of whose claims volumes are left. The error is for a cluster of which that can't be said.
func OrphanedNamespaces(ctx context.Context, c Reader) ([]string, error) {
	snap, err := c.Snapshot(ctx, cluster.Scope{Events: true,
		Bodies: map[string][][]string{persistentVolumes: volumeBody}})
	if err != nil {
		return nil, err
	}
	if u := unreadable(snap, "namespaces"); u != nil {
		return nil, fmt.Errorf("orphans can't be told, because namespaces can't be listed: %s", u.Message)
	}
	// The lists are not of one moment: what was made between two of them is there now.
	now, err := c.Snapshot(ctx, cluster.Scope{Kinds: []string{"namespaces"}})
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, o := range slices.Concat(snap.Objects, now.Objects) {
		if isNamespace(o) {
			there[o.Name] = true
		}
	}
	var names []string
	for _, o := range snap.Objects {
		names = append(names, o.Namespace)
	}
	for _, v := range volumesOf(snap, func(ns string) bool { return !there[ns] }) {
		ns, _, _ := strings.Cut(v.Claim, "/")
		names = append(names, ns)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" || there[name] })
	slices.Sort(names)
	return slices.Compact(names), nil
}
