// Package e2e drives the built plugin, through kubectl, against a real control plane.
package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/castai/kubectl-castai/test/compare"
	"github.com/castai/kubectl-castai/test/controlplane"
	"github.com/castai/kubectl-castai/test/driver"
	"github.com/castai/kubectl-castai/test/fixtures"
	"github.com/castai/kubectl-castai/test/schema"
)

// commandTimeout is far more than any command takes.
const commandTimeout = 3 * time.Minute

// The cluster that the tests of this package use, one after the other. Each
// leaves it as it was.
var (
	cluster *controlplane.Cluster
	admin   *driver.User
	config  *rest.Config
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctx := context.Background()
	if cluster, err = controlplane.Start(ctx, controlplane.Options{Quick: true, Tokens: []controlplane.Token{{User: "robot"}}}); err != nil {
		return 0, err
	}
	defer func() {
		if stopErr := cluster.Stop(); err == nil {
			err = stopErr
		}
	}()
	for _, node := range []controlplane.Node{
		{Name: "node-1", Labels: map[string]string{"node.kubernetes.io/instance-type": "m7g.xlarge"}},
		{Name: "node-2", Labels: map[string]string{
			"node.kubernetes.io/instance-type": "c7g.2xlarge", "provisioner.cast.ai/managed-by": "cast.ai", "scheduling.cast.ai/spot": "true",
		}},
	} {
		if err := cluster.AddNode(ctx, node); err != nil {
			return 0, err
		}
	}
	if err := cluster.Apply(ctx, readers); err != nil {
		return 0, err
	}
	if admin, err = driver.New(cluster, "../../bin"); err != nil {
		return 0, err
	}
	if config, err = clientcmd.BuildConfigFromFlags("", cluster.Kubeconfig()); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// readers lets the group readers read everything.
const readers = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules: [{apiGroups: ["*"], resources: ["*"], verbs: [get, list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: readers}]
`

// castai runs kubectl castai and expects it to end with code.
func castai(t *testing.T, user *driver.User, code int, args ...string) driver.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandTimeout)
	defer cancel()
	r, err := user.Castai(ctx, args...)
	if err != nil {
		t.Fatalf("kubectl castai %s: %v", strings.Join(args, " "), err)
	}
	if r.Code != code {
		t.Fatalf("kubectl castai %s: want exit code %d, got %s", strings.Join(args, " "), code, r)
	}
	return r
}

// document reads what a command printed with -o json, and checks it against
// the published schema.
func document(t *testing.T, r driver.Result, into any) {
	t.Helper()
	if err := schema.Validate([]byte(r.Stdout)); err != nil {
		t.Errorf("the document does not fit its schema: %v", err)
	}
	if err := json.Unmarshal([]byte(r.Stdout), into); err != nil {
		t.Fatalf("%v in: %s", err, r)
	}
}

// typed runs kubectl castai on a terminal, types an answer once it is asked for
// one, and returns what the terminal showed.
func typed(t *testing.T, answer string, code int, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandTimeout)
	defer cancel()
	cmd := admin.Command(ctx, args...)
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 50, Cols: 120})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = terminal.Close() }()
	var screen strings.Builder
	buffer := make([]byte, 4096)
	for asked := false; ; {
		n, err := terminal.Read(buffer)
		screen.Write(buffer[:n])
		if !asked && strings.Contains(screen.String(), "to go on:") {
			asked = true
			if _, err := io.WriteString(terminal, answer+"\n"); err != nil {
				t.Fatal(err)
			}
		}
		if err != nil {
			break // Linux reports an I/O error when the other side is closed
		}
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != code {
		t.Fatalf("kubectl castai %s: want exit code %d, got %v; the terminal shows:\n%s", strings.Join(args, " "), code, err, screen.String())
	}
	return screen.String()
}

func snapshot(t *testing.T) compare.Snapshot {
	t.Helper()
	s, err := fixtures.Snapshot(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// install installs fixtures and returns the cluster with them once its
// controllers are done with them.
func install(t *testing.T, sets ...fixtures.Set) compare.Snapshot {
	t.Helper()
	if err := fixtures.Install(t.Context(), config, sets...); err != nil {
		t.Fatal(err)
	}
	s, err := compare.Settled(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// refs returns one of the lists of fixtures.
func refs(t *testing.T, list func(...fixtures.Set) ([]string, error), sets ...fixtures.Set) []string {
	t.Helper()
	ids, err := list(sets...)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// unchanged fails the test if do changed anything in the cluster.
func unchanged(t *testing.T, do func()) {
	t.Helper()
	before := snapshot(t)
	do()
	if changes := compare.Changes(before, snapshot(t)); len(changes) > 0 {
		t.Errorf("the cluster has changed:\n%s", strings.Join(changes, "\n"))
	}
}

// nothingElse fails the test unless everything of Cast AI's is gone and nothing
// of others was touched.
func nothingElse(t *testing.T, r compare.Result) {
	t.Helper()
	if len(r.Removed) == 0 {
		t.Error("nothing was removed")
	}
	if len(r.Left) > 0 {
		t.Errorf("%d objects are left:\n%s", len(r.Left), strings.Join(r.Left, "\n"))
	}
	if len(r.Touched) > 0 {
		t.Errorf("%d objects of others were touched:\n%s", len(r.Touched), strings.Join(r.Touched, "\n"))
	}
	t.Logf("%d removed, %d left, %d of others untouched, %d touched", len(r.Removed), len(r.Left), r.Untouched, len(r.Touched))
}
