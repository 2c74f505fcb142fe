package printer

import (
	"encoding/json"
	"fmt"
	"strconv"
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
	// Digest is the checksum of all that is in it.
	Digest string `json:"digest"`
	// Edited: it is restored although it is not as it was made.
	Edited bool `json:"edited,omitempty"`
}

// Restore is the document of restore: what is to be done, or what was done.
type Restore struct {
	TypeMeta `json:",inline"`
	Metadata Metadata `json:"metadata"`
	// Backup is the newest that is restored, and Earlier are those before it.
	Backup  Backup   `json:"backup"`
	Earlier []Backup `json:"earlier,omitempty"`
	// Phases is the plan, and Report, once it was carried out, what became of it.
	Phases []engine.Phase `json:"phases"`
	Report *engine.Report `json:"report,omitempty"`
	// There counts the objects that were there already, as they were.
	There int `json:"there"`
	// Impossible objects can't come back. Held ones can't for now, or not
	// without undoing what somebody did since.
	Impossible []backup.Leftover `json:"impossible"`
	Held       []backup.Leftover `json:"held"`
	// Conflicts are objects that were made anew since, and how they differ from
	// the backup: they are held, or overwritten.
	Conflicts []backup.Conflict `json:"conflicts"`
	// Grants are what comes back of RBAC, the widest first.
	Grants []backup.Grant `json:"grants"`
	// Differences are what is not as it was in the objects that come back.
	Differences []backup.Difference `json:"differences"`
	// Error says why the run ended early.
	Error string `json:"error,omitempty"`
}

// NewRestore makes the document of a restore of backups, oldest first. report is
// nil for a plan.
func NewRestore(s cluster.Server, all []*backup.Backup, r *backup.Restoration, report *engine.Report,
	err error) *Restore {
	var from []Backup
	for _, b := range all {
		from = append(from, Backup{b.Dir, b.Index.Time, b.Index.Tool, b.Digest, b.Edited})
	}
	doc := &Restore{
		TypeMeta: TypeMeta{APIVersion, "Restore"}, Metadata: NewMetadata(s),
		Backup: from[len(from)-1], Earlier: from[:len(from)-1], Phases: orEmpty(r.Plan.Phases), There: r.There,
		Impossible: orEmpty(r.Impossible), Held: orEmpty(r.Held), Conflicts: orEmpty(r.Conflicts), Grants: orEmpty(r.Grants),
		Differences: orEmpty(backup.Merge(all).Differences(r.Plan)),
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
func (t *Text) RestorePlan(s cluster.Server, all []*backup.Backup, r *backup.Restoration) {
	rows := [][]string{{"Cluster", fmt.Sprintf("%s, %s, Kubernetes %s", s.DisplayName(), s.Host, s.Version)}}
	for _, b := range all {
		rows = append(rows, []string{"Backup", fmt.Sprintf("%s, of %s, with %s", b.Dir, b.Index.Time.Format(time.RFC3339),
			count(len(b.Index.Objects), "object"))})
	}
	t.facts(rows)
	t.grants(r.Grants)
	t.conflicts(r.Conflicts)
	for n := range r.Plan.Phases {
		p := &r.Plan.Phases[n]
		t.heading("\n%d. %s: %s", n+1, p.Title, size(p))
		t.rows(p, 0)
	}
	if r.There > 0 {
		t.line("\nThere already, as it was: %s", count(r.There, "object"))
	}
	t.leftovers("Can't come back:", r.Impossible)
	t.leftovers("Left as it is:", r.Held)
	if differences := backup.Merge(all).Differences(r.Plan); len(differences) > 0 {
		t.line("\nComes back, but not as it was:")
		for _, d := range differences {
			t.line("  %s of %s: %s", d.Path, some(refs(d.Objects), 3), d.Why)
		}
	}
	if len(r.Plan.Phases) > 0 {
		t.line("\nNot in any backup: what controllers make for these objects (they make it again), and the console of Cast AI (the cluster shows up there again once its agent has connected).")
	}
}

// grants lists what comes back of RBAC, each by name.
func (t *Text) grants(list []backup.Grant) {
	if len(list) == 0 {
		return
	}
	t.line("\nThis grants again:")
	for _, g := range list {
		if g.Wide {
			t.alarm("  %s: %s", g.Object, g.Text)
		} else {
			t.line("  %s: %s", g.Object, g.Text)
		}
	}
}

// conflicts shows how objects that were made anew differ from the backup.
func (t *Text) conflicts(list []backup.Conflict) {
	for _, overwritten := range []bool{true, false} {
		title := "Made anew since, and different: this stays as it is, unless --overwrite is given"
		if overwritten {
			title = "Made anew since, and different: this is overwritten"
		}
		for _, c := range list {
			if c.Overwritten != overwritten {
				continue
			}
			if title != "" {
				t.line("\n%s", title)
				title = ""
			}
			t.line("  %s", c.Object)
			for _, f := range c.Fields {
				t.line("    - %s: %s", f.Path, value(f.Cluster, f.Secret))
				t.line("    + %s: %s", f.Path, value(f.Backup, f.Secret))
			}
		}
	}
}

// value is that of a field, as JSON.
func value(v any, secret bool) string {
	switch {
	case secret:
		return "(secret)"
	case v == nil:
		return "(none)"
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}

// Continued says that runs before the last one were interrupted, and how to put
// back what all of them removed.
func (t *Text) Continued(name string, folders []backup.Folder) {
	var dirs []string
	for _, f := range folders {
		dirs = append(dirs, f.Folder)
	}
	t.line("An earlier run was interrupted: what it removed is in %s.", strings.Join(dirs[:len(dirs)-1], ", "))
	t.line("To put everything back: %s restore %s", name, strings.Join(dirs, " "))
}

// NothingChanged ends what a dry run shows.
func (t *Text) NothingChanged(total string) { t.heading("\n%s. Nothing was changed.", total) }

// Backups is the document that lists the backups of a cluster.
type Backups struct {
	TypeMeta `json:",inline"`
	Metadata Metadata        `json:"metadata"`
	Backups  []backup.Folder `json:"backups"`
}

// NewBackups makes the document of backups that were made here, oldest first.
func NewBackups(s cluster.Server, folders []backup.Folder) *Backups {
	return &Backups{TypeMeta{APIVersion, "Backups"}, NewMetadata(s), orEmpty(folders)}
}

// Saved says where a backup of some objects is, of which secrets says what of Secrets is
// in it, and how it is put back; name is that of the plugin.
func (t *Text) Saved(dir string, objects int, secrets, name string) {
	t.line("Backup: %s in %s. %s", count(objects, "object"), dir, secrets)
	t.line("To put them back: %s restore %s", name, dir)
}

// Backups lists the backups of a cluster.
func (t *Text) Backups(s cluster.Server, list *Backups, name string) {
	if len(list.Backups) == 0 {
		t.line("No backup of %s was made here. Name the folder of one: %s restore DIR", s.DisplayName(), name)
		return
	}
	rows := [][]string{{"TIME", "OF", "OBJECTS", "RUN", "FOLDER"}}
	for _, f := range list.Backups {
		run := "interrupted"
		if f.Ended {
			run = "ended"
		}
		rows = append(rows, []string{f.Time.Format(time.RFC3339), f.Task, strconv.Itoa(f.Objects), run, f.Folder})
	}
	t.table(rows)
	t.line("\nTo put back what is in them: %s restore FOLDER...", name)
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
	left.print(t)
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

// print shows the objects of each reason.
func (r *reasons) print(t *Text) {
	for _, why := range r.order {
		t.line("  %s:", why)
		t.list("    ", r.objects[why])
	}
}

// Restored says what was put back. held is how many objects were left as they
// were, for a reason that may go away.
func (t *Text) Restored(s cluster.Server, r *engine.Report, held int) {
	var total time.Duration
	for _, p := range r.Phases {
		total += p.Elapsed
	}
	if r.DryRun {
		t.line("\nThe server would accept %d of the writes and refuse %d. Nothing was changed.", r.Count(engine.ResultDone),
			r.Count(engine.ResultFailed))
		return
	}
	parts := []string{count(r.Count(engine.ResultDone, engine.Apply, engine.Create), "object") + " put back"}
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
