package offboard_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/offboard"
)

func TestRemove(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := serve(t, "")
		r, err := w.offboard(t)
		if err != nil {
			t.Fatal(err)
		}
		if left := len(r.After.Owned()); left > 0 || len(r.Returned) > 0 || len(w.Writes()) < 10 {
			t.Errorf("%d left, %d returned: %+v", left, len(r.Returned), r.Report.Outcomes)
		}
		if want := "Secret/shop/password"; !w.has(t, want) {
			t.Errorf("%s is gone", want)
		}
		// What is deleted is saved in the state in which it is deleted.
		for _, request := range w.Requests() {
			if request.Verb == "delete" && !strings.Contains(string(request.Body), `"resourceVersion"`) {
				t.Errorf("%s deletes any state: %s", request, request.Body)
			}
		}
	})
}

// stranger is somebody else's Secret in the namespace of Cast AI's.
const stranger = `
apiVersion: v1
kind: Secret
metadata: {name: mine, namespace: castai-agent}
`

// Whenever somebody else's Secret comes before the namespace is asked to go, it
// stays, and the namespace with it: every request from the last lists on, and
// some before.
func TestArrivalsSurviveAtEveryRequest(t *testing.T) {
	asked := 0
	bubble(t, func(t *testing.T) {
		w := serve(t, "")
		if _, err := w.offboard(t); err != nil {
			t.Fatal(err)
		}
		asked = w.askedFor("delete namespaces castai-agent")
	})
	kept := 0
	for n := 1; n < asked; n += max(1, (asked-n)/8) {
		bubble(t, func(t *testing.T) {
			w := serve(t, "")
			window := false // requests come at once: the last list of Secrets may be on its way
			w.BeforeNth(n, func(*clustertest.Request) bool { return true }, func(*clustertest.Request) clustertest.Fault {
				w.add(t, stranger)
				window = w.askedFor("list secrets castai-agent") > 0
				return clustertest.Fault{}
			})
			r, err := w.offboard(t)
			if !w.has(t, "Secret/castai-agent/mine") && !window {
				t.Errorf("before request %d of %d: the Secret is gone (%v)", n, asked, err)
			}
			if err == nil && r.Report.Count(engine.ResultKept) > 0 {
				kept++
			}
		})
	}
	if kept == 0 {
		t.Error("the namespace was never kept at the last moment")
	}
}

// askedFor returns the number of the last request of a kind, 0 if there is none.
func (w *world) askedFor(what string) int {
	for _, r := range slices.Backward(w.Requests()) {
		if strings.HasPrefix(r.String(), what) {
			return r.Number
		}
	}
	return 0
}

// what happens right before the first request of a kind.
func (w *world) when(what string, do func()) {
	w.BeforeNth(1, func(r *clustertest.Request) bool { return strings.HasPrefix(r.String(), what) },
		func(*clustertest.Request) clustertest.Fault {
			do()
			return clustertest.Fault{}
		})
}

func TestNamespaceStaysForWhatCameSince(t *testing.T) {
	volume := `
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk}
spec:
  persistentVolumeReclaimPolicy: %s
  claimRef: {kind: PersistentVolumeClaim, namespace: castai-agent, name: data, uid: claim-1}
`
	for name, test := range map[string]struct {
		arrives string
		stays   bool
	}{
		"a Secret":                    {stranger, true},
		"the data of a claim":         {fmt.Sprintf(volume, "Delete"), true},
		"a volume that is retained":   {fmt.Sprintf(volume, "Retain"), false},
		"a volume that is released":   {fmt.Sprintf(volume, "Delete") + "status: {phase: Released}\n", false},
		"what is in every namespace":  {"{apiVersion: v1, kind: ConfigMap, metadata: {name: kube-root-ca.crt, namespace: castai-agent}}", false},
		"somebody's custom resources": {"{apiVersion: acme.io/v1, kind: Gadget, metadata: {name: g, namespace: castai-agent}}", true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := serve(t, gadgets)
				w.when("delete configmaps castai-agent/castai-agent-autoscaler", func() { w.add(t, test.arrives) })
				r, err := w.offboard(t)
				if err != nil {
					t.Fatal(err)
				}
				if stays := w.has(t, "Namespace/castai-agent"); stays != test.stays {
					t.Errorf("the namespace stays: %v", stays)
				}
				kept := result(r.Report, "Namespace/castai-agent")
				if is := kept.Result == engine.ResultKept; is != test.stays {
					t.Errorf("the outcome is %+v", kept)
				}
				if w.has(t, "Deployment.apps/castai-agent/castai-agent") {
					t.Error("the Deployment is still there")
				}
			})
		})
	}
}

// What somebody took over since it was judged, or what could not be saved in the
// state that it is in, holds its namespace, however late that is seen.
func TestNamespaceStaysForWhatIsKept(t *testing.T) {
	for _, test := range []struct {
		ref, when string
		full      bool
	}{
		{"ConfigMap/castai-agent/castai-agent-autoscaler", "delete configmaps castai-agent/castai-agent-autoscaler", false},
		{"ConfigMap/castai-agent/castai-agent-autoscaler", "delete configmaps castai-agent/castai-agent-autoscaler", true},
		{"ServiceAccount/castai-agent/castai-agent", "delete serviceaccounts castai-agent/castai-agent", false},
		{"Deployment.apps/castai-agent/castai-agent", "delete deployments.apps castai-agent/castai-agent", false},
	} {
		t.Run(fmt.Sprintf("%s, full %t", test.ref, test.full), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := serve(t, "")
				w.when(test.when, func() { w.takeOver(t, test.ref, !test.full); w.saver.full = test.full })
				r, err := w.offboard(t)
				if err != nil {
					t.Fatal(err)
				}
				for _, ref := range []string{test.ref, "Namespace/castai-agent"} {
					if o := result(r.Report, ref); !w.has(t, ref) || o.Result == engine.ResultDone {
						t.Errorf("%s is there: %t; %+v", ref, w.has(t, ref), o)
					}
				}
			})
		})
	}
}

// While anything of an installation is there, what tells where it lives stays: a
// later run finds the rest by it.
func TestRootsStayWhileSomethingIsLeft(t *testing.T) {
	elsewhere := strings.NewReplacer(
		"namespace: castai-agent", "namespace: tools", "metadata: {name: castai-agent}", "metadata: {name: tools}",
		"meta.helm.sh/release-namespace: castai-agent", "meta.helm.sh/release-namespace: tools",
		"  name: castai-agent-autoscaler\n",
		"  name: castai-agent-autoscaler\n  annotations: {meta.helm.sh/release-name: castai-agent, meta.helm.sh/release-namespace: tools}\n",
	).Replace(installed)
	for _, denied := range []string{"configmaps", "deployments", "serviceaccounts", "namespaces", "clusterroles",
		"deployments namespaces", ""} {
		t.Run("denied: "+denied, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := serveAll(t, elsewhere)
				w.Before(func(r *clustertest.Request) clustertest.Fault {
					if r.Verb == "delete" && slices.Contains(strings.Fields(denied), r.Resource) {
						return clustertest.Fault{Err: errors.New("admission webhook denied the request")}
					}
					return clustertest.Fault{}
				})
				r, err := w.offboard(t)
				if err != nil {
					t.Fatal(err)
				}
				o, err := w.runner.Observe(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				left := w.has(t, "ClusterRole.rbac.authorization.k8s.io/castai-agent") || w.has(t, "Namespace/tools")
				if r.After.Clean() == left || o.Clean() == left || (len(o.Owned()) > 0) != left {
					t.Errorf("after: clean %t; a later look: clean %t, %d owned; there is %v", r.After.Clean(), o.Clean(),
						len(o.Owned()), w.Refs())
				}
			})
		})
	}
}

// takeOver changes an object, and makes it part of somebody else's release.
func (w *world) takeOver(t *testing.T, ref string, marks bool) {
	t.Helper()
	r, err := cluster.ParseRef(ref)
	if err != nil {
		t.Fatal(err)
	}
	u := w.Get(r)
	if u == nil {
		t.Fatalf("%s is gone", ref)
	}
	if marks {
		u.SetLabels(map[string]string{"helm.sh/chart": "acme-1.0.0", "app.kubernetes.io/name": "acme"})
		u.SetAnnotations(map[string]string{"meta.helm.sh/release-name": "acme", "meta.helm.sh/release-namespace": "acme"})
	} else {
		u.SetAnnotations(map[string]string{"note": "mine"})
	}
	u.SetResourceVersion("")
	w.Put(u)
}

// gadgets are somebody else's kind.
const gadgets = `
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.acme.io}
spec:
  group: acme.io
  names: {kind: Gadget, plural: gadgets}
  scope: Namespaced
  versions: [{name: v1, served: true, storage: true}]
`

// What can't be read is not deleted unseen, whether that is known from the start
// or only at the end.
func TestNamespaceStaysForWhatCantBeRead(t *testing.T) {
	unreadable := func(r *clustertest.Request) clustertest.Fault {
		if r.Verb == "list" && r.Resource == "gadgets" && (r.Namespace == "" || r.Namespace == "castai-agent") {
			return clustertest.Fault{Err: errors.New("conversion webhook failed")}
		}
		return clustertest.Fault{}
	}
	t.Run("from the start", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := serve(t, gadgets)
			w.Before(unreadable)
			o, err := w.runner.Observe(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			plan, err := w.runner.Plan(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if len(plan.Notes) != 1 || !strings.Contains(plan.Notes[0], "gadgets.acme.io") {
				t.Errorf("the plan says %q", plan.Notes)
			}
			r, err := w.runner.Remove(t.Context(), o, plan)
			if err != nil {
				t.Fatal(err)
			}
			if o := result(r.Report, "Namespace/castai-agent"); o.Result != engine.ResultKept ||
				!strings.Contains(o.Message, "gadgets") {
				t.Errorf("the report says %+v", o)
			}
			if !w.has(t, "Namespace/castai-agent") || w.has(t, "Deployment.apps/castai-agent/castai-agent") {
				t.Errorf("there is %v", w.Refs())
			}
		})
	})
	t.Run("at the end", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := serve(t, gadgets)
			w.when("delete configmaps", func() { w.Before(unreadable) })
			if _, err := w.offboard(t); err != nil {
				t.Fatal(err)
			}
			if !w.has(t, "Namespace/castai-agent") {
				t.Error("the namespace is gone")
			}
		})
	})
}

func TestDefinitionStaysForWhatCameSince(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := serve(t, "")
		w.when("delete clusterroles", func() {
			w.add(t,
				"{apiVersion: autoscaling.cast.ai/v1, kind: Recommendation, metadata: {name: late, namespace: shop, uid: late}}")
		})
		r, err := w.offboard(t)
		if err != nil {
			t.Fatal(err)
		}
		if len(w.saver.saved["late"]) == 0 || len(r.After.Owned()) > 0 {
			t.Errorf("saved %v, left %v", w.saver.saved, w.Refs())
		}
		writes := w.Writes()
		late := slices.Index(writes, "delete recommendations.autoscaling.cast.ai shop/late")
		definition := slices.Index(writes,
			"delete customresourcedefinitions.apiextensions.k8s.io recommendations.autoscaling.cast.ai")
		if late < 0 || definition < late {
			t.Errorf("the definition went first: %v", writes)
		}
	})
}

// What changes hands while Cast AI is being taken out is judged again; what just
// changes is saved again.
func TestChangedObjectsAreJudgedAndSavedAgain(t *testing.T) {
	const role = "ClusterRole.rbac.authorization.k8s.io/castai-agent"
	for name, test := range map[string]struct {
		labels map[string]any
		full   bool
		stays  bool
	}{
		"it changed": {map[string]any{"helm.sh/chart": "castai-agent-0.111.0",
			"app.kubernetes.io/name": "castai-agent", "x": "y"}, false, false},
		"it is somebody else's now": {map[string]any{"helm.sh/chart": "acme-1.0.0"}, false, true},
		"it can't be saved": {map[string]any{"helm.sh/chart": "castai-agent-0.111.0",
			"app.kubernetes.io/name": "castai-agent"}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := serve(t, "")
				r, err := cluster.ParseRef(role)
				if err != nil {
					t.Fatal(err)
				}
				w.when("delete clusterroles.rbac.authorization.k8s.io castai-agent", func() {
					u := w.Get(r)
					_ = unstructured.SetNestedMap(u.Object, test.labels, "metadata", "labels")
					if test.labels["helm.sh/chart"] == "acme-1.0.0" {
						u.SetAnnotations(nil)
					}
					u.SetResourceVersion("")
					w.Put(u)
					w.saver.full = test.full
				})
				if _, err := w.offboard(t); err != nil && !test.full {
					t.Fatal(err)
				}
				if stays := w.has(t, role); stays != test.stays {
					t.Errorf("it stays: %v; %v", stays, w.Writes())
				}
			})
		})
	}
}

// Nothing is deleted if nothing could be saved.
func TestNothingIsDeletedUnsaved(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := serve(t, "")
		w.saver.full = true
		if _, err := w.offboard(t); err == nil {
			t.Error("no error")
		}
		if writes := w.Writes(); len(writes) > 0 {
			t.Errorf("writes: %v", writes)
		}
	})
	bubble(t, func(t *testing.T) { // after the workloads were stopped
		w := serve(t, "")
		w.when("patch deployments.apps castai-agent/castai-agent", func() { w.saver.full = true })
		if _, err := w.offboard(t); err == nil {
			t.Error("no error")
		}
		for _, write := range w.Writes() {
			if strings.HasPrefix(write, "delete ") {
				t.Errorf("unsaved: %s", write)
			}
		}
	})
}

// What Cast AI's operator made while it was being stopped goes, too, and what it
// started is stopped.
func TestWhatCameWhileStoppingGoes(t *testing.T) {
	const late = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: castai-evictor
  labels: {helm.sh/chart: castai-evictor-0.111.0, app.kubernetes.io/name: castai-evictor}
  annotations: {meta.helm.sh/release-name: castai-evictor, meta.helm.sh/release-namespace: castai-agent}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: castai-evictor}
subjects: [{kind: ServiceAccount, name: castai-evictor, namespace: castai-agent}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: castai-evictor
  labels: {helm.sh/chart: castai-evictor-0.111.0, app.kubernetes.io/name: castai-evictor}
  annotations: {meta.helm.sh/release-name: castai-evictor, meta.helm.sh/release-namespace: castai-agent}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: castai-evictor
  namespace: castai-agent
  labels: {helm.sh/chart: castai-evictor-0.111.0, app.kubernetes.io/name: castai-evictor}
spec:
  replicas: 1
  selector: {matchLabels: {app.kubernetes.io/name: castai-evictor}}
  template:
    metadata: {labels: {app.kubernetes.io/name: castai-evictor}}
    spec:
      containers: [{name: evictor, image: us-docker.pkg.dev/castai-hub/library/evictor:v1}]
`
	bubble(t, func(t *testing.T) {
		w := serve(t, "")
		w.when("patch deployments.apps castai-agent/castai-agent", func() { w.add(t, late) })
		r, err := w.offboard(t)
		if err != nil {
			t.Fatal(err)
		}
		if left := r.After.Owned(); len(left) > 0 || len(r.Returned) > 0 {
			t.Errorf("%d left, returned %+v", len(left), r.Returned)
		}
		if !slices.Contains(w.Writes(), "patch deployments.apps castai-agent/castai-evictor") {
			t.Errorf("what came was not stopped: %v", w.Writes())
		}
		if len(w.saver.saved) < 11 {
			t.Errorf("%d objects are saved", len(w.saver.saved))
		}
	})
}

// A person must decide about what came meanwhile, as about what was there before.
func TestNewBlockersEndTheRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := serve(t, "")
		w.when("patch deployments.apps castai-agent/castai-agent", func() {
			w.add(t, `
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: data
  namespace: castai-agent
  labels: {helm.sh/chart: castai-agent-0.111.0, app.kubernetes.io/name: castai-agent}
`)
		})
		_, err := w.offboard(t)
		if !errors.Is(err, offboard.ErrChanged) || !strings.Contains(err.Error(), "data") ||
			!strings.Contains(err.Error(), "1 stopped") {
			t.Errorf("error %v", err)
		}
		for _, write := range w.Writes() {
			if strings.HasPrefix(write, "delete ") {
				t.Errorf("it goes on: %s", write)
			}
		}
	})
}
