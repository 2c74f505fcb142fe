package ownership_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/offboard"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// situation is something beside Cast AI's own, and what is to be said of it.
type situation struct {
	name string
	// with is what the situation is put beside: everything of Cast AI's, unless told.
	with func(testing.TB) *scene
	make func(testing.TB, *scene)
	// trust are namespaces that the user vouches for.
	trust []string
	// want maps KIND[.GROUP]/[NAMESPACE/]NAME to the verdict and, after a
	// space, a part of the evidence.
	want map[string]string
}

// TestSituations puts look-alikes and hostile objects beside a complete
// installation. Nothing that is not Cast AI's is owned, or in a plan, and the
// rest of Cast AI's is as owned as without them.
func TestSituations(t *testing.T) {
	all := castAI(t)
	for _, list := range [][]situation{releaseSituations(), accessSituations(), clusterSituations(), namespaceSituations(),
		liqoSituations(), leftoverSituations(), authoritySituations(), aliasSituations(), insideSituations(),
		unlistedSituations(), renamedSituations(), cutSituations(), usedSituations(), madeSituations()} {
		for _, s := range list {
			if s.with == nil {
				s.with = func(testing.TB) *scene { return all.clone() }
			}
			t.Run(s.name, s.test)
		}
	}
}

func (s situation) test(t *testing.T) {
	base := s.with(t)
	alone := base.take(t, ownership.Options{Trust: s.trust})
	s.make(t, base)
	inv := base.take(t, ownership.Options{Trust: s.trust})
	judged := map[cluster.Ref]bool{}
	for name, want := range s.want {
		r, err := cluster.ParseRef(name)
		if err != nil {
			t.Fatal(err)
		}
		verdict, fragment, _ := strings.Cut(want, " ")
		got := explain(t, inv, r)
		if e, err := inv.Explain(r); err == nil {
			judged[e.Object] = true
		}
		if !strings.HasPrefix(got, verdict+";") && got != verdict || !strings.Contains(got, fragment) {
			t.Errorf("%s\n\tis   %s\n\tnot  %s", name, got, want)
		}
	}
	for _, i := range alone.Owned() {
		r := i.Object.Ref()
		if base.find(r.Kind, r.Namespace, r.Name) == nil || judged[r] {
			continue
		}
		// A namespace stays while somebody else's things are in it.
		if r.Kind != "Namespace" && !inv.IsOwned(r) {
			t.Errorf("%s is no longer owned: %s", r, explain(t, inv, r))
		}
	}
	checkPlan(t, inv)
}

// checkPlan fails the test for every action on an object that is not owned, and
// for a Namespace that goes with something that stays.
func checkPlan(t testing.TB, inv *ownership.Inventory) {
	t.Helper()
	for _, phase := range offboard.New(inv, catalogue(t), offboard.Options{}).Phases {
		for _, a := range phase.Actions {
			if !inv.IsOwned(a.Target.Ref) {
				t.Errorf("phase %s has %s on %s, which is %s", phase.Name, a.Verb, a.Target.Ref, explain(t, inv, a.Target.Ref))
			}
			if a.Target.Kind == "Namespace" && a.Verb == engine.Delete {
				everywhere := []string{"kube-root-ca.crt", "istio-ca-root-cert", "default", "default-token-x7k2p"}
				for _, o := range inv.Objects() {
					if o.Namespace == a.Target.Name && !inv.IsOwned(o.Ref()) && !slices.Contains(everywhere, o.Name) {
						t.Errorf("%s goes with its namespace, and is %s", o.Ref(), explain(t, inv, o.Ref()))
					}
				}
			}
		}
	}
}

// deployment is a workload of somebody's, as YAML.
func deployment(namespace, name, image string, more ...string) string {
	return workloadYAML("Deployment", namespace, name, image, more...)
}

// workloadYAML makes a workload; more are lines of its metadata.
func workloadYAML(kind, namespace, name, image string, more ...string) string {
	meta := ""
	for _, m := range more {
		meta += "\n  " + m
	}
	return `---
apiVersion: apps/v1
kind: ` + kind + `
metadata:
  name: ` + name + `
  namespace: ` + namespace + meta + `
spec:
  selector: {matchLabels: {app: ` + name + `}}
  template:
    metadata: {labels: {app: ` + name + `}}
    spec:
      serviceAccountName: ` + name + `
      containers: [{name: main, image: "` + image + `"}]
`
}

// thing is an object without a body, as YAML.
func thing(apiVersion, kind, namespace, name string, more ...string) string {
	out := "---\napiVersion: " + apiVersion + "\nkind: " + kind + "\nmetadata:\n  name: " + name + "\n"
	if namespace != "" {
		out += "  namespace: " + namespace + "\n"
	}
	for _, m := range more {
		out += "  " + m + "\n"
	}
	return out
}

const rbacV1 = "rbac.authorization.k8s.io/v1"

func role(name string, more ...string) string { return thing(rbacV1, "ClusterRole", "", name, more...) }

// binding is a ClusterRoleBinding; subjects are KIND:[NAMESPACE/]NAME.
func binding(name, role string, subjects ...string) string {
	return thing(rbacV1, "ClusterRoleBinding", "", name) + granted("ClusterRole", role, subjects...)
}

func roleBinding(namespace, name, kind, role string, subjects ...string) string {
	return thing(rbacV1, "RoleBinding", namespace, name) + granted(kind, role, subjects...)
}

func granted(kind, role string, subjects ...string) string {
	out := "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: " + kind + ", name: \"" + role + "\"}\nsubjects:\n"
	for _, s := range subjects {
		kind, name, _ := strings.Cut(s, ":")
		ns, account, ok := strings.Cut(name, "/")
		if ok {
			out += "- {kind: " + kind + ", namespace: " + ns + ", name: \"" + account + "\"}\n"
		} else {
			out += "- {kind: " + kind + ", name: \"" + name + "\"}\n"
		}
	}
	return out
}

// helmMarks are the annotations that Helm sets.
func helmMarks(namespace, name string) string {
	return "annotations: {meta.helm.sh/release-name: " + name + ", meta.helm.sh/release-namespace: " + namespace + "}"
}

// crd defines a kind.
func crd(group, kind, plural, scope string, more ...string) string {
	return thing("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", plural+"."+group, more...) +
		"spec: {group: " + group + ", scope: " + scope + ", names: {kind: " + kind + ", plural: " + plural + "}}\n"
}

// webhook is a configuration; services are NAMESPACE/NAME=WEBHOOK, or a URL.
func webhook(name string, services ...string) string {
	out := thing("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", "", name) + "webhooks:\n"
	for _, s := range services {
		service, hook, _ := strings.Cut(s, "=")
		ns, svc, _ := strings.Cut(service, "/")
		if strings.HasPrefix(s, "https:") {
			out += "- {name: hook.example.com, clientConfig: {url: \"" + s + "\"}}\n"
			continue
		}
		out += "- {name: " + hook + ", clientConfig: {service: {namespace: " + ns + ", name: " + svc + "}}}\n"
	}
	return out
}

func yamls(parts ...string) func(testing.TB, *scene) {
	return func(t testing.TB, s *scene) {
		t.Helper()
		s.yaml(t, strings.Join(parts, "\n"))
	}
}
