package offboard_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/castai/kubectl-castai/pkg/engine"
)

// hung is somebody else's object that names one of Cast AI's as its owner.
const hung = `apiVersion: v1
kind: Secret
metadata:
  name: precious
  namespace: %s
  labels: {team: acme}
  managedFields: [{manager: kubectl-create, operation: Update}]
  ownerReferences: [{apiVersion: %s, kind: %s, name: castai-agent, uid: %s%s}]
`

const (
	agentRef  = "Deployment.apps/castai-agent/castai-agent"
	spaceRef  = "Namespace/castai-agent"
	controls  = ", controller: true"
	mineThere = "Secret/castai-agent/precious"
)

// hang adds such an object to a namespace.
func (w *world) hang(t *testing.T, namespace, owner, more string) {
	t.Helper()
	u := w.Get(parse(t, owner))
	if u == nil {
		t.Errorf("%s is gone", owner)
		return
	}
	w.add(t, fmt.Sprintf(hung, namespace, u.GetAPIVersion(), u.GetKind(), u.GetUID(), more))
}

// A controller reference is no more than what its author wrote: only what Kubernetes
// makes for a workload goes with the namespace unseen.
func TestNamespaceStaysForWhatSaysThatItIsControlled(t *testing.T) {
	for name, more := range map[string]string{"a controller": controls, "an owner": ""} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := serve(t, "")
				w.when("delete mutatingwebhookconfigurations", func() { w.hang(t, "castai-agent", agentRef, more) })
				r, err := w.offboard(t)
				if err != nil {
					t.Fatal(err)
				}
				kept := result(r.Report, spaceRef)
				if !w.has(t, mineThere) || kept.Result != engine.ResultKept || !strings.Contains(kept.Message, mineThere) {
					t.Errorf("the Secret is there: %t; %+v", w.has(t, mineThere), kept)
				}
			})
		})
	}
}
