package finalize

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

func TestForce(t *testing.T) {
	w, o := newWorld(), options()
	o.Force = true
	ns := w.namespace("x")
	cm := w.add("configmaps", "x", "a", held("example.com/hold"))
	secret := w.add("secrets", "x", "b")
	c := start(t, w, o, "x")
	if got := verbs(c.phase.Actions); !slices.Equal(got, []string{"finalize Namespace/x"}) {
		t.Fatal(got)
	}
	if why := c.phase.Actions[0].Why; !strings.Contains(why, "orphans ConfigMap a and Secret b") {
		t.Error(why)
	}
	if len(c.phase.WaitFor) != 3 {
		t.Errorf("orphans are not waited for: %v", c.phase.WaitFor)
	}
	c.expect("finalize Namespace/x") // somebody wrote it in between
	w.drop(ns)
	c.expect("delete ConfigMap/x/a", "delete Secret/x/b")
	w.drop(secret)
	cm.Deleting = noon
	step, err := c.phase.Next(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := verbs(step.Actions); !slices.Equal(got, []string{"create-namespace Namespace/x"}) {
		t.Fatal(got)
	}
	if step.Patience > time.Second {
		t.Errorf("waits %s for a new namespace", step.Patience)
	}
	note := step.Actions[0].Annotations[HelperAnnotation]
	if !strings.Contains(note, "a test") {
		t.Error(note)
	}
	t.Run("by somebody else", func(t *testing.T) {
		other := w.add("namespaces", "", "x", func(o *cluster.Object) { o.UID = "other" })
		defer w.drop(other)
		if _, err := c.phase.Next(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		c.expect("end")
	})
	t.Run("by another run", func(*testing.T) {
		other := w.add("namespaces", "", "x", func(o *cluster.Object) {
			o.UID, o.Annotations = "other", map[string]string{HelperAnnotation: "by another run"}
		})
		defer w.drop(other)
		c.expect("end")
	})
	helper := w.add("namespaces", "", "x", func(o *cluster.Object) {
		o.UID, o.Annotations = "helper", map[string]string{HelperAnnotation: note}
		o.Body = map[string]any{"spec": map[string]any{"finalizers": []any{"kubernetes"}}}
	})
	c.expect("delete Namespace/x", "strip-finalizers ConfigMap/x/a")
	helper.Deleting = noon
	c.expect("patch Namespace/x", "strip-finalizers ConfigMap/x/a")
	c.expect("end") // it is not finalized with something in it: that would orphan it again
	w.drop(cm)
	c.expect("wait")
	c.expect("patch Namespace/x")
	c.expect("finalize Namespace/x")
	w.drop(helper)
	c.expect("end")
}

func TestSweep(t *testing.T) {
	t.Run("a server that updates in missing namespaces", func(t *testing.T) {
		w := newWorld()
		w.snap.Server.Version = "v1.37.0"
		w.add("configmaps", "x", "a", deleting, held("example.com/hold"))
		w.add("configmaps", "x", "b", held("example.com/hold"))
		c := start(t, w, options(), "x")
		if got := verbs(c.phase.Actions); !slices.Equal(got, []string{"delete ConfigMap/x/b",
			"strip-finalizers ConfigMap/x/a"}) {
			t.Fatal(got)
		}
		if f := c.phase.Actions[1].Finalizers; len(f) == 0 {
			t.Error("deleted without removing its finalizer")
		}
		c.expect("delete ConfigMap/x/b", "strip-finalizers ConfigMap/x/a")
		c.expect("delete ConfigMap/x/b", "strip-finalizers ConfigMap/x/a")
		c.expect("end")
	})
	t.Run("no helper that would get stuck", func(t *testing.T) {
		w, o := newWorld(), options()
		o.Allow = Only("example.com/mine")
		w.add("configmaps", "x", "a", deleting, held("example.com/mine", "example.com/theirs"))
		start(t, w, o, "x").expect("end")
	})
	t.Run("pods", func(t *testing.T) {
		w := newWorld()
		w.add("pods", "x", "p", deleting, onNode("missing"))
		c := start(t, w, options(), "x")
		if g := c.phase.Actions[0].GracePeriodSeconds; g == nil || *g != 0 {
			t.Error("with a grace period that nobody ends")
		}
	})
}
