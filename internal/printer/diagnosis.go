package printer

import (
	"fmt"
	"strings"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/finalize"
)

// Diagnosis is the document of unstick-ns and unstick, with --diagnose and
// --dry-run=client.
type Diagnosis struct {
	TypeMeta   `json:",inline"`
	Metadata   Metadata              `json:"metadata"`
	Namespaces []*finalize.Diagnosis `json:"namespaces"`
	// Objects are those that unstick is about.
	Objects []*finalize.Diagnosis `json:"objects,omitempty"`
	// Phases are what will be done if nothing changes by itself.
	Phases []engine.Phase `json:"phases"`
}

// NewDiagnosis makes the document of diagnoses and of what follows from them.
func NewDiagnosis(s cluster.Server, ds []*finalize.Diagnosis, preview *engine.Plan) *Diagnosis {
	doc := &Diagnosis{TypeMeta: TypeMeta{APIVersion, "Diagnosis"}, Metadata: NewMetadata(s), Phases: preview.Phases}
	doc.Namespaces, doc.Objects = apart(ds)
	if doc.Namespaces == nil {
		doc.Namespaces = []*finalize.Diagnosis{}
	}
	if doc.Phases == nil {
		doc.Phases = []engine.Phase{}
	}
	return doc
}

// NewUnstickReport makes the document of a run that freed namespaces. after are
// the diagnoses made when it was over, nil if none could be made.
func NewUnstickReport(s cluster.Server, r *engine.Report, after []*finalize.Diagnosis, err error) *Report {
	doc := NewReport(s, r, nil, nil, err)
	doc.Namespaces, doc.Stuck = apart(after)
	return doc
}

// apart tells diagnoses of namespaces from those of objects.
func apart(ds []*finalize.Diagnosis) (namespaces, objects []*finalize.Diagnosis) {
	for _, d := range ds {
		if d.Object == nil {
			namespaces = append(namespaces, d)
		} else {
			objects = append(objects, d)
		}
	}
	return namespaces, objects
}

// mostNames is how many objects of a kind are named.
const mostNames = 5

// Diagnosis explains why a namespace, or an object, is stuck.
func (t *Text) Diagnosis(d *finalize.Diagnosis) {
	switch {
	case d.Object != nil && d.Refusal == nil:
		t.line("%s: its deletion began %s ago", d.Title(), age(d.ObservedAt.Sub(d.Since)))
	case d.Object != nil:
		return // the refusal says it all
	case d.State == finalize.Terminating:
		t.line("Namespace %s has been Terminating for %s: %s left, %d of them being deleted",
			d.Namespace, age(d.ObservedAt.Sub(d.Since)), count(d.Content.Objects, "object"), d.Content.Terminating)
	case d.Refusal == nil:
		t.line("%s", d.Summary)
	default:
		return // the refusal says it all
	}
	for i := range d.Causes {
		t.cause(i+1, &d.Causes[i])
	}
	for _, c := range d.Conditions {
		switch {
		case c.Wrong != "":
			t.line("  Its condition %s is %s: %q, but %s", c.Type, c.Status, c.Message, c.Wrong)
		case c.Status == "True":
			t.line("  Its condition %s is %s: %q", c.Type, c.Status, c.Message)
		}
	}
	for _, v := range d.Volumes {
		t.line("  %s", v.Summary)
	}
	if len(d.Content.Unknown) > 0 {
		t.line("  Not known: what of %s is in it", strings.Join(d.Content.Unknown, ", "))
	}
	if len(d.Unseen) > 0 {
		t.line("  You may not read these outside of the namespace, so causes may hide there: %s",
			strings.Join(d.Unseen, ", "))
	}
	t.line("")
}

func (t *Text) cause(n int, c *finalize.Cause) {
	t.line("  %d. %s", n, c.Summary)
	for _, g := range c.Objects {
		if g.Count > 1 {
			t.line("     %s: %s", g.Resource, some(g.Names, mostNames))
		}
	}
	if !c.Since.IsZero() {
		t.line("     since %s", c.Since.UTC().Format(time.RFC3339))
	}
	if c.Action == finalize.Nothing || c.Asks {
		t.line("     to do for you: %s", c.Remedy)
	} else {
		t.line("     remedy: %s", c.Remedy)
	}
	switch each := c.Action == finalize.ClearFinalizers || c.Action == finalize.DeletePods; {
	case c.Command != "" && each && c.Count() > 1:
		t.line("     by hand, for each of the %d, as for the first: %s", c.Count(), c.Command)
	case c.Command != "":
		t.line("     by hand: %s", c.Command)
	case c.Look != "":
		t.line("     to see more: %s", c.Look)
	}
}

// Preview shows what will be done if nothing changes by itself. Without
// patience it is done at once.
func (t *Text) Preview(p *engine.Plan, patience time.Duration) {
	if len(p.Phases) == 0 {
		t.line("Nothing has to be done but to wait.")
		return
	}
	if patience > 0 {
		t.line("What will be done, each step only if nothing has changed for %s:", patience)
	} else {
		t.line("What will be done:")
	}
	for n, phase := range p.Phases {
		t.line("  %d. %s: %s", n+1, phase.Title, count(len(phase.Actions), "object"))
		t.rows(&phase, 0)
	}
}

// NothingStuck says that there is nothing to explain: no namespace is Terminating, or holds orphans,
// where these were looked for.
func (t *Text) NothingStuck(terminating, orphans bool) {
	if terminating || !orphans {
		t.line("No namespace is stuck in Terminating.")
	}
	if orphans {
		t.line("No objects are left of namespaces that are gone.")
	}
}

// Freed says of each namespace how it ended.
func (t *Text) Freed(r *engine.Report, before, after []*finalize.Diagnosis) {
	t.line("%s", freedTotals(r, before, after))
	for i, d := range after {
		freed := d.Freed(before[i])
		switch unknown := d.PossiblyOrphaned(r); {
		case freed && len(unknown) > 0:
			t.line("Namespace %s is gone, but nobody knows whether %s of it are left.", d.Namespace, strings.Join(unknown, ", "))
		case freed:
			t.line("%s is freed.", capital(d.Title()))
		case d.State == finalize.Missing:
			t.line("Namespace %s is gone, but not what was in it.", d.Namespace)
			t.Diagnosis(d)
		default:
			t.line("%s is still stuck.", capital(d.Title()))
			t.Diagnosis(d)
		}
	}
}

// Refused says why a namespace was not touched.
func (t *Text) Refused(r *finalize.Refusal) { t.line("%s.", r.Message) }

// freedTotals counts what was done.
func freedTotals(r *engine.Report, before, after []*finalize.Diagnosis) string {
	var parts []string
	for _, c := range []struct {
		verb  engine.Verb
		words string
	}{{engine.Delete, "deleted"}, {engine.StripFinalizers, "finalizers removed from"}, {engine.Finalize, "finalized"}} {
		if n := r.Count(engine.ResultDone, c.verb); n > 0 {
			parts = append(parts, c.words+" "+count(n, "object"))
		}
	}
	if n := r.Count(engine.ResultFailed); n > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", n))
	}
	freed := len(after) > 0
	for i, d := range after {
		freed = freed && d.Freed(before[i])
	}
	switch {
	case len(parts) == 0 && freed:
		parts = append(parts, "nothing had to be done")
	case len(parts) == 0:
		parts = append(parts, "nothing was removed or finalized")
	}
	var total time.Duration
	for _, p := range r.Phases {
		total += p.Elapsed
	}
	return fmt.Sprintf("%s, in %s", capital(strings.Join(parts, ", ")), seconds(total))
}

// capital begins a sentence with a title: "Namespace shop".
func capital(title string) string { return strings.ToUpper(title[:1]) + title[1:] }

// age is a duration as a person says it.
func age(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours())/24)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	}
	return count(int(d.Seconds()), "second")
}
