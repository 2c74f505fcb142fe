package ownership_test

import "slices"

const (
	byPerson = "managedFields: [{manager: kubectl-create}]"
	ofAcme   = "labels: {team: acme}"
)

// by are the field managers of an object.
func by(manager string) string { return "managedFields: [{manager: " + manager + "}]" }

// insideSituations are about what others have where Cast AI lives, under names
// that Cast AI or Kubernetes gives, too.
func insideSituations() []situation {
	return slices.Concat(noiseSituations())
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
