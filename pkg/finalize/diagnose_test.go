package finalize

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

func TestDiagnoseCauses(t *testing.T) {
	owned := func(r cluster.Ref) bool {
		return strings.Contains(r.Name, "liqo") || strings.HasPrefix(r.Name, "castai")
	}
	type want struct {
		cause  CauseType
		action Rung
		blocks bool
		says   []string // in summary or remedy
	}
	for _, tc := range []struct {
		name  string
		build func(*world)
		opts  func(*Options)
		want  []want
	}{
		{
			name:  "nothing holds it",
			build: func(w *world) { w.namespace("x") },
			want:  []want{{Progressing, Wait, false, []string{"nothing holds namespace x", "once a minute"}}},
		},
		{
			name: "finalizers of several kinds, by finalizer",
			build: func(w *world) {
				w.namespace("x")
				w.add("configmaps", "x", "a", deleting, held("example.com/hold"))
				w.add("secrets", "x", "b", deleting, held("example.com/hold", "crdreplicator.liqo.io/operator"))
				w.add("widgets", "x", "c", deleting, held("example.com/hold"))
				w.add("widgets", "other", "c", deleting, held("example.com/other"))
			},
			want: []want{
				{Finalizer, ClearFinalizers, false, []string{"Secret b waits", "crdreplicator.liqo.io/operator", "liqo-crd-replicator", "no workload named"}},
				{Finalizer, ClearFinalizers, false, []string{"ConfigMap a, Secret b and Widget c wait", "example.com/hold", "the unknown controller of example.com"}},
			},
		},
		{
			name: "a finalizer that is not allowed stays",
			build: func(w *world) {
				w.namespace("x")
				w.add("configmaps", "x", "a", deleting, held("example.com/hold", "cast.ai/x"))
			},
			opts: func(o *Options) { o.Allow = CastAIOnly(owned) },
			want: []want{
				{Finalizer, ClearFinalizers, false, []string{"cast.ai/x", "a component of Cast AI"}},
				{Finalizer, Nothing, false, []string{"the finalizer stays"}},
			},
		},
		{
			name: "a living controller gets its time",
			build: func(w *world) {
				w.namespace("x")
				w.add("widgets", "x", "a", deletingSince(time.Minute), held("acme.cert-manager.io/finalizer"))
				w.add("deployments", "cert-manager", "cert-manager", body("status", map[string]any{"readyReplicas": int64(2)}))
			},
			want: []want{{Finalizer, Wait, false, []string{"Deployment cert-manager/cert-manager has 2 ready pods", "wait until 12:04:00 UTC"}}},
		},
		{
			name: "a living controller had its time",
			build: func(w *world) {
				w.namespace("x")
				w.add("widgets", "x", "a", deleting, held("acme.cert-manager.io/finalizer"))
				w.add("deployments", "cert-manager", "cert-manager", body("status", map[string]any{"readyReplicas": int64(2)}))
			},
			want: []want{{Finalizer, ClearFinalizers, false, []string{"has 2 ready pods"}}},
		},
		{
			name: "a cloud load balancer gets its time, and a warning",
			build: func(w *world) {
				w.namespace("x")
				w.add("services", "x", "young", deletingSince(time.Minute), held("service.kubernetes.io/load-balancer-cleanup"))
				w.namespace("y")
			},
			want: []want{{Finalizer, Wait, false, []string{"cloud controller manager"}}},
		},
		{
			name: "volumes in use wait for the pods",
			build: func(w *world) {
				w.namespace("x")
				w.add("persistentvolumeclaims", "x", "data", deleting, held("kubernetes.io/pvc-protection"))
				w.add("pods", "x", "p", deletingSince(-time.Minute), onNode("n1"))
				w.add("nodes", "", "n1", ready("True"))
			},
			want: []want{
				{TerminatingPods, Wait, false, []string{"Pod p: shutting down on node n1"}},
				{Finalizer, Wait, false, []string{"when the pods are gone"}},
			},
		},
		{
			name: "an unavailable API of Cast AI's",
			build: func(w *world) {
				w.namespace("x")
				w.deadAPI("metrics.liqo.io", "v1beta1")
			},
			want: []want{{UnavailableAPI, RemoveAPIService, true, []string{`service/adapter in "omni" is not present`, "it is Cast AI's"}}},
		},
		{
			name: "an unavailable API of somebody else's",
			build: func(w *world) {
				w.namespace("x")
				w.deadAPI("custom.metrics.k8s.io", "v1", func(o *cluster.Object) {
					o.Annotations = map[string]string{"meta.helm.sh/release-name": "adapter", "meta.helm.sh/release-namespace": "monitoring"}
				})
			},
			want: []want{{UnavailableAPI, Nothing, true, []string{"Helm release adapter in namespace monitoring", "--remove-apiservice=v1.custom.metrics.k8s.io"}}},
		},
		{
			name: "two unavailable APIs, one as told, one that hides custom resources",
			build: func(w *world) {
				w.namespace("x")
				w.deadAPI("custom.metrics.k8s.io", "v1")
				w.deadAPI("example.com", "v2")
				w.add("customresourcedefinitions", "", "widgets.example.com")
			},
			opts: func(o *Options) { o.RemoveAPIServices = []string{"v1.custom.metrics.k8s.io"} },
			want: []want{
				{UnavailableAPI, RemoveAPIService, true, []string{"as told"}},
				{UnavailableAPI, Nothing, true, []string{"objects of widgets.example.com may be hidden"}},
			},
		},
		{
			name: "a group without an APIService that fails",
			build: func(w *world) {
				w.namespace("x")
				w.snap.Unreadable = []cluster.Unreadable{{What: "example.com/v1", GroupVersion: "example.com/v1", Message: "boom"}}
			},
			want: []want{{UnavailableAPI, Nothing, true, []string{"does not answer (boom)"}}},
		},
		{
			name: "a webhook of Cast AI's rejects the patch",
			build: func(w *world) {
				w.namespace("x")
				w.add("configmaps", "x", "a", deleting, held("example.com/hold"))
				w.webhook("castai-evictor")
			},
			want: []want{
				{BlockingWebhook, RemoveWebhook, false, []string{"rejects every UPDATE of ConfigMap a", "gone/castai-evictor"}},
				{Finalizer, ClearFinalizers, false, nil},
			},
		},
		{
			name: "a webhook of somebody else's rejects the patch",
			build: func(w *world) {
				w.namespace("x")
				w.add("configmaps", "x", "a", deleting, held("example.com/hold"))
				w.webhook("kyverno")
			},
			want: []want{
				{Finalizer, ClearFinalizers, false, nil},
				{BlockingWebhook, Nothing, true, []string{"not Cast AI's", "kubectl delete validatingwebhookconfigurations.admissionregistration.k8s.io/kyverno"}},
			},
		},
		{
			name: "webhooks that don't matter",
			build: func(w *world) {
				w.namespace("x")
				w.add("configmaps", "x", "a", deleting, held("example.com/hold"))
				w.webhook("ignored", func(h map[string]any) { h["failurePolicy"] = "Ignore" })
				w.webhook("otherkind", rule("UPDATE", "", "v1", "secrets"))
				w.webhook("othergroup", rule("UPDATE", "apps", "v1", "configmaps"))
				w.webhook("exactversion", rule("UPDATE", "", "v2", "configmaps"), func(h map[string]any) { h["matchPolicy"] = "Exact" })
				w.webhook("create", rule("CREATE", "", "v1", "configmaps"))
				w.webhook("status", rule("UPDATE", "", "v1", "configmaps/status"))
				w.webhook("elsewhere", selector("namespaceSelector", "kubernetes.io/metadata.name", "y"))
				w.webhook("labelled", selector("objectSelector", "app", "a"))
				w.webhook("cluster", func(h map[string]any) { h["rules"].([]any)[0].(map[string]any)["scope"] = "Cluster" })
				w.webhook("url", func(h map[string]any) { h["clientConfig"] = map[string]any{"url": "https://example.com"} })
				w.webhook("alive")
				i := slices.IndexFunc(w.snap.Backends, func(b cluster.Backend) bool { return b.Name == "alive" })
				w.snap.Backends[i].Found, w.snap.Backends[i].Ready = true, 1
			},
			want: []want{{Finalizer, ClearFinalizers, false, nil}},
		},
		{
			name: "webhooks that match by wildcard, default policy, selectors, other version",
			build: func(w *world) {
				w.namespace("x")
				w.add("configmaps", "x", "a", deleting, held("example.com/hold"))
				w.webhook("castai-1", rule("*", "*", "*", "*"), func(h map[string]any) { delete(h, "failurePolicy") })
				w.webhook("castai-2", rule("UPDATE", "", "v9", "configmaps"), selector("namespaceSelector", "kubernetes.io/metadata.name", "x"))
				w.webhook("conditional", func(h map[string]any) { h["matchConditions"] = []any{map[string]any{"expression": "false"}} })
			},
			want: []want{
				{BlockingWebhook, RemoveWebhook, false, nil}, {BlockingWebhook, RemoveWebhook, false, nil},
				{Finalizer, ClearFinalizers, false, nil},
				{BlockingWebhook, Nothing, false, []string{"may reject"}},
			},
		},
		{
			name: "a webhook that rejects finalizing the namespace itself",
			build: func(w *world) {
				w.namespace("x")
				w.webhook("castai-ns", rule("UPDATE", "", "v1", "namespaces/finalize"))
			},
			want: []want{{BlockingWebhook, RemoveWebhook, false, []string{"Namespace x"}}},
		},
		{
			name: "pods that no kubelet confirms",
			build: func(w *world) {
				w.namespace("x")
				w.add("nodes", "", "lost", ready("Unknown"))
				w.add("nodes", "", "broken", ready("False"))
				w.add("nodes", "", "new")
				w.add("nodes", "", "virtual", ready("True"), func(o *cluster.Object) { o.Labels = map[string]string{"liqo.io/type": "virtual-node"} })
				for _, n := range []string{"missing", "lost", "broken", "new", "virtual"} {
					w.add("pods", "x", "on-"+n, deleting, onNode(n))
				}
			},
			want: []want{
				{LostPods, DeletePods, false, []string{"Pod on-broken", "is not ready since 2026-03-01T09:00:00Z"}},
				{LostPods, DeletePods, false, []string{"Pod on-lost", "is unreachable since"}},
				{LostPods, DeletePods, false, []string{"Pod on-missing", "does not exist"}},
				{LostPods, DeletePods, false, []string{"Pod on-new", "never reported"}},
				{LostPods, DeletePods, false, []string{"Pod on-virtual", "is virtual"}},
			},
		},
		{
			name: "a pod that its living kubelet does not confirm",
			build: func(w *world) {
				w.namespace("x")
				w.add("nodes", "", "n1", ready("True"))
				w.add("pods", "x", "p", deleting, onNode("n1"))
			},
			want: []want{{TerminatingPods, Nothing, true, []string{"the kubelet of node n1 is alive", "kubectl describe node n1"}}},
		},
		{
			name: "a pod whose node can't be looked up is not called lost",
			build: func(w *world) {
				w.namespace("x")
				w.add("pods", "x", "p", deletingSince(-time.Minute), onNode("n1"))
				w.snap.Unreadable = []cluster.Unreadable{{What: "nodes", Message: "forbidden", Forbidden: true}}
			},
			want: []want{{TerminatingPods, Wait, false, nil}},
		},
		{
			name: "the conditions lie: a stuck pod and a dead API together",
			build: func(w *world) {
				w.namespace("x", conditionsOf("NamespaceContentRemaining", "False", "All content successfully removed"))
				w.add("pods", "x", "p", deleting, onNode("missing"))
				w.add("configmaps", "x", "kube-root-ca.crt")
				w.deadAPI("metrics.liqo.io", "v1beta1")
			},
			want: []want{
				{UnavailableAPI, RemoveAPIService, true, nil},
				{LostPods, DeletePods, false, nil},
				{NotDeleting, Wait, false, []string{"the namespace controller removes pods first"}},
			},
		},
		{
			name: "content that is not deleted",
			build: func(w *world) {
				w.namespace("x")
				w.add("configmaps", "x", "a")
			},
			want: []want{{NotDeleting, Wait, false, []string{"has not got to them", "kube-controller-manager"}}},
		},
		{
			name: "content that was only just deleted",
			build: func(w *world) {
				w.namespace("x", deletingSince(2*time.Second))
				w.add("configmaps", "x", "a")
			},
			want: []want{{NotDeleting, Wait, false, []string{"deleted only now"}}},
		},
		{
			name: "finalized before it was deleted: the controller skips its content",
			build: func(w *world) {
				w.namespace("x", body("spec", map[string]any{}), held("controller.cattle.io/namespace-auth"))
				w.add("configmaps", "x", "a")
			},
			want: []want{
				{NotDeleting, DeleteContent, false, []string{"was finalized before"}},
				{MetadataFinalizer, Finalize, false, []string{"Rancher"}},
			},
		},
		{
			name: "finalizers of the namespace itself",
			build: func(w *world) {
				w.namespace("x", body("spec", map[string]any{"finalizers": []any{"kubernetes", "example.com/spec"}}), held("example.com/meta"))
			},
			want: []want{
				{SpecFinalizer, Finalize, false, []string{"example.com/spec in spec.finalizers"}},
				{MetadataFinalizer, Finalize, false, []string{"example.com/meta in metadata.finalizers"}},
			},
		},
		{
			name: "content that can't be listed",
			build: func(w *world) {
				w.namespace("x")
				w.snap.Unreadable = []cluster.Unreadable{
					{What: "widgets.example.com", Message: "conversion webhook failed"},
					{What: "secrets", Message: "forbidden", Forbidden: true},
					{What: "customresourcedefinitions.apiextensions.k8s.io", Message: "cluster-scoped"},
				}
			},
			want: []want{
				{UnreadableContent, Nothing, true, []string{"widgets.example.com can't be listed, not even by the namespace controller"}},
				{UnreadableContent, Nothing, false, []string{"you may not list secrets"}},
			},
		},
		{
			name: "orphans of a namespace that is gone",
			build: func(w *world) {
				w.add("configmaps", "x", "a", deleting, held("example.com/hold"))
				w.add("secrets", "x", "b")
			},
			want: []want{
				{Finalizer, ClearFinalizers, false, nil},
				{Orphans, Sweep, false, []string{"there is no namespace x, but ConfigMap a and Secret b", "create the namespace again"}},
			},
		},
		{
			name: "a helper namespace that was left behind",
			build: func(w *world) {
				w.namespace("x", deletingSince(0), func(o *cluster.Object) {
					o.Deleting, o.Annotations = time.Time{}, map[string]string{HelperAnnotation: "created by a run that was interrupted"}
				})
				w.add("configmaps", "x", "a", deleting, held("example.com/hold"))
			},
			want: []want{
				{Finalizer, ClearFinalizers, false, nil},
				{Orphans, Sweep, false, []string{"was created to free orphaned objects"}},
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, o := newWorld(), options()
			o.Owned = owned
			tc.build(w)
			if tc.opts != nil {
				tc.opts(&o)
			}
			d := diagnose(t, w, "x", o)
			if d.Refusal != nil {
				t.Fatalf("refused: %v", d.Refusal)
			}
			var got []string
			for _, c := range d.Causes {
				got = append(got, string(c.Type)+" → "+string(c.Action)+": "+c.Summary+". "+c.Remedy)
			}
			if len(d.Causes) != len(tc.want) {
				t.Fatalf("%d causes, want %d:\n%s", len(d.Causes), len(tc.want), strings.Join(got, "\n"))
			}
			for i, want := range tc.want {
				c := d.Causes[i]
				if c.Type != want.cause || c.Action != want.action || c.Blocks != want.blocks {
					t.Errorf("cause %d: %s (blocks: %t), want %s → %s (blocks: %t)", i, got[i], c.Blocks, want.cause, want.action, want.blocks)
				}
				for _, says := range want.says {
					if !strings.Contains(got[i], says) {
						t.Errorf("cause %d does not say %q: %s", i, says, got[i])
					}
				}
				if c.Summary == "" || c.Remedy == "" || (c.Command == "" && c.Type != Progressing && c.Type != NotDeleting) {
					t.Errorf("cause %d is incomplete: %+v", i, c)
				}
			}
			if d.Summary == "" {
				t.Error("no summary")
			}
		})
	}
}

func rule(operation, group, version, resource string) func(map[string]any) {
	return func(h map[string]any) {
		h["rules"] = []any{map[string]any{
			"operations": []any{operation}, "apiGroups": []any{group}, "apiVersions": []any{version}, "resources": []any{resource},
		}}
	}
}

func selector(field, key, value string) func(map[string]any) {
	return func(h map[string]any) { h[field] = map[string]any{"matchLabels": map[string]any{key: value}} }
}

func conditionsOf(kind, status, message string) edit {
	return body("status", map[string]any{"conditions": []any{map[string]any{
		"type": kind, "status": status, "message": message, "lastTransitionTime": "2026-03-01T09:00:10Z",
	}}})
}

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
		{"protected and active", "kube-system", func(w *world) { w.add("namespaces", "", "kube-system") }, Protected, "control plane"},
		{"protected by prefix", "openshift-monitoring", func(w *world) { w.namespace("openshift-monitoring") }, Protected, "OpenShift"},
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
		if _, err := Diagnose(w.snap, "x", options()); err == nil || !strings.Contains(err.Error(), "can't be listed") {
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
	if err == nil || !strings.Contains(err.Error(), "nothing was changed") || !strings.Contains(err.Error(), "--remove-apiservice=v1.custom.metrics.k8s.io") {
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
	w.namespace("x", conditionsOf("NamespaceFinalizersRemaining", "True", "Some content in the namespace has finalizers remaining: example.com/hold in 2 resource instances"))
	w.add("configmaps", "x", "a", deleting, held("example.com/hold"))
	w.add("configmaps", "x", "b", deleting, held("example.com/hold"))
	got, err := json.MarshalIndent(diagnose(t, w, "x", o), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
  "apiVersion": "castai.kubectl.dev/v1alpha1",
  "kind": "Diagnosis",
  "namespace": "x",
  "uid": "namespaces//x",
  "resourceVersion": "1",
  "state": "Terminating",
  "since": "2026-03-01T09:00:00Z",
  "observedAt": "2026-03-01T12:00:00Z",
  "summary": "namespace x is stuck: 2 configmaps wait for the finalizer example.com/hold, which the unknown controller of example.com should have removed",
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
      "summary": "2 configmaps wait for the finalizer example.com/hold, which the unknown controller of example.com should have removed",
      "action": "clear-finalizers",
      "remedy": "remove this finalizer from them",
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
        "alive": "unknown"
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
