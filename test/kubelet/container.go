package kubelet

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	longestBackoff = 5 * time.Minute
	// A container that has run for so long begins again without back-off.
	forgiven = 10 * time.Minute
)

// container runs one container.
type container struct {
	pod    *pod
	spec   *corev1.Container
	init   bool
	status corev1.ContainerStatus // guarded by pod.mu
}

func newContainer(p *pod, spec *corev1.Container, init bool) *container {
	c := &container{pod: p, spec: spec, init: init}
	c.status = corev1.ContainerStatus{Name: spec.Name, Image: spec.Image, State: waiting("ContainerCreating", "")}
	return c
}

func statuses(all []*container) []corev1.ContainerStatus {
	var out []corev1.ContainerStatus
	for _, c := range all {
		out = append(out, *c.status.DeepCopy())
	}
	return out
}

func waiting(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

// set changes the status of the container and reports it.
func (c *container) set(change func(s *corev1.ContainerStatus)) {
	c.pod.mu.Lock()
	change(&c.status)
	c.pod.mu.Unlock()
	c.pod.report()
}

// run runs the container, again and again as its pod says, until ctx ends. It returns whether it has succeeded.
func (c *container) run(ctx context.Context) bool {
	for restarts := 0; ; restarts++ {
		begin := time.Now()
		code, err := c.once(ctx)
		if err != nil {
			// Nothing that a restart would change, except for what a container is configured with.
			if !c.pause(ctx, time.Second) {
				return false
			}
			restarts--
			continue
		}
		if ctx.Err() != nil || !again(c.pod.now().Spec.RestartPolicy, c.init, code) {
			return code == 0 && ctx.Err() == nil
		}
		if time.Since(begin) > forgiven {
			restarts = 0
		}
		delay := backoff(c.pod.kubelet.o.Backoff, restarts)
		c.set(func(s *corev1.ContainerStatus) {
			s.LastTerminationState, s.RestartCount = s.State, s.RestartCount+1
			s.State = waiting("CrashLoopBackOff", "back-off "+delay.String()+" restarting failed container")
		})
		if !c.pause(ctx, delay) {
			return false
		}
	}
}

// again tells whether a container that has ended is to be started again.
func again(policy corev1.RestartPolicy, init bool, code int32) bool {
	switch policy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return code != 0
	default:
		return !init || code != 0
	}
}

// backoff is the delay before a restart: none before the first one, then more and more.
func backoff(base time.Duration, restarts int) time.Duration {
	if restarts == 0 {
		return 0
	}
	delay := base
	for range restarts - 1 {
		delay = min(2*delay, longestBackoff)
	}
	return delay
}

// pause waits, and returns false if ctx ends before.
func (c *container) pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// once runs the container once and returns its exit code, or an error if it could not be started.
func (c *container) once(ctx context.Context) (int32, error) {
	name, _, _ := strings.Cut(c.spec.Image, "@")
	if at := strings.LastIndex(name, ":"); at > strings.LastIndex(name, "/") {
		name = name[:at]
	}
	image, known := c.pod.kubelet.o.Images[name]
	if !known {
		err := errors.New("the kubelet for processes has no program for image " + c.spec.Image)
		c.pod.event(corev1.EventTypeWarning, "Failed", "%v", err)
		c.set(func(s *corev1.ContainerStatus) { s.State = waiting("ImagePullBackOff", err.Error()) })
		<-ctx.Done()
		return 0, err
	}
	cmd, log, err := c.command(image)
	if err == nil {
		defer func() { _ = log.Close() }()
		err = c.pod.sandbox.start(cmd)
	}
	if err != nil {
		c.pod.event(corev1.EventTypeWarning, "Failed", "%v", err)
		c.set(func(s *corev1.ContainerStatus) { s.State = waiting("CreateContainerConfigError", err.Error()) })
		return 0, err
	}
	return c.watch(ctx, cmd), nil
}

// command returns the process of the container, and the log that it writes.
func (c *container) command(image Image) (*exec.Cmd, *os.File, error) {
	api := c.pod.now()
	env, err := c.pod.environment(c.pod.kubelet.lost, api, c.spec)
	if err != nil {
		return nil, nil, err
	}
	given := c.spec.Args
	if len(c.spec.Command) > 0 {
		given = slices.Concat(c.spec.Command[1:], given) // the first one is the program of the image
	}
	args := slices.Clone(image.Entrypoint)
	for _, arg := range given {
		args = append(args, expand(arg, env))
	}
	cmd, err := c.pod.sandbox.command(c.spec.Name, image.Path, args...)
	if err != nil {
		return nil, nil, err
	}
	cmd.Env = []string{} // not the kubelet's
	for key, value := range env {
		cmd.Env = append(cmd.Env, key+"="+value)
	}
	dir := filepath.Join(c.pod.kubelet.dir, "logs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	file := filepath.Join(dir, api.Namespace+"_"+api.Name+"_"+c.spec.Name)
	log, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	return cmd, log, nil
}

// watch probes a process that has been started, ends it when ctx ends or it does not live, and returns its exit code.
func (c *container) watch(ctx context.Context, cmd *exec.Cmd) int32 {
	began := metav1.Now()
	c.set(func(s *corev1.ContainerStatus) {
		s.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: began}}
		s.Started, s.Ready = new(c.spec.StartupProbe == nil), c.spec.ReadinessProbe == nil && c.spec.StartupProbe == nil
	})
	probing, stopProbing := context.WithCancel(ctx)
	failed := make(chan struct{}, 1)
	go c.probe(probing, failed)

	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = c.finish(cmd.Process, ended)
	case <-failed:
		c.pod.event(corev1.EventTypeNormal, "Killing", "Container %s failed liveness probe, will be restarted", c.spec.Name)
		err = c.finish(cmd.Process, ended)
	}
	stopProbing()
	_ = kill(cmd.Process, syscall.SIGKILL) // what it has started, if anything

	end := &corev1.ContainerStateTerminated{StartedAt: began, FinishedAt: metav1.Now(), Reason: "Completed"}
	if err != nil {
		end.Reason, end.ExitCode = "Error", int32(max(cmd.ProcessState.ExitCode(), 1)) //nolint:gosec // at most 255
		if wait, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && wait.Signaled() {
			end.ExitCode = 128 + int32(wait.Signal()) //nolint:gosec // at most 64
		}
	}
	c.set(func(s *corev1.ContainerStatus) {
		s.State, s.Ready, s.Started = corev1.ContainerState{Terminated: end}, false, new(bool)
	})
	return end.ExitCode
}

// finish ends a process: SIGTERM, and SIGKILL after the grace of its pod.
func (c *container) finish(p *os.Process, ended <-chan error) error {
	_ = kill(p, syscall.SIGTERM) // it may have ended
	timer := time.NewTimer(c.pod.grace())
	defer timer.Stop()
	select {
	case err := <-ended:
		return err
	case <-timer.C:
	case <-c.pod.gone.Done():
		if c.pod.kubelet.ended.Err() == nil {
			timer.Reset(shortestGrace)
			select {
			case err := <-ended:
				return err
			case <-timer.C:
			}
		}
	}
	_ = kill(p, syscall.SIGKILL)
	return <-ended
}

// probe calls the probes of the container, the others once the one for its start has passed, and sends to failed when
// it has to be restarted.
func (c *container) probe(ctx context.Context, failed chan<- struct{}) {
	restart := func(passed bool, err error) {
		if !passed {
			c.pod.event(corev1.EventTypeWarning, "Unhealthy", "Liveness probe failed: %v", err)
			failed <- struct{}{}
		}
	}
	if c.spec.StartupProbe != nil {
		starting, started := context.WithCancel(ctx)
		c.pod.sandbox.probe(starting, c.spec, c.spec.StartupProbe, func(passed bool, err error) {
			restart(passed, err)
			started()
			if passed {
				c.set(func(s *corev1.ContainerStatus) { s.Started, s.Ready = &passed, c.spec.ReadinessProbe == nil })
			}
		})
		started()
	}
	if c.spec.LivenessProbe != nil {
		go c.pod.sandbox.probe(ctx, c.spec, c.spec.LivenessProbe, restart)
	}
	if c.spec.ReadinessProbe != nil {
		c.pod.sandbox.probe(ctx, c.spec, c.spec.ReadinessProbe, func(passed bool, err error) {
			if !passed {
				c.pod.event(corev1.EventTypeWarning, "Unhealthy", "Readiness probe failed: %v", err)
			}
			c.set(func(s *corev1.ContainerStatus) { s.Ready = passed && s.State.Running != nil })
		})
	}
}
