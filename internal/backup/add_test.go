package backup

import (
	"errors"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// entry returns what a backup on disk says of an object, and the object.
func entry(t *testing.T, dir string, r cluster.Ref) (*Entry, *unstructured.Unstructured) {
	t.Helper()
	b, err := Open(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	for i := range b.Index.Objects {
		if e := &b.Index.Objects[i]; e.Ref == r {
			u, err := b.object(e)
			if err != nil {
				t.Fatal(err)
			}
			return e, u
		}
	}
	return nil, nil
}

var (
	secret     = cluster.Ref{Kind: "Secret", Namespace: "castai-agent", Name: "castai-agent"}
	deployment = cluster.Ref{Group: "apps", Kind: "Deployment", Namespace: "castai-agent", Name: "castai-agent"}
)

// written makes a backup of the world, whose objects are at resourceVersion 1.
func written(t *testing.T) (*content, *Saved, func() error) {
	t.Helper()
	c, inv, plan := world(t)
	for _, u := range c.objects {
		u.SetResourceVersion("1")
	}
	s, err := Write(t.Context(), c, inv, plan, Options{Dir: filepath.Join(t.TempDir(), "b")})
	if err != nil {
		t.Fatal(err)
	}
	return c, s, func() error {
		for i := range plan.Phases {
			for j := range plan.Phases[i].Actions {
				target := &plan.Phases[i].Actions[j].Target
				if u := c.objects[target.Ref]; u != nil {
					target.ResourceVersion, target.UID = u.GetResourceVersion(), u.GetUID()
				}
			}
		}
		return s.Add(t.Context(), c, inv, plan)
	}
}

func TestAddSavesWhatChanged(t *testing.T) {
	c, s, add := written(t)
	changed := c.objects[secret]
	changed.SetResourceVersion("7")
	changed.Object["data"] = map[string]any{"API_KEY": "bmV3"}
	if err := add(); err != nil {
		t.Fatal(err)
	}
	e, u := entry(t, s.Dir, secret)
	if key, _, _ := unstructured.NestedString(u.Object, "data", "API_KEY"); key != "bmV3" || e.ResourceVersion != "7" ||
		e.Later != 1 {
		t.Errorf("saved is %q of %s, for the %d. time", key, e.ResourceVersion, e.Later)
	}
	if e, _ := entry(t, s.Dir, deployment); e.Later != 0 || len(e.Patches) == 0 {
		t.Errorf("the Deployment, which did not change, is %+v", e)
	}
	if got := s.Versions()[changed.GetUID()]; got != "7" {
		t.Errorf("version %s", got)
	}
}

// What was stopped is saved as it was before, with what it had when it was
// stopped.
func TestAddKnowsWhatWasStopped(t *testing.T) {
	c, s, add := written(t)
	stopped := c.objects[deployment]
	stopped.SetResourceVersion("2")
	stopped.SetAnnotations(map[string]string{"castai.kubectl.dev/stopped": "5"})
	if err := unstructured.SetNestedField(stopped.Object, int64(0), "spec", "replicas"); err != nil {
		t.Fatal(err)
	}
	if err := add(); err != nil {
		t.Fatal(err)
	}
	e, u := entry(t, s.Dir, deployment)
	if replicas, _, _ := unstructured.NestedInt64(u.Object, "spec", "replicas"); replicas != 5 {
		t.Errorf("%d replicas are saved", replicas)
	}
	st := compare(e, u, stopped)
	if len(st.changed) > 0 || len(st.undo) == 0 {
		t.Errorf("restore would undo %v, and calls %v changed", st.undo, st.changed)
	}
}

// What has gone since stays in the backup.
func TestAddKeepsWhatIsGone(t *testing.T) {
	c, s, add := written(t)
	delete(c.objects, secret)
	if err := add(); err != nil {
		t.Fatal(err)
	}
	if e, _ := entry(t, s.Dir, secret); e == nil {
		t.Error("the Secret is no longer in the backup")
	}
}

// A backup is whole, of the state before, when adding to it fails.
func TestAddThatFailsLeavesTheBackupWhole(t *testing.T) {
	c, s, add := written(t)
	for _, u := range c.objects {
		u.SetResourceVersion("2")
	}
	c.fail = errors.New("the server is gone")
	if err := add(); err == nil {
		t.Fatal("no error")
	}
	if e, _ := entry(t, s.Dir, secret); e == nil || e.ResourceVersion != "1" {
		t.Errorf("the Secret is %+v", e)
	}
}

func TestAgainSavesOneObject(t *testing.T) {
	c, s, _ := written(t)
	u := c.objects[secret]
	target := s.writer.entries[secret].Target
	for _, version := range []string{"2", "3"} {
		u.SetResourceVersion(version)
		target.ResourceVersion = version
		if err := s.Again(t.Context(), c, engine.Action{Verb: engine.Delete, Target: target}); err != nil {
			t.Fatal(err)
		}
		if e, _ := entry(t, s.Dir, secret); e.ResourceVersion != version {
			t.Errorf("version %s is saved, not %s", e.ResourceVersion, version)
		}
	}
	target.Name = "unknown"
	if err := s.Again(t.Context(), c, engine.Action{Verb: engine.Delete, Target: target}); err == nil {
		t.Error("what is not in the plan is saved")
	}
}
