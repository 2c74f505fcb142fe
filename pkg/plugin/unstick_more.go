package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/kubectl/pkg/util/term"

	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/finalize"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// stepNames are the steps that --also may allow.
func stepNames() []string {
	var out []string
	for _, r := range finalize.Steps {
		out = append(out, string(r))
	}
	return out
}

// unused says which names that were given nothing has. Where that is plainly a slip, it is an error, before anything
// is done; with --all, a name may be meant for what is not there this time.
func (o *unstickOptions) unused(ds []*finalize.Diagnosis) error {
	judged := slices.ContainsFunc(ds, func(d *finalize.Diagnosis) bool { return d.Refusal == nil })
	says, mistyped := finalize.Unused(o.seen, ds, o.finalizers, o.rules)
	switch {
	case len(says) == 0, !judged:
		return nil
	case mistyped && !o.all && !o.orphans:
		return usage(errors.New(strings.Join(says, "; ")))
	}
	_, _ = fmt.Fprintln(o.ErrOut, printer.Escape(strings.Join(says, "; "))) // a message; the data goes elsewhere
	return nil
}

// askNames asks a person at a terminal about each finalizer that is removed only if
// it is named, and judges again with those that were.
func (o *unstickOptions) askNames(ctx context.Context, ds []*finalize.Diagnosis) ([]*finalize.Diagnosis, error) {
	if o.yes || o.diagnose || o.dryRun != dryRunNone || !(term.TTY{In: o.In}).IsTerminalIn() {
		return ds, nil
	}
	names, err := named(ds, func(question, finalizer string) error { return o.confirm(ctx, false, question, finalizer) })
	if err != nil || len(names) == 0 {
		return ds, err
	}
	o.rules.Named = append(o.rules.Named, names...)
	return o.judge(namesOf(ds))
}

// named asks about each finalizer that is removed only if it is named, and returns those
// that were. Another answer leaves the finalizer; that nobody answers is an error.
func named(ds []*finalize.Diagnosis, ask func(question, finalizer string) error) ([]string, error) {
	asked := map[string]bool{}
	var names []string
	for _, d := range ds {
		for _, c := range d.Asked() {
			if asked[c.Finalizer] {
				continue
			}
			asked[c.Finalizer] = true
			err := ask(fmt.Sprintf("%s: %s.\nTo remove it all the same, name it; anything else leaves it.", c.Summary, c.Remedy),
				c.Finalizer)
			switch {
			case err == nil:
				names = append(names, c.Finalizer)
			case ExitCode(err) != ExitRefused:
				return nil, err
			}
		}
	}
	return names, nil
}

func namesOf(ds []*finalize.Diagnosis) []string {
	var out []string
	for _, d := range ds {
		out = append(out, d.Namespace)
	}
	return out
}

// approve shows steps that have become necessary since the preview, asks for them or
// looks whether a flag allows them, and saves what they are about to remove.
func (o *unstickOptions) approve(ctx context.Context, more *engine.Plan) error {
	text := printer.NewText(o.ErrOut)
	text.Preview(more, 0)
	if err := text.Err(); err != nil {
		return err
	}
	if err := o.allows(ctx, more); err != nil {
		_, _ = fmt.Fprintln(o.ErrOut, printer.Escape(err.Error())) // a message; the report says it, too
		return err
	}
	saving := o.saving
	if o.more++; saving.dir != "" {
		saving.dir = fmt.Sprintf("%s-%d", saving.dir, o.more+1)
	}
	journal, err := saving.save(ctx, o.client, &ownership.Inventory{Server: o.seen.Server}, more)
	if err != nil {
		_, _ = fmt.Fprintln(o.ErrOut, printer.Escape(err.Error()))
		return err
	}
	saving.closeJournal(journal, nil)
	return nil
}

func (o *unstickOptions) allows(ctx context.Context, more *engine.Plan) error {
	if !o.yes {
		return o.confirm(ctx, false, "This has become necessary since you were asked.", "yes")
	}
	var missing []string
	for _, phase := range more.Phases {
		for _, a := range phase.Actions {
			step := string(finalize.StepOf(a))
			if !slices.Contains(o.also, step) && !slices.Contains(missing, step) {
				missing = append(missing, step)
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("not done, because it was not in what was confirmed: run it again, or pass --also=%s",
		strings.Join(missing, " --also="))
}
