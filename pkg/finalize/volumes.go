package finalize

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

const persistentVolumes = "persistentvolumes"

// Volume is a PersistentVolume whose claim is gone. It holds no namespace, but nobody
// finds it by the name of the namespace any more.
type Volume struct {
	Name string `json:"name"`
	// Claim is the PersistentVolumeClaim that it was bound to, namespace/name.
	Claim string `json:"claim"`
	// Phase is "Released" if nobody may bind it again, ReclaimPolicy what becomes of the
	// disk then: Retain, Delete or Recycle.
	Phase         string `json:"phase,omitempty"`
	ReclaimPolicy string `json:"reclaimPolicy,omitempty"`
	// Terminating: it is being deleted, and waits for its finalizers.
	Terminating bool     `json:"terminating,omitempty"`
	Finalizers  []string `json:"finalizers,omitempty"`
	// Summary says all that in a sentence.
	Summary string `json:"summary"`
}

// volumesOf returns the volumes that wait although their claims, which were in namespaces
// that are asked for, are gone. It returns none if nobody knows which claims there are.
func volumesOf(snap *cluster.Snapshot, asked func(namespace string) bool) []Volume {
	if unreadable(snap, claims) != nil {
		return nil
	}
	there := map[string]bool{}
	for _, o := range snap.Objects {
		if isClaim(o) {
			there[o.Namespace+"/"+o.Name+"/"+string(o.UID)] = true
			there[o.Namespace+"/"+o.Name+"/"] = true
		}
	}
	var out []Volume
	for _, o := range snap.Objects {
		text := func(path ...string) string { s, _, _ := unstructured.NestedString(o.Body, path...); return s }
		ns, name := text("spec", "claimRef", "namespace"), text("spec", "claimRef", "name")
		if o.Resource.GroupResource().String() != persistentVolumes || !asked(ns) ||
			there[ns+"/"+name+"/"+text("spec", "claimRef", "uid")] {
			continue
		}
		v := Volume{
			Name: o.Name, Claim: ns + "/" + name, Phase: text("status", "phase"),
			ReclaimPolicy: text("spec", "persistentVolumeReclaimPolicy"),
			Terminating:   o.Terminating(), Finalizers: o.Finalizers,
		}
		if !v.Terminating && v.Phase != "Released" && v.Phase != "Failed" {
			continue // reserved for a claim that is to come
		}
		v.Summary = v.summarize()
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b Volume) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (v *Volume) summarize() string {
	begin := fmt.Sprintf("PersistentVolume %s was bound to PersistentVolumeClaim %s, which is gone", v.Name, v.Claim)
	switch {
	case v.Terminating && len(v.Finalizers) > 0:
		return fmt.Sprintf("%s: it is being deleted, and waits for %s; %s says why", begin,
			enumerate(v.Finalizers), program("unstick pv/"+v.Name))
	case v.Terminating:
		return begin + ": it is being deleted"
	case v.ReclaimPolicy == "Retain":
		return fmt.Sprintf("%s: it is %s, and by its policy Retain it and its disk stay, which may cost money, until somebody "+
			"deletes them", begin, v.Phase)
	case v.Phase == "Failed":
		return fmt.Sprintf("%s: its disk could not be given back; kubectl describe pv %s says why", begin, v.Name)
	}
	return fmt.Sprintf("%s: it is %s, and its provisioner has not removed the disk yet, which may cost money", begin,
		v.Phase)
}

// saysVolumes adds the volumes to a sentence.
func saysVolumes(volumes []Volume) string {
	var out strings.Builder
	for i, v := range volumes {
		if i == 3 {
			fmt.Fprintf(&out, ". And %d more volumes", len(volumes)-i)
			break
		}
		out.WriteString(". " + v.Summary)
	}
	return out.String()
}
