package kubelet

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// status returns the status of a pod whose containers are in the given ones.
func status(api *corev1.Pod, started metav1.Time, ip string, init, main []corev1.ContainerStatus) corev1.PodStatus {
	s := corev1.PodStatus{
		Phase: phase(api, init, main), StartTime: &started, HostIP: "127.0.0.1", HostIPs: []corev1.HostIP{{IP: "127.0.0.1"}},
		PodIP: ip, InitContainerStatuses: init, ContainerStatuses: main,
	}
	if ip != "" {
		s.PodIPs = []corev1.PodIP{{IP: ip}}
	}
	initialised := all(init, func(c corev1.ContainerStatus) bool {
		return c.State.Terminated != nil && c.State.Terminated.ExitCode == 0
	})
	ready := s.Phase == corev1.PodRunning && all(main, func(c corev1.ContainerStatus) bool { return c.Ready })
	for _, gate := range api.Spec.ReadinessGates {
		ready = ready && conditionTrue(api, gate.ConditionType)
	}
	for _, c := range []struct {
		kind  corev1.PodConditionType
		holds bool
	}{{corev1.PodInitialized, initialised}, {corev1.ContainersReady, ready}, {corev1.PodReady, ready}} {
		s.Conditions = append(s.Conditions, condition(api, c.kind, c.holds))
	}
	return s
}

// condition returns a condition of a pod, with the time of its last change.
func condition(api *corev1.Pod, kind corev1.PodConditionType, holds bool) corev1.PodCondition {
	c := corev1.PodCondition{Type: kind, Status: corev1.ConditionFalse, LastTransitionTime: metav1.Now()}
	if holds {
		c.Status = corev1.ConditionTrue
	}
	for _, old := range api.Status.Conditions {
		if old.Type == kind && old.Status == c.Status {
			return old
		}
	}
	// The same until the API server has it, so that it is reported once.
	c.LastTransitionTime = metav1.Time{}
	return c
}

func conditionTrue(api *corev1.Pod, kind corev1.PodConditionType) bool {
	for _, c := range api.Status.Conditions {
		if c.Type == kind {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// phase sums up the containers, as upstream's kubelet does.
func phase(api *corev1.Pod, init, main []corev1.ContainerStatus) corev1.PodPhase {
	never := api.Spec.RestartPolicy == corev1.RestartPolicyNever
	ended := func(c corev1.ContainerStatus) bool { return c.State.Terminated != nil }
	succeeded := func(c corev1.ContainerStatus) bool { return ended(c) && c.State.Terminated.ExitCode == 0 }
	for _, c := range init {
		if ended(c) && !succeeded(c) && never {
			return corev1.PodFailed
		}
		if !succeeded(c) {
			return corev1.PodPending
		}
	}
	begun := func(c corev1.ContainerStatus) bool {
		return c.State.Waiting == nil || c.LastTerminationState.Terminated != nil
	}
	leaving := api.DeletionTimestamp != nil
	switch {
	case !all(main, begun):
		return corev1.PodPending
	case !all(main, ended) || api.Spec.RestartPolicy == corev1.RestartPolicyAlways && !leaving:
		return corev1.PodRunning
	case all(main, succeeded):
		return corev1.PodSucceeded
	case never || leaving:
		return corev1.PodFailed
	default:
		return corev1.PodRunning
	}
}

func all(containers []corev1.ContainerStatus, is func(corev1.ContainerStatus) bool) bool {
	for _, c := range containers {
		if !is(c) {
			return false
		}
	}
	return true
}

// unsupported returns what a pod asks for and does not get.
func unsupported(api *corev1.Pod) []string {
	var out []string
	if api.Spec.HostNetwork {
		out = append(out, "network of the node")
	}
	for _, containers := range [][]corev1.Container{api.Spec.InitContainers, api.Spec.Containers} {
		for i := range containers {
			c := &containers[i]
			if c.Lifecycle != nil {
				out = append(out, "hooks of the lifecycle (container "+c.Name+")")
			}
			if c.RestartPolicy != nil {
				out = append(out, "restart policy of a container ("+c.Name+")")
			}
			for _, p := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
				if p != nil && p.HTTPGet == nil && p.TCPSocket == nil {
					out = append(out, "probes by exec or gRPC (container "+c.Name+")")
				}
			}
		}
	}
	return out
}
