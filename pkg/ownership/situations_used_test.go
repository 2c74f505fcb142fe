package ownership_test

import "strings"

// mounting is a program of Cast AI's that mounts, pulls and reads things of its namespace.
const mounting = `---
apiVersion: apps/v1
kind: Deployment
metadata: {name: castai-evictor, namespace: castai-agent}
spec:
  selector: {matchLabels: {app: evictor}}
  template:
    metadata: {labels: {app: evictor}}
    spec:
      serviceAccountName: castai-evictor
      volumes:
      - {name: tls, secret: {secretName: tls}}
      - {name: key, secret: {secretName: key}}
      - {name: data, persistentVolumeClaim: {claimName: data}}
      - {name: ca, configMap: {name: ca}}
      containers: [{name: main, image: "us-docker.pkg.dev/castai-hub/library/evictor:v1"}]
`

// usedSituations: what a program of Cast AI's uses is not Cast AI's if somebody
// else uses it, too, or if a program of somebody's wrote it.
func usedSituations() []situation {
	used := func(name, shared string, parts ...string) situation {
		return situation{name: name, with: small, make: yamls(append(parts, mounting,
			thing("v1", "Secret", "castai-agent", "tls", byPerson), thing("v1", "Secret", "castai-agent", "key", byPerson),
			thing("v1", "ConfigMap", "castai-agent", "ca"), thing("v1", "PersistentVolumeClaim", "castai-agent", "data"))...),
			want: map[string]string{shared: "foreign uses it, which is not Cast AI's", "Namespace/castai-agent": "foreign",
				"Secret/castai-agent/key": "owned"}}
	}
	custom := func(group, kind, plural, spec string) situation {
		s := used("what a "+kind+" of somebody's uses, too", "", crd(group, kind, plural, "Namespaced"),
			thing(group+"/v1", kind, "castai-agent", "web", ofAcme)+spec)
		s.want = map[string]string{"Secret/castai-agent/tls": "unclear others live in its namespace",
			"Namespace/castai-agent": "foreign"}
		return s
	}
	secret := "{name: tls, namespace: castai-agent}"
	const tls = "Secret/castai-agent/tls"
	return []situation{
		used("what an Ingress of somebody's uses, too", tls, thing("networking.k8s.io/v1", "Ingress", "castai-agent",
			"grafana", ofAcme)+"spec: {tls: [{hosts: [a]}, {secretName: tls}]}\n"),
		used("what a Route of somebody's uses, too", tls, thing("route.openshift.io/v1", "Route", "castai-agent",
			"grafana")+"spec: {to: {kind: Service, name: web}, tls: {externalCertificate: {name: tls}}}\n"),
		used("what a volume of somebody's logs in with", tls, thing("v1", "PersistentVolume", "", "share")+
			"spec: {csi: {driver: smb.csi.k8s.io, nodeStageSecretRef: "+secret+"}}\n"),
		used("what an old volume of somebody's logs in with", tls, thing("v1", "PersistentVolume", "", "share")+
			"spec: {cephfs: {secretRef: "+secret+"}}\n"),
		used("what a StorageClass of somebody's logs in with", tls, thing("storage.k8s.io/v1", "StorageClass", "", "share",
			ofAcme)+"provisioner: smb.csi.k8s.io\nparameters: {csi.storage.k8s.io/node-stage-secret-name: tls, "+
			"csi.storage.k8s.io/node-stage-secret-namespace: castai-agent}\n"),
		used("what a token of somebody's account is", tls, thing("v1", "ServiceAccount", "castai-agent", "web", ofAcme)+
			"secrets: [{name: tls}]\n"),
		used("what a policy of somebody's is told by", "ConfigMap/castai-agent/ca",
			thing("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding", "", "web")+
				"spec: {policyName: web, paramRef: {name: ca, namespace: castai-agent}}\n"),
		{
			name: "what a volume and a policy elsewhere name", with: small,
			make: yamls(mounting, thing("v1", "Secret", "castai-agent", "tls"), thing("v1", "PersistentVolume", "", "share")+
				"spec: {claimRef: {namespace: castai-agent, name: tls}, csi: {nodeStageSecretRef: {name: tls, namespace: shop}}}\n"),
			want: map[string]string{"Secret/castai-agent/tls": "owned", "Namespace/castai-agent": "owned"},
		},
		custom("gateway.networking.k8s.io", "Gateway", "gateways",
			"spec: {listeners: [{tls: {certificateRefs: [{name: tls}]}}]}\n"),
		custom("monitoring.coreos.com", "ServiceMonitor", "servicemonitors",
			"spec: {endpoints: [{basicAuth: {password: {name: tls}}}]}\n"),
		{
			name: "what a program of somebody's wrote, and Cast AI uses", with: small,
			make: yamls(strings.ReplaceAll(mounting, "{name: key", "{name: spare"),
				thing("v1", "ConfigMap", "castai-agent", "ca", by("trust-manager")),
				thing("v1", "Secret", "castai-agent", "tls", by("castai-evictor")),
				thing("v1", "PersistentVolumeClaim", "castai-agent", "data", by("backup-operator"))),
			want: map[string]string{
				"ConfigMap/castai-agent/ca":               "unclear trust-manager wrote it",
				"Secret/castai-agent/tls":                 "owned",
				"PersistentVolumeClaim/castai-agent/data": "unclear backup-operator wrote it",
				"Namespace/castai-agent":                  "foreign",
			},
		},
	}
}
