package ownership_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/pkg/ownership"
	"github.com/castai/kubectl-castai/pkg/ownership/installations"
)

// outcome is what becomes of an installation.
type outcome struct {
	owned int
	// stays is what is not removed, and why; trusted counts what of it stays
	// although the user names the namespace.
	stays   map[string]string
	trusted int
	silent  []string // what stays without a reason
}

func (o outcome) String() string {
	if len(o.stays) == 0 {
		return fmt.Sprint(o.owned)
	}
	out := fmt.Sprintf("%d, %d stay", o.owned, len(o.stays))
	if o.trusted < len(o.stays) {
		out += fmt.Sprintf(" (trusted: %d)", o.trusted)
	}
	return out
}

// judged judges an installation alone, by the user's word, and beside others.
func judged(t testing.TB, c *installations.Chart, w installations.Way) outcome {
	t.Helper()
	alone, in := sceneOf(t, c, w)
	mine := map[cluster.Ref]bool{
		{Kind: "ConfigMap", Namespace: in.Namespace, Name: "mine"}:                                  true,
		{Kind: "Secret", Namespace: in.Namespace, Name: "sh.helm.release.v1." + in.Release + ".v1"}: w.Users(),
	}
	snap := alone.snapshot(t)
	inv := judge(t, snap, alone.records, ownership.Options{})
	trusted := judge(t, snap, alone.records, ownership.Options{Trust: []string{in.Namespace}})
	out := outcome{stays: map[string]string{}}
	for _, o := range snap.Objects {
		ref := o.Ref()
		switch {
		case mine[ref], ref.Kind == "Namespace":
			continue
		case inv.IsOwned(ref):
			out.owned++
			continue
		case !trusted.IsOwned(ref):
			out.trusted++
		}
		e, err := inv.Explain(ref)
		if err != nil {
			t.Fatal(err)
		}
		out.stays[ref.String()] = explain(t, inv, ref)
		if len(e.Hints)+len(e.Against) == 0 {
			out.silent = append(out.silent, ref.String())
		}
	}
	neighbours := strangersIn(t, in.Namespace)
	for _, u := range neighbours {
		if u.GetKind() != "Namespace" {
			mine[refOf(u)] = true
		}
	}
	mine[cluster.Ref{Kind: "Namespace", Name: in.Namespace}] = true // which must not go whole
	beside := alone.strangers(neighbours).take(t, ownership.Options{Trust: []string{in.Namespace}})
	for ref, is := range mine {
		if is && beside.IsOwned(ref) {
			t.Errorf("%s, %s: %s of others would be removed: %s", c.File, w, ref, explain(t, beside, ref))
		}
	}
	return out
}

// sceneOf is a chart, installed in one way.
func sceneOf(t testing.TB, c *installations.Chart, w installations.Way) (*scene, *installations.Installation) {
	t.Helper()
	in, err := c.Install(w)
	if err != nil {
		t.Fatal(err)
	}
	s := new(scene).add(in.Objects...).add(in.Mine...)
	if in.Record != nil {
		s.record(in.Namespace, in.Release, in.Record)
	}
	return s.withNamespaces(), in
}

func refOf(u *unstructured.Unstructured) cluster.Ref {
	gvk := u.GroupVersionKind()
	return cluster.Ref{Group: gvk.Group, Kind: gvk.Kind, Namespace: u.GetNamespace(), Name: u.GetName()}
}

// installed holds more rendered charts, beside the corpus.
const installed = "../../../shared/installations"

// results is what becomes of every chart, and why what stays does.
const results = "testdata/installations.md"

// TestInstallations judges every chart in every way in which it may have been
// installed: whatever of it stays, something says why; nothing of others goes;
// and the name of a release changes nothing. The results are in a table, which
// UPDATE=1 writes; of charts that are not there, it is as it was.
func TestInstallations(t *testing.T) {
	charts, err := installations.Charts("testdata/charts", corpus, installed)
	if err != nil {
		t.Fatal(err)
	}
	known := sections(t)
	if len(charts) < len(everyChart()) {
		t.Fatalf("only %d charts", len(charts))
	}
	var mu sync.Mutex
	t.Run("charts", func(t *testing.T) {
		for _, c := range charts {
			t.Run(c.File, func(t *testing.T) {
				t.Parallel()
				text := section(t, c)
				mu.Lock()
				defer mu.Unlock()
				if known[c.File] != text && os.Getenv("UPDATE") == "" {
					t.Errorf("%s says otherwise; UPDATE=1 writes it:\n%s", results, text)
				}
				known[c.File] = text
			})
		}
	})
	t.Logf("%d charts in %d ways: %d cases", len(charts), len(installations.Ways()), len(charts)*len(installations.Ways()))
	if os.Getenv("UPDATE") != "" {
		writeSections(t, known)
	}
}

// section is the part of the table about a chart.
func section(t *testing.T, c *installations.Chart) string {
	t.Helper()
	rows, why := map[string][]string{}, map[string]bool{}
	for _, w := range installations.Ways() {
		o := judged(t, c, w)
		for _, ref := range o.silent {
			t.Errorf("%s, %s: %s stays, and nothing says why", c.File, w, ref)
		}
		row := w.Helm + " | " + w.Release
		rows[row] = append(rows[row], o.String())
		for ref, reason := range o.stays {
			if w.Release == installations.Releases[0] && (w.Roof == installations.Roofs[0] || w.Roof == installations.Roofs[3]) {
				why["- "+ref+" "+reason+"\n"] = true
			}
		}
	}
	var b strings.Builder
	for _, helm := range installations.Helms {
		last := ""
		for _, release := range installations.Releases {
			cells := strings.Join(rows[helm+" | "+release], " | ")
			if cells != last {
				fmt.Fprintf(&b, "| %s | %s | %s |\n", helm, release, cells)
			}
			if release == installations.Releases[1] && cells != last && c.Release == c.Name {
				t.Errorf("%s, %s: the name of the release changes the verdicts: %s, not %s", c.File, helm, cells, last)
			}
			last = cells
		}
	}
	if len(why) > 0 {
		b.WriteString("\n" + strings.Join(slices.Sorted(maps.Keys(why)), ""))
	}
	return b.String()
}

const resultsHead = `# What becomes of every installation

A number is how many objects are removed. "N stay" counts what is not, unclear or foreign, and "trusted" how many of these
stay although --trust-namespace names the namespace. A row with another release is left out if it is like the one above it.
Below each table is why what stays does. Beside each installation others have objects of their own: none of them is touched.

<!-- UPDATE=1 go test ./pkg/ownership -run TestInstallations -->
`

// sections reads the results, by chart.
func sections(t testing.TB) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, part := range strings.Split(read(t, results), "\n## ")[1:] {
		name, rest, _ := strings.Cut(part, "\n")
		_, body, _ := strings.Cut(rest, " --- |\n")
		out[name] = strings.TrimRight(body, "\n") + "\n"
	}
	return out
}

func writeSections(t testing.TB, known map[string]string) {
	t.Helper()
	var b strings.Builder
	b.WriteString(resultsHead)
	columns := "| Helm | release |"
	for _, ns := range installations.Namespaces {
		for _, roof := range installations.Roofs {
			columns += " " + strings.TrimSuffix(ns, " namespace") + ", " + roof + " |"
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		rule := "|" + strings.Repeat(" --- |", strings.Count(columns, "|")-1)
		fmt.Fprintf(&b, "\n## %s\n\n%s\n%s\n%s", name, columns, rule, known[name])
	}
	if err := os.WriteFile(results, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// withNamespaces adds the namespaces that the objects are in.
func (s *scene) withNamespaces() *scene {
	for _, u := range slices.Clone(s.objects) {
		if ns := u.GetNamespace(); ns != "" {
			s.add(clustertest.Object("v1", "Namespace", "", ns))
		}
	}
	return s
}

// strangers adds what others have in the cluster, and in the same namespace.
func (s *scene) strangers(objects []*unstructured.Unstructured) *scene {
	for _, u := range objects {
		s.add(u.DeepCopy())
	}
	return s
}

// strangersIn are the objects of others beside an installation in a namespace.
func strangersIn(t testing.TB, ns string) []*unstructured.Unstructured {
	t.Helper()
	return parsed(t, strings.ReplaceAll(read(t, "testdata/others/neighbours.yaml"), "the-namespace", ns))
}
