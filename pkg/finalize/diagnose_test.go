package finalize

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

func TestDiagnoseRefusals(t *testing.T) {
	for _, tc := range []struct {
		name, namespace string
		build           func(*world)
		reason          Reason
		says            string
	}{
		{"missing", "x", func(*world) {}, NotFound, "there is no namespace x"},
		{"active", "x", func(w *world) { w.add("namespaces", "", "x") }, NotTerminating, "kubectl delete namespace x"},
		{"active with content", "x", func(w *world) {
			w.add("namespaces", "", "x")
			w.add("configmaps", "x", "a", deleting, held("example.com/hold"))
		}, NotTerminating, "orphan its content"},
		{"protected", "kube-node-lease", func(w *world) { w.namespace("kube-node-lease") }, Protected, "heartbeats"},
		{"protected and active", "kube-system", func(w *world) { w.add("namespaces", "", "kube-system") }, Protected,
			"control plane lives in it), so nothing in it is touched: it is not Terminating"},
		{"protected by prefix", "openshift-monitoring", func(w *world) { w.namespace("openshift-monitoring") }, Protected,
			"OpenShift"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, force := range []bool{false, true} {
				w, o := newWorld(), options()
				o.Force = force
				tc.build(w)
				d := diagnose(t, w, tc.namespace, o)
				if d.Refusal == nil || d.Refusal.Reason != tc.reason || !strings.Contains(d.Refusal.Message, tc.says) {
					t.Fatalf("refusal: %+v", d.Refusal)
				}
				if _, err := Plan([]*Diagnosis{d}, nil, o); err == nil {
					t.Error("there is a plan for it")
				}
				if n := Preview([]*Diagnosis{d}, o).Actions(); n > 0 {
					t.Errorf("%d actions for it", n)
				}
			}
		})
	}
	t.Run("nearly protected", func(t *testing.T) {
		w := newWorld()
		w.namespace("openshifty")
		if d := diagnose(t, w, "openshifty", options()); d.Refusal != nil {
			t.Error(d.Refusal)
		}
	})
	t.Run("namespaces can't be listed", func(t *testing.T) {
		w := newWorld()
		w.snap.Unreadable = []cluster.Unreadable{{What: "namespaces", Message: "forbidden", Forbidden: true}}
		_, err := Diagnose(w.obs(), "x", options())
		if no, is := errors.AsType[*Refusal](err); !is || no.Reason != Forbidden ||
			!strings.Contains(no.Message, "can't be read: forbidden; a right that a RoleBinding in a namespace gave goes") {
			t.Error(err)
		}
		w.snap.Unreadable[0].Forbidden = false
		if _, err := Diagnose(w.obs(), "x", options()); err == nil || strings.Contains(err.Error(), "RoleBinding") {
			t.Error(err)
		}
	})
	t.Run("protected ones are explained", func(t *testing.T) {
		w := newWorld()
		w.namespace("kube-node-lease")
		w.add("configmaps", "kube-node-lease", "a", deleting, held("example.com/hold"))
		if d := diagnose(t, w, "kube-node-lease", options()); len(d.Causes) != 1 {
			t.Error(d.Causes)
		}
	})
}

func TestRefusedBlocked(t *testing.T) {
	w := newWorld()
	w.namespace("x")
	w.deadAPI("custom.metrics.k8s.io", "v1")
	w.add("configmaps", "x", "a", deleting, held("example.com/hold"))
	d := diagnose(t, w, "x", options())
	err := Refused([]*Diagnosis{d}, options())
	if err == nil || !strings.Contains(err.Error(), "nothing was changed") ||
		!strings.Contains(err.Error(), "--remove-apiservice=v1.custom.metrics.k8s.io") {
		t.Fatal(err)
	}
	for _, edit := range []func(*Options){
		func(o *Options) { o.Force = true },
		func(o *Options) { o.Partial = true },
		func(o *Options) { o.RemoveAPIServices = []string{"v1.custom.metrics.k8s.io"} },
	} {
		o := options()
		edit(&o)
		if err := Refused([]*Diagnosis{diagnose(t, w, "x", o)}, o); err != nil {
			t.Error(err)
		}
	}
}

func TestConditionsThatLie(t *testing.T) {
	w := newWorld()
	w.namespace("x", conditionsOf("NamespaceContentRemaining", "False", "All content successfully removed"))
	w.add("pods", "x", "p", deleting, onNode("missing"))
	d := diagnose(t, w, "x", options())
	if len(d.Conditions) != 1 || d.Conditions[0].Wrong == "" || d.Conditions[0].Since.IsZero() {
		t.Errorf("%+v", d.Conditions)
	}
}

// TestJSON holds the field names of the document.
func TestJSON(t *testing.T) {
	w, o := newWorld(), options()
	w.namespace("x", conditionsOf("NamespaceFinalizersRemaining", "True",
		"Some content in the namespace has finalizers remaining: example.com/hold in 2 resource instances"))
	w.add("configmaps", "x", "a", deleting, held("example.com/hold"))
	w.add("configmaps", "x", "b", deleting, held("example.com/hold"))
	got, err := json.MarshalIndent(diagnose(t, w, "x", o), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
  "namespace": "x",
  "uid": "namespaces//x",
  "resourceVersion": "1",
  "state": "Terminating",
  "since": "2026-03-01T09:00:00Z",
  "observedAt": "2026-03-01T12:00:00Z",
  "summary": "namespace x is stuck: 2 configmaps wait for the finalizer example.com/hold, which the unknown controller of example.com should have removed (no workload, Lease or role of the cluster points to one)",
  "specFinalizers": [
    "kubernetes"
  ],
  "content": {
    "objects": 2,
    "terminating": 2
  },
  "causes": [
    {
      "type": "Finalizer",
      "summary": "2 configmaps wait for the finalizer example.com/hold, which the unknown controller of example.com should have removed (no workload, Lease or role of the cluster points to one)",
      "action": "clear-finalizers",
      "remedy": "remove this finalizer",
      "command": "kubectl patch configmaps/a -n x --type=merge -p '{\"metadata\":{\"finalizers\":[]}}'",
      "since": "2026-03-01T09:00:00Z",
      "objects": [
        {
          "kind": "ConfigMap",
          "resource": "configmaps",
          "count": 2,
          "names": [
            "a",
            "b"
          ]
        }
      ],
      "finalizer": "example.com/hold",
      "controller": {
        "name": "the unknown controller of example.com",
        "alive": "no",
        "evidence": "no workload, Lease or role of the cluster points to one"
      }
    }
  ],
  "conditions": [
    {
      "type": "NamespaceFinalizersRemaining",
      "status": "True",
      "since": "2026-03-01T09:00:10Z",
      "message": "Some content in the namespace has finalizers remaining: example.com/hold in 2 resource instances",
      "finalizers": {
        "example.com/hold": 2
      }
    }
  ]
}`
	if string(got) != want {
		t.Errorf("got\n%s", got)
	}
}
