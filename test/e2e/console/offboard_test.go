package console

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/internal/console"
	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/test/fakecastai"
	"github.com/castai/kubectl-castai/test/fixtures"
)

func nodeNames(t *testing.T) []string {
	t.Helper()
	client, err := kubernetes.NewForConfig(server.Config)
	if err != nil {
		t.Fatal(err)
	}
	list, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range list.Items {
		names = append(names, n.Name)
	}
	return names
}

// The whole of the documentation's procedure in one run.
func TestEverything(t *testing.T) {
	w := newWorld(t, fakecastai.Options{}, fixtures.All)
	script := filepath.Join(w.dir, "cleanup.sh")
	all := w.offboard("--delete-nodes", "--cleanup-script="+script, "--remove-cluster")

	t.Run("dry runs", func(t *testing.T) {
		w.unchanged(func() {
			r := w.castai(0, append(all, "--dry-run=client")...)
			has(t, r.Stdout, "Disconnect the cluster from Cast AI's console: 3 steps",
				"call    policies-off: turn all policies off", "delete the 2 nodes", "Suspend the hibernate CronJobs", "Remove the cluster from Cast AI's console: 1 step")
			has(t, r.Stderr, "status ready, agent online",
				"you say that it is this cluster, and 3 of 3 nodes are machines that the API knows")
			t.Log(r.Stdout)
			var plan printer.Plan
			w.castai(0, append(all, "--dry-run=client", "-o", "json")...).Document(t, &plan)
			if plan.Phases[0].Name != console.PhaseHibernation || plan.Phases[1].Name != console.PhaseDisconnect ||
				plan.Phases[len(plan.Phases)-1].Name != console.PhaseRemove {
				t.Errorf("the phases are %v", plan.Phases)
			}
			var report printer.Report
			logged := w.castai(0, append(all, "--dry-run=server", "-o", "json", "-v=10")...) // which must not log the key
			has(t, logged.Stderr, `verb="PATCH"`)
			logged.Document(t, &report)
		})
	})

	r := w.castai(0, all...)
	t.Logf("%s\n%s", r.Stdout, r.Stderr)
	has(t, r.Stderr, "Cast AI deletes 2 nodes of this cluster with", "cast-1, cast-2", "disconnect: it is disconnected")
	has(t, r.Stdout, "Clean: nothing of Cast AI's", "check-nodes: none is left of the 2 nodes",
		"not run: it is code from the network", "remove-cluster: it is removed from the console")
	if c := w.fake.Cluster(id); c.Status != "archived" || string(c.Policies) != strings.Replace(fakecastai.SamplePolicies,
		"true", "false", 1) {
		t.Errorf("the cluster is %s, with the policies %s", c.Status, c.Policies)
	}
	if names := nodeNames(t); !slices.Equal(names, []string{"node-1"}) {
		t.Errorf("the nodes are %q", names)
	}
	if content, err := os.ReadFile(script); err != nil || string(content) != w.fake.Cluster(id).Script {
		t.Errorf("the script is %q, %v", content, err)
	}
	for _, file := range []string{script, filepath.Join(backupOf(t, w), "console.json")} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	w.secret("")

	// Again, without anything in the cluster that names its id.
	r = w.castai(3, append(all, "--cluster-id=")...)
	has(t, r.Stderr, "name it with --cluster-id")
	r = w.castai(0, w.offboard("--cluster-id="+id, "--remove-cluster")...)
	has(t, r.Stderr, "it was removed from the console already")
}

// backupOf returns the folder of the backup.
func backupOf(t *testing.T, w *world) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(w.dir, "backup-*", "console.json"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no backup holds what the console knew: %v", err)
	}
	return filepath.Dir(found[0])
}

// Nothing is changed where a person has to decide first, or where it can't go well.
func TestRefusals(t *testing.T) {
	w := newWorld(t, fakecastai.Options{}, fixtures.Small)
	sample := w.fake.Cluster(id)
	for _, test := range []struct {
		name   string
		code   int
		change func(*fakecastai.Cluster)
		args   []string
		says   []string
	}{
		{"Terraform", 3, func(c *fakecastai.Cluster) { c.ManagedBy = "terraform" }, nil,
			[]string{"console-terraform", "managed by Terraform"}},
		{"rebalancing", 3, func(c *fakecastai.Cluster) {
			c.Plans = []castai.RebalancingPlan{{RebalancingPlanId: "p-1", Status: "finished"},
				{RebalancingPlanId: "p-2", Status: "draining_nodes"}}
		}, nil, []string{"console-rebalancing", "p-2 is draining_nodes"}},
		{"hibernating", 3, func(c *fakecastai.Cluster) { c.Status = "hibernating" }, nil, []string{"is hibernating: wait"}},
		{"hibernated", 3, func(c *fakecastai.Cluster) { c.Status = "hibernated" }, nil, []string{"console-hibernated"}},
		{"resuming", 3, func(c *fakecastai.Cluster) { c.Status = "resuming" }, nil, []string{"is resuming: wait"}},
		{"failed", 3, func(c *fakecastai.Cluster) { c.Status, c.ReconcileError = "failed", "no access\x1b[31m" }, nil,
			[]string{"console-failed", `no access\x1b[31m`}},
		{"failed, with nodes", 3, func(c *fakecastai.Cluster) { c.Status = "failed" }, []string{"--delete-nodes"},
			[]string{"can't delete nodes"}},
		{"an unknown status", 3, func(c *fakecastai.Cluster) { c.Status = "migrating" }, nil, []string{`"migrating"`}},
		{"another cluster", 3, func(c *fakecastai.Cluster) { c.Anywhere.KubeSystemNamespaceId = "another" }, nil,
			[]string{"is not the cluster of the kubeconfig"}},
		{"another region", 3, func(c *fakecastai.Cluster) { c.Eks.Region = "us-east-1" }, nil,
			[]string{"is not the cluster of the kubeconfig", "us-east-1"}},
		{"no proof", 3, func(c *fakecastai.Cluster) { c.Nodes = nil }, nil, []string{"console-identity", "--accept"}},
		{"only nodes say so", 3, nil, []string{"--accept=gitops"}, []string{"console-identity", "which kubelets write"}},
		{"nobody named it, and only nodes say so", 3, nil, []string{"--cluster-id="},
			[]string{"console-identity", "--cluster-id=" + id}},
		{"not there", 3, func(c *fakecastai.Cluster) { c.Forgotten = true }, nil,
			[]string{"console-gone", "has no cluster " + id}},
		{"another id", 3, nil, []string{"--cluster-id=7d0c6f3e-5a3b-4c55-8d6e-1f0c6d5b7a99"},
			[]string{"is another cluster than this one"}},
		{"no id", 2, nil, []string{"--cluster-id=demo"}, []string{"is not an id"}},
		{"no folder for the script", 2, nil, []string{"--cleanup-script=/nowhere/cleanup.sh"}, []string{"no such folder"}},
		{"an address without TLS", 2, nil, []string{"--api-url=http://api.cast.ai"}, []string{"https://"}},
		{"a file without a key", 2, nil, []string{"--api-key-file=/dev/null"}, []string{"is empty"}},
		{"a key that nobody knows", 1, nil, []string{"--api-key-file=" + file(t, "another-key")},
			[]string{"401", "the key is not known there"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.fake.Update(id, func(c *fakecastai.Cluster) {
				*c = sample
				if test.change != nil {
					test.change(c)
				}
			})
			args := w.offboard(test.args...)
			if slices.Contains(test.says, "console-identity") {
				args = slices.DeleteFunc(args, func(arg string) bool { return arg == accepted })
			}
			w.unchanged(func() { has(t, w.castai(test.code, args...).Stderr, test.says...) })
		})
	}
	t.Run("no key", func(t *testing.T) {
		user := w.user
		defer func() { w.user = user }()
		w.user = admin.With("CASTAI_API_KEY=", "CASTAI_API_TOKEN=")
		w.unchanged(func() { has(t, w.castai(2, w.offboard()...).Stderr, "needs an API key") })
	})
	t.Run("flags without --console", func(t *testing.T) {
		has(t, w.castai(2, "offboard", "--yes", "--delete-nodes").Stderr, "need --console")
	})
	t.Run("a key that may only read", func(t *testing.T) {
		w.fake.Update(id, func(c *fakecastai.Cluster) { *c = sample })
		w.fake.Inject(fakecastai.Fault{Kind: fakecastai.Forbidden, Method: "PUT"})
		defer w.fake.Heal()
		r := w.castai(1, w.offboard()...)
		has(t, r.Stderr, "policies-off failed, so nothing was removed from the cluster", "the key lacks the permission")
	})
	t.Run("too slow", func(t *testing.T) {
		w.fake.Update(id, func(c *fakecastai.Cluster) { *c = sample; c.Stuck = true })
		r := w.castai(124, w.offboard("--disconnect-timeout=2s")...)
		has(t, r.Stderr, "so nothing was removed from the cluster", "--disconnect-timeout", "status deleting")
	})
	t.Run("accepted, and continued", func(t *testing.T) {
		w.fake.Update(id, func(c *fakecastai.Cluster) { c.Nodes, c.Status = nil, "deleted" })
		has(t, w.castai(0, w.offboard()...).Stdout, "Clean: nothing of Cast AI's")
	})
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
