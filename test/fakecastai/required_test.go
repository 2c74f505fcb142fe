package fakecastai_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/test/fakecastai"
)

// The answers have what the public SDK requires, and Cast AI's job reads: a field
// that is false or empty, too.
func TestRequiredFieldsAreThere(t *testing.T) {
	fake := fakecastai.New(fakecastai.Options{Key: key, Delay: time.Hour})
	fake.AddCluster(fakecastai.Sample("c", "prod", castai.Node{Id: "n", Name: "n", AddedBy: "cast",
		InstanceType: "m7g.xlarge", State: castai.NodeState{Phase: "ready"}}))
	get := func(method, path string) string {
		r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
		r.Header.Set("X-Api-Key", key)
		w := httptest.NewRecorder()
		fake.Handler().ServeHTTP(w, r)
		return strings.ReplaceAll(w.Body.String(), " ", "")
	}
	const nodes = "/v1/kubernetes/external-clusters/c/nodes"
	deleted := get(http.MethodDelete, nodes+"/n")
	operation := deleted[strings.Index(deleted, "operation-"):strings.LastIndex(deleted, `"`)]
	if body := get(http.MethodGet, "/v1/kubernetes/external-clusters/operations/"+operation); !strings.Contains(body,
		`"done":false`) {
		t.Errorf("an operation is %s", body)
	}
	for _, field := range []string{`"labels":{}`, `"annotations":{}`, `"taints":[]`, `"unschedulable":false`,
		`"spotConfig":{`, `"phase":"draining"`} {
		if body := get(http.MethodGet, nodes); !strings.Contains(body, field) {
			t.Errorf("without %s: %s", field, body)
		}
	}
	if body := get(http.MethodGet, "/v1/auth/tokens"); !strings.Contains(body, `"items":[{`) {
		t.Errorf("the keys are %s", body)
	}
	for filter, there := range map[string]bool{"nodeStatus=draining": true, "nodeStatus=ready": false,
		"lifecycleType=spot": false, "instanceType=m7g.xlarge": true, "removalDisabled=true": false, "nodeName=n": true} {
		if body := get(http.MethodGet, nodes+"?"+filter); strings.Contains(body, `"id":"n"`) != there {
			t.Errorf("%s: %s", filter, body)
		}
	}
	var policies struct {
		ClusterLimits  struct{ CPU struct{ MaxCores int32 } }
		NodeDownscaler struct{ EmptyNodes struct{ DelaySeconds int32 } }
	}
	if err := json.Unmarshal([]byte(fakecastai.SamplePolicies), &policies); err != nil ||
		policies.ClusterLimits.CPU.MaxCores == 0 {
		t.Errorf("the SDK can't read the policies: %v", err)
	}
}

// A node that was ordered joins late, whatever the policies are by then.
func TestAnOrderedNodeJoinsLate(t *testing.T) {
	fake := fakecastai.New(fakecastai.Options{Key: key, Delay: time.Millisecond})
	fake.AddCluster(fakecastai.Sample("c", "prod"))
	fake.Order("c", castai.Node{Id: "late", Name: "late"}, 1)
	if phase := fake.Cluster("c").Nodes[0].State.Phase; phase != "creating" {
		t.Errorf("it is %s", phase)
	}
	time.Sleep(2 * time.Millisecond)
	fake.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	if phase := fake.Cluster("c").Nodes[0].State.Phase; phase != "ready" {
		t.Errorf("it is %s", phase)
	}
}
