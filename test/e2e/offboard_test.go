package e2e

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/test/compare"
	"github.com/castai/kubectl-castai/test/fixtures"
)

// quick keeps the waits of an offboarding short: no controller of Cast AI's is
// there to clean up.
var quick = []string{"--clean-up-timeout=5s", "--settle=2s"}

func id(group, kind, namespace, name string) string {
	return fixtures.ID(schema.GroupKind{Group: group, Kind: kind}, namespace, name)
}

func ids(objects []printer.Object) []string {
	var out []string
	for _, o := range objects {
		out = append(out, id(o.Group, o.Kind, o.Namespace, o.Name))
	}
	return out
}

// Everything of Cast AI's goes, and nothing else, with all that is known to hang
// or to mislead: webhooks that fail, a dead APIService, finalizers without a
// controller, look-alike names.
func TestOffboard(t *testing.T) {
	before := cluster.Snapshot(t)
	installed := cluster.Install(t, fixtures.All, fixtures.Foreign)
	owned := refs(t, fixtures.OwnedRefs, fixtures.All, fixtures.Foreign)

	t.Run("status", func(t *testing.T) {
		var inv printer.Inventory
		cluster.Unchanged(t, func() { admin.Expect(t, 0, "status", "-o", "json").Document(t, &inv) })
		found := ids(inv.Owned)
		for _, want := range owned {
			if !slices.Contains(found, want) {
				t.Errorf("%s is Cast AI's, but status does not say so", want)
			}
		}
		for _, other := range slices.Concat(refs(t, fixtures.ForeignRefs, fixtures.All, fixtures.Foreign),
			refs(t, fixtures.UnclearRefs, fixtures.Foreign)) {
			if slices.Contains(found, other) {
				t.Errorf("%s is not Cast AI's, but status says so", other)
			}
		}
		unclear := ids(inv.Unclear)
		for _, want := range refs(t, fixtures.UnclearRefs, fixtures.Foreign) {
			if !slices.Contains(unclear, want) {
				t.Errorf("%s is unclear, but status does not say so", want)
			}
		}
		admin.Expect(t, 0, "status")
		admin.Expect(t, 0, "status", "-o", "wide")
		var whyNot printer.WhyNot
		admin.Expect(t, 0, "status", "--why-not", "-o", "json").Document(t, &whyNot)
		if i := slices.IndexFunc(whyNot.Foreign,
			func(o printer.Object) bool { return len(o.Against) == 0 }); len(whyNot.Foreign) == 0 || i >= 0 {
			t.Errorf("--why-not names %d objects of others, and no reason for number %d", len(whyNot.Foreign), i)
		}
		var e printer.Explanation
		admin.Expect(t, 0, "status", "ClusterRole/castai-agent", "-o", "json").Document(t, &e)
		if e.Verdict != "owned" || len(e.For) == 0 {
			t.Errorf("ClusterRole/castai-agent is explained as %+v", e)
		}
	})

	t.Run("dry run on the client", func(t *testing.T) {
		var plan printer.Plan
		cluster.Unchanged(t, func() {
			admin.Expect(t, 0, "offboard", "--dry-run=client", "-o", "json").Document(t, &plan)
			admin.Expect(t, 0, "offboard", "--dry-run=client")
		})
		planned := map[string]bool{}
		for _, phase := range plan.Phases {
			for _, a := range phase.Actions {
				planned[id(a.Target.Group, a.Target.Kind, a.Target.Namespace, a.Target.Name)] = true
				if a.Why == "" {
					t.Errorf("the plan does not say why: %s", a.Target)
				}
			}
		}
		for _, want := range owned {
			if !planned[want] {
				t.Errorf("%s is not in the plan", want)
			}
		}
	})

	t.Run("dry run on the server", func(t *testing.T) {
		var report printer.Report
		cluster.Unchanged(t, func() {
			admin.Expect(t, 0, "offboard", "--dry-run=server", "-o", "json").Document(t, &report)
		})
		if !report.DryRun || len(report.Outcomes) < len(owned) {
			t.Errorf("dryRun is %v, with %d outcomes for %d objects", report.DryRun, len(report.Outcomes), len(owned))
		}
	})

	t.Run("refusals", func(t *testing.T) {
		reader, err := cluster.User("reader", "readers")
		if err != nil {
			t.Fatal(err)
		}
		cluster.Unchanged(t, func() {
			r := admin.Expect(t, 3, "offboard")
			message(t, r.Stderr, "--yes")

			r = admin.Kubeconfig(reader).Expect(t, 3, "offboard", "--yes")
			if !strings.Contains(r.Stderr, "kind: ClusterRole") {
				t.Errorf("no ClusterRole is printed: %s", r)
			}

			screen := admin.Typed(t, 3, []string{"another-cluster"}, "offboard")
			if !strings.Contains(screen, "nothing was changed") {
				t.Errorf("the terminal shows:\n%s", screen)
			}

			r = admin.Expect(t, 2, "offboard", "--yes", "--include=Gadget/nonsense")
			message(t, r.Stderr, "Gadget")
			admin.Expect(t, 4, "verify")
		})
	})

	var report printer.Report
	admin.Expect(t, 0, append([]string{"offboard", "--yes", "-o", "json"}, quick...)...).Document(t, &report)
	if len(report.Left) > 0 || report.Error != "" {
		t.Errorf("the report has %d objects left, and the error %q", len(report.Left), report.Error)
	}
	admin.Expect(t, 0, "verify")
	var inv printer.Inventory
	admin.Expect(t, 0, "verify", "-o", "json").Document(t, &inv)
	if !inv.Clean {
		t.Error("verify does not call the cluster clean")
	}

	after := cluster.Settled(t)
	nothingElse(t, compare.Offboarding(before, installed, after, owned))

	t.Run("again", func(t *testing.T) {
		cluster.Unchanged(t, func() {
			r := admin.Expect(t, 0, "offboard", "--yes")
			if !strings.Contains(strings.ToLower(r.Stdout), "nothing") {
				t.Errorf("it does not say that there is nothing to do: %s", r)
			}
			admin.Expect(t, 0, "offboard", "--yes", "-o", "json").Document(t, &printer.Report{})
			admin.Expect(t, 0, "offboard", "--dry-run=client", "-o", "json").Document(t, &printer.Plan{})
		})
	})
}

// A read-only cluster is a shorter plan, here confirmed by hand.
func TestOffboardReadOnlyCluster(t *testing.T) {
	before := cluster.Snapshot(t)
	installed := cluster.Install(t, fixtures.Agent)
	screen := admin.Typed(t, 0, []string{"castai-test"}, append([]string{"offboard"}, quick...)...)
	want := "Clean: nothing of Cast AI's is in castai-test."
	look, err := admin.Kubectl(t.Context(), "get", "deployments", "-n", "castai-agent-docs", "--ignore-not-found", "-o",
		"name")
	if err != nil {
		t.Fatal(err)
	}
	if look.Stdout != "" { // one of the look-alikes of other tests runs what Cast AI publishes
		want = "Nothing is proven to be Cast AI's in castai-test, but 1 workload runs what Cast AI publishes: Deployment.apps/castai-agent-docs/castai-agent-docs."
	}
	if !strings.Contains(strings.Join(strings.Fields(screen), " "), want) {
		t.Errorf("it does not end with %q:\n%s", want, screen)
	}
	admin.Expect(t, 0, "verify")
	after := cluster.Settled(t)
	nothingElse(t, compare.Offboarding(before, installed, after, refs(t, fixtures.OwnedRefs, fixtures.Agent)))
}
