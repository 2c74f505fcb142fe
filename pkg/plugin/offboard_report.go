package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/finalize"
	"github.com/castai/kubectl-castai/pkg/offboard"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// report prints what was done and left, and returns the error that says how
// the command ended.
func (o *offboardOptions) report(ctx context.Context, result *offboard.Result, err error) error {
	r, after, returned := result.Report, result.After, result.Returned
	stuck := o.stuck(ctx, after)
	if o.document() {
		doc := printer.NewReport(result.Before.Server, r, after, returned, err)
		doc.Namespaces, doc.PlanDigest, doc.Backup, doc.Audit = stuck, o.digest, o.saving.folder, o.saving.files
		if printErr := printer.Print(o.Out, o.output, doc); printErr != nil {
			return printErr
		}
	} else {
		text := printer.NewText(o.Out)
		text.Report(r, after, returned)
		for _, d := range stuck {
			text.Diagnosis(d)
		}
		if printErr := text.Err(); printErr != nil {
			return printErr
		}
	}
	gated, unfinished := o.console.gated(r), o.console.unfinished(r)
	switch {
	case errors.Is(err, ErrInterrupted):
		return fmt.Errorf("%w: run it again to go on%s", err, o.console.again())
	case errors.Is(err, engine.ErrGate) && gated != nil:
		return gated
	case errors.Is(err, engine.ErrGate), errors.Is(err, offboard.ErrChanged):
		return &failure{ExitLeft, err}
	case err != nil:
		return err
	case after != nil && len(returned) > 0:
		return fmt.Errorf("%w: %s came back or new, %s in all: stop what makes them first", errLeft, objects(len(returned)),
			objects(max(len(returned), len(after.Owned()))))
	case after != nil && len(after.Owned())+len(after.Unreadable) > 0:
		return leftError(after)
	case unfinished != nil:
		return unfinished
	case r.Count(engine.ResultKept) > 0:
		return fmt.Errorf("%w: %s", errLeft, kept(r))
	case after != nil && leftError(after) != nil:
		return leftError(after)
	case after != nil:
		return unfinishedError(r)
	case r.Count(engine.ResultFailed) > 0:
		return fmt.Errorf("the server refused %d of the writes", r.Count(engine.ResultFailed))
	}
	return nil
}

// unfinishedError says what was to go, or to be taken back, and was not.
func unfinishedError(r *engine.Report) error {
	all := offboard.Unfinished(r)
	if len(all) == 0 {
		return nil
	}
	o := all[0]
	return fmt.Errorf("%w or changed: %s, first %s (%s): resolve that, then run the command again",
		errLeft, objects(len(all)), o.Object, cmp.Or(o.Message, "it did not go"))
}

// kept names what was not deleted after all.
func kept(r *engine.Report) string {
	var out []string
	for _, o := range r.Outcomes {
		if text := fmt.Sprintf("%s stays, because %s", o.Object, o.Message); o.Result == engine.ResultKept &&
			!slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return strings.Join(out, "; ")
}

// stuck explains the namespaces that are left in Terminating. It is an
// explanation only: where none can be had, the report stands without it.
func (o *offboardOptions) stuck(ctx context.Context, after *ownership.Inventory) []*finalize.Diagnosis {
	var names []string
	if after != nil {
		for _, i := range after.Owned() {
			if i.Object.Ref() == (cluster.Ref{Kind: "Namespace", Name: i.Object.Name}) && i.Object.Terminating() {
				names = append(names, i.Object.Name)
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	obs, err := finalize.Observe(ctx, o.client, names...)
	if err != nil {
		return nil
	}
	rules := finalize.Options{Owned: after.IsOwned, Partial: true, By: o.Name, Product: product,
		Known: knownFinalizers(o.cat)}
	var out []*finalize.Diagnosis
	for _, name := range names {
		if d, err := finalize.Diagnose(obs, name, rules); err == nil {
			out = append(out, d)
		}
	}
	return out
}
