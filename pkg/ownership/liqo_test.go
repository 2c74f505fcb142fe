package ownership_test

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// omni is Cast AI's Liqo: with the names of everybody's, Cast AI's images, and a
// RuntimeClass for the virtual nodes that only omni has.
func omni(t testing.TB, in install) *scene {
	t.Helper()
	manifest := strings.NewReplacer(
		"ghcr.io/liqotech/", "us-docker.pkg.dev/castai-hub/library/liqo/",
		"liqo.io/type: virtual-node", "omni.cast.ai/type: virtual-node",
		"namespace: liqo\n", "namespace: "+in.namespace+"\n",
	).Replace(read(t, "testdata/others/liqo.yaml"))
	return new(scene).manifest(t, in, manifest).withNamespaces()
}

// Cast AI's Liqo goes whole, as a release of its own, too, and without Helm: in
// another namespace, by the word of the user.
func TestLiqoOfCastAIGoesWhole(t *testing.T) {
	for _, test := range []struct {
		in    install
		trust []string
	}{
		{install{"omni", "castai-omni", true}, nil},
		{install{"omni", "castai-omni", false}, nil},
		{install{"omni", "edges", true}, nil},
		{install{"omni", "edges", false}, []string{"edges"}},
	} {
		inv := omni(t, test.in).take(t, ownership.Options{Trust: test.trust})
		for _, o := range inv.Objects() {
			if !inv.IsOwned(o.Ref()) {
				t.Errorf("%+v: %s: %s", test, o.Ref(), explain(t, inv, o.Ref()))
			}
		}
	}
}

// The word of the user makes no Liqo Cast AI's that is not.
func TestTrustTakesNoLiqoOfOthers(t *testing.T) {
	s := new(scene).manifest(t, install{"liqo", "edges", true},
		strings.ReplaceAll(read(t, "testdata/others/liqo.yaml"), "namespace: liqo\n", "namespace: edges\n")).withNamespaces()
	inv := s.take(t, ownership.Options{Trust: []string{"edges"}})
	controller := cluster.Ref{Group: "apps", Kind: "Deployment", Namespace: "edges", Name: "liqo-controller-manager"}
	definition := cluster.Ref{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition",
		Name: "foreignclusters.core.liqo.io"}
	for _, r := range []cluster.Ref{controller, definition} {
		if inv.IsOwned(r) {
			t.Errorf("%s: %s", r, explain(t, inv, r))
		}
	}
}

// renamed gives everything of a Liqo the names that values (nameOverride) or, with
// its label, an alias in somebody's own chart do.
func renamed(s *scene, name string, alias bool) *scene {
	for _, u := range s.objects {
		if u.GetKind() == "CustomResourceDefinition" || u.GetKind() == "Namespace" || u.GetKind() == "Secret" {
			continue
		}
		doc := u.Object
		replaceStrings(doc, func(text string) string {
			if rest, ok := strings.CutPrefix(text, "liqo-"); ok && (alias || !strings.HasPrefix(rest, "v")) {
				return name + "-" + rest
			}
			return text
		})
	}
	return s
}

// replaceStrings changes every string in a document.
func replaceStrings(in any, change func(string) string) {
	switch in := in.(type) {
	case map[string]any:
		for key, value := range in {
			if text, ok := value.(string); ok {
				in[key] = change(text)
			} else {
				replaceStrings(value, change)
			}
		}
	case []any:
		for i, value := range in {
			if text, ok := value.(string); ok {
				in[i] = change(text)
			} else {
				replaceStrings(value, change)
			}
		}
	}
}

// A Liqo of somebody else's is one under any name: the RuntimeClass that omni left
// does not make it Cast AI's, wherever it lives.
func TestARuntimeClassLeftBehindTakesNoLiqoOfOthers(t *testing.T) {
	const class = "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\n" +
		"metadata: {name: liqo-omni, annotations: {meta.helm.sh/release-name: omni, meta.helm.sh/release-namespace: castai-omni}}\n" +
		"handler: liqo\nscheduling: {nodeSelector: {omni.cast.ai/type: virtual-node}}\n"
	for _, ns := range []string{"liqo", "platform", "castai-agent"} {
		for _, helm := range []bool{true, false} {
			for _, name := range []string{"liqo", "corp"} {
				manifest := strings.ReplaceAll(read(t, "testdata/others/liqo.yaml"), "namespace: liqo\n", "namespace: "+ns+"\n")
				s := renamed(new(scene).manifest(t, install{"liqo", ns, helm}, manifest), name, false)
				mine := map[cluster.Ref]bool{}
				for _, u := range s.objects {
					mine[refOf(u)] = true
				}
				inv := s.yaml(t, class).install(t, "charts/castai-agent", install{"castai-agent", "castai-agent", true}).
					withNamespaces().take(t, ownership.Options{})
				for ref := range mine {
					if inv.IsOwned(ref) {
						t.Errorf("%s in %s (helm: %t): %s: %s", name, ns, helm, ref, explain(t, inv, ref))
					}
				}
			}
		}
	}
}

// Without anything of a Liqo but its definitions, a RuntimeClass is a leftover, too.
func TestARuntimeClassAloneTakesNoDefinitions(t *testing.T) {
	inv := new(scene).yaml(t, crd("core.liqo.io", "ForeignCluster", "foreignclusters", "Cluster")+
		thing("node.k8s.io/v1", "RuntimeClass", "", "liqo", helmMarks("castai-omni", "omni"))+
		"scheduling: {nodeSelector: {omni.cast.ai/type: virtual-node}}\n").take(t, ownership.Options{})
	wantVerdict(t, inv, "CustomResourceDefinition/foreignclusters.core.liqo.io", "unclear")
}

// Cast AI's Liqo is one installation under any name and in any namespace: it goes
// whole, its definitions and webhooks with its controllers.
func TestLiqoOfCastAIGoesWholeUnderAnyName(t *testing.T) {
	for _, ns := range []string{"castai-agent", "castai-omni", "edges"} {
		for _, helm := range []bool{true, false} {
			for _, alias := range []bool{true, false} {
				s := renamed(omni(t, install{"liqo", ns, helm}), "edge", alias)
				inv := s.take(t, ownership.Options{})
				for _, o := range inv.Objects() {
					switch o.Resource.Kind {
					case "CustomResourceDefinition", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "APIService",
						"Deployment", "DaemonSet", "CronJob", "ClusterRole", "ClusterRoleBinding":
						if !inv.IsOwned(o.Ref()) {
							t.Errorf("%s (helm: %t, alias: %t): %s: %s", ns, helm, alias, o.Ref(), explain(t, inv, o.Ref()))
						}
					}
				}
			}
		}
	}
}

// Where nothing says that Liqo is Cast AI's, its programs stay with the webhooks
// that they answer, whoever published them.
func TestNoProgramOfLiqoGoesWithoutItsWebhooks(t *testing.T) {
	s := omni(t, install{"liqo", "castai-agent", false})
	s.objects = slices.DeleteFunc(s.objects,
		func(u *unstructured.Unstructured) bool { return u.GetKind() == "RuntimeClass" })
	inv := s.take(t, ownership.Options{})
	for _, o := range inv.Objects() {
		if inv.IsOwned(o.Ref()) && o.Resource.Kind != "Namespace" {
			t.Errorf("%s: %s", o.Ref(), explain(t, inv, o.Ref()))
		}
	}
}

// What of Liqo a person keeps, or names, does not go without the rest unseen: the
// blocker names both sides, whatever they are called.
func TestLiqoIsNotSplitUnseen(t *testing.T) {
	s := renamed(omni(t, install{"liqo", "castai-omni", true}), "edge", false)
	var controllers []cluster.Ref
	for _, o := range s.take(t, ownership.Options{}).Objects() {
		if o.Resource.Kind == "Deployment" || o.Resource.Kind == "DaemonSet" {
			controllers = append(controllers, o.Ref())
		}
	}
	inv := s.take(t, ownership.Options{Exclude: controllers})
	i := slices.IndexFunc(inv.Blockers, func(b ownership.Blocker) bool { return b.Name == "split" })
	if i < 0 {
		t.Fatalf("blockers: %+v", inv.Blockers)
	}
	for _, want := range []string{"APIService", "MutatingWebhookConfiguration", "CustomResourceDefinition", "Deployment"} {
		if !slices.ContainsFunc(inv.Blockers[i].Objects, func(r cluster.Ref) bool { return r.Kind == want }) {
			t.Errorf("no %s in %v", want, inv.Blockers[i].Objects)
		}
	}
}
