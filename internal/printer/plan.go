package printer

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/clipperhouse/displaywidth"

	"github.com/castai/kubectl-castai/internal/backup"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/finalize"
	"github.com/castai/kubectl-castai/pkg/offboard"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

const (
	// mostNamed is up to how many objects a plan names on a terminal. Those of a
	// longer one are in a file.
	mostNamed = 500
	// fewNames of a kind are shown of such a plan.
	fewNames = 4
	// lineWidth is where lists are wrapped when they do not go to a terminal.
	lineWidth = 100
)

// Plan shows what would be done, phase by phase: first what is unusual, then
// every object by its name. On a terminal, a plan that nobody could read there
// is written into a file as well, and shown in short.
func (t *Text) Plan(inv *ownership.Inventory, plan *engine.Plan) {
	if t.width == 0 || plan.Actions() <= mostNamed {
		t.plan(inv, plan, 0, t.rows)
		return
	}
	t.plan(inv, plan, fewNames, t.rows)
	f, err := os.CreateTemp("", "castai-plan-*.txt")
	if err != nil {
		t.line("\n-o wide shows all %d objects (they can't be written into a file: %s)", plan.Actions(), err.Error())
		return
	}
	whole := NewText(f)
	whole.plan(inv, plan, 0, whole.wide)
	if err := cmp.Or(whole.Err(), f.Close()); err != nil {
		t.line("\n-o wide shows all %d objects (they can't be written into %s: %s)", plan.Actions(), f.Name(), err.Error())
		return
	}
	t.heading("\nAll of it, each object with the reason, is in:\n  %s", f.Name())
}

// WidePlan shows a plan with a line and the reason for each object.
func (t *Text) WidePlan(inv *ownership.Inventory, plan *engine.Plan) { t.plan(inv, plan, 0, t.wide) }

func (t *Text) plan(inv *ownership.Inventory, plan *engine.Plan, most int, show func(*engine.Phase, int)) {
	t.identity(inv)
	t.unusual(inv, plan)
	for n := range plan.Phases {
		p := &plan.Phases[n]
		t.heading("\n%d. %s: %s", n+1, p.Title, size(p))
		show(p, most)
	}
	for _, note := range plan.Notes {
		t.line("\n%s", note)
	}
	t.homes(inv)
	t.unclear(inv)
	t.unreadable(inv.Unreadable)
	t.Impact(inv)
	t.Blockers(inv.Blockers)
	if len(plan.Phases) > 0 {
		t.line("\n%s.", Total(inv, plan))
		t.line("Digest of this plan: %s", offboard.Digest(inv.Server.KubeSystemUID, plan))
	}
}

// Changes lists what is different by now from a plan that was shown before.
func (t *Text) Changes(title string, changes []string) {
	t.line("")
	t.alarm("%s", title)
	for _, line := range changes {
		t.line("  %s", line)
	}
}

// Total counts a plan, each object once, in the words in which questions and
// reports count, too.
func Total(inv *ownership.Inventory, plan *engine.Plan) string {
	removed, changed, calls := map[cluster.Ref]bool{}, map[cluster.Ref]bool{}, 0
	for _, p := range plan.Phases {
		for _, a := range p.Actions {
			switch a.Verb {
			case engine.Call:
				calls++
			case engine.Delete, engine.Finalize, engine.StripFinalizers:
				removed[a.Target.Ref] = true
			case engine.Patch, engine.Apply, engine.Create, engine.CreateNamespace:
				changed[a.Target.Ref] = true
			}
		}
	}
	collected, only := 0, 0
	for _, i := range inv.Owned() {
		if !removed[i.Object.Ref()] && i.Dependent {
			collected++
		}
	}
	for r := range changed {
		if !removed[r] {
			only++
		}
	}
	parts := []string{count(len(removed), "object") + " to remove"}
	if only > 0 {
		parts = append(parts, fmt.Sprintf("%d to change", only))
	}
	if calls > 0 {
		parts = append(parts, count(calls, "step")+" at Cast AI")
	}
	text := strings.Join(parts, ", ")
	if collected > 0 {
		text += fmt.Sprintf("; Kubernetes collects %d more with their owners", collected)
	}
	return text
}

// rows shows the actions of a phase by verb and kind, each with its name, or
// with the first few if most is more than 0.
func (t *Text) rows(p *engine.Phase, most int) {
	for _, g := range grouped(p) {
		names := g.names
		if most > 0 && len(names) > most+1 {
			names = append(slices.Clone(names[:most]), fmt.Sprintf("and %d more", len(names)-most))
		}
		t.list(fmt.Sprintf("   %-7s %s ", g.verb, g.kind), names, verbStyles[g.verb]...)
	}
}

// verbStyles are the colours that terraform's plans have, too.
var verbStyles = map[string][]style{
	"delete": {red}, "clear": {red}, "stop": {yellow}, "change": {yellow}, "create": {green}, "apply": {green},
}

// list writes names behind a beginning, in styles, wrapped between them and
// indented.
func (t *Text) list(begin string, names []string, styles ...style) {
	width := cmp.Or(t.width, lineWidth)
	begin = Escape(begin)
	indent := min(11, displaywidth.String(begin)) // of the column of names
	line := begin
	write := func(line string) {
		if rest, first := strings.CutPrefix(line, begin); first && len(styles) > 0 {
			line = t.terminal.paint(strings.TrimRight(begin, " "), styles...) + " " + rest
		}
		t.raw(strings.TrimRight(line, " "))
	}
	for i, name := range names {
		if name = Escape(name); i < len(names)-1 {
			name += ","
		}
		if displaywidth.String(line+name) > width && i > 0 {
			write(line)
			line = strings.Repeat(" ", indent)
		}
		line += name + " "
	}
	write(line)
}

// wide shows a line for each action of a phase, with its reason.
func (t *Text) wide(p *engine.Phase, _ int) {
	rows := [][]string{{"   VERB", "KIND", "NAMESPACE", "NAME", "WHY"}}
	for _, a := range p.Actions {
		if a.Verb == engine.Call {
			rows = append(rows, []string{"   " + verbName(p, a), "-", "-", a.Operation, a.Why})
			continue
		}
		rows = append(rows, []string{"   " + verbName(p, a), kindName(a.Target.Ref), cmp.Or(a.Target.Namespace, "-"),
			a.Target.Name, a.Why})
	}
	t.whole(rows) // who asks for all gets all
}

// group is what is done in the same way to objects of one kind.
type group struct {
	verb, kind string
	names      []string
}

func grouped(p *engine.Phase) []*group {
	var out []*group
	for _, a := range p.Actions {
		if a.Verb == engine.Call {
			out = append(out, &group{verbName(p, a), a.Operation + ":", []string{a.Why}})
			continue
		}
		verb, kind := verbName(p, a), kindName(a.Target.Ref)
		i := slices.IndexFunc(out, func(g *group) bool { return g.verb == verb && g.kind == kind })
		if i < 0 {
			i = len(out)
			out = append(out, &group{verb: verb, kind: kind})
		}
		name := a.Target.Name
		if a.Target.Namespace != "" {
			name = a.Target.Namespace + "/" + name
		}
		out[i].names = append(out[i].names, name)
	}
	return out
}

// verbName says what an action does, in a word.
func verbName(p *engine.Phase, a engine.Action) string {
	switch a.Verb {
	case engine.Patch:
		switch p.Name {
		case offboard.PhaseRevert:
			return "change"
		case backup.PhaseStarted, finalize.PhasePutBack:
			return "take back"
		case finalize.PhaseRelax:
			return "change"
		}
		return "stop"
	case engine.StripFinalizers:
		return "clear"
	case engine.CreateNamespace:
		return "create"
	case engine.Delete, engine.Finalize, engine.Apply, engine.Create, engine.Call:
	}
	return string(a.Verb)
}

// Unusual is an object that a person should look at before anything is removed.
type Unusual struct {
	Object cluster.Ref `json:"object"`
	Why    []string    `json:"why"`
	rank   int         // what is most likely to be somebody else's comes first
}

// FindUnusual picks from a plan what is not the ordinary case of an object with
// a name of Cast AI's in a namespace that it lives in, what is most likely to be
// somebody else's first.
func FindUnusual(inv *ownership.Inventory, plan *engine.Plan) []Unusual {
	p := places{alone: map[string]bool{}, lives: inv.LivesIn}
	for _, h := range inv.Homes {
		p.alone[h.Name] = true
	}
	seen := map[cluster.Ref]bool{}
	var out []Unusual
	for _, phase := range plan.Phases {
		for _, a := range phase.Actions {
			r := a.Target.Ref
			if a.Verb == engine.Call || seen[r] {
				continue
			}
			seen[r] = true
			if u := p.unusual(inv.Item(r), a.Target); len(u.Why) > 0 {
				out = append(out, u)
			}
		}
	}
	slices.SortFunc(out, func(a, b Unusual) int { return cmp.Or(a.rank-b.rank, a.Object.Compare(b.Object)) })
	return out
}

// places are the namespaces of Cast AI's: those that are its own, and all that it
// lives in.
type places struct {
	alone map[string]bool
	lives func(namespace string) bool
}

func (p places) home(namespace string) bool { return p.alone[namespace] || p.lives(namespace) }

// unusual says what is out of the ordinary about an object in a plan. item is
// nil for what is somebody else's and only changed.
func (p places) unusual(item *ownership.Item, t cluster.Target) Unusual {
	u := Unusual{Object: t.Ref, rank: 3}
	add := func(rank int, why string) { u.Why, u.rank = append(u.Why, why), min(u.rank, rank) }
	if item == nil {
		add(0, "it is somebody else's, and is changed")
		return u
	}
	if slices.ContainsFunc(item.For, func(e ownership.Evidence) bool { return e.Rule == "include" }) {
		add(0, "named with --include")
	}
	switch t.GroupKind().String() {
	case "Node":
		add(1, "a node")
	case "PersistentVolume", "PersistentVolumeClaim":
		add(1, "a volume: the data in it is not saved")
	}
	named := nameOfCastAI(t.Name)
	switch {
	case t.Namespace != "" && !p.home(t.Namespace) && named:
		add(3, "in namespace "+t.Namespace+", which is not Cast AI's")
	case t.Namespace != "" && !p.home(t.Namespace):
		add(2, "in namespace "+t.Namespace+", which is not Cast AI's")
	case t.Namespace != "" && !p.alone[t.Namespace] && !named:
		add(2, "in namespace "+t.Namespace+", which others share, without a name of Cast AI's")
	case t.Namespace == "" && !p.home(t.Name) && !named:
		add(2, "cluster-wide, without a name of Cast AI's")
	}
	if others := otherSubjects(item.Object, p.home); len(others) > 0 {
		add(2, "also grants rights to "+strings.Join(others, ", "))
	}
	return u
}

// nameOfCastAI tells whether a person sees from the name alone whose an object
// is. It decides only what is shown first.
func nameOfCastAI(name string) bool {
	return strings.Contains(name, "castai") || strings.Contains(name, "cast.ai") || strings.Contains(name, "castware")
}

// otherSubjects are those of a binding that are not ServiceAccounts of Cast AI's
// namespaces.
func otherSubjects(o *cluster.Object, home func(string) bool) (out []string) {
	list, _ := o.Body["subjects"].([]any)
	for _, e := range list {
		subject, _ := e.(map[string]any)
		kind, _ := subject["kind"].(string)
		name, _ := subject["name"].(string)
		ns, _ := subject["namespace"].(string)
		ns = cmp.Or(ns, o.Namespace)
		switch {
		case kind != "ServiceAccount":
			out = append(out, kind+" "+name)
		case !home(ns):
			out = append(out, kind+" "+ns+"/"+name)
		}
	}
	return out
}

// unusual shows what a person should look at first, each by its name.
func (t *Text) unusual(inv *ownership.Inventory, plan *engine.Plan) {
	list := FindUnusual(inv, plan)
	if len(list) == 0 {
		return
	}
	t.alarm("\nLook at these first: %s", count(len(list), "unusual object"))
	for _, u := range list {
		t.line("  %s: %s", u.Object, strings.Join(u.Why, "; "))
	}
}
