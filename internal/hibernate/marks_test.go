package hibernate

import (
	"encoding/json"
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
metadata: {name: n, labels: {team: day, zone: a}, annotations: {a: b}}
spec: {providerID: "aws:///x", taints: [{key: dedicated, effect: NoSchedule}]}
`
	const workload = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: w, namespace: kube-system}
spec: {template: {spec: {tolerations: [{key: x, operator: Exists}, {key: scheduling.cast.ai/paused-cluster, operator: Equal, value: "no"}], containers: [{name: c, image: i}]}}}
`
	for name, tc := range map[string]struct {
		manifest string
		do       []patchFunc
		back     patchFunc
	}{
		"a cordon":                    {plainNode, []patchFunc{cordon("r1")}, wake(nil)},
		"the node to sleep on":        {plainNode, []patchFunc{settle("r1", labels, false)}, wake(nil)},
		"and its untainting":          {plainNode, []patchFunc{settle("r1", labels, false), untaint}, wake(nil)},
		"killed and tainted again":    {plainNode, []patchFunc{settle("r1", labels, false), untaint, settle("r2", labels, false)}, wake(nil)},
		"both":                        {plainNode, []patchFunc{cordon("r1"), settle("r1", labels, false)}, wake(nil)},
		"a toleration":                {workload, []patchFunc{tolerate("r1")}, withdraw},
		"the first toleration":        {"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w, namespace: x}\nspec: {template: {spec: {containers: [{name: c, image: i}]}}}\n", []patchFunc{tolerate("r1")}, withdraw},
		"nothing, as it was cordoned": {"apiVersion: v1\nkind: Node\nmetadata: {name: n}\nspec: {unschedulable: true}\n", []patchFunc{cordon("r1")}, wake(nil)},
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
		const born = "apiVersion: v1\nkind: Node\nmetadata: {name: n, labels: {own: x, team: night, scheduling.cast.ai/paused-cluster: \"true\", castai.kubectl.dev/hibernate-run: r1}}\n" +
			"spec: {taints: [{key: scheduling.cast.ai/paused-cluster, value: \"true\", effect: NoSchedule}]}\n"
		bare := text(t, object(t, "apiVersion: v1\nkind: Node\nmetadata: {name: n, labels: {own: x}}\n"))
		killed := object(t, born)
		for name, o := range map[string]*cluster.Object{"marked": nil, "killed before it was marked": killed} {
			if o == nil {
				patch, err := settle("r1", madeLabels, true)(killed)
				if err != nil {
					t.Fatal(err)
				}
				o = patched(t, killed, patch)
			}
			patch, err := wake(map[string]string{PausedKey: "true", "team": "night"})(o)
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
	node := object(t, "apiVersion: v1\nkind: Node\nmetadata: {name: n}\nspec: {}\n")
	patch, err := settle("r1", map[string]string{"team": "night"}, false)(node)
	if err != nil {
		t.Fatal(err)
	}
	node = patched(t, node, patch)
	node = patched(t, node, map[string]any{
		"metadata": map[string]any{"labels": map[string]any{"team": "theirs"}},
		"spec":     map[string]any{"taints": []any{map[string]any{"key": PausedKey, "effect": "NoExecute"}}},
	})
	if patch, err = wake(nil)(node); err != nil {
		t.Fatal(err)
	}
	node = patched(t, node, patch)
	if node.Labels["team"] != "theirs" || len(listAt(node, "spec", "taints")) != 1 {
		t.Errorf("it took back what others wrote: %s", text(t, node))
	}

	workload := object(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w, namespace: x}\nspec: {template: {spec: {containers: [{name: c, image: i}]}}}\n")
	if patch, err = tolerate("r1")(workload); err != nil {
		t.Fatal(err)
	}
	workload = patched(t, workload, patch)
	workload = patched(t, workload, map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"tolerations": []any{map[string]any{"key": PausedKey, "operator": "Exists"}}}}}})
	if patch, err = withdraw(workload); err != nil {
		t.Fatal(err)
	}
	if workload = patched(t, workload, patch); len(listAt(workload, tolerations...)) != 1 {
		t.Errorf("it took back what others wrote: %s", text(t, workload))
	}
}

func TestABadMarkIsAnError(t *testing.T) {
	node := object(t, "apiVersion: v1\nkind: Node\nmetadata: {name: n, annotations: {castai.kubectl.dev/hibernate: nonsense}}\nspec: {}\n")
	for name, do := range map[string]patchFunc{"wake": wake(nil), "cordon": cordon("r1"), "untaint": untaint, "settle": settle("r1", nil, false), "withdraw": withdraw} {
		if _, err := do(node); err == nil {
			t.Errorf("%s went on", name)
		}
	}
}
