// Package offboard turns an inventory into the plan that takes Cast AI out of
// a cluster: what is removed in which order, and why in this order.
//
// It is pure; pkg/engine carries the plan out.
package offboard

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// Names of the phases, in order.
//
// Nothing is removed before what it proves: roles go before the bindings that
// tell whose they are, custom resources before their CRDs, what is in namespaces
// before the workloads, ServiceAccounts and Helm releases there, and namespaces
// last, so that a run that is interrupted anywhere finds the rest again.
const (
	PhaseOperations  = "operations"
	PhaseRecreators  = "stop-recreators"
	PhaseCleanUp     = "clean-up"
	PhaseOperators   = "stop-operators"
	PhaseStop        = "stop"
	PhaseAdmission   = "admission"
	PhaseResources   = "custom-resources"
	PhaseRoles       = "roles"
	PhaseCluster     = "cluster"
	PhaseDefinitions = "definitions"
	PhaseContents    = "contents"
	PhaseNamespaces  = "namespaces"
	PhaseWorkloads   = "workloads"
	PhaseRecords     = "records"
	PhaseRoots       = "roots"
	PhaseLast        = "last"
	PhaseVerify      = "verify" // of events only: nothing is written in it
)

// Options of a plan.
type Options struct {
	// CleanUp is how long Cast AI's own controllers get to clean up after
	// themselves where they do it well; zero does not ask them.
	CleanUp time.Duration
	// Phase bounds each phase.
	Phase time.Duration
	// Stays names the namespaces that do not go whole, and says why: their Cast AI
	// objects go one by one.
	Stays map[string]string
}

// StopLabel is a node label that no node has: a DaemonSet that selects it has no pods.
const StopLabel = "castai.kubectl.dev/stopped"

// StoppedAnnotation keeps on a workload that was scaled to zero or suspended
// what it had before: its replicas, or false. Without it, a backup made by the
// next run after one that was interrupted would take the stopped state for the
// user's.
const StoppedAnnotation = "castai.kubectl.dev/stopped"

// New returns the plan for an inventory. It holds an action for every owned
// object, except those that Kubernetes collects with their owners.
func New(inv *ownership.Inventory, cat *ownership.Catalogue, o Options) *engine.Plan {
	p := &planner{inv: inv, cat: cat, whole: map[string]bool{}, byUID: map[types.UID]*ownership.Item{},
		there: map[types.UID]*cluster.Object{}, cleans: map[string]bool{}}
	for _, o := range inv.Objects() {
		p.there[o.UID] = o
	}
	for _, h := range inv.Homes {
		p.whole[h.Name] = h.Namespace != nil && inv.IsOwned(h.Namespace.Ref()) && o.Stays[h.Name] == ""
	}
	for _, i := range inv.Owned() {
		p.byUID[i.Object.UID] = i
	}
	p.strangers = p.dependentsOfOthers()
	for _, i := range inv.Owned() {
		if o.CleanUp > 0 && cat.Graceful(i.Object.Ref()) && p.controllersLive(i) {
			p.cleans[i.Component] = true
		}
	}
	phases := phases(o)
	byName := map[string]*engine.Phase{}
	for i := range phases {
		byName[phases[i].Name] = &phases[i]
	}
	for _, i := range inv.Owned() {
		if name, a, ok := p.stop(i); ok {
			byName[name].Actions = append(byName[name].Actions, a)
		}
		if p.cleans[i.Component] && cat.Graceful(i.Object.Ref()) {
			a := p.remove(i)
			a.Finalizers, a.Strips = nil, nil // that is what these controllers are for
			byName[PhaseCleanUp].Actions = append(byName[PhaseCleanUp].Actions, a)
		}
		operated := isHelmRecord(i.Object) || cat.Graceful(i.Object.Ref()) && cat.Recreates(i.Component)
		if why := busy(i.Object); o.CleanUp > 0 && why != "" && operated && p.operatorLives() {
			byName[PhaseOperations].Actions = append(byName[PhaseOperations].Actions, waitFor(i, why))
		}
		if t, stops := p.stoppedPod(i); stops {
			byName[t].WaitFor = append(byName[t].WaitFor, i.Object.Target())
		}
		if name := p.phaseOf(i); name != "" {
			byName[name].Actions = append(byName[name].Actions, p.remove(i))
		}
	}
	for _, o := range inv.Objects() {
		if isPod(o) && p.isHome(o.Namespace) && p.orphaned(o) && !inv.IsOwned(o.Ref()) {
			byName[PhaseStop].WaitFor = append(byName[PhaseStop].WaitFor, o.Target())
		}
	}
	if p.allWhole(byName[PhaseContents].Actions) {
		// What hangs goes with its namespace, and the ladder of that.
		byName[PhaseContents].Patience, byName[PhaseContents].Optional = soon, true
	}
	// A namespace that is being deleted takes the evidence along, whatever happens.
	slices.SortStableFunc(byName[PhaseNamespaces].Actions, func(a, b engine.Action) int {
		return last(a.Target.Kind == "Namespace") - last(b.Target.Kind == "Namespace")
	})
	plan := &engine.Plan{Notes: append(notes(inv, o.Stays), p.spared()...)}
	for _, phase := range phases {
		if len(phase.Actions)+len(phase.WaitFor) > 0 {
			plan.Phases = append(plan.Phases, phase)
		}
	}
	return plan
}

// phases are those of a plan, in order, without their actions.
func phases(o Options) []engine.Phase {
	return []engine.Phase{
		{Name: PhaseOperations, Title: "Let Cast AI's operator finish what it is doing", Timeout: o.CleanUp, Optional: true,
			InOrder: true},
		{Name: PhaseRecreators, Title: "Stop what would put things back", Timeout: o.Phase},
		{Name: PhaseCleanUp, Title: "Let Cast AI's controllers clean up", Timeout: o.CleanUp, Patience: reactionTime,
			Optional: true},
		{Name: PhaseOperators, Title: "Stop Cast AI's operators", Timeout: o.Phase},
		{Name: PhaseStop, Title: "Stop Cast AI's workloads", Timeout: o.Phase},
		{Name: PhaseAdmission, Title: "Remove webhooks and API services", Timeout: o.Phase, Gate: true},
		{Name: PhaseResources, Title: "Remove custom resources", Timeout: o.Phase},
		{Name: PhaseRoles, Title: "Remove roles", Timeout: o.Phase},
		{Name: PhaseCluster, Title: "Remove bindings and what is cluster-wide", Timeout: o.Phase},
		{Name: PhaseDefinitions, Title: "Remove custom resource definitions", Timeout: o.Phase},
		{Name: PhaseContents, Title: "Remove what is in namespaces", Timeout: o.Phase},
		{Name: PhaseNamespaces, Title: "Remove namespaces, with the last that is in them", Timeout: o.Phase},
		{Name: PhaseWorkloads, Title: "Remove workloads in namespaces that stay", Timeout: o.Phase},
		{Name: PhaseRecords, Title: "Remove the last records", Timeout: o.Phase},
		{Name: PhaseRoots, Title: "Remove what tells where Cast AI lived", Timeout: o.Phase},
		{Name: PhaseLast, Title: "Remove what tells whose Liqo this was", Timeout: o.Phase},
	}
}

// also names what is in a phase beside what its title says: nobody looks for a
// node among roles.
func also(phase engine.Phase) string {
	for _, a := range phase.Actions {
		switch {
		case phase.Name == PhaseRoles && a.Target.Kind == "Node":
			return " and virtual nodes"
		case phase.Name == PhaseResources && a.Target.Namespace == "kube-node-lease":
			return " and the Leases of virtual nodes"
		}
	}
	return ""
}

// last orders what is first before what is not.
func last(first bool) int {
	if first {
		return 0
	}
	return 1
}

type planner struct {
	inv   *ownership.Inventory
	cat   *ownership.Catalogue
	whole map[string]bool               // namespaces that go whole
	byUID map[types.UID]*ownership.Item // what is Cast AI's
	there map[types.UID]*cluster.Object // everything
	// cleans are the components whose controllers are asked to clean up.
	cleans map[string]bool
	// strangers are objects of others whose owners are all Cast AI's, by these.
	strangers map[types.UID][]cluster.Ref
}

// phaseOf says in which phase an owned object is removed, or "" if Kubernetes
// does it.
func (p *planner) phaseOf(i *ownership.Item) string {
	o := i.Object
	kind := o.Ref().GroupKind().String()
	custom := p.inv.IsOwned(cluster.Ref{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition",
		Name: o.Resource.GroupResource().String()})
	switch {
	case custom:
		return PhaseResources
	case i.Dependent:
		return ""
	case kind == "Namespace" && p.whole[o.Name]:
		return PhaseNamespaces
	case kind == "Namespace":
		return ""
	case o.Resource.Group == "admissionregistration.k8s.io", kind == "APIService.apiregistration.k8s.io":
		return PhaseAdmission
	case kind == "CustomResourceDefinition.apiextensions.k8s.io":
		return PhaseDefinitions
	case kind == "RuntimeClass.node.k8s.io":
		return PhaseLast // it tells that Liqo is Cast AI's
	case i.Root:
		return PhaseRoots
	case kind == "Node":
		return PhaseRoles // before the binding that tells whose it is
	case kind == "ClusterRole.rbac.authorization.k8s.io", kind == "Role.rbac.authorization.k8s.io":
		return PhaseRoles
	case o.Namespace == "kube-node-lease":
		return PhaseResources // before the node that tells whose Lease it is
	case isHelmRecord(o) && !p.whole[o.Namespace]:
		return PhaseRecords
	case isWorkload(o) && !p.whole[o.Namespace]:
		return PhaseWorkloads // they tell whose the rest of the namespace is
	case kind == "ServiceAccount", p.whole[o.Namespace] && (isHelmRecord(o) || isWorkload(o)):
		return PhaseNamespaces // they tell whose the rest of the namespace is
	case p.isHome(o.Namespace):
		return PhaseContents
	}
	return PhaseCluster
}

// isWorkload tells whether an object runs pods by itself.
func isWorkload(o *cluster.Object) bool {
	return runsPods(o.Ref())
}

func (p *planner) isHome(ns string) bool {
	return ns != "" && slices.ContainsFunc(p.inv.Homes, func(h ownership.HomeNamespace) bool { return h.Name == ns })
}

func isHelmRecord(o *cluster.Object) bool {
	return o.Resource.Group == "" && o.Labels["owner"] == "helm" &&
		(o.Resource.Kind == "Secret" || o.Resource.Kind == "ConfigMap")
}

// remove returns the action that deletes an owned object.
func (p *planner) remove(i *ownership.Item) engine.Action {
	o := i.Object
	a := engine.Action{Verb: engine.Delete, Target: o.Target(), Why: i.For[0].Text, Command: kubectl("delete", o),
		Strips: p.cat.OwnFinalizer}
	for _, f := range o.Finalizers {
		if p.cat.OwnFinalizer(f) {
			a.Finalizers = append(a.Finalizers, f)
		}
	}
	if len(p.strangers[o.UID]) > 0 {
		a.Orphan, a.Command = true, a.Command+" --cascade=orphan"
	}
	return a
}

// stopFields are the fields of workloads that a stop depends on.
var stopFields = [][]string{
	{"spec", "replicas"}, {"spec", "suspend"}, {"status", "active"}, {"spec", "template", "spec", "nodeSelector"},
}

// stop returns the action that ends what a workload writes, without removing it.
// The patch is that of the state that it is in when its turn comes.
func (p *planner) stop(i *ownership.Item) (phase string, a engine.Action, ok bool) {
	o := i.Object
	patch := stopPatch(o)
	if patch == nil {
		return "", a, false
	}
	phase = PhaseStop
	if p.cat.Recreates(i.Component) {
		phase = PhaseRecreators
	}
	if phase == PhaseRecreators && p.cleans[i.Component] {
		phase = PhaseOperators
	}
	return phase, engine.Action{
		Verb: engine.Patch, Target: o.Target(), Patch: patch, Why: i.For[0].Text, Command: kubectl("patch", o),
		Change: func(o *cluster.Object) (map[string]any, error) { return stopPatch(o), nil }, Fields: stopFields,
	}, true
}

// stopPatch returns the patch that stops a workload in the state that it is in,
// nil if it is not a workload or stopped already.
func stopPatch(o *cluster.Object) map[string]any {
	switch o.Ref().GroupKind().String() {
	case "Deployment.apps", "StatefulSet.apps":
		replicas, found, err := unstructured.NestedInt64(o.Body, "spec", "replicas")
		switch {
		case err == nil && found && replicas == 0:
			return nil
		case !found:
			replicas = 1 // as Kubernetes has it
		}
		return stopAt(strconv.FormatInt(replicas, 10), "replicas", 0)
	case "DaemonSet.apps":
		selector, _, err := unstructured.NestedMap(o.Body, "spec", "template", "spec", "nodeSelector")
		if err == nil && selector[StopLabel] != nil {
			return nil
		}
		return map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
			"nodeSelector": map[string]any{StopLabel: "true"},
		}}}}
	case "CronJob.batch":
		if suspended(o) {
			return nil
		}
		return stopAt("false", "suspend", true)
	case "Job.batch":
		if active, _, err := unstructured.NestedInt64(o.Body, "status", "active"); err != nil || active == 0 || suspended(o) {
			return nil
		}
		return stopAt("false", "suspend", true)
	}
	return nil
}

func suspended(o *cluster.Object) bool {
	suspended, _, err := unstructured.NestedBool(o.Body, "spec", "suspend")
	return err == nil && suspended
}

// stopAt sets a field of the specification and keeps what was in it.
func stopAt(before, field string, value any) map[string]any {
	return map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{StoppedAnnotation: before}},
		"spec":     map[string]any{field: value},
	}
}

// stoppedPod says in which phase a pod must go: one that is being deleted, or
// whose workload is to be stopped, has been, or is gone. Until then it writes.
func (p *planner) stoppedPod(i *ownership.Item) (string, bool) {
	if !isPod(i.Object) {
		return "", false
	}
	seen := map[types.UID]bool{} // owners may stand in a circle
	for o := i.Object; !seen[o.UID]; {
		seen[o.UID] = true
		if o.Terminating() || stopped(o) {
			return PhaseStop, true
		}
		owner := o.Controller()
		if owner == nil {
			return "", false
		}
		if p.there[owner.UID] == nil {
			return PhaseStop, true
		}
		up := p.byUID[owner.UID]
		if up == nil {
			return "", false
		}
		if phase, _, ok := p.stop(up); ok && up.Object.Resource.Kind != "CronJob" { // whose Jobs may have ended
			return phase, true
		}
		o = up.Object
	}
	return "", false
}

func isPod(o *cluster.Object) bool { return o.Resource.Kind == "Pod" && o.Resource.Group == "" }

// orphaned tells whether what made a pod has gone, with what would tell whose it
// is: somebody is removing its workload, and Kubernetes collects the rest.
func (p *planner) orphaned(pod *cluster.Object) bool {
	seen := map[types.UID]bool{} // owners may stand in a circle
	for o := pod; !seen[o.UID]; {
		seen[o.UID] = true
		c := o.Controller()
		if c == nil {
			return false
		}
		up := p.there[c.UID]
		if up == nil {
			return slices.Contains([]string{"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "CronJob", "Job"}, c.Kind)
		}
		o = up
	}
	return false
}

// stopped tells whether a workload was stopped before.
func stopped(o *cluster.Object) bool {
	switch o.Ref().GroupKind().String() {
	case "Deployment.apps", "StatefulSet.apps", "DaemonSet.apps":
		return stopPatch(o) == nil
	case "Job.batch":
		return suspended(o)
	}
	return false
}

// controllersLive tells whether a workload of the component is ready, so that
// it may be worth letting it clean up. Whether it lives is seen when its turn
// comes (alive.go).
func (p *planner) controllersLive(i *ownership.Item) bool { return len(ready(p.inv, i.Component)) > 0 }

// operatorLives tells whether a component that runs Helm is ready.
func (p *planner) operatorLives() bool {
	return slices.ContainsFunc(p.inv.Owned(), func(i *ownership.Item) bool {
		return p.cat.Graceful(i.Object.Ref()) && p.cat.Recreates(i.Component) && p.controllersLive(i)
	})
}

// allWhole tells whether all actions are in namespaces that go whole.
func (p *planner) allWhole(actions []engine.Action) bool {
	return !slices.ContainsFunc(actions, func(a engine.Action) bool { return !p.whole[a.Target.Namespace] })
}

// notes says what a person should know before confirming: which namespaces stay
// although all that was seen in them is Cast AI's.
func notes(inv *ownership.Inventory, stays map[string]string) []string {
	var out []string
	for _, h := range inv.Homes {
		if why := stays[h.Name]; why != "" {
			out = append(out, fmt.Sprintf("Namespace %s stays, and Cast AI's objects in it go one by one: %s.", h.Name, why))
		}
	}
	return out
}

// kubectl returns the command that does the same.
func kubectl(verb string, o *cluster.Object) string {
	words := []string{"kubectl", verb}
	if o.Namespace != "" {
		words = append(words, "-n", o.Namespace)
	}
	return strings.Join(append(words, o.Resource.GroupResource().String()+"/"+o.Name), " ")
}
