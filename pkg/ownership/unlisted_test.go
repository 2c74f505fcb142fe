package ownership_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// A chart of Cast AI's that the catalogue does not name goes whole: with its
// record, without it, and without Helm; where Cast AI lives by name.
func TestAChartThatTheCatalogueDoesNotName(t *testing.T) {
	for name, in := range map[string]struct {
		install
		records bool
		trust   []string
	}{
		"with Helm":            {install: install{"castai-forecaster", "castai-agent", true}, records: true},
		"with another release": {install: install{"costs", "castai-agent", true}, records: true},
		"with its record gone": {install: install{"castai-forecaster", "castai-agent", true}},
		"without Helm":         {install: install{"castai-forecaster", "castai-agent", false}},
		"where the user says so": {install: install{"castai-forecaster", "finops", true}, records: true,
			trust: []string{"finops"}},
		"so, with no record left": {install: install{"castai-forecaster", "finops", true}, trust: []string{"finops"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := (&scene{}).install(t, "unlisted/castai-forecaster", in.install).withNamespaces()
			if !in.records {
				s.records = nil
			}
			inv := s.take(t, ownership.Options{Trust: in.trust})
			for _, u := range s.objects {
				if !inv.IsOwned(refOf(u)) {
					t.Errorf("%s: %s", refOf(u), explain(t, inv, refOf(u)))
				}
			}
			if hasBlocker(inv, "split") {
				t.Errorf("a whole installation is split: %+v", inv.Blockers)
			}
		})
	}
}

func hasBlocker(inv *ownership.Inventory, name string) bool {
	return slices.ContainsFunc(inv.Blockers, func(b ownership.Blocker) bool { return b.Name == name })
}

// A user's own chart that is called like one of Cast AI's runs what he made. Its
// binding has the marks of such a chart, and so a person is asked.
func TestTheProgramOfABindingStays(t *testing.T) {
	s := (&scene{}).install(t, "unlisted/castai-forecaster", install{"castai-forecaster", "castai-agent", true})
	for _, kind := range []string{"Deployment", "CronJob"} {
		u := s.find(kind, "castai-agent", map[string]string{"Deployment": "castai-forecaster",
			"CronJob": "castai-forecaster-retrain"}[kind])
		raw, err := json.Marshal(u.Object)
		if err != nil {
			t.Fatal(err)
		}
		raw = bytes.ReplaceAll(raw, []byte("us-docker.pkg.dev/castai-hub/library"), []byte("registry.example.com/finops"))
		if err := json.Unmarshal(raw, &u.Object); err != nil {
			t.Fatal(err)
		}
	}
	inv := s.take(t, ownership.Options{})
	web := cluster.Ref{Group: "apps", Kind: "Deployment", Namespace: "castai-agent", Name: "castai-forecaster"}
	if inv.IsOwned(web) {
		t.Errorf("a program of others goes: %s", explain(t, inv, web))
	}
	if owned := inv.IsOwned(cluster.Ref{Group: "rbac.authorization.k8s.io", Kind: "ClusterRoleBinding",
		Name: "castai-forecaster"}); owned && !hasBlocker(inv, "split") {
		t.Errorf("its rights go, and nobody is asked: %+v", inv.Blockers)
	}
}

// unlistedSituations are what is like a chart of Cast AI's that the catalogue does not name.
func unlistedSituations() []situation {
	const hub = "us-docker.pkg.dev/castai-hub/library/"
	nothing := func(testing.TB) *scene { return &scene{} }
	insights := func(chart, roleChart, name, account string) string {
		return labelled(role(name), roleChart, "castai-agent", "x") +
			labelled(binding(name, name, "ServiceAccount:"+account), chart, "castai-agent", "x")
	}
	bindings := func(want string, parts ...string) situation {
		return situation{with: nothing, make: yamls(append(parts, thing("v1", "Namespace", "", "castai-agent"))...),
			want: map[string]string{"ClusterRoleBinding/castai-insights": want, "ClusterRole/castai-insights": want}}
	}
	named := func(name string, s situation) situation { s.name = name; return s }
	const chart = "castai-insights-1.0.0"
	two := strings.Replace(deployment("castai-agent", "two", hub+"insights:v1"), "containers: [",
		"containers: [{name: other, image: \"registry.example.com/x:1\"}, ", 1)
	return []situation{
		{
			name: "programs in images of Cast AI's registry",
			make: yamls(deployment("castai-agent", "insights", hub+"insights:v1"), two,
				deployment("castai-agent", "mirrored", "registry.example.com/castai-hub/library/insights:v1"),
				deployment("castai-agent", "near", "us-docker.pkg.dev/castai-hub/library-x/insights:v1"),
				deployment("castai-agent", "metrics-server", hub+"metrics-server:v1"),
				deployment("castai-agent", "numbers", hub+"bitnami/metrics-server:v1"),
				deployment("castai-agent", "fabric", hub+"liqo/liqo-fabric:v1"),
				deployment("castai-agent", "shop", hub+"insights:v1", "labels: {helm.sh/chart: shop-1.0.0}",
					helmMarks("shop", "shop")),
				deployment("shop", "castai-insights", hub+"insights:v1")),
			want: map[string]string{
				"Deployment/castai-agent/insights":       "owned all that it runs is published by Cast AI",
				"Deployment/castai-agent/two":            "foreign it runs registry.example.com/x:1",
				"Deployment/castai-agent/mirrored":       "foreign",
				"Deployment/castai-agent/near":           "foreign",
				"Deployment/castai-agent/metrics-server": "unclear",
				"Deployment/castai-agent/numbers":        "unclear",
				"Deployment/castai-agent/shop":           "unclear it belongs to the Helm release shop/shop",
				"Deployment/shop/castai-insights":        "unclear pass --trust-namespace=shop",
			},
		},
		named("a binding with four marks", bindings("owned",
			insights(chart, chart, "castai-insights", "castai-agent/castai-insights"))),
		named("a binding whose role has another label", bindings("foreign",
			insights(chart, "castai-other-1.0.0", "castai-insights", "castai-agent/castai-insights"))),
		named("a binding for an account with another name", bindings("foreign",
			insights(chart, chart, "castai-insights", "castai-agent/shop"))),
		named("a binding for an account elsewhere", bindings("foreign",
			insights(chart, chart, "castai-insights", "shop/castai-insights"))),
		named("a binding of a chart that is called otherwise", bindings("foreign",
			insights("insights-1.0.0", "insights-1.0.0", "castai-insights", "castai-agent/castai-insights"))),
		named("a binding beside another one of the same chart for others", bindings("foreign",
			insights(chart, chart, "castai-insights", "castai-agent/castai-insights"),
			insights(chart, chart, "shop", "castai-agent/shop"))),
	}
}
