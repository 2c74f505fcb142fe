package e2e

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/castai/kubectl-castai/pkg/printer"
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
	before := snapshot(t)
	installed := install(t, fixtures.All, fixtures.Foreign)
	owned := refs(t, fixtures.OwnedRefs, fixtures.All, fixtures.Foreign)

	t.Run("status", func(t *testing.T) {
		var inv printer.Inventory
		unchanged(t, func() { document(t, castai(t, admin, 0, "status", "-o", "json"), &inv) })
		found := ids(inv.Owned)
		for _, want := range owned {
			if !slices.Contains(found, want) {
				t.Errorf("%s is Cast AI's, but status does not say so", want)
			}
		}
		for _, other := range slices.Concat(refs(t, fixtures.ForeignRefs, fixtures.All, fixtures.Foreign), refs(t, fixtures.UnclearRefs, fixtures.Foreign)) {
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
		castai(t, admin, 0, "status")
		castai(t, admin, 0, "status", "-o", "wide")
		var e printer.Explanation
		document(t, castai(t, admin, 0, "status", "ClusterRole/castai-agent", "-o", "json"), &e)
		if e.Verdict != "owned" || len(e.For) == 0 {
			t.Errorf("ClusterRole/castai-agent is explained as %+v", e)
		}
	})

	t.Run("dry run on the client", func(t *testing.T) {
		var plan printer.Plan
		unchanged(t, func() {
			document(t, castai(t, admin, 0, "offboard", "--dry-run=client", "-o", "json"), &plan)
			castai(t, admin, 0, "offboard", "--dry-run=client")
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
		unchanged(t, func() {
			document(t, castai(t, admin, 0, "offboard", "--dry-run=server", "-o", "json"), &report)
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
		unchanged(t, func() {
			r := castai(t, admin, 3, "offboard")
			message(t, r.Stderr, "--yes")

			r = castai(t, admin.Kubeconfig(reader), 3, "offboard", "--yes")
			if !strings.Contains(r.Stderr, "kind: ClusterRole") {
				t.Errorf("no ClusterRole is printed: %s", r)
			}

			screen := typed(t, "another-cluster", 3, "offboard")
			if !strings.Contains(screen, "nothing was changed") {
				t.Errorf("the terminal shows:\n%s", screen)
			}

			r = castai(t, admin, 2, "offboard", "--yes", "--include=Gadget/nonsense")
			message(t, r.Stderr, "Gadget")
			castai(t, admin, 4, "verify")
		})
	})

	var report printer.Report
	document(t, castai(t, admin, 0, append([]string{"offboard", "--yes", "-o", "json"}, quick...)...), &report)
	if len(report.Left) > 0 || report.Error != "" {
		t.Errorf("the report has %d objects left, and the error %q", len(report.Left), report.Error)
	}
	castai(t, admin, 0, "verify")
	var inv printer.Inventory
	document(t, castai(t, admin, 0, "verify", "-o", "json"), &inv)
	if !inv.Clean {
		t.Error("verify does not call the cluster clean")
	}

	after, err := compare.Settled(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	nothingElse(t, compare.Offboarding(before, installed, after, owned))

	t.Run("again", func(t *testing.T) {
		unchanged(t, func() {
			r := castai(t, admin, 0, "offboard", "--yes")
			if !strings.Contains(strings.ToLower(r.Stdout), "nothing") {
				t.Errorf("it does not say that there is nothing to do: %s", r)
			}
			document(t, castai(t, admin, 0, "offboard", "--yes", "-o", "json"), &printer.Report{})
			document(t, castai(t, admin, 0, "offboard", "--dry-run=client", "-o", "json"), &printer.Plan{})
		})
	})
}

// A read-only cluster is a shorter plan, here confirmed by hand.
func TestOffboardReadOnlyCluster(t *testing.T) {
	before := snapshot(t)
	installed := install(t, fixtures.Agent)
	screen := typed(t, "castai-test", 0, append([]string{"offboard"}, quick...)...)
	if !strings.Contains(screen, "Clean") {
		t.Errorf("the terminal shows:\n%s", screen)
	}
	castai(t, admin, 0, "verify")
	after, err := compare.Settled(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	nothingElse(t, compare.Offboarding(before, installed, after, refs(t, fixtures.OwnedRefs, fixtures.Agent)))
}
