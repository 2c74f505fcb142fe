package finalize

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Reason says why a namespace is not touched.
type Reason string

// The reasons.
const (
	NotFound       Reason = "NotFound"
	NotTerminating Reason = "NotTerminating"
	Protected      Reason = "Protected"
	Blocked        Reason = "Blocked"
	Forbidden      Reason = "Forbidden"
)

// Refusal is the error for a namespace or object that is not touched. Nothing was
// changed.
type Refusal struct {
	// Title names it, as Diagnosis.Title does.
	Title  string `json:"-"`
	Reason Reason `json:"reason"`
	// Message says what, which object, and what to do now.
	Message string `json:"message"`
}

// Error returns the message.
func (r *Refusal) Error() string { return r.Message }

// protected namespaces are needed by the cluster itself. A name that ends in a
// dash stands for all names that begin with it.
//
// The server refuses to delete the first three (NewLifecycle, Kubernetes 1.36.3
// plugin namespace/lifecycle); the others it does not cover.
var protected = []struct{ name, why string }{
	{"default", "every cluster has it"},
	{"kube-system", "the control plane lives in it"},
	{"kube-public", "every cluster has it"},
	{"kube-node-lease", "the heartbeats of all nodes are in it"},
	{"openshift", "OpenShift needs it"},
	{"openshift-", "OpenShift needs it"},
	{"gke-managed-", "GKE needs it"},
}

// refuseProtected returns the refusal of a protected namespace, or nil.
func refuseProtected(name string, state State) *Refusal {
	now := map[State]string{
		Terminating: "repair by hand what its diagnosis shows", Active: "it is not Terminating", Missing: "there is none",
	}
	for _, p := range protected {
		if name == p.name || strings.HasSuffix(p.name, "-") && strings.HasPrefix(name, p.name) {
			return &Refusal{"namespace " + name, Protected, fmt.Sprintf(
				"namespace %s is protected (%s), so nothing in it is touched: %s", name, p.why, now[state])}
		}
	}
	return nil
}

// refuseUnreadable is the error for what can't be judged. If it is this user who may not read it, it
// is a refusal: the namespace controller deletes RoleBindings like all other content (Kubernetes
// 1.36.3 pkg/controller/namespace/deletion), and with them the rights of those who administer a
// namespace.
func refuseUnreadable(title string, u *cluster.Unreadable) error {
	said := fmt.Sprintf("%s can't be judged, because %s can't be read: %s", title, u.What, u.Message)
	if !u.Forbidden {
		return errors.New(said)
	}
	return &Refusal{title, Forbidden, said + "; a right that a RoleBinding in a namespace gave goes when that is deleted: " +
		"have an administrator of the cluster bind a ClusterRole to you, by a ClusterRoleBinding"}
}

func refuseActive(name string) *Refusal {
	return &Refusal{"namespace " + name, NotTerminating, fmt.Sprintf(
		"namespace %s is not Terminating: finalizing it would orphan its content at its next deletion; delete it first "+
			"with kubectl delete namespace %[1]s", name)}
}

func refuseMissing(name string, volumes []Volume) *Refusal {
	if len(volumes) > 0 {
		return &Refusal{"namespace " + name, NotFound, fmt.Sprintf(
			"there is no namespace %s, and no object claims to live in it", name) + saysVolumes(volumes)}
	}
	return &Refusal{"namespace " + name, NotFound, fmt.Sprintf(
		"there is no namespace %s, and no object claims to live in it: kubectl get namespaces lists the ones there are",
		name)}
}

func refuseUnread(name string, unknown []string) *Refusal {
	return &Refusal{"namespace " + name, NotFound, fmt.Sprintf(
		"there is no namespace %s, and nothing is seen that claims to live in it, but nobody can say what of %s does",
		name, enumerate(unknown))}
}

func refuseBlocked(d *Diagnosis) *Refusal {
	var whys []string
	for _, c := range d.Blocked() {
		whys = append(whys, c.Summary+": "+c.Remedy)
	}
	for _, c := range d.Asked() {
		whys = append(whys, c.Summary+": "+c.Remedy)
	}
	message := fmt.Sprintf("%s can't be freed yet, so nothing was changed: %s", d.Title(),
		strings.Join(whys, ". Also, "))
	if flags := d.naming(); flags != "" {
		message += ". To remove these finalizers and no others: " + d.command() + flags
	}
	return &Refusal{d.Title(), Blocked, message}
}

// naming returns the flags that name all finalizers which hold the namespace, if some
// must be named.
func (d *Diagnosis) naming() string {
	if len(d.Asked()) == 0 {
		return ""
	}
	var names []string
	for _, c := range d.Causes {
		if c.Finalizer != "" && (c.Asks || c.Action == ClearFinalizers || c.Action == Finalize || c.later) &&
			!slices.Contains(names, c.Finalizer) {
			names = append(names, c.Finalizer)
		}
	}
	var out strings.Builder
	for _, f := range names {
		out.WriteString(" --finalizer=" + f)
	}
	return out.String()
}

// refuseForce refuses to finalize a namespace over what is at work or guards
// something outside of the cluster, or returns nil: an orphan can't be cleaned up
// after any more.
func refuseForce(d *Diagnosis) *Refusal {
	var whys []string
	for _, c := range d.Causes {
		if c.Controller == nil || c.Controller.builtIn || c.Action == ClearFinalizers || c.Action == Finalize {
			continue
		}
		if c.Controller.Alive == Alive || c.Controller.Outside || c.Controller.awaited && c.Action == Wait {
			whys = append(whys, c.Summary+": "+c.Remedy)
		}
	}
	if len(whys) == 0 {
		return nil
	}
	return &Refusal{d.Title(), Blocked, fmt.Sprintf(
		"namespace %s is not finalized by force, so nothing was changed: %s. Run it without --force first", d.Namespace,
		strings.Join(whys, ". Also, "))}
}
