package finalize

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// want is one cause that is expected.
type want struct {
	cause  CauseType
	action Rung
	blocks bool
	says   []string // in summary, remedy or command
}

// causeCase is a world and the causes that are found in it.
type causeCase struct {
	name  string
	build func(*world)
	opts  func(*Options)
	want  []want
}

func TestDiagnoseCauses(t *testing.T) {
	for _, tc := range []causeCase{
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
				{Finalizer, ClearFinalizers, false, []string{"Secret b waits", "crdreplicator.liqo.io/operator",
					"liqo-crd-replicator", "no workload named"}},
				{Finalizer, ClearFinalizers, false, []string{"ConfigMap a, Secret b and Widget c wait", "example.com/hold",
					"the unknown controller of example.com"}},
			},
		},
		{
			name: "a finalizer that is not allowed stays",
			build: func(w *world) {
				w.namespace("x")
				w.add("configmaps", "x", "a", deleting, held("example.com/hold", "cast.ai/x"))
			},
			opts: func(o *Options) { o.Allow = castAIOnly },
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
				w.certManager()
			},
			want: []want{{Finalizer, Wait, false, []string{"Deployment cert-manager/cert-manager has 2 ready pods",
				"which is alive", "--finalizer=acme.cert-manager.io/finalizer"}}},
		},
		{
			name: "a living controller that was named has its time",
			build: func(w *world) {
				w.namespace("x")
				w.add("widgets", "x", "a", deletingSince(time.Minute), held("acme.cert-manager.io/finalizer"))
				w.certManager()
			},
			opts: func(o *Options) { o.Allow, o.Partial = Only("acme.cert-manager.io/finalizer"), true },
			want: []want{{Finalizer, Wait, false, []string{"wait until 12:04:00 UTC"}}},
		},
		{
			name: "a living controller is not shot, however long it takes",
			build: func(w *world) {
				w.namespace("x")
				w.add("widgets", "x", "a", deleting, held("acme.cert-manager.io/finalizer"))
				w.certManager()
			},
			want: []want{{Finalizer, Wait, false, []string{"has 2 ready pods"}}},
		},
		{
			name: "a living controller whose finalizer is named",
			build: func(w *world) {
				w.namespace("x")
				w.add("widgets", "x", "a", deleting, held("acme.cert-manager.io/finalizer"))
				w.certManager()
			},
			opts: func(o *Options) { o.Allow = Only("acme.cert-manager.io/finalizer") },
			want: []want{{Finalizer, ClearFinalizers, false, []string{"has 2 ready pods"}}},
		},
		{
			name: "a load balancer that had its time is asked for by name",
			build: func(w *world) {
				w.namespace("x")
				w.add("services", "x", "old", deleting, held("service.kubernetes.io/load-balancer-cleanup"))
			},
			want: []want{{Finalizer, Nothing, false, []string{"cost money",
				"--finalizer=service.kubernetes.io/load-balancer-cleanup"}}},
		},
		{
			name: "a load balancer that is allowed beside others gets its time",
			build: func(w *world) {
				w.namespace("x")
				w.add("services", "x", "lb", deletingSince(time.Minute), held("service.kubernetes.io/load-balancer-cleanup"))
			},
			opts: func(o *Options) { o.Allow, o.Partial = Only("service.kubernetes.io/load-balancer-cleanup"), true },
			want: []want{{Finalizer, Wait, false, []string{"wait until 12:04:00 UTC"}}},
		},
		{
			name: "a load balancer that is named",
			build: func(w *world) {
				w.namespace("x")
				w.add("services", "x", "old", deleting, held("service.kubernetes.io/load-balancer-cleanup"))
			},
			opts: func(o *Options) { o.Named = []string{"service.kubernetes.io/load-balancer-cleanup"} },
			want: []want{{Finalizer, ClearFinalizers, false, []string{"cost money"}}},
		},
		{
			name: "nothing is seen, but the conditions say otherwise",
			build: func(w *world) {
				w.namespace("x", conditionsOf("NamespaceContentRemaining", "True",
					"Some resources are remaining: events.example.com has 1 resource instances"))
			},
			want: []want{{Contradiction, Wait, false, []string{"events.example.com has 1 resource instances",
				"is not finalized"}}},
		},
		{
			name: "conditions that are never written again",
			build: func(w *world) {
				w.namespace("x", held("example.com/meta"), body("spec", map[string]any{}),
					conditionsOf("NamespaceContentRemaining", "True", "Some resources are remaining: pods. has 1 resource instances"))
			},
			want: []want{{MetadataFinalizer, Finalize, false, nil}},
		},
		{
			name: "a policy that refused the deletion of content, and does not any more",
			build: func(w *world) {
				w.namespace("x", conditionsOf("NamespaceDeletionContentFailure", "True",
					"Failed to delete all resource types, 1 remaining: no"))
				w.add("configmaps", "x", "a")
			},
			want: []want{{NotDeleting, Wait, false, nil}},
		},
		{
			name: "a policy that refuses the deletion of content",
			build: func(w *world) {
				w.samples[Class{Namespace: "x", Resource: w.resources["configmaps"].GroupResource()}] = Sample{
					Refused: "configmaps \"a\" is forbidden: ValidatingAdmissionPolicy 'keep' with binding 'keep-all' denied " +
						"request: no"}
				w.namespace("x", conditionsOf("NamespaceDeletionContentFailure", "True",
					"Failed to delete all resource types, 1 remaining: configmaps \"a\" is forbidden: "+
						"ValidatingAdmissionPolicy 'keep' with binding 'keep-all' denied request: no"))
				w.add("configmaps", "x", "a")
			},
			want: []want{{NotDeleting, Nothing, true, []string{"ValidatingAdmissionPolicy keep, by its binding keep-all",
				"denied request: no"}}},
		},
		{
			name: "content that waits for pods, but not on a server that has no order",
			build: func(w *world) {
				w.snap.Server.Version = "v1.30.14"
				w.namespace("x")
				w.add("pods", "x", "p", deletingSince(-time.Minute), onNode("n1"))
				w.add("nodes", "", "n1", ready("True"))
				w.add("configmaps", "x", "a")
			},
			want: []want{
				{TerminatingPods, Wait, false, nil},
				{NotDeleting, Wait, false, []string{"the namespace controller has not got to them"}},
			},
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
			name: "nobody knows whether the controller lives",
			build: func(w *world) {
				w.namespace("x")
				w.add("widgets", "x", "a", deleting, held("castware.cast.ai/cleanup-helm"))
				w.snap.Unreadable = []cluster.Unreadable{{What: "deployments.apps", Message: "forbidden", Forbidden: true}}
			},
			want: []want{
				{UnreadableContent, Nothing, false, nil},
				{Finalizer, Nothing, false, []string{"not everything that tells could be read",
					"--finalizer=castware.cast.ai/cleanup-helm"}},
			},
		},
		{
			name: "an owner waits for what it owns",
			build: func(w *world) {
				w.namespace("x")
				w.add("widgets", "x", "owner", deleting, held("foregroundDeletion"))
				w.add("configmaps", "x", "owned", deleting, held("example.com/hold"))
			},
			want: []want{
				{Finalizer, Wait, false, []string{"Widget owner", "garbage collector"}},
				{Finalizer, ClearFinalizers, false, []string{"ConfigMap owned"}},
			},
		},
		{
			name: "an owner waits for nothing",
			build: func(w *world) {
				w.namespace("x")
				w.add("widgets", "x", "owner", deleting, held("foregroundDeletion"))
			},
			want: []want{{Finalizer, ClearFinalizers, false, []string{"it protects dependents"}}},
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
				{BlockingWebhook, Nothing, true, []string{"not Cast AI's",
					"kubectl delete validatingwebhookconfigurations.admissionregistration.k8s.io/kyverno"}},
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
				w.webhook("exactversion", rule("UPDATE", "", "v2", "configmaps"),
					func(h map[string]any) { h["matchPolicy"] = "Exact" })
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
				w.webhook("castai-2", rule("UPDATE", "", "v9", "configmaps"), selector("namespaceSelector",
					"kubernetes.io/metadata.name", "x"))
				w.webhook("conditional",
					func(h map[string]any) { h["matchConditions"] = []any{map[string]any{"expression": "false"}} })
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
				w.add("nodes", "", "virtual", ready("True"),
					func(o *cluster.Object) { o.Labels = map[string]string{"liqo.io/type": "virtual-node"} })
				for _, n := range []string{"missing", "lost", "broken", "new", "virtual"} {
					w.add("pods", "x", "on-"+n, deleting, onNode(n))
				}
			},
			want: []want{
				{LostPods, DeletePods, false, []string{"that Pod on-lost ended", "is unreachable since"}},
				{LostPods, DeletePods, false, []string{"that Pod on-missing ended", "does not exist"}},
				{LostPods, DeletePods, false, []string{"Pod on-new", "never reported"}},
				{LostPods, DeletePods, false, []string{"Pod on-virtual", "is virtual"}},
				{TerminatingPods, Nothing, true, []string{"kubelet of node broken reports that it is not ready since " +
					"2026-03-01T09:00:00Z", "that Pod on-broken ended", "kubectl describe node broken"}},
			},
		},
		{
			name: "a pod that its living kubelet does not confirm",
			build: func(w *world) {
				w.namespace("x")
				w.add("nodes", "", "n1", ready("True"))
				w.add("pods", "x", "p", deleting, onNode("n1"))
			},
			want: []want{{TerminatingPods, Nothing, true, []string{"the kubelet of node n1 is alive",
				"kubectl describe node n1"}}},
		},
		{
			name: "a pod that its living kubelet does not confirm, and claims that are lost",
			build: func(w *world) {
				w.namespace("x")
				w.add("nodes", "", "n", ready("True"))
				w.add("persistentvolumeclaims", "x", "there", body("status", map[string]any{"phase": "Bound"}))
				w.add("persistentvolumeclaims", "x", "lost", body("status", map[string]any{"phase": "Lost"}))
				for _, claim := range []string{"there", "lost", "gone"} {
					w.add("pods", "x", claim, deleting, onNode("n"), mounts(claim))
				}
			},
			want: []want{
				{NotDeleting, Wait, false, nil},
				{TerminatingPods, Nothing, true, []string{
					"; Pod gone mounts PersistentVolumeClaim gone, which is gone; Pod lost mounts PersistentVolumeClaim lost, " +
						"whose volume is gone. "}},
			},
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
			name: "finalizers of what is deleted only later",
			build: func(w *world) {
				w.namespace("x")
				w.add("pods", "x", "p", deleting, onNode("missing"))
				w.add("configmaps", "x", "a", held("example.com/hold"))
				w.add("configmaps", "x", "b", deleting, held("example.com/hold"))
			},
			want: []want{
				{LostPods, DeletePods, false, nil},
				{NotDeleting, Wait, false, nil},
				{Finalizer, Wait, false, []string{"ConfigMap a will wait", "when they are being deleted"}},
				{Finalizer, ClearFinalizers, false, []string{"ConfigMap b waits"}},
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
				w.namespace("x", body("spec", map[string]any{"finalizers": []any{"kubernetes", "example.com/spec"}}),
					held("example.com/meta"))
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
				{UnreadableContent, Nothing, true, []string{"widgets.example.com can't be listed, not even by the namespace " +
					"controller"}},
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
				{Orphans, Sweep, false, []string{"there is no namespace x, but ConfigMap a and Secret b",
					"create the namespace again", "kubectl delete namespace x"}},
				{Finalizer, ClearFinalizers, false, nil},
			},
		},
		{
			name: "a helper namespace that was left behind",
			build: func(w *world) {
				w.namespace("x", deletingSince(0), func(o *cluster.Object) {
					o.Deleting, o.Annotations = time.Time{}, map[string]string{HelperAnnotation: "created by a run that was " +
						"interrupted"}
				})
				w.add("configmaps", "x", "a", deleting, held("example.com/hold"))
			},
			want: []want{
				{Finalizer, ClearFinalizers, false, nil},
				{Orphans, Sweep, false, []string{"was created to free orphaned objects"}},
			},
		},
	} {
		t.Run(tc.name, tc.run)
	}
}

func (tc causeCase) run(t *testing.T) {
	owned := func(r cluster.Ref) bool {
		return strings.Contains(r.Name, "liqo") || strings.HasPrefix(r.Name, "castai")
	}
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
	checkCauses(t, d, tc.want)
}
