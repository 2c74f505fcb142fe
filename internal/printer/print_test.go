package printer

import (
	"bytes"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

func TestFormatsOfKubectl(t *testing.T) {
	doc := &Inventory{
		TypeMeta: TypeMeta{APIVersion, "Inventory"}, Metadata: Metadata{Cluster: "prod"},
		Owned: []Object{
			{Ref: cluster.Ref{Group: "apps", Kind: "Deployment", Namespace: "castai-agent", Name: "castai-agent"}},
			{Ref: cluster.Ref{Kind: "Namespace", Name: "castai-agent\x1b[31m"}},
		},
		Unclear: []Object{{Ref: cluster.Ref{Kind: "Secret", Namespace: "shop", Name: "s"}}},
	}
	for format, want := range map[string]string{
		"name":                                "deployment.apps/castai-agent\nnamespace/castai-agent\\x1b[31m\nsecret/s\n",
		"jsonpath={.metadata.cluster}":        "prod\n",
		"jsonpath={.owned[*].kind}":           "Deployment Namespace\n",
		"jsonpath={.nothing}":                 "\n",
		"go-template={{len .owned}}":          "2",
		"custom-columns=NS:.namespace,K:kind": "NS            K\ncastai-agent  Deployment\n<none>        Namespace\nshop          Secret\n",
	} {
		var out bytes.Buffer
		if !KnownFormat(format) && format != "name" {
			t.Errorf("%s is not known", format)
		}
		if err := Print(&out, format, doc); err != nil || out.String() != want {
			t.Errorf("%s: %q, %v", format, out.String(), err)
		}
	}
	for _, format := range []string{"xml", "jsonpath={.owned", "go-template={{", "custom-columns=NAME",
		"custom-columns=NAME:", "custom-columns=N:{.a[}", "jsonpath", "go-template"} {
		if err := Print(&bytes.Buffer{}, format, doc); err == nil {
			t.Errorf("%s is accepted", format)
		}
	}
	if KnownFormat("xml") || KnownFormat("json=") || KnownFormat("wide") {
		t.Error("an unknown format is known")
	}
	if err := Print(&bytes.Buffer{}, "name", "no document"); err == nil ||
		!strings.Contains(err.Error(), "not about objects") {
		t.Errorf("%v", err)
	}
}

// What is not Cast AI's is a list, be it empty, and -o name names it.
func TestWhyNotIsADocument(t *testing.T) {
	doc := &WhyNot{Foreign: []Object{{Ref: cluster.Ref{Kind: "Secret", Namespace: "shop", Name: "s"}}}}
	var out bytes.Buffer
	if err := Print(&out, "name", doc); err != nil || out.String() != "secret/s\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	out.Reset()
	if err := Print(&out, "jsonpath={.foreign}", NewWhyNot(&ownership.Inventory{})); err != nil || out.String() != "[]\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}
