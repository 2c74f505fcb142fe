package finalize

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// ownersScope is what tells who controls what, beside the workloads.
func ownersScope() cluster.Scope {
	rules := [][]string{{"rules"}}
	return cluster.Scope{
		Kinds: []string{
			"leases.coordination.k8s.io",
			"clusterroles.rbac.authorization.k8s.io", "clusterrolebindings.rbac.authorization.k8s.io",
			"roles.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io",
		},
		Bodies: map[string][][]string{
			"clusterroles.rbac.authorization.k8s.io": rules, "roles.rbac.authorization.k8s.io": rules,
		},
	}
}

// leaseSlack is how much longer than its duration a Lease counts as held: clocks
// differ.
const leaseSlack = 30 * time.Second

// owners finds out who should remove finalizers, from one observation.
type owners struct {
	obs *Observation
	// known are further finalizers and who removes them.
	known []Known
}

// workload is one that may be a controller.
type workload struct {
	*cluster.Object
	ready    int64
	account  string // namespace/name
	names    []string
	doomed   bool // it is being deleted, or its namespace is
	evidence string
}

func (w *workload) String() string {
	return fmt.Sprintf("%s %s/%s", w.Resource.Kind, w.Namespace, w.Name)
}

// of says who should remove a finalizer from these objects, and whether it still
// can, with the evidence for it.
func (s *owners) of(finalizer string, objects []*cluster.Object) *Controller {
	k, known := lookUp(finalizer, s.known)
	c := &Controller{Name: k.By, Guards: k.Guards, Outside: k.Outside, Alive: AliveUnsure}
	if known && strings.HasPrefix(k.By, "kube-") {
		c.Alive, c.Evidence, c.builtIn = Alive, "it is a part of the control plane", true
		return c
	}
	writes := s.writes(finalizer, objects)
	if !known {
		c.Name = "an unknown controller"
		if domain, _, qualified := strings.Cut(finalizer, "/"); qualified || strings.Contains(finalizer, ".") {
			c.Name = "the unknown controller of " + domain
		}
	}
	found := s.candidates(k, finalizer, objects, writes)
	if len(found) > 0 && !known {
		c.Name = found[0].Name
	}
	s.judge(c, k, finalizer, found, writes, objects)
	return c
}

// judge decides whether the controller is alive.
func (s *owners) judge(c *Controller, k Known, finalizer string, found []*workload, writes []Write,
	objects []*cluster.Object) {
	var last string
	if by := managers(writes); len(by) > 0 {
		last = "last written by " + enumerate(by[:min(len(by), 3)])
	}
	var doubt string
	for _, w := range found {
		if w.ready == 0 {
			continue
		}
		evidence := fmt.Sprintf("%s has %d ready pods, and %s", w, w.ready, w.evidence)
		if w.Resource.Kind == "Pod" {
			evidence = fmt.Sprintf("%s is ready, and %s", w, w.evidence)
		}
		why := s.unable(w.account, objects)
		if why == "" || w.doomed && w.Namespace == objects[0].Namespace { // its roles may go before it
			c.Alive, c.Evidence, c.doomed = Alive, evidence, w.doomed
			return
		}
		doubt = cmp.Or(doubt, evidence+", but "+why)
	}
	lease, why := s.lease(finalizer, found, slices.Concat(managers(writes), k.Workloads, spoken(finalizer)), objects)
	if lease != "" && why == "" {
		c.Alive, c.Evidence = Alive, lease
		return
	}
	if lease != "" {
		doubt = cmp.Or(doubt, lease+", but "+why)
	}
	c.Alive, c.Evidence = s.gone(k, finalizer, found, writes, objects, doubt)
	if last != "" {
		c.Evidence = strings.TrimPrefix(c.Evidence+"; "+last, "; ")
	}
}

// gone tells whether nobody is left who is known to be able to remove a finalizer, and
// from what that follows. doubt is what speaks for somebody of whom it can't be said.
func (s *owners) gone(k Known, finalizer string, found []*workload, writes []Write, objects []*cluster.Object,
	doubt string) (Liveness, string) {
	if sign := signOfLife(writes); sign != "" {
		return AliveUnsure, sign
	}
	switch {
	case doubt != "":
		return AliveUnsure, doubt
	case !s.sawAll():
		return AliveUnsure, "not everything that tells could be read"
	case len(found) > 0:
		return Gone, fmt.Sprintf("%s has no ready pod, and %s", found[0], found[0].evidence)
	case s.untracked(finalizer, objects) && k.By == "":
		return AliveUnsure, "the objects do not say who wrote them"
	case len(k.Workloads) > 0:
		return Gone, "no workload named " + strings.Join(k.Workloads, " or ") + " is in the cluster"
	case k.By != "":
		return AliveUnsure, "" // the control plane of a cloud runs elsewhere
	}
	return Gone, "no workload, Lease or role of the cluster points to one"
}

// writes returns those of the samples of the objects, the last first.
func (s *owners) writes(finalizer string, objects []*cluster.Object) []Write {
	var out []Write
	seen := map[Class]bool{}
	for _, o := range objects {
		class := classOf(o, finalizer)
		if seen[class] {
			continue
		}
		seen[class] = true
		sample, ok := s.obs.Samples[class]
		if ok && len(sample.Writes) > 0 {
			out = append(out, sample.Writes...)
			continue
		}
		for _, m := range o.Managers {
			out = append(out, Write{Manager: m})
		}
	}
	slices.SortStableFunc(out, func(a, b Write) int { return b.At.Compare(a.At) })
	return out
}

// clients are field managers that act for a person or apply what a repository
// holds: that they wrote an object says nothing about who controls it. Each is the
// beginning of a name.
var clients = []string{
	"kubectl", "helm", "Helm", "argocd", "kustomize-controller", "helm-controller", "flux", "Terraform", "HashiCorp",
	"pulumi",
	"curl", "Mozilla", "unknown", "kube-apiserver", "kube-controller-manager", "kubelet", "kube-scheduler",
	"apply-patch", "before-first-apply",
}

func isClient(manager string) bool {
	return slices.ContainsFunc(clients, func(c string) bool { return strings.HasPrefix(manager, c) })
}

// managers returns the field managers that may be controllers: first those that set
// the finalizer.
func managers(writes []Write) []string {
	var out []string
	for _, holds := range []bool{true, false} {
		for _, w := range writes {
			if w.Holds == holds && !isClient(w.Manager) && !slices.Contains(out, w.Manager) {
				out = append(out, w.Manager)
			}
		}
	}
	return out
}

// signOfLife tells that something wrote an object after its deletion: whoever it
// is, and wherever it runs, it may be at it.
func signOfLife(writes []Write) string {
	for _, w := range writes {
		if w.After && !isClient(w.Manager) {
			return fmt.Sprintf("%s wrote it at %s, after its deletion, and is not found in this cluster",
				w.Manager, w.At.UTC().Format(time.RFC3339))
		}
	}
	return ""
}

// sawAll tells whether everything that may point to a controller could be read.
func (s *owners) sawAll() bool {
	if !sawAll(s.obs.Snapshot, "deployments.apps", "statefulsets.apps", "daemonsets.apps") {
		return false
	}
	return !s.obs.LooseUnreadable && s.obs.Owners != nil && sawAll(s.obs.Owners, ownersScope().Kinds...)
}

// generic are names that say nothing: what a framework calls its binary or container.
var generic = []string{"manager", "controller", "operator", "controller-manager", "main", "server", "app", "default",
	"finalizer", "cleanup", "protection", "hold"}

// candidates returns the workloads that something points to, the living first.
func (s *owners) candidates(k Known, finalizer string, objects []*cluster.Object, writes []Write) []*workload {
	by := managers(writes)
	var out []*workload
	for _, w := range s.workloads() {
		switch name := matching(w.names, by); {
		case slices.Contains(k.Workloads, w.Name):
			w.evidence = "it is known to remove this finalizer"
		case name != "":
			w.evidence = name + " is a writer of the objects"
		case matching(w.names, spoken(finalizer)) != "":
			w.evidence = "the finalizer bears its name"
		default:
			w.evidence = s.mayPatch(w, finalizer, objects)
		}
		if w.evidence != "" {
			out = append(out, w)
		}
	}
	slices.SortStableFunc(out, func(a, b *workload) int { return int(min(b.ready, 1) - min(a.ready, 1)) })
	return out
}

// spoken are the names that a finalizer itself tells: what is behind its domain.
func spoken(finalizer string) []string {
	_, path, _ := strings.Cut(finalizer, "/")
	if len(path) < 4 {
		return nil
	}
	return []string{path}
}

// untracked tells whether one of the objects does not say who wrote it.
func (s *owners) untracked(finalizer string, objects []*cluster.Object) bool {
	return slices.ContainsFunc(objects, func(o *cluster.Object) bool {
		return s.obs.Samples[classOf(o,
			finalizer)].Untracked
	})
}

// matching returns the first name that is in both lists and says something.
func matching(names, managers []string) string {
	for _, n := range names {
		if slices.Contains(managers, n) && !slices.Contains(generic, n) {
			return n
		}
	}
	return ""
}

// workloads returns those of the snapshot that may be controllers.
func (s *owners) workloads() []*workload {
	going := map[string]bool{}
	for _, o := range s.obs.Objects {
		if isNamespace(o) && o.Terminating() {
			going[o.Name] = true
		}
	}
	var out []*workload
	for _, o := range s.obs.Objects {
		field, is := readyField[o.Resource.Kind]
		if o.Resource.Group != "apps" || !is {
			continue
		}
		w := &workload{Object: o, names: []string{o.Name}, doomed: o.Terminating() || going[o.Namespace]}
		w.ready, _, _ = unstructured.NestedInt64(o.Body, "status", field)
		w.runs("spec", "template", "spec")
		out = append(out, w)
	}
	for _, o := range s.obs.Loose {
		w := &workload{Object: o, names: []string{o.Name}, doomed: o.Terminating() || going[o.Namespace]}
		if owner := o.Controller(); owner != nil {
			w.names = append(w.names, owner.Name)
		}
		if isReady(o) {
			w.ready = 1
		}
		w.runs("spec")
		out = append(out, w)
	}
	return out
}

// runs reads from the specification of its pods as whom a workload runs, and how its
// containers are called.
func (w *workload) runs(pod ...string) {
	account, _, _ := unstructured.NestedString(w.Body, append(slices.Clone(pod), "serviceAccountName")...)
	if account != "" {
		w.names = append(w.names, account)
	}
	w.account = w.Namespace + "/" + cmp.Or(account, "default") // as the admission plugin ServiceAccount fills it in
	containers, _, _ := unstructured.NestedSlice(w.Body, append(slices.Clone(pod), "containers")...)
	for _, item := range containers {
		if m, ok := item.(map[string]any); ok {
			name, _ := m["name"].(string)
			w.names = append(w.names, name)
		}
	}
}

// readyField is where a kind counts its ready pods.
var readyField = map[string]string{"Deployment": "readyReplicas", "StatefulSet": "readyReplicas",
	"DaemonSet": "numberReady"}

// lease returns the evidence that somebody holds a Lease that a candidate, a writer
// or the domain of the finalizer points to, and why who writes Leases there can't remove
// a finalizer of the objects: anybody may call a Lease as he likes.
func (s *owners) lease(finalizer string, found []*workload, by []string, objects []*cluster.Object) (held, but string) {
	if s.obs.Owners == nil {
		return "", ""
	}
	domain, _, _ := strings.Cut(finalizer, "/")
	var names []string
	for _, w := range found {
		names = append(names, w.Name)
	}
	for _, m := range by {
		if !slices.Contains(generic, m) {
			names = append(names, m)
		}
	}
	for _, o := range s.obs.Owners.Objects {
		if o.Resource.Kind != "Lease" || o.Namespace == "kube-node-lease" {
			continue
		}
		holder, _, _ := unstructured.NestedString(o.Body, "spec", "holderIdentity")
		if holder == "" || !renewed(o, s.obs.Taken) {
			continue
		}
		points := custom(domain) && (o.Name == domain || strings.HasSuffix(o.Name, "."+domain))
		for _, n := range names {
			points = points || o.Name == n || strings.HasPrefix(o.Name, n+"-") || holder == n ||
				strings.HasPrefix(holder, n+"-") || strings.HasPrefix(holder, n+"_")
		}
		if points {
			at, _, _ := unstructured.NestedString(o.Body, "spec", "renewTime")
			evidence := fmt.Sprintf("%s holds the Lease %s/%s, renewed at %s", holder, o.Namespace, o.Name, at)
			why := s.unableAll(o.Namespace, objects)
			if why == "" {
				return evidence, ""
			}
			if held == "" {
				held, but = evidence, why
			}
		}
	}
	return held, but
}

// renewed tells whether a Lease is held at a time.
func renewed(o *cluster.Object, now time.Time) bool {
	text, _, _ := unstructured.NestedString(o.Body, "spec", "renewTime")
	at, err := time.Parse(time.RFC3339Nano, text)
	seconds, _, _ := unstructured.NestedInt64(o.Body, "spec", "leaseDurationSeconds")
	// One from the future is no sign of life: nobody holds a Lease by a wrong clock for long.
	return err == nil && now.Sub(at) > -leaseSlack && now.Sub(at) < time.Duration(seconds)*time.Second+leaseSlack
}
