package plugin

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// deleting returns an object whose deletion was asked for an hour ago.
func deleting(kind, namespace, name string, finalizers ...string) *unstructured.Unstructured {
	u := clustertest.Object("v1", kind, namespace, name)
	at := metav1.NewTime(time.Now().Add(-time.Hour))
	u.SetDeletionTimestamp(&at)
	u.SetFinalizers(finalizers)
	u.SetManagedFields([]metav1.ManagedFieldsEntry{{
		Manager: "kubectl-create", Operation: metav1.ManagedFieldsOperationUpdate, FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1("{}"),
	}})
	return u
}

// balancer is the finalizer of the service controller: it guards a load balancer.
const balancer = "service.kubernetes.io/load-balancer-cleanup"

// stuckSite has a namespace that a dead controller's finalizer holds, one that a
// load balancer holds, and one in which all is well.
func stuckSite(t *testing.T) *site {
	t.Helper()
	return siteOf(t, clustertest.Serve(t,
		deleting("Namespace", "", "shop"),
		deleting("ConfigMap", "shop", "held", "example.com/hold"),
		deleting("Namespace", "", "edge"),
		deleting("Service", "edge", "lb", balancer),
		clustertest.Object("v1", "Namespace", "", "calm"),
		clustertest.Object("v1", "ConfigMap", "calm", "mine"),
	))
}

// has tells whether objects are there.
func (s *site) has(refs ...string) bool {
	return !slices.ContainsFunc(refs, func(r string) bool { return !slices.Contains(s.Refs(), r) })
}

// changes are the writes that were no dry run.
func (s *site) changes() []string {
	return slices.DeleteFunc(s.Writes(), func(w string) bool { return strings.HasSuffix(w, "(dry run)") })
}

// document decodes the JSON document in an output that has progress before it.
func document[T any](t *testing.T, out string) (doc T) {
	t.Helper()
	start := strings.Index("\n"+out, "\n{")
	if start < 0 {
		t.Fatalf("no document in %s", out)
	}
	if err := json.NewDecoder(strings.NewReader(out[start:])).Decode(&doc); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return doc
}

const (
	shop, held = "Namespace/shop", "ConfigMap/shop/held"
	edge, lb   = "Namespace/edge", "Service/edge/lb"
)

func TestUnstickFrees(t *testing.T) {
	s := stuckSite(t)
	out, code := s.run("unstick-ns", "ns/shop", "--yes", "--patience=10ms", "-o", "json", "--backup-dir=saved", "-q")
	if code != ExitOK || s.has(shop) || s.has(held) {
		t.Fatalf("exit code %d, %v: %s", code, s.Refs(), out)
	}
	if !s.has(edge, lb, "Namespace/calm", "ConfigMap/calm/mine") {
		t.Errorf("it touches others: %v", s.Writes())
	}
	for _, w := range s.Writes() {
		if !strings.Contains(w, "shop") {
			t.Errorf("it writes: %s", w)
		}
	}
	if r := document[struct{ Kind string }](t, out); r.Kind == "" {
		t.Errorf("the report has no kind: %s", out)
	}
	restored, code := s.run("restore", "saved", "--dry-run=client")
	if code != ExitOK || !strings.Contains(restored, "held") {
		t.Errorf("the backup can't be read: exit code %d: %s", code, restored)
	}
}

// All of these change nothing.
func TestUnstickOnlyLooks(t *testing.T) {
	for name, test := range map[string]struct {
		args string
		code int
		says string
	}{
		"stuck":                {"unstick-ns shop --diagnose", ExitLeft, "example.com/hold"},
		"as a document":        {"unstick-ns shop --diagnose -o yaml", ExitLeft, "kind: "},
		"all":                  {"unstick-ns --all --diagnose -o json", ExitLeft, balancer},
		"nothing is wrong":     {"unstick-ns calm --diagnose", ExitRefused, "calm"},
		"it is not there":      {"unstick-ns nowhere", ExitRefused, "nowhere"},
		"a plan":               {"unstick-ns shop --dry-run=client", ExitOK, "example.com/hold"},
		"a plan as a document": {"unstick-ns shop --dry-run=client -o json", ExitOK, "example.com/hold"},
		"something outside":    {"unstick-ns edge --yes", ExitRefused, "--finalizer=" + balancer},
		"another finalizer": {"unstick-ns edge --yes --finalizer=example.com/hold --patience=10ms --no-backup",
			ExitUsage, "nothing has the finalizer example.com/hold, only " + balancer},
		"another definition": {"unstick-ns shop --dry-run=client --relax-crd=gears.example.com", ExitOK,
			"no schema of a CustomResourceDefinition gears.example.com refuses anything"},
		"another API": {"unstick-ns shop --dry-run=client --remove-apiservice=v1.nix", ExitOK,
			"no APIService v1.nix is in the way"},
		"one finalizer of two": {"unstick-ns shop --dry-run=client --finalizer=example.com/hold --finalizer=gone/x", ExitOK,
			"nothing has the finalizer gone/x"},
		"another finalizer, of all": {"unstick-ns --all --diagnose --finalizer=gone/x", ExitLeft,
			"nothing has the finalizer gone/x"},
		"another finalizer, of an object": {"unstick configmaps/held -n shop --diagnose --finalizer=gone/x", ExitUsage,
			"nothing has the finalizer gone/x"},
		"nobody can be asked":      {"unstick-ns shop", ExitRefused, "--yes"},
		"no orphans":               {"unstick-ns --orphans --yes", ExitOK, ""},
		"no name":                  {"unstick-ns", ExitUsage, "--all"},
		"a name and all":           {"unstick-ns shop --all", ExitUsage, `"shop"`},
		"an empty name":            {"unstick-ns ns/", ExitUsage, "empty"},
		"force and one finalizer":  {"unstick-ns shop --force --finalizer=x/y", ExitUsage, "--force"},
		"an unknown step":          {"unstick-ns shop --also=everything", ExitUsage, "everything"},
		"two wishes for a backup":  {"unstick-ns shop --no-backup --backup-dir=x", ExitUsage, "--no-backup"},
		"an unknown format":        {"unstick-ns shop -o wide", ExitUsage, "wide"},
		"an object":                {"unstick configmap/held -n shop --diagnose", ExitLeft, "example.com/hold"},
		"an object that is well":   {"unstick configmaps mine -n calm --diagnose", ExitRefused, "mine"},
		"an object that is gone":   {"unstick configmap gone -n calm --yes", ExitRefused, "gone"},
		"no object":                {"unstick", ExitUsage, "TYPE/NAME"},
		"half an object":           {"unstick cm/", ExitUsage, "TYPE/NAME"},
		"a namespace as an object": {"unstick namespaces/shop", ExitUsage, "unstick-ns shop"},
		"an object of no type":     {"unstick frobs/x", ExitUsage, "frobs"},
		"a guarded object":         {"unstick service/lb -n edge --yes", ExitRefused, balancer},
	} {
		t.Run(name, func(t *testing.T) {
			s := stuckSite(t)
			before := s.Refs()
			out, code := s.run(strings.Fields(test.args)...)
			if code != test.code || !strings.Contains(out, test.says) {
				t.Errorf("exit code %d: %s", code, out)
			}
			if len(s.changes()) > 0 || !slices.Equal(before, s.Refs()) {
				t.Errorf("it writes %v", s.changes())
			}
		})
	}
}

// The server judges every write, and none is carried out.
func TestUnstickChecks(t *testing.T) {
	s := stuckSite(t)
	before := s.Refs()
	out, code := s.run("unstick-ns", "shop", "--dry-run=server", "-o", "json")
	if code != ExitOK || !slices.Equal(before, s.Refs()) || len(s.Writes()) == 0 {
		t.Errorf("exit code %d, %v: %s", code, s.Writes(), out)
	}
	for _, w := range s.Writes() {
		if !strings.HasSuffix(w, "(dry run)") {
			t.Errorf("it writes: %s", w)
		}
	}
	s = stuckSite(t)
	probe := func(r *clustertest.Request) bool { return r.DryRun && r.Resource == "configmaps" }
	s.BeforeNth(2, probe, func(r *clustertest.Request) clustertest.Fault { // somebody forbids it after the look
		return clustertest.Fault{Err: apierrors.NewInvalid(schema.GroupKind{Kind: "ConfigMap"}, r.Name, nil)}
	})
	if out, code := s.run("unstick-ns", "shop", "--dry-run=server"); code != ExitFailed {
		t.Errorf("the server refuses all, and it ends with %d: %s", code, out)
	}
}

// With --all, what can't be freed stops nothing else, and is not passed over.
func TestUnstickAll(t *testing.T) {
	s := stuckSite(t)
	out, code := s.run("unstick-ns", "--all", "--yes", "--patience=10ms", "--no-backup")
	if code != ExitLeft || s.has(shop) || !s.has(edge, lb) || !strings.Contains(out, "edge") {
		t.Errorf("exit code %d, %v: %s", code, s.Refs(), out)
	}
	out, code = s.run("unstick-ns", "--all", "--yes", "--patience=10ms", "--no-backup", "--finalizer="+balancer)
	if code != ExitOK || s.has(edge) || s.has(lb) {
		t.Errorf("exit code %d, %v: %s", code, s.Refs(), out)
	}
}

// Content whose namespace is gone is found, and goes.
func TestUnstickOrphans(t *testing.T) {
	s := siteOf(t, clustertest.Serve(t, deleting("ConfigMap", "ghost", "held", "example.com/hold")))
	s.Drop(cluster.Ref{Kind: "Namespace", Name: "ghost"})
	out, code := s.run("unstick-ns", "--orphans", "--yes", "--patience=10ms", "--no-backup")
	if code != ExitOK || s.has("ConfigMap/ghost/held") {
		t.Errorf("exit code %d, %v: %s", code, s.Refs(), out)
	}
}

func TestUnstickObjectFrees(t *testing.T) {
	s := stuckSite(t)
	out, code := s.run("unstick", "configmaps/held", "-n", "shop", "--yes", "--patience=10ms", "--backup-dir=saved")
	if code != ExitOK || s.has(held) || !s.has(shop, edge, lb) {
		t.Errorf("exit code %d, %v: %s", code, s.Refs(), out)
	}
	if w := s.changes(); len(w) != 1 || !strings.Contains(w[0], "configmaps shop/held") {
		t.Errorf("it writes %v", w)
	}
}

// Without the right to a write nothing is begun, and a ClusterRole says what is missing.
func TestUnstickWithoutRights(t *testing.T) {
	s := stuckSite(t)
	s.Forbid = func(r *clustertest.Request) bool { return r.Resource == "namespaces" && r.Subresource == "finalize" }
	out, code := s.run("unstick-ns", "shop", "--yes")
	if code != ExitRefused || len(s.changes()) > 0 || !strings.Contains(out, "castai-unstick-ns") ||
		!strings.Contains(out, "finalize") {
		t.Errorf("exit code %d, %v: %s", code, s.Writes(), out)
	}
}

// A namespace that a living controller holds does not go: that ends with a timeout.
func TestUnstickTimesOut(t *testing.T) {
	s := stuckSite(t)
	s.Before(func(r *clustertest.Request) clustertest.Fault {
		if r.IsWrite() && !r.DryRun {
			return clustertest.Fault{Err: apierrors.NewServerTimeout(schema.GroupResource{Resource: r.Resource}, r.Verb, 1)}
		}
		return clustertest.Fault{}
	})
	out, code := s.run("unstick-ns", "shop", "--yes", "--patience=10ms", "--timeout=300ms", "--no-backup")
	if code != ExitTimeout || !s.has(shop, held) || !strings.Contains(out, "run it again") {
		t.Errorf("exit code %d, %v: %s", code, s.Refs(), out)
	}
}

// A backup that can't be written ends it before the first write.
func TestUnstickWithoutBackup(t *testing.T) {
	s := stuckSite(t)
	out, code := s.run("unstick-ns", "shop", "--yes", "--backup-dir=missing/folder")
	if code != ExitRefused || len(s.changes()) > 0 || !strings.Contains(out, "nothing was changed") {
		t.Errorf("exit code %d, %v: %s", code, s.Writes(), out)
	}
}
