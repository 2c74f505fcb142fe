package printer

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/clipperhouse/displaywidth"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/offboard"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// Text writes documents for a person. Errors of the writer end the output and
// are returned by Err.
type Text struct {
	w        io.Writer
	terminal *Terminal
	width    int // columns of the terminal; 0: not a terminal, nothing is cut
	err      error
}

// NewText writes to w. On a terminal, rows of tables are cut to its width.
func NewText(w io.Writer) *Text {
	t := NewTerminal(w, ColorAuto)
	return &Text{w: t, terminal: t, width: t.Width()}
}

// Err returns the first error of the writer.
func (t *Text) Err() error { return t.err }

// line writes one line. Strings among the arguments are escaped.
func (t *Text) line(format string, args ...any) { t.styled(format, args) }

// heading writes a line that begins something, alarm one about what went wrong,
// and relief one about what went well.
func (t *Text) heading(format string, args ...any) { t.styled(format, args, bold) }
func (t *Text) alarm(format string, args ...any)   { t.styled(format, args, red) }
func (t *Text) relief(format string, args ...any)  { t.styled(format, args, bold, green) }

func (t *Text) styled(format string, args []any, styles ...style) {
	if t.err != nil {
		return
	}
	for i, a := range args {
		if s, ok := a.(fmt.Stringer); ok {
			a = s.String()
		}
		if s, ok := a.(string); ok {
			args[i] = Escape(s)
		}
	}
	text := t.wrap(fmt.Sprintf(format, args...), 0)
	if len(styles) > 0 {
		text = t.terminal.paint(text, styles...)
	}
	_, t.err = io.WriteString(t.w, text+"\n")
}

// wrap breaks lines that are wider than the terminal between words. What follows
// begins in the column hang; 0: a little more to the right than the line.
func (t *Text) wrap(text string, hang int) string {
	if t.width == 0 || displaywidth.String(text) <= t.width {
		return text
	}
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		rest := strings.TrimLeft(line, " ")
		indent := strings.Repeat(" ", len(line)-len(rest))
		current, next := indent, cmp.Or(strings.Repeat(" ", hang), indent+"  ")
		for word := range strings.SplitSeq(rest, " ") {
			if used := displaywidth.String(current); strings.TrimSpace(current) != "" &&
				used+1+displaywidth.String(word) > t.width {
				out = append(out, current)
				current = next
			}
			if strings.TrimSpace(current) != "" {
				current += " "
			}
			current += word
		}
		out = append(out, current)
	}
	return strings.Join(out, "\n")
}

// facts writes labels, and beside each what is true of it, on as many lines as it takes.
func (t *Text) facts(rows [][]string) {
	var widest int
	for _, row := range rows {
		widest = max(widest, displaywidth.String(Escape(row[0])))
	}
	for _, row := range rows {
		label := Escape(row[0])
		label += strings.Repeat(" ", widest+2-displaywidth.String(label))
		t.raw(t.wrap(strings.TrimRight(label+Escape(row[1]), " "), widest+2))
	}
}

// table writes rows in aligned columns.
func (t *Text) table(rows [][]string) {
	if t.err != nil {
		return
	}
	var cells, out strings.Builder
	for _, row := range rows {
		for i := range row {
			row[i] = Escape(row[i])
		}
		cells.WriteString(strings.Join(row, "\t") + "\n")
	}
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	if _, t.err = io.WriteString(w, cells.String()); t.err == nil {
		t.err = w.Flush()
	}
	for line := range strings.Lines(out.String()) {
		t.raw(t.cut(strings.TrimRight(line, "\n ")))
	}
}

// cut shortens a line to the width of the terminal.
func (t *Text) cut(line string) string {
	if t.width == 0 {
		return line
	}
	return displaywidth.TruncateString(line, t.width, "…")
}

func (t *Text) raw(line string) {
	if t.err == nil {
		_, t.err = fmt.Fprintln(t.w, line)
	}
}

func (t *Text) identity(inv *ownership.Inventory) {
	s, id := inv.Server, inv.Identity
	rows := [][]string{{"Cluster", fmt.Sprintf("%s (context %s), %s, Kubernetes %s", s.DisplayName(),
		cmp.Or(s.Context, "none"), s.Host, s.Version)}}
	switch {
	case id.Conflict:
		var says []string
		for _, src := range id.Sources {
			says = append(says, fmt.Sprintf("%s says %s", src.Object, src.ClusterID))
		}
		rows = append(rows, []string{"Cast AI", "cluster id unclear: " + strings.Join(says, ", ")})
	case id.ClusterID != "":
		rows = append(rows, []string{"Cast AI", strings.Join(nonEmpty("cluster "+id.ClusterID, prefixed("region ", id.Region),
			prefixed("provider ", id.Provider), prefixed("API ", id.APIURL)), ", ")})
	}
	for i, r := range inv.Releases {
		label := ""
		if i == 0 {
			label = "Helm"
		}
		rows = append(rows, []string{label, r})
	}
	t.facts(rows)
}

func (t *Text) homes(inv *ownership.Inventory) {
	first := true
	for _, h := range inv.Homes {
		if len(h.Keep) == 0 {
			continue
		}
		if first {
			t.line("\nNamespaces that stay: somebody else uses them, too. Cast AI's objects in them are removed one by one.")
			first = false
		}
		t.line("  %s stays, because of %s", h.Name, strings.Join(refs(h.Keep), ", "))
	}
}

func (t *Text) unclear(inv *ownership.Inventory) {
	items := inv.Unclear()
	if len(items) == 0 {
		return
	}
	t.line("")
	t.heading("Unclear: %s. They stay, unless you name them with --include.", count(len(items), "object"))
	t.reasons(items)
}

// WhyNot lists what has to do with Cast AI, or is where it lives, and is not its
// own, with what says so.
func (t *Text) WhyNot(items []*ownership.Item) {
	t.line("")
	if len(items) == 0 {
		t.line("No object of others has anything to do with Cast AI.")
		return
	}
	t.heading("Not Cast AI's: %s. They stay.", count(len(items), "object"))
	t.reasons(items)
}

// reasons shows objects with what speaks for and against their being Cast AI's.
func (t *Text) reasons(items []*ownership.Item) {
	for _, i := range items {
		t.line("  %s", i.Object.Ref())
		for _, e := range i.Hints {
			t.line("    for      %s", e.Text)
		}
		for _, e := range i.Against {
			t.line("    against  %s", e.Text)
		}
	}
}

func (t *Text) unreadable(list []cluster.Unreadable) {
	if len(list) == 0 {
		return
	}
	t.line("\nCould not be read, so nothing is known of it:")
	var forbidden []string
	for _, u := range list {
		if u.Forbidden {
			forbidden = append(forbidden, u.What)
			continue
		}
		t.line("  %s: %s", u.What, u.Message)
	}
	if len(forbidden) > 0 {
		t.line("  you may not list %s", some(forbidden, 5))
	}
}

// Impact says what an offboarding means to what stays.
func (t *Text) Impact(inv *ownership.Inventory) {
	var lines []string
	i := inv.Impact
	if n := i.Nodes.Count; n > 0 {
		var kinds []string
		for _, k := range slices.Sorted(maps.Keys(i.Nodes.InstanceTypes)) {
			kinds = append(kinds, fmt.Sprintf("%d %s", i.Nodes.InstanceTypes[k], k))
		}
		line := fmt.Sprintf("nodes that Cast AI made stay, and you keep paying for them: %d", n)
		if len(kinds) > 0 {
			line += ", among them " + strings.Join(kinds, ", ")
		}
		if i.Nodes.Spot > 0 {
			line += fmt.Sprintf(" (%d spot)", i.Nodes.Spot)
		}
		lines = append(lines, line)
	}
	for _, w := range i.Workloads {
		lines = append(lines, fmt.Sprintf("%s (%s) needs nodes labelled %s: on others it stays Pending", w.Object,
			count(int(w.Replicas), "replica"), strings.Join(w.Needs, ", ")))
	}
	if i.ResizedPods > 0 {
		lines = append(lines,
			fmt.Sprintf("pods whose requests Cast AI changed get their manifest's back at their next restart: %d",
				i.ResizedPods))
	}
	if len(i.PodMutations) > 0 {
		lines = append(lines, fmt.Sprintf("new pods are no longer changed by PodMutations: %s", some(i.PodMutations, 5)))
	}
	if len(i.Settings) > 0 {
		lines = append(lines, fmt.Sprintf("settings of yours are removed with their CustomResourceDefinitions: %s",
			strings.Join(refs(i.Settings), ", ")))
	}
	for _, u := range i.Users {
		lines = append(lines, fmt.Sprintf("%s stays and uses what goes: without %s its next pod can't start",
			u.Object, strings.Join(refs(u.Needs), ", ")))
	}
	if len(i.Dangling) > 0 {
		lines = append(lines, fmt.Sprintf("bindings of yours to Cast AI's roles stay, and grant nothing any more: %s",
			strings.Join(refs(i.Dangling), ", ")))
	}
	if len(lines) == 0 {
		return
	}
	t.line("\nWhat it means for the rest:")
	for _, l := range lines {
		t.line("  %s", l)
	}
}

// Explanation shows the chain of evidence of one object.
func (t *Text) Explanation(e *ownership.Explanation) { t.explain(e, "") }

func (t *Text) explain(e *ownership.Explanation, indent string) {
	t.line("%s%s is %s", indent, e.Object, map[ownership.Verdict]string{
		ownership.Owned: "Cast AI's", ownership.Unclear: "unclear", ownership.Foreign: "somebody else's",
	}[e.Verdict])
	for _, ev := range e.For {
		t.line("%s  because  %s", indent, ev.Text)
	}
	for _, ev := range e.Hints {
		t.line("%s  for      %s", indent, ev.Text)
	}
	for _, ev := range e.Against {
		t.line("%s  against  %s", indent, ev.Text)
	}
	if len(e.For)+len(e.Hints)+len(e.Against) == 0 {
		t.line("%s  because  nothing in the cluster connects it with Cast AI", indent)
	}
	for i := range e.RestsOn {
		t.explain(&e.RestsOn[i], indent+"  ")
	}
}

// left lists what is still there, and why as far as it is known.
func (t *Text) left(after *ownership.Inventory, outcomes []engine.Outcome) {
	reasons := map[cluster.Ref]string{}
	for _, o := range outcomes {
		if o.Message != "" {
			reasons[o.Object] = o.Message
		}
	}
	t.line("")
	t.alarm("Left: %s", count(len(after.Owned()), "object"))
	for _, i := range after.Owned() {
		if reason := reasons[i.Object.Ref()]; reason != "" {
			t.line("  %s: %s", i.Object.Ref(), reason)
		} else {
			t.line("  %s", i.Object.Ref())
		}
	}
	t.unreadable(after.Unreadable)
}

// Report says what was done, how long it took, and what is left. after is nil
// when nothing was changed or nobody could look; returned is what came back.
func (t *Text) Report(r *engine.Report, after *ownership.Inventory, returned []offboard.Return) {
	t.line("")
	t.totals(r)
	if after != nil {
		t.verdict(after, r.Outcomes)
	}
	if len(returned) > 0 {
		t.line("\nCame back, or is new: %s. Something still makes them:", count(len(returned), "object"))
	}
	for _, r := range returned {
		t.line("  %s%s: %s", r.Ref, prefixed(", written by ", strings.Join(r.Managers, ", ")), r.Remedy)
	}
}

func (t *Text) totals(r *engine.Report) {
	if len(r.Phases) == 0 {
		return
	}
	if r.DryRun {
		t.line("The server would accept %d of the writes and refuse %d. Nothing was changed.",
			r.Count(engine.ResultDone)-r.Count(engine.ResultDone, engine.Call), r.Count(engine.ResultFailed))
		return
	}
	var total time.Duration
	for _, p := range r.Phases {
		total += p.Elapsed
	}
	counts := []string{count(r.Count(engine.ResultDone, engine.Delete), "object") + " removed"}
	if n := r.Count(engine.ResultDone, engine.Patch); n > 0 {
		counts = append(counts, fmt.Sprintf("%d stopped or changed", n))
	}
	if n := r.Count(engine.ResultDone, engine.Call); n > 0 {
		counts = append(counts, count(n, "step")+" done at Cast AI")
	}
	for _, c := range []struct {
		result engine.Result
		words  string
	}{{engine.ResultGone, "already gone"}, {engine.ResultLeft, "left"}, {engine.ResultKept, "kept"},
		{engine.ResultFailed, "failed"}, {engine.ResultSkipped, "not started"}} {
		if n := r.Count(c.result); n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, c.words))
		}
	}
	t.line("%s, in %s", strings.Join(counts, ", "), seconds(total))
	for _, o := range r.Outcomes {
		if o.Verb == engine.Call && o.Message != "" {
			t.line("  %s: %s", o.Operation, o.Message)
		}
	}
}

// size says how much a phase has to do.
func size(p *engine.Phase) string {
	noun := "object"
	if len(p.Actions) > 0 && !slices.ContainsFunc(p.Actions, func(a engine.Action) bool { return a.Verb != engine.Call }) {
		noun = "step"
	}
	return count(len(p.Actions), noun)
}

// names are those of the objects of items.
func names(items []*ownership.Item) []string {
	out := make([]string, len(items))
	for i, item := range items {
		out[i] = item.Object.Ref().String()
	}
	return out
}

// runs counts workloads, with a verb.
func runs(n int) string {
	if n == 1 {
		return "1 workload runs"
	}
	return fmt.Sprintf("%d workloads run", n)
}

func kindName(r cluster.Ref) string {
	if r.Group == "" || strings.HasSuffix(r.Group, ".k8s.io") || !strings.Contains(r.Group, ".") {
		return r.Kind
	}
	return r.GroupKind().String()
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// some names the first few of a list.
func some(list []string, most int) string {
	if len(list) <= most+1 {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

func refs(list []cluster.Ref) []string {
	out := make([]string, len(list))
	for i, r := range list {
		out[i] = r.String()
	}
	return out
}

func nonEmpty(list ...string) []string {
	return slices.DeleteFunc(list, func(s string) bool { return s == "" })
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// seconds is how long something took, for people.
func seconds(d time.Duration) string {
	if d >= time.Minute {
		return whole(d)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func refNames(list []cluster.Ref) string {
	var out []string
	for _, r := range list {
		out = append(out, r.String())
	}
	return strings.Join(out, ", ")
}

// Verdict says whether the cluster is clean, and what is left if it is not.
func (t *Text) Verdict(inv *ownership.Inventory) { t.verdict(inv, nil) }

func (t *Text) verdict(inv *ownership.Inventory, outcomes []engine.Outcome) {
	unclear := ""
	suspects := inv.Suspects()
	if n := len(inv.Unclear()); n > 0 {
		unclear = fmt.Sprintf(" Unclear, and left alone: %s. status says why.", count(n, "object"))
	}
	unfinished := offboard.Unfinished(&engine.Report{Outcomes: outcomes})
	switch {
	case inv.Clean() && len(unfinished) > 0:
		t.line("Not finished in %s: %s. The first is %s: %s.%s", inv.Server.DisplayName(), count(len(unfinished), "object"),
			unfinished[0].Object, cmp.Or(unfinished[0].Message, "it did not go"), unclear)
	case inv.Clean() && len(suspects) > 0:
		t.line("Nothing is proven to be Cast AI's in %s, but %s what Cast AI publishes: %s.%s", inv.Server.DisplayName(),
			runs(len(suspects)), some(names(suspects), 4), unclear)
	case inv.Clean():
		t.relief("Clean: nothing of Cast AI's is in %s.%s", inv.Server.DisplayName(), unclear)
	case len(inv.Owned())+len(inv.Unreadable) == 0:
		t.line("Nothing of Cast AI's is left to remove in %s, but %s with names of Cast AI's stay for others: %s.%s",
			inv.Server.DisplayName(), count(len(inv.Remains), "object"), refNames(inv.Remains), unclear)
	default:
		t.left(inv, outcomes)
		if unclear != "" {
			t.line("%s", strings.TrimSpace(unclear))
		}
	}
	t.homes(inv)
}
