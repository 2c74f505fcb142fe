package ownership_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/pkg/ownership"
)

// withThirdParty is a release of a chart of Cast AI's that brings somebody else's
// chart along, beside the agent.
func withThirdParty(t testing.TB, parent, third, release string, record bool) *scene {
	t.Helper()
	name := release + "-" + third
	marks := fmt.Sprintf("labels: {helm.sh/chart: %s-1.2.3, app.kubernetes.io/name: %s, app.kubernetes.io/instance: %s}, %s",
		third, third, release, helmMarks("castai-agent", release))
	source := "# Source: " + parent + "/charts/" + third + "/templates/all.yaml\n"
	var manifest strings.Builder
	for _, doc := range []string{
		"apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: " + name + ", namespace: castai-agent, " + marks + "}\n",
		"apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: " + name + ", namespace: castai-agent, " + marks + "}\n" +
			"spec: {template: {spec: {serviceAccountName: " + name + ", containers: [{name: main, image: registry.example.com/" +
			third + ":1}]}}}\n",
		"apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: " + name + ", " + marks + "}\n",
		"apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: " + name + ", " + marks +
			"}\n" +
			"roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: " + name + "}\n" +
			"subjects: [{kind: ServiceAccount, name: " + name + ", namespace: castai-agent}]\n",
	} {
		manifest.WriteString("---\n" + source + doc)
	}
	// An ordinary name of a chart is not enough: the component itself runs, too.
	s := new(scene).yaml(t, anAgent).yaml(t, manifest.String()).yaml(t, deployment("castai-agent", "runs-"+parent,
		"us-docker.pkg.dev/castai-hub/library/"+parent+":1", helmMarks("castai-agent", release)))
	if record {
		s.forge(t, parent, release, "castai-agent", manifest.String())
	}
	return s.withNamespaces()
}

// fates are, by kind, the verdict on each object of the chart and why it stays.
func fates(t testing.TB, inv *ownership.Inventory, name string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, o := range inv.Objects() {
		if o.Name != name {
			continue
		}
		e, err := inv.Explain(o.Ref())
		if err != nil {
			t.Fatal(err)
		}
		out[o.Resource.Kind] = string(e.Verdict)
		if i := slices.IndexFunc(e.Against, func(e ownership.Evidence) bool { return e.Rule == "third-party" }); i >= 0 {
			out[o.Resource.Kind] += ": " + e.Against[i].Text
		}
	}
	return out
}

// Each chart of somebody else's that Cast AI's bring along goes with them or stays
// as the catalogue says, whatever the release is called, and what stays has the
// same verdict and the same reason once the rest of Cast AI's is gone.
func TestThirdPartiesHaveOneFate(t *testing.T) {
	cat := catalogue(t)
	for _, third := range cat.ThirdParty {
		for _, c := range cat.Components {
			if c.Name != third.Of[0] {
				continue
			}
			for _, record := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s in %s, record %t", third.Chart, c.Charts[0], record), func(t *testing.T) {
					stays := "unclear"
					if third.Stays == "" {
						stays = "foreign" // anybody may have such a chart
					}
					var first map[string]string
					for _, release := range []string{"cost-optimizer", "castai", "x", "my-" + c.Charts[0]} {
						s := withThirdParty(t, c.Charts[0], third.Chart, release, record)
						inv := s.take(t, ownership.Options{})
						is := fates(t, inv, release+"-"+third.Chart)
						if first == nil {
							first = is
						}
						if !maps.Equal(is, first) {
							t.Errorf("release %s: %v, and not %v", release, is, first)
						}
						goes := third.Stays == "" && record
						if pod := is["DaemonSet"]; goes != (pod == "owned") || !goes && !strings.HasPrefix(pod, stays+": ") ||
							!strings.Contains(pod, third.Stays) {
							t.Errorf("release %s: %s", release, pod)
						}
						for kind, after := range fates(t, without(s, inv).take(t, ownership.Options{}), release+"-"+third.Chart) {
							if after != is[kind] {
								t.Errorf("release %s: %s is %s, and after the run %s", release, kind, is[kind], after)
							}
						}
					}
				})
			}
		}
	}
}

// without is a scene after all that is owned in it went.
func without(s *scene, inv *ownership.Inventory) *scene {
	out := new(scene)
	for _, u := range s.objects {
		if !inv.IsOwned(refOf(u)) {
			out.objects = append(out.objects, u)
		}
	}
	for _, r := range s.records {
		if !inv.IsOwned(r.Ref) {
			out.records = append(out.records, r)
		}
	}
	return out
}
