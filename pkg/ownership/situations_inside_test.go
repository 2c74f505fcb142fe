package ownership_test

import (
	"slices"
	"testing"
)

const (
	theirImage = "registry.example.com/acme:1"
	byPerson   = "managedFields: [{manager: kubectl-create}]"
	ofAcme     = "labels: {team: acme}"
)

// by are the field managers of an object.
func by(manager string) string { return "managedFields: [{manager: " + manager + "}]" }

// insideSituations are about what others have where Cast AI lives, under names
// that Cast AI or Kubernetes gives, too.
func insideSituations() []situation {
	return slices.Concat(noiseSituations(), nameSituations(), besideSituations())
}

// noiseSituations: what looks like what Kubernetes puts into every namespace, and
// has something of somebody's in it, holds the namespace.
func noiseSituations() []situation {
	stays := func(name string, parts ...string) situation {
		return situation{name: name, with: small, make: yamls(parts...),
			want: map[string]string{"Namespace/castai-agent": "foreign"}}
	}
	token := func(more ...string) string {
		return thing("v1", "Secret", "castai-agent", "default-token-x7k2p",
			append(more, "annotations: {kubernetes.io/service-account.name: default}")...)
	}
	istio := crd("security.istio.io", "PeerAuthentication", "peerauthentications", "Namespaced")
	return []situation{
		stays("a Secret with the name of a token that another program wrote", token(by("vault-secrets-operator"))),
		stays("a Secret with the name of a token that two programs wrote",
			token("managedFields: [{manager: kube-controller-manager}, {manager: vault-secrets-operator}]")),
		stays("a Secret with the name of a token that does not say who wrote it", token()),
		stays("the default account with a role of a cloud", thing("v1", "ServiceAccount", "castai-agent", "default",
			"annotations: {eks.amazonaws.com/role-arn: arn}", by("kube-controller-manager"))),
		stays("the default account with a label", thing("v1", "ServiceAccount", "castai-agent", "default",
			"labels: {azure.workload.identity/use: \"true\"}")),
		stays("the default account that a person wrote", thing("v1", "ServiceAccount", "castai-agent", "default",
			by("terraform"))),
		stays("another program's istio-ca-root-cert", istio,
			thing("v1", "ConfigMap", "castai-agent", "istio-ca-root-cert", by("trust-manager"))),
		stays("an istio-ca-root-cert of nobody knows whom", istio,
			thing("v1", "ConfigMap", "castai-agent", "istio-ca-root-cert")),
	}
}

// claimed is an account of the namespace castai-agent with a workload of somebody's.
func claimed(namespace, account string) string {
	return thing("v1", "ServiceAccount", namespace, account, ofAcme) + deployment(namespace, account, theirImage)
}

// nameSituations: an ordinary name of the catalogue, where Cast AI lives by the
// name of the namespace or by the user's word, is Cast AI's only if that component
// lives there.
func nameSituations() []situation {
	bound := func(ns, account, name, role string) string {
		return binding(name, role, "ServiceAccount:"+ns+"/"+account)
	}
	return []situation{
		{
			name: "accounts with ordinary names that administrators bind", with: small,
			make: yamls(
				claimed("castai-agent", "rebalancer"), role("kafka-topics"), role("rebalancer"),
				bound("castai-agent", "rebalancer", "kafka-topics", "kafka-topics"),
				bound("castai-agent", "rebalancer", "rebalancer", "rebalancer"),
				claimed("castai-agent", "hibernate"), role("jpa"), bound("castai-agent", "hibernate", "jpa", "jpa"),
				roleBinding("castai-agent", "jpa", "ClusterRole", "jpa", "ServiceAccount:castai-agent/hibernate"),
				claimed("castai-agent", "db-proxy"), bound("castai-agent", "db-proxy", "db", "cluster-admin"),
				roleBinding("kube-system", "rebalancer", "Role", "extension-apiserver-authentication-reader",
					"ServiceAccount:castai-agent/rebalancer"),
			),
			want: map[string]string{
				"ClusterRoleBinding/kafka-topics": "foreign", "ClusterRole/kafka-topics": "foreign",
				"ClusterRoleBinding/rebalancer": "foreign", "ClusterRole/rebalancer": "foreign",
				"ClusterRoleBinding/jpa": "foreign", "ClusterRole/jpa": "foreign", "RoleBinding/castai-agent/jpa": "foreign",
				"ClusterRoleBinding/db": "foreign", "RoleBinding/kube-system/rebalancer": "foreign",
				"Namespace/castai-agent": "foreign",
			},
		},
		{
			name: "what calls a Service with an ordinary name", with: small,
			make: yamls(
				deployment("castai-agent", "db-proxy", theirImage), thing("v1", "Service", "castai-agent", "db-proxy"),
				webhook("defaults", "castai-agent/db-proxy=mutate.example.com"),
				thing("apiregistration.k8s.io/v1", "APIService", "", "v1.things.example.com")+
					"spec: {group: things.example.com, version: v1, service: {namespace: castai-agent, name: db-proxy}}\n",
			),
			want: map[string]string{
				"MutatingWebhookConfiguration/defaults": "unclear nothing else in it",
				"APIService/v1.things.example.com":      "unclear nothing else in it",
				"Deployment/castai-agent/db-proxy":      "foreign", "Namespace/castai-agent": "foreign",
			},
		},
		{
			name: "another component's Service in a configuration with the name of a component", with: small,
			make: yamls(deployment("castai-agent", "db-proxy", theirImage),
				webhook("awesome-mutator", "castai-agent/db-proxy=mutate.example.com")),
			want: map[string]string{"MutatingWebhookConfiguration/awesome-mutator": "unclear nothing else in it"},
		},
		{
			name: "a namespace with a name of the catalogue that somebody made", with: small,
			make: yamls(
				thing("v1", "Namespace", "", "castai-logs"), claimed("castai-logs", "rebalancer"), role("team-logs"),
				bound("castai-logs", "rebalancer", "team-logs", "team-logs"),
				roleBinding("kube-system", "rebalancer", "Role", "extension-apiserver-authentication-reader",
					"ServiceAccount:castai-logs/rebalancer"),
			),
			want: map[string]string{
				"ClusterRoleBinding/team-logs": "foreign", "ClusterRole/team-logs": "foreign",
				"RoleBinding/kube-system/rebalancer": "foreign", "Namespace/castai-logs": "foreign",
			},
		},
		{
			name:  "the user's word for a namespace that others share",
			with:  func(testing.TB) *scene { return &scene{} },
			trust: []string{"platform"},
			make: yamls(
				thing("v1", "Namespace", "", "platform"), claimed("platform", "db-proxy"),
				bound("platform", "db-proxy", "db", "cluster-admin"), role("cluster-controller"),
				bound("platform", "cluster-controller", "cluster-controller", "cluster-controller"),
				claimed("platform", "cluster-controller"), thing("v1", "Secret", "platform", "castai-secrets", byPerson),
				thing("v1", "ServiceAccount", "platform", "rebalancer"), webhook("m", "platform/pod-mutator=m.example.com"),
				charted(deployment("platform", "db-proxy2", theirImage), "dbo-cache-1.0.0", "platform", "dbo"),
				charted(thing("scheduling.k8s.io/v1", "PriorityClass", "", "dbo"), "dbo-cache-1.0.0", "platform", "dbo"),
			),
			want: map[string]string{
				"ClusterRoleBinding/db": "foreign", "ClusterRoleBinding/cluster-controller": "foreign",
				"ClusterRole/cluster-controller": "foreign", "Secret/platform/castai-secrets": "foreign",
				"ServiceAccount/platform/rebalancer": "foreign", "MutatingWebhookConfiguration/m": "unclear",
				"Deployment/platform/db-proxy2": "foreign", "PriorityClass/dbo": "foreign", "Namespace/platform": "foreign",
			},
		},
		{
			name: "somebody's own Temporal", with: small,
			make: func(t testing.TB, s *scene) {
				labels := "labels: {helm.sh/chart: temporal-0.50.0, app.kubernetes.io/instance: temporal}"
				s.release(t, "temporal", "temporal", "castai-agent",
					deployment("castai-agent", "temporal-frontend", "temporalio/server:1.2", labels)+
						thing("v1", "PersistentVolumeClaim", "castai-agent", "workflows", labels)+
						thing("scheduling.k8s.io/v1", "PriorityClass", "", "temporal", labels)+role("temporal", labels)+
						binding("temporal", "temporal", "ServiceAccount:castai-agent/temporal-frontend"))
			},
			want: map[string]string{
				"Deployment/castai-agent/temporal-frontend": "foreign", "PersistentVolumeClaim/castai-agent/workflows": "unclear",
				"PriorityClass/temporal": "foreign", "ClusterRole/temporal": "foreign", "ClusterRoleBinding/temporal": "foreign",
				"Secret/castai-agent/sh.helm.release.v1.temporal.v1": "foreign", "Namespace/castai-agent": "foreign",
			},
		},
		{
			name: "names of nobody else's on what nobody knows to be written by Cast AI", with: small,
			make: yamls(
				thing("v1", "Secret", "castai-agent", "castai-secrets"),
				thing("v1", "Secret", "castai-agent", "castai-hibernate", by("external-secrets")),
				thing("v1", "ConfigMap", "castai-agent", "castai-hibernate-state", by("OpenAPI-Generator")),
				thing("v1", "Secret", "castai-agent", "castai-omni-agent-token", by("omni-agent")),
				thing("v1", "Secret", "castai-agent", "castai-credentials", by("OpenAPI-Generator")),
				thing("coordination.k8s.io/v1", "Lease", "castai-agent", "castware-operator.cast.ai", by("manager")),
			),
			want: map[string]string{
				"Secret/castai-agent/castai-secrets": "unclear", "Secret/castai-agent/castai-hibernate": "unclear",
				"ConfigMap/castai-agent/castai-hibernate-state": "owned", "Secret/castai-agent/castai-credentials": "unclear",
				"Secret/castai-agent/castai-omni-agent-token":  "owned",
				"Lease/castai-agent/castware-operator.cast.ai": "owned", "Namespace/castai-agent": "foreign",
			},
		},
		{
			name: "names of things of components that do not live there", with: small,
			make: yamls(
				thing("v1", "Secret", "castai-agent", "castai-secrets", byPerson, ofAcme),
				thing("v1", "Secret", "castai-agent", "castai-hibernate", byPerson),
				thing("v1", "ConfigMap", "castai-agent", "mutation-rules-configmap", by("controller")),
				thing("v1", "ServiceAccount", "castai-agent", "cluster-controller"),
				thing("v1", "ServiceAccount", "castai-agent", "temporal"),
				thing("coordination.k8s.io/v1", "Lease", "castai-agent", "rebalancer", ofAcme),
			),
			want: map[string]string{
				"Secret/castai-agent/castai-secrets": "unclear", "Secret/castai-agent/castai-hibernate": "unclear",
				"ConfigMap/castai-agent/mutation-rules-configmap": "unclear",
				"ServiceAccount/castai-agent/cluster-controller":  "unclear",
				"ServiceAccount/castai-agent/temporal":            "unclear",
				"Lease/castai-agent/rebalancer":                   "unclear", "Namespace/castai-agent": "foreign",
			},
		},
	}
}

// ownedBy is a reference to an object of the scene.
func ownedBy(apiVersion, kind, uid, name string) string {
	return "ownerReferences: [{apiVersion: " + apiVersion + ", kind: " + kind + ", name: " + name + ", uid: " + uid + "}]"
}

// besideSituations: what others hung on Cast AI's objects, labelled like them, or
// made for their accounts and Services.
func besideSituations() []situation {
	const (
		deploymentUID = "Deployment.apps/castai-agent/castai-agent"
		roleUID       = "ClusterRole.rbac.authorization.k8s.io/castai-agent"
		copied        = "labels: {app.kubernetes.io/name: castai-agent, app.kubernetes.io/instance: castai-agent}"
	)
	onDeployment := ownedBy("apps/v1", "Deployment", deploymentUID, "castai-agent")
	onRole := ownedBy(rbacV1, "ClusterRole", roleUID, "castai-agent")
	return []situation{
		{
			name: "what other controllers hung on objects of Cast AI's", with: small,
			make: yamls(
				thing("v1", "Secret", "castai-agent", "synced", by("external-secrets"), onDeployment),
				thing("v1", "PersistentVolumeClaim", "castai-agent", "backup", by("backup-operator"), onDeployment),
				thing("v1", "ConfigMap", "castai-agent", "own", by("castai-agent"), onDeployment),
				thing("v1", "Secret", "shop", "synced", by("OpenAPI-Generator"), onRole),
				role("team-role", by("castai-agent"), onRole), binding("team", "team-role", "Group:team"),
			),
			want: map[string]string{
				"Secret/castai-agent/synced":                "unclear external-secrets wrote it",
				"PersistentVolumeClaim/castai-agent/backup": "unclear backup-operator wrote it",
				"ConfigMap/castai-agent/own":                "owned", "Secret/shop/synced": "unclear OpenAPI-Generator wrote it",
				"ClusterRole/team-role": "unclear bindings of others grant it", "Namespace/castai-agent": "foreign",
			},
		},
		{
			name: "labels of an installation on things of others, in a shared namespace",
			with: func(t testing.TB) *scene {
				return (&scene{}).install(t, "charts/castai-agent", install{"castai-agent", "platform", true}).
					yaml(t, deployment("platform", "web", "registry.example.com/web:1"))
			},
			make: yamls(
				thing("v1", "ConfigMap", "platform", "agent-dashboard", copied),
				thing("networking.k8s.io/v1", "NetworkPolicy", "platform", "allow-egress", copied),
				thing("v1", "Secret", "platform", "kafka-creds",
					"labels: {app.kubernetes.io/name: rebalancer, app.kubernetes.io/instance: castai-agent}"),
			),
			want: map[string]string{
				"ConfigMap/platform/agent-dashboard":  "unclear neither its name",
				"NetworkPolicy/platform/allow-egress": "unclear neither its name",
				"Secret/platform/kafka-creds":         "unclear neither its name",
			},
		},
		{
			name: "what only says that it is for an account or a Service of Cast AI's", with: small,
			make: yamls(
				thing("v1", "Secret", "castai-agent", "precious", byPerson,
					"annotations: {kubernetes.io/service-account.name: castai-agent}"),
				thing("v1", "Secret", "castai-agent", "token",
					"managedFields: [{manager: kubectl-create}, {manager: kube-controller-manager}]",
					"annotations: {kubernetes.io/service-account.name: castai-agent}"),
				thing("discovery.k8s.io/v1", "EndpointSlice", "castai-agent", "mine", byPerson,
					"labels: {kubernetes.io/service-name: castai-pod-mutator}"),
			),
			want: map[string]string{
				"Secret/castai-agent/precious": "unclear", "EndpointSlice/castai-agent/mine": "unclear",
				"Secret/castai-agent/token": "owned it belongs to the ServiceAccount", "Namespace/castai-agent": "foreign",
			},
		},
		{
			name: "what a person wrote in a namespace of Cast AI's Liqo",
			make: yamls(thing("v1", "Secret", "omni-edge-1", "mine", byPerson),
				thing("networking.k8s.io/v1", "NetworkPolicy", "omni-edge-1", "deny", byPerson)),
			want: map[string]string{"Secret/omni-edge-1/mine": "unclear", "NetworkPolicy/omni-edge-1/deny": "unclear",
				"Namespace/omni-edge-1": "foreign"},
		},
		{
			name: "somebody's own chart with a program of Cast AI's and things called castai-*", with: small,
			make: func(t testing.TB, s *scene) {
				labels := "labels: {helm.sh/chart: platform-1.0.0, app.kubernetes.io/instance: plat}"
				s.release(t, "platform", "plat", "castai-agent",
					deployment("castai-agent", "castai-evictor", "us-docker.pkg.dev/castai-hub/library/evictor:v1", labels)+
						thing("v1", "Secret", "castai-agent", "castai-agent-backup-bucket", labels)+
						thing("v1", "PersistentVolumeClaim", "castai-agent", "castai-dbo-archive", labels))
			},
			want: map[string]string{
				"Secret/castai-agent/castai-agent-backup-bucket":        "unclear the Helm release castai-agent/plat of chart platform",
				"PersistentVolumeClaim/castai-agent/castai-dbo-archive": "unclear the Helm release castai-agent/plat of chart platform",
				"Namespace/castai-agent":                                "foreign",
			},
		},
		{
			name: "a namespace that an object of somebody's owns",
			with: func(testing.TB) *scene { return &scene{} },
			make: func(t testing.TB, s *scene) {
				s.yaml(t, crd("capsule.clastix.io", "Tenant", "tenants", "Cluster")+
					"---\napiVersion: capsule.clastix.io/v1\nkind: Tenant\nmetadata: {name: acme, uid: tenant-1}\n"+
					thing("v1", "Namespace", "", "castai-agent", ownedBy("capsule.clastix.io/v1", "Tenant", "tenant-1", "acme")))
				s.install(t, "charts/castai-agent", install{"castai-agent", "castai-agent", true})
			},
			want: map[string]string{"Namespace/castai-agent": "unclear Tenant acme owns it",
				"Deployment/castai-agent/castai-agent": "owned"},
		},
	}
}
