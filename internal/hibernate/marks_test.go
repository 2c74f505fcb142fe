package hibernate

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// object makes the object that a write would read, of one manifest.
func object(t *testing.T, manifest string) *cluster.Object {
	t.Helper()
	objects, err := clustertest.Parse([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	return read(t, objects[0])
}

func read(t *testing.T, u *unstructured.Unstructured) *cluster.Object {
	t.Helper()
	snap, err := clustertest.Snapshot(u)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range snap.Objects {
		if o.Name == u.GetName() {
			o.Body = u.Object
			return o
		}
	}
	t.Fatal("the object is lost")
	return nil
}

// patched applies a merge patch (RFC 7386) to a copy of an object.
func patched(t *testing.T, o *cluster.Object, patch map[string]any) *cluster.Object {
	t.Helper()
	raw, err := json.Marshal(o.Body)
	if err != nil {
		t.Fatal(err)
	}
	body := map[string]any{}
	if err := json.Unmarshal(raw, &body); err != nil {
		t.Fatal(err)
	}
	if raw, err = json.Marshal(patch); err != nil {
		t.Fatal(err)
	}
	change := map[string]any{}
	if err := json.Unmarshal(raw, &change); err != nil {
		t.Fatal(err)
	}
	merge(body, change)
	return read(t, &unstructured.Unstructured{Object: body})
}

func merge(into, patch map[string]any) {
	for key, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(into, key)
		case map[string]any:
			inner, _ := into[key].(map[string]any)
			if inner == nil {
				inner = map[string]any{}
			}
			merge(inner, value)
			if into[key] = inner; len(inner) == 0 {
				delete(into, key) // the server leaves empty ones out
			}
		default:
			into[key] = value
		}
	}
}

func text(t *testing.T, o *cluster.Object) string {
	t.Helper()
	body := maps.Clone(o.Body)
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

type patchFunc = func(*cluster.Object) (map[string]any, error)

// What a pause does and a resume takes back leaves an object as it was, however
// often each of it is done, and wherever a run was killed in between.
func TestPatchesAreTakenBack(t *testing.T) {
	labels := map[string]string{PausedKey: "true", "team": "night", "zone": "a"}
	madeLabels := map[string]string{PausedKey: "true", "team": "night", runLabel: "r1"}
	const plainNode = `
apiVersion: v1
kind: Node
metadata: {name: node-1, labels: {team: day, zone: a}, annotations: {a: b}}
spec: {providerID: "aws:///x", taints: [{key: dedicated, effect: NoSchedule}]}
`
	const workload = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: w, namespace: kube-system}
spec: {template: {spec: {tolerations: [{key: x, operator: Exists}, {key: scheduling.cast.ai/paused-cluster, operator: Equal, value: "no"}], containers: [{name: c, image: i}]}}}
`
	journal := &Journal{Run: "r1", Remove: []string{"node-1"},
		Node: &SleepNode{Name: "node-1", Labels: labels, Was: labelsBefore(map[string]string{"team": "day"}, labels)}}
	for name, tc := range map[string]struct {
		manifest string
		do       []patchFunc
		back     patchFunc
	}{
		"a cordon":             {plainNode, []patchFunc{cordon("r1")}, wake(journal)},
		"the hibernation node": {plainNode, []patchFunc{settle("r1", labels, false)}, wake(journal)},
		"and its untainting":   {plainNode, []patchFunc{settle("r1", labels, false), untaint}, wake(journal)},
		"killed and tainted again": {plainNode, []patchFunc{settle("r1", labels, false), untaint,
			settle("r2", labels, false)}, wake(journal)},
		"both":                 {plainNode, []patchFunc{cordon("r1"), settle("r1", labels, false)}, wake(journal)},
		"a toleration":         {workload, []patchFunc{tolerate("r1")}, withdraw},
		"the first toleration": {"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w, namespace: x}\nspec: {template: {spec: {containers: [{name: c, image: i}]}}}\n", []patchFunc{tolerate("r1")}, withdraw},
		"nothing, as it was cordoned": {"apiVersion: v1\nkind: Node\nmetadata: {name: node-1}\nspec: {unschedulable: true}\n",
			[]patchFunc{cordon("r1")}, wake(journal)},
		"nothing, as it tolerates all": {
			"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w, namespace: x}\nspec: {template: {spec: {tolerations: [{operator: Exists}]}}}\n",
			[]patchFunc{tolerate("r1")}, withdraw,
		},
	} {
		t.Run(name, func(t *testing.T) {
			was := object(t, tc.manifest)
			o := was
			for _, do := range tc.do {
				for range 2 { // a repeated one changes nothing more
					patch, err := do(o)
					if err != nil {
						t.Fatal(err)
					}
					o = patched(t, o, patch)
				}
			}
			for range 2 {
				patch, err := tc.back(o)
				if err != nil {
					t.Fatal(err)
				}
				o = patched(t, o, patch)
			}
			if got, want := text(t, o), text(t, was); got != want {
				t.Errorf("it is\n%s\nand was\n%s", got, want)
			}
		})
	}

	t.Run("a node that the pause made", func(t *testing.T) {
		const born = "apiVersion: v1\nkind: Node\nmetadata: {name: node-1, labels: {own: x, team: night, scheduling.cast.ai/paused-cluster: \"true\", castai.kubectl.dev/hibernate-run: r1}}\n" +
			"spec: {taints: [{key: scheduling.cast.ai/paused-cluster, value: \"true\", effect: NoSchedule}]}\n"
		bare := text(t, object(t, "apiVersion: v1\nkind: Node\nmetadata: {name: node-1, labels: {own: x}}\n"))
		killed := object(t, born)
		for name, o := range map[string]*cluster.Object{"marked": nil, "killed before it was marked": killed} {
			if o == nil {
				patch, err := settle("r1", madeLabels, true)(killed)
				if err != nil {
					t.Fatal(err)
				}
				o = patched(t, killed, patch)
			}
			patch, err := wake(&Journal{Run: "r1", Node: &SleepNode{Made: true, Name: "node-1",
				Labels: map[string]string{PausedKey: "true", "team": "night"}}})(o)
			if err != nil {
				t.Fatal(err)
			}
			if got := text(t, patched(t, o, patch)); got != bare {
				t.Errorf("%s: it is\n%s\nnot\n%s", name, got, bare)
			}
		}
	})
}

// What somebody has changed since is theirs.
func TestTakingBackLeavesWhatOthersChanged(t *testing.T) {
	node := object(t, "apiVersion: v1\nkind: Node\nmetadata: {name: node-1}\nspec: {}\n")
	patch, err := settle("r1", map[string]string{"team": "night"}, false)(node)
	if err != nil {
		t.Fatal(err)
	}
	node = patched(t, node, patch)
	node = patched(t, node, map[string]any{
		"metadata": map[string]any{"labels": map[string]any{"team": "theirs"}},
		"spec":     map[string]any{"taints": []any{map[string]any{"key": PausedKey, "effect": "NoExecute"}}},
	})
	if patch, err = wake(&Journal{Run: "r1", Node: &SleepNode{Name: "node-1",
		Labels: map[string]string{"team": "night"}}})(node); err != nil {
		t.Fatal(err)
	}
	node = patched(t, node, patch)
	if node.Labels["team"] != "theirs" || len(listAt(node, "spec", "taints")) != 1 {
		t.Errorf("it took back what others wrote: %s", text(t, node))
	}

	workload := object(t,
		"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w, namespace: x}\nspec: {template: {spec: {containers: [{name: c, image: i}]}}}\n")
	if patch, err = tolerate("r1")(workload); err != nil {
		t.Fatal(err)
	}
	workload = patched(t, workload, patch)
	workload = patched(t, workload,
		map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"tolerations": []any{map[string]any{"key": PausedKey, "operator": "Exists"}}}}}})
	if patch, err = withdraw(workload); err != nil {
		t.Fatal(err)
	}
	if workload = patched(t, workload, patch); len(listAt(workload, tolerations...)) != 1 {
		t.Errorf("it took back what others wrote: %s", text(t, workload))
	}
}

// Anybody may write the annotation: one that can't be read neither stops a pause nor a
// resume, and gives nothing back.
func TestABadMarkStopsNothing(t *testing.T) {
	node := object(t,
		"apiVersion: v1\nkind: Node\nmetadata: {name: node-1, annotations: {castai.kubectl.dev/hibernate: nonsense}}\nspec: {}\n")
	for name, do := range map[string]patchFunc{"wake": wake(nil), "cordon": cordon("r1"), "untaint": untaint,
		"settle": settle("r1", nil, false), "withdraw": withdraw} {
		patch, err := do(node)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if spec, has := patch["spec"].(map[string]any); (name == "wake" || name == "withdraw") && has {
			t.Errorf("%s gives %v back", name, spec)
		}
	}
}

// A kubelet may write annotations and most labels of its own node. It must not get
// anything by a mark but what a pause can have done.
func TestAForgedMarkGivesNothing(t *testing.T) {
	const forged = `{"run":"r1","cordoned":true,"labels":{"node-role.kubernetes.io/control-plane":{"was":"","is":"x"},` +
		`"node-restriction.kubernetes.io/tenant":{"was":"other","is":"mine"},"team":{"was":"root","is":"night"}}}`
	manifest := func(managed string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: Node\nmetadata: {name: node-1, %s labels: {node-role.kubernetes.io/control-plane: x, node-restriction.kubernetes.io/tenant: mine, team: night}, annotations: {castai.kubectl.dev/hibernate: '%s'}}\nspec: {unschedulable: true}\n", managed, forged)
	}
	sleeping := &Journal{Run: "r1", Phase: Paused, Remove: []string{"other"},
		Node: &SleepNode{Name: "sleeper", Labels: map[string]string{"team": "night"}}}
	onIt := &Journal{Run: "r1", Phase: Paused, Node: &SleepNode{Name: "node-1", Labels: map[string]string{"team": "night"},
		Was: map[string]string{"team": "day"}}}
	for name, tc := range map[string]struct {
		journal *Journal
		managed string
		want    string // the patch beside the mark
	}{
		"without a journal":            {want: `null`},
		"on another node":              {journal: sleeping, want: `null`},
		"on the node that is slept on": {journal: onIt, want: `{"team":"day"}`},
		"what this plugin cordoned": {
			managed: "managedFields: [{manager: kubectl-castai, operation: Update, fieldsType: FieldsV1, fieldsV1: {f:spec: {f:unschedulable: {}}}}],", want: `null`,
		},
	} {
		patch, err := wake(tc.journal)(object(t, manifest(tc.managed)))
		if err != nil {
			t.Fatal(err)
		}
		meta, _ := patch["metadata"].(map[string]any)
		got, err := json.Marshal(meta["labels"])
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != tc.want {
			t.Errorf("%s: labels become %s, want %s", name, got, tc.want)
		}
		if _, uncordoned := patch["spec"]; uncordoned != (tc.managed != "") {
			t.Errorf("%s: it uncordons the node: %t", name, uncordoned)
		}
	}
}
