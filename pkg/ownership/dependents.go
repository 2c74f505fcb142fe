package ownership

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// dependence says that all owners of an object are owned.
type dependence struct {
	owner    *Item
	made     bool // by a controller, which would make it again
	evidence Evidence
}

// dependent tells whether all owners of an object are owned; find returns the
// notes on an owner that is.
func (x *index) dependent(o *cluster.Object, find func(*cluster.Object) *Item) (dependence, bool) {
	return dependentOn(o, func(r metav1.OwnerReference) *Item {
		if up := x.owner(r); up != nil {
			return find(up)
		}
		return nil
	})
}

func dependentOn(o *cluster.Object, find func(metav1.OwnerReference) *Item) (dependence, bool) {
	d := dependence{made: o.Controller() != nil}
	for _, r := range o.Owners {
		if d.owner = find(r); d.owner == nil {
			return d, false
		}
		d.made = d.made || d.owner.Dependent
	}
	if d.owner == nil {
		return d, false
	}
	up := d.owner.Object
	d.evidence = Evidence{Rule: "owner", Text: text("%s %s owns it", up.Resource.Kind, up.Name), From: ref(up)}
	return d, true
}

// own notes that an object is Cast AI's because its owners are. What a
// controller made, and nothing lists, is left to Kubernetes.
func (d dependence) own(n *notes, cat *Catalogue, o *cluster.Object, unlisted bool) {
	n.own(o, cat.component(d.owner.Component), d.evidence)
	if d.made && unlisted && (MadeAgain(o) || d.owner.Dependent) {
		n.item(o).Dependent, n.changed = true, true
	}
}

// MadeAgain tells whether Kubernetes' own controllers make an object of this kind
// for its owner, and would make it again: nobody misses it in a backup.
func MadeAgain(o *cluster.Object) bool {
	return slices.Contains([]string{
		"Pod", "ReplicaSet.apps", "ControllerRevision.apps", "Job.batch", "Endpoints", "EndpointSlice.discovery.k8s.io",
	}, o.Ref().GroupKind().String())
}

// makers are the kinds for which Kubernetes' controllers make what is MadeAgain.
var makers = []string{
	"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "CronJob", "Job", "ReplicationController", "Service",
}

// custom tells whether an owner is of a kind that is not built in.
func custom(r metav1.OwnerReference) bool {
	group, _, grouped := strings.Cut(r.APIVersion, "/")
	return grouped && strings.Contains(group, ".") && !strings.HasSuffix(group, ".k8s.io")
}

// holdsMore tells whether more than the object goes with it: what is in a
// namespace, of a kind, on a machine, or on a disk.
func holdsMore(o *cluster.Object) bool {
	return isCRD(o) || o.Resource.Group == "" && slices.Contains([]string{"Namespace", "Node", "PersistentVolume"},
		o.Resource.Kind)
}

// attached tells whether somebody else made an object that has an owner: it runs
// their images, unless a controller made it, or a program that is neither Cast AI's
// nor Kubernetes' wrote it.
func attached(r *reader, o *cluster.Object) (Evidence, bool) {
	if MadeAgain(o) {
		c := o.Controller()
		switch {
		case c != nil && slices.Contains(makers, c.Kind):
			return Evidence{}, false
		case c != nil && custom(*c): // its controller makes it, under whatever name
			return r.writtenBy(o, byHand)
		case len(o.Managers) == 0 && !slices.ContainsFunc(o.Owners, custom):
			return Evidence{Rule: "owner", Text: text("no controller of Kubernetes makes a %s for a %s", o.Resource.Kind,
				o.Owners[0].Kind)}, true
		}
		return r.writtenBy(o, func(m string) bool { return m != "kubelet" && m != "kube-scheduler" })
	}
	if spec, ok := podSpec(o); ok && o.Controller() == nil {
		if list := images(spec); !slices.ContainsFunc(list, r.cat.published) {
			return Evidence{Rule: "workload", Text: text("it runs %s and nothing in it is Cast AI's",
				firstOr(list, "no image"))}, true
		}
	}
	return r.writtenBy(o, func(string) bool { return true })
}

// writtenBy tells whether a program that is neither Cast AI's nor Kubernetes' and
// that counts wrote an object.
func (r *reader) writtenBy(o *cluster.Object, counts func(string) bool) (Evidence, bool) {
	for _, m := range o.Managers {
		if counts(m) && !r.cat.writes(m) && !slices.Contains(distributors, m) {
			return Evidence{Rule: "manager", Text: text("%s wrote it: it is not Cast AI's controllers' alone", m)}, true
		}
	}
	return Evidence{}, false
}
