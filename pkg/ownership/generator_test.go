package ownership_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// generator makes up what an attacker writes. What it draws from is all that the
// catalogue knows and all that is in the cluster.
type generator struct {
	*rand.Rand
	t      testing.TB
	st     *stage
	donors []*unstructured.Unstructured

	names, images, charts, releases []string
	labels, annotations             map[string][]string
	scenes                          map[string]*scene // see installed
	labelKeys, annotationKeys       []string
}

// tenantKinds are kinds that the role admin may write (bootstrappolicy/policy.go,
// editRules), and Endpoints, which older clusters let it.
var tenantKinds = [][2]string{
	{"v1", "ConfigMap"}, {"v1", "Secret"}, {"v1", "ServiceAccount"}, {"v1", "Service"}, {"v1", "Endpoints"}, {"v1", "Pod"},
	{"v1", "PersistentVolumeClaim"}, {"v1", "Event"}, {"v1", "ReplicationController"}, {"apps/v1", "Deployment"},
	{"apps/v1", "StatefulSet"}, {"apps/v1", "DaemonSet"}, {"apps/v1", "ReplicaSet"}, {"batch/v1", "Job"},
	{"batch/v1", "CronJob"}, {rbacV1, "Role"}, {rbacV1, "RoleBinding"}, {"coordination.k8s.io/v1", "Lease"},
	{"policy/v1", "PodDisruptionBudget"}, {"autoscaling/v2", "HorizontalPodAutoscaler"},
	{"discovery.k8s.io/v1", "EndpointSlice"}, {"networking.k8s.io/v1", "NetworkPolicy"}, {"networking.k8s.io/v1",
		"Ingress"},
}

// knownNames are those that the code itself knows, beside the catalogue's.
var knownNames = []string{
	"castai-agent-metadata", "castai-cluster-controller", "castai-hibernate-state", "castai-hibernate",
	"castai-credentials", "castai-live", "castai", "robot", "web", "default", "kube-root-ca.crt", "data-castai-agent-0",
	"metrics-server", "platform",
	"castai-agent-proxy", "x-castai-agent", "castai-cost-report", "hibernate", "liqo-webhook", "liqo-controller-manager",
}

func newGenerator(t testing.TB, st *stage, whole *scene, r *rand.Rand) *generator {
	g := &generator{
		Rand: r, t: t, st: st, labels: map[string][]string{}, annotations: map[string][]string{},
		scenes: map[string]*scene{}, names: slices.Clone(knownNames),
	}
	g.donors = slices.Concat(whole.objects, st.donors)
	cat := st.catalogue
	for _, c := range cat.Components {
		g.names = append(g.names, slices.Concat(c.Workloads, c.Charts, c.Webhooks)...)
		g.charts = append(g.charts, c.Charts...)
		for _, object := range c.Objects {
			_, name, _ := strings.Cut(object, "/")
			g.names = append(g.names, name)
		}
		for _, name := range slices.Concat(c.Workloads, []string{c.Name}) {
			g.images = append(
				g.images, "us-docker.pkg.dev/castai-hub/library/"+strings.TrimPrefix(name, "castai-")+":v1",
				"mirror.example.com/castai-hub/library/"+name,
			)
		}
	}
	for _, third := range cat.ThirdParty {
		g.charts = append(g.charts, third.Chart)
	}
	g.charts = append(g.charts, "castai-anything", "castware-anything", "acme", "liqo")
	g.images = append(
		g.images, "nginx", "docker.io/castai/x:1", "ghcr.io/castai/liqo:1", "liqotech/liqo-controller-manager:v1",
	)
	g.harvest()
	return g
}

// harvest collects the names and marks in the cluster.
func (g *generator) harvest() {
	add := func(to map[string][]string, from map[string]string) {
		for key, value := range from {
			if !slices.Contains(to[key], value) {
				to[key] = append(to[key], value)
			}
		}
	}
	for _, u := range g.donors {
		g.names = append(g.names, u.GetName())
		add(g.labels, u.GetLabels())
		add(g.annotations, u.GetAnnotations())
		if name := u.GetAnnotations()["meta.helm.sh/release-name"]; name != "" && !slices.Contains(g.releases, name) {
			g.releases = append(g.releases, name)
		}
	}
	g.releases = append(g.releases, "castai", "platform", "costs")
	for _, key := range []string{"helm.sh/chart", "app.kubernetes.io/name"} {
		for _, chart := range g.charts {
			add(g.labels, map[string]string{key: chart + map[string]string{"helm.sh/chart": "-1.2.3"}[key]})
		}
	}
	for _, m := range []map[string]string{
		{
			"liqo.io/type": "virtual-node", "owner": "helm", "omni.cast.ai/type": "edge", "name": "castai-agent",
			"version": "99",
		},
		{
			"provisioner.cast.ai/node-id": "8f2a7c1e-0001-4000-8000-000000000001", "provisioner.cast.ai/managed-by": "cast.ai",
		},
		{"scheduling.cast.ai/paused-cluster": "true", "kubernetes.io/service-name": "castai-pod-mutator"},
		{"rbac.authorization.k8s.io/aggregate-to-edit": "true", "app.kubernetes.io/managed-by": "castai"},
	} {
		add(g.labels, m)
	}
	add(g.annotations, map[string]string{
		"meta.helm.sh/release-name": "castai-agent", "helm.sh/hook": "pre-install",
		"castai.kubectl.dev/hibernation": "pausing",
		"castai.kubectl.dev/hibernate":   "{}", "castai.kubectl.dev/stopped": "3",
		"kubernetes.io/service-account.name": "castai-agent",
		"argocd.argoproj.io/tracking-id":     "x", "kubernetes.io/config.mirror": "x",
	})
	for _, ns := range []string{g.st.namespace, "castai-agent", "castai-omni", "neighbour"} {
		add(g.annotations, map[string]string{"meta.helm.sh/release-namespace": ns})
	}
	g.labelKeys, g.annotationKeys = slices.Sorted(maps.Keys(g.labels)), slices.Sorted(maps.Keys(g.annotations))
	for _, values := range []map[string][]string{g.labels, g.annotations} {
		for _, key := range slices.Sorted(maps.Keys(values)) {
			slices.Sort(values[key])
		}
	}
	slices.Sort(g.releases)
	slices.Sort(g.names)
	g.names = slices.Compact(g.names)
}

func pick[T any](g *generator, of []T) T { return of[g.IntN(len(of))] }

// often is true in percent of all cases.
func (g *generator) often(percent int) bool { return g.IntN(100) < percent }

// writes makes up what an attacker does: anything from one object to a whole
// installation with its records.
func (g *generator) writes() []write {
	if g.st.node != "" {
		return g.kubelet()
	}
	var out []write
	if g.often(15) {
		out = g.installation()
	}
	for range 1 + g.IntN(12) {
		switch g.IntN(8) {
		case 0, 1:
			out = append(out, g.copied())
		case 2:
			out = append(out, g.release())
		case 3:
			out = append(out, g.removal()...)
		default:
			out = append(out, write{object: g.object(pick(g, tenantKinds))})
		}
	}
	return out
}

// object makes one up from its parts.
func (g *generator) object(kind [2]string) *unstructured.Unstructured {
	u := clustertest.Object(kind[0], kind[1], g.st.namespace, pick(g, g.names))
	g.mark(u)
	g.body(u)
	return u
}

// mark gives an object labels, annotations, owners, finalizers and managers.
func (g *generator) mark(u *unstructured.Unstructured) {
	labels, annotations := u.GetLabels(), u.GetAnnotations()
	if labels == nil {
		labels = map[string]string{}
	}
	if annotations == nil {
		annotations = map[string]string{}
	}
	for range g.IntN(3) {
		key := pick(g, g.labelKeys)
		labels[key] = pick(g, g.labels[key])
	}
	for _, key := range []string{"helm.sh/chart", "app.kubernetes.io/name", "app.kubernetes.io/instance"} {
		if g.often(25) {
			labels[key] = pick(g, g.labels[key])
		}
	}
	if g.often(25) {
		annotations["meta.helm.sh/release-name"] = pick(g, g.releases)
		annotations["meta.helm.sh/release-namespace"] = pick(g, g.annotations["meta.helm.sh/release-namespace"])
	}
	for range g.IntN(2) {
		key := pick(g, g.annotationKeys)
		annotations[key] = pick(g, g.annotations[key])
	}
	u.SetLabels(labels)
	u.SetAnnotations(annotations)
	if g.often(20) {
		u.SetOwnerReferences(g.owners())
	}
	if g.often(10) {
		u.SetFinalizers([]string{pick(
			g, []string{"castware.cast.ai/cleanup-helm", "crdreplicator.liqo.io/operator", "x.cast.ai/y", "example.com/hold"},
		)})
	}
	if g.often(25) {
		manager := pick(
			g,
			[]string{
				"castai-agent", "agent", "castai-pdb-controller", "kentroller", "helm", "kubectl", "liqo-controller-manager",
			},
		)
		u.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate}})
	}
}

// owners names objects anywhere in the cluster, or one that the attacker makes himself.
func (g *generator) owners() []metav1.OwnerReference {
	o := pick(g, g.st.base)
	uid := o.UID
	if g.often(20) {
		uid = types.UID(cluster.Ref{
			Group: "apps", Kind: "Deployment", Namespace: g.st.namespace, Name: "castai-agent",
		}.String())
	}
	controller := g.often(50)
	return []metav1.OwnerReference{{
		APIVersion: o.Resource.APIVersion(), Kind: o.Resource.Kind, Name: o.Name, UID: uid, Controller: &controller,
	}}
}

// body gives an object what the rules look at.
func (g *generator) body(u *unstructured.Unstructured) {
	set := func(value any, path ...string) {
		if err := unstructured.SetNestedField(u.Object, value, path...); err != nil {
			g.t.Fatal(err)
		}
	}
	switch u.GetKind() {
	case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job":
		set(g.podSpec(), "spec", "template", "spec")
		set(g.someLabels(), "spec", "template", "metadata", "labels")
		set(int64(g.IntN(2)), "spec", "replicas")
		set(int64(g.IntN(2)), "status", "readyReplicas")
	case "CronJob":
		set(g.podSpec(), "spec", "jobTemplate", "spec", "template", "spec")
	case "Pod":
		set(g.podSpec(), "spec")
	case "Service":
		set(g.someLabels(), "spec", "selector")
	case "PodDisruptionBudget":
		set(g.someLabels(), "spec", "selector", "matchLabels")
	case "PersistentVolumeClaim":
		set(pick(g, []string{"liqo", "standard"}), "spec", "storageClassName")
		set("tenant-data", "spec", "volumeName")
	case "Lease":
		set(pick(g, g.names)+"-x_1", "spec", "holderIdentity")
	case "ConfigMap":
		set(map[string]any{"CLUSTER_ID": otherCluster, "API_URL": "https://api.example.com"}, "data")
	case "RoleBinding":
		set(g.roleRef(), "roleRef")
		var subjects []any
		for range g.IntN(3) {
			subjects = append(subjects, map[string]any{
				"kind": pick(g, []string{"ServiceAccount", "ServiceAccount", "User", "Group"}), "name": pick(g, g.names),
				"namespace": pick(g, []string{g.st.namespace, "castai-agent", "neighbour"}),
			})
		}
		set(subjects, "subjects")
	}
}

func (g *generator) someLabels() map[string]any {
	key := pick(g, []string{"app", "app.kubernetes.io/name", "app.kubernetes.io/instance"})
	return map[string]any{key: pick(g, g.names)}
}

// roleRef names a role anywhere.
func (g *generator) roleRef() map[string]any {
	ref := map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": pick(g, g.names)}
	if g.often(70) {
		ref["kind"] = "ClusterRole"
		roles := slices.DeleteFunc(
			slices.Clone(g.st.base), func(o *cluster.Object) bool { return o.Resource.Kind != "ClusterRole" },
		)
		ref["name"] = pick(g, roles).Name
	}
	return ref
}

func (g *generator) podSpec() map[string]any {
	spec := map[string]any{
		"serviceAccountName": pick(g, g.names),
		"containers": []any{map[string]any{
			"name": "main", "image": pick(g, g.images),
			"env": []any{
				map[string]any{"name": "CLUSTER_ID", "value": otherCluster},
				map[string]any{"name": "API_URL", "value": "https://api.example.com"},
			},
			"envFrom": []any{map[string]any{"configMapRef": map[string]any{"name": pick(g, g.names)}}},
		}},
		"volumes":     []any{map[string]any{"secret": map[string]any{"secretName": pick(g, g.names)}}},
		"tolerations": []any{map[string]any{"key": "scheduling.cast.ai/paused-cluster"}},
	}
	if g.often(20) {
		spec["nodeSelector"] = map[string]any{"scheduling.cast.ai/spot": "true"}
	}
	return spec
}

// copied is an object of a real installation, put into the attacker's namespace.
func (g *generator) copied() write {
	for {
		u := pick(g, g.donors)
		if u.GetNamespace() == "" || guarded(cluster.Ref{Kind: u.GetKind()}) {
			continue
		}
		u = u.DeepCopy()
		u.SetNamespace(g.st.namespace)
		u.SetUID("")
		if g.often(30) {
			u.SetName(pick(g, g.names))
		}
		if g.often(40) {
			g.mark(u)
		}
		return write{object: u}
	}
}

// installed is a chart as helm install leaves it, which takes long to make.
func (g *generator) installed(chart string, in install) *scene {
	key := fmt.Sprint(chart, in)
	if g.scenes[key] == nil {
		g.scenes[key] = (&scene{}).install(g.t, "charts/"+chart, in)
	}
	return g.scenes[key]
}

// installation is all of a chart that lives in namespaces, with the record that
// Helm would keep: it lists the rest.
func (g *generator) installation() []write {
	charts := everyChart()
	chart := pick(g, slices.Sorted(maps.Keys(charts)))
	s := g.installed(chart, install{pick(g, []string{charts[chart].release, "mine"}), g.st.namespace, g.often(70)})
	var out []write
	for _, u := range s.objects {
		if u.GetNamespace() == g.st.namespace && !guarded(cluster.Ref{Kind: u.GetKind()}) {
			out = append(out, write{object: u})
		}
	}
	for i, w := range out {
		for _, r := range s.records {
			if r.Ref == w.ref() {
				out[i].record = r.Data
			}
		}
	}
	return out
}

// removal deletes something of the attacker's namespace, or scales it to nothing.
func (g *generator) removal() []write {
	var mine []*cluster.Object
	for _, o := range g.st.base {
		if o.Namespace == g.st.namespace && !guarded(o.Ref()) {
			mine = append(mine, o)
		}
	}
	if len(mine) == 0 {
		return nil
	}
	o := pick(g, mine)
	return []write{{
		object: clustertest.Object(o.Resource.APIVersion(), o.Resource.Kind, o.Namespace, o.Name), remove: true,
	}}
}

// release is a record of Helm's that lists whatever is in the cluster.
func (g *generator) release() write {
	chart, name, version := pick(g, g.charts), pick(g, g.releases), 1+g.IntN(3)
	var manifest strings.Builder
	var hooks []map[string]string
	for range g.IntN(8) {
		o := pick(g, g.st.base)
		doc := fmt.Sprintf(
			"apiVersion: %s\nkind: %s\nmetadata: {name: %q, namespace: %q}\n", o.Resource.APIVersion(), o.Resource.Kind,
			o.Name, o.Namespace,
		)
		if g.often(40) {
			doc = "# Source: " + chart + "/charts/" + pick(g, g.charts) + "/templates/x.yaml\n" + doc
		}
		if g.often(40) {
			hooks = append(hooks, map[string]string{"path": chart + "/templates/x.yaml", "manifest": doc})
		} else {
			manifest.WriteString("---\n" + doc)
		}
	}
	if g.often(60) {
		manifest.WriteString("---\n" + deployment(g.st.namespace, pick(g, g.names), pick(g, g.images)))
	}
	metadata := map[string]any{"name": chart, "version": "1.2.3"}
	if g.often(30) {
		metadata["home"] = "https://cast.ai"
	}
	if g.often(20) {
		metadata["dependencies"] = []any{map[string]any{"name": pick(g, g.charts), "alias": pick(g, g.charts)}}
	}
	data := encode(g.t, map[string]any{
		"name": name, "namespace": g.st.namespace, "manifest": manifest.String(), "hooks": hooks,
		"chart": map[string]any{"metadata": metadata},
	})
	u := clustertest.Object(
		"v1", pick(g, []string{"Secret", "Secret", "ConfigMap"}), g.st.namespace,
		fmt.Sprintf("sh.helm.release.v1.%s.v%d", name, version),
	)
	u.SetLabels(map[string]string{"owner": "helm", "name": name, "version": fmt.Sprint(version), "status": "deployed"})
	return write{object: u, record: data}
}

// unpack is the document of a record.
func unpack(data []byte) []byte {
	raw, err := base64.StdEncoding.DecodeString(string(data))
	if err != nil {
		return nil
	}
	r, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return raw
	}
	doc, err := io.ReadAll(r)
	if err != nil {
		return nil
	}
	return doc
}

// kubelet makes up what a kubelet may write (plugin/pkg/admission/noderestriction):
// its Node, with taints and a providerID when it registers, its Lease, and pods
// that mirror static ones, in any namespace.
func (g *generator) kubelet() []write {
	node := clustertest.Object("v1", "Node", "", g.st.node)
	g.mark(node)
	node.SetOwnerReferences(nil)
	node.SetLabels(withoutKey(node.GetLabels(), "node-restriction.kubernetes.io/"))
	spec := map[string]any{"providerID": pick(g, []string{
		"", "castai-omni://edge-1", "aws:///eu-central-1a/i-0another", "aws:///us-east-2a/i-0another",
		"azure:///subscriptions/another-subscription/resourceGroups/MC_another/providers/x", "k3s://worker-1",
	})}
	var taints []any
	for range g.IntN(3) {
		taints = append(taints, map[string]any{"key": pick(g, []string{
			"scheduling.cast.ai/paused-cluster", "scheduling.cast.ai/pod-pinning-preparing", "virtual-node.liqo.io/not-allowed",
			"autoscaling.cast.ai/draining", "example.com/gpu",
		}), "effect": "NoSchedule"})
	}
	spec["taints"], spec["unschedulable"] = taints, g.often(20)
	node.Object["spec"] = spec
	out := []write{{object: node}}
	for range g.IntN(3) {
		pod := clustertest.Object(
			"v1", "Pod", pick(g, []string{"kube-system", "neighbour"}), pick(g, g.names)+"-"+g.st.node,
		)
		g.mark(pod)
		g.body(pod)
		yes := true
		uid := types.UID(cluster.Ref{Kind: "Node", Name: g.st.node}.String())
		pod.SetOwnerReferences([]metav1.OwnerReference{{
			APIVersion: "v1", Kind: "Node", Name: g.st.node, UID: uid, Controller: &yes,
		}})
		out = append(out, write{object: pod})
	}
	if g.often(30) {
		lease := clustertest.Object("coordination.k8s.io/v1", "Lease", "kube-node-lease", g.st.node)
		g.mark(lease)
		out = append(out, write{object: lease})
	}
	return out
}

func withoutKey(in map[string]string, prefix string) map[string]string {
	maps.DeleteFunc(in, func(key, _ string) bool { return strings.HasPrefix(key, prefix) })
	return in
}
