package ownership_test

import (
	"strings"
	"testing"

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
	s := new(scene).manifest(t, install{"liqo", "edges", true}, strings.ReplaceAll(read(t, "testdata/others/liqo.yaml"), "namespace: liqo\n", "namespace: edges\n")).withNamespaces()
	inv := s.take(t, ownership.Options{Trust: []string{"edges"}})
	controller := cluster.Ref{Group: "apps", Kind: "Deployment", Namespace: "edges", Name: "liqo-controller-manager"}
	definition := cluster.Ref{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: "foreignclusters.core.liqo.io"}
	for _, r := range []cluster.Ref{controller, definition} {
		if inv.IsOwned(r) {
			t.Errorf("%s: %s", r, explain(t, inv, r))
		}
	}
}
