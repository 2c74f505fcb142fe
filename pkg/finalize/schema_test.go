package finalize_test

import (
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/pkg/finalize"
)

const gears = "gears.strict.example.com"

// strict is a definition by which objects of version v1 need a spec.
func strict(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gears.strict.example.com}
spec:
  group: strict.example.com
  scope: Namespaced
  names: {plural: gears, kind: Gear}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, required: [spec], properties: {spec: {type: object, required: [size]}}}}
    - name: v2
      served: true
      storage: false
      schema: {openAPIV3Schema: {type: object, x-kubernetes-validations: [{rule: has(self.spec)}]}}
`), u); err != nil {
		t.Fatal(err)
	}
	return u
}

// refusing is a server on which the definition refuses to free a gear.
func refusing(t *testing.T) (*clustertest.Server, cluster.Ref) {
	t.Helper()
	server := clustertest.Serve(t, strict(t),
		deleted(clustertest.Object("v1", "Namespace", "", "shop")),
		deleted(clustertest.Object("strict.example.com/v1", "Gear", "shop", "g"), "example.com/hold"),
	)
	crd := cluster.Ref{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: gears}
	server.Before(func(r *clustertest.Request) clustertest.Fault {
		if r.Resource != "gears" || r.Verb != "patch" || len(schemaOf(server.Get(crd), 0)) == 2 {
			return clustertest.Fault{}
		}
		return clustertest.Fault{Err: apierrors.NewInvalid(schema.GroupKind{Group: "strict.example.com", Kind: "Gear"}, "g",
			field.ErrorList{field.Required(field.NewPath("spec"), "")})}
	})
	return server, crd
}

// schemaOf returns the root of the schema of a version.
func schemaOf(crd *unstructured.Unstructured, version int) map[string]any {
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	root, _, _ := unstructured.NestedMap(versions[version].(map[string]any), "schema", "openAPIV3Schema")
	return root
}

// TestSchema holds that a definition whose schema refuses to free an object is not
// changed unless it is named, and then put back, with the undo on it meanwhile.
func TestSchema(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, crd := refusing(t)
		was := server.Get(crd)
		r := &finalize.Runner{Cluster: server.Client(), Namespaces: []string{"shop"}}
		ds := judged(t, r)
		refusals := r.Refusals(ds)
		if len(refusals) != 1 || !strings.Contains(refusals[0].Message, "--relax-crd="+gears) ||
			!strings.Contains(refusals[0].Message, `required ["spec"] at the root of version v1`) ||
			!strings.Contains(refusals[0].Message, `"op":"add","path":"/spec/versions/0/schema/openAPIV3Schema/required"`) {
			t.Fatalf("%+v", refusals)
		}
		if _, err := r.Run(t.Context(), ds); err == nil || !reflect.DeepEqual(server.Get(crd), was) {
			t.Fatalf("it was not named: %v", err)
		}

		r.Options.RelaxSchemas = []string{gears}
		ds = judged(t, r)
		var phases []string
		for _, p := range r.Plan(ds).Phases {
			phases = append(phases, p.Name)
		}
		if phases[0] != finalize.PhaseRelax || phases[len(phases)-1] != finalize.PhasePutBack {
			t.Errorf("the preview has %q", phases)
		}
		if check := finalize.Check(ds, r.Options); len(check.Phases) != 1 || check.Phases[0].Name != finalize.PhaseRelax {
			t.Errorf("the server is to judge %+v", check.Phases)
		}
		undo := ""
		server.Before(func(req *clustertest.Request) clustertest.Fault {
			if req.Resource == "gears" && req.Verb == "patch" && undo == "" {
				undo = server.Get(crd).GetAnnotations()[finalize.RelaxedAnnotation]
			}
			return clustertest.Fault{}
		})
		result, err := r.Run(t.Context(), ds)
		if err != nil || len(result.Left) > 0 {
			t.Fatalf("%v, left %q", err, result.Left)
		}
		now := server.Get(crd)
		if !reflect.DeepEqual(now.Object["spec"], was.Object["spec"]) || len(now.GetAnnotations()) > 0 {
			t.Errorf("it is %v, was %v", now.Object, was.Object)
		}
		if !strings.Contains(undo, `"keyword":"required"`) ||
			!strings.Contains(undo, `"keyword":"x-kubernetes-validations"`) {
			t.Errorf("while it was relaxed it said %q", undo)
		}
	})
}

// TestSchemaChangedMeanwhile holds that what somebody else writes into the schema while
// it is relaxed stays.
func TestSchemaChangedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, crd := refusing(t)
		r := &finalize.Runner{Cluster: server.Client(), Namespaces: []string{"shop"},
			Options: finalize.Options{RelaxSchemas: []string{gears}}}
		ds := judged(t, r)
		server.BeforeNth(1, func(req *clustertest.Request) bool { return req.Resource == "gears" && req.Verb == "patch" },
			func(*clustertest.Request) clustertest.Fault {
				now := server.Get(crd)
				versions, _, _ := unstructured.NestedSlice(now.Object, "spec", "versions")
				theirs := map[string]any{"type": "object", "required": []any{"status"}}
				_ = unstructured.SetNestedMap(versions[0].(map[string]any), theirs, "schema", "openAPIV3Schema")
				_ = unstructured.SetNestedSlice(now.Object, versions, "spec", "versions")
				server.Put(now)
				return clustertest.Fault{}
			})
		if _, err := r.Run(t.Context(), ds); err != nil {
			t.Fatal(err)
		}
		now := server.Get(crd)
		if got := schemaOf(now, 0)["required"]; !reflect.DeepEqual(got, []any{"status"}) {
			t.Errorf("version v1 requires %v", got)
		}
		if schemaOf(now, 1)["x-kubernetes-validations"] == nil {
			t.Errorf("version v2 is still relaxed: %v", now.Object)
		}
	})
}

// TestSchemaStaysRelaxed holds that a schema which could not be put back is named, with
// what puts it back.
func TestSchemaStaysRelaxed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, crd := refusing(t)
		r := &finalize.Runner{Cluster: server.Client(), Namespaces: []string{"shop"},
			Options: finalize.Options{RelaxSchemas: []string{gears}}}
		ds := judged(t, r)
		server.Before(func(req *clustertest.Request) clustertest.Fault {
			relaxed := len(server.Get(crd).GetAnnotations()) > 0
			if req.Resource == "customresourcedefinitions" && req.Verb == "patch" && relaxed {
				return clustertest.Fault{Err: apierrors.NewForbidden(schema.GroupResource{Resource: req.Resource}, gears, nil)}
			}
			return clustertest.Fault{}
		})
		_, err := r.Run(t.Context(), ds)
		if err == nil || !strings.Contains(err.Error(), "is still relaxed: kubectl patch crd "+gears) {
			t.Fatalf("%v", err)
		}
	})
}

// TestSchemaOfAKilledRun holds that the next look names a definition that a run has left relaxed, with the command
// that puts back what is not there again, and takes the mark off.
func TestSchemaOfAKilledRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, crd := refusing(t)
		r := &finalize.Runner{Cluster: server.Client(), Namespaces: []string{"shop"}}
		o, err := r.Observe(t.Context())
		if err != nil || len(o.StillRelaxed()) > 0 {
			t.Fatalf("%v, %q", err, o.StillRelaxed())
		}
		now := server.Get(crd)
		versions, _, _ := unstructured.NestedSlice(now.Object, "spec", "versions")
		unstructured.RemoveNestedField(versions[0].(map[string]any), "schema", "openAPIV3Schema", "required")
		_ = unstructured.SetNestedSlice(now.Object, versions, "spec", "versions")
		now.SetAnnotations(map[string]string{finalize.RelaxedAnnotation: `[{"version":"v1","keyword":"required",` +
			`"value":["spec"]},{"version":"v2","keyword":"x-kubernetes-validations","value":[]}]`})
		server.Put(now)
		if o, err = r.Observe(t.Context()); err != nil || len(o.StillRelaxed()) != 1 {
			t.Fatalf("%v, %q", err, o.StillRelaxed())
		}
		const undo = `kubectl patch crd gears.strict.example.com --type=json -p ` +
			`'[{"op":"remove","path":"/metadata/annotations/castai.kubectl.dev~1relaxed"},` +
			`{"op":"add","path":"/spec/versions/0/schema/openAPIV3Schema/required","value":["spec"]}]'`
		if said := o.StillRelaxed()[0]; !strings.HasSuffix(said, undo) {
			t.Errorf("%s", said)
		}
	})
}
