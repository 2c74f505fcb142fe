// Package alive takes Cast AI out of a cluster in which its controllers run, reconcile and put things back.
package alive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/test/compare"
	"github.com/castai/kubectl-castai/test/controlplane"
	"github.com/castai/kubectl-castai/test/driver"
	"github.com/castai/kubectl-castai/test/fixtures"
	"github.com/castai/kubectl-castai/test/living"
)

// The cluster that the tests share, one after the other, with things of others in it. Each leaves it as it was.
var cluster *living.Cluster

// quiet is how long nothing may come back after an offboarding: the controllers look every second or two.
const quiet = 10 * time.Second

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	o := driver.Options{Bin: "../../../bin", Nodes: []controlplane.Node{{Name: "node-1"}}, Timeout: 4 * time.Minute}
	if cluster, err = living.Start(ctx, o); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	if err := fixtures.Install(ctx, cluster.Config, fixtures.Foreign); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// offboard runs the plugin as a user does, who is told that all is gone.
func offboard(t *testing.T, backup string, more ...string) {
	t.Helper()
	begin := time.Now()
	result := cluster.Admin.Try(t, append([]string{"offboard", "--yes", "--backup-dir", backup, "-o", "json"}, more...)...)
	t.Logf("offboard ended after %.1f s with exit code %d", time.Since(begin).Seconds(), result.Code)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("offboard from %s said:\n%s", begin.Format(time.RFC3339Nano), result.Stderr)
		}
	})
	if result.Code != 0 {
		t.Errorf("want exit code 0, got %s", result)
	}
	var report printer.Report
	result.Document(t, &report)
	if len(report.Left) > 0 {
		t.Errorf("the report says that %d objects are left", len(report.Left))
	}
}

// clean fails the test unless the cluster is as it was before, and stays so.
func clean(t *testing.T, before compare.Snapshot) {
	t.Helper()
	same(t, before)
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	select {
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	case <-timer.C:
	}
	same(t, before)
}

// same fails the test unless the cluster is as it was before.
func same(t *testing.T, before compare.Snapshot) {
	t.Helper()
	if changes := compare.Changes(before, cluster.Snapshot(t)); len(changes) > 0 {
		why := cluster.Admin.Try(t, "status", "--why-not")
		t.Errorf("the cluster is not as it was:\n%s\n%s", strings.Join(changes, "\n"), why.Stdout)
	}
}

// back restores a backup and expects Cast AI to live again.
func back(t *testing.T, backup string) {
	t.Helper()
	cluster.Admin.Expect(t, 0, "restore", backup, "--yes")
	if err := cluster.Alive(t.Context()); err != nil {
		t.Errorf("%v\n%s", err, operatorLog(t))
	}
}

// operatorLog returns the end of what the operator has said, and what it works on.
func operatorLog(t *testing.T) string {
	t.Helper()
	pods, err := cluster.Kubectl(t.Context(), "get", "pods", "--namespace", living.Namespace, "--output=name")
	if err != nil {
		return err.Error()
	}
	var out strings.Builder
	for pod := range strings.Lines(string(pods)) {
		name := strings.TrimPrefix(strings.TrimSpace(pod), "pod/")
		if log := cluster.Node.Log(living.Namespace, name); strings.HasPrefix(name, "castware-operator") {
			fmt.Fprintf(&out, "%s:\n%s\n", name, log[max(0, len(log)-4000):])
		}
	}
	state, err := cluster.Kubectl(t.Context(), "get", "components,secrets,pods,jobs", "--namespace", living.Namespace,
		"--show-labels")
	fmt.Fprintf(&out, "%s%v", state, err)
	return out.String()
}

// reset takes out what a test that has failed has left, so that the next one begins as it should.
func reset(t *testing.T, before compare.Snapshot) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
		defer cancel()
		var left []string
		for range 3 {
			after, err := fixtures.Snapshot(ctx, cluster.Config)
			left = slices.DeleteFunc(compare.Changes(before, after), ofTheLivingNode)
			if err == nil && len(left) == 0 {
				return
			}
			if r, err := cluster.Admin.Castai(ctx, "offboard", "--yes", "--no-backup"); err != nil {
				t.Fatalf("%v: %s", err, r)
			}
		}
		t.Errorf("the cluster can't be cleaned for the next test:\n%s", strings.Join(left, "\n"))
	})
}

// ofTheLivingNode tells whether a change is one of the node that runs processes, which a test may lose.
func ofTheLivingNode(change string) bool {
	return strings.HasPrefix(change, "Node/"+living.Node) ||
		strings.HasPrefix(change, "Lease.coordination.k8s.io/kube-node-lease/"+living.Node)
}
