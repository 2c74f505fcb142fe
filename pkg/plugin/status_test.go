package plugin

import (
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

const deployment = "Deployment.apps/castai-agent/castai-agent"

// status only reads, and says whose each object is.
func TestStatus(t *testing.T) {
	for name, test := range map[string]struct {
		args string
		code int
		says string
	}{
		"all":                     {"status", ExitOK, "castai-agent"},
		"with the evidence":       {"status -o wide", ExitOK, "helm.sh/chart"},
		"names":                   {"status -o name", ExitOK, "deployment.apps/castai-agent"},
		"a document":              {"status -o json", ExitOK, `"kind": "Inventory"`},
		"one field":               {"status -o jsonpath={.kind}", ExitOK, "Inventory"},
		"what stays":              {"status --why-not", ExitOK, ""},
		"what stays, as document": {"status --why-not -o json", ExitOK, `"kind": `},
		"one object":              {"status " + deployment, ExitOK, "castai-agent"},
		"by its kind":             {"status deployment castai-agent -n castai-agent", ExitOK, "castai-agent"},
		"as a document":           {"status " + deployment + " -o json", ExitOK, `"owned"`},
		"somebody else's":         {"status Namespace/default -o json", ExitOK, `"foreign"`},
		"one that is not there":   {"status deployment nothing -n castai-agent", ExitUsage, "nothing"},
		"a namespace of trust":    {"status --trust-namespace=castai-agent", ExitOK, "castai-agent"},
		"no name of a namespace":  {"status --trust-namespace=-", ExitUsage, "--trust-namespace"},
		"two clusters, one object": {"status --all-contexts deployment castai-agent", ExitUsage,
			"--context"},
		"all contexts":             {"status --all-contexts", ExitOK, "test"},
		"all contexts, a document": {"status --all-contexts -o json", ExitOK, `"context"`},
		"a wrong id":               {"status --cluster-id=x", ExitUsage, "not an id"},
		"a wrong address":          {"status --api-url=ftp://x", ExitUsage, "--api-url"},
		"a color":                  {"status --color=pink", ExitUsage, "pink"},
		"something is left":        {"verify", ExitLeft, "castai-agent"},
		"left, as a document":      {"verify -o json", ExitLeft, `"castai-agent"`},
		"left, of all contexts":    {"verify --all-contexts", ExitLeft, "context test"},
		"an unknown blocker":       {"offboard --accept=fate", ExitUsage, "fate"},
		"a plan":                   {"offboard --dry-run=client", ExitOK, "castai-agent"},
		"a plan in full":           {"offboard --dry-run=client -o wide", ExitOK, "helm.sh/chart"},
		"nobody can be asked":      {"offboard", ExitRefused, "--yes"},
		"built in":                 {"offboard --yes --include=Namespace/default", ExitRefused, "built in"},
		"include what is not there": {"offboard --yes --include=ConfigMap/default/no", ExitUsage,
			"ConfigMap/default/no"},
		"a key is needed":      {"offboard --console --yes", ExitUsage, "--api-key-file"},
		"nodes without a key":  {"offboard --delete-nodes --yes", ExitUsage, "need --console"},
		"no such key":          {"status --api-key-file=nowhere", ExitUsage, "nowhere"},
		"backups of nobody":    {"restore", ExitOK, ""},
		"backups, a document":  {"restore -o json", ExitOK, `"kind": `},
		"a backup that is not": {"restore nowhere", ExitUsage, "nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			out, code := s.run(strings.Fields(test.args)...)
			if code != test.code || !strings.Contains(out, test.says) {
				t.Errorf("exit code %d: %s", code, out)
			}
			if len(s.Writes()) > 0 {
				t.Errorf("it writes %v", s.Writes())
			}
		})
	}
}

// A kind that can't be read is no proof that nothing is left.
func TestVerifyOfWhatCantBeRead(t *testing.T) {
	s := siteOf(t, clustertest.Serve(t))
	if out, code := s.run("verify"); code != ExitOK {
		t.Fatalf("an empty cluster: exit code %d: %s", code, out)
	}
	s.Before(func(r *clustertest.Request) clustertest.Fault {
		if r.Verb == "list" && r.Resource == "daemonsets" {
			return clustertest.Fault{Err: apierrors.NewForbidden(schema.GroupResource{Resource: r.Resource}, "", nil)}
		}
		return clustertest.Fault{}
	})
	if out, code := s.run("verify"); code == ExitOK || !strings.Contains(out, "daemonsets") {
		t.Errorf("exit code %d: %s", code, out)
	}
	out, code := s.run("offboard", "--yes")
	if code != ExitRefused || !strings.Contains(out, "castai-offboard-read") || len(s.Writes()) > 0 {
		t.Errorf("offboard: exit code %d: %s", code, out)
	}
}

// The server judges all of the plan, and does none of it.
func TestOffboardChecks(t *testing.T) {
	s := newSite(t)
	before := s.Refs()
	out, code := s.run("offboard", "--dry-run=server", "-o", "json", "-q")
	if code != ExitOK || !slices.Equal(before, s.Refs()) || len(s.Writes()) == 0 || len(s.changes()) > 0 {
		t.Errorf("exit code %d, %v: %s", code, s.changes(), out)
	}
	s.Before(func(r *clustertest.Request) clustertest.Fault {
		if r.Verb == "delete" {
			return clustertest.Fault{Err: apierrors.NewForbidden(schema.GroupResource{Resource: r.Resource}, r.Name, nil)}
		}
		return clustertest.Fault{}
	})
	if out, code := s.run("offboard", "--dry-run=server"); code != ExitFailed || !strings.Contains(out, "refused") {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// What was removed comes back with what it was, and only into its own cluster.
func TestRestore(t *testing.T) {
	s := newSite(t)
	role := cluster.Ref{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "castai-agent"}
	labels := s.Get(role).GetLabels()
	fast := []string{"offboard", "--yes", "--settle=0s", "--clean-up-timeout=0s", "--backup-dir=saved"}
	if out, code := s.run(fast...); code != ExitOK || s.Get(role) != nil {
		t.Fatalf("exit code %d: %s", code, out)
	}
	for _, test := range []struct {
		args string
		code int
		says string
	}{
		{"restore", ExitOK, "saved"},
		{"restore saved --dry-run=client", ExitOK, "castai-agent"},
		{"restore saved --dry-run=client -o yaml", ExitOK, "castai-agent"},
		{"restore saved --dry-run=server", ExitOK, "can't be checked before"},
		{"restore saved", ExitRefused, "--yes"},
		{"restore saved --yes --digest=sha256:0", ExitRefused, "sha256:0"},
	} {
		if out, code := s.run(strings.Fields(test.args)...); code != test.code || !strings.Contains(out, test.says) ||
			s.Get(role) != nil {
			t.Errorf("%s: exit code %d: %s", test.args, code, out)
		}
	}
	saved := s.dir + "/saved"
	other := newSite(t) // another administrator, of another cluster
	if out, code := other.run("restore", saved, "--yes"); code != ExitRefused || len(other.Writes()) > 0 {
		t.Errorf("into another cluster: exit code %d: %s", code, out)
	}
	other.config = s.config // the same cluster, where nobody remembers the backup
	if out, code := other.run("restore", saved, "--yes"); code != ExitRefused || s.Get(role) != nil ||
		!strings.Contains(out, "--digest") {
		t.Errorf("what nobody vouches for: exit code %d: %s", code, out)
	}
	s.Forbid = func(r *clustertest.Request) bool { return r.Verb == "create" && r.Resource == "clusterroles" }
	if out, code := other.run("restore", saved, "--yes", "--accept-edits"); code != ExitRefused || s.Get(role) != nil ||
		!strings.Contains(out, "castai-restore") {
		t.Errorf("without the right: exit code %d: %s", code, out)
	}
	s.Forbid = nil
	out, code := other.run("restore", saved, "--yes", "--accept-edits", "-o", "json", "--audit-file=record")
	if code != ExitOK || s.Get(role) == nil || !strings.Contains(out, `"kind": `) {
		t.Fatalf("exit code %d: %s", code, out)
	}
	for name, value := range labels {
		if s.Get(role).GetLabels()[name] != value {
			t.Errorf("the label %s was %s, and is %q", name, value, s.Get(role).GetLabels()[name])
		}
	}
	writes := len(s.changes())
	if out, code := other.run("restore", saved, "--yes", "--accept-edits"); code != ExitOK || len(s.changes()) > writes {
		t.Errorf("all is back: exit code %d, %v: %s", code, s.changes()[writes:], out)
	}
}

// What the server does not take back is not passed over.
func TestRestoreThatTheServerRefuses(t *testing.T) {
	s := newSite(t)
	if out, code := s.run("offboard", "--yes", "--settle=0s", "--clean-up-timeout=0s", "--backup-dir=saved"); code != ExitOK {
		t.Fatalf("exit code %d: %s", code, out)
	}
	s.Before(func(r *clustertest.Request) clustertest.Fault {
		if r.Resource == "clusterroles" && r.IsWrite() {
			return clustertest.Fault{Err: apierrors.NewForbidden(schema.GroupResource{Resource: r.Resource}, r.Name, nil)}
		}
		return clustertest.Fault{}
	})
	out, code := s.run("restore", "saved", "--yes")
	if code != ExitLeft || !strings.Contains(out, "refused by the server: 1") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if out, code := s.run("restore", "saved", "--dry-run=server"); code != ExitFailed {
		t.Errorf("checked by the server: exit code %d: %s", code, out)
	}
}

// What TAB offers is what is there.
func TestSuggestions(t *testing.T) {
	s := newSite(t)
	s.Put(deleting("Namespace", "", "shop"), deleting("ConfigMap", "shop", "held", "example.com/hold"))
	for _, test := range []struct {
		typed string
		want  []string
	}{
		{"status |Deplo", []string{"Deployment.apps/"}},
		{"status |Deployment.apps/", []string{deployment}},
		{"status |Deployment/", []string{"Deployment/castai-agent/castai-agent"}},
		{"offboard --exclude |ClusterRole/", []string{"ClusterRole/castai-agent"}},
		{"offboard --accept |", nil},
		{"offboard --trust-namespace |castai", []string{"castai-agent"}},
		{"offboard --color |n", []string{"never"}},
		{"status --context |", []string{"test"}},
		{"status --cluster |t", []string{"test"}},
		{"status -n |kube-s", []string{"kube-system"}},
		{"unstick-ns |", []string{"shop"}},
		{"unstick-ns shop --finalizer |", []string{"example.com/hold"}},
		{"unstick-ns --finalizer |exa", []string{"example.com/hold"}},
		{"unstick-ns shop --remove-apiservice |", nil},
		{"unstick -n shop |configmaps/", []string{"configmaps/held"}},
		{"unstick -n shop configmaps |", []string{"held"}},
		{"unstick -n shop |frobs/", nil},
		{"unstick -n shop |conf", nil},
		{"hibernate install --time-zone |UT", []string{"UTC"}},
	} {
		before, begin, _ := strings.Cut(test.typed, "|")
		args := append([]string{"__complete", "--kubeconfig=" + s.config}, strings.Fields(before)...)
		out, err := invoke(t, "kubectl castai", append(args, begin)...)
		if err != nil {
			t.Fatal(err)
		}
		list, _, _ := strings.Cut(out, ":")
		if got := strings.Fields(list); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, not %q", test.typed, got, test.want)
		}
	}
	if len(s.changes()) > 0 {
		t.Errorf("it writes %v", s.changes())
	}
}
