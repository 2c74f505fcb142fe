package ownership_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/ownership"
)

// renamedCharts are charts with a binding of their own for an account of their own.
var renamedCharts = []string{"castai-evictor", "castai-pod-mutator", "castai-workload-autoscaler", "castai-spot-handler"}

// A chart that runs as an account that was there before (serviceAccount.create=false)
// goes whole, also without Helm's marks; the account stays.
func TestAnAccountThatWasThereBefore(t *testing.T) {
	for _, chart := range renamedCharts {
		for _, helm := range []bool{true, false} {
			s := (&scene{}).install(t, "charts/"+chart, install{chart, "castai-agent", helm})
			s.objects = slices.DeleteFunc(s.objects, func(u *unstructured.Unstructured) bool {
				return u.GetKind() == "ServiceAccount"
			})
			for _, u := range s.objects {
				runAsDefault(t, u)
			}
			s.records = nil
			s.objects = slices.DeleteFunc(s.objects, isRecord)
			s.yaml(t, thing("v1", "ServiceAccount", "castai-agent", "default"))
			everythingGoes(t, s.withNamespaces(), "ServiceAccount/default")
		}
	}
}

func isRecord(u *unstructured.Unstructured) bool { return u.GetLabels()["owner"] == "helm" }

// runAsDefault makes what a chart renders with serviceAccount.create=false.
func runAsDefault(t *testing.T, u *unstructured.Unstructured) {
	t.Helper()
	for _, path := range [][]string{{"spec", "template", "spec"}, {"spec", "jobTemplate", "spec", "template", "spec"}} {
		if spec, found, err := unstructured.NestedMap(u.Object, path...); found && err == nil {
			spec["serviceAccountName"] = "default"
			if err := unstructured.SetNestedMap(u.Object, spec, path...); err != nil {
				t.Fatal(err)
			}
		}
	}
	subjects, found, err := unstructured.NestedSlice(u.Object, "subjects")
	if !found || err != nil {
		return
	}
	for _, s := range subjects {
		if m, ok := s.(map[string]any); ok && m["kind"] == "ServiceAccount" {
			m["name"] = "default"
		}
	}
	if err := unstructured.SetNestedSlice(u.Object, subjects, "subjects"); err != nil {
		t.Fatal(err)
	}
}

// A chart whose names somebody chose (fullnameOverride) or put something before or
// behind (Kustomize's namePrefix and nameSuffix) goes whole where Cast AI lives by
// name, also without Helm's marks.
func TestNamesOfTheUsersChoice(t *testing.T) {
	for _, chart := range renamedCharts {
		for _, name := range []string{"corp-x", "corp-" + chart, chart + "-corp"} {
			manifest := strings.ReplaceAll(read(t, filepath.Join("testdata/charts", chart+".yaml")), "the-release-"+chart, name)
			manifest = strings.ReplaceAll(manifest, "the-namespace", "castai-agent")
			s := &scene{}
			s.manifest(t, install{"costs", "castai-agent", false}, manifest)
			everythingGoes(t, s.withNamespaces())
		}
	}
}

// everythingGoes fails the test for every object that stays, but for the given ones.
func everythingGoes(t *testing.T, s *scene, but ...string) {
	t.Helper()
	inv := s.take(t, ownership.Options{})
	for _, u := range s.objects {
		if stays := slices.Contains(but, u.GetKind()+"/"+u.GetName()); inv.IsOwned(refOf(u)) == stays {
			t.Errorf("%s: %s", refOf(u), explain(t, inv, refOf(u)))
		}
	}
}

// renamedSituations are bindings for accounts with names that say nothing: what an
// administrator copied in part stays.
func renamedSituations() []situation {
	const evictor, agent = "castai-evictor-0.35.136", "castai-agent-0.153.2"
	pair := func(roleChart, binds, granted, account string) func(testing.TB, *scene) {
		return yamls(chartLabel(role(granted), roleChart),
			chartLabel(binding(binds, granted, "ServiceAccount:"+account), evictor))
	}
	nothing := func(testing.TB) *scene { return &scene{} }
	of := func(name, verdict, binds string, make func(testing.TB, *scene)) situation {
		return situation{name: name, with: nothing, make: make, want: map[string]string{"ClusterRoleBinding/" + binds: verdict}}
	}
	return []situation{
		of("a binding and a role with the names and the label of a chart", "owned", "castai-evictor",
			pair(evictor, "castai-evictor", "castai-evictor", "finops/default")),
		of("the role has no label", "unclear", "castai-evictor",
			pair("", "castai-evictor", "castai-evictor", "finops/default")),
		of("the role has the label of another chart", "unclear", "castai-evictor",
			pair(agent, "castai-evictor", "castai-evictor", "finops/default")),
		of("the role has another name", "unclear", "castai-evictor",
			pair(evictor, "castai-evictor", "payments-reader", "finops/default")),
		of("the binding has another name", "unclear", "payments",
			pair(evictor, "payments", "castai-evictor", "finops/default")),
		of("both have another name, for an account of others", "unclear", "payments",
			pair(evictor, "payments", "payments", "finops/payments")),
		of("both have another name than the account of others beside Cast AI", "unclear", "sre-debug",
			pair(evictor, "sre-debug", "sre-debug", "castai-agent/web")),
		of("both are called after a program of the chart, for an account of others", "unclear", "castai-evictor-x",
			pair(evictor, "castai-evictor-x", "castai-evictor-x", "finops/default")),
		of("so, where Cast AI lives by name", "owned", "castai-evictor-x",
			pair(evictor, "castai-evictor-x", "castai-evictor-x", "castai-agent/default")),
		of("both have the account's name, where Cast AI lives by name", "owned", "corp-x-crds",
			pair(evictor, "corp-x-crds", "corp-x-crds", "castai-agent/corp-x")),
		{name: "a built-in role with a label", with: nothing, make: pair(evictor, "castai-evictor", "system:corp",
			"castai-agent/default"), want: map[string]string{"ClusterRole/system:corp": "unclear"}},
		{
			name: "what others made with an account that was there before stays", with: nothing,
			make: yamls(chartLabel(role("castai-evictor"), evictor),
				chartLabel(binding("castai-evictor", "castai-evictor", "ServiceAccount:castai-agent/default"), evictor),
				binding("shop", "shop", "ServiceAccount:castai-agent/default"), role("shop"),
				roleBinding("kube-system", "shop", "Role", "shop", "ServiceAccount:castai-agent/default"),
				thing(rbacV1, "Role", "kube-system", "shop"),
				chartLabel(thing(rbacV1, "Role", "kube-system", "corp"), agent),
				chartLabel(roleBinding("kube-system", "corp", "Role", "corp", "ServiceAccount:castai-agent/default"), agent),
				chartLabel(thing(rbacV1, "Role", "shop", "corp"), agent),
				chartLabel(roleBinding("shop", "corp", "Role", "corp", "ServiceAccount:castai-agent/default"), agent),
				chartLabel(thing(rbacV1, "Role", "kube-system", "web"), agent),
				chartLabel(roleBinding("kube-system", "web", "Role", "web", "ServiceAccount:shop/default"), agent)),
			want: map[string]string{
				"ClusterRoleBinding/castai-evictor": "owned", "ClusterRole/castai-evictor": "owned",
				"ClusterRoleBinding/shop": "foreign", "ClusterRole/shop": "foreign",
				"RoleBinding/kube-system/shop": "foreign", "Role/kube-system/shop": "foreign",
				"RoleBinding/kube-system/corp": "owned", "Role/kube-system/corp": "owned",
				"RoleBinding/shop/corp": "unclear", "Role/shop/corp": "unclear",
				"RoleBinding/kube-system/web": "unclear", "Role/kube-system/web": "unclear",
			},
		},
	}
}

// chartLabel puts the label of a chart on an object.
func chartLabel(manifest, chart string) string {
	if chart == "" {
		return manifest
	}
	return strings.Replace(manifest, "metadata:\n", "metadata:\n  labels: {helm.sh/chart: "+chart+"}\n", 1)
}

// Helm's template cuts RELEASE-NAME at 63 characters, and a dash at the end: a chart
// under a long name goes whole all the same, in a namespace of any name.
func TestNamesThatHelmCuts(t *testing.T) {
	const long = "costs-of-the-production-cluster-in-western-europe-01"
	for _, chart := range []string{"castai-pod-mutator", "castai-workload-autoscaler", "castai-spot-handler"} {
		for _, keep := range []int{62, 63} { // 62: the cut leaves a dash, which goes, too
			dash := strings.LastIndex(chart, "-") + 1
			release := long[:63-1-dash]
			if keep == 63 {
				release = long[:63-1-dash-2]
			}
			name := strings.TrimSuffix((release + "-" + chart)[:63], "-")
			if len(name) != keep {
				t.Fatalf("%s has %d characters", name, len(name))
			}
			manifest := strings.ReplaceAll(read(t, filepath.Join("testdata/charts", chart+".yaml")), "the-release-"+chart, name)
			manifest = strings.ReplaceAll(manifest, "the-release", release)
			manifest = strings.ReplaceAll(manifest, "the-namespace", "finops")
			s := &scene{}
			s.manifest(t, install{release, "finops", false}, manifest)
			everythingGoes(t, s.withNamespaces())
		}
	}
}

// cutSituations are names that are nearly those which Helm's template cuts.
func cutSituations() []situation {
	const release = "costs-of-the-production-cluster-in-western-eu"
	nothing := func(testing.TB) *scene { return &scene{} }
	of := func(name string) string {
		return role(name) + strings.Replace(binding(name, name, "ServiceAccount:finops/"+name), "metadata:\n",
			"metadata:\n  labels: {app.kubernetes.io/instance: "+release+"}\n", 1)
	}
	binds := func(name, want, rest string) situation {
		return situation{name: name, with: nothing, make: yamls(of(release + "-" + rest)),
			want: map[string]string{"ClusterRoleBinding/" + release + "-" + rest: want}}
	}
	return []situation{
		binds("a name that Helm has cut", "owned", "castai-workload-a"),
		binds("a name that is as long, and begins otherwise", "foreign", "castai-workloadsx"),
		binds("a name that is one character short", "foreign", "castai-pod-mutat"),
		binds("a cut name that may be anybody's", "foreign", "gpu-metrics-expor"),
	}
}
