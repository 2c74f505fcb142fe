package hibernate

import (
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/pkg/cluster"
)

// State is what was observed of a cluster. Everything is decided on it.
type State struct {
	Server    cluster.Server
	Namespace string
	Record    Record
	Nodes     []*Node
	Workloads []*Workload
	Pods      []*Pod
	// Budgets are the PodDisruptionBudgets, as far as they could be read.
	Budgets []*policyv1.PodDisruptionBudget
	// CronJobs are those in the namespace that pause or resume, and Running their
	// Jobs that have not ended.
	CronJobs []*CronJob
	Running  []OtherRun
	// Blind is why CronJobs and Jobs could not be read; empty: they were.
	Blind string
	// Namespaces are the names of all there are.
	Namespaces []string
	// Console is what Cast AI says; nil if it was not asked.
	Console *Console
}

// DisplayName is what a person calls the cluster, here and at Cast AI, whose name
// for it may be another one.
func (s *State) DisplayName() string {
	name := s.Server.DisplayName()
	if s.Console == nil {
		return name
	}
	return fmt.Sprintf("%s (%s at Cast AI, %s)", name, s.Console.Cluster.Name, s.Console.Cluster.Id)
}

// Console is what Cast AI says of a cluster.
type Console struct {
	Cluster  castai.Cluster
	Nodes    []castai.Node
	Policies castai.Policies
}

// Node is a node of the cluster.
type Node struct {
	*cluster.Object
	corev1.Node
	// Console is what Cast AI knows of it; nil: nothing.
	Console *castai.Node
}

// Workload is a Deployment, StatefulSet or DaemonSet.
type Workload struct {
	*cluster.Object
	Template corev1.PodTemplateSpec
	Selector labels.Selector
	// Wanted and Ready count its pods.
	Wanted, Ready int64
	// ByHand: its pods are not replaced when its template changes (OnDelete, paused).
	ByHand bool
}

// Pod is a pod that has not ended.
type Pod struct {
	*cluster.Object
	corev1.Pod
}

// Ref returns the version-independent name.
func (n *Node) Ref() cluster.Ref { return n.Object.Ref() }

// Ref returns the version-independent name.
func (p *Pod) Ref() cluster.Ref { return p.Object.Ref() }

// PodsResource is what pods are asked for by.
func PodsResource() *cluster.Resource {
	return &cluster.Resource{Version: "v1", Name: "pods", Kind: "Pod", Namespaced: true}
}

func nodesResource() *cluster.Resource {
	return &cluster.Resource{Version: "v1", Name: "nodes", Kind: "Node"}
}

func podFields() [][]string {
	return [][]string{{"spec", "nodeName"}, {"spec", "containers"}, {"status", "phase"}, {"status", "conditions"}}
}

// placeFields are those that a scheduler looks at, beside podFields.
func placeFields() (out [][]string) {
	for _, field := range []string{
		"initContainers", "overhead", "resources", "nodeSelector", "affinity", "tolerations", "volumes",
		"topologySpreadConstraints", "schedulerName", "resourceClaims",
	} {
		out = append(out, []string{"spec", field})
	}
	return out
}

func nodeFields() [][]string {
	return [][]string{{"status", "allocatable"}, {"metadata", "managedFields"}, markFields}
}

func workloadFields() [][]string {
	return [][]string{{"spec", "selector"}, {"spec", "paused"}, {"spec", "updateStrategy"}, tolerations, {"status"},
		{"metadata", "managedFields"}, markFields}
}

// needed are the kinds without which nothing is decided.
func needed() []string {
	return []string{"nodes", "pods", "namespaces", "deployments.apps", "statefulsets.apps", "daemonsets.apps"}
}

// budgets say beforehand which pods can't be evicted. Who may not read them learns it
// when they are evicted.
const budgets = "poddisruptionbudgets.policy"

// Scope is what a state needs of a cluster, beside the state ConfigMap: of what
// pauses clusters, what is in the namespace.
func Scope(namespace string) cluster.Scope {
	whole := needed()
	return cluster.Scope{
		Namespaces: []string{namespace}, Whole: append([]string{budgets}, whole...), Kinds: slices.Concat(otherKinds(),
			[]string{budgets}, whole),
		Bodies: map[string][][]string{
			"nodes": nodeFields(), "pods": append(podFields(), placeFields()...), budgets: {{"spec", "selector"},
				{"status", "disruptionsAllowed"}}, "cronjobs.batch": {{"spec"}, markFields}, "jobs.batch": jobFields(),
			"deployments.apps": workloadFields(), "statefulsets.apps": workloadFields(), "daemonsets.apps": workloadFields(),
		},
	}
}

// otherKinds are those of what else pauses and resumes. The jobs of older releases
// may not read them: their Role does not have them.
func otherKinds() []string { return []string{"cronjobs.batch", "jobs.batch"} }

func jobFields() [][]string {
	return [][]string{{"spec", "template"}, {"spec", "suspend"}, {"status"}}
}

// Readable is an error if one of the kinds (PLURAL.GROUP) is not in a snapshot
// because it could not be read.
func Readable(snap *cluster.Snapshot, kinds ...string) error {
	for _, u := range snap.Unreadable {
		if slices.Contains(kinds, u.What) {
			return fmt.Errorf("%s can't be read, and without them nothing can be decided: %s", u.What, u.Message)
		}
	}
	return nil
}

// NewState reads a snapshot of Scope, the state ConfigMap (nil: there is none),
// and what Cast AI says (nil: it was not asked).
func NewState(snap *cluster.Snapshot, namespace string, state *cluster.Object, console *Console) (*State, error) {
	err := Readable(snap, needed()...)
	if err != nil {
		return nil, err
	}
	s := &State{Server: snap.Server, Namespace: namespace, Console: console}
	if blind := Readable(snap, otherKinds()...); blind != nil {
		s.Blind = blind.Error()
	}
	if s.Record, err = readRecord(state); err != nil {
		return nil, err
	}
	for _, o := range snap.Objects {
		switch o.Ref().GroupKind().String() {
		case "Node":
			n, err := newNode(o)
			if err != nil {
				return nil, err
			}
			s.Nodes = append(s.Nodes, n)
		case "Pod":
			p, err := newPod(o)
			if err != nil {
				return nil, err
			}
			if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
				s.Pods = append(s.Pods, p)
			}
		case "PodDisruptionBudget.policy":
			b := &policyv1.PodDisruptionBudget{}
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Body, b); err != nil {
				return nil, fmt.Errorf("%s can't be read: %w", o.Ref(), err)
			}
			b.ObjectMeta = meta(o, nil)
			s.Budgets = append(s.Budgets, b)
		case "Namespace":
			s.Namespaces = append(s.Namespaces, o.Name)
		case "CronJob.batch", "Job.batch":
			if err := s.readOther(o); err != nil {
				return nil, err
			}
		case "Deployment.apps", "StatefulSet.apps", "DaemonSet.apps":
			w, err := newWorkload(o)
			if err != nil {
				return nil, err
			}
			s.Workloads = append(s.Workloads, w)
		}
	}
	s.match()
	return s, nil
}

func newNode(o *cluster.Object) (*Node, error) {
	n := &Node{Object: o}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Body, &n.Node); err != nil {
		return nil, fmt.Errorf("%s can't be read: %w", o.Ref(), err)
	}
	n.Node.ObjectMeta = meta(o, n.ManagedFields)
	return n, nil
}

func newPod(o *cluster.Object) (*Pod, error) {
	p := &Pod{Object: o}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Body, &p.Pod); err != nil {
		return nil, fmt.Errorf("%s can't be read: %w", o.Ref(), err)
	}
	p.Pod.ObjectMeta = meta(o, nil)
	return p, nil
}

// meta is the metadata that typed objects are asked for.
func meta(o *cluster.Object, managed []metav1.ManagedFieldsEntry) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: o.Name, Namespace: o.Namespace, UID: o.UID, Labels: o.Labels,
		Annotations: o.Annotations, ManagedFields: managed}
}

func newWorkload(o *cluster.Object) (*Workload, error) {
	w := &Workload{Object: o}
	var body struct {
		Spec struct {
			Selector *metav1.LabelSelector  `json:"selector"`
			Replicas *int64                 `json:"replicas"`
			Template corev1.PodTemplateSpec `json:"template"`
			Paused   bool                   `json:"paused"`
			Update   struct {
				Type string `json:"type"`
			} `json:"updateStrategy"`
		} `json:"spec"`
		Status struct {
			ReadyReplicas          int64 `json:"readyReplicas"`
			NumberReady            int64 `json:"numberReady"`
			DesiredNumberScheduled int64 `json:"desiredNumberScheduled"`
		} `json:"status"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Body, &body); err != nil {
		return nil, fmt.Errorf("%s can't be read: %w", o.Ref(), err)
	}
	var err error
	if w.Selector, err = metav1.LabelSelectorAsSelector(body.Spec.Selector); err != nil {
		return nil, fmt.Errorf("the selector of %s can't be read: %w", o.Ref(), err)
	}
	w.Template = body.Spec.Template
	w.ByHand = body.Spec.Paused || body.Spec.Update.Type == string(appsv1.OnDeleteStatefulSetStrategyType)
	w.Wanted, w.Ready = 1, body.Status.ReadyReplicas // one replica, if none is named
	if body.Spec.Replicas != nil {
		w.Wanted = *body.Spec.Replicas
	}
	if w.daemon() {
		w.Wanted, w.Ready = body.Status.DesiredNumberScheduled, body.Status.NumberReady
	}
	return w, nil
}

func (w *Workload) daemon() bool { return w.Resource.Kind == "DaemonSet" }

// owns tells whether a pod is one of the workload's.
func (w *Workload) owns(p *Pod) bool {
	return p.Object.Namespace == w.Namespace && w.Selector.Matches(labels.Set(p.Object.Labels))
}

// match finds out which of Cast AI's nodes is which: by name, which no kubelet can
// choose for another node. Labels it can write, and its provider id it says itself:
// where they are there they must agree, and never decide alone which machine goes.
func (s *State) match() {
	if s.Console == nil {
		return
	}
	for _, n := range s.Nodes {
		var found []*castai.Node
		for i := range s.Console.Nodes {
			if c := &s.Console.Nodes[i]; c.Name == n.Object.Name && c.State.Phase != "deleted" && n.agrees(c) {
				found = append(found, c)
			}
		}
		if n.Console = nil; len(found) == 1 {
			n.Console = found[0]
		}
	}
}

// agrees tells whether a node of this name may be the one that Cast AI knows.
func (n *Node) agrees(c *castai.Node) bool {
	id := n.Object.Labels[nodeIDLabel]
	return (id == "" || id == c.Id) && (c.ProviderId == "" || c.ProviderId == n.Spec.ProviderID)
}

// castAI is who added the nodes that Cast AI made (terraform-provider-castai #768).
const castAI = "cast"

// own tells whether Cast AI made the node: it says so itself, or its label does
// (cluster-controller internal/types.go; terraform-provider-castai PR 768).
func (n *Node) own() bool {
	if n.Console == nil {
		return false
	}
	if n.Console.AddedBy != "" {
		return n.Console.AddedBy == castAI
	}
	return n.Object.Labels[provisioner+"managed-by"] == "cast.ai"
}

// spot tells whether the node may be taken away at any time. Cast AI's job labels
// its own on-demand node as spot, so that what the API says counts.
func (n *Node) spot() bool {
	if n.Console != nil {
		return n.Console.SpotConfig.IsSpot
	}
	return n.Object.Labels[spotLabel] == "true"
}

func (n *Node) instanceType() string {
	if n.Console != nil && n.Console.InstanceType != "" {
		return n.Console.InstanceType
	}
	return n.Object.Labels[corev1.LabelInstanceTypeStable]
}

// ready tells whether the node's kubelet says that it is, and it is not going.
func (n *Node) ready() bool {
	return !n.Object.Terminating() && slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// protected tells whether somebody marked the node as not to be removed.
func (n *Node) protected() bool {
	return n.Object.Labels[removalDisabled] == "true" || n.Object.Annotations[removalDisabled] == "true"
}

// taint returns the taint of a paused cluster, if the node has it.
func (n *Node) taint() (corev1.Taint, bool) {
	i := slices.IndexFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == PausedKey })
	if i < 0 {
		return corev1.Taint{}, false
	}
	return n.Spec.Taints[i], true
}

// otherTaints are those that keep pods away, beside that of a paused cluster.
func (n *Node) otherTaints() []string {
	var out []string
	for _, t := range n.Spec.Taints {
		if t.Key != PausedKey && t.Effect != corev1.TaintEffectPreferNoSchedule {
			out = append(out, t.Key)
		}
	}
	return out
}

// running tells whether a pod is ready and stays so.
func (p *Pod) running() bool {
	return !p.Object.Terminating() && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// alone tells whether nobody makes the pod again when it is gone, beside a kubelet
// its own static pods.
func (p *Pod) alone() bool {
	return p.Object.Controller() == nil && !p.static() && !p.Object.Terminating()
}

// static tells whether the pod is of the node itself: its kubelet made it.
func (p *Pod) static() bool {
	_, mirror := p.Object.Annotations[corev1.MirrorPodAnnotationKey]
	return mirror
}

// ofItsNode tells whether the pod comes and goes with its node.
func (p *Pod) ofItsNode() bool {
	owner := p.Object.Controller()
	return p.static() || owner != nil && owner.Kind == "DaemonSet"
}

// unschedulable tells whether no node has room for the pod.
func (p *Pod) unschedulable() bool {
	return p.Spec.NodeName == "" && !p.Object.Terminating() &&
		slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse
		})
}

// Unschedulable counts the pods that no node has room for.
func Unschedulable(pods []*Pod) int {
	n := 0
	for _, p := range pods {
		if p.unschedulable() {
			n++
		}
	}
	return n
}

// Autoscaler tells whether all policies are on; known is false if Cast AI was not
// asked or its answer can't be read.
func (s *State) Autoscaler() (on, known bool) {
	if s.Console == nil {
		return false, false
	}
	on, err := switched(s.Console.Policies, SwitchAll)
	return on, err == nil
}

// wrote tells whether a program is the one that wrote a field last, as the
// managed fields of the object say.
func wrote(o *cluster.Object, program string, path ...string) bool {
	return writer(o, func(manager string) bool { return manager == program }, path...)
}

// wroteOther tells whether a program other than this plugin wrote a field last.
func wroteOther(o *cluster.Object, path ...string) bool {
	return writer(o, func(manager string) bool { return manager != cluster.FieldManager }, path...)
}

func writer(o *cluster.Object, is func(manager string) bool, path ...string) bool {
	entries, _, _ := unstructured.NestedSlice(o.Body, "metadata", "managedFields")
	for _, e := range entries {
		entry, _ := e.(map[string]any)
		manager, _ := entry["manager"].(string)
		if !is(manager) {
			continue
		}
		fields := make([]string, 0, len(path)+1)
		fields = append(fields, "fieldsV1")
		for _, p := range path {
			fields = append(fields, "f:"+p)
		}
		if _, found, err := unstructured.NestedFieldNoCopy(entry, fields...); found && err == nil {
			return true
		}
	}
	return false
}

// names joins names of objects for a person, the first few of many.
func names[T any](list []T, name func(T) string) string {
	const most = 5
	var out []string
	for i, item := range list {
		if i == most {
			out = append(out, fmt.Sprintf("and %d more", len(list)-most))
			break
		}
		out = append(out, name(item))
	}
	return strings.Join(out, ", ")
}

// has tells whether a node of that name is in the cluster, and ready.
func (s *State) has(name string) bool {
	return slices.ContainsFunc(s.Nodes, func(n *Node) bool { return n.Object.Name == name && n.ready() })
}

// count is a number of things for a person.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
