package plugin

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/internal/audit"
	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// role is a ClusterRole of Cast AI's, of a chart that is installed.
func role(name string) string {
	return `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: ` + name + `
  labels: {helm.sh/chart: castai-agent-0.111.0, app.kubernetes.io/name: castai-agent}
  annotations: {meta.helm.sh/release-name: castai-agent, meta.helm.sh/release-namespace: castai-agent}
---`
}

// laterParts are a role of Cast AI's and its binding that come after the plan.
var laterParts = role("castai-later") + binding("castai-later")

func binding(name string) string {
	return `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: ` + name + `
  labels: {helm.sh/chart: castai-agent-0.111.0, app.kubernetes.io/name: castai-agent}
  annotations: {meta.helm.sh/release-name: castai-agent, meta.helm.sh/release-namespace: castai-agent}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: ` + name + `}
subjects: [{kind: ServiceAccount, name: castai-agent, namespace: castai-agent}]
---`
}

// installation is what the role needs to be Cast AI's.
const installation = `
apiVersion: v1
kind: Namespace
metadata: {name: castai-agent}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: castai-agent
  namespace: castai-agent
  labels: {helm.sh/chart: castai-agent-0.111.0, app.kubernetes.io/name: castai-agent}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: castai-agent
  namespace: castai-agent
  labels: {helm.sh/chart: castai-agent-0.111.0, app.kubernetes.io/name: castai-agent}
spec:
  replicas: 2
  selector: {matchLabels: {app.kubernetes.io/name: castai-agent}}
  template:
    metadata: {labels: {app.kubernetes.io/name: castai-agent}}
    spec:
      serviceAccountName: castai-agent
      containers: [{name: agent, image: us-docker.pkg.dev/castai-hub/library/agent:v0.60.0}]
`

// site is a cluster with an installation, and where an administrator works.
type site struct {
	*clustertest.Server
	t      *testing.T
	config string
	dir    string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := clustertest.ServeManifest(t, role("castai-agent")+binding("castai-agent")+installation)
	home := cluster.Ref{Kind: "Namespace", Name: "castai-agent"}
	s.Before(func(*clustertest.Request) clustertest.Fault { // the namespace controller
		if ns := s.Get(home); ns != nil && ns.GetDeletionTimestamp() != nil {
			for _, text := range s.Refs() {
				if r, err := cluster.ParseRef(text); err == nil && r.Namespace == home.Name {
					s.Drop(r)
				}
			}
			s.Drop(home)
		}
		return clustertest.Fault{}
	})
	return siteOf(t, s)
}

// siteOf is where an administrator of a cluster works: a folder of its own, without
// the environment's API key.
func siteOf(t *testing.T, s *clustertest.Server) *site {
	t.Helper()
	dir := t.TempDir()
	for name, value := range map[string]string{"HOME": dir, castai.EnvKey: "", castai.EnvToken: ""} {
		t.Setenv(name, value)
	}
	t.Chdir(dir)
	return &site{s, t, s.Kubeconfig(), dir}
}

// run runs a command in the folder, and returns what it prints and its exit code.
func (s *site) run(args ...string) (string, int) {
	s.t.Helper()
	out, err := invoke(s.t, "kubectl castai", append(args, "--kubeconfig="+s.config)...)
	if err != nil {
		out += "\n" + err.Error()
	}
	return out, ExitCode(err)
}

// plan makes a plan file.
func (s *site) plan() (file string) {
	s.t.Helper()
	out, code := s.run("offboard", "--dry-run=client", "-o", "json", "-q")
	if code != ExitOK {
		s.t.Fatal(out)
	}
	file = filepath.Join(s.dir, "plan.json")
	if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return file
}

func (s *site) apply(file string, more ...string) (string, int) {
	s.t.Helper()
	return s.run(append([]string{"offboard", "--plan=" + file, "--yes", "--settle=0s", "--clean-up-timeout=0s"},
		more...)...)
}

func TestPlanFile(t *testing.T) {
	s := newSite(t)
	file := s.plan()
	record := filepath.Join(s.dir, "record")
	out, code := s.apply(file, "-o", "json", "-q", "--backup-dir=saved", "--audit-file="+record)
	if code != ExitOK {
		t.Fatalf("exit code %d: %s", code, out)
	}
	if s.Get(cluster.Ref{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "castai-agent"}) != nil {
		t.Error("the role is there")
	}
	var report struct {
		PlanDigest, Backup string
		Audit              []string
	}
	var plan struct{ Digest string }
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, document, _ := strings.Cut(out, "\n{")
	document, _, _ = strings.Cut(document, "\n}")
	if err := json.Unmarshal([]byte("{"+document+"}"), &report); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if err := json.Unmarshal(raw, &plan); err != nil || plan.Digest == "" || report.PlanDigest != plan.Digest {
		t.Errorf("%v: the digest of the plan is %q, and in the report %q", err, plan.Digest, report.PlanDigest)
	}
	if report.Backup != "saved" || len(report.Audit) != 2 {
		t.Errorf("the report does not say where everything is: %+v", report)
	}
	for _, name := range []string{record, filepath.Join("saved", audit.FileName)} {
		raw, err := os.ReadFile(name)
		if err != nil || strings.Count(string(raw), `"type":"answer"`) != len(s.Writes()) {
			t.Errorf("%v: %s does not have an answer for each of %d writes", err, name, len(s.Writes()))
		}
		if text := string(raw); !strings.Contains(text, plan.Digest) || !strings.Contains(text, clustertest.UserName) ||
			!strings.Contains(text, `"type":"end"`) {
			t.Errorf("%s does not say who, what, or that it ended: %s", name, text)
		}
	}
}

// What is different from the plan file is shown, and nothing is changed.
func TestPlanFileOfAnotherState(t *testing.T) {
	for name, test := range map[string]struct {
		change func(s *site, file string) (newFile string)
		says   string
	}{
		"one more object": {func(s *site, file string) string {
			objects, err := clustertest.Parse([]byte(laterParts))
			if err != nil {
				t.Fatal(err)
			}
			s.Put(objects...)
			return file
		}, "now also: delete ClusterRole.rbac.authorization.k8s.io/castai-later"},
		"one less": {func(s *site, file string) string {
			s.Drop(cluster.Ref{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "castai-agent"})
			return file
		}, "no longer: delete ClusterRole.rbac.authorization.k8s.io/castai-agent"},
		"edited": {func(_ *site, file string) string {
			rewrite(t, file, `"name": "castai-agent"`, `"name": "cluster-admin"`)
			return file
		}, "somebody has changed it"},
		"another cluster": {func(_ *site, _ string) string {
			return newSite(t).plan()
		}, "is for another cluster"},
		"not a plan": {func(_ *site, file string) string {
			rewrite(t, file, `"kind": "Plan"`, `"kind": "Report"`)
			return file
		}, "it is not a plan"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			out, code := s.apply(test.change(s, s.plan()))
			if code != ExitRefused || !strings.Contains(out, test.says) {
				t.Errorf("exit code %d: %s", code, out)
			}
			if writes := s.Writes(); len(writes) > 0 {
				t.Errorf("it writes: %v", writes)
			}
		})
	}
}

func rewrite(t *testing.T, file, old, text string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(raw), old, text)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Nothing is changed where the record of it can't be written.
func TestAuditFileThatCantBeWritten(t *testing.T) {
	s := newSite(t)
	out, code := s.run("offboard", "--yes", "--audit-file="+filepath.Join(s.dir, "missing", "record"))
	if code != ExitRefused || !strings.Contains(out, "the audit record can't be written, so nothing was changed") ||
		len(s.Writes()) > 0 {
		t.Errorf("exit code %d, %d writes: %s", code, len(s.Writes()), out)
	}
}
