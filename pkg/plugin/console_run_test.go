package plugin

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/internal/castai/castaitest"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// home is the namespace of the agent.
var home = cluster.Ref{Kind: "Namespace", Name: "castai-agent"}

// controlled lets the namespace controller work, and proves to the API which cluster
// it is.
func (e *evening) controlled() {
	e.Before(func(*clustertest.Request) clustertest.Fault {
		if ns := e.Get(home); ns != nil && ns.GetDeletionTimestamp() != nil {
			for _, text := range e.Refs() {
				if r, err := cluster.ParseRef(text); err == nil && r.Namespace == home.Name {
					e.Drop(r)
				}
			}
			e.Drop(home)
		}
		return clustertest.Fault{}
	})
	e.api.Cluster.Anywhere.KubeSystemNamespaceId = string(e.Get(cluster.Ref{Kind: "Namespace", Name: "kube-system"}).GetUID())
}

// The cluster is disconnected before anything is removed, and removed from the console
// when nothing is left.
func TestOffboardWithTheConsole(t *testing.T) {
	atNight(t, func(t *testing.T, e *evening) {
		e.controlled()
		e.Put(controller(t)...)
		e.Before(func(r *clustertest.Request) clustertest.Fault {
			if r.IsWrite() && r.Verb == "delete" && !r.DryRun && e.api.Cluster.Status == "ready" {
				t.Errorf("%s while the cluster is connected", r)
			}
			return clustertest.Fault{}
		})
		const command = "offboard --console --delete-nodes --remove-cluster --cleanup-script=cleanup.sh --settle=0s"
		out, code := e.withKey(command + " --dry-run=client")
		if code != ExitOK || len(e.api.Writes())+len(e.changes()) > 0 || !strings.Contains(out, "disconnect") {
			t.Fatalf("exit code %d, %v: %s", code, e.api.Writes(), out)
		}
		if out, code := e.withKey(command); code != ExitRefused || len(e.api.Writes())+len(e.changes()) > 0 {
			t.Fatalf("nobody can be asked: exit code %d: %s", code, out)
		}
		out, code = e.withKey(command + " --yes --backup-dir=saved")
		if code != ExitOK || e.api.Cluster.Status != "archived" || e.on() || e.nodes() != "" || e.Get(home) != nil {
			t.Fatalf("exit code %d, %s, nodes %s: %s", code, e.api.Cluster.Status, e.nodes(), out)
		}
		if !strings.Contains(out, "deletes 3 nodes") {
			t.Errorf("it does not say which nodes go: %s", out)
		}
		if raw, err := os.ReadFile(filepath.Join(e.dir, "cleanup.sh")); err != nil || string(raw) != e.api.Script {
			t.Errorf("the script is %s: %v", raw, err)
		}
		raw, err := os.ReadFile(filepath.Join(e.dir, "saved", consoleRecord))
		if err != nil || !strings.Contains(string(raw), `"newer"`) || strings.Contains(string(raw), castaitest.Key) {
			t.Errorf("the record is %s: %v", raw, err)
		}
		if out, code := e.withKey("offboard --console --remove-cluster --yes"); code != ExitOK {
			t.Errorf("again: exit code %d: %s", code, out)
		}
	})
}

// Nothing is removed from a cluster that could not be disconnected, or that may be
// another one.
func TestOffboardThatTheConsoleStops(t *testing.T) {
	const console = "offboard --console --yes --settle=0s --poll-interval=1ms"
	for name, test := range map[string]struct {
		change  func(*evening)
		command string
		code    int
		says    string
	}{
		"another cluster": {func(e *evening) { e.api.Cluster.Anywhere.KubeSystemNamespaceId = "another" }, console,
			ExitRefused, "another"},
		"nobody knows which": {func(e *evening) { e.api.Cluster.Anywhere = castai.Anywhere{} }, console, ExitRefused,
			"console-identity"},
		"gone":          {func(e *evening) { e.api.Gone = true }, console, ExitRefused, "console-gone"},
		"hibernating":   {func(e *evening) { e.api.Cluster.Status = "hibernating" }, console, ExitRefused, "hibernating"},
		"rebalancing":   {rebalances, console, ExitRefused, "console-rebalancing"},
		"no controller": {func(*evening) {}, console + " --delete-nodes", ExitRefused, "console-controller"},
		"no folder for the script": {func(*evening) {}, console + " --cleanup-script=missing/x", ExitUsage,
			"no such folder"},
		"the key may not": {func(e *evening) { e.refuses(http.MethodPut) }, console, ExitFailed,
			"policies-off failed, so nothing was removed"},
		"it can't be disconnected": {func(e *evening) { e.refuses(http.MethodPost) }, console,
			ExitFailed, "disconnect failed, so nothing was removed"},
		"it never ends": {func(e *evening) { e.accepts(http.MethodPost) }, console + " --disconnect-timeout=1m",
			ExitTimeout, "--disconnect-timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			atNight(t, func(t *testing.T, e *evening) {
				e.controlled()
				test.change(e)
				before := e.Refs()
				out, code := e.withKey(test.command)
				if code != test.code || !strings.Contains(out, test.says) {
					t.Errorf("exit code %d: %s", code, out)
				}
				if !slices.Equal(before, e.Refs()) || len(e.changes()) > 0 {
					t.Errorf("it writes %v", e.changes())
				}
			})
		})
	}
}

func rebalances(e *evening) {
	e.api.Plans = []castai.RebalancingPlan{{RebalancingPlanId: "p", Status: "draining_nodes"}}
}

// refuses answers requests of a method with an error, accepts does so with success, and
// does nothing.
func (e *evening) refuses(method string) {
	e.api.Before = func(w http.ResponseWriter, m, _ string) bool {
		if m == method {
			castaitest.Fail(w, http.StatusForbidden, "no")
		}
		return m == method
	}
}

func (e *evening) accepts(method string) {
	e.api.Before = func(w http.ResponseWriter, m, _ string) bool {
		if m == method {
			w.WriteHeader(http.StatusOK)
		}
		return m == method
	}
}

// The cluster stays at the console while something is left here, and what is left there
// is told.
func TestClusterThatStaysAtTheConsole(t *testing.T) {
	atNight(t, func(t *testing.T, e *evening) {
		e.controlled()
		role := cluster.Ref{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "castai-agent"}
		held := e.Get(role)
		held.SetFinalizers([]string{"example.com/hold"})
		e.Put(held)
		const command = "offboard --console --remove-cluster --yes --settle=0s --timeout=1m --no-backup"
		out, code := e.withKey(command)
		if code == ExitOK || e.api.Cluster.Status != "deleted" || e.Get(role) == nil {
			t.Fatalf("exit code %d, %s: %s", code, e.api.Cluster.Status, out)
		}
		e.Drop(role)
		e.refuses(http.MethodDelete)
		if out, code := e.withKey(command); code != ExitLeft || !strings.Contains(out, "remove-cluster") {
			t.Errorf("exit code %d: %s", code, out)
		}
	})
}

// What the console knows is shown where there is a key; that it can't be known is an
// error only for who asked for it.
func TestStatusWithTheConsole(t *testing.T) {
	atNight(t, func(t *testing.T, e *evening) {
		out, code := e.withKey("status -o json")
		view := document[struct {
			Console struct {
				Status           string
				Nodes, MadeNodes int
			}
		}](t, out).Console
		if code != ExitOK || view.Status != "ready" || view.Nodes != 3 || view.MadeNodes != 3 {
			t.Errorf("exit code %d, %+v: %s", code, view, out)
		}
		if out, code := e.withKey("status"); code != ExitOK || !strings.Contains(out, "ready") {
			t.Errorf("exit code %d: %s", code, out)
		}
		e.refuses(http.MethodGet)
		if out, code := e.withKey("status"); code != ExitFailed || !strings.Contains(out, "lacks the permission") {
			t.Errorf("who asks for it: exit code %d: %s", code, out)
		}
		t.Setenv(castai.EnvKey, castaitest.Key)
		out, code = e.run("status", "-o", "json")
		if code != ExitOK || !strings.Contains(out, `"problem"`) {
			t.Errorf("who has a key in the environment: exit code %d: %s", code, out)
		}
		if out, code := e.run("hibernate", "status"); code != ExitOK || !strings.Contains(out, "left out") {
			t.Errorf("hibernate status: exit code %d: %s", code, out)
		}
	})
}
