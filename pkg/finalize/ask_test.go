package finalize_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
	"github.com/castai/kubectl-castai/pkg/finalize"
)

// admission is a webhook that is called for updates of a resource.
func admission(name, resource string, seconds int64) *unstructured.Unstructured {
	u := clustertest.Object("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "", name)
	u.Object["webhooks"] = []any{map[string]any{
		"name": name + ".example.com", "timeoutSeconds": seconds,
		"clientConfig": map[string]any{"url": "https://" + name + ".example.com"},
		"rules": []any{map[string]any{
			"operations": []any{"UPDATE"}, "apiGroups": []any{"*"}, "apiVersions": []any{"*"}, "resources": []any{resource},
		}},
	}}
	return u
}

// held puts a ConfigMap with 40 finalizers and a Secret with one into a server.
func heldBy40(t *testing.T, webhooks ...*unstructured.Unstructured) *clustertest.Server {
	t.Helper()
	var finalizers []string
	for i := range 40 {
		finalizers = append(finalizers, fmt.Sprintf("example.com/hold-%02d", i))
	}
	server := clustertest.Serve(t,
		deleted(clustertest.Object("v1", "Namespace", "", "shop")),
		deleted(clustertest.Object("v1", "ConfigMap", "shop", "a"), finalizers...),
		deleted(clustertest.Object("v1", "Secret", "shop", "s"), "example.com/hold"),
	)
	for _, w := range webhooks {
		server.Put(w)
	}
	return server
}

// TestHangingWebhookCostsOneWait holds that a webhook that hangs is waited for once, however many classes of
// objects it catches, and that what it does not catch is asked about.
func TestHangingWebhookCostsOneWait(t *testing.T) {
	const silent = `; the API server calls the admission webhook "slow.example.com"`
	for name, tc := range map[string]struct {
		webhooks []*unstructured.Unstructured
		fault    clustertest.Fault
		after    time.Duration // of the answer
		refused  string        // "": nothing is foreseen
	}{
		"no answer": {[]*unstructured.Unstructured{admission("slow", "configmaps", 30)},
			clustertest.Fault{Hang: true}, 0, "no answer within 15s" + silent},
		"no answer, and another webhook that can't be why": {
			[]*unstructured.Unstructured{admission("slow", "*", 30), admission("quick", "configmaps", 5)},
			clustertest.Fault{Hang: true}, 0, "no answer within 15s" + silent},
		"the server names it": {[]*unstructured.Unstructured{admission("slow", "*", 10), admission("quick", "configmaps", 5)},
			clustertest.Fault{Err: apierrors.NewInternalError(fmt.Errorf(
				`failed calling webhook "slow.example.com": context deadline exceeded`))},
			10 * time.Second, `failed calling webhook "slow.example.com"`},
		"its failure is ignored": {[]*unstructured.Unstructured{admission("slow", "configmaps", 10)},
			clustertest.Fault{}, 10 * time.Second, ""},
		"nobody knows why": {nil, clustertest.Fault{Hang: true}, 0, "no answer within 15s"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := heldBy40(t, tc.webhooks...)
				var mu sync.Mutex
				asked := map[string]int{}
				server.Before(func(r *clustertest.Request) clustertest.Fault {
					if r.Verb != "patch" {
						return clustertest.Fault{}
					}
					mu.Lock()
					asked[r.Resource]++
					mu.Unlock()
					if r.Resource != "configmaps" {
						return clustertest.Fault{}
					}
					time.Sleep(tc.after)
					return tc.fault
				})
				r := &finalize.Runner{Cluster: server.Client(), Namespaces: []string{"shop"}}
				began := time.Now()
				d := judged(t, r)[0]
				if took := time.Since(began); took > 16*time.Second || asked["configmaps"] > 8 {
					t.Errorf("it took %s, asked %v", took, asked)
				}
				var refused []string
				for _, c := range d.Causes {
					if c.Type == finalize.RefusedUpdate {
						refused = append(refused, c.Summary)
					}
				}
				switch all := strings.Join(refused, "\n"); {
				case tc.refused == "" && all != "", !strings.Contains(all, tc.refused):
					t.Errorf("refused: %s", all)
				case strings.Contains(tc.refused, "slow") && !strings.Contains(all, "ValidatingWebhookConfiguration slow"):
					t.Errorf("it does not name the webhook: %s", all)
				}
			})
		})
	}
}

// TestWhatAHangingWebhookDoesNotCatch holds that a refusal of somebody else is foreseen beside a webhook that hangs,
// and that nothing is said of what has match conditions, by which the webhook may leave it out.
func TestWhatAHangingWebhookDoesNotCatch(t *testing.T) {
	for _, conditional := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := admission("slow", "configmaps", 30)
			if conditional {
				hooks := w.Object["webhooks"].([]any)
				hooks[0].(map[string]any)["matchConditions"] = []any{map[string]any{"name": "c", "expression": "true"}}
			}
			server := heldBy40(t, w)
			server.Before(func(r *clustertest.Request) clustertest.Fault {
				switch {
				case r.Verb != "patch":
				case r.Resource == "configmaps":
					return clustertest.Fault{Hang: true}
				case r.Resource == "secrets":
					return clustertest.Fault{Err: forbidden("no secrets")}
				}
				return clustertest.Fault{}
			})
			o, err := (&finalize.Runner{Cluster: server.Client(), Namespaces: []string{"shop"}}).Observe(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			refused, others := 0, ""
			for class, s := range o.Samples {
				switch {
				case class.Resource.Resource == "secrets":
					others = s.Refused
				case s.Unanswered:
					refused++
				}
			}
			want := 40
			if conditional {
				want = 8
			}
			if !strings.Contains(others, "no secrets") || refused != want {
				t.Errorf("%d classes are not answered for, want %d; of the Secret: %q", refused, want, others)
			}
		})
	}
}
