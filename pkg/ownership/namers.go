package ownership

import (
	"slices"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// namers are the kinds that run no pods and that name Secrets and ConfigMaps which
// they need: the fields of them that a snapshot keeps. Custom resources do, too: who
// has any in a namespace lives there (residents).
var namers = []string{
	"ServiceAccount", "Ingress.networking.k8s.io", "Route.route.openshift.io",
	"PersistentVolume", "StorageClass.storage.k8s.io",
	"ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io",
	"MutatingAdmissionPolicyBinding.admissionregistration.k8s.io",
}

// needed maps the names in the fields of the namers in the index to these.
func (x *index) needed() map[string][]*cluster.Object {
	if x.needs != nil {
		return x.needs
	}
	x.needs = map[string][]*cluster.Object{}
	for _, kind := range namers {
		for _, o := range x.byKind[kind] {
			for _, s := range texts(o.Body, nil) {
				x.needs[s] = append(x.needs[s], o)
			}
		}
	}
	return x.needs
}

// texts appends all texts in a value of JSON to a list.
func texts(value any, list []string) []string {
	switch value := value.(type) {
	case string:
		return append(list, value)
	case map[string]any:
		for key, v := range value {
			if key != "claimRef" { // of a volume: what it is for, and not what it needs
				list = texts(v, list)
			}
		}
	case []any:
		for _, v := range value {
			list = texts(v, list)
		}
	}
	return list
}

// usedByOthers tells whether something that is not Cast AI's uses an object: a
// workload, or what names a Secret or a ConfigMap in this namespace, or, if it is
// cluster-scoped, with this namespace.
func (v *spaceView) usedByOthers(o *cluster.Object) (Evidence, bool) {
	list := slices.Clone(v.usedBy()[o.Ref()])
	if o.Resource.Group == "" && (o.Resource.Kind == "Secret" || o.Resource.Kind == "ConfigMap") {
		list = append(list, v.needed()[o.Name]...)
		for _, by := range v.above.needed()[o.Name] {
			if slices.Contains(v.above.needed()[v.name], by) {
				list = append(list, by)
			}
		}
	}
	for _, by := range list {
		if by.Namespace == "" && v.above.owned(by) || by.Namespace != "" && v.owned(by) || v.noise(by) {
			continue
		}
		return Evidence{Rule: "used", Text: text("%s %s uses it, which is not Cast AI's", by.Resource.Kind, by.Name),
			From: ref(by)}, true
	}
	return Evidence{}, false
}
