package backup

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/offboard"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// content is a cluster that can be read.
type content struct {
	objects map[cluster.Ref]*unstructured.Unstructured
	fail    error
}

func (c *content) Read(ctx context.Context, targets []cluster.Target,
	each func(cluster.Target, *unstructured.Unstructured) error) error {
	for i, t := range targets {
		if c.fail != nil && i == len(targets)/2 {
			return c.fail
		}
		if u := c.objects[t.Ref]; u != nil && (t.UID == "" || t.UID == u.GetUID()) {
			if err := each(t, u.DeepCopy()); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

const castai = `
apiVersion: v1
kind: Namespace
metadata: {name: castai-agent}
spec: {finalizers: [kubernetes]}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: castai-agent, namespace: castai-agent}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: castai-agent}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: castai-agent}
subjects: [{kind: ServiceAccount, name: castai-agent, namespace: castai-agent}]
---
apiVersion: v1
kind: Secret
metadata: {name: castai-agent, namespace: castai-agent, labels: {app.kubernetes.io/name: castai-agent}}
data: {API_KEY: c2VjcmV0}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: castai-agent, namespace: castai-agent, labels: {app.kubernetes.io/name: castai-agent}}
spec:
  replicas: 2
  selector: {matchLabels: {app.kubernetes.io/name: castai-agent}}
  template:
    metadata: {labels: {app.kubernetes.io/name: castai-agent}}
    spec:
      serviceAccountName: castai-agent
      containers: [{name: agent, image: us-docker.pkg.dev/castai-hub/library/agent:v0.153.2}]
---
apiVersion: apps/v1
kind: ReplicaSet
metadata:
  name: castai-agent-1
  namespace: castai-agent
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: castai-agent, uid: Deployment.apps/castai-agent/castai-agent, controller: true}]
spec: {replicas: 2}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: made-by-the-agent
  namespace: castai-agent
  ownerReferences: [{apiVersion: v1, kind: ServiceAccount, name: castai-agent, uid: ServiceAccount/castai-agent/castai-agent}]
data: {a: b}
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: agent-leader-election-lock, namespace: castai-agent}
`

// world is a small cluster with Cast AI, and the plan that removes it.
func world(t *testing.T) (*content, *ownership.Inventory, *engine.Plan) {
	t.Helper()
	return worldOf(t, castai)
}

func worldOf(t *testing.T, manifest string) (*content, *ownership.Inventory, *engine.Plan) {
	t.Helper()
	objects, snap := clustertest.World(t, manifest)
	cat, err := ownership.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	c := &content{objects: map[cluster.Ref]*unstructured.Unstructured{}}
	for _, u := range objects {
		gvk := u.GroupVersionKind()
		ref := cluster.Ref{Group: gvk.Group, Kind: gvk.Kind, Namespace: u.GetNamespace(), Name: u.GetName()}
		for _, o := range snap.Objects {
			if o.Ref() == ref {
				u.SetUID(o.UID)
			}
		}
		c.objects[ref] = u
	}
	inv := ownership.Judge(snap, nil, cat, ownership.Options{})
	plan := offboard.New(inv, cat, offboard.Options{Phase: time.Minute})
	if plan.Actions() < 5 {
		t.Fatalf("the plan has only %d actions", plan.Actions())
	}
	return c, inv, plan
}

// write makes a backup of the small cluster.
func write(t *testing.T, o Options) (dir string, c *content) {
	t.Helper()
	c, inv, plan := world(t)
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "backup")
	}
	if _, err := Write(t.Context(), c, inv, plan, o); err != nil {
		t.Fatal(err)
	}
	return o.Dir, c
}

func TestWrite(t *testing.T) {
	dir, _ := write(t, Options{Tool: "v1"})
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if want := map[bool]fs.FileMode{true: 0o700, false: 0o600}[d.IsDir()]; info.Mode().Perm() != want {
			t.Errorf("%s: %s", path, info.Mode())
		}
		if !d.IsDir() {
			rel, err := filepath.Rel(dir, path)
			files = append(files, filepath.ToSlash(rel))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"cluster/namespaces/castai-agent.yaml",
		"index.json",
		"namespaces/castai-agent/configmaps/made-by-the-agent.yaml",
		"namespaces/castai-agent/deployments.apps/castai-agent.yaml",
		"namespaces/castai-agent/leases.coordination.k8s.io/agent-leader-election-lock.yaml",
		"namespaces/castai-agent/secrets/castai-agent.yaml",
		"namespaces/castai-agent/serviceaccounts/castai-agent.yaml",
	}
	for _, w := range want {
		if !slices.Contains(files, w) {
			t.Errorf("%s is missing in %v", w, files)
		}
	}
	b, err := Open(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	if b.Index.Tool != "v1" || b.Index.Cluster.KubeSystemUID != "test" || len(b.Index.Plan.Phases) == 0 ||
		len(b.Index.Dependents) != 1 {
		t.Errorf("index %+v", b.Index)
	}
	for _, e := range b.Index.Objects {
		if !e.Deleted || len(e.Evidence) == 0 {
			t.Errorf("entry %+v", e)
		}
		if e.Kind == "Lease" && e.NotRestored == "" {
			t.Error("a Lease would be restored")
		}
		if e.Kind == "Deployment" && len(e.Patches) != 1 {
			t.Errorf("patches %v", e.Patches)
		}
	}
}

func TestWriteWithoutSecrets(t *testing.T) {
	dir, _ := write(t, Options{WithoutSecrets: true})
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if strings.Contains(string(raw), "c2VjcmV0") {
			t.Errorf("%s has the data of a Secret", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	if !b.Index.SecretsLeftOut {
		t.Error("the index does not say so")
	}
}

func TestWriteLeavesNothingBehind(t *testing.T) {
	parent := t.TempDir()
	file := filepath.Join(parent, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	full := filepath.Join(parent, "full")
	if err := os.MkdirAll(filepath.Join(full, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(parent, "link")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the server is gone")
	for name, test := range map[string]struct {
		dir  string
		fail error
	}{
		"a file is there":           {file, nil},
		"the parent is a file":      {filepath.Join(file, "backup"), nil},
		"there is no parent":        {filepath.Join(parent, "no", "backup"), nil},
		"a folder is there":         {full, nil},
		"a link is there":           {filepath.Join(parent, "link"), nil},
		"the cluster can't be read": {filepath.Join(parent, "backup"), broken},
	} {
		t.Run(name, func(t *testing.T) {
			c, inv, plan := world(t)
			c.fail = test.fail
			_, err := Write(t.Context(), c, inv, plan, Options{Dir: test.dir})
			if err == nil || test.fail != nil && !errors.Is(err, test.fail) {
				t.Errorf("error %v", err)
			}
		})
	}
	list, err := os.ReadDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 3 {
		t.Errorf("left: %v", list)
	}
}

func TestWriteIntoAnEmptyFolder(t *testing.T) {
	dir := t.TempDir()
	write(t, Options{Dir: dir})
	b, err := Open(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func TestJournal(t *testing.T) {
	dir := t.TempDir()
	phase := &engine.Phase{Name: "stop"}
	for range 2 {
		j, err := OpenJournal(dir)
		if err != nil {
			t.Fatal(err)
		}
		j.Event(engine.Event{Type: engine.PhaseStarted, Phase: phase})
		j.Event(engine.Event{Type: engine.Failed, Phase: phase, Verb: engine.Delete, Err: errors.New("no\nway"),
			Target: cluster.NamespaceTarget("n", "")})
		if err := j.Close(errors.New("timed out")); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, ReportName))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	if len(lines) != 6 {
		t.Fatalf("%d lines:\n%s", len(lines), raw)
	}
	var failed, last Record
	if err := errors.Join(json.Unmarshal([]byte(lines[1]), &failed), json.Unmarshal([]byte(lines[5]), &last)); err != nil {
		t.Fatal(err)
	}
	if failed.Error != "no\nway" || failed.Object == nil || failed.Object.Name != "n" || failed.Phase != "stop" ||
		last.Type != Ended || last.Error != "timed out" {
		t.Errorf("%+v, %+v", failed, last)
	}
}
