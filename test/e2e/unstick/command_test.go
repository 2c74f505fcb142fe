package unstick

import (
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/finalize"
)

// The command, as a person and as a script use it.
func TestCommand(t *testing.T) {
	admin.Expect(t, 0, "unstick-ns", "--all", "-o", "json").Document(t, &printer.Diagnosis{})
	if r := admin.Expect(t, 0, "unstick-ns", "--all", "--yes"); !strings.Contains(r.Stdout, "No namespace is stuck") {
		t.Errorf("with nothing to do: %s", r)
	}
	a, b, c := fresh(t), fresh(t), fresh(t)
	for _, ns := range []string{a, b} {
		create(t, configMaps, ns, "a", nil, hold)
		create(t, configMaps, ns, "b", nil, "example.com/other")
		begin(t, ns)
	}

	if r := admin.Expect(t, 0, "__complete", "unstick-ns", ""); !strings.Contains(r.Stdout, a+"\n") ||
		!strings.Contains(r.Stdout, b+"\n") || strings.Contains(r.Stdout, c+"\n") {
		t.Errorf("completion: %s", r)
	}
	was := state(t, namespaces, "", a) + state(t, configMaps, a, "a", "b")
	for _, args := range [][]string{{"--diagnose"}, {"--dry-run=client"}, {"--dry-run=server"}} {
		code := 0
		if args[0] == "--diagnose" {
			code = 4 // something is stuck
		}
		if r := admin.Expect(t, code, append([]string{"unstick-ns", a}, args...)...); !strings.Contains(r.Stdout,
			"ConfigMap b waits for the finalizer example.com/other") {
			t.Errorf("%s: %s", args, r)
		}
	}
	if r := admin.Expect(t, 3, "unstick-ns", a); !strings.Contains(r.Stderr, "--yes") {
		t.Errorf("without a terminal: %s", r)
	}
	var doc printer.Diagnosis
	r := admin.Expect(t, 4, "unstick-ns", "ns/"+a, "namespaces/"+b, "--diagnose", "-o", "json")
	r.Document(t, &doc)
	if doc.Kind != "Diagnosis" || len(doc.Namespaces) != 2 || len(doc.Phases) != 2 || len(doc.Phases[0].Actions) != 4 ||
		doc.Phases[1].Name != "finish" {
		t.Errorf("diagnosis: %s", r)
	}
	admin.Expect(t, 3, "unstick-ns", c, "kube-system", "--diagnose", "-o", "json").Document(t, &printer.Diagnosis{})
	if now := state(t, namespaces, "", a) + state(t, configMaps, a, "a", "b"); now != was {
		t.Errorf("changed: %s, was %s", now, was)
	}
	for _, args := range [][]string{
		{}, {a, "--all"}, {a, "--force", "--finalizer=x"}, {a, "--timeout=0s"}, {a, "--patience=-1s"}, {a,
			"--dry-run=maybe"}, {a, "-o", "wide"}, {""},
	} {
		admin.Expect(t, 2, append([]string{"unstick-ns"}, args...)...)
	}

	// One finalizer only: the other one is left, and named.
	r = admin.Expect(t, 4, "unstick-ns", a, "--yes", "--finalizer="+hold, "--patience=2s")
	if get(t, configMaps, a, "a") != nil || get(t, configMaps, a, "b") == nil ||
		!strings.Contains(r.Stderr, "example.com/other") {
		t.Errorf("with one finalizer: %s", r)
	}
	var report printer.Report
	r = admin.Expect(t, 0, "unstick-ns", "--all", "--yes", "--patience=2s", "-o", "json")
	r.Document(t, &report)
	if report.Kind != "Report" || len(report.Namespaces) != 2 {
		t.Errorf("report: %s", r)
	}
	for _, d := range report.Namespaces {
		if d.State != finalize.Missing {
			t.Errorf("namespace %s is %s", d.Namespace, d.State)
		}
	}
	for _, ns := range []string{a, b} {
		if get(t, namespaces, "", ns) != nil {
			t.Errorf("namespace %s is still there", ns)
		}
	}
	if get(t, namespaces, "", c) == nil {
		t.Errorf("namespace %s, which was not Terminating, is gone", c)
	}
}
