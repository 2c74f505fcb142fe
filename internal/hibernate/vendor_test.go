package hibernate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// vendor does what Cast AI's job does, request by request and with its pauses
// (castai/hibernate v0.14 app/main.py, app/k8s_utils.py, app/cast_utils.py), as a
// Job in the cluster.
type vendor struct {
	*night
	api dynamic.Interface
	// at is called before each step, with its number from 1; its error kills the
	// job there.
	at    func(step int) error
	steps int
}

// errKilled ends the job as SIGKILL does: nothing more is done.
var errKilled = errors.New("killed")

func (n *night) vendor(t *testing.T) *vendor {
	t.Helper()
	api, err := dynamic.NewForConfig(n.server.Config())
	if err != nil {
		t.Fatal(err)
	}
	return &vendor{night: n, api: api}
}

// run is the Job: it exits with success whatever becomes of it, unless it is killed.
func (v *vendor) run(ctx context.Context, action string) {
	v.steps = 0
	name := fmt.Sprintf("hibernate-%s-%d", action, time.Now().UnixNano())
	ref := cluster.Ref{Group: "batch", Kind: "Job", Namespace: Namespace, Name: name}
	objects, err := clustertest.Parse([]byte(aJob(name, vendorImage, action)))
	if err != nil {
		v.t.Error(err)
		return
	}
	v.server.Put(objects...)
	if action == actionPause {
		err = v.pauseAll(ctx)
		if err != nil && !errors.Is(err, errKilled) { // main: any exception resumes
			if err = v.enable(ctx, true); err == nil {
				err = v.write(ctx, "exception")
			}
		}
	} else {
		err = v.enable(ctx, true)
	}
	condition := map[bool]string{true: "Failed", false: "Complete"}[errors.Is(err, errKilled)]
	job := v.server.Get(ref)
	if job == nil {
		return
	}
	if err := unstructured.SetNestedSlice(job.Object, []any{map[string]any{"type": condition, "status": "True"}}, "status",
		"conditions"); err != nil {
		v.t.Error(err)
	}
	v.server.Put(job)
}

// step is one request.
func (v *vendor) step() error {
	v.steps++
	if v.at == nil {
		return nil
	}
	return v.at(v.steps)
}

// enable reads the policies and writes them with the switch set.
func (v *vendor) enable(ctx context.Context, on bool) error {
	if err := v.step(); err != nil {
		return err
	}
	p, err := v.Policies(ctx, clusterID)
	if err != nil {
		return err
	}
	if err := v.step(); err != nil {
		return err
	}
	if p, err = castai.WithEnabled(p, on); err != nil {
		return err
	}
	return v.PutPolicies(ctx, clusterID, p)
}

// patch writes as the job's client library does.
func (v *vendor) patch(ctx context.Context, resource, namespace, name string, patch string) error {
	if err := v.step(); err != nil {
		return err
	}
	r := nodesResource()
	if resource != "nodes" {
		r = &cluster.Resource{Group: map[string]string{"deployments": "apps"}[resource], Version: "v1", Name: resource}
	}
	_, err := v.api.Resource(r.GVR()).Namespace(namespace).Patch(ctx, name, types.MergePatchType, []byte(patch),
		metav1.PatchOptions{FieldManager: vendorManager})
	return err
}

// write writes the state, which its chart has made.
func (v *vendor) write(ctx context.Context, status string) error {
	ref := cluster.Ref{Kind: "ConfigMap", Namespace: Namespace, Name: StateName}
	if v.server.Get(ref) == nil {
		u := clustertest.Object("v1", "ConfigMap", Namespace, StateName)
		managed(u)
		u.Object["data"] = map[string]any{keyStatus: statusSuccess, keyTime: "2022-01-01T00:00:00Z"}
		v.server.Put(u)
	}
	return v.patch(ctx, "configmaps", Namespace, StateName,
		fmt.Sprintf(`{"data":{%q:%q,%q:%q}}`, keyStatus, status, keyTime, time.Now().UTC().Format(vendorTime)))
}

// pauseAll is handle_suspend.
func (v *vendor) pauseAll(ctx context.Context) error {
	if err := v.step(); err != nil {
		return err
	}
	p, err := v.Policies(ctx, clusterID)
	if err != nil {
		return err
	}
	if on, err := switched(p, SwitchAll); err != nil || !on {
		if v.dirty() {
			return errors.New("the last run did not end: wait 12 hours")
		}
		time.Sleep(360 * time.Second)
		return err
	}
	if err := v.enable(ctx, false); err != nil {
		return err
	}
	sleeper, err := v.sleeper(ctx)
	if err != nil {
		return err
	}
	list, err := v.listNodes(ctx)
	if err != nil {
		return err
	}
	for _, name := range list {
		if name != sleeper {
			if err := v.patch(ctx, "nodes", "", name, `{"spec":{"unschedulable":true}}`); err != nil {
				return err
			}
		}
	}
	time.Sleep(20 * time.Second)
	const toleration = `{"spec":{"template":{"spec":{"tolerations":[{"key":"scheduling.cast.ai/paused-cluster","operator":"Exists","effect":"NoSchedule"}]}}}}`
	if err := v.patch(ctx, "deployments", "kube-system", "dns", toleration); err != nil {
		return err
	}
	time.Sleep(30 * time.Second)
	nodes, err := v.Nodes(ctx, clusterID)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if n.Name == sleeper || n.State.Phase == "deleted" {
			continue
		}
		if err := v.step(); err != nil {
			return err
		}
		if _, err := v.DeleteNode(ctx, clusterID, n.Id, time.Minute, true); err != nil {
			return err
		}
	}
	if err := v.patch(ctx, "nodes", "", sleeper, `{"spec":{"taints":null}}`); err != nil {
		return err
	}
	return v.write(ctx, statusSuccess)
}

// dirty: the state says that a run did not end, within twelve hours.
func (v *vendor) dirty() bool {
	u := v.server.Get(cluster.Ref{Kind: "ConfigMap", Namespace: Namespace, Name: StateName})
	if u == nil {
		return false
	}
	status, _, err := unstructured.NestedString(u.Object, "data", keyStatus)
	return err == nil && status != statusSuccess
}

// sleeper makes the hibernation node, and waits a minute at a time for it.
func (v *vendor) sleeper(ctx context.Context) (string, error) {
	if err := v.step(); err != nil {
		return "", err
	}
	added, err := v.AddNode(ctx, clusterID, castai.NodeConfig{
		InstanceType: "m5a.large", KubernetesLabels: map[string]string{PausedKey: "true", spotLabel: "true"},
		KubernetesTaints: []castai.Taint{{Key: PausedKey, Value: "true", Effect: "NoSchedule"}},
	})
	if err != nil {
		return "", err
	}
	time.Sleep(time.Minute)
	nodes, err := v.Nodes(ctx, clusterID)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(nodes, func(n castai.Node) bool { return n.Id == added.NodeId })
	if i < 0 || nodes[i].State.Phase != "ready" {
		return "", errors.New("the node is not ready")
	}
	return nodes[i].Name, nil
}

func (v *vendor) listNodes(ctx context.Context) ([]string, error) {
	if err := v.step(); err != nil {
		return nil, err
	}
	list, err := v.api.Resource(nodesResource().GVR()).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, n := range list.Items {
		out = append(out, n.GetName())
	}
	return out, nil
}

// ours and theirs, one after the other: status tells the truth in between, and
// nothing is left in the end.
func TestOneAfterTheOther(t *testing.T) {
	type act struct {
		do   string
		want Phase
		who  Who
	}
	ours, theirs := "ours ", "theirs "
	var table strings.Builder
	table.WriteString("| Order, and what `status` said after each | Left in the end |\n|---|---|\n")
	for _, night := range [][]act{
		{{do: theirs + "pause", want: Paused, who: CastAI}, {do: ours + "resume", want: Awake}},
		{{do: theirs + "pause", want: Paused, who: CastAI}, {do: theirs + "resume", want: Awake},
			{do: ours + "repair", want: Awake}},
		{{do: theirs + "pause", want: Paused, who: CastAI}, {do: ours + "pause", want: Paused, who: Ours},
			{do: ours + "resume", want: Awake}},
		{{do: theirs + "pause", want: Paused, who: CastAI}, {do: ours + "pause", want: Paused, who: Ours},
			{do: theirs + "resume", want: Woken, who: Ours}, {do: ours + "resume", want: Awake}},
		{{do: ours + "pause", want: Paused, who: Ours}, {do: theirs + "pause", want: Paused, who: Ours},
			{do: ours + "resume", want: Awake}},
		{{do: ours + "pause", want: Paused, who: Ours}, {do: theirs + "resume", want: Woken, who: Ours},
			{do: ours + "resume", want: Awake}},
		{{do: ours + "pause", want: Paused, who: Ours}, {do: theirs + "resume", want: Woken, who: Ours},
			{do: ours + "pause", want: Paused, who: Ours}, {do: ours + "resume", want: Awake}},
		{{do: ours + "pause", want: Paused, who: Ours}, {do: theirs + "resume", want: Woken, who: Ours},
			{do: theirs + "pause", want: Paused, who: CastAI}, {do: ours + "resume", want: Awake}},
		{{do: theirs + "pause", want: Paused, who: CastAI}, {do: theirs + "resume", want: Awake},
			{do: theirs + "pause", want: Paused, who: CastAI}, {do: ours + "resume", want: Awake}},
	} {
		name := ""
		for _, a := range night {
			name += a.do + ", "
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := evening(t)
				var said []string
				for _, a := range night {
					n.act(t, a.do)
					sleep := n.sleep()
					said = append(said, acts[a.do]+": "+briefly(sleep))
					if sleep.Phase != a.want || a.who != Nobody && sleep.Who != a.who {
						t.Errorf("after %s: %s (%s)", a.do, sleep, sleep.Who)
					}
				}
				left := n.left()
				if len(left) > 0 || !n.on() {
					t.Errorf("left: %v, autoscaler on: %t", left, n.on())
				}
				fmt.Fprintf(&table, "| %s | %s |\n", strings.Join(said, "; "), cmp.Or(strings.Join(left, ", "), "nothing"))
			})
		})
	}
	documented(t, "orders", table.String())
}

// acts are what the documentation calls them.
var acts = map[string]string{
	"ours pause": "`pause`", "ours resume": "`resume`", "ours repair": "`resume --repair`", "theirs pause": "Cast AI's pause", "theirs resume": "Cast AI's resume",
}

// briefly says what a cluster is at.
func briefly(s Sleep) string {
	by := map[Who]string{Ours: " by this plugin", CastAI: " by Cast AI's job"}[s.Who]
	switch s.Phase {
	case Awake:
		return "awake"
	case Woken:
		return "paused" + by + ", and the autoscaler turned on since"
	case Paused, Pausing, Resuming:
	}
	return string(s.Phase) + by
}

// act carries out one of both tools.
func (n *night) act(t *testing.T, do string) {
	t.Helper()
	ctx := t.Context()
	var err error
	switch do {
	case "ours pause":
		err = n.pause(ctx, options())
	case "ours resume":
		err = n.resume(ctx, ResumeOptions{Run: "r9", By: "me"})
	case "ours repair":
		err = n.resume(ctx, ResumeOptions{Run: "r9", By: "me", Repair: true})
	case "theirs pause":
		n.vendor(t).run(ctx, actionPause)
		time.Sleep(time.Minute) // it does not wait for nodes to go
	case "theirs resume":
		n.vendor(t).run(ctx, actionResume)
	}
	if err != nil {
		t.Errorf("%s: %v", do, err)
	}
}

// Cast AI's job killed at each of its steps: status tells what a resume has to take
// back, and it does.
func TestTheirsKilledAtEachStep(t *testing.T) {
	for step := 1; ; step++ {
		reached := false
		t.Run(fmt.Sprint(step), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := evening(t)
				v := n.vendor(t)
				v.at = func(at int) error {
					if reached = at == step; reached {
						return errKilled
					}
					return nil
				}
				v.run(t.Context(), actionPause)
				time.Sleep(time.Minute)
				sleep := n.sleep()
				t.Logf("%s; autoscaler on: %t; nodes %s", sleep, n.on(), n.names())
				if err := n.resume(t.Context(), ResumeOptions{Run: "r9", By: "me", Repair: true,
					Start: !sleep.Asleep()}); err != nil {
					t.Error(err)
				}
				if left := n.left(); len(left) > 0 || !n.on() {
					t.Errorf("left: %v, autoscaler on: %t", left, n.on())
				}
			})
		})
		if !reached {
			break
		}
	}
}

// Both at once: theirs begins at each request of ours to the API, and ours at each
// step of theirs. Whatever ours reports is true, and in the end nothing is left.
func TestBothAtOnce(t *testing.T) {
	for _, theirs := range []string{actionPause, actionResume} {
		var woken []int // requests at which a pause that reports success is resumed
		for request := 1; ; request++ {
			reached := false
			t.Run(fmt.Sprintf("theirs %ss at our request %d", theirs, request), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := evening(t)
					ended := make(chan struct{})
					count := 0
					n.before = func(string) error {
						n.mu.Lock()
						count++
						start := count == request
						reached = reached || start
						n.mu.Unlock()
						if start {
							go func() {
								defer close(ended)
								n.vendor(t).run(t.Context(), theirs)
							}()
							time.Sleep(time.Second) // ours is slower
						}
						return nil
					}
					err := n.pause(t.Context(), options())
					if !reached {
						return
					}
					on := n.on()
					t.Logf("it says %v; autoscaler on: %t; nodes %s", err, on, n.names())
					if err == nil && on {
						woken = append(woken, request)
						if sleep := n.sleep(); sleep.Phase != Woken {
							t.Errorf("status says %s", sleep)
						}
					}
					<-ended
					n.wakeUp(t)
				})
			})
			if !reached {
				// The last request of all is the last look: what comes later, status tells.
				if len(woken) > 1 || len(woken) == 1 && woken[0] != request-1 {
					t.Errorf("it reports a pause and the autoscaler is on, at the requests %v of %d", woken, request-1)
				}
				break
			}
		}
	}
	for step := 1; ; step++ {
		reached := false
		t.Run(fmt.Sprintf("ours at step %d of theirs", step), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := evening(t)
				v := n.vendor(t)
				ended := make(chan error, 1)
				v.at = func(at int) error {
					if at == step {
						reached = true
						go func() { ended <- n.pause(t.Context(), options()) }()
						time.Sleep(time.Second)
					}
					return nil
				}
				v.run(t.Context(), actionPause)
				if reached {
					if err := <-ended; err == nil {
						t.Error("it paused beside a Job of Cast AI's")
					}
				}
				n.wakeUp(t)
			})
		})
		if !reached {
			break
		}
	}
}

// wakeUp resumes what there is to be resumed, and fails the test if anything stays.
func (n *night) wakeUp(t *testing.T) {
	t.Helper()
	time.Sleep(2 * time.Minute)
	sleep := n.sleep()
	if !sleep.Asleep() && !n.on() {
		t.Errorf("the autoscaler is off, and status says: %s", sleep)
	}
	if err := n.resume(t.Context(), ResumeOptions{Run: "r9", By: "me", Repair: true}); err != nil {
		t.Error(err)
	}
	if left := n.left(); len(left) > 0 || !n.on() {
		t.Errorf("before: %s; left: %v, autoscaler on: %t", sleep, left, n.on())
	}
}
