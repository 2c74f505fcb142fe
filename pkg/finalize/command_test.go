package finalize

import (
	"strings"
	"testing"
	"time"
)

// What is done by hand is what is done here: nothing where the remedy is to wait or to ask, and all
// that may go from an object at once, because no finalizer can be put back.
func TestCommands(t *testing.T) {
	for name, tc := range map[string]struct {
		build func(*world)
		opts  func(*Options)
		want  []string // of each cause: its command, or "look " and what shows more
	}{
		"two finalizers of one object": {
			build: func(w *world) {
				w.add("widgets", "x", "w1", deleting, held("a.example.com/one", "b.example.com/two"))
			},
			want: []string{
				`kubectl patch widgets.example.com/w1 -n x --type=merge -p '{"metadata":{"finalizers":[]}}'`,
				`kubectl patch widgets.example.com/w1 -n x --type=merge -p '{"metadata":{"finalizers":[]}}'`,
			},
		},
		"two finalizers, of which one is asked for": {
			build: func(w *world) {
				w.add("services", "x", "s", deleting, held("example.com/one", "service.kubernetes.io/load-balancer-cleanup"))
			},
			want: []string{
				"kubectl patch services/s -n x --type=merge -p " +
					`'{"metadata":{"finalizers":["service.kubernetes.io/load-balancer-cleanup"]}}'`,
				"look kubectl describe services/s -n x",
			},
		},
		"a controller that lives": {
			build: func(w *world) {
				w.add("widgets", "x", "w1", deleting, held("acme.cert-manager.io/finalizer"))
				w.certManager()
			},
			want: []string{"look kubectl describe widgets.example.com/w1 -n x"},
		},
		"a finalizer that was not allowed": {
			build: func(w *world) { w.add("widgets", "x", "w1", deleting, held("example.com/one")) },
			opts:  func(o *Options) { o.Allow = castAIOnly },
			want:  []string{"look kubectl describe widgets.example.com/w1 -n x"},
		},
		"a finalizer of the namespace, with something in it": {
			build: func(w *world) {
				w.namespace("x", held("example.com/hold"))
				w.add("configmaps", "x", "a", deletingSince(time.Second), held("example.com/one"))
			},
			want: []string{
				`kubectl patch configmaps/a -n x --type=merge -p '{"metadata":{"finalizers":[]}}'`,
				"look kubectl describe namespaces/x",
			},
		},
		"a finalizer of the namespace, with nothing in it": {
			build: func(w *world) { w.namespace("x", held("example.com/hold")) },
			want:  []string{finalizeCommand("x")},
		},
		"two finalizers of the namespace, of which one is not allowed": {
			build: func(w *world) { w.namespace("x", held("cast.ai/hold", "example.com/hold")) },
			opts:  func(o *Options) { o.Allow = castAIOnly },
			want: []string{
				`kubectl patch namespaces/x --type=merge -p '{"metadata":{"finalizers":["example.com/hold"]}}'`,
				"look kubectl describe namespaces/x",
			},
		},
		"a finalizer of the namespace, and the conditions say that something is in it": {
			build: func(w *world) {
				w.namespace("x", held("example.com/hold"), conditionsOf("NamespaceContentRemaining", "True",
					"Some resources are remaining: events.example.com has 1 resource instances"))
			},
			want: []string{
				"look kubectl get namespace x -o jsonpath={.status.conditions}",
				"look kubectl describe namespaces/x",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, o := newWorld(), options()
			tc.build(w)
			if w.obs().namespace("x") == nil {
				w.namespace("x")
			}
			if tc.opts != nil {
				tc.opts(&o)
			}
			var got []string
			for _, c := range diagnose(t, w, "x", o).Causes {
				if c.Command != "" && c.Look != "" {
					t.Errorf("both %q and %q", c.Command, c.Look)
				}
				if c.Look != "" {
					c.Command = "look " + c.Look
				}
				got = append(got, c.Command)
			}
			if strings.Join(got, "\n") != strings.Join(tc.want, "\n") {
				t.Errorf("commands:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
		})
	}
}
