package finalize

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// ownedBy makes an object a dependent that blocks its owner.
func ownedBy(owner *cluster.Object) edit {
	blocks := true
	return func(o *cluster.Object) {
		o.Owners = []metav1.OwnerReference{{UID: owner.UID, Name: owner.Name, BlockOwnerDeletion: &blocks}}
	}
}

// mounts makes a pod use a claim.
func mounts(claim string) edit {
	return func(o *cluster.Object) {
		spec, _ := o.Body["spec"].(map[string]any)
		if spec == nil {
			spec = map[string]any{}
		}
		spec["volumes"] = []any{map[string]any{"name": "data", "persistentVolumeClaim": map[string]any{"claimName": claim}}}
		body("spec", spec)(o)
	}
}

func bound(ns, claim string) edit {
	return body("spec", map[string]any{"claimRef": map[string]any{"namespace": ns, "name": claim}})
}

func active(o *cluster.Object) { o.Deleting = time.Time{} }

// TestDiagnoseObject holds what is said, and what would be done, about one object.
func TestDiagnoseObject(t *testing.T) {
	for _, tc := range []struct {
		name  string
		build func(*world) *cluster.Object // returns the one that is stuck
		opts  func(*Options)
		want  []want
		// does lists what the preview holds, and refuses what the refusal says.
		does    []string
		refuses string
	}{
		{
			name: "a finalizer that nobody removes",
			build: func(w *world) *cluster.Object {
				w.namespace("x", active)
				w.add("widgets", "x", "b", deleting, held("example.com/other"))
				return w.add("widgets", "x", "a", deleting, held("example.com/hold"))
			},
			want: []want{{Finalizer, ClearFinalizers, false, []string{"Widget a waits", "example.com/hold",
				"kubectl patch widgets.example.com/a -n x"}}},
			does: []string{"strip-finalizers Widget.example.com/x/a"},
		},
		{
			name: "its controller is alive",
			build: func(w *world) *cluster.Object {
				w.namespace("x", active)
				o := w.add("widgets", "x", "a", deleting, held("example.com/hold"))
				w.operator("tools", "gadgets", "gadgets", 1)
				w.lets("example.com", "widgets")
				return o
			},
			want: []want{{Finalizer, Wait, false, []string{"Deployment tools/gadgets has 1 ready pods"}}},
		},
		{
			name: "it guards something outside",
			build: func(w *world) *cluster.Object {
				w.namespace("x", active)
				return w.add("services", "x", "lb", deleting, held("service.kubernetes.io/load-balancer-cleanup"))
			},
			want:    []want{{Finalizer, Nothing, false, []string{"cost money"}}},
			refuses: "Service/x/lb can't be freed yet",
		},
		{
			name: "it is not being deleted",
			build: func(w *world) *cluster.Object {
				w.namespace("x", active)
				return w.add("configmaps", "x", "a", held("example.com/hold"))
			},
			refuses: "ConfigMap/x/a is not being deleted, so its finalizers stay: delete it first, with kubectl delete " +
				"configmaps/a -n x",
		},
		{
			name: "its namespace is gone",
			build: func(w *world) *cluster.Object {
				return w.add("configmaps", "x", "a", deleting, held("example.com/hold"))
			},
			refuses: "unstick-ns x",
		},
		{
			name: "a definition waits for its objects",
			build: func(w *world) *cluster.Object {
				w.add("widgets", "x", "a", deleting, held("example.com/hold"))
				w.add("widgets", "y", "b", deleting, held("example.com/hold"))
				return w.add("customresourcedefinitions", "", "widgets.example.com", deleting, held(cleanUpCustom))
			},
			want: []want{
				{Finalizer, Wait, false, []string{cleanUpCustom, "goes by itself when 2 widgets.example.com are gone"}},
				{Finalizer, ClearFinalizers, false, []string{"example.com/hold", "2 widgets.example.com wait"}},
			},
			does: []string{"strip-finalizers CustomResourceDefinition.apiextensions.k8s.io/widgets.example.com",
				"strip-finalizers Widget.example.com/x/a", "strip-finalizers Widget.example.com/y/b"},
		},
		{
			name: "a definition whose objects can't be listed",
			build: func(w *world) *cluster.Object {
				w.snap.Unreadable = []cluster.Unreadable{{What: "widgets.example.com", Message: "boom"}}
				return w.add("customresourcedefinitions", "", "widgets.example.com", deleting, held(cleanUpCustom))
			},
			want:    []want{{Finalizer, Nothing, false, []string{"widgets.example.com can't be listed: boom"}}},
			refuses: "--finalizer=" + cleanUpCustom,
		},
		{
			name: "a definition whose conversion webhook is dead",
			build: func(w *world) *cluster.Object {
				w.conversion("widgets.example.com", "x")
				w.conversion("others.example.com", "x")
				w.snap.Unreadable = []cluster.Unreadable{{What: "widgets.example.com", Message: conversionFailed + "boom"}}
				return w.add("customresourcedefinitions", "", "widgets.example.com", deleting, held(cleanUpCustom))
			},
			want: []want{
				{NotDeleting, Wait, false, []string{"Widget g: not deleted yet"}},
				{Finalizer, Wait, false, []string{cleanUpCustom}},
				{DeadConversion, Nothing, true, []string{"widgets.example.com does not work"}},
			},
			refuses: "conversion webhook of CustomResourceDefinition widgets.example.com",
		},
		{
			name: "a claim that a running pod uses, even if the finalizer is named",
			build: func(w *world) *cluster.Object {
				w.namespace("x", active)
				w.add("pods", "x", "p", mounts("data"), onNode("n"), mounts("data"))
				w.add("pods", "x", "ended", mounts("data"), body("status", map[string]any{"phase": "Succeeded"}))
				return w.add("persistentvolumeclaims", "x", "data", deleting, held(pvcProtection))
			},
			opts:    func(o *Options) { o.Allow = Only(pvcProtection) },
			want:    []want{{Finalizer, Nothing, true, []string{"when Pod p is gone", "data of a volume"}}},
			refuses: "when Pod p is gone",
		},
		{
			name: "a claim that a pod of a lost node uses",
			build: func(w *world) *cluster.Object {
				w.namespace("x", active)
				w.add("pods", "x", "p", onNode("lost"), mounts("data"), deleting)
				return w.add("persistentvolumeclaims", "x", "data", deleting, held(pvcProtection))
			},
			want: []want{
				{LostPods, DeletePods, false, []string{"node lost does not exist"}},
				{Finalizer, Wait, false, []string{pvcProtection, "when Pod p is gone"}},
			},
			does: []string{"delete Pod/x/p", "strip-finalizers PersistentVolumeClaim/x/data"},
		},
		{
			name: "a claim that nobody uses",
			build: func(w *world) *cluster.Object {
				w.namespace("x", active)
				w.add("pods", "x", "p", mounts("other"))
				return w.add("persistentvolumeclaims", "x", "data", deleting, held(pvcProtection))
			},
			want: []want{{Finalizer, ClearFinalizers, false, []string{pvcProtection}}},
			does: []string{"strip-finalizers PersistentVolumeClaim/x/data"},
		},
		{
			name: "a claim whose pods can't be read",
			build: func(w *world) *cluster.Object {
				w.namespace("x", active)
				w.snap.Unreadable = []cluster.Unreadable{{What: "pods", Message: "no", Forbidden: true}}
				return w.add("persistentvolumeclaims", "x", "data", deleting, held(pvcProtection))
			},
			want:    []want{{Finalizer, Nothing, false, []string{"pods can't be listed: no"}}},
			refuses: "--finalizer=" + pvcProtection,
		},
		{
			name: "a volume that is bound to a claim that stays",
			build: func(w *world) *cluster.Object {
				w.add("persistentvolumeclaims", "x", "data")
				return w.add("persistentvolumes", "", "pv", deleting, held(pvProtection), bound("x", "data"))
			},
			opts:    func(o *Options) { o.Named = []string{pvProtection} },
			want:    []want{{Finalizer, Nothing, true, []string{"when PersistentVolumeClaim data is gone"}}},
			refuses: "when PersistentVolumeClaim data is gone",
		},
		{
			name: "a volume that is bound to a claim that is stuck",
			build: func(w *world) *cluster.Object {
				w.add("persistentvolumeclaims", "x", "data", deleting, held(pvcProtection))
				return w.add("persistentvolumes", "", "pv", deleting, held(pvProtection), bound("x", "data"))
			},
			want:    []want{{Finalizer, Nothing, true, []string{"unstick persistentvolumeclaims/data -n x"}}},
			refuses: "free the claim first",
		},
		{
			name: "a volume whose disk is to be deleted",
			build: func(w *world) *cluster.Object {
				return w.add("persistentvolumes", "", "pv", deleting, bound("x", "gone"),
					held(pvProtection, "external-provisioner.volume.kubernetes.io/finalizer"))
			},
			want: []want{
				{Finalizer, ClearFinalizers, false, []string{pvProtection}},
				{Finalizer, Nothing, false, []string{"the disk at the storage provider"}},
			},
			refuses: "--finalizer=" + pvProtection + " --finalizer=external-provisioner.volume.kubernetes.io/finalizer",
		},
		{
			name: "an owner in the foreground waits for what blocks it",
			build: func(w *world) *cluster.Object {
				w.namespace("x", active)
				o := w.add("deployments", "x", "app", deleting, held(foreground))
				w.add("configmaps", "x", "mine", deleting, held("example.com/hold"), ownedBy(o))
				w.add("configmaps", "x", "other", deleting, held("example.com/hold"))
				return o
			},
			want: []want{
				{Finalizer, Wait, false, []string{foreground, "when ConfigMap mine is gone"}},
				{Finalizer, ClearFinalizers, false, []string{"ConfigMap mine waits"}},
			},
			does: []string{"strip-finalizers ConfigMap/x/mine", "strip-finalizers Deployment.apps/x/app"},
		},
		{
			name: "an owner in the foreground that is to go alone",
			build: func(w *world) *cluster.Object {
				w.namespace("x", active)
				o := w.add("deployments", "x", "app", deleting, held(foreground))
				w.add("configmaps", "x", "mine", deleting, held("example.com/hold"), ownedBy(o))
				return o
			},
			opts: func(o *Options) { o.Allow = Only(foreground) },
			want: []want{
				{Finalizer, ClearFinalizers, false, []string{foreground}},
				{Finalizer, Nothing, false, []string{"the finalizer stays"}},
			},
			does: []string{"strip-finalizers Deployment.apps/x/app"},
		},
		{
			name: "an owner that orphans has dependents yet",
			build: func(w *world) *cluster.Object {
				w.namespace("x", active)
				o := w.add("deployments", "x", "app", deleting, held(orphanDependent))
				w.add("configmaps", "x", "kept", ownedBy(o))
				return o
			},
			want:    []want{{Finalizer, Nothing, true, []string{"ConfigMap kept is gone, or let go of it"}}},
			refuses: "let go of it",
		},
		{
			name: "a pod on a ready node",
			build: func(w *world) *cluster.Object {
				w.namespace("x", active)
				w.add("nodes", "", "n", ready("True"))
				return w.add("pods", "x", "p", onNode("n"), deleting)
			},
			want:    []want{{TerminatingPods, Nothing, true, []string{"kubelet of node n is alive"}}},
			refuses: "Pod/x/p can't be freed yet",
		},
		{
			name: "an update that is refused",
			build: func(w *world) *cluster.Object {
				o := w.add("persistentvolumes", "", "pv", deleting, held("example.com/hold"))
				w.samples[classOf(o, "example.com/hold")] = Sample{Untracked: true,
					Refused: `ValidatingAdmissionPolicy 'keep' with binding 'keeps' denied request: no`}
				return o
			},
			opts: func(o *Options) { o.Allow = Only("example.com/hold") },
			want: []want{
				{Finalizer, ClearFinalizers, false, nil},
				{RefusedUpdate, Nothing, true, []string{"let the policy pass PersistentVolume/pv"}},
			},
			refuses: "ValidatingAdmissionPolicy keep",
		},
		{
			name: "a dead webhook is called for objects without a namespace, whatever it selects",
			build: func(w *world) *cluster.Object {
				w.webhook("guard", rule("UPDATE", "", "v1", "persistentvolumes"), selector("namespaceSelector", "no", "where"))
				return w.add("persistentvolumes", "", "pv", deleting, held("example.com/hold"))
			},
			want: []want{
				{Finalizer, ClearFinalizers, false, nil},
				{BlockingWebhook, Nothing, true, []string{"rejects every UPDATE of PersistentVolume pv"}},
			},
			refuses: "guard",
		},
		{
			name: "nothing holds it",
			build: func(w *world) *cluster.Object {
				w.namespace("x", active)
				return w.add("configmaps", "x", "a", deletingSince(time.Second))
			},
			want: []want{{Progressing, Wait, false, []string{"nothing holds ConfigMap/x/a any more"}}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld()
			o := tc.build(w)
			opts := options()
			if tc.opts != nil {
				tc.opts(&opts)
			}
			d, err := DiagnoseObject(w.obs(), o.Target(), opts)
			if err != nil {
				t.Fatal(err)
			}
			checkCauses(t, d, tc.want)
			refusal := Refuse(d, opts)
			if tc.refuses == "" && refusal != nil || tc.refuses != "" &&
				(refusal == nil || !strings.Contains(refusal.Message, tc.refuses)) {
				t.Errorf("refusal %v, want %q", refusal, tc.refuses)
			}
			if refusal != nil {
				return
			}
			var does []string
			for _, phase := range Preview([]*Diagnosis{d}, opts).Phases {
				for _, a := range phase.Actions {
					does = append(does, string(a.Verb)+" "+a.Target.Ref.String())
				}
			}
			if slices.Sort(does); !slices.Equal(does, tc.does) {
				t.Errorf("it does %q, want %q", does, tc.does)
			}
		})
	}
}

// TestObjectIsAnother holds that nothing is done to an object that was made anew.
func TestObjectIsAnother(t *testing.T) {
	w := newWorld()
	w.namespace("x", active)
	o := w.add("widgets", "x", "a", deleting, held("example.com/hold"))
	before, err := DiagnoseObject(w.obs(), o.Target(), options())
	if err != nil {
		t.Fatal(err)
	}
	phase := Phase([]*Diagnosis{before}, nil, options())
	if len(phase.WaitFor) != 1 || phase.WaitFor[0].UID != o.UID || len(phase.Actions) > 0 {
		t.Fatalf("%+v", phase)
	}
	o.UID = "another"
	after, err := DiagnoseObject(w.obs(), o.Target(), options())
	if err != nil {
		t.Fatal(err)
	}
	if !after.Freed(before) {
		t.Error("the one that was meant is gone")
	}
	l := newLadder(nil, options())
	title, actions, wait := l.climb(t.Context(), &climb{uid: before.UID, last: before}, after)
	if title != "" || len(actions) > 0 || wait != 0 {
		t.Errorf("%s: %v", title, actions)
	}
}

// TestBeforeItsTime holds that what goes by itself, and has only begun to, is not called late or stuck.
func TestBeforeItsTime(t *testing.T) {
	for name, build := range map[string]func(w *world, since edit) *cluster.Object{
		"a claim that a pod uses": func(w *world, since edit) *cluster.Object {
			w.add("pods", "x", "web", onNode("n"), mounts("data"))
			return w.add("persistentvolumeclaims", "x", "data", since, held(pvcProtection))
		},
		"a definition with objects": func(w *world, since edit) *cluster.Object {
			w.add("widgets", "x", "a", since, held("example.com/gadgets-hold"))
			w.operator("tools", "gadgets-hold", "gadgets", 1)
			w.lets("example.com", "widgets")
			return w.add("customresourcedefinitions", "", "widgets.example.com", since, held(cleanUpCustom))
		},
		"a machine": func(w *world, since edit) *cluster.Object {
			return w.add("nodes", "", "n", since, held("karpenter.sh/termination"))
		},
	} {
		for _, tc := range []struct {
			since time.Duration
			stuck bool
		}{{2 * time.Second, false}, {6 * time.Minute, true}} {
			w := newWorld()
			w.namespace("x", active)
			o := build(w, deletingSince(tc.since))
			d, err := DiagnoseObject(w.obs(), o.Target(), options())
			if err != nil {
				t.Fatal(err)
			}
			if d.Stuck() != tc.stuck || strings.Contains(d.Summary, "is stuck") != tc.stuck {
				t.Errorf("%s, after %s: stuck: %t; %s", name, tc.since, d.Stuck(), d.Summary)
			}
			for _, c := range d.Causes {
				if !tc.stuck && !strings.Contains(c.Summary, "has yet to remove") {
					t.Errorf("%s, after %s: %s", name, tc.since, c.Summary)
				}
			}
		}
	}
}

// TestNamespaceFinalizerBeforeItsTime holds the same of a finalizer of the namespace itself.
func TestNamespaceFinalizerBeforeItsTime(t *testing.T) {
	w := newWorld()
	w.namespace("x", deletingSince(2*time.Second), held("example.com/widget-operator"))
	w.operator("tools", "widget-operator", "default", 1)
	w.grant("tools", "default", "*", "*")
	d := diagnose(t, w, "x", options())
	if d.Stuck() || !strings.Contains(d.Causes[0].Summary, "which widget-operator has yet to remove (") {
		t.Errorf("%+v", d.Causes)
	}
}
