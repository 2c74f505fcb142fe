package hibernate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/test/fakecastai"
)

// vendorPatch writes as Cast AI's job does: with the name of its client library
// (kubernetes-client/python).
func vendorPatch(t *testing.T, patch string, object ...string) {
	t.Helper()
	_, err := server.Kubectl(t.Context(), append([]string{"patch", "--field-manager=OpenAPI-Generator", "--type=merge",
		"-p", patch}, object...)...)
	check(t, err)
}

// vendorsPause is what Cast AI's job leaves of a pause that slept on od-1: it
// cordons the other nodes, also od-2, which a person has cordoned before.
func vendorsPause(t *testing.T) {
	t.Helper()
	const toleration = `{"key":"scheduling.cast.ai/paused-cluster","operator":"Exists","effect":"NoSchedule"}`
	vendorPatch(t,
		`{"metadata":{"labels":{"scheduling.cast.ai/paused-cluster":"true"}},"spec":{"taints":[{"key":"team","value":"night","effect":"NoSchedule"},{"key":"scheduling.cast.ai/paused-cluster","value":"true","effect":"NoSchedule"}]}}`, "node", "od-1")
	for _, name := range []string{"od-0", "od-2", "spot-0"} {
		vendorPatch(t, `{"spec":{"unschedulable":true}}`, "node", name)
	}
	// Those of somebody's own stay; two pauses add two.
	vendorPatch(t,
		fmt.Sprintf(`{"spec":{"template":{"spec":{"tolerations":[{"key":"CriticalAddonsOnly","operator":"Exists"},%s,%[1]s]}}}}`, toleration), "deployment", "-n", "kube-system", "coredns")
	vendorPatch(t, fmt.Sprintf(`{"spec":{"template":{"spec":{"tolerations":[%s]}}}}`, toleration), "deployment", "-n",
		"shop", "ingress")
	state := fmt.Sprintf(`
apiVersion: v1
kind: ConfigMap
metadata: {name: castai-hibernate-state, namespace: castai-agent}
data: {last_run_status: success, last_run_time: %q}
`, time.Now().UTC().Format("2006-01-02T15:04:05"))
	check(t, server.Apply(t.Context(), state))
	switchPolicies(t, false)
}

// What Cast AI's job has left is taken back, and nothing else: what people have
// written, in the same words, stays.
func TestRepair(t *testing.T) {
	w := small()
	w.install(t)
	// A person's: a cordon after one by the job, a toleration, a taint.
	vendorPatch(t, `{"spec":{"unschedulable":true}}`, "node", "protected-0")
	for _, args := range [][]string{
		{"uncordon", "protected-0"},
		{"cordon", "protected-0"},
		{"taint", "node", "od-1", "team=night:NoSchedule"},
		{"patch", "deployment", "-n", "shop", "app-0", "--type=merge", "-p",
			`{"spec":{"template":{"spec":{"tolerations":[{"key":"scheduling.cast.ai/paused-cluster","operator":"Exists","effect":"NoSchedule"}]}}}}`},
	} {
		_, err := server.Kubectl(t.Context(), args...)
		check(t, err)
	}
	before := written(t)
	vendorsPause(t)
	left := written(t)

	var doc printer.Hibernation
	check(t, json.Unmarshal([]byte(document(t, known("status", "-o", "json")...)), &doc))
	if doc.Phase != "paused" || doc.Whose != "castai-hibernate" || len(doc.Leftovers) > 0 {
		t.Errorf("the status says %s by %q: %s", doc.Phase, doc.Whose, doc.State)
	}
	if r := hibernate(t, 3, "uninstall", "--yes"); !strings.Contains(r.Stderr, "Cast AI's job") {
		t.Errorf("it does not say whose pause it is: %s", r)
	}
	offboard, err := admin.Castai(t.Context(), "offboard", "--yes", "--no-backup")
	check(t, err)
	if offboard.Code != 3 || !strings.Contains(offboard.Stderr, "hibernation") {
		t.Errorf("offboard of a cluster that Cast AI's job paused: %s", offboard)
	}
	// That job's own resume turns the autoscaler on, and nothing else.
	switchPolicies(t, true)
	check(t, json.Unmarshal([]byte(document(t, known("status", "-o", "json")...)), &doc))
	if doc.Phase != "awake" {
		t.Errorf("the status says %s: %s", doc.Phase, doc.State)
	}
	var found []string
	for _, l := range doc.Leftovers {
		if !l.CastAI {
			t.Errorf("%s is said to be of this plugin", l.Object)
		}
		found = append(found, l.Object.String())
	}
	slices.Sort(found)
	want := []string{"Deployment.apps/kube-system/coredns", "Deployment.apps/shop/ingress", "Node/od-0", "Node/od-1",
		"Node/spot-0"}
	if !slices.Equal(found, want) {
		t.Errorf("the status lists %v", found)
	}
	if r := hibernate(t, 0, known("resume", "--yes")...); !strings.Contains(r.Stdout, "resume --repair") {
		t.Errorf("a resume without --repair does not name it: %s", r)
	}
	for _, dry := range []string{"--dry-run", "--dry-run=server"} {
		hibernate(t, 0, known("resume", "--repair", "--yes", dry)...)
	}
	if differences := unlike(left, written(t)); len(differences) > 0 {
		t.Errorf("something was changed before it was asked for:\n%s", strings.Join(differences, "\n"))
	}

	hibernate(t, 0, known("resume", "--repair", "--yes")...)
	asBefore(t, before)
	if r := hibernate(t, 0, known("resume", "--repair", "--yes")...); !strings.Contains(r.Stdout, "nothing is left") {
		t.Errorf("a second repair: %s", r)
	}

	// Before that, any resume takes it all back.
	vendorsPause(t)
	hibernate(t, 0, known("resume", "--yes")...)
	asBefore(t, before)

	// And a pause goes on with it, and knows that the autoscaler was on.
	vendorsPause(t)
	if r := hibernate(t, 0, known("pause", "--yes", "--protect-removal-disabled")...); !strings.Contains(r.Stdout,
		"takes it over") {
		t.Errorf("it does not say so: %s", r)
	}
	w.addNodes(t, fresh(4))
	hibernate(t, 0, known("resume", "--yes")...)
	asBefore(t, before)
}

// switchPolicies turns the autoscaler on or off, as another tool does.
func switchPolicies(t *testing.T, on bool) {
	t.Helper()
	fake.Update(clusterID, func(c *fakecastai.Cluster) {
		policies, err := castai.WithEnabled(c.Policies, on)
		check(t, err)
		c.Policies = policies
	})
}
