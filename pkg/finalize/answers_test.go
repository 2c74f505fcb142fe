package finalize

import (
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// APIs and conversions that do not answer, or answer badly.
func TestDiagnoseAnswers(t *testing.T) {
	for _, tc := range []causeCase{
		{
			name: "an unavailable API of Cast AI's",
			build: func(w *world) {
				w.namespace("x")
				w.deadAPI("metrics.liqo.io", "v1beta1")
			},
			want: []want{{UnavailableAPI, RemoveAPIService, true, []string{`service/adapter in "omni" is not present`,
				"it is Cast AI's"}}},
		},
		{
			name: "an unavailable API of somebody else's, and nothing else",
			build: func(w *world) {
				w.namespace("x", conditionsOf("NamespaceDeletionDiscoveryFailure", "True",
					"Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: "+
						"custom.metrics.k8s.io/v1: boom"))
				w.deadAPI("custom.metrics.k8s.io", "v1")
			},
			want: []want{{UnavailableAPI, Finalize, false, []string{"the APIService stays",
				"--remove-apiservice=v1.custom.metrics.k8s.io"}}},
		},
		{
			name: "an unavailable API of somebody else's, and the conditions name another",
			build: func(w *world) {
				w.namespace("x", conditionsOf("NamespaceDeletionDiscoveryFailure", "True",
					"Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: "+
						"other.example.com/v1: boom"))
				w.deadAPI("custom.metrics.k8s.io", "v1")
			},
			want: []want{{Contradiction, Wait, false, nil}, {UnavailableAPI, Finalize, false, nil}},
		},
		{
			name: "an aggregated API that lists nothing for nobody",
			build: func(w *world) {
				w.namespace("x")
				w.resources["things"] = &cluster.Resource{Group: "far.example.com", Version: "v1", Name: "things",
					Kind: "Thing", Namespaced: true}
				w.snap.Resources = append(w.snap.Resources, w.resources["things"])
				w.add("apiservices", "", "v1.far.example.com", body("spec",
					map[string]any{"service": map[string]any{"namespace": "far", "name": "api"}}))
				w.snap.Unreadable = []cluster.Unreadable{{What: "things.far.example.com", Message: "boom"}}
			},
			want: []want{{UnavailableAPI, Nothing, true, []string{"it does not list things.far.example.com: boom",
				"--remove-apiservice=v1.far.example.com"}}},
		},
		{
			name: "a dead conversion webhook, in a namespace with objects of the kind",
			build: func(w *world) {
				w.namespace("x")
				w.snap.Unreadable = []cluster.Unreadable{{What: "widgets.example.com",
					Message: "conversion webhook for example.com/v1 failed"}}
				w.conversion("widgets.example.com", "x", "y")
			},
			want: []want{
				{NotDeleting, Wait, false, []string{"hangs on a conversion webhook"}},
				{DeadConversion, Nothing, true, []string{"nowhere/conv", "1 objects of it are in this namespace, 1 in others",
					`"strategy":"None"`, "kubectl get widgets.v1.example.com -A"}},
			},
		},
		{
			name: "a dead conversion webhook, in a namespace that has nothing to do with it",
			build: func(w *world) {
				w.namespace("x")
				w.conversion("widgets.example.com", "y")
			},
			want: []want{{DeadConversion, Nothing, false, []string{"finishes no namespace of the cluster"}}},
		},
		{
			name: "an unavailable API of somebody else's",
			build: func(w *world) {
				w.namespace("x")
				w.add("configmaps", "x", "a", deleting, held("example.com/hold"))
				w.deadAPI("custom.metrics.k8s.io", "v1", func(o *cluster.Object) {
					o.Annotations = map[string]string{"meta.helm.sh/release-name": "adapter",
						"meta.helm.sh/release-namespace": "monitoring"}
				})
			},
			want: []want{
				{Finalizer, ClearFinalizers, false, nil},
				{UnavailableAPI, Nothing, true, []string{"Helm release adapter in namespace monitoring",
					"--remove-apiservice=v1.custom.metrics.k8s.io"}},
			},
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
	} {
		t.Run(tc.name, tc.run)
	}
}
