package finalize

import (
	"strings"
	"testing"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// TestOwners holds that who should remove a finalizer is found from evidence, and
// that nothing else is taken for it.
func TestOwners(t *testing.T) {
	const day = 24 * time.Hour
	for _, tc := range []struct {
		name  string
		build func(w *world, o *cluster.Object)
		alive Liveness
		says  string
	}{
		{"nobody", func(*world, *cluster.Object) {}, Gone, "no workload, Lease or role"},
		{"a writer that is a ready Deployment", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.operator("tools", "widget-operator", "default", 1)
			w.grant("tools", "default", "*", "*")
		}, Alive, "Deployment tools/widget-operator has 1 ready pods, and widget-operator is a writer"},
		{"a writer that is the ServiceAccount of a ready Deployment", func(w *world, o *cluster.Object) {
			w.wrote(o, "widgets", day)
			w.operator("tools", "x", "widgets", 1)
			w.grant("tools", "widgets", "*", "*")
		}, Alive, "widgets is a writer"},
		{"a writer whose Deployment is not ready", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.operator("tools", "widget-operator", "default", 0)
		}, AliveUnsure, "Deployment tools/widget-operator has no ready pod yet, and widget-operator is a writer"},
		{"a writer whose Deployment is scaled down", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.scaled(w.operator("tools", "widget-operator", "default", 0), 0)
			w.grant("tools", "default", "*", "*")
		}, AliveUnsure, "Deployment tools/widget-operator is scaled down to 0, and widget-operator is a writer"},
		{"a writer whose Deployment is being deleted and has no pods", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			deleting(w.operator("tools", "widget-operator", "default", 0))
			w.grant("tools", "default", "*", "*")
		}, Gone, "Deployment tools/widget-operator is being deleted, has no ready pod"},
		{"a writer whose Deployment goes with its namespace", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.namespace("tools")
			w.operator("tools", "widget-operator", "default", 0)
			w.grant("tools", "default", "*", "*")
		}, Gone, "Deployment tools/widget-operator goes with its namespace, has no ready pod"},
		{"a writer whose DaemonSet wants no pods now", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.daemon("tools", "widget-operator", 0, 0)
		}, AliveUnsure, "DaemonSet tools/widget-operator has no node to run on"},
		{"a writer whose DaemonSet has no ready pod", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.daemon("tools", "widget-operator", 3, 0)
		}, AliveUnsure, "DaemonSet tools/widget-operator has no ready pod yet"},
		{"a writer that is not in the cluster", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
		}, Gone, "last written by widget-operator"},
		{"a writer somewhere else that is at it", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", time.Minute)
		}, AliveUnsure, "after its deletion"},
		{"a person who wrote after the deletion", func(w *world, o *cluster.Object) {
			w.wrote(o, "kubectl-edit", time.Minute)
		}, Gone, ""},
		{"a framework's name for a binary says nothing", func(w *world, o *cluster.Object) {
			w.wrote(o, "manager", day)
			w.operator("tools", "other", "other", 1)
		}, Gone, ""},
		{"a framework's name for a binary, of a container that may not write", func(w *world, o *cluster.Object) {
			w.wrote(o, "manager", day)
			w.operator("tools", "other", "other", 1)
			w.grant("tools", "other", "other.io", "*")
		}, Gone, ""},
		{"a framework's name for a binary, of a container that may write everything", func(w *world, o *cluster.Object) {
			w.wrote(o, "manager", day)
			w.operator("tools", "other", "other", 1)
			w.grant("tools", "other", "*", "*")
		}, AliveUnsure, "Deployment tools/other has 1 ready pods, may write widgets.example.com, and manager, which is a " +
			"writer of the objects, is one of its names"},
		{"a framework's name for a binary, of a container that is not ready", func(w *world, o *cluster.Object) {
			w.wrote(o, "manager", day)
			w.operator("tools", "other", "other", 0)
			w.grant("tools", "other", "*", "*")
		}, AliveUnsure, "Deployment tools/other has no ready pod yet"},
		{"a framework's name that a command bears", func(w *world, o *cluster.Object) {
			w.wrote(o, "operator", day)
			w.runsCommand(w.operator("tools", "other", "other", 1), "/usr/bin/operator", "--leader-elect")
			w.grant("tools", "other", "*", "*")
		}, AliveUnsure, "operator, which is a writer of the objects, is one of its names"},
		{"a command that bears the name of the writer", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.runsCommand(w.operator("tools", "other", "other", 1), "/widget-operator")
			w.grant("tools", "other", "*", "*")
		}, Alive, "widget-operator is a writer of the objects"},
		{"a workload that is called like the domain and may write everything", func(w *world, _ *cluster.Object) {
			w.operator("tools", "example-controller", "x", 1)
			w.grant("tools", "x", "*", "*")
		}, AliveUnsure, "Deployment tools/example-controller has 1 ready pods, may write widgets.example.com, and it is " +
			"called like example.com"},
		{"a workload in a namespace that is called like the domain", func(w *world, _ *cluster.Object) {
			w.operator("example-system", "controller-manager", "x", 1)
			w.grant("example-system", "x", "*", "*")
		}, AliveUnsure, "it is called like example.com"},
		{"a workload that is called like the domain, and its Lease", func(w *world, _ *cluster.Object) {
			w.operator("tools", "example-controller", "x", 1)
			w.grant("tools", "x", "*", "*")
			w.lease("example-controller-leader", "a-pod", time.Second)
		}, AliveUnsure, "it is called like example.com"},
		{"a workload that is called like the domain and may not write", func(w *world, _ *cluster.Object) {
			w.operator("tools", "example-controller", "x", 1)
		}, Gone, ""},
		{"a workload that is called nearly like the writer and may write everything", func(w *world, o *cluster.Object) {
			w.wrote(o, "gizmo-operator", day)
			w.operator("tools", "gizmo-controller-manager", "x", 1)
			w.grant("tools", "x", "*", "*")
		}, AliveUnsure, "it is called like gizmo-operator"},
		{"a workload that is called otherwise and may write everything", func(w *world, o *cluster.Object) {
			w.wrote(o, "gizmo-operator", day)
			w.operator("tools", "gizmos-controller-manager", "operator", 1)
			w.grant("tools", "operator", "*", "*")
		}, Gone, ""},
		{"a role that names the group", func(w *world, _ *cluster.Object) {
			w.operator("tools", "x", "gadgets", 1)
			w.lets("example.com", "widgets")
		}, Alive, "ClusterRole writes-example.com lets it write widgets.example.com"},
		{"a role for the finalizers of the kind", func(w *world, _ *cluster.Object) {
			w.operator("tools", "x", "gadgets", 1)
			w.lets("example.com", "widgets/finalizers")
		}, AliveUnsure, "no role lets its ServiceAccount tools/gadgets write widgets.example.com"},
		{"a role for all groups says nothing", func(w *world, _ *cluster.Object) {
			w.operator("tools", "x", "gadgets", 1)
			w.lets("*", "*")
		}, Gone, ""},
		{"a role of somebody who does not run", func(w *world, _ *cluster.Object) {
			w.operator("tools", "x", "gadgets", 0)
			w.lets("example.com", "widgets")
		}, AliveUnsure, "Deployment tools/x has no ready pod yet"},
		{"a Lease that is held, named after the writer", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.lease("widget-operator-leader", "somewhere", 5*time.Second)
			w.grant("tools", "x", "*", "*")
		}, Alive, "somewhere holds the Lease tools/widget-operator-leader"},
		{"a Lease that is held, named after the domain", func(w *world, _ *cluster.Object) {
			w.lease("4f2a.example.com", "pod_1", 5*time.Second)
			w.grant("tools", "x", "*", "*")
		}, Alive, "holds the Lease"},
		{"a Lease of the cloud in kube-system", func(w *world, _ *cluster.Object) {
			w.owners.Objects = append(w.owners.Objects, w.leaseOf("kube-system", "4f2a.example.com", "cloud", 5*time.Second))
		}, Alive, "cloud holds the Lease"},
		{"a Lease of a tenant, by that name", func(w *world, _ *cluster.Object) {
			w.lease("4f2a.example.com", "eve", 5*time.Second)
		}, AliveUnsure, "no role lets a ServiceAccount of namespace tools write widgets.example.com"},
		{"a Deployment of a tenant, by that name", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.operator("shop", "widget-operator", "", 1)
			w.grant("tools", "widget-operator", "*", "*")
		}, AliveUnsure, "no role lets its ServiceAccount shop/default write widgets.example.com"},
		{"a Deployment of a tenant who may write elsewhere", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.operator("shop", "widget-operator", "", 1)
			w.grant("shop", "default", "*", "*")
			b := w.owners.Objects[1]
			b.Resource, b.Namespace = w.resources["rolebindings"], "shop"
		}, AliveUnsure, "no role lets"},
		{"a Deployment of a tenant beside the owner", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.operator("shop", "widget-operator", "", 1)
			w.operator("tools", "widget-operator", "", 1)
			w.grant("tools", "default", "*", "*")
		}, Alive, "Deployment tools/widget-operator"},
		{"a writer in a group of ServiceAccounts", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.operator("tools", "widget-operator", "", 1)
			w.grant("", "", "example.com", "*")
			w.owners.Objects[1].Body["subjects"] = []any{map[string]any{"kind": "Group", "name": "system:serviceaccounts:tools"}}
		}, Alive, "Deployment tools/widget-operator"},
		{"a writer as a user", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.operator("tools", "widget-operator", "", 1)
			w.grant("", "", "example.com", "*")
			w.owners.Objects[1].Body["subjects"] = []any{map[string]any{"kind": "User",
				"name": "system:serviceaccount:tools:default"}}
		}, Alive, "Deployment tools/widget-operator"},
		{"a writer that may only read", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.operator("tools", "widget-operator", "", 1)
			w.grant("tools", "default", "*", "*")
			w.owners.Objects[0].Body["rules"].([]any)[0].(map[string]any)["verbs"] = []any{"get", "list"}
		}, AliveUnsure, "no role lets"},
		{"a writer of whose rights nobody knows", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.operator("tools", "widget-operator", "", 1)
			w.owners.Unreadable = []cluster.Unreadable{{What: "rolebindings.rbac.authorization.k8s.io", Forbidden: true}}
		}, AliveUnsure, "rolebindings.rbac.authorization.k8s.io can't be read"},
		{"a writer outside of the cluster, as a user", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.grantTo("User", "ops@example.com", "example.com", "widgets")
		}, AliveUnsure, "ClusterRole writes-example.com lets User ops@example.com write widgets.example.com, and " +
			"nothing that runs in this cluster is widget-operator, a writer of the objects"},
		{"a writer outside of the cluster, in a group", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.grantTo("Group", "operators", "example.com", "*")
		}, AliveUnsure, "lets Group operators write"},
		{"a writer outside of the cluster that is called like a user who may write everything",
			func(w *world, o *cluster.Object) {
				w.wrote(o, "widget-operator", day)
				w.grantTo("User", "oidc:widget-operator@example.com", "*", "*")
			}, AliveUnsure, "lets User oidc:widget-operator@example.com write"},
		{"a writer that is gone, and users who may write everything", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.grantTo("User", "alice", "*", "*")
		}, Gone, "no workload, Lease or role of the cluster points to one"},
		{"a writer that is gone, and administrators", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.grantTo("Group", "system:masters", "example.com", "*")
		}, Gone, ""},
		{"a writer that is gone, and users elsewhere", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.grantTo("User", "bob", "example.com", "widgets")
			b := w.owners.Objects[1]
			b.Resource, b.Namespace = w.resources["rolebindings"], "shop"
		}, Gone, ""},
		{"a writer that is gone, and users who may only read", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.grantTo("User", "bob", "example.com", "widgets")
			w.owners.Objects[0].Body["rules"].([]any)[0].(map[string]any)["verbs"] = []any{"get", "list"}
		}, Gone, ""},
		{"what a person wrote, and users who may write it", func(w *world, o *cluster.Object) {
			w.wrote(o, "kubectl-edit", day)
			w.grantTo("Group", "developers", "example.com", "widgets")
		}, Gone, "no workload or Lease of the cluster points to one"},
		{"a user outside of the cluster, and a tenant's Deployment that ends", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			deleting(w.operator("x", "widget-operator", "", 0))
			w.grantTo("User", "ops@example.com", "example.com", "widgets")
		}, AliveUnsure, "Deployment x/widget-operator is being deleted, has no ready pod, and widget-operator is a writer " +
			"of the objects, but ClusterRole writes-example.com lets User ops@example.com write"},
		{"a ServiceAccount as which nothing runs", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.lets("example.com", "widgets")
		}, Gone, "no workload runs as ServiceAccount tools/gadgets, which ClusterRole writes-example.com lets write " +
			"widgets.example.com"},
		{"a controller of Kubernetes' own that writes the kind", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.lets("example.com", "widgets")
			w.owners.Objects[0].Name = "system:controller:widgets"
			w.owners.Objects[1].Body["roleRef"].(map[string]any)["name"] = "system:controller:widgets"
		}, Gone, "no workload, Lease or role of the cluster points to one"},
		{"a writer whose Deployment is being deleted and may not write", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			deleting(w.operator("shop", "widget-operator", "default", 0))
		}, AliveUnsure, "but no role lets its ServiceAccount shop/default write"},
		{"a Lease that was held", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.lease("widget-operator-leader", "widget-operator-1", time.Hour)
		}, Gone, ""},
		{"a Lease that is held in years to come", func(w *world, _ *cluster.Object) {
			w.lease("4f2a.example.com", "eve", -24*365*time.Hour)
		}, Gone, ""},
		{"a bare pod with the rights", func(w *world, _ *cluster.Object) {
			w.loose("widget-ctl", "", true)
			w.lets("example.com", "widgets")
		}, Alive, "Pod tools/widget-ctl is ready, and ClusterRole writes-example.com lets it write widgets.example.com"},
		{"a pod of a kind that nobody knows", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.loose("x", "widget-operator", true)
			w.lets("*", "*")
		}, Alive, "widget-operator is a writer"},
		{"a bare pod that is not ready", func(w *world, _ *cluster.Object) {
			w.loose("widget-ctl", "", false)
			w.lets("example.com", "widgets")
		}, AliveUnsure, "Pod tools/widget-ctl is not ready yet"},
		{"pods that can't be read", func(w *world, _ *cluster.Object) { w.unseen = true }, AliveUnsure, "not everything"},
		{"a Lease of somebody else", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", day)
			w.lease("other", "other-1", time.Second)
		}, Gone, ""},
		{"objects that do not say who wrote them", func(w *world, o *cluster.Object) {
			w.samples[classOf(o, "example.com/hold")] = Sample{Untracked: true}
		}, AliveUnsure, "do not say who wrote them"},
		{"roles that can't be read", func(w *world, _ *cluster.Object) {
			w.owners.Unreadable = []cluster.Unreadable{{What: "clusterroles.rbac.authorization.k8s.io", Forbidden: true}}
		}, AliveUnsure, "not everything that tells could be read"},
		{"an API that does not answer, but has nothing to do with it", func(w *world, _ *cluster.Object) {
			w.owners.Unreadable = []cluster.Unreadable{{What: "example.com/v1", GroupVersion: "example.com/v1"}}
		}, Gone, ""},
		{"workloads that can be read only here", func(w *world, _ *cluster.Object) {
			w.snap.Elsewhere = []string{"deployments.apps"}
		}, AliveUnsure, "not everything that tells could be read"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld()
			w.namespace("x")
			o := w.add("widgets", "x", "a", deleting, held("example.com/hold"))
			tc.build(w, o)
			d := diagnose(t, w, "x", options())
			c := d.Causes[0]
			if c.Controller.Alive != tc.alive || !strings.Contains(c.Controller.Evidence, tc.says) {
				t.Fatalf("%s: %s", c.Controller.Alive, c.Controller.Evidence)
			}
			stripped := len(clearActions(d, false)) > 0
			if want := tc.alive == Gone; stripped != want || c.Asks != (tc.alive == AliveUnsure) {
				t.Errorf("stripped: %t, asks: %t", stripped, c.Asks)
			}
			for _, p := range Preview([]*Diagnosis{d}, options()).Phases {
				if (p.Name == "clear" || p.Name == "later") && tc.alive != Gone {
					t.Errorf("phase %s", p.Name)
				}
			}
			o2 := options()
			o2.Force = true
			if refused := Refuse(d, o2) != nil; refused != (tc.alive == Alive) {
				t.Errorf("refused by force: %t", refused)
			}
			// By force, an orphan that nobody is known to clean up is not left behind.
			forced := diagnose(t, w, "x", o2)
			if may := len(forced.may[o]) > 0; may != (tc.alive != Alive) {
				t.Errorf("removed by force: %t", may)
			}
			o2 = options()
			o2.Named = []string{"example.com/hold"}
			if c := diagnose(t, w, "x", o2).Causes[0]; c.Action != ClearFinalizers {
				t.Errorf("named: %s", c.Action)
			}
		})
	}
}

// TestDeadDeploymentOfATenant holds that what a tenant lets die under the name of a finalizer does not
// turn what nobody knows into something certain.
func TestDeadDeploymentOfATenant(t *testing.T) {
	for name, bear := range map[string]func(w *world, o *cluster.Object){
		"no ready pod":          func(*world, *cluster.Object) {},
		"scaled down":           func(w *world, o *cluster.Object) { w.scaled(o, 0) },
		"being deleted":         func(_ *world, o *cluster.Object) { deleting(o) },
		"being deleted with it": func(_ *world, o *cluster.Object) { deleting(o); o.Namespace = "x" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.namespace("x")
			o := w.add("widgets", "x", "a", deleting, held("example.com/hold-s3"))
			w.samples[classOf(o, "example.com/hold-s3")] = Sample{Untracked: true}
			bear(w, w.operator("shop", "hold-s3", "", 0))
			if c := diagnose(t, w, "x", options()).Causes[0]; c.Controller.Alive != AliveUnsure || !c.Asks {
				t.Errorf("%s: %s", c.Controller.Alive, c.Controller.Evidence)
			}
		})
	}
}

// TestStartingOwner holds that a controller that is only starting gets its time before anybody is asked,
// also if it is not certain to be the one, and that one without the rights gets none.
func TestStartingOwner(t *testing.T) {
	for _, tc := range []struct {
		name   string
		build  func(w *world, o *cluster.Object)
		waited bool
	}{
		{"starting", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", time.Hour)
			w.operator("tools", "widget-operator", "default", 0)
			w.grant("tools", "default", "*", "*")
		}, true},
		{"starting, without rights", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", time.Hour)
			w.operator("tools", "widget-operator", "default", 0)
		}, false},
		{"scaled down", func(w *world, o *cluster.Object) {
			w.wrote(o, "widget-operator", time.Hour)
			w.scaled(w.operator("tools", "widget-operator", "default", 0), 0)
			w.grant("tools", "default", "*", "*")
		}, false},
		{"a framework's name", func(w *world, o *cluster.Object) {
			w.wrote(o, "manager", time.Hour)
			w.operator("tools", "other", "default", 1)
			w.grant("tools", "default", "*", "*")
		}, true},
		{"a sign of life from elsewhere", func(w *world, o *cluster.Object) {
			w.wrote(o, "elsewhere", 30*time.Second)
		}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld()
			w.namespace("x", deletingSince(time.Minute))
			o := w.add("widgets", "x", "a", deletingSince(time.Minute), held("example.com/hold"))
			tc.build(w, o)
			d := diagnose(t, w, "x", options())
			c := d.Causes[0]
			if c.Controller.Alive != AliveUnsure || (c.Action == Wait) != tc.waited || c.Asks == tc.waited {
				t.Fatalf("%s, asks: %t, %s", c.Action, c.Asks, c.Controller.Evidence)
			}
			if want := noon.Add(4 * time.Minute); tc.waited && (!c.Until.Equal(want) || d.Stuck()) {
				t.Errorf("until %s, want %s; stuck: %t", c.Until, want, d.Stuck())
			}
			o2 := options()
			o2.Force = true
			if refused := Refuse(diagnose(t, w, "x", o2), o2) != nil; refused != tc.waited {
				t.Errorf("refused by force: %t", refused)
			}
			late := options()
			late.Now = func() time.Time { return noon.Add(4 * time.Minute) }
			if c := diagnose(t, w, "x", late).Causes[0]; !c.Asks || c.Action != Nothing {
				t.Errorf("after 5 minutes: %s, asks: %t", c.Action, c.Asks)
			}
		})
	}
}

// TestOwnerOfWhatIsNotDeletedYet holds that nobody is asked about an object that the namespace controller has not got
// to, if its controller may be starting or guards something outside.
func TestOwnerOfWhatIsNotDeletedYet(t *testing.T) {
	for _, finalizer := range []string{"example.com/widget-operator", "service.kubernetes.io/load-balancer-cleanup"} {
		w := newWorld()
		w.namespace("x", deletingSince(time.Second))
		w.add("widgets", "x", "a", held(finalizer))
		w.operator("tools", "widget-operator", "default", 0)
		w.grant("tools", "default", "*", "*")
		d := diagnose(t, w, "x", options())
		for _, c := range d.Causes {
			if c.Asks || c.Action != Wait {
				t.Errorf("%s, asks: %t, %s", c.Action, c.Asks, c.Summary)
			}
		}
		if len(clearActions(d, true)) > 0 {
			t.Errorf("%s would be removed later", finalizer)
		}
	}
}

// TestStartingOwnerOfNamespace holds the same of a finalizer of the namespace itself.
func TestStartingOwnerOfNamespace(t *testing.T) {
	w := newWorld()
	w.namespace("x", deletingSince(time.Minute), held("example.com/widget-operator"))
	w.operator("tools", "widget-operator", "default", 0)
	w.grant("tools", "default", "*", "*")
	if c := diagnose(t, w, "x", options()).Causes[0]; c.Action != Wait || !c.Until.Equal(noon.Add(4*time.Minute)) {
		t.Errorf("%s until %s: %s", c.Action, c.Until, c.Summary)
	}
	late := options()
	late.Now = func() time.Time { return noon.Add(4 * time.Minute) }
	if c := diagnose(t, w, "x", late).Causes[0]; !c.Asks {
		t.Errorf("%s: %s", c.Action, c.Summary)
	}
}

// TestSpokenName holds that a finalizer which bears the name of a workload points to it.
func TestSpokenName(t *testing.T) {
	w := newWorld()
	w.namespace("x")
	w.add("widgets", "x", "a", deleting, held("example.com/widget-operator"))
	w.operator("tools", "widget-operator", "default", 1)
	w.grant("tools", "default", "*", "*")
	if c := diagnose(t, w, "x", options()).Causes[0]; c.Controller.Alive != Alive || c.Action != Wait {
		t.Errorf("%+v", c.Controller)
	}
}

// TestDoomedOwner holds that an owner which goes with the namespaces may be followed
// by what it should have done.
func TestDoomedOwner(t *testing.T) {
	w := newWorld()
	w.namespace("x")
	o := w.add("widgets", "x", "a", deleting, held("example.com/hold"))
	w.wrote(o, "widget-operator", time.Hour*24)
	w.operator("x", "widget-operator", "default", 1)
	d := diagnose(t, w, "x", options())
	i := len(d.Causes) - 1
	if c := d.Causes[i]; c.Action != Wait || c.Controller.Alive != Alive || len(clearActions(d, true)) != 1 {
		t.Errorf("%+v", d.Causes)
	}
}
