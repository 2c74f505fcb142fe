package unstick

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/finalize"
)

// eventually waits for what no watch shows: that the server acts on an object.
func eventually(t *testing.T, ok func(context.Context) (bool, error)) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, limit, true, ok); err != nil {
		t.Fatal(err)
	}
}

// Case 13: a user who may only look is told every missing right, and nothing
// happens.
func TestWithoutRights(t *testing.T) {
	t.Parallel()
	ns := fresh(t)
	create(t, configMaps, ns, "a", nil, hold)
	create(t, widgets, ns, "w", nil, hold)
	setFinalizers(t, ns, "example.com/meta")
	begin(t, ns)
	if err := server.LetLook(t.Context(), "User", "eve"); err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := server.User("eve")
	if err != nil {
		t.Fatal(err)
	}
	eve, err := connect(t.Context(), kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	o := finalize.Options{}
	missing, err := eve.Missing(t.Context(), finalize.Rights(diagnose(t, o, ns), o))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []cluster.Right{
		{Resource: "configmaps", Verb: "patch", Namespace: ns},
		{Group: "example.com", Resource: "widgets", Verb: "patch", Namespace: ns},
		{Resource: "namespaces", Subresource: "finalize", Verb: "update"},
		{Resource: "namespaces", Verb: "patch"},
	} {
		if !slices.Contains(missing, want) {
			t.Errorf("%+v is not among the missing rights %+v", want, missing)
		}
	}
	was := state(t, namespaces, "", ns) + state(t, configMaps, ns, "a")
	r, err := admin.Kubeconfig(kubeconfig).Castai(t.Context(), "unstick-ns", ns, "--yes")
	if err != nil || r.Code != 3 || !strings.Contains(r.Stderr, "kind: ClusterRole") ||
		!strings.Contains(r.Stderr, "namespaces/finalize") {
		t.Errorf("%v %s", err, r)
	}
	if now := state(t, namespaces, "", ns) + state(t, configMaps, ns, "a"); now != was {
		t.Errorf("changed: %s, was %s", now, was)
	}

	// A user who may not even look gets no wrong answer.
	if kubeconfig, err = server.User("mallory"); err != nil {
		t.Fatal(err)
	}
	r, err = admin.Kubeconfig(kubeconfig).Castai(t.Context(), "unstick-ns", ns, "--yes")
	if err != nil || r.Code != 3 || strings.Contains(r.Stderr, "there is no namespace") ||
		!strings.Contains(r.Stderr, "can't be read") {
		t.Errorf("%v %s", err, r)
	}
	unstick(t, o, ns).freed(t)
}
