package hibernate

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// MarkAnnotation is on every object of others that a pause has changed, written
// in the same request as the change: it is there if, and only if, the change is.
// It says what a resume has to take back, whatever became of the run.
const MarkAnnotation = "castai.kubectl.dev/hibernate"

// runLabel is on a node that a pause has made, from its first moment.
const runLabel = "castai.kubectl.dev/hibernate-run"

// mark is what a pause did to an object.
type mark struct {
	Run string `json:"run"`
	// Cordoned, Tainted, Tolerated, Suspended: it was not before.
	Cordoned  bool `json:"cordoned,omitempty"`
	Suspended bool `json:"suspended,omitempty"`
	Tainted   bool `json:"tainted,omitempty"`
	Tolerated bool `json:"tolerated,omitempty"`
	// Labels that were set.
	Labels map[string]labelChange `json:"labels,omitempty"`
}

// labelChange is what a label was before (null: it was not there), and what the
// pause made it.
type labelChange struct {
	Was *string `json:"was"`
	Is  string  `json:"is"`
}

// markFields is where a mark is read from: snapshots cut long annotations.
var markFields = []string{"metadata", "annotations", MarkAnnotation}

// readMark reads the mark of an object; ok is false if it has none.
func readMark(o *cluster.Object) (m mark, ok bool, err error) {
	text, ok, err := unstructured.NestedString(o.Body, markFields...)
	if !ok || err != nil {
		return m, false, err
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return m, true, fmt.Errorf("the annotation %s of %s can't be read: %w: it is not known what a pause did to it",
			MarkAnnotation, o.Ref(), err)
	}
	return m, true, nil
}

// known is the mark of an object. Anybody may write one that can't be read: it says
// nothing, and stops nothing.
func known(o *cluster.Object) mark {
	m, _, err := readMark(o)
	if err != nil {
		return mark{}
	}
	return m
}

// annotation is the mark as part of a merge patch; an empty one is taken off.
func (m mark) annotation() (map[string]any, error) {
	if !m.Cordoned && !m.Tainted && !m.Tolerated && !m.Suspended && len(m.Labels) == 0 {
		return map[string]any{MarkAnnotation: nil}, nil
	}
	text, err := json.Marshal(m)
	return map[string]any{MarkAnnotation: string(text)}, err
}

func specOf(o *cluster.Object) map[string]any {
	spec, _ := o.Body["spec"].(map[string]any)
	return spec
}

func listAt(o *cluster.Object, path ...string) []any {
	list, _, err := unstructured.NestedSlice(o.Body, path...)
	if err != nil {
		return nil
	}
	return list
}

// orNull is a list in a merge patch: an empty one is none.
func orNull(list []any) any {
	if len(list) == 0 {
		return nil
	}
	return list
}

// without returns a list without the first entry for which drop is true.
func without(list []any, drop func(map[string]any) bool) (rest []any, found bool) {
	i := slices.IndexFunc(list, func(e any) bool {
		entry, ok := e.(map[string]any)
		return ok && drop(entry)
	})
	if i < 0 {
		return list, false
	}
	return slices.Delete(slices.Clone(list), i, i+1), true
}

// cordon returns the patch that cordons a node; empty: it is cordoned.
func cordon(run string) func(o *cluster.Object) (map[string]any, error) {
	return func(o *cluster.Object) (map[string]any, error) {
		m := known(o)
		if cordoned, _ := specOf(o)["unschedulable"].(bool); cordoned {
			return map[string]any{}, nil
		}
		m.Run, m.Cordoned = run, true
		annotations, err := m.annotation()
		return map[string]any{"metadata": map[string]any{"annotations": annotations},
			"spec": map[string]any{"unschedulable": true}}, err
	}
}

// settle returns the patch that makes a node the hibernation node: tainted and
// labelled. What is on a node that the pause itself made is the pause's, too.
func settle(run string, labels map[string]string, made bool) func(o *cluster.Object) (map[string]any, error) {
	return func(o *cluster.Object) (map[string]any, error) {
		m := known(o)
		m.Run = run
		var err error
		meta, spec := map[string]any{}, map[string]any{}
		taints := listAt(o, "spec", "taints")
		_, tainted := without(taints, isPausedTaint)
		if !tainted {
			spec["taints"] = append(taints, map[string]any{"key": PausedKey, "value": "true", "effect": "NoSchedule"})
		}
		m.Tainted = m.Tainted || !tainted || made
		set := map[string]any{}
		for key, value := range labels {
			was, found := o.Labels[key]
			if _, known := m.Labels[key]; known || found && was == value && !made {
				continue
			}
			if m.Labels == nil {
				m.Labels = map[string]labelChange{}
			}
			change := labelChange{Is: value}
			if found && !made {
				change.Was = &was
			}
			m.Labels[key] = change
			set[key] = value
		}
		if meta["annotations"], err = m.annotation(); err != nil {
			return nil, err
		}
		if len(set) > 0 {
			meta["labels"] = set
		}
		patch := map[string]any{"metadata": meta}
		if len(spec) > 0 {
			patch["spec"] = spec
		}
		return patch, nil
	}
}

func isPausedTaint(t map[string]any) bool {
	return t["key"] == PausedKey && t["effect"] == "NoSchedule"
}

// untaint returns the patch that takes the taint off the node that the cluster
// sleeps on; its labels stay until the resume.
func untaint(o *cluster.Object) (map[string]any, error) {
	m := known(o)
	rest, found := without(listAt(o, "spec", "taints"), isPausedTaint)
	if !found && !m.Tainted {
		return map[string]any{}, nil
	}
	m.Tainted = false
	annotations, err := m.annotation()
	return map[string]any{"metadata": map[string]any{"annotations": annotations},
		"spec": map[string]any{"taints": orNull(rest)}}, err
}

// wake returns the patch that takes back from a node what pauses did to it. The
// mark alone proves nothing: a kubelet can write annotations and most labels of its
// own node. So what is taken back is what the journal, or the managed fields of the
// node, say as well, and only keys that a pause can have set. What somebody has
// changed since stays; only the mark goes.
func wake(j *Journal) func(o *cluster.Object) (map[string]any, error) {
	return func(o *cluster.Object) (map[string]any, error) {
		m, ok, err := readMark(o)
		if err != nil { // then what the journal and the managed fields say is all that counts
			m, ok = mark{Cordoned: true}, true
		}
		if !ok && o.Labels[runLabel] == "" {
			return map[string]any{}, nil
		}
		made := j.made(o)
		patch := map[string]any{"metadata": map[string]any{"annotations": map[string]any{MarkAnnotation: nil}}}
		spec := map[string]any{}
		if m.Cordoned && (j.removes(o) && !wroteOther(o, "spec", "unschedulable") ||
			wrote(o, cluster.FieldManager, "spec", "unschedulable")) {
			spec["unschedulable"] = nil
		}
		if rest, found := without(listAt(o, "spec", "taints"), isPausedTaint); found && (m.Tainted || made) {
			spec["taints"] = orNull(rest)
		}
		if back := j.labelsBack(o, m, made); len(back) > 0 {
			patch["metadata"] = map[string]any{"annotations": map[string]any{MarkAnnotation: nil}, "labels": back}
		}
		if len(spec) > 0 {
			patch["spec"] = spec
		}
		return patch, nil
	}
}

// made tells whether a node is the one that the pause made.
func (j *Journal) made(o *cluster.Object) bool {
	return j != nil && j.Node != nil && j.Node.Made && o.Labels[runLabel] == j.Run
}

// removes tells whether a node is one of those that the pause was to remove, and so
// cordons.
func (j *Journal) removes(o *cluster.Object) bool {
	return j != nil && slices.Contains(j.Remove, o.Name)
}

// tolerates tells whether a workload is one of those that the pause lets run on the
// hibernation node.
func (j *Journal) tolerates(o *cluster.Object) bool {
	return j != nil && slices.Contains(j.Tolerate, o.Ref().String())
}

// labelsBack returns what the labels of a node are set to: those of this plugin and
// of Cast AI's job go; those of the settings get the value that the journal has.
func (j *Journal) labelsBack(o *cluster.Object, m mark, made bool) map[string]any {
	back := map[string]any{}
	if o.Labels[runLabel] != "" {
		back[runLabel] = nil
	}
	if is := o.Labels[PausedKey]; is != "" && (made || m.Labels[PausedKey].Is == is) {
		back[PausedKey] = nil
	}
	if j == nil || j.Node == nil || j.Node.Name != o.Name && !made {
		return back
	}
	for key, is := range j.Node.Labels {
		if o.Labels[key] != is || m.Labels[key].Is != is && !made {
			continue
		}
		if was, had := j.Node.Was[key]; had && !made {
			back[key] = was
		} else {
			back[key] = nil
		}
	}
	return back
}

// toleration is the one that Cast AI's job adds, too (HB app/k8s_utils.py).
func toleration() map[string]any {
	return map[string]any{"key": PausedKey, "operator": "Exists", "effect": "NoSchedule"}
}

func isToleration(t map[string]any) bool { return maps.Equal(t, toleration()) }

var tolerations = []string{"spec", "template", "spec", "tolerations"}

func tolerationsPatch(annotations map[string]any, list any) map[string]any {
	return map[string]any{
		"metadata": map[string]any{"annotations": annotations},
		"spec":     podTolerations(list),
	}
}

// podTolerations returns the spec of a workload that gives its pods these
// tolerations, for a merge patch.
func podTolerations(list any) map[string]any {
	return map[string]any{"template": map[string]any{"spec": map[string]any{"tolerations": list}}}
}

// tolerate returns the patch that lets a workload's pods run on the node that the
// cluster sleeps on; empty: they may already.
func tolerate(run string) func(o *cluster.Object) (map[string]any, error) {
	return func(o *cluster.Object) (map[string]any, error) {
		list := listAt(o, tolerations...)
		if tolerates(list) {
			return map[string]any{}, nil
		}
		annotations, err := mark{Run: run, Tolerated: true}.annotation()
		return tolerationsPatch(annotations, append(list, toleration())), err
	}
}

// withdraw returns the patch that takes back the toleration that a pause added.
// If somebody took it out or changed it since, only the mark goes.
func withdraw(o *cluster.Object) (map[string]any, error) {
	m, ok, err := readMark(o)
	if err != nil {
		m, ok = mark{Tolerated: wrote(o, cluster.FieldManager, tolerations...)}, true
	}
	if !ok {
		return map[string]any{}, nil
	}
	gone := map[string]any{MarkAnnotation: nil}
	rest, found := without(listAt(o, tolerations...), isToleration)
	if !found || !m.Tolerated {
		return map[string]any{"metadata": map[string]any{"annotations": gone}}, nil
	}
	return tolerationsPatch(gone, orNull(rest)), nil
}
