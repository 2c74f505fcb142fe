package printer

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/castai/kubectl-castai/internal/hibernate"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// Hibernation is the document of the commands of hibernate: what the cluster is
// at, what is to be done, or what was done.
type Hibernation struct {
	TypeMeta `json:",inline"`
	Metadata Metadata `json:"metadata"`
	// Phase is what the cluster is at, Whose tells who has paused it, and State says
	// it in a sentence.
	Phase hibernate.Phase `json:"phase"`
	Whose hibernate.Who   `json:"whose,omitempty"`
	State string          `json:"state,omitempty"`
	// Journal is what the last pause or resume by this plugin wrote down.
	Journal *hibernate.Journal `json:"journal,omitempty"`
	// Autoscaler tells whether all policies are on, if Cast AI was asked.
	Autoscaler *bool `json:"autoscaler,omitempty"`
	// Installation is that of the documented pair of CronJobs, or of the one that was
	// asked for. Pairs are all of them, if there are others.
	Installation *HibernateInstallation  `json:"installation,omitempty"`
	Pairs        []HibernateInstallation `json:"pairs,omitempty"`
	// Managed is the service's own hibernation, if it was asked for.
	Managed *Managed `json:"managed,omitempty"`
	// Leftovers are what earlier runs left on objects.
	Leftovers []Leftover `json:"leftovers"`
	// Phases is the plan, and Report, once it was carried out, what became of it.
	Phases []engine.Phase `json:"phases,omitempty"`
	Report *engine.Report `json:"report,omitempty"`
	// Error says why it was not done, or not all of it.
	Error string `json:"error,omitempty"`
}

// HibernateInstallation is the schedule of a cluster and what came of it.
type HibernateInstallation struct {
	Namespace string `json:"namespace"`
	// Name of a further pair of CronJobs.
	Name                    string `json:"name,omitempty"`
	hibernate.Configuration `json:",inline"`
	// Release is the Helm release that it comes from.
	Release   string              `json:"release,omitempty"`
	Suspended hibernate.Suspended `json:"suspended"`
	// Problem is why its settings can't be read in full.
	Problem string           `json:"problem,omitempty"`
	Next    *hibernate.Times `json:"next,omitempty"`
	// Forecast is what the schedule makes of the four weeks from its first pause on.
	Forecast *hibernate.Forecast `json:"forecast,omitempty"`
	Runs     []hibernate.Run     `json:"runs"`
}

// Leftover is what a run left on an object.
type Leftover struct {
	Object cluster.Ref `json:"object"`
	Why    string      `json:"why"`
	// CastAI: Cast AI's job left it, and not this plugin.
	CastAI bool `json:"castai"`
}

// NewHibernation makes the document of what was observed. in is nil where nobody
// has looked for an installation; pair is the name of the one that was asked for.
func NewHibernation(server cluster.Server, s *hibernate.State, in *hibernate.Installation, pair string) *Hibernation {
	doc := &Hibernation{TypeMeta: TypeMeta{APIVersion, "Hibernation"}, Metadata: NewMetadata(server),
		Phase: hibernate.Awake, Leftovers: []Leftover{}}
	if s != nil {
		sleep := s.Sleep()
		doc.Phase, doc.Whose, doc.State, doc.Journal = sleep.Phase, sleep.Who, sleep.String(), s.Record.Journal
		if on, known := s.Autoscaler(); known {
			doc.Autoscaler = &on
		}
		if doc.Phase == hibernate.Awake {
			for _, c := range hibernate.Leftovers(s) {
				doc.Leftovers = append(doc.Leftovers, Leftover{c.Ref(), c.Why, c.Vendor})
			}
		}
	}
	if in != nil {
		doc.addPairs(in, pair, time.Now())
	}
	return doc
}

// addPairs describes the pairs of CronJobs.
func (doc *Hibernation) addPairs(in *hibernate.Installation, pair string, now time.Time) {
	for _, p := range in.Pairs {
		one := HibernateInstallation{Namespace: in.Namespace, Name: p.Name, Configuration: p.Configuration,
			Release: p.Release, Suspended: p.Suspended, Runs: []hibernate.Run{}}
		one.Problem = p.Problem(func(string) bool { return false })
		for _, r := range in.Runs {
			if r.Pair == p.Name {
				one.Runs = append(one.Runs, r)
			}
		}
		if times, err := p.NextTimes(now); err == nil {
			one.Next = times
			if forecast, err := p.Configuration.Forecast(now); err == nil && !p.Suspended.Pause && !p.Suspended.Resume {
				one.Forecast = forecast
			}
		}
		if p.Name == pair && p.Whole() {
			doc.Installation = &one
		}
		if pair == "" || p.Name == pair {
			doc.Pairs = append(doc.Pairs, one)
		}
	}
	if len(doc.Pairs) == 1 && doc.Installation != nil {
		doc.Pairs = nil
	}
}

// mostRuns is how many past runs are shown.
const mostRuns = 4

// Hibernation shows what a cluster is at.
func (t *Text) Hibernation(doc *Hibernation) {
	rows := [][]string{{"Cluster", fmt.Sprintf("%s, %s", doc.Metadata.Cluster, doc.Metadata.Server)}, {"State", doc.State}}
	if j := doc.Journal; j != nil {
		if j.Error != "" {
			rows = append(rows, []string{"Last error", j.Error})
		}
		if j.Node != nil && doc.Phase != hibernate.Awake {
			name := j.Node.Name
			if name == "" {
				name = "being made"
			}
			rows = append(rows, []string{"Sleeps on", fmt.Sprintf("%s (%s)", name, j.Node.InstanceType)})
		}
	}
	if doc.Autoscaler != nil {
		rows = append(rows, []string{"Autoscaler", onOff(*doc.Autoscaler) + doc.before()})
	}
	shown := doc.Pairs
	if doc.Installation != nil && len(shown) == 0 {
		shown = []HibernateInstallation{*doc.Installation}
	}
	for _, in := range shown {
		rows = append(rows, in.rows(len(shown) > 1)...)
	}
	if len(shown) == 0 {
		rows = append(rows, []string{"Schedule", "not installed"})
	}
	t.facts(rows)
	t.runs(shown)
	if doc.Managed != nil {
		t.managed(doc.Managed)
	}
	if len(doc.Leftovers) > 0 {
		t.line("\nEarlier runs left something on %s (resume --repair takes it back):", count(len(doc.Leftovers), "object"))
		left := reasons{}
		for _, l := range doc.Leftovers {
			left.add(l.Why, l.Object.String())
		}
		left.print(t)
	}
}

// rows are those of a pair of CronJobs; named: there are others.
func (in *HibernateInstallation) rows(named bool) (out [][]string) {
	zone := in.TimeZone
	if zone == "" {
		zone = "the controller manager's zone"
	}
	if named || in.Name != "" {
		out = append(out, []string{"", ""}, []string{"Pair", cmp.Or(in.Name, "(without a name)")})
	}
	for _, one := range []struct {
		title, schedule string
		suspended       bool
		at              func(*hibernate.Times) time.Time
	}{
		{"Pauses", in.Pause, in.Suspended.Pause, func(n *hibernate.Times) time.Time { return n.Pause }},
		{"Resumes", in.Resume, in.Suspended.Resume, func(n *hibernate.Times) time.Time { return n.Resume }},
	} {
		if one.schedule == "" {
			out = append(out, []string{one.title, "never: there is no CronJob for it"})
			continue
		}
		out = append(out, []string{one.title, one.schedule + " " + zone + next(one.suspended, in.Next, one.at)})
	}
	if in.Forecast != nil {
		out = append(out, []string{"Is", in.Forecast.String()})
	}
	if len(in.NamespacesToKeep) > 0 && named {
		out = append(out, []string{"Keeps", strings.Join(in.NamespacesToKeep, ", ")})
	}
	out = append(out, []string{"Job", in.Image})
	if in.Problem != "" {
		out = append(out, []string{"Problem", in.Problem})
	}
	if in.Release != "" {
		out = append(out, []string{"Installed by", "Helm, release " + in.Release})
	}
	return out
}

// runs shows the newest runs of all pairs.
func (t *Text) runs(pairs []HibernateInstallation) {
	var all []hibernate.Run
	for _, in := range pairs {
		all = append(all, in.Runs...)
	}
	if len(all) == 0 {
		return
	}
	slices.SortStableFunc(all, func(a, b hibernate.Run) int { return b.Started.Compare(a.Started) })
	t.line("\nLast runs:")
	rows := [][]string{}
	for _, r := range all[:min(len(all), mostRuns)] {
		rows = append(rows, []string{"  " + r.Action, r.Started.Local().Format(localTime), r.Result, r.Name})
	}
	t.table(rows)
}

const localTime = hibernate.LocalTime

func next(suspended bool, n *hibernate.Times, of func(*hibernate.Times) time.Time) string {
	switch {
	case suspended:
		return " (suspended)"
	case n == nil:
		return ""
	}
	return ", next " + of(n).Local().Format(localTime)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// before is what the autoscaler was before a pause that is on.
func (doc *Hibernation) before() string {
	if doc.Phase == hibernate.Awake && !*doc.Autoscaler {
		return ", but no known pause turned it off"
	}
	if doc.Journal == nil || doc.Journal.Policies == nil || doc.Whose != hibernate.Ours {
		return ""
	}
	return fmt.Sprintf(" (before the pause, %s: %s)", doc.Journal.Policies.Switch, onOff(doc.Journal.Policies.Enabled))
}

// PausePlan shows what a pause will do.
func (t *Text) PausePlan(name string, p *hibernate.Pause, phases []engine.Phase) {
	t.line("Cluster %s", name)
	t.phases(phases)
	byReason := map[string][]string{}
	for _, k := range p.Keep {
		byReason[k.Why] = append(byReason[k.Why], k.Object.Name)
	}
	t.kept(byReason)
	if n := len(p.Coming); n > 0 {
		t.line("\nCast AI is making %s, not in the cluster yet: waited for, then removed.", count(n, "more node"))
	}
	for _, w := range p.Warnings {
		t.line("\nNote: %s", w)
	}
}

func (t *Text) kept(byReason map[string][]string) {
	if len(byReason) == 0 {
		return
	}
	t.line("\nNodes that stay beside the hibernation node:")
	for _, why := range slices.Sorted(maps.Keys(byReason)) {
		t.line("  %s: %s", some(byReason[why], 5), why)
	}
}

// ResumePlan shows what a resume will do.
func (t *Text) ResumePlan(name string, phases []engine.Phase, warnings []string) {
	t.line("Cluster %s", name)
	t.phases(phases)
	for _, w := range warnings {
		t.line("\nNote: %s", w)
	}
}

func (t *Text) phases(phases []engine.Phase) {
	for n, p := range phases {
		t.line("\n%d. %s", n+1, p.Title)
		byReason := map[string][]string{}
		var reasons []string
		for _, a := range p.Actions {
			if byReason[a.Why] == nil {
				reasons = append(reasons, a.Why)
			}
			byReason[a.Why] = append(byReason[a.Why], a.Target.Ref.String())
		}
		for _, why := range reasons {
			t.line("   %s: %s", some(byReason[why], 4), why)
		}
	}
}

// InstallPlan shows what will be installed or changed, and when it will act.
func (t *Text) InstallPlan(s cluster.Server, c hibernate.Configuration, phases []engine.Phase, changes []string,
	now time.Time) {
	t.line("Cluster %s", s.DisplayName())
	t.phases(phases)
	if len(changes) > 0 {
		t.line("\nSettings:")
		for _, c := range changes {
			t.line("  %s", c)
		}
	}
	pause, resume, err := c.Next(now)
	if err != nil {
		return // it was validated
	}
	if zone := c.TimeZone; zone == "" {
		t.line("\nWhen the next pause and resume are is not known: the schedules are by the clock of the controller manager")
	} else {
		t.line("\nNext pause   %s (%s)", pause.Local().Format(localTime), pause.Format("Mon 15:04 ")+zone)
		t.line("Next resume  %s (%s)", resume.Local().Format(localTime), resume.Format("Mon 15:04 ")+zone)
	}
	if forecast, err := c.Forecast(now); err == nil {
		t.line("The cluster will be %s, in the next four weeks", forecast)
	}
}

// Slept says how a pause or a resume went, and how long it took.
func (t *Text) Slept(what string, r *engine.Report, took time.Duration) {
	if r.DryRun {
		t.line("\nThe server would accept %d of the writes and refuse %d. Nothing was changed.", r.Count(engine.ResultDone),
			r.Count(engine.ResultFailed))
		return
	}
	t.line("\n%s, after %s", what, seconds(took))
}

// Message writes one sentence.
func (t *Text) Message(text string) { t.line("%s", text) }
