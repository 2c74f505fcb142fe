package backup

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

// object reads one object from YAML.
func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	u, err := parse([]byte(text))
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return u
}

func TestApplyable(t *testing.T) {
	for _, test := range []struct {
		name, in, want string
		changes        []string
		rules          rules
	}{
		{
			name: "what the server sets",
			in: `{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: n, uid: u, resourceVersion: "7", generation: 3, creationTimestamp: "2026-01-01T00:00:00Z",
				selfLink: /x, managedFields: [{manager: helm, operation: Update}], labels: {a: b}, annotations: {c: d}}, data: {k: v}, status: {x: y}}`,
			want:    `{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: n, labels: {a: b}, annotations: {c: d}}, data: {k: v}}`,
			changes: []string{"status"},
		},
		{
			name: "being deleted",
			in: `{apiVersion: v1, kind: ConfigMap, metadata: {name: c, deletionTimestamp: "2026-01-01T00:00:00Z", deletionGracePeriodSeconds: 0,
				finalizers: [foregroundDeletion, orphan, example.com/hold, castai/gone]}}`,
			want:    `{apiVersion: v1, kind: ConfigMap, metadata: {name: c, finalizers: [example.com/hold]}}`,
			changes: []string{"metadata.finalizers"},
			rules:   rules{finalizers: []string{"castai/gone"}},
		},
		{
			name: "finalizers of others only",
			in:   `{apiVersion: v1, kind: ConfigMap, metadata: {name: c, finalizers: [example.com/hold]}}`,
			want: `{apiVersion: v1, kind: ConfigMap, metadata: {name: c, finalizers: [example.com/hold]}}`,
		},
		{
			name: "owners that stay and owners that go",
			in: `{apiVersion: v1, kind: ConfigMap, metadata: {name: c, ownerReferences: [{apiVersion: v1, kind: A, name: a, uid: dead},
				{apiVersion: v1, kind: B, name: b, uid: alive, controller: true}]}}`,
			want:    `{apiVersion: v1, kind: ConfigMap, metadata: {name: c, ownerReferences: [{apiVersion: v1, kind: B, name: b, uid: alive, controller: true}]}}`,
			changes: []string{"metadata.ownerReferences"},
		},
		{
			name:    "owners that go",
			in:      `{apiVersion: v1, kind: ConfigMap, metadata: {name: c, ownerReferences: [{apiVersion: v1, kind: A, name: a, uid: dead}]}}`,
			want:    `{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}`,
			changes: []string{"metadata.ownerReferences"},
		},
		{
			name: "namespace",
			in:   `{apiVersion: v1, kind: Namespace, metadata: {name: n, labels: {kubernetes.io/metadata.name: n}}, spec: {finalizers: [kubernetes]}, status: {phase: Active}}`,
			want: `{apiVersion: v1, kind: Namespace, metadata: {name: n, labels: {kubernetes.io/metadata.name: n}}, spec: {}}`, changes: []string{"status"},
		},
		{
			name: "Deployment",
			in: `{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, annotations: {deployment.kubernetes.io/revision: "4"}},
				spec: {replicas: 2, template: {metadata: {creationTimestamp: null, labels: {a: b}}}}}`,
			want: `{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {replicas: 2, template: {metadata: {labels: {a: b}}}}}`,
		},
		{
			name:    "Deployment that an earlier run had stopped",
			in:      `{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, annotations: {castai.kubectl.dev/stopped: "3", mine: "1"}}, spec: {replicas: 0}}`,
			want:    `{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, annotations: {mine: "1"}}, spec: {replicas: 3}}`,
			changes: []string{"spec.replicas"},
		},
		{
			name: "Deployment that was started by hand since",
			in:   `{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, annotations: {castai.kubectl.dev/stopped: "3"}}, spec: {replicas: 5}}`,
			want: `{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {replicas: 5}}`,
		},
		{
			name:    "DaemonSet that an earlier run had stopped",
			in:      `{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: d, annotations: {deprecated.daemonset.template.generation: "2"}}, spec: {template: {spec: {nodeSelector: {castai.kubectl.dev/stopped: "true"}}}}}`,
			want:    `{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: d}, spec: {template: {spec: {}}}}`,
			changes: []string{"spec.template.spec.nodeSelector.castai.kubectl.dev/stopped"},
		},
		{
			name:    "CronJob that an earlier run had suspended",
			in:      `{apiVersion: batch/v1, kind: CronJob, metadata: {name: c, annotations: {castai.kubectl.dev/stopped: "false"}}, spec: {suspend: true}}`,
			want:    `{apiVersion: batch/v1, kind: CronJob, metadata: {name: c}, spec: {suspend: false}}`,
			changes: []string{"spec.suspend"},
		},
		{
			name:    "Service",
			in:      `{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {type: NodePort, clusterIP: 10.0.0.7, clusterIPs: [10.0.0.7], ports: [{port: 80, nodePort: 30080}]}}`,
			want:    `{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {type: NodePort, ports: [{port: 80, nodePort: 30080}]}}`,
			changes: []string{"spec.clusterIP"},
		},
		{
			name: "headless Service",
			in:   `{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {clusterIP: None, clusterIPs: [None]}}`,
			want: `{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {clusterIP: None, clusterIPs: [None]}}`,
		},
		{
			name: "token of a ServiceAccount",
			in: `{apiVersion: v1, kind: Secret, type: kubernetes.io/service-account-token, metadata: {name: t, labels: {kubernetes.io/legacy-token-last-used: "2026-01-01"},
				annotations: {kubernetes.io/service-account.name: a, kubernetes.io/service-account.uid: u}}, data: {token: c2VjcmV0}}`,
			want:    `{apiVersion: v1, kind: Secret, type: kubernetes.io/service-account-token, metadata: {name: t, annotations: {kubernetes.io/service-account.name: a}}}`,
			changes: []string{"data"},
		},
		{
			name: "Secret without its data",
			in: `{apiVersion: v1, kind: Secret, type: Opaque, metadata: {name: s, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"data":{"k":"c2VjcmV0"}}', a: b}},
				data: {k: c2VjcmV0}}`,
			want:    `{apiVersion: v1, kind: Secret, type: Opaque, metadata: {name: s, annotations: {a: b}}}`,
			changes: []string{"data", "metadata.annotations.kubectl.kubernetes.io/last-applied-configuration"},
			rules:   rules{withoutSecrets: true},
		},
		{
			name:    "ServiceAccount",
			in:      `{apiVersion: v1, kind: ServiceAccount, metadata: {name: a}, secrets: [{name: a-token-x1y2z}, {name: a-dockercfg-4}], imagePullSecrets: [{name: mine}, {name: a-dockercfg-4}]}`,
			want:    `{apiVersion: v1, kind: ServiceAccount, metadata: {name: a}, imagePullSecrets: [{name: mine}]}`,
			changes: []string{"secrets", "imagePullSecrets"},
		},
		{
			name: "claim that a controller bound",
			in: `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c, annotations: {pv.kubernetes.io/bind-completed: "yes", pv.kubernetes.io/bound-by-controller: "yes",
				volume.kubernetes.io/selected-node: node-1}}, spec: {volumeName: pv-1, storageClassName: gp3}, status: {phase: Bound}}`,
			want:    `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c}, spec: {storageClassName: gp3}}`,
			changes: []string{"status", "spec.volumeName"},
		},
		{
			name: "claim that a person bound",
			in:   `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c, annotations: {pv.kubernetes.io/bind-completed: "yes"}}, spec: {volumeName: mine}}`,
			want: `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c}, spec: {volumeName: mine}}`,
		},
		{
			name:    "volume",
			in:      `{apiVersion: v1, kind: PersistentVolume, metadata: {name: v}, spec: {claimRef: {name: c, namespace: n, uid: u, resourceVersion: "1"}}}`,
			want:    `{apiVersion: v1, kind: PersistentVolume, metadata: {name: v}, spec: {claimRef: {name: c, namespace: n}}}`,
			changes: []string{"spec.claimRef.uid"},
		},
		{
			name: "Pod",
			in: `{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {nodeName: n, volumes: [{name: kube-api-access-x}, {name: data}],
				containers: [{name: a, volumeMounts: [{name: kube-api-access-x, mountPath: /var/run}, {name: data, mountPath: /d}]}, {name: b, volumeMounts: [{name: kube-api-access-x}]}]}}`,
			want: `{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {volumes: [{name: data}],
				containers: [{name: a, volumeMounts: [{name: data, mountPath: /d}]}, {name: b}]}}`,
			changes: []string{"spec.nodeName"},
		},
		{
			name: "Job",
			in: `{apiVersion: batch/v1, kind: Job, metadata: {name: j, labels: {controller-uid: u, batch.kubernetes.io/controller-uid: u, job-name: j}},
				spec: {selector: {matchLabels: {batch.kubernetes.io/controller-uid: u}}, template: {metadata: {labels: {controller-uid: u, batch.kubernetes.io/controller-uid: u, job-name: j}}}}}`,
			want: `{apiVersion: batch/v1, kind: Job, metadata: {name: j, labels: {job-name: j}},
				spec: {template: {metadata: {labels: {job-name: j}}}}}`,
			changes: []string{"spec.selector"},
		},
		{
			name: "Job with its own selector",
			in:   `{apiVersion: batch/v1, kind: Job, metadata: {name: j}, spec: {manualSelector: true, selector: {matchLabels: {a: b}}}}`,
			want: `{apiVersion: batch/v1, kind: Job, metadata: {name: j}, spec: {manualSelector: true, selector: {matchLabels: {a: b}}}}`,
		},
		{
			name:    "aggregated ClusterRole",
			in:      `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: r}, aggregationRule: {clusterRoleSelectors: []}, rules: [{verbs: [get]}]}`,
			want:    `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: r}, aggregationRule: {clusterRoleSelectors: []}}`,
			changes: []string{"rules"},
		},
		{
			name: "fields of another form than they should have",
			in:   `{apiVersion: v1, kind: Service, metadata: {name: s, labels: 7, annotations: [1], ownerReferences: x, finalizers: {}}, spec: 3, status: []}`,
			want: `{apiVersion: v1, kind: Service, metadata: {name: s, labels: 7, annotations: [1], ownerReferences: x, finalizers: {}}, spec: 3}`, changes: []string{"status"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := object(t, test.in)
			before := in.DeepCopy()
			test.rules.survives = func(uid types.UID) bool { return uid == "alive" }
			got, changes := applyable(in, test.rules)
			if diff := cmp.Diff(object(t, test.want).Object, got.Object); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			var paths []string
			for _, c := range changes {
				paths = append(paths, c.Path)
				if c.Why == "" {
					t.Errorf("it does not say why of %s", c.Path)
				}
			}
			slices.Sort(paths)
			slices.Sort(test.changes)
			if !slices.Equal(paths, test.changes) {
				t.Errorf("changes %q, want %q", paths, test.changes)
			}
			if !cmp.Equal(before.Object, in.Object) {
				t.Error("the object itself was changed")
			}
			again, _ := applyable(got, test.rules)
			if diff := cmp.Diff(got.Object, again.Object); diff != "" {
				t.Errorf("doing it twice makes a difference: %s", diff)
			}
		})
	}
}

func TestUnrestorable(t *testing.T) {
	for text, want := range map[string]bool{
		`{apiVersion: v1, kind: Node, metadata: {name: n}}`:                                                                                           true,
		`{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: n}}`:                                                                      true,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: kube-root-ca.crt}}`:                                                                       true,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: other}}`:                                                                                  false,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: other, deletionTimestamp: "2026-01-01T00:00:00Z"}}`:                                       true,
		`{apiVersion: v1, kind: Secret, metadata: {name: s}}`:                                                                                         false,
		`{apiVersion: batch/v1, kind: Job, metadata: {name: j}, status: {conditions: [{type: Complete, status: "True"}]}}`:                            true,
		`{apiVersion: batch/v1, kind: Job, metadata: {name: j}, status: {conditions: [{type: Complete, status: "False"}]}}`:                           false,
		`{apiVersion: batch/v1, kind: Job, metadata: {name: j}, status: {active: 1}}`:                                                                 false,
		`{apiVersion: v1, kind: Pod, metadata: {name: p}, status: {phase: Succeeded}}`:                                                                true,
		`{apiVersion: v1, kind: Pod, metadata: {name: p}, status: {phase: Running}}`:                                                                  false,
		`{apiVersion: v1, kind: Endpoints, metadata: {name: e, managedFields: [{manager: kube-controller-manager}]}}`:                                 true,
		`{apiVersion: v1, kind: Endpoints, metadata: {name: e, managedFields: [{manager: kubectl}]}}`:                                                 false,
		`{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: a, labels: {kube-aggregator.kubernetes.io/automanaged: "true"}}}`: true,
		`{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: a}}`:                                                              false,
	} {
		if why := unrestorable(object(t, text), false); (why != "") != want {
			t.Errorf("%s: %q", text, why)
		}
	}
	if unrestorable(object(t, `{apiVersion: v1, kind: Secret, metadata: {name: s}}`), true) == "" {
		t.Error("a Secret without its data would be restored")
	}
}

// What YAML is known to get wrong comes back as it was.
func TestEncode(t *testing.T) {
	in := object(t,
		`{"apiVersion":"example.com/v1","kind":"K","metadata":{"name":"n","annotations":{"a":"yes","b":"1e3","c":"0x10","d":"~","e":"2026-01-01","f":"<&>",
		"g":"\u001b[31m\u202e","h":" lead","i":"a\nb\n","j":"","y":"=","on":"off","k":"\u2028","l":"😀","m":"12:30:45","n":"0777"}},
		"spec":{"int":9007199254740993,"float":0.1,"large":1e21,"whole":1.0,"negative":-0.5,"nothing":null,"list":[],"map":{},"bool":true}}`)
	content, err := encode(in)
	if err != nil {
		t.Fatal(err)
	}
	back, err := parse(content)
	if err != nil {
		t.Fatal(err)
	}
	if !same(in.Object, back.Object) {
		t.Errorf("(-in +back)\n%s", cmp.Diff(in.Object, back.Object))
	}
	var loose map[string]any
	if err := yaml.Unmarshal(content, &loose); err != nil {
		t.Error(err)
	}
}
