package hibernate

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Configuration is what an installation is made from.
type Configuration struct {
	Schedule `json:"schedule"`
	Settings `json:"settings"`
	Image    string `json:"image"`
	// Provider is that of the cluster, in Cast AI's words (eks, gke, aks); empty:
	// unknown, and then the job asks.
	Provider string `json:"provider,omitempty"`
	// Keep is how the namespaces to keep are kept (KEEP), and Accept are the refusals
	// that the jobs go on against (ACCEPT). Cast AI's own job reads neither.
	Keep   string   `json:"keep,omitempty"`
	Accept []string `json:"accept,omitempty"`
}

// Key is what goes into the Secret.
type Key struct {
	APIKey    string
	ClusterID string
}

// manifest is an object of an installation, as it is applied.
type manifest struct {
	target  cluster.Target
	content map[string]any
}

func newManifest(group, kind, resource, namespace, name string, content map[string]any) manifest {
	apiVersion := schema.GroupVersion{Group: group, Version: "v1"}.String() // of all of them
	meta := map[string]any{"name": name, "labels": map[string]any{"app.kubernetes.io/name": "castai-hibernate"}}
	if namespace != "" {
		meta["namespace"] = namespace
	}
	object := map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": meta}
	maps.Copy(object, content)
	return manifest{cluster.Target{Ref: ref(group, kind, namespace, name), Version: "v1", Resource: resource}, object}
}

const rbac = "rbac.authorization.k8s.io"

// sharedManifests returns the objects that all pairs share, in the order in which
// they are made. Without a key the Secret is left out, as it is.
func sharedManifests(namespace string, key *Key) []manifest {
	var out []manifest
	if key != nil {
		data := map[string]any{envAPIKey: key.APIKey}
		if key.ClusterID != "" {
			data[envClusterID] = key.ClusterID
		}
		out = append(out, newManifest("", "Secret", "secrets", namespace, secretName,
			map[string]any{"type": "Opaque", "stringData": data}))
	}
	subjects := []any{map[string]any{"kind": "ServiceAccount", "name": account, "namespace": namespace}}
	return append(out,
		newManifest("", "ServiceAccount", "serviceaccounts", namespace, account, nil),
		newManifest(rbac, "Role", "roles", namespace, account, map[string]any{"rules": namespaceRules()}),
		newManifest(rbac, "RoleBinding", "rolebindings", namespace, account, map[string]any{
			"roleRef": roleRef("Role"), "subjects": subjects,
		}),
		newManifest(rbac, "ClusterRole", "clusterroles", "", account, map[string]any{"rules": clusterRules()}),
		newManifest(rbac, "ClusterRoleBinding", "clusterrolebindings", "", account, map[string]any{
			"roleRef": roleRef("ClusterRole"), "subjects": subjects,
		}),
	)
}

func roleRef(kind string) map[string]any {
	return map[string]any{"apiGroup": rbac, "kind": kind, "name": account}
}

// namespaceRules is what the jobs need in their own namespace: the state (HB
// app/k8s_utils.py), and the Lease that keeps two of them apart.
func namespaceRules() []any {
	return []any{
		rule("", []string{"configmaps"}, "create"),
		// A name can't be required of what is made: the server does not know it yet.
		namedRule("", []string{"configmaps"}, []string{StateName}, "get", "patch", "update"),
		rule("coordination.k8s.io", []string{"leases"}, "create"),
		namedRule("coordination.k8s.io", []string{"leases"}, []string{leaseName}, "get", "update", "delete"),
		// What else pauses and resumes is kept from running meanwhile.
		rule("batch", []string{"cronjobs"}, "get", "list", "patch"),
		rule("batch", []string{"jobs"}, "list", "watch"),
	}
}

// clusterRules is what they need in the whole cluster. Cast AI's own job needs
// the nodes and the Deployments of it.
func clusterRules() []any {
	return []any{
		rule("", []string{"nodes"}, "get", "list", "watch", "patch"),
		rule("", []string{"pods"}, "list", "watch"),
		// Replicas of the namespaces to keep move to fewer nodes.
		rule("", []string{"pods/eviction"}, "create"),
		rule("policy", []string{"poddisruptionbudgets"}, "list"),
		rule("", []string{"namespaces"}, "get", "list"),
		rule("apps", []string{"daemonsets", "deployments", "statefulsets"}, "get", "list", "patch"),
	}
}

func rule(group string, resources []string, verbs ...string) map[string]any {
	return map[string]any{"apiGroups": []any{group}, "resources": anys(resources), "verbs": anys(verbs)}
}

func namedRule(group string, resources, names []string, verbs ...string) map[string]any {
	r := rule(group, resources, verbs...)
	r["resourceNames"] = anys(names)
	return r
}

func anys(in []string) []any {
	out := make([]any, len(in))
	for i, s := range in {
		out[i] = s
	}
	return out
}

// Bounds of a job.
const (
	jobDeadline   int64 = 60 * 60 // seconds: then it is ended, and takes back what it did
	startDeadline int64 = 30 * 60 // seconds: a run that could not be started by then is left out
	// resumeDeadline is that of a resume: late is better than never.
	resumeDeadline int64 = 4 * 60 * 60
	jobGrace       int64 = 120  // seconds to take back what was done, when a pod is ended
	jobUser        int64 = 1003 // of Cast AI's image (HC templates/pause-cronjob.yaml)
)

// cronJob is one of the two CronJobs of a pair: as in Cast AI's chart, with less
// rights for its pod, an end, and the label by which the documentation looks for
// logs.
func (c Configuration) cronJob(namespace, name, action string) manifest {
	labels := func() map[string]any { return map[string]any{"app": "castai-hibernate-" + action} }
	env := c.env()
	env[envAction] = action
	schedule := c.Pause
	if action == actionResume {
		schedule = c.Resume
	}
	for variable, value := range map[string]string{envKeep: c.Keep, envAccept: strings.Join(c.Accept, ",")} {
		if value != "" {
			env[variable] = value
		}
	}
	if cloud := cloudOf(c.Provider); cloud != "" {
		env[envCloud] = cloud
	}
	variables := []any{map[string]any{"name": envJobNode,
		"valueFrom": map[string]any{"fieldRef": map[string]any{"apiVersion": "v1", "fieldPath": "spec.nodeName"}}}}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		variables = append(variables, map[string]any{"name": name, "value": env[name]})
	}
	pod := map[string]any{
		"serviceAccountName":            account,
		"restartPolicy":                 "Never",
		"terminationGracePeriodSeconds": jobGrace,
		"tolerations":                   []any{map[string]any{"key": PausedKey, "operator": "Exists"}},
		"securityContext": map[string]any{
			"runAsNonRoot": true, "runAsUser": jobUser, "runAsGroup": jobUser, "fsGroup": jobUser,
			"seccompProfile": map[string]any{"type": "RuntimeDefault"},
		},
		"containers": []any{map[string]any{
			"name": containerName, "image": c.Image,
			"env": variables,
			// The identity of the cluster, wherever the installation has it (HC
			// templates/pause-cronjob.yaml): the last one wins.
			"envFrom": []any{
				map[string]any{"secretRef": map[string]any{"name": secretName}},
				map[string]any{"configMapRef": map[string]any{"name": "castai-cluster-controller", "optional": true}},
				map[string]any{"configMapRef": map[string]any{"name": "castai-agent-metadata", "optional": true}},
			},
			"securityContext": map[string]any{
				"readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
				"capabilities": map[string]any{"drop": []any{"ALL"}},
			},
		}},
	}
	start := startDeadline
	if action == actionResume {
		// Nothing may keep it from starting on a full node.
		pod["priorityClassName"] = "system-cluster-critical"
		start = resumeDeadline
	}
	// Without suspend: a new CronJob runs, and one that somebody suspended stays so.
	spec := map[string]any{
		"schedule": schedule, "concurrencyPolicy": "Forbid", "startingDeadlineSeconds": start,
		"jobTemplate": map[string]any{
			"metadata": map[string]any{"labels": labels()},
			"spec": map[string]any{
				"backoffLimit": int64(0), "activeDeadlineSeconds": jobDeadline,
				"template": map[string]any{
					"metadata": map[string]any{"labels": labels(), "annotations": map[string]any{removalDisabled: "true"}},
					"spec":     pod,
				},
			},
		},
	}
	if c.TimeZone != "" {
		spec["timeZone"] = c.TimeZone
	}
	return newManifest("batch", "CronJob", "cronjobs", namespace, name, map[string]any{"spec": spec})
}

// containerName is that of the job's container (HB deploy.yaml).
const containerName = "pauser"

// cloudOf returns what Cast AI's job calls a provider; empty for those that it
// does not know (HB app/main.py).
func cloudOf(provider string) string {
	return map[string]string{"eks": "EKS", "gke": "GKE", "aks": "AKS"}[provider]
}
