package backup

import (
	"path/filepath"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// An interrupted run has stopped the agent and removed its Secret. The next one
// finds it stopped, and changed by somebody since. Both folders together hold
// everything as it was last.
func TestBackupsOfAnInterruptedRunTogether(t *testing.T) {
	c, inv, plan := world(t)
	first, second := filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "second")
	if _, err := Write(t.Context(), c, inv, plan, Options{Dir: first}); err != nil {
		t.Fatal(err)
	}
	agent := c.objects[agentRef]
	_ = unstructured.SetNestedField(agent.Object, int64(0), "spec", "replicas")
	agent.SetAnnotations(map[string]string{"castai.kubectl.dev/stopped": "2"})
	_ = unstructured.SetNestedField(agent.Object, int64(77), "spec", "minReadySeconds")
	secret := agentRef
	secret.Group, secret.Kind = "", "Secret"
	delete(c.objects, secret)
	if _, err := Write(t.Context(), c, inv, plan, Options{Dir: second}); err != nil {
		t.Fatal(err)
	}
	replace(t, first, IndexName, `"time": "2`, `"time": "1`) // long before
	all, err := OpenAll([]string{second, first}, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = CloseAll(all) })
	if all[0].Dir != first {
		t.Errorf("the oldest is %s", all[0].Dir)
	}
	b := Merge(all)
	if len(b.Index.Objects) != len(all[0].Index.Objects) || len(all[1].Index.Objects) != len(all[0].Index.Objects)-1 {
		t.Errorf("%d objects of %d and %d", len(b.Index.Objects), len(all[0].Index.Objects), len(all[1].Index.Objects))
	}
	c.objects = nil
	s, err := b.Look(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.Restore(s, c, RestoreOptions{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if action(r, secret) == nil {
		t.Error("the Secret, which only the first has, does not come back")
	}
	body, err := action(r, agentRef).Content(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n, _, err := unstructured.NestedInt64(body, "spec", "replicas"); err != nil || n != 2 {
		t.Errorf("%d replicas, %v", n, err)
	}
	if n, _, err := unstructured.NestedInt64(body, "spec", "minReadySeconds"); err != nil || n != 77 {
		t.Errorf("what was changed in between is lost: %d, %v", n, err)
	}
}

// What somebody installed anew in between is what was there last.
func TestTheNewestOfWhatWasMadeAnew(t *testing.T) {
	c, inv, plan := world(t)
	first, second := filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "second")
	if _, err := Write(t.Context(), c, inv, plan, Options{Dir: first}); err != nil {
		t.Fatal(err)
	}
	for i := range plan.Phases {
		for j := range plan.Phases[i].Actions {
			if a := &plan.Phases[i].Actions[j]; a.Target.Ref == agentRef {
				a.Target.UID = "new"
			}
		}
	}
	c.objects[agentRef].SetUID("new")
	_ = unstructured.SetNestedField(c.objects[agentRef].Object, int64(5), "spec", "replicas")
	if _, err := Write(t.Context(), c, inv, plan, Options{Dir: second}); err != nil {
		t.Fatal(err)
	}
	replace(t, first, IndexName, `"time": "2`, `"time": "1`)
	all, err := OpenAll([]string{first, second}, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = CloseAll(all) })
	b := Merge(all)
	for i := range b.Index.Objects {
		if e := &b.Index.Objects[i]; e.Ref == agentRef {
			u, err := b.object(e)
			if err != nil {
				t.Fatal(err)
			}
			if n, _, err := unstructured.NestedInt64(u.Object, "spec", "replicas"); err != nil || n != 5 {
				t.Errorf("%d replicas, %v", n, err)
			}
		}
	}
}

func TestBackupsOfDifferentClustersAreNotOne(t *testing.T) {
	first, _ := write(t, Options{})
	second, _ := write(t, Options{})
	replace(t, second, IndexName, `"kubeSystemUID": "`, `"kubeSystemUID": "of-another-`)
	if all, err := OpenAll([]string{first, second}, false); err == nil {
		_ = CloseAll(all)
		t.Error("they are restored together")
	}
}
