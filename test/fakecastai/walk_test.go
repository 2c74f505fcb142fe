package fakecastai_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/test/fakecastai"
)

// contract is internal/castai/openapi.yaml.
type contract map[string]any

// at follows a path of keys, and references on the way.
func (c contract) at(node any, path ...string) map[string]any {
	m, _ := node.(map[string]any)
	for {
		ref, _ := m["$ref"].(string)
		if ref == "" {
			break
		}
		m = c.at(map[string]any(c), strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	}
	if len(path) == 0 {
		return m
	}
	return c.at(m[path[0]], path[1:]...)
}

// faults lists what a value lacks of a schema: required fields, types, and numbers
// that fit.
func (c contract) faults(schema map[string]any, value any, where string) (out []string) {
	switch is := value.(type) {
	case map[string]any:
		required, _ := schema["required"].([]any)
		for _, name := range required {
			if _, found := is[fmt.Sprint(name)]; !found {
				out = append(out, fmt.Sprintf("%s lacks %s", where, name))
			}
		}
		properties := c.at(schema["properties"])
		for name, property := range is {
			if s := c.at(properties[name]); s != nil {
				out = append(out, c.faults(s, property, where+"."+name)...)
			}
		}
	case []any:
		for i, item := range is {
			out = append(out, c.faults(c.at(schema["items"]), item, fmt.Sprintf("%s[%d]", where, i))...)
		}
	case float64:
		if schema["format"] == "int32" && (is != math.Trunc(is) || math.Abs(is) > math.MaxInt32) {
			out = append(out, fmt.Sprintf("%s is %v, which no int32 holds", where, is))
		}
	}
	name := map[string]string{"map[string]interface {}": "object", "[]interface {}": "array", "string": "string",
		"bool": "boolean"}[fmt.Sprintf("%T", value)]
	if want, _ := schema["type"].(string); name != "" && want != "" && want != name {
		out = append(out, fmt.Sprintf("%s is %s, and not %s", where, name, want))
	}
	return out
}

// Each answer to a GET has what the contract requires, which is what the public SDK does.
func TestAllAnswersAreWhole(t *testing.T) {
	content, err := os.ReadFile("../../internal/castai/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := contract{}
	if err := yaml.Unmarshal(content, &c); err != nil {
		t.Fatal(err)
	}
	fake := fakecastai.New(fakecastai.Options{Key: key, Delay: time.Hour})
	sample := fakecastai.Sample("c", "prod", castai.Node{Id: "n", Name: "n"}, castai.Node{Id: "gone", Name: "gone"})
	sample.Plans = []castai.RebalancingPlan{{RebalancingPlanId: "p", Status: "finished"}}
	fake.AddCluster(sample)
	fake.AddSchedule(castai.HibernationSchedule{Id: "s", OrganizationId: fakecastai.Organization, Name: "nights"})
	ask := func(method, path string) (int, map[string]any) {
		r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
		r.Header.Set("X-Api-Key", key)
		w := httptest.NewRecorder()
		fake.Handler().ServeHTTP(w, r)
		var body map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Errorf("%s %s: %v", method, path, err)
		}
		return w.Code, body
	}
	_, deleted := ask(http.MethodDelete, "/v1/kubernetes/external-clusters/c/nodes/gone")
	names := strings.NewReplacer("{clusterId}", "c", "{nodeId}", "n", "{operationId}", fmt.Sprint(deleted["operationId"]),
		"{organizationId}", fakecastai.Organization, "{scheduleId}", "s")
	walked := 0
	for path := range c.at(c["paths"]) {
		schema := c.at(c["paths"], path, "get", "responses", "200", "content", "application/json", "schema")
		if schema == nil {
			continue
		}
		code, body := ask(http.MethodGet, names.Replace(path))
		faults := c.faults(schema, body, path)
		slices.Sort(faults)
		if walked++; code != http.StatusOK || len(faults) > 0 {
			t.Errorf("%s: %d\n%s", path, code, strings.Join(faults, "\n"))
		}
	}
	if walked < 10 {
		t.Errorf("only %d paths were walked", walked)
	}
}
