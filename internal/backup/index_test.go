package backup

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/offboard"
)

// An index is written piece by piece, and is the document that it would be in
// one piece.
func TestAnIndexIsWrittenInPieces(t *testing.T) {
	hostile := `"objects": [], "phases": [`
	target := func(name string) cluster.Target {
		return cluster.Target{Ref: cluster.Ref{Kind: "ConfigMap", Namespace: "shop", Name: name}, Version: "v1",
			Resource: "configmaps"}
	}
	delete1 := engine.Action{Verb: engine.Delete, Target: target("a"), Why: hostile,
		Finalizers: []string{engine.AnyFinalizer}}
	for name, index := range map[string]Index{
		"nothing": {Objects: []Entry{}, Plan: engine.Plan{Phases: []engine.Phase{}}},
		"one of each": {
			Objects: []Entry{{Target: target("a"), File: "a.yaml", Deleted: true}},
			Plan:    engine.Plan{Phases: []engine.Phase{{Name: "p", Actions: []engine.Action{delete1}}}},
		},
		"many, and hostile text": {
			APIVersion: APIVersion, Kind: Kind, Cluster: cluster.Server{Context: hostile,
				Host: "<&>\u2028"}, Time: time.Now(), Tool: hostile,
			Objects: []Entry{
				{Target: target("a"), Patches: []map[string]any{{"objects": []any{}, "phases": []any{hostile}}}},
				{Target: target("b"), NotRestored: hostile}, {Target: target("c")},
			},
			Dependents: []cluster.Ref{{Kind: hostile, Name: "x"}}, Unreadable: []cluster.Unreadable{{What: "x",
				Message: hostile}},
			Plan: engine.Plan{Phases: []engine.Phase{{Name: hostile, Actions: []engine.Action{delete1, delete1}},
				{Name: "empty"}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := json.MarshalIndent(index, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if err := index.write(&got); err != nil {
				t.Fatal(err)
			}
			if want = append(want, '\n'); !bytes.Equal(got.Bytes(), want) {
				t.Errorf("it is written as\n%s\nnot\n%s", got.Bytes(), want)
			}
		})
	}
}

// Whatever an offboarding changes is put back, and nothing else that a folder
// says it did.
func TestOnlyWhatAnOffboardingChangesIsTakenBack(t *testing.T) {
	type m = map[string]any
	spec := func(fields m) m { return m{"metadata": m{"uid": "1", "resourceVersion": "2"}, "spec": fields} }
	pods := func(fields m) m { return spec(m{"template": m{"spec": fields}}) }
	for name, test := range map[string]struct {
		kind  string
		patch m
		ok    bool
	}{
		"stop": {"Deployment.apps", m{"metadata": m{"annotations": m{offboard.StoppedAnnotation: "2"}},
			"spec": m{"replicas": 0}}, true},
		"suspend":               {"CronJob.batch", spec(m{"suspend": true}), true},
		"no node":               {"DaemonSet.apps", pods(m{"nodeSelector": m{offboard.StopLabel: "true"}}), true},
		"tolerations":           {"Deployment.apps", pods(m{"tolerations": []any{}}), true},
		"a cordon":              {"Node", spec(m{"unschedulable": nil, "taints": nil}), true},
		"rules":                 {"ClusterRole.rbac.authorization.k8s.io", m{"rules": []any{}}, false},
		"subjects":              {"ClusterRoleBinding.rbac.authorization.k8s.io", m{"subjects": []any{}}, false},
		"webhooks":              {"ValidatingWebhookConfiguration.admissionregistration.k8s.io", m{"webhooks": nil}, false},
		"another node selector": {"DaemonSet.apps", pods(m{"nodeSelector": m{"zone": "b"}}), false},
		"containers":            {"Deployment.apps", pods(m{"containers": []any{}}), false},
		"the whole":             {"Deployment.apps", m{"spec": nil}, false},
		"labels of a Node":      {"Node", m{"metadata": m{"labels": m{"node-role.kubernetes.io/control-plane": ""}}}, false},
		"data":                  {"Secret", m{"data": m{"a": "b"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			kind, group, _ := strings.Cut(test.kind, ".")
			e := &Entry{Target: cluster.Target{Ref: cluster.Ref{Group: group, Kind: kind, Name: "x"}},
				Patches: []map[string]any{test.patch}}
			if err := checkPatches(e); (err == nil) != test.ok {
				t.Errorf("it says %v", err)
			}
		})
	}
}
