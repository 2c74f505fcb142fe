package hibernate

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// Namespaces to keep keep the nodes that their pods run on, and nothing of them is
// touched; the plan says what that costs.
func TestNamespacesToKeepKeepTheirNodes(t *testing.T) {
	daemon := strings.Replace(aPod("monitoring/logs-1", "c", "logs", "{name: c}", true), "kind: ReplicaSet",
		"kind: DaemonSet", 1)
	s := situation(t, aNode("a")+aNode("b", "type=m7g.large")+aNode("c")+
		aWorkload("Deployment", "monitoring/grafana", "containers: [{name: c}]", 1)+daemon+
		aPod("monitoring/grafana-1", "a", "grafana", "{name: c}", true)+aPod("monitoring/grafana-2", "a", "grafana",
		"{name: c}", true)+
		aPod("monitoring/db-0", "b", "db", "{name: c}", true)+aPod("shop/web-1", "c", "web", "{name: c}", true))
	o := options()
	o.NamespacesToKeep = []string{"monitoring"}
	p := plan(t, s, o)
	if got := nodeList(p.going()); got != "c" {
		t.Errorf("%s go", got)
	}
	if len(p.Tolerate) > 0 || len(p.Essential) > 0 {
		t.Errorf("it moves %v", p.Essential)
	}
	if w := strings.Join(p.Warnings, "\n"); !strings.Contains(w, "keep 2 nodes (1 m7g.large, 1 m7g.xlarge) for 3 pods") ||
		!strings.Contains(w, "--keep=one-pod") {
		t.Errorf("it does not say what it costs: %s", w)
	}
	o.Keep = KeepOnePod
	p = plan(t, s, o)
	if got := nodeList(p.going()); got != "a b c" || len(p.Tolerate) != 1 ||
		!strings.Contains(strings.Join(p.Warnings, ""), "one pod each") {
		t.Errorf("one pod each: %s go, %v move: %v", got, p.Tolerate, p.Warnings)
	}
}

// A pod without a controller in a namespace to keep is not lost.
func TestKeptPodsAreNotLost(t *testing.T) {
	pod := aPod("monitoring/debug", "a", "debug", "{name: c}", true)
	before, _, _ := strings.Cut(pod, ", ownerReferences")
	_, spec, _ := strings.Cut(pod, "}\nspec")
	pod = before + "}\nspec" + spec
	o := options()
	o.NamespacesToKeep = []string{"monitoring"}
	if p := plan(t, situation(t, aNode("a")+aNode("b")+pod), o); nodeList(p.going()) != "b" {
		t.Errorf("%s go", nodeList(p.going()))
	}
}

// Nothing makes a node for a pod in the night.
func TestKeptPodsWithoutANodeAreNamed(t *testing.T) {
	waits := func(name, cpu string) string {
		pod := strings.Replace(aPod("monitoring/"+name, "x", "w", "{name: c, resources: {requests: {cpu: "+cpu+"}}}", false),
			`nodeName: "x", `, "", 1)
		return strings.Replace(pod, "phase: Running", "phase: Pending", 1)
	}
	daemon := strings.ReplaceAll(waits("daemon", "64"), "ReplicaSet", "DaemonSet")
	for name, keep := range map[string][]string{"kept": {"monitoring"}, "not kept": nil} {
		o := options()
		o.NamespacesToKeep = keep
		p := plan(t, situation(t, aNode("a")+aNode("b")+waits("huge", "64")+waits("small", "100m")+daemon), o)
		said := strings.Join(p.Warnings, "\n")
		if strings.Contains(said, "monitoring/huge") != (keep != nil) || strings.Contains(said, "monitoring/small") ||
			strings.Contains(said, "monitoring/daemon") {
			t.Errorf("%s: it says %s", name, said)
		}
		if want := map[bool]string{true: "b", false: "a b"}[keep != nil]; nodeList(p.going()) != want {
			t.Errorf("%s: %s go, and not %s", name, nodeList(p.going()), want)
		}
	}
}

func TestProtectedNodesThatGoAreNamed(t *testing.T) {
	p := plan(t, situation(t, aNode("precious", removalDisabled+"=true")+aNode("b")), options())
	if !strings.Contains(strings.Join(p.Warnings, ""), "precious") {
		t.Errorf("it is not said: %v", p.Warnings)
	}
}

// A pod that is to be kept and starts on a node that goes, right before that is
// cordoned, keeps it.
func TestWhatStartsMeanwhileIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := evening(t, "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: monitoring}\n")
		objects, err := clustertest.Parse([]byte(aPod("monitoring/late", "b", "late", "{name: c, image: i}", true)))
		if err != nil {
			t.Fatal(err)
		}
		started := false
		n.server.Before(func(r *clustertest.Request) clustertest.Fault {
			if !started && r.Verb == "patch" && r.Resource == "nodes" && r.Name == "b" {
				started = true
				n.server.Put(objects...)
			}
			return clustertest.Fault{}
		})
		o := options()
		o.NamespacesToKeep = []string{"monitoring"}
		if err := n.pause(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n.names() != "b made-3" || slices.Contains(n.left(), "b is cordoned") {
			t.Errorf("these nodes are left: %s; %v", n.names(), n.left())
		}
		if err := n.resume(t.Context(), ResumeOptions{Run: "r2", By: "me"}); err != nil || len(n.left()) > 0 {
			t.Errorf("%v: %v", err, n.left())
		}
	})
}
