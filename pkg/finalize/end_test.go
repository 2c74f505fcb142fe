package finalize_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/pkg/finalize"
)

// keeps is what an admission policy says that keeps namespaces.
const keeps = "ValidatingAdmissionPolicy 'keep-ns' with binding 'keep-ns' denied request: no"

// policed is a server that refuses some requests about namespaces.
func policed(t *testing.T, refuses func(*clustertest.Request) bool,
	objects ...*unstructured.Unstructured) *clustertest.Server {
	t.Helper()
	server := clustertest.Serve(t)
	for _, u := range objects {
		server.Put(u)
	}
	server.Before(func(r *clustertest.Request) clustertest.Fault {
		if r.Resource == "namespaces" && r.IsWrite() && refuses(r) {
			return clustertest.Fault{Err: forbidden(keeps)}
		}
		return clustertest.Fault{}
	})
	return server
}

// TestRefusalOfTheEnd holds that it is foreseen that the server refuses to finalize a namespace: as what blocks it,
// with whose refusal it is and the way round, where that is the only way; else as what the namespace controller need
// not be refused, too.
func TestRefusalOfTheEnd(t *testing.T) {
	finalizing := func(r *clustertest.Request) bool { return r.Subresource == "finalize" }
	for name, tc := range map[string]struct {
		refuses    func(*clustertest.Request) bool
		finalizers []string
		named      []string
		content    bool
		blocks     bool
		says       string // "": nothing is refused
	}{
		"its own finalizer": {refuses: finalizing, finalizers: []string{"gone.example.com/hold"}, blocks: true,
			says: "keep-ns, by its binding keep-ns, refuses that namespace shop is finalized"},
		"its own finalizer, and content": {refuses: finalizing, finalizers: []string{"gone.example.com/hold"}, content: true,
			blocks: true, says: "refuses that namespace shop is finalized"},
		"one of two": {refuses: func(r *clustertest.Request) bool { return r.Verb == "patch" },
			finalizers: []string{"gone.example.com/hold", "other.example.com/hold"}, named: []string{"gone.example.com/hold"},
			blocks: true, says: "refuses that namespace shop loses its finalizer gone.example.com/hold"},
		"one of two, and that is not refused": {refuses: finalizing,
			finalizers: []string{"gone.example.com/hold", "other.example.com/hold"}, named: []string{"gone.example.com/hold"}},
		"the controller may finalize it": {refuses: finalizing, content: true,
			says: "refuses that namespace shop is finalized"},
		"nothing is left":    {refuses: finalizing, says: "refuses that namespace shop is finalized"},
		"nothing is refused": {refuses: func(*clustertest.Request) bool { return false }, content: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				objects := []*unstructured.Unstructured{
					deleted(clustertest.Object("v1", "Namespace", "", "shop"), tc.finalizers...)}
				if tc.content {
					objects = append(objects, deleted(clustertest.Object("v1", "ConfigMap", "shop", "a"), "example.com/hold"))
				}
				server := policed(t, tc.refuses, objects...)
				r := &finalize.Runner{Cluster: server.Client(), Namespaces: []string{"shop"}}
				if tc.named != nil {
					r.Options.Allow = finalize.Only(tc.named...)
				}
				ds := judged(t, r)
				i := slices.IndexFunc(ds[0].Causes, func(c finalize.Cause) bool { return c.Type == finalize.RefusedUpdate })
				switch {
				case i < 0 && tc.says != "", i >= 0 && tc.says == "":
					t.Fatalf("causes: %+v", ds[0].Causes)
				case i < 0:
					return
				}
				c := ds[0].Causes[i]
				if !strings.Contains(c.Summary, tc.says) || c.Blocks != tc.blocks ||
					!strings.HasPrefix(c.Command, "kubectl patch validatingadmissionpolicybinding keep-ns") {
					t.Errorf("%+v", c)
				}
				if (len(r.Refusals(ds)) > 0) != tc.blocks {
					t.Errorf("refusals: %+v", r.Refusals(ds))
				}
				for _, p := range r.Plan(ds).Phases {
					if p.Name == "finish" {
						t.Error("the preview finalizes it")
					}
				}
				if before := server.Refs(); tc.blocks {
					if _, err := r.Run(t.Context(), ds); err == nil || !slices.Equal(server.Refs(), before) {
						t.Errorf("it was begun: %v", err)
					}
				}
			})
		})
	}
}

// TestRefusalOfTheCreation holds that it is foreseen that the server refuses to create a namespace again, through
// which orphans are reached, and that what is done by hand is in the order in which it works.
func TestRefusalOfTheCreation(t *testing.T) {
	for _, refused := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			server := policed(t, func(r *clustertest.Request) bool { return refused && r.Verb == "create" },
				deleted(clustertest.Object("v1", "ConfigMap", "gone", "a"), "example.com/hold"))
			server.Drop(cluster.Ref{Kind: "Namespace", Name: "gone"})
			r := &finalize.Runner{Cluster: server.Client(), Namespaces: []string{"gone"}}
			ds := judged(t, r)
			causes := ds[0].Causes
			if causes[0].Type != finalize.Orphans || causes[0].Command != "kubectl create namespace gone" ||
				causes[1].Type != finalize.Finalizer || !strings.HasPrefix(causes[1].Command, "kubectl patch configmaps/a -n gone") {
				t.Errorf("by hand: %q, then %q", causes[0].Command, causes[1].Command)
			}
			if len(r.Refusals(ds)) > 0 != refused {
				t.Fatalf("refusals: %+v", r.Refusals(ds))
			}
			if !refused {
				if result, err := r.Run(t.Context(), ds); err != nil || len(result.Left) > 0 {
					t.Errorf("%v, left %q", err, result.Left)
				}
				return
			}
			c := causes[len(causes)-1]
			for _, says := range []string{"keep-ns, by its binding keep-ns, refuses that namespace gone is created again",
				"create the namespace yourself", "kubectl delete namespace gone", "kubectl castai unstick-ns gone"} {
				if !strings.Contains(c.Summary+c.Remedy, says) {
					t.Errorf("it does not say %q: %s. %s", says, c.Summary, c.Remedy)
				}
			}
			before := server.Refs()
			if _, err := r.Run(t.Context(), ds); err == nil || !slices.Equal(server.Refs(), before) {
				t.Errorf("it was begun: %v", err)
			}
		})
	}
}
