package hibernate

import (
	"encoding/json"
	"strings"
	"testing"
)

// The service's own hibernation, from making a schedule to deleting it.
func TestTheServicesOwnHibernation(t *testing.T) {
	w := small()
	w.install(t)
	as := somebody(t, "hibernate")
	if r := hibernate(t, 3, known("pause", as, "--managed", "--yes")...); !strings.Contains(r.Stderr,
		"hibernate schedule create --assign") {
		t.Errorf("without a schedule: %s", r)
	}
	if r := hibernate(t, 3, known("schedule", "create", "nights", as, "--yes",
		"--resume-schedule=0 7 2 1 *")...); !strings.Contains(r.Stderr, "--accept=long-sleep") {
		t.Errorf("a schedule that never wakes: %s", r)
	}
	if r := hibernate(t, 3, known("schedule", "create", "nights", as, "--yes", "--assign")...); !strings.Contains(r.Stderr,
		"--add-tolerations") || len(fake.Schedules()) > 0 {
		t.Errorf("the cluster would not wake: %s", r)
	}
	if r := hibernate(t, 0, known("schedule", "create", "nights", as, "--yes",
		"--time-zone=Europe/Vilnius")...); !strings.Contains(r.Stdout, "asleep 55 % of the week") {
		t.Errorf("it is not described: %s", r)
	}
	if r := hibernate(t, 0, known("schedule", "list", as)...); !strings.Contains(r.Stdout, "nights") ||
		!strings.Contains(r.Stdout, "Europe/Vilnius") {
		t.Errorf("the list: %s", r)
	}
	if r := hibernate(t, 3, known("schedule", "assign", "nights", as, "--yes")...); !strings.Contains(r.Stderr,
		"--add-tolerations") {
		t.Errorf("the cluster would not wake: %s", r)
	}
	hibernate(t, 0, known("schedule", "assign", "nights", as, "--add-tolerations", "--yes")...)
	hibernate(t, 0, known("schedule", "unassign", "nights", as, "--yes")...)
	hibernate(t, 0, known("schedule", "assign", "nights", as, "--yes")...)
	if r := hibernate(t, 3, known("pause", as, "--yes")...); !strings.Contains(r.Stderr, "by the schedule nights") {
		t.Errorf("beside the service's schedule: %s", r)
	}
	if r := hibernate(t, 0, known("status", as)...); !strings.Contains(r.Stdout, "nights") {
		t.Errorf("status: %s", r)
	}
	hibernate(t, 0, known("pause", as, "--managed", "--yes")...)
	if names := nodeNames(t); len(names) > 0 {
		t.Errorf("these nodes are left: %v", names)
	}
	var doc struct {
		Managed struct {
			Status    string
			Schedules []struct {
				Name     string
				Assigned bool
			}
			Untolerated []any
		}
	}
	check(t, json.Unmarshal([]byte(hibernate(t, 0, known("status", as, "--managed", "-o", "json")...).Stdout), &doc))
	if m := doc.Managed; m.Status != "hibernated" || len(m.Schedules) != 1 || !m.Schedules[0].Assigned ||
		len(m.Untolerated) > 0 {
		t.Errorf("status: %+v", m)
	}
	if r := hibernate(t, 3, known("pause", as, "--yes")...); !strings.Contains(r.Stderr, "hibernated") {
		t.Errorf("the other way, beside it: %s", r)
	}
	if r := hibernate(t, 0, known("pause", as, "--managed", "--yes")...); !strings.Contains(r.Stdout, "Nothing to do") {
		t.Errorf("again: %s", r)
	}
	hibernate(t, 0, known("resume", as, "--managed", "--yes")...)
	if names := nodeNames(t); len(names) != 1 || fake.Cluster(clusterID).Status != "ready" {
		t.Errorf("it is %s, with the nodes %v", fake.Cluster(clusterID).Status, names)
	}
	hibernate(t, 0, known("schedule", "delete", "nights", as, "--yes")...)
	if len(fake.Schedules()) > 0 {
		t.Error("the schedule is still there")
	}
}
