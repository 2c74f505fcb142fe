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
	if len(found) > 0 && !known && !found[0].vague {
		c.Name = found[0].Name
	}
	s.judge(c, k, finalizer, found, writes, objects)
	return c
}

// judge decides whether the controller is alive.
func (s *owners) judge(c *Controller, k Known, finalizer string, found []*workload, writes []Write,
	objects []*cluster.Object) {
	best := verdict{alive: Gone}
	for _, w := range found {
		best = best.or(s.weigh(w, objects))
	}
	if best.alive != Alive {
		best = best.or(s.lease(finalizer, found, slices.Concat(managers(writes), k.Workloads, spoken(finalizer)), objects))
	}
	if best.alive != Alive {
		best = s.gone(k, finalizer, best, writes, objects)
		if by := managers(writes); len(by) > 0 {
			last := "last written by " + enumerate(by[:min(len(by), 3)])
			best.evidence = strings.TrimPrefix(best.evidence+"; "+last, "; ")
		}
	}
	c.Alive, c.Evidence, c.doomed, c.awaited = best.alive, best.evidence, best.doomed, best.awaited
}

// verdict is what something says of a controller. The zero value says nothing.
type verdict struct {
	alive    Liveness
	evidence string
	doomed   bool // as in Controller
	awaited  bool // as in Controller
}

// or returns the verdict that counts for more: what speaks for life counts for more than what does not, and
// of two that do not settle it, the one that asks for time.
func (v verdict) or(other verdict) verdict {
	rank := func(v verdict) int {
		switch {
		case v.alive == Alive:
			return 4
		case v.alive == AliveUnsure && v.awaited:
			return 3
		case v.alive == AliveUnsure:
			return 2
		case v.evidence != "":
			return 1
		}
		return 0
	}
	if rank(other) > rank(v) {
		return other
	}
	return v
}

// gone tells whether nobody is left who is known to be able to remove a finalizer, and
// from what that follows. found is what workloads and Leases say.
func (s *owners) gone(k Known, finalizer string, found verdict, writes []Write, objects []*cluster.Object) verdict {
	sign := signOfLife(writes)
	switch {
	case sign != "" && found.evidence != "":
		return verdict{alive: AliveUnsure, evidence: found.evidence + "; " + sign, awaited: true}
	case sign != "":
		return verdict{alive: AliveUnsure, evidence: sign + ", and is not found in this cluster", awaited: true}
	}
	unsure := func(why string) verdict { return verdict{alive: AliveUnsure, evidence: why} }
	switch {
	case found.alive == AliveUnsure:
		return found
	case !s.sawAll():
		return unsure("not everything that tells could be read")
	case s.untracked(finalizer, objects) && k.By == "":
		return unsure("the objects do not say who wrote them")
	}
	if outside := s.outsider(finalizer, managers(writes), objects); outside != "" {
		if found.evidence != "" {
			outside = found.evidence + ", but " + outside
		}
		return verdict{alive: AliveUnsure, evidence: outside, awaited: true}
	}
	switch {
	case found.evidence != "":
		return found
	case len(k.Workloads) > 0:
		return verdict{alive: Gone, evidence: "no workload named " + strings.Join(k.Workloads, " or ") + " is in the cluster"}
	case k.By != "":
		return unsure("") // the control plane of a cloud runs elsewhere
	}
	return verdict{alive: Gone, evidence: s.nobody(finalizer, objects)}
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
			return fmt.Sprintf("%s wrote %s at %s, after its deletion", w.Manager, cmp.Or(w.Of, "it"),
				w.At.UTC().Format(time.RFC3339))
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

// untracked tells whether one of the objects does not say who wrote it.
func (s *owners) untracked(finalizer string, objects []*cluster.Object) bool {
	return slices.ContainsFunc(objects, func(o *cluster.Object) bool {
		return s.obs.Samples[classOf(o,
			finalizer)].Untracked
	})
}

// lease returns what it says of the controller that somebody holds a Lease to which a
// candidate, a writer or the domain of the finalizer points. It proves life only if who writes
// Leases there can remove a finalizer of the objects: anybody may call a Lease as he likes.
func (s *owners) lease(finalizer string, found []*workload, by []string, objects []*cluster.Object) (v verdict) {
	if s.obs.Owners == nil {
		return v
	}
	domain, _, _ := strings.Cut(finalizer, "/")
	var names []string
	for _, w := range found {
		if !w.vague {
			names = append(names, w.Name)
		}
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
		if !points {
			continue
		}
		at, _, _ := unstructured.NestedString(o.Body, "spec", "renewTime")
		evidence := fmt.Sprintf("%s holds the Lease %s/%s, renewed at %s", holder, o.Namespace, o.Name, at)
		if why := s.unableAll(o.Namespace, objects); why != "" {
			v = v.or(verdict{alive: AliveUnsure, evidence: evidence + ", but " + why})
			continue
		}
		return verdict{alive: Alive, evidence: evidence}
	}
	return v
}

// renewed tells whether a Lease is held at a time.
func renewed(o *cluster.Object, now time.Time) bool {
	text, _, _ := unstructured.NestedString(o.Body, "spec", "renewTime")
	at, err := time.Parse(time.RFC3339Nano, text)
	seconds, _, _ := unstructured.NestedInt64(o.Body, "spec", "leaseDurationSeconds")
	// One from the future is no sign of life: nobody holds a Lease by a wrong clock for long.
	return err == nil && now.Sub(at) > -leaseSlack && now.Sub(at) < time.Duration(seconds)*time.Second+leaseSlack
}
