package printer

import (
	"fmt"
	"strings"
	"time"

	"github.com/castai/kubectl-castai/internal/backup"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// Backup says which backup a restore is about.
type Backup struct {
	Folder string    `json:"folder"`
	Time   time.Time `json:"time"`
	Tool   string    `json:"tool"`
}

// Restore is the document of restore: what is to be done, or what was done.
type Restore struct {
	TypeMeta `json:",inline"`
	Metadata Metadata `json:"metadata"`
	Backup   Backup   `json:"backup"`
	// Phases is the plan, and Report, once it was carried out, what became of it.
	Phases []engine.Phase `json:"phases"`
	Report *engine.Report `json:"report,omitempty"`
	// There counts the objects that were there already, as they were.
	There int `json:"there"`
	// Impossible objects can't come back. Held ones can't for now, or not
	// without undoing what somebody did since.
	Impossible []backup.Leftover `json:"impossible"`
	Held       []backup.Leftover `json:"held"`
	// Differences are what is not as it was in the objects that come back.
	Differences []backup.Difference `json:"differences"`
	// Error says why the run ended early.
	Error string `json:"error,omitempty"`
}

// NewRestore makes the document of a restore. report is nil for a plan.
func NewRestore(s cluster.Server, dir string, b *backup.Backup, r *backup.Restoration, report *engine.Report, err error) *Restore {
	doc := &Restore{
		TypeMeta: TypeMeta{APIVersion, "Restore"}, Metadata: NewMetadata(s),
		Backup: Backup{dir, b.Index.Time, b.Index.Tool}, Phases: orEmpty(r.Plan.Phases), There: r.There,
		Impossible: orEmpty(r.Impossible), Held: orEmpty(r.Held), Differences: orEmpty(b.Differences(r.Plan)),
	}
	if report != nil {
		whole := *report
		whole.Outcomes, whole.Phases = orEmpty(whole.Outcomes), orEmpty(whole.Phases)
		doc.Report = &whole
	}
	if err != nil {
		doc.Error = err.Error()
	}
	return doc
}

// orEmpty returns a list that is not null in a document.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// RestorePlan shows what would be put back, and what can't be.
func (t *Text) RestorePlan(s cluster.Server, dir string, b *backup.Backup, r *backup.Restoration) {
	t.table([][]string{
		{"Cluster", fmt.Sprintf("%s, %s, Kubernetes %s", s.DisplayName(), s.Host, s.Version)},
		{"Backup", fmt.Sprintf("%s, of %s, with %s", dir, b.Index.Time.Format(time.RFC3339), count(len(b.Index.Objects), "object"))},
	})
	for n, p := range r.Plan.Phases {
		t.line("\n%d. %s: %s", n+1, p.Title, count(len(p.Actions), "object"))
		for _, row := range actionRows(p.Actions) {
			t.line("   %s", row)
		}
	}
	if r.There > 0 {
		t.line("\nThere already, as it was: %s", count(r.There, "object"))
	}
	t.leftovers("Can't come back:", r.Impossible)
	t.leftovers("Left as it is:", r.Held)
	if differences := b.Differences(r.Plan); len(differences) > 0 {
		t.line("\nComes back, but not as it was:")
		for _, d := range differences {
			t.line("  %s of %s: %s", d.Path, some(refs(d.Objects), 3), d.Why)
		}
	}
	if len(r.Plan.Phases) > 0 {
		t.line("\nNot in any backup: what controllers make for these objects (they make it again), and the console of Cast AI:")
		t.line("the cluster shows up there again once its agent has connected.")
	}
}

// leftovers lists objects by the reason for which they are left out.
func (t *Text) leftovers(title string, list []backup.Leftover) {
	if len(list) == 0 {
		return
	}
	t.line("\n%s", title)
	left := reasons{}
	for _, l := range list {
		left.add(l.Why, l.Object.String())
	}
	left.print(t, 3)
}

// reasons are lists of objects by what is the matter with them, in the order of
// the first of each.
type reasons struct {
	order   []string
	objects map[string][]string
}

func (r *reasons) add(why, object string) {
	if r.objects == nil {
		r.objects = map[string][]string{}
	}
	if r.objects[why] == nil {
		r.order = append(r.order, why)
	}
	r.objects[why] = append(r.objects[why], object)
}

// print shows a line for each reason, with up to most of its objects.
func (r *reasons) print(t *Text, most int) {
	for _, why := range r.order {
		t.line("  %s: %s", some(r.objects[why], most), why)
	}
}

// Restored says what was put back. held is how many objects were not, for a
// reason that may go away.
func (t *Text) Restored(s cluster.Server, r *engine.Report, held int) {
	var total time.Duration
	for _, p := range r.Phases {
		total += p.Elapsed
	}
	if r.DryRun {
		t.line("\nThe server would accept %d of the writes and refuse %d. Nothing was changed.", r.Count(engine.ResultDone), r.Count(engine.ResultFailed))
		return
	}
	parts := []string{count(r.Count(engine.ResultDone, engine.Apply), "object") + " put back"}
	if n := r.Count(engine.ResultDone, engine.Patch); n > 0 {
		parts = append(parts, fmt.Sprintf("%d as before", n))
	}
	if n := r.Count(engine.ResultFailed); n > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", n))
	}
	if n := r.Count(engine.ResultSkipped); n > 0 {
		parts = append(parts, fmt.Sprintf("%d not started", n))
	}
	if held > 0 {
		parts = append(parts, fmt.Sprintf("%d left as they are", held))
	}
	t.line("\n%s, in %s, in %s", strings.Join(parts, ", "), s.DisplayName(), seconds(total))
}
