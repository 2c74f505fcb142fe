package finalize

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// workload is one that may be a controller.
type workload struct {
	*cluster.Object
	ready    int64
	wanted   bool   // it is to have pods: nobody has scaled it down
	account  string // namespace/name
	names    []string
	doomed   bool   // it is being deleted, or its namespace is
	evidence string // what points to it
	vague    bool   // that is not much: others may be meant
}

func (w *workload) String() string {
	return fmt.Sprintf("%s %s/%s", w.Resource.Kind, w.Namespace, w.Name)
}

// generic are names that say nothing: what a framework calls its binary or container.
var generic = []string{"manager", "controller", "operator", "controller-manager", "main", "server", "app", "default",
	"finalizer", "cleanup", "protection", "hold"}

// candidates returns the workloads that something points to, the living first.
func (s *owners) candidates(k Known, finalizer string, objects []*cluster.Object, writes []Write) []*workload {
	by := managers(writes)
	var out []*workload
	for _, w := range s.workloads() {
		if s.point(w, k, finalizer, objects, by); w.evidence != "" {
			out = append(out, w)
		}
	}
	slices.SortStableFunc(out, func(a, b *workload) int {
		if a.vague != b.vague {
			return map[bool]int{true: 1, false: -1}[a.vague]
		}
		return int(min(b.ready, 1) - min(a.ready, 1))
	})
	return out
}

// point finds out what points to a workload, if anything does. A framework's name points only to
// who may write the objects, and not surely.
func (s *owners) point(w *workload, k Known, finalizer string, objects []*cluster.Object, by []string) {
	if slices.Contains(k.Workloads, w.Name) {
		w.evidence = "it is known to remove this finalizer"
		return
	}
	if name := matching(w.names, by); name != "" {
		w.evidence = name + " is a writer of the objects"
		return
	}
	if matching(w.names, spoken(finalizer)) != "" {
		w.evidence = "the finalizer bears its name"
		return
	}
	if w.evidence = s.mayPatch(w, finalizer, objects); w.evidence != "" {
		return
	}
	if w.evidence = w.alike(k, finalizer, objects[0].Resource.Group, by); w.evidence != "" {
		w.vague = true
		if s.unable(w.account, objects) != "" {
			w.evidence = ""
		}
	}
}

// alike says what of a workload's names is like what is known of the controller, and proves little: a name that a
// framework gave it, or one that begins as that of a writer, or as the domain of the finalizer or of the kind.
func (w *workload) alike(k Known, finalizer, group string, by []string) string {
	for _, m := range by {
		if slices.Contains(generic, m) && slices.Contains(w.names, m) {
			return m + ", which is a writer of the objects, is one of its names"
		}
	}
	if k.By != "" {
		return "" // its names are known
	}
	domain, _, _ := strings.Cut(finalizer, "/")
	for _, like := range append(slices.Clone(by), domain, group) {
		for _, stem := range stems(like) {
			if slices.ContainsFunc(append(slices.Clone(w.names), w.Namespace),
				func(n string) bool { return n == stem || strings.HasPrefix(n, stem+"-") }) {
				return "it is called like " + like
			}
		}
	}
	return ""
}

// stems are the words of a domain, or that by which the name of a program begins, as far as they say something.
func stems(name string) []string {
	words := []string{name}
	if strings.Contains(name, ".") {
		if !custom(name) {
			return nil
		}
		words = strings.Split(name, ".")
		words = words[:len(words)-1]
	}
	var out []string
	for _, word := range words {
		for _, end := range []string{"-manager", "-controller", "-operator"} {
			word = strings.TrimSuffix(word, end)
		}
		if len(word) > 3 && !slices.Contains(generic, word) && !slices.Contains(commonWords, word) {
			out = append(out, word)
		}
	}
	return out
}

// commonWords are those of domains that many share.
var commonWords = []string{"kube", "kubernetes", "cluster", "cloud", "google", "azure", "github", "amazonaws", "test",
	"core", "apps", "storage", "networking", "network", "system", "services", "service", "finalizers", "finalizer",
	"infrastructure", "resources", "resource", "apis"}

// weigh says what a workload says of the controller: whether it lives, and whether it can remove a
// finalizer of the objects. One that is to have pods and has none that is ready may only be starting,
// or wait for a node; one that somebody has scaled down may be started again.
func (s *owners) weigh(w *workload, objects []*cluster.Object) verdict {
	v := verdict{alive: AliveUnsure, evidence: fmt.Sprintf("%s %s, and %s", w, w.state(), w.evidence)}
	why := s.unable(w.account, objects)
	switch {
	case why != "" && !(w.doomed && w.Namespace == objects[0].Namespace): // its roles may go before it
		v.evidence += ", but " + why
	case w.ready == 0 && w.doomed:
		v.alive = Gone
	case w.ready == 0:
		v.awaited = w.wanted
	case w.vague:
		v.awaited = true
		v.evidence = fmt.Sprintf("%s %s, may write %s, and %s", w, w.state(), objects[0].Resource.GroupResource(), w.evidence)
	default:
		v.alive, v.doomed = Alive, w.doomed
	}
	return v
}

// state says whether a workload has ready pods, and why not.
func (w *workload) state() string {
	isPod, isCronJob := w.Resource.Kind == "Pod", w.Resource.Kind == "CronJob"
	switch {
	case w.ready > 0 && isPod:
		return "is ready"
	case w.ready > 0:
		return fmt.Sprintf("has %d ready pods", w.ready)
	case w.Terminating():
		return "is being deleted, has no ready pod"
	case w.doomed:
		return "goes with its namespace, has no ready pod"
	case isCronJob && w.wanted:
		return "runs from time to time"
	case isCronJob:
		return "is suspended"
	case w.Resource.Kind == "DaemonSet" && !w.wanted:
		return "has no node to run on"
	case !w.wanted:
		return "is scaled down to 0"
	case isPod:
		return "is not ready yet"
	}
	return "has no ready pod yet"
}

// spoken are the names that a finalizer itself tells: what is behind its domain.
func spoken(finalizer string) []string {
	_, path, _ := strings.Cut(finalizer, "/")
	if len(path) < 4 {
		return nil
	}
	return []string{path}
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
		w := newWorkload(o, going)
		w.ready, _, _ = unstructured.NestedInt64(o.Body, "status", field)
		out = append(out, w)
	}
	for _, o := range s.obs.Loose {
		w := newWorkload(o, going)
		if owner := o.Controller(); owner != nil {
			w.names = append(w.names, owner.Name)
		}
		if isReady(o) {
			w.ready = 1
		}
		if n, _, _ := unstructured.NestedInt64(o.Body, "status", "readyReplicas"); n > 0 {
			w.ready = n
		}
		out = append(out, w)
	}
	return out
}

// podsAt is where the specification of its pods is in a workload, if not in its template.
var podsAt = map[string][]string{"Pod": {"spec"}, "CronJob": {"spec", "jobTemplate", "spec", "template", "spec"}}

func newWorkload(o *cluster.Object, going map[string]bool) *workload {
	w := &workload{Object: o, names: []string{o.Name}, doomed: o.Terminating() || going[o.Namespace], wanted: wantsPods(o)}
	if at, other := podsAt[o.Resource.Kind]; other {
		w.runs(at...)
		return w
	}
	w.runs("spec", "template", "spec")
	return w
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
			// A field manager is called like the program, if it does not say otherwise
			// (k8s.io/client-go rest.DefaultKubernetesUserAgent).
			if command, _, _ := unstructured.NestedStringSlice(m, "command"); len(command) > 0 {
				w.names = append(w.names, path.Base(command[0]))
			}
		}
	}
}

// wantsPods tells whether a workload is to have pods, now or at its time (k8s.io/api/apps/v1: replicas is 1 if
// it is not set; a DaemonSet has none where no node is for it).
func wantsPods(o *cluster.Object) bool {
	switch o.Resource.Kind {
	case "DaemonSet":
		n, _, _ := unstructured.NestedInt64(o.Body, "status", "desiredNumberScheduled")
		return n > 0
	case "CronJob":
		suspended, _, _ := unstructured.NestedBool(o.Body, "spec", "suspend")
		return !suspended
	}
	n, said, _ := unstructured.NestedInt64(o.Body, "spec", "replicas")
	return !said || n > 0
}

// readyField is where a kind counts its ready pods.
var readyField = map[string]string{"Deployment": "readyReplicas", "StatefulSet": "readyReplicas",
	"DaemonSet": "numberReady"}
