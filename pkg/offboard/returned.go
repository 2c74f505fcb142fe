package offboard

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// Return is an object that somebody made, or made again, while Cast AI was being
// taken out.
type Return struct {
	cluster.Ref `json:",inline"`
	// Again: an object of this name was there before, and was removed.
	Again bool `json:"again"`
	// Managers are the field managers that wrote it (metadata.managedFields).
	Managers []string `json:"managers,omitempty"`
	// Owner controls it, by its owner references.
	Owner string `json:"owner,omitempty"`
	// Remedy says what to do about it.
	Remedy string `json:"remedy"`
	// kept: what made it keeps a state, and would make it again.
	kept bool
}

// Returned compares the inventory after a run with those before and lists what
// came back, whosever it is taken for now that nothing is left to prove it, and
// what of Cast AI's is new.
func Returned(after *ownership.Inventory, before ...*ownership.Inventory) []Return {
	was := map[cluster.Ref]types.UID{}
	known := map[types.UID]bool{}
	for _, inv := range before {
		for _, i := range inv.Owned() {
			was[i.Object.Ref()] = i.Object.UID
		}
		for _, o := range inv.Objects() {
			known[o.UID] = known[o.UID] || !inv.Arrived(o.Ref())
		}
	}
	running := ranBefore(after, known)
	var out []Return
	for _, o := range after.Objects() {
		_, again := was[o.Ref()]
		arrived := after.Arrived(o.Ref())
		if known[o.UID] || !again && !arrived && !after.IsOwned(o.Ref()) {
			continue
		}
		r := Return{Ref: o.Ref(), Again: again, Managers: o.Managers, Remedy: remedy(o, running), kept: keptByTool(o)}
		if arrived {
			r.Remedy = "only its name says that it is Cast AI's: if it is, run offboard again, which names it first"
		}
		if c := o.Controller(); c != nil {
			r.Owner = c.Kind + "/" + c.Name
		}
		out = append(out, r)
	}
	return out
}

// ranBefore returns a pod of Cast AI's whose workload was there before, or "". One that
// was put back with its workload is rather made by who makes the rest. A pod is at most
// two steps away from its workload.
func ranBefore(after *ownership.Inventory, known map[types.UID]bool) string {
	there := map[types.UID]*cluster.Object{}
	for _, o := range after.Objects() {
		there[o.UID] = o
	}
	for _, i := range after.Owned() {
		o := i.Object
		if !isPod(o) {
			continue
		}
		for range 2 {
			if c := o.Controller(); c != nil && there[c.UID] != nil {
				o = there[c.UID]
			}
		}
		if c := o.Controller(); known[o.UID] || c != nil && known[c.UID] {
			return i.Object.Ref().String()
		}
	}
	return ""
}

// late returns the UIDs of what came while Cast AI was being removed and would go
// with it for a name alone. A person may be making it anew, and has agreed to nothing:
// only what Cast AI's own components wrote goes, and never a namespace that another
// one's name was agreed to.
func (m *removal) late(o *Observation) []types.UID {
	there := map[types.UID]bool{}
	for _, inv := range m.seen {
		for _, object := range inv.Objects() {
			there[object.UID] = true
		}
	}
	var out []types.UID
	for _, i := range o.Owned() {
		object := i.Object
		was := o.survey.before.items[object.Ref()]
		marked := was != nil && sameChart(was.Object, object)
		if !there[object.UID] && !byItself(object) && (isNamespace(object.Ref()) || i.OnlyNamed() && !marked) {
			out = append(out, object.UID)
		}
	}
	return out
}

// byItself tells whether components of Cast AI's alone wrote an object.
func byItself(o *cluster.Object) bool {
	return len(o.Managers) > 0 && !slices.ContainsFunc(o.Managers, func(m string) bool { return !isOwn(m) })
}

// writers tells by the beginning of a field manager what writes under that name,
// and what makes it stop. The names are the tools' own: Argo CD
// (common/common.go ArgoCDSSAManager, and the name of its binary), Flux (the
// controllers' names), Helm, kubectl and Terraform (their binaries' or clients'
// names), kube-controller-manager.
// Those that keep a state write it again and again.
var writers = []writer{
	{"argocd", "remove Cast AI from its Application in Argo CD", true},
	{"kustomize-controller", "remove Cast AI from its Kustomization in Flux", true},
	{"helm-controller", "remove Cast AI's HelmRelease in Flux", true},
	{"helm", "find who runs helm install or upgrade, a pipeline perhaps, and stop it there", false},
	{"kubectl", "find who runs kubectl apply, a pipeline perhaps, and stop it there", false},
	{"terraform", "remove Cast AI from the Terraform configuration", false},
	{"hashicorp", "remove Cast AI from the Terraform configuration", false},
	{"pulumi", "remove Cast AI from the Pulumi program", false},
}

type writer struct {
	prefix, remedy string
	keeps          bool
}

// writerOf returns what wrote an object, by its field managers, or nil.
func writerOf(o *cluster.Object) *writer {
	for i := range writers {
		for _, manager := range o.Managers {
			if strings.HasPrefix(strings.ToLower(manager), writers[i].prefix) {
				return &writers[i]
			}
		}
	}
	return nil
}

// keptByTool tells whether a tool keeps an object as it is: removed, it would be
// made again.
func keptByTool(o *cluster.Object) bool {
	w := writerOf(o)
	return ownership.ManagedBy(o) != "" || w != nil && w.keeps
}

// own are the beginnings of the field managers of Cast AI's own components.
var own = []string{"castai", "castware"}

func isOwn(manager string) bool {
	return slices.ContainsFunc(own, func(p string) bool { return strings.HasPrefix(strings.ToLower(manager), p) })
}

// common are field managers that many programs share: the binary of each one that
// kubebuilder has begun is called manager, and client-go falls back to the others
// (rest.DefaultKubernetesUserAgent is the binary's name; Go's own client has none).
var common = []string{"manager", "controller", "operator", "main", "Go-http-client", "unknown"}

// remedy says what to do about an object that came back. running is a pod of Cast
// AI's that may have made it, or empty.
func remedy(o *cluster.Object, running string) string {
	if tool := ownership.ManagedBy(o); tool != "" {
		return "remove Cast AI there: " + tool + " manages it"
	}
	if c := o.Controller(); c != nil {
		return "its owner " + c.Kind + "/" + c.Name + " makes it: remove that"
	}
	for _, manager := range o.Managers {
		if !isOwn(manager) {
			continue
		}
		if running != "" {
			return manager + " made it, and " + running + " is still here: stop that, then run offboard again"
		}
		return manager + " made it, and nothing of Cast AI's that ran in this cluster before does any more: " +
			"stop it where it runs, most likely outside of this cluster, then run offboard again"
	}
	if w := writerOf(o); w != nil {
		return w.remedy
	}
	if i := slices.IndexFunc(o.Managers, func(m string) bool { return slices.Contains(common, m) }); i >= 0 {
		return o.Managers[i] + " made it, a name that many controllers write under: " +
			"the API server's audit log tells whose; stop it there"
	}
	if len(o.Managers) > 0 {
		return "find what writes as " + strings.Join(o.Managers, ", ") + ", and stop it there"
	}
	return "find what makes it (the API server's audit log tells), and stop it there"
}
