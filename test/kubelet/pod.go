package kubelet

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// shortestGrace is the time that a pod has at least, as in upstream's kubelet.
const shortestGrace = time.Second

// pod runs one pod.
type pod struct {
	kubelet *Kubelet
	root    string
	ip      string
	sandbox *sandbox
	volumes volumes

	// stopping ends when the pod is to end, gone when it is not in the cluster any more.
	stopping, gone context.Context
	stop, vanish   context.CancelFunc

	mu         sync.Mutex
	api        *corev1.Pod // as last seen
	init, main []*container
	started    metav1.Time

	reporting sync.Mutex
	reported  string // the last status that the API server has
}

func newPod(k *Kubelet, api *corev1.Pod) *pod {
	p := &pod{kubelet: k, api: api, root: filepath.Join(k.dir, "pods", string(api.UID)), started: metav1.Now()}
	p.volumes = volumes{pod: p, tokens: map[string]token{}}
	p.gone, p.vanish = context.WithCancel(k.ended)
	p.stopping, p.stop = context.WithCancel(k.ended)
	for i := range api.Spec.InitContainers {
		p.init = append(p.init, newContainer(p, &api.Spec.InitContainers[i], true))
	}
	for i := range api.Spec.Containers {
		p.main = append(p.main, newContainer(p, &api.Spec.Containers[i], false))
	}
	return p
}

// observe takes note of a new state of the pod.
func (p *pod) observe(api *corev1.Pod, gone bool) {
	p.mu.Lock()
	p.api = api
	p.mu.Unlock()
	if gone {
		p.vanish()
	}
	if gone || api.DeletionTimestamp != nil {
		p.stop()
	}
}

// now returns the pod as it was last seen.
func (p *pod) now() *corev1.Pod {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.api
}

// event reports something about the pod.
func (p *pod) event(kind, reason, format string, args ...any) {
	p.kubelet.events.Eventf(p.now(), kind, reason, format, args...)
}

// run runs the pod until it is out of the cluster, or the kubelet ends.
func (p *pod) run() {
	defer p.stop()
	defer p.vanish()
	if api := p.now(); !finished(api) {
		for _, what := range unsupported(api) {
			p.event(corev1.EventTypeWarning, "Unsupported", "the kubelet for processes has no %s", what)
		}
		p.live()
	}
	select {
	case <-p.gone.Done():
	case <-p.stopping.Done():
		p.remove()
	}
}

// live runs the containers until they have ended.
func (p *pod) live() {
	defer func() {
		if err := os.RemoveAll(p.root); err != nil {
			slog.Warn("remove the files of a pod", "error", err)
		}
	}()
	address, release := p.kubelet.network.allocate()
	defer release()
	p.ip = address.ip
	var err error
	p.sandbox, err = newSandbox(p.root, hostname(p.now()), address.ip, address.shared, p.kubelet.o.Shared)
	if err == nil {
		defer p.sandbox.close()
		if p.sandbox.isolated {
			api := p.kubelet.cluster.URL()[len("https://"):]
			err = p.sandbox.forward(servicesAddress+":443", api)
		}
	}
	if err != nil {
		p.event(corev1.EventTypeWarning, "FailedCreatePodSandBox", "%v", err)
		<-p.stopping.Done()
		return
	}
	p.kubelet.network.attach(address.ip, p.sandbox)
	if p.setUp() {
		p.containers()
	}
	p.report()
}

// setUp writes the volumes, as soon as there is what they hold, and keeps them up to date. It returns false if the pod
// is to end before.
func (p *pod) setUp() bool {
	p.report()
	tick := time.NewTicker(p.kubelet.o.Refresh)
	if !p.prepared(tick) {
		tick.Stop()
		return false
	}
	go func() {
		defer tick.Stop()
		for {
			select {
			case <-p.stopping.Done():
				return
			case <-tick.C:
			}
			if err := p.volumes.sync(p.kubelet.lost, p.now()); err != nil && p.stopping.Err() == nil {
				slog.Debug("refresh volumes", "pod", p.now().Name, "error", err)
			}
			p.report()
		}
	}()
	return true
}

func (p *pod) prepared(tick *time.Ticker) bool {
	for {
		err := p.volumes.sync(p.kubelet.lost, p.now())
		for _, c := range append(p.init, p.main...) {
			if err == nil {
				err = p.volumes.mount(c.spec)
			}
		}
		if err == nil {
			return true
		}
		p.event(corev1.EventTypeWarning, "FailedMount", "%v", err)
		select {
		case <-p.stopping.Done():
			return false
		case <-tick.C:
		}
	}
}

// containers runs all containers to their end: those that initialise one by one, then the others together.
func (p *pod) containers() {
	for _, c := range p.init {
		if !c.run(p.stopping) {
			return
		}
	}
	var all sync.WaitGroup
	for _, c := range p.main {
		all.Go(func() { c.run(p.stopping) })
	}
	all.Wait()
}

// grace is the time between SIGTERM and SIGKILL.
func (p *pod) grace() time.Duration {
	api := p.now()
	seconds := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if s := api.Spec.TerminationGracePeriodSeconds; s != nil {
		seconds = *s
	}
	if s := api.DeletionGracePeriodSeconds; s != nil {
		seconds = *s
	}
	return max(time.Duration(seconds)*time.Second, shortestGrace)
}

// report tells the API server the status of the pod, if that has changed.
func (p *pod) report() {
	p.reporting.Lock()
	defer p.reporting.Unlock()
	api := p.now()
	p.mu.Lock()
	status := status(api, p.started, p.ip, statuses(p.init), statuses(p.main))
	p.mu.Unlock()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": api.UID}, "status": status})
	if err != nil || string(patch) == p.reported {
		return
	}
	_, err = p.kubelet.client.CoreV1().Pods(api.Namespace).Patch(p.kubelet.lost, api.Name, types.StrategicMergePatchType,
		patch, metav1.PatchOptions{}, "status")
	switch {
	case err == nil:
		p.reported = string(patch)
	case p.kubelet.lost.Err() == nil && !apierrors.IsNotFound(err):
		slog.Debug("report a status", "pod", api.Name, "error", err) // tried again with the next refresh
	}
}

// remove confirms that the pod has ended: it deletes it without grace.
func (p *pod) remove() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		api := p.now()
		options := metav1.DeleteOptions{GracePeriodSeconds: new(int64), Preconditions: &metav1.Preconditions{UID: &api.UID}}
		err := p.kubelet.client.CoreV1().Pods(api.Namespace).Delete(p.kubelet.lost, api.Name, options)
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return
		}
		select {
		case <-p.kubelet.lost.Done():
			return
		case <-p.gone.Done():
			return
		case <-tick.C:
		}
	}
}
