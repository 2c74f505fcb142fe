package finalize

import (
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// volume adds the PersistentVolume pv of the claim data.
func (w *world) volume(ns, phase, policy string, edits ...edit) {
	w.add("persistentvolumes", "", "pv", append([]edit{
		body("spec", map[string]any{"persistentVolumeReclaimPolicy": policy,
			"claimRef": map[string]any{"namespace": ns, "name": "data", "uid": "u-data"}}),
		body("status", map[string]any{"phase": phase}),
	}, edits...)...)
}

// TestVolumes holds that volumes whose claims are gone are named, and no others.
func TestVolumes(t *testing.T) {
	for _, tc := range []struct {
		name  string
		build func(w *world)
		says  []string // nothing: no volume is named
	}{
		{"retained", func(w *world) { w.volume("x", "Released", "Retain") },
			[]string{"PersistentVolume pv was bound to PersistentVolumeClaim x/data, which is gone", "cost money"}},
		{"being deleted", func(w *world) {
			w.volume("x", "Released", "Delete", deleting, held("external-provisioner.volume.kubernetes.io/finalizer"))
		}, []string{"waits for external-provisioner.volume.kubernetes.io/finalizer; kubectl castai unstick pv/pv says why"}},
		{"not given back", func(w *world) { w.volume("x", "Failed", "Delete") },
			[]string{"could not be given back"}},
		{"not yet removed", func(w *world) { w.volume("x", "Released", "Delete") },
			[]string{"has not removed the disk yet"}},
		{"of another namespace", func(w *world) { w.volume("y", "Released", "Retain") }, nil},
		{"its claim is there", func(w *world) {
			w.add("persistentvolumeclaims", "x", "data", deleting, func(o *cluster.Object) { o.UID = "u-data" })
			w.volume("x", "Released", "Retain")
		}, nil},
		{"a new claim has that name", func(w *world) {
			w.add("persistentvolumeclaims", "x", "data", func(o *cluster.Object) { o.UID = "another" })
			w.volume("x", "Released", "Retain")
		}, []string{"x/data, which is gone"}},
		{"reserved for a claim to come", func(w *world) { w.volume("x", "Available", "Retain") }, nil},
		{"claims can't be listed", func(w *world) {
			w.snap.Unreadable = []cluster.Unreadable{{What: claims, Forbidden: true}}
			w.volume("x", "Released", "Retain")
		}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld()
			w.namespace("x")
			tc.build(w)
			d := diagnose(t, w, "x", options())
			if len(d.Volumes) != min(len(tc.says), 1) {
				t.Fatalf("%+v", d.Volumes)
			}
			for _, says := range tc.says {
				if !strings.Contains(d.Volumes[0].Summary, says) {
					t.Errorf("it does not say %q: %s", says, d.Volumes[0].Summary)
				}
			}
		})
	}
	w := newWorld()
	w.volume("x", "Released", "Retain")
	if r := diagnose(t, w, "x", options()).Refusal; r == nil || !strings.Contains(r.Message, "PersistentVolume pv") {
		t.Errorf("of a namespace that is gone: %+v", r)
	}
}
