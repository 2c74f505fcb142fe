package offboard

import (
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
}

// Returned compares the inventories before and after a run and lists what came
// back, whosever it is taken for now that nothing is left to prove it, and what
// of Cast AI's is new.
func Returned(before, after *ownership.Inventory) []Return {
	was := map[cluster.Ref]types.UID{}
	for _, i := range before.Owned() {
		was[i.Object.Ref()] = i.Object.UID
	}
	known := map[types.UID]bool{}
	for _, o := range before.Objects() {
		known[o.UID] = true
	}
	var out []Return
	for _, o := range after.Objects() {
		_, again := was[o.Ref()]
		if known[o.UID] || !again && !after.IsOwned(o.Ref()) {
			continue
		}
		r := Return{Ref: o.Ref(), Again: again, Managers: o.Managers, Remedy: remedy(o)}
		if c := o.Controller(); c != nil {
			r.Owner = c.Kind + "/" + c.Name
		}
		out = append(out, r)
	}
	return out
}

// writers tells by the beginning of a field manager what writes under that name,
// and what makes it stop. The names are the tools' own: Argo CD
// (common/common.go ArgoCDSSAManager, and the name of its binary), Flux (the
// controllers' names), Helm, kubectl and Terraform (their binaries' or clients'
// names), kube-controller-manager.
var writers = []struct{ prefix, remedy string }{
	{"argocd", "remove Cast AI from its Application in Argo CD"},
	{"kustomize-controller", "remove Cast AI from its Kustomization in Flux"},
	{"helm-controller", "remove Cast AI's HelmRelease in Flux"},
	{"helm", "find who runs helm install or upgrade, a pipeline perhaps, and stop it there"},
	{"kubectl", "find who runs kubectl apply, a pipeline perhaps, and stop it there"},
	{"terraform", "remove Cast AI from the Terraform configuration"},
	{"hashicorp", "remove Cast AI from the Terraform configuration"},
	{"pulumi", "remove Cast AI from the Pulumi program"},
	{"castai", "a component of Cast AI still runs, in this cluster or elsewhere: stop it"},
	{"castware", "Cast AI's operator still runs, in this cluster or elsewhere: stop it"},
}

// remedy says what to do about an object that came back.
func remedy(o *cluster.Object) string {
	if tool := ownership.ManagedBy(o); tool != "" {
		return "remove Cast AI there: " + tool + " manages it"
	}
	if c := o.Controller(); c != nil {
		return "its owner " + c.Kind + "/" + c.Name + " makes it: remove that"
	}
	for _, w := range writers {
		for _, manager := range o.Managers {
			if strings.HasPrefix(strings.ToLower(manager), w.prefix) {
				return w.remedy
			}
		}
	}
	if len(o.Managers) > 0 {
		return "find what writes as " + strings.Join(o.Managers, ", ") + ", and stop it there"
	}
	return "find what makes it (the API server's audit log tells), and stop it there"
}
