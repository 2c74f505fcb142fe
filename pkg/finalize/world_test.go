package finalize

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// noon is when all snapshots of the tests are taken.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const stuckFor = 3 * time.Hour

// world is a snapshot that is put together by hand.
type world struct {
	snap        *cluster.Snapshot
	owners      *cluster.Snapshot
	samples     map[Class]Sample
	manager     *cluster.Object
	conversions []Conversion
	pods        []*cluster.Object // that no workload makes
	unseen      bool              // not all of them could be read
	resources   map[string]*cluster.Resource
}

func newWorld() *world {
	w := &world{owners: &cluster.Snapshot{}, samples: map[Class]Sample{}, snap: &cluster.Snapshot{Taken: noon,
		Server: cluster.Server{Version: "v1.36.3"}}, resources: map[string]*cluster.Resource{}}
	for _, r := range []cluster.Resource{
		{Version: "v1", Name: "namespaces", Kind: "Namespace"},
		{Version: "v1", Name: "nodes", Kind: "Node"},
		{Version: "v1", Name: "pods", Kind: "Pod", Namespaced: true},
		{Version: "v1", Name: "configmaps", Kind: "ConfigMap", Namespaced: true},
		{Version: "v1", Name: "secrets", Kind: "Secret", Namespaced: true},
		{Version: "v1", Name: "services", Kind: "Service", Namespaced: true},
		{Version: "v1", Name: "persistentvolumeclaims", Kind: "PersistentVolumeClaim", Namespaced: true},
		{Version: "v1", Name: "persistentvolumes", Kind: "PersistentVolume"},
		{Group: "apps", Version: "v1", Name: "deployments", Kind: "Deployment", Namespaced: true},
		{Group: "apps", Version: "v1", Name: "daemonsets", Kind: "DaemonSet", Namespaced: true},
		{Group: "example.com", Version: "v1", Name: "widgets", Kind: "Widget", Namespaced: true},
		{Group: "apiregistration.k8s.io", Version: "v1", Name: "apiservices", Kind: "APIService"},
		{Group: "apiextensions.k8s.io", Version: "v1", Name: "customresourcedefinitions", Kind: "CustomResourceDefinition"},
		{Group: "coordination.k8s.io", Version: "v1", Name: "leases", Kind: "Lease", Namespaced: true},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Name: "clusterroles", Kind: "ClusterRole"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Name: "clusterrolebindings", Kind: "ClusterRoleBinding"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Name: "rolebindings", Kind: "RoleBinding", Namespaced: true},
		{Group: "admissionregistration.k8s.io", Version: "v1", Name: "validatingwebhookconfigurations",
			Kind: "ValidatingWebhookConfiguration"},
	} {
		w.resources[r.Name] = &r
		w.snap.Resources = append(w.snap.Resources, &r)
	}
	return w
}

// obs is what is seen of the world.
func (w *world) obs() *Observation {
	return &Observation{Snapshot: w.snap, Owners: w.owners, Samples: w.samples, Manager: w.manager,
		Conversions: w.conversions, Loose: w.pods, LooseUnreadable: w.unseen}
}

type edit func(*cluster.Object)

// add puts an object into the world.
func (w *world) add(resource, ns, name string, edits ...edit) *cluster.Object {
	o := &cluster.Object{
		Resource: w.resources[resource], Namespace: ns, Name: name, ResourceVersion: "1",
		UID: types.UID(resource + "/" + ns + "/" + name), Created: noon.Add(-48 * time.Hour),
	}
	for _, e := range edits {
		e(o)
	}
	w.snap.Objects = append(w.snap.Objects, o)
	slices.SortFunc(w.snap.Objects, func(a, b *cluster.Object) int { return a.Ref().Compare(b.Ref()) })
	return o
}

// namespace adds a Terminating namespace.
func (w *world) namespace(name string, edits ...edit) *cluster.Object {
	return w.add("namespaces", "", name, append([]edit{
		deleting, body("spec", map[string]any{"finalizers": []any{"kubernetes"}}),
		func(o *cluster.Object) { o.Labels = map[string]string{"kubernetes.io/metadata.name": name} },
	}, edits...)...)
}

// drop removes an object.
func (w *world) drop(gone *cluster.Object) {
	w.snap.Objects = slices.DeleteFunc(slices.Clone(w.snap.Objects), func(o *cluster.Object) bool { return o == gone })
}

// deadAPI makes the discovery of a group/version fail, and adds its APIService.
func (w *world) deadAPI(group, version string, edits ...edit) *cluster.Object {
	gv := group + "/" + version
	w.snap.Unreadable = append(w.snap.Unreadable, cluster.Unreadable{What: gv, GroupVersion: gv,
		Message: "stale GroupVersion discovery: " + gv})
	return w.add("apiservices", "", version+"."+group, append([]edit{
		body("spec", map[string]any{"service": map[string]any{"namespace": "omni", "name": "adapter", "port": int64(443)}}),
		body("status", map[string]any{"conditions": []any{map[string]any{
			"type": "Available", "status": "False", "lastTransitionTime": "2026-02-01T00:00:00Z",
			"message": `service/adapter in "omni" is not present`,
		}}}),
	}, edits...)...)
}

// webhook adds a webhook whose Service nobody answers.
func (w *world) webhook(name string, edits ...func(map[string]any)) {
	hook := map[string]any{
		"name":          name + ".example.com",
		"failurePolicy": "Fail",
		"clientConfig":  map[string]any{"service": map[string]any{"namespace": "gone", "name": name}},
		"rules": []any{map[string]any{
			"operations": []any{"UPDATE"}, "apiGroups": []any{""}, "apiVersions": []any{"v1"}, "resources": []any{"configmaps"},
		}},
	}
	for _, e := range edits {
		e(hook)
	}
	w.snap.Backends = append(w.snap.Backends, cluster.Backend{Namespace: "gone", Name: name})
	w.add("validatingwebhookconfigurations", "", name, body("webhooks", []any{hook}))
}

func deleting(o *cluster.Object) { o.Deleting = noon.Add(-stuckFor) }

func deletingSince(d time.Duration) edit {
	return func(o *cluster.Object) { o.Deleting = noon.Add(-d) }
}

func held(finalizers ...string) edit {
	return func(o *cluster.Object) { o.Finalizers = finalizers }
}

func body(field string, value any) edit {
	return func(o *cluster.Object) {
		if o.Body == nil {
			o.Body = map[string]any{}
		}
		o.Body[field] = value
	}
}

func onNode(name string) edit { return body("spec", map[string]any{"nodeName": name}) }

func ready(status string) edit { return readySince(status, "2026-03-01T09:00:00Z") }

func readySince(status, at string) edit {
	return body("status", map[string]any{"conditions": []any{map[string]any{
		"type": "Ready", "status": status, "lastTransitionTime": at,
	}}})
}

// options are those of a run at noon.
func options() Options {
	return Options{Now: func() time.Time { return noon }, By: "a test", Product: "Cast AI", Known: []Known{
		{Name: "castware.cast.ai/cleanup-helm", By: "castware-operator", Workloads: []string{"castware-operator"}},
		{Name: "*.cast.ai", By: "a component of Cast AI", Workloads: []string{"castai-workload-autoscaler"}},
		{Name: "crdreplicator.liqo.io/*", By: "liqo-crd-replicator", Workloads: []string{"liqo-crd-replicator"}},
	}}
}

// castAIOnly allows the finalizers of one product.
func castAIOnly(_ *cluster.Object, finalizer string) bool {
	return strings.Contains(finalizer, "cast.ai/")
}

func diagnose(t *testing.T, w *world, name string, o Options) *Diagnosis {
	t.Helper()
	d, err := Diagnose(w.obs(), name, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// many adds n ConfigMaps with the finalizer.
func (w *world) many(n int, ns, finalizer string) {
	for i := range n {
		w.snap.Objects = append(w.snap.Objects, &cluster.Object{
			Resource: w.resources["configmaps"], Namespace: ns, Name: "c" + strconv.Itoa(i),
			UID:             types.UID(ns + strconv.Itoa(i)),
			ResourceVersion: "1", Deleting: noon.Add(-stuckFor), Finalizers: []string{finalizer},
		})
	}
}

func rule(operation, group, version, resource string) func(map[string]any) {
	return func(h map[string]any) {
		h["rules"] = []any{map[string]any{
			"operations": []any{operation}, "apiGroups": []any{group}, "apiVersions": []any{version},
			"resources": []any{resource},
		}}
	}
}

func selector(field, key, value string) func(map[string]any) {
	return func(h map[string]any) { h[field] = map[string]any{"matchLabels": map[string]any{key: value}} }
}

func conditionsOf(kind, status, message string) edit {
	return body("status", map[string]any{"conditions": []any{map[string]any{
		"type": kind, "status": status, "message": message, "lastTransitionTime": "2026-03-01T09:00:10Z",
	}}})
}

// operator adds a Deployment with a ServiceAccount.
func (w *world) operator(ns, name, account string, ready int64) *cluster.Object {
	return w.add("deployments", ns, name,
		body("spec", map[string]any{"template": map[string]any{"spec": map[string]any{
			"serviceAccountName": account, "containers": []any{map[string]any{"name": "manager"}},
		}}}),
		body("status", map[string]any{"readyReplicas": ready}))
}

// scaled says how many pods a Deployment is to have.
func (w *world) scaled(o *cluster.Object, replicas int64) {
	o.Body["spec"].(map[string]any)["replicas"] = replicas
}

// runsCommand says what the container of a Deployment runs.
func (w *world) runsCommand(o *cluster.Object, command ...any) {
	pod := o.Body["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
	pod["containers"] = []any{map[string]any{"name": "c", "command": command}}
}

// daemon adds a DaemonSet.
func (w *world) daemon(ns, name string, wanted, ready int64) {
	w.add("daemonsets", ns, name, body("status", map[string]any{"desiredNumberScheduled": wanted, "numberReady": ready}))
}

// loose adds a pod in tools, of the ServiceAccount gadgets, that no workload of the
// group apps makes, but something called owner, if that is not empty.
func (w *world) loose(name, owner string, ready bool) {
	o := &cluster.Object{Resource: w.resources["pods"], Namespace: "tools", Name: name, Body: map[string]any{
		"spec": map[string]any{"serviceAccountName": "gadgets", "containers": []any{map[string]any{"name": "manager"}}},
	}}
	if ready {
		o.Body["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": "True"}}}
	}
	if owner != "" {
		o.Owners = []metav1.OwnerReference{{Kind: "Rollout", Name: owner, UID: "r", Controller: new(true)}}
	}
	w.pods = append(w.pods, o)
}

// certManager adds cert-manager, which may write everything.
func (w *world) certManager() {
	w.operator("cert-manager", "cert-manager", "", 2)
	w.grant("cert-manager", "default", "*", "*")
}

// lets adds a ClusterRole that lets the ServiceAccount tools/gadgets write something.
func (w *world) lets(group, resource string) { w.grant("tools", "gadgets", group, resource) }

// grant adds a ClusterRole that lets a ServiceAccount write something.
func (w *world) grant(ns, account, group, resource string) {
	w.owners.Objects = append(w.owners.Objects,
		&cluster.Object{Resource: w.resources["clusterroles"], Name: "writes-" + group,
			Body: map[string]any{"rules": []any{map[string]any{
				"apiGroups": []any{group}, "resources": []any{resource}, "verbs": []any{"get", "update"},
			}}}},
		&cluster.Object{Resource: w.resources["clusterrolebindings"], Name: "writes-" + group, Body: map[string]any{
			"roleRef":  map[string]any{"kind": "ClusterRole", "name": "writes-" + group},
			"subjects": []any{map[string]any{"kind": "ServiceAccount", "namespace": ns, "name": account}},
		}})
}

// grantTo adds a ClusterRole that lets a user or a group write something.
func (w *world) grantTo(kind, name, group, resource string) {
	w.grant("", "", group, resource)
	w.owners.Objects[len(w.owners.Objects)-1].Body["subjects"] = []any{map[string]any{"kind": kind, "name": name}}
}

// lease adds a Lease in namespace tools that was renewed some time ago.
func (w *world) lease(name, holder string, ago time.Duration) {
	w.owners.Objects = append(w.owners.Objects, w.leaseOf("tools", name, holder, ago))
}

func (w *world) leaseOf(ns, name, holder string, ago time.Duration) *cluster.Object {
	return &cluster.Object{Resource: w.resources["leases"], Namespace: ns, Name: name,
		Body: map[string]any{"spec": map[string]any{
			"holderIdentity": holder, "renewTime": noon.Add(-ago).Format(time.RFC3339Nano), "leaseDurationSeconds": int64(15),
		}}}
}

// wrote says who wrote an object, and when.
func (w *world) wrote(o *cluster.Object, manager string, ago time.Duration) {
	for _, f := range o.Finalizers {
		class := classOf(o, f)
		s := w.samples[class]
		s.Writes = append(s.Writes, Write{Manager: manager, At: noon.Add(-ago), Holds: true,
			After: noon.Add(-ago).After(o.Deleting)})
		w.samples[class] = s
	}
}

// conversion adds a dead conversion webhook with one object in each namespace.
func (w *world) conversion(definition string, namespaces ...string) {
	plural, _, _ := strings.Cut(definition, ".")
	c := Conversion{Definition: definition, Message: "boom", Service: "nowhere/conv", Storage: "v1"}
	for _, ns := range namespaces {
		c.Objects = append(c.Objects, &cluster.Object{Resource: w.resources[plural], Namespace: ns, Name: "g",
			UID: types.UID("g" + ns)})
	}
	w.conversions = append(w.conversions, c)
}

// destructive is a command that removes something for good.
var destructive = regexp.MustCompile(`kubectl delete|"finalizers":|/finalize`)

// checkCauses holds that a diagnosis has these causes, in this order.
func checkCauses(t *testing.T, d *Diagnosis, wanted []want) {
	t.Helper()
	var got []string
	for _, c := range d.Causes {
		got = append(got, string(c.Type)+" → "+string(c.Action)+": "+c.Summary+". "+c.Remedy+". "+c.Command+c.Look)
	}
	if len(d.Causes) != len(wanted) {
		t.Fatalf("%d causes, want %d:\n%s", len(d.Causes), len(wanted), strings.Join(got, "\n"))
	}
	for i, want := range wanted {
		c := d.Causes[i]
		if c.Type != want.cause || c.Action != want.action || c.Blocks != want.blocks {
			t.Errorf("cause %d: %s (blocks: %t), want %s → %s (blocks: %t)", i, got[i], c.Blocks, want.cause, want.action,
				want.blocks)
		}
		for _, says := range want.says {
			if !strings.Contains(got[i], says) {
				t.Errorf("cause %d does not say %q: %s", i, says, got[i])
			}
		}
		if forces := destructive.MatchString(c.Command); forces && (c.Action == Wait || c.Action == Nothing) {
			t.Errorf("cause %d is not to be removed, but is by its command: %s", i, got[i])
		}
		if c.Summary == "" || c.Remedy == "" || (c.Command+c.Look == "" && c.Type != Progressing && c.Type != NotDeleting) {
			t.Errorf("cause %d is incomplete: %+v", i, c)
		}
	}
	if d.Summary == "" {
		t.Error("no summary")
	}
}
