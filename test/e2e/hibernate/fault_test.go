package hibernate

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/test/fakecastai"
)

// refill gives the world the nodes that it had, and the console what is there.
func (w world) refill(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	list, err := client.CoreV1().Nodes().List(ctx,
		metav1.ListOptions{LabelSelector: "node.kubernetes.io/instance-type=m5a.large"})
	check(t, err)
	for _, n := range list.Items {
		check(t, nodes.Remove(ctx, castai.Node{Name: n.Name})) // a hibernation node is made each time
	}
	if missing := 4 - len(workers(t)); missing > 0 {
		w.addNodes(t, fresh(missing))
	}
	w.console(t)
	w.settled(t)
}

// workers are the nodes that a pause removes.
func workers(t *testing.T) []corev1.Node {
	t.Helper()
	list, err := client.CoreV1().Nodes().List(t.Context(),
		metav1.ListOptions{LabelSelector: "provisioner.cast.ai/managed-by,!autoscaling.cast.ai/removal-disabled"})
	check(t, err)
	return slices.DeleteFunc(list.Items, func(n corev1.Node) bool { return n.Spec.Unschedulable })
}

// at returns what the status says that the cluster is at, and the number of
// leftovers.
func at(t *testing.T) (phase string, leftovers int) {
	t.Helper()
	var doc struct {
		Phase     string
		Leftovers []any
	}
	check(t, json.Unmarshal([]byte(document(t, "status", "-o", "json")), &doc))
	return doc.Phase, len(doc.Leftovers)
}

func document(t *testing.T, args ...string) string {
	t.Helper()
	return hibernate(t, 0, args...).Stdout
}

// asBefore fails the test unless everything is as it was, and no more is left.
func asBefore(t *testing.T, before map[string]map[string]any) {
	t.Helper()
	if differences := unlike(before, written(t)); len(differences) > 0 {
		t.Errorf("not as before:\n%s", strings.Join(differences, "\n"))
	}
	if phase, leftovers := at(t); phase != "awake" || leftovers > 0 {
		t.Errorf("the status says %s and %d leftovers", phase, leftovers)
	}
	if !enabled(t) {
		t.Error("the autoscaler is off")
	}
}

// Whatever request to Cast AI fails, and goes on failing: everything is taken back,
// or can be, once it is healed.
func TestFaultsOfTheAPI(t *testing.T) {
	w := small()
	w.install(t)
	for i, tc := range []struct {
		fault fakecastai.Fault
		name  string
		// one: only of one node.
		one bool
		// phase is what the cluster is at afterwards.
		phase string
	}{
		{name: "get-cluster", fault: fakecastai.Fault{Method: "GET", Path: "external-clusters/" + clusterID,
			Kind: fakecastai.Broken}, phase: "awake"},
		{name: "get-policies", fault: fakecastai.Fault{Method: "GET", Path: "/policies", Kind: fakecastai.Broken},
			phase: "awake"},
		{name: "put-policies", fault: fakecastai.Fault{Method: "PUT", Path: "/policies", Kind: fakecastai.Forbidden},
			phase: "awake"},
		{name: "add-node", fault: fakecastai.Fault{Method: "POST", Path: "/nodes", Kind: fakecastai.BadRequest},
			phase: "awake"},
		{name: "add-node-unheard", fault: fakecastai.Fault{Method: "POST", Path: "/nodes", Kind: fakecastai.Cut},
			phase: "paused"}, // the node is known by the label of the run
		{name: "operation", fault: fakecastai.Fault{Method: "GET", Path: "/operations/", Kind: fakecastai.NotFound},
			phase: "awake"},
		{name: "delete-node", fault: fakecastai.Fault{Method: "DELETE", Path: "/nodes/", Kind: fakecastai.Forbidden},
			phase: "awake"},
		{name: "delete-one-node", fault: fakecastai.Fault{Method: "DELETE", Kind: fakecastai.BadRequest}, one: true,
			phase: "pausing"},
	} {
		if !sample(i, 4) {
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			w.refill(t)
			before := written(t)
			if tc.one {
				tc.fault.Path = "/nodes/" + workers(t)[0].Labels["provisioner.cast.ai/node-id"]
			}
			fake.Inject(tc.fault)
			r := try(t, admin, known("pause", "--yes", "--protect-removal-disabled")...)
			fake.Heal()
			t.Logf("exit code %d in the end: %s", r.Code, last(r.Stderr))
			if (r.Code == 0) != (tc.phase == "paused") {
				t.Fatalf("want it %s: %s", tc.phase, r)
			}
			phase, leftovers := at(t)
			if phase != tc.phase || leftovers > 0 {
				t.Errorf("the status says %s and %d leftovers, want %s", phase, leftovers, tc.phase)
			}
			if phase == "pausing" {
				if r.Code != 4 {
					t.Errorf("a node is left, and the exit code is %d", r.Code)
				}
				hibernate(t, 0, known("pause", "--yes", "--protect-removal-disabled")...)
				if phase, _ := at(t); phase != "paused" {
					t.Errorf("after another pause it is %s", phase)
				}
			}
			if phase != "awake" {
				w.addNodes(t, fresh(4))
			}
			hibernate(t, 0, known("resume", "--yes", "--wait=false")...)
			asBefore(t, before)
		})
	}
}

// sample tells whether a case is tried: one of several, or all with CASTAI_CHAOS=all,
// for each takes most of a minute.
func sample(i, several int) bool { return os.Getenv("CASTAI_CHAOS") == "all" || i%several == several-1 }

// last returns the last line of an output.
func last(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	return lines[len(lines)-1]
}

// deny is a policy that refuses some updates of a kind, in the middle of a pause,
// and those with the annotation probe, to see whether it is in force.
const deny = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: deny}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [%q], apiVersions: [v1], operations: [UPDATE], resources: [%s]}]}
  validations:
  - {expression: %q, message: not tonight}
  - {expression: "!('probe' in object.metadata.?annotations.orValue({}))", message: in force}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: deny}
spec: {policyName: deny, validationActions: [Deny]}
`

func TestFaultsOfTheCluster(t *testing.T) {
	w := small()
	w.install(t)
	for i, tc := range []struct{ name, group, resource, expression string }{
		{"a cordon", "", "nodes", "object.metadata.name != 'od-1' || !has(object.spec.unschedulable)"},
		{"a mark", "", "nodes",
			"!object.metadata.name.startsWith('castai-node') || !('castai.kubectl.dev/hibernate' in object.metadata.?annotations.orValue({}))"},
		{"a toleration", "apps", "statefulsets", "object.spec.template.spec.?tolerations.orValue([]).size() == 0"},
	} {
		if !sample(i, 3) { // TestARefusedChangeIsTakenBack has each change refused
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			w.refill(t)
			before := written(t)
			check(t, server.Apply(t.Context(), fmt.Sprintf(deny, tc.group, tc.resource, tc.expression)))
			t.Cleanup(func() {
				if _, err := server.Kubectl(context.Background(), "delete",
					"validatingadmissionpolicies,validatingadmissionpolicybindings", "deny"); err != nil {
					t.Error(err)
				}
			})
			inForce(t, tc.resource)
			r := try(t, admin, known("pause", "--yes", "--protect-removal-disabled", "--namespaces-to-keep=monitoring",
				"--keep=one-pod")...)
			t.Logf("exit code %d in the end: %s", r.Code, last(r.Stderr))
			if r.Code != 1 || !strings.Contains(r.Stderr, "not tonight") ||
				!strings.Contains(r.Stderr, "everything was taken back") {
				t.Errorf("%s", r)
			}
			asBefore(t, before)
		})
	}
}

// inForce waits until the policy on a resource refuses what it should.
func inForce(t *testing.T, resource string) {
	t.Helper()
	object := map[string][]string{"nodes": {"node", "foreign-0"},
		"statefulsets": {"statefulset", "prometheus", "-n", "monitoring"}}[resource]
	probe := append(append([]string{"annotate", "--dry-run=server"}, object...), "probe=x")
	err := wait.PollUntilContextTimeout(t.Context(), 200*time.Millisecond, 20*time.Second, true,
		func(ctx context.Context) (bool, error) {
			_, err := server.Kubectl(ctx, probe...)
			return err != nil && strings.Contains(err.Error(), "in force"), nil
		})
	if err != nil {
		t.Fatalf("the policy is not in force: %v", err)
	}
}

// An interrupted pause takes back what it did.
func TestInterrupted(t *testing.T) {
	w := small()
	w.install(t)
	for _, title := range []string{"  make-node:", "Wait until what is essential runs"} {
		t.Run(strings.TrimSpace(title), func(t *testing.T) {
			w.refill(t)
			before := written(t)
			if code := stopped(t, os.Interrupt, title, known("pause", "--yes", "--protect-removal-disabled")...); code != 130 {
				t.Errorf("exit code %d", code)
			}
			asBefore(t, before)
		})
	}
}

// kill ends a command with SIGKILL as soon as it prints a text; false: it ended
// before.
func kill(t *testing.T, text string, args ...string) bool {
	t.Helper()
	return stopped(t, os.Kill, text, args...) == -1
}

// stopped runs a command, sends it a signal as soon as it prints a text, and
// returns its exit code; -1 if the signal has ended it.
func stopped(t *testing.T, signal os.Signal, text string, args ...string) int {
	t.Helper()
	at := func(line string) bool { return strings.HasPrefix(line, text) }
	return admin.FollowTo(t, at, signal, append([]string{"hibernate"}, args...)...).Code
}

// A pause that is killed, at whatever step, is finished by another one or taken
// back by a resume, and the status tells where it stands.
func TestKilled(t *testing.T) {
	w := small()
	w.install(t)
	for i, tc := range []struct {
		title string
		phase string
	}{
		{"Write down what is about to be done", "awake pausing"},
		{"Stop the autoscaler", "pausing"},
		{"Prepare the hibernation node", "pausing"},
		{"  make-node:", "pausing"},
		{"Write down the hibernation node", "pausing"},
		{"Cordon the nodes that go", "pausing"},
		{"Let what is essential run", "pausing"},
		{"Wait until what is essential runs", "pausing"},
		{"Have Cast AI drain and delete", "pausing"},
		{"Take the taint off", "pausing"},
		{"Write down how it went", "pausing paused"},
	} {
		if !sample(i, 10) { // TestKilledAtEachWrite has each write be the last
			continue
		}
		for _, then := range []string{"resume", "pause"}[i%2 : i%2+1] {
			t.Run(strings.TrimSpace(tc.title)+", then "+then, func(t *testing.T) {
				w.refill(t)
				before := written(t)
				if !kill(t, tc.title, known("pause", "--yes", "--protect-removal-disabled")...) {
					t.Fatal("it ended before that step")
				}
				if phase, leftovers := at(t); !strings.Contains(tc.phase, phase) || leftovers > 0 {
					t.Errorf("the status says %s and %d leftovers, want %s", phase, leftovers, tc.phase)
				}
				if then == "pause" {
					hibernate(t, 0, known("pause", "--yes", "--protect-removal-disabled")...)
					if phase, _ := at(t); phase != "paused" {
						t.Errorf("after another pause it is %s", phase)
					}
					if names := nodeNames(t); len(names) != 3 {
						t.Errorf("after another pause these nodes are left: %v", names)
					}
				}
				hibernate(t, 0, known("resume", "--yes", "--wait=false")...)
				asBefore(t, before)
			})
		}
	}
	for i, title := range []string{"Write down what is about to be done", "Start the autoscaler",
		"Take back what the pause did", "Write down how it went"} {
		if !sample(i, 3) {
			continue
		}
		t.Run("resume: "+title, func(t *testing.T) {
			w.refill(t)
			before := written(t)
			hibernate(t, 0, known("pause", "--yes", "--protect-removal-disabled")...)
			if !kill(t, title, known("resume", "--yes", "--wait=false")...) {
				t.Fatal("it ended before that step")
			}
			if phase, _ := at(t); phase == "pausing" {
				t.Errorf("the status says %s", phase)
			}
			hibernate(t, 0, known("resume", "--yes", "--wait=false")...)
			asBefore(t, before)
		})
	}
}
