package ownership

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// podSpecOf returns the pod specification inside a workload of a built-in kind.
func podSpecOf(kind string, body map[string]any) (map[string]any, bool) {
	path := []string{"spec", "template", "spec"}
	switch kind {
	case "CronJob":
		path = []string{"spec", "jobTemplate", "spec", "template", "spec"}
	case "Pod":
		path = []string{"spec"}
	case "Deployment", "StatefulSet", "DaemonSet", "Job", "ReplicaSet":
	default:
		return nil, false
	}
	spec, found, err := unstructured.NestedFieldNoCopy(body, path...)
	m, ok := spec.(map[string]any)
	return m, err == nil && found && ok
}

// podSpec returns the pod specification of an object, if it is a workload of
// which snapshots keep one.
func podSpec(o *cluster.Object) (map[string]any, bool) {
	if o.Resource.Group != "apps" && o.Resource.Group != "batch" || o.Body == nil {
		return nil, false
	}
	return podSpecOf(o.Resource.Kind, o.Body)
}

// podLabels returns the labels of a workload's pods.
func podLabels(o *cluster.Object) map[string]string {
	path := []string{"spec", "template", "metadata", "labels"}
	if o.Resource.Kind == "CronJob" {
		path = append([]string{"spec", "jobTemplate"}, path...)
	}
	out, _, err := unstructured.NestedStringMap(o.Body, path...)
	if err != nil {
		return nil
	}
	return out
}

func containers(spec map[string]any) []map[string]any {
	var out []map[string]any
	for _, field := range []string{"containers", "initContainers"} {
		list, _ := spec[field].([]any)
		for _, c := range list {
			if m, ok := c.(map[string]any); ok {
				out = append(out, m)
			}
		}
	}
	return out
}

// images returns the images of a pod specification, distinct, sorted.
func images(spec map[string]any) []string {
	var out []string
	for _, c := range containers(spec) {
		if s, ok := c["image"].(string); ok && s != "" {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// serviceAccount returns the ServiceAccount that the pods run as.
func serviceAccount(spec map[string]any) string {
	if s, ok := spec["serviceAccountName"].(string); ok && s != "" {
		return s
	}
	return "default"
}

// references lists the ConfigMaps, Secrets, PersistentVolumeClaims and the
// ServiceAccount that a pod specification names, in the workload's namespace.
func references(namespace string, spec map[string]any) []cluster.Ref {
	seen := map[cluster.Ref]bool{}
	add := func(kind, name string) {
		if name != "" {
			seen[cluster.Ref{Kind: kind, Namespace: namespace, Name: name}] = true
		}
	}
	named := func(kind string, v any, field string) {
		m, _ := v.(map[string]any)
		name, _ := m[field].(string)
		add(kind, name)
	}
	add("ServiceAccount", serviceAccount(spec))
	for _, c := range containers(spec) {
		env, _ := c["env"].([]any)
		for _, e := range env {
			entry, _ := e.(map[string]any)
			from, _ := entry["valueFrom"].(map[string]any)
			named("ConfigMap", from["configMapKeyRef"], "name")
			named("Secret", from["secretKeyRef"], "name")
		}
		envFrom, _ := c["envFrom"].([]any)
		for _, e := range envFrom {
			entry, _ := e.(map[string]any)
			named("ConfigMap", entry["configMapRef"], "name")
			named("Secret", entry["secretRef"], "name")
		}
	}
	pull, _ := spec["imagePullSecrets"].([]any)
	for _, p := range pull {
		named("Secret", p, "name")
	}
	volume := func(v map[string]any) {
		named("ConfigMap", v["configMap"], "name")
		named("Secret", v["secret"], "secretName")
		named("Secret", v["secret"], "name") // in projected sources
		named("PersistentVolumeClaim", v["persistentVolumeClaim"], "claimName")
	}
	volumes, _ := spec["volumes"].([]any)
	for _, v := range volumes {
		m, _ := v.(map[string]any)
		volume(m)
		projected, _ := m["projected"].(map[string]any)
		sources, _ := projected["sources"].([]any)
		for _, s := range sources {
			sm, _ := s.(map[string]any)
			volume(sm)
		}
	}
	out := make([]cluster.Ref, 0, len(seen))
	for r := range seen {
		out = append(out, r)
	}
	slices.SortFunc(out, cluster.Ref.Compare)
	return out
}

// usedBy maps the objects of the namespace that workloads need to the workloads:
// what their pods mount or run as, and the Services and budgets that select
// their pods.
func (v *spaceView) usedBy() map[cluster.Ref][]*cluster.Object {
	if v.users != nil {
		return v.users
	}
	v.users = map[cluster.Ref][]*cluster.Object{}
	selectors := map[cluster.Ref]labels.Selector{}
	for _, kind := range []string{"Service", "PodDisruptionBudget.policy"} {
		for _, o := range v.byKind[kind] {
			if s := podSelector(o); s != nil {
				selectors[o.Ref()] = s
			}
		}
	}
	for _, w := range v.workloads {
		if w.owner {
			continue
		}
		for _, r := range references(v.name, w.spec) {
			v.users[r] = append(v.users[r], w.Object)
		}
		pods := labels.Set(podLabels(w.Object))
		for r, s := range selectors {
			if s.Matches(pods) {
				v.users[r] = append(v.users[r], w.Object)
			}
		}
	}
	return v.users
}

// podSelector returns what selects the pods of a Service or a PodDisruptionBudget;
// nil for one that selects none by labels, and for any other object.
func podSelector(o *cluster.Object) labels.Selector {
	service := o.Resource.Group == "" && o.Resource.Kind == "Service"
	if !service && !isPDB(o) {
		return nil
	}
	spec, _ := o.Body["spec"].(map[string]any)
	raw, _ := spec["selector"].(map[string]any)
	if isPDB(o) {
		raw, _ = raw["matchLabels"].(map[string]any)
	}
	if len(raw) == 0 {
		return nil
	}
	selected := labels.Set{}
	for k, v := range raw {
		selected[k], _ = v.(string)
	}
	return selected.AsSelector()
}
