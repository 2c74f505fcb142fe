package hibernate

import (
	"slices"
	"strings"
	"testing"
)

// With those rights of docs/rbac/hibernate.yaml that are for this, and no others.
func TestPauseAndResume(t *testing.T) {
	w := small()
	w.install(t)
	as := somebody(t, "hibernate", onlyPauses()...)
	before := written(t)

	plan := hibernate(t, 0, known("pause", as, "--dry-run")...)
	t.Log(plan.Stdout)
	r := hibernate(t, 0, known("pause", as, "--yes", "--protect-removal-disabled",
		"--namespaces-to-keep= monitoring ,shop", "--keep=one-pod")...)
	t.Log(r.Stdout, r.Stderr)
	if enabled(t) {
		t.Error("the autoscaler is on")
	}
	left := nodeNames(t)
	if len(left) != 3 || !slices.Contains(left, "protected-0") || !slices.Contains(left, "foreign-0") {
		t.Errorf("these nodes are left: %v", left)
	}
	status := hibernate(t, 0, known("status")...)
	t.Log(status.Stdout)

	again := hibernate(t, 0, known("pause", as, "--yes")...)
	if !strings.Contains(again.Stdout, "Nothing to do") {
		t.Errorf("a second pause: %s", again)
	}

	w.addNodes(t, fresh(4))
	r = hibernate(t, 0, known("resume", as, "--yes")...)
	t.Log(r.Stdout, r.Stderr)
	if !enabled(t) {
		t.Error("the autoscaler is off")
	}
	if differences := unlike(before, written(t)); len(differences) > 0 {
		t.Errorf("not as before:\n%s", strings.Join(differences, "\n"))
	}
	w.settled(t)
	again = hibernate(t, 0, known("resume", as, "--yes")...)
	if !strings.Contains(again.Stdout, "Nothing to do") {
		t.Errorf("a second resume: %s", again)
	}
}
