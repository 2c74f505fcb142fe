package ownership_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// lookAlikes makes up objects of somebody else's.
type lookAlikes struct {
	*rand.Rand
	n int
}

func (l *lookAlikes) pick(of ...string) string { return of[l.IntN(len(of))] }

// name resembles one of Cast AI's, and is used once.
func (l *lookAlikes) name() string {
	l.n++
	return fmt.Sprintf("%s%s%s-%d", l.pick("", "pod", "fore", "my-", "x-"),
		l.pick("castai-agent", "castai", "hibernate", "egressd", "liqo-webhook", "castai-pod-mutator", "rebalancer"),
		l.pick("", "-viewer", "-runbook", "er"), l.n)
}

// namespace is one of the user's.
func (l *lookAlikes) namespace() string {
	return l.pick("shop", "castai-costs", "omni-channel", "liqo-lab", "castai-agents", "castai-agent-docs", "podcastai",
		"egressd", "hibernate")
}

// metadata has marks that prove nothing.
func (l *lookAlikes) metadata() []string {
	return [][]string{
		nil, nil,
		{"labels: {app.kubernetes.io/managed-by: castai, app.kubernetes.io/part-of: castai}"},
		{"labels: {app.kubernetes.io/instance: castai-agent}"},
		{"annotations: {meta.helm.sh/release-name: castai-agent}"},
		{helmMarks("shop", "castai-agent")},
		{"labels: {helm.sh/chart: acme-1.0.0, app.kubernetes.io/instance: castai-agent}"},
		{"labels: {helm.sh/chart: castai-agents-1.0.0}"},
		{"labels: {autoscaling.cast.ai/removal-disabled: \"true\", liqo.io/type: virtual-node}"},
		{"annotations: {helm.sh/hook: pre-install}"},
	}[l.IntN(10)]
}

// object makes one.
func (l *lookAlikes) object() string {
	name, ns := l.name(), l.namespace()
	switch l.IntN(16) {
	case 0:
		return deployment(ns, name, l.pick("registry.example.com/agent:1", "nginx", "registry.example.com/castai/agent:1",
			"castaint/agent:1", "us-docker.pkg.dev/castai-hubs/library/agent:1"), l.metadata()...)
	case 1:
		return workloadYAML("StatefulSet", ns, name, "registry.example.com/liqo:1", l.metadata()...) +
			thing("v1", "PersistentVolumeClaim", ns, "data-"+name+"-0")
	case 2:
		return thing("v1", "ConfigMap", ns, name, l.metadata()...)
	case 3:
		return thing("v1", "Secret", ns, name, l.metadata()...)
	case 4:
		return thing("v1", "ServiceAccount", ns, name, l.metadata()...) + binding(name, l.pick("view", "castai-agent", name),
			"ServiceAccount:"+ns+"/"+name)
	case 5:
		return role(name, l.metadata()...)
	case 6:
		return role(name) + binding(name, name, l.pick("User:castai-agent", "Group:castai-agent",
			"Group:system:serviceaccounts:castai-agent", "ServiceAccount:castai-agents/castai-agent"))
	case 7:
		return crd(l.pick("cast.ai.example.com", "broadcast.ai", "cast.airline.io", "liqo.io.example", "castai.example.com",
			"xliqo.io"), fmt.Sprintf("K%d", l.n), fmt.Sprintf("ks%d", l.n), l.pick("Cluster", "Namespaced"))
	case 8:
		return webhook(name, ns+"/"+name+"="+l.pick("pod-mutator.cast.ai", "x.liqo.io", "hook.example.com"))
	case 9:
		return thing("v1", "Service", ns, name, l.metadata()...) + "spec: {selector: {app: " + name + "}}\n"
	case 10:
		return thing("storage.k8s.io/v1", "StorageClass", "", name) + "provisioner: " +
			l.pick("ebs.csi.aws.com", "liqo.io.example/storage") + "\n"
	case 11:
		return thing("v1", "Node", "", name,
			"labels: {provisioner.cast.ai/managed-by: cast.ai, scheduling.cast.ai/spot: \"true\"}") +
			"spec: {providerID: \"aws:///" + name + "\"}\n"
	case 12:
		return thing("policy/v1", "PodDisruptionBudget", ns, "castai-"+name+"-pdb") +
			"spec: {selector: {matchLabels: {app: " + name + "}}}\n"
	case 13:
		return thing("coordination.k8s.io/v1", "Lease", ns, name) + "spec: {holderIdentity: castai-agent-0}\n"
	case 14:
		return thing(rbacV1, "Role", "kube-system", name, l.metadata()...) + roleBinding("kube-system", name, "Role", name,
			"ServiceAccount:"+ns+"/castai-agent")
	default:
		return thing("v1", "PersistentVolume", "", name) + "spec: {storageClassName: liqo}\n"
	}
}

// TestMixtures puts random objects of others beside random installations of
// Cast AI's: none of them is ever owned, or in a plan, and what is owned does
// not depend on them.
func TestMixtures(t *testing.T) {
	r := random(t)
	charts := everyChart()
	for range 12 {
		mine := &scene{}
		for _, chart := range slices.Sorted(maps.Keys(charts)) {
			in := charts[chart]
			if r.IntN(3) == 0 {
				continue
			}
			if r.IntN(2) == 0 && chart != "castware-components" {
				in = install{"r" + in.release, fmt.Sprintf("costs-%d", r.IntN(3)), r.IntN(3) > 0}
			}
			mine.install(t, "charts/"+chart, in)
		}
		want := refs(mine.take(t, ownership.Options{}).Owned())
		mixed, foreign := mine.clone(), map[cluster.Ref]bool{}
		l := &lookAlikes{Rand: r}
		for range 120 {
			others := (&scene{}).yaml(t, l.object())
			if l.IntN(12) == 0 {
				others.release(t, l.pick("acme", "temporal", "egressd", "castai-dashboard"), l.name(), l.namespace(),
					deployment("shop", l.name(), "nginx"))
			}
			mixed.add(others.objects...)
			mixed.records = append(mixed.records, others.records...)
			snap, err := clustertest.Snapshot(others.objects...)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range snap.Objects {
				foreign[o.Ref()] = true
			}
		}
		inv := mixed.take(t, ownership.Options{})
		var got []cluster.Ref
		for _, ref := range refs(inv.Owned()) {
			if foreign[ref] {
				t.Errorf("%s is %s", ref, explain(t, inv, ref))
				continue
			}
			got = append(got, ref)
		}
		for _, ref := range want {
			if !slices.Contains(got, ref) {
				t.Errorf("%s is no longer owned: %s", ref, explain(t, inv, ref))
			}
		}
		for _, ref := range got {
			if !slices.Contains(want, ref) {
				t.Errorf("%s became owned: %s", ref, explain(t, inv, ref))
			}
		}
		checkPlan(t, inv)
		if t.Failed() {
			return
		}
	}
}

func refs(items []*ownership.Item) []cluster.Ref {
	var out []cluster.Ref
	for _, i := range items {
		out = append(out, i.Object.Ref())
	}
	return out
}

// TestInclude takes what is not owned, by name: that and nothing else.
func TestInclude(t *testing.T) {
	s := small(t)
	s.yaml(t, thing("v1", "ConfigMap", "castai-agent", "runbook")+thing("v1", "ConfigMap", "shop", "mine")+
		role("pod-reader")+binding("sre", "pod-reader", "User:sre")+
		crd("pod.cast.ai", "Thing", "things", "Namespaced")+thing("pod.cast.ai/v1", "Thing", "shop", "a")+
		thing("v1", "Namespace", "", "empty")+thing("v1", "ConfigMap", "empty", "kube-root-ca.crt"))
	before := refs(s.take(t, ownership.Options{}).Owned())
	crdRef := cluster.Ref{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: "things.pod.cast.ai"}
	for _, c := range []struct {
		name    string
		include []cluster.Ref
		more    []string
	}{
		{"unclear", []cluster.Ref{{Kind: "ConfigMap", Namespace: "castai-agent", Name: "runbook"}},
			[]string{"ConfigMap/castai-agent/runbook", "Namespace/castai-agent"}},
		{"foreign", []cluster.Ref{{Kind: "ConfigMap", Namespace: "shop", Name: "mine"}}, []string{"ConfigMap/shop/mine"}},
		{"a role, not its bindings", []cluster.Ref{{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole",
			Name: "pod-reader"}}, []string{"ClusterRole.rbac.authorization.k8s.io/pod-reader"}},
		{"a definition, with its objects", []cluster.Ref{crdRef}, []string{crdRef.String(), "Thing.pod.cast.ai/shop/a"}},
		{"a namespace with others inside", []cluster.Ref{{Kind: "Namespace", Name: "shop"}}, nil},
		{"an empty namespace", []cluster.Ref{{Kind: "Namespace", Name: "empty"}}, []string{"Namespace/empty"}},
		{"a built-in namespace", []cluster.Ref{{Kind: "Namespace", Name: "kube-system"}}, nil},
		{"nothing there", []cluster.Ref{{Kind: "ConfigMap", Namespace: "shop", Name: "nothing"}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			inv := s.take(t, ownership.Options{Include: c.include})
			var more []string
			for _, r := range refs(inv.Owned()) {
				if !slices.Contains(before, r) {
					more = append(more, r.String())
				}
			}
			slices.Sort(more)
			slices.Sort(c.more)
			if !slices.Equal(more, c.more) {
				t.Errorf("it added %v, not %v", more, c.more)
			}
			checkPlan(t, inv)
		})
	}
}

// TestExclude keeps what is owned, by name, and what would take it along.
func TestExclude(t *testing.T) {
	s := castAI(t)
	s.yaml(t, thing("apps/v1", "ReplicaSet", "castai-agent", "castai-agent-abc",
		"ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: castai-agent, uid: Deployment.apps/castai-agent/castai-agent, controller: true}]")+
		thing("v1", "Pod", "castai-agent", "castai-agent-abc-1",
			"ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: castai-agent-abc, uid: ReplicaSet.apps/castai-agent/castai-agent-abc, controller: true}]"))
	before := refs(s.take(t, ownership.Options{}).Owned())
	for _, c := range []struct {
		name    string
		exclude string
		kept    []string
	}{
		{"a role", "ClusterRole.rbac.authorization.k8s.io/castai-agent", nil},
		{"something in a namespace", "ConfigMap/castai-agent/castai-agent-metadata", []string{"Namespace/castai-agent"}},
		{"a workload, with its pods", "Deployment.apps/castai-agent/castai-agent",
			[]string{"Namespace/castai-agent", "ReplicaSet.apps/castai-agent/castai-agent-abc",
				"Pod/castai-agent/castai-agent-abc-1"}},
		{"a pod, with its owners", "Pod/castai-agent/castai-agent-abc-1",
			[]string{"Namespace/castai-agent", "ReplicaSet.apps/castai-agent/castai-agent-abc",
				"Deployment.apps/castai-agent/castai-agent"}},
		{"a custom resource, with its definition", "PodMutation.pod-mutations.cast.ai/team-labels",
			[]string{"CustomResourceDefinition.apiextensions.k8s.io/podmutations.pod-mutations.cast.ai",
				"PodMutation.pod-mutations.cast.ai/spot-for-shop"}},
		{"a definition, with its objects", "CustomResourceDefinition.apiextensions.k8s.io/podmutations.pod-mutations.cast.ai",
			[]string{"PodMutation.pod-mutations.cast.ai/team-labels", "PodMutation.pod-mutations.cast.ai/spot-for-shop"}},
		{"a namespace, not what is in it", "Namespace/castai-agent", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := cluster.ParseRef(c.exclude)
			if err != nil {
				t.Fatal(err)
			}
			inv := s.take(t, ownership.Options{Include: []cluster.Ref{r}, Exclude: []cluster.Ref{r}})
			var kept []string
			for _, ref := range before {
				if !inv.IsOwned(ref) && ref != r {
					kept = append(kept, ref.String())
				}
			}
			slices.Sort(kept)
			slices.Sort(c.kept)
			if inv.IsOwned(r) || !slices.Equal(kept, c.kept) {
				t.Errorf("with it, %v stays, not %v", kept, c.kept)
			}
			checkPlan(t, inv)
			for _, home := range inv.Homes {
				if home.Name == r.Namespace && !strings.Contains(fmt.Sprint(home.Keep), r.Name) {
					t.Errorf("namespace %s does not say that it stays for %s", home.Name, r)
				}
			}
		})
	}
}
