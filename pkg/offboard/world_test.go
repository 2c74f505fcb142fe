package offboard_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/offboard"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// rights are a ClusterRole of Cast AI's agent and its binding, both of a name.
func rights(name string) string {
	return strings.ReplaceAll(`apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: NAME
  labels: {helm.sh/chart: castai-agent-0.111.0, app.kubernetes.io/name: castai-agent}
  annotations: {meta.helm.sh/release-name: castai-agent, meta.helm.sh/release-namespace: castai-agent}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: NAME
  labels: {helm.sh/chart: castai-agent-0.111.0, app.kubernetes.io/name: castai-agent}
  annotations: {meta.helm.sh/release-name: castai-agent, meta.helm.sh/release-namespace: castai-agent}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NAME}
subjects: [{kind: ServiceAccount, name: castai-agent, namespace: castai-agent}]
`, "NAME", name)
}

// installed is a small installation: a namespace, an agent with its account and
// role, a definition with an object of it, a webhook.
var installed = `
apiVersion: v1
kind: Namespace
metadata: {name: castai-agent}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: recommendations.autoscaling.cast.ai}
spec:
  group: autoscaling.cast.ai
  names: {kind: Recommendation, plural: recommendations}
  scope: Namespaced
  versions: [{name: v1, served: true, storage: true}]
---
apiVersion: autoscaling.cast.ai/v1
kind: Recommendation
metadata: {name: web, namespace: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: castai-agent
  namespace: castai-agent
  labels: {helm.sh/chart: castai-agent-0.111.0, app.kubernetes.io/name: castai-agent}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: castai-agent-autoscaler
  namespace: castai-agent
  labels: {helm.sh/chart: castai-agent-0.111.0, app.kubernetes.io/name: castai-agent}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: castai-agent
  namespace: castai-agent
  labels: {helm.sh/chart: castai-agent-0.111.0, app.kubernetes.io/name: castai-agent}
spec:
  replicas: 2
  selector: {matchLabels: {app.kubernetes.io/name: castai-agent}}
  template:
    metadata: {labels: {app.kubernetes.io/name: castai-agent}}
    spec:
      serviceAccountName: castai-agent
      containers: [{name: agent, image: us-docker.pkg.dev/castai-hub/library/agent:v0.60.0}]
---
` + rights("castai-agent") + `---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata:
  name: castai-pod-mutator
  labels: {helm.sh/chart: castai-pod-mutator-0.1.0}
  annotations: {meta.helm.sh/release-name: castai-pod-mutator, meta.helm.sh/release-namespace: castai-agent}
webhooks:
- name: pod-mutator.cast.ai
  admissionReviewVersions: [v1]
  sideEffects: None
  clientConfig: {service: {name: castai-pod-mutator, namespace: castai-agent}}
---
apiVersion: v1
kind: Secret
metadata: {name: password, namespace: shop}
`

// memory is a Saver that keeps no more than what it saw.
type memory struct {
	from offboard.Cluster
	// full: every further save fails.
	full bool

	mu    sync.Mutex
	saved map[types.UID][]string // resourceVersions
}

func (m *memory) Save(ctx context.Context, _ *ownership.Inventory, plan *engine.Plan) (map[types.UID]string, error) {
	var targets []cluster.Target
	for _, phase := range plan.Phases {
		for _, a := range phase.Actions {
			targets = append(targets, a.Target)
		}
	}
	return m.read(ctx, targets)
}

func (m *memory) SaveAgain(ctx context.Context, _ *ownership.Inventory, a engine.Action) error {
	_, err := m.read(ctx, []cluster.Target{a.Target})
	return err
}

func (m *memory) read(ctx context.Context, targets []cluster.Target) (map[types.UID]string, error) {
	if m.full {
		return nil, errors.New("no space left on device")
	}
	last := map[types.UID]string{}
	err := m.from.Read(ctx, targets, func(_ cluster.Target, u *unstructured.Unstructured) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.saved[u.GetUID()] = append(m.saved[u.GetUID()], u.GetResourceVersion())
		last[u.GetUID()] = u.GetResourceVersion()
		return nil
	})
	return last, err
}

// world is a server with an installation, and a runner.
type world struct {
	*clustertest.Server
	runner *offboard.Runner
	saver  *memory
}

func serve(t *testing.T, more string) *world {
	t.Helper()
	return serveAll(t, installed+more)
}

func serveAll(t *testing.T, manifest string) *world {
	t.Helper()
	s := clustertest.ServeManifest(t, manifest)
	cat, err := ownership.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	client := s.Client()
	m := &memory{from: client, saved: map[types.UID][]string{}}
	w := &world{Server: s, saver: m, runner: &offboard.Runner{
		Cluster: client, Catalogue: cat, Saver: m, Phase: time.Minute, Settle: time.Second,
	}}
	s.Before(w.namespaceController)
	return w
}

// namespaceController empties and ends what is being deleted at once: the
// unkindest that it may be.
func (w *world) namespaceController(*clustertest.Request) clustertest.Fault {
	for _, ref := range w.Refs() {
		name, is := strings.CutPrefix(ref, "Namespace/")
		if !is {
			continue
		}
		ns := w.Get(cluster.Ref{Kind: "Namespace", Name: name})
		if ns == nil || ns.GetDeletionTimestamp() == nil {
			continue
		}
		for _, other := range w.Refs() {
			r, err := cluster.ParseRef(other)
			if err == nil && r.Namespace == ns.GetName() {
				w.Drop(r)
			}
		}
		if len(ns.GetFinalizers()) == 0 {
			w.Drop(cluster.Ref{Kind: "Namespace", Name: ns.GetName()})
		}
	}
	return clustertest.Fault{}
}

// offboard goes the whole way.
func (w *world) offboard(t *testing.T) (*offboard.Result, error) {
	t.Helper()
	o, err := w.runner.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	plan, err := w.runner.Plan(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.runner.Refusals(o); err != nil {
		t.Fatal(err)
	}
	return w.runner.Remove(t.Context(), o, plan)
}

// add puts the objects of a manifest.
func (w *world) add(t *testing.T, manifest string) {
	t.Helper()
	objects, err := clustertest.Parse([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	w.Put(objects...)
}

func (w *world) has(t *testing.T, ref string) bool {
	t.Helper()
	r, err := cluster.ParseRef(ref)
	if err != nil {
		t.Fatal(err)
	}
	return w.Get(r) != nil
}

// bubble runs a test in which time passes at once.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func result(r *engine.Report, ref string) engine.Outcome {
	for _, o := range slices.Backward(r.Outcomes) {
		if o.Object.String() == ref && o.Verb == engine.Delete {
			return o
		}
	}
	return engine.Outcome{}
}
