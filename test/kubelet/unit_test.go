package kubelet

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestExpand(t *testing.T) {
	env := map[string]string{"A": "one", "B": "$(A)"}
	for in, want := range map[string]string{
		"": "", "plain": "plain", "$(A)": "one", "x$(A)y$(A)": "xoney" + "one", "$(B)": "$(A)", "$(C)": "$(C)",
		"$$(A)": "$(A)", "$": "$", "a$b": "a$b", "$(A": "$(A", "$$$(A)": "$one",
	} {
		if got := expand(in, env); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func TestBackoff(t *testing.T) {
	for restarts, want := range []time.Duration{0, 10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second,
		160 * time.Second, 300 * time.Second, 300 * time.Second} {
		if got := backoff(10*time.Second, restarts); got != want {
			t.Errorf("before restart %d: %s, want %s", restarts, got, want)
		}
	}
}

func TestAgain(t *testing.T) {
	for _, test := range []struct {
		policy corev1.RestartPolicy
		init   bool
		code   int32
		want   bool
	}{
		{corev1.RestartPolicyAlways, false, 0, true},
		{corev1.RestartPolicyAlways, true, 0, false},
		{corev1.RestartPolicyAlways, true, 1, true},
		{corev1.RestartPolicyOnFailure, false, 0, false},
		{corev1.RestartPolicyOnFailure, false, 1, true},
		{corev1.RestartPolicyNever, false, 1, false},
	} {
		if got := again(test.policy, test.init, test.code); got != test.want {
			t.Errorf("%+v: got %v", test, got)
		}
	}
}

func TestPhase(t *testing.T) {
	running := corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
	creating := corev1.ContainerStatus{State: waiting("ContainerCreating", "")}
	ended := func(code int32) corev1.ContainerStatus {
		return corev1.ContainerStatus{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}}
	}
	crashed := corev1.ContainerStatus{State: waiting("CrashLoopBackOff", ""), LastTerminationState: ended(1).State}
	for _, test := range []struct {
		name       string
		policy     corev1.RestartPolicy
		leaving    bool
		init, main []corev1.ContainerStatus
		want       corev1.PodPhase
	}{
		{"creating", corev1.RestartPolicyAlways, false, nil, []corev1.ContainerStatus{creating}, corev1.PodPending},
		{"initialising", corev1.RestartPolicyAlways, false, []corev1.ContainerStatus{running},
			[]corev1.ContainerStatus{creating}, corev1.PodPending},
		{"could not initialise", corev1.RestartPolicyNever, false, []corev1.ContainerStatus{ended(1)},
			[]corev1.ContainerStatus{creating}, corev1.PodFailed},
		{"running", corev1.RestartPolicyAlways, false, []corev1.ContainerStatus{ended(0)}, []corev1.ContainerStatus{running},
			corev1.PodRunning},
		{"crashing", corev1.RestartPolicyAlways, false, nil, []corev1.ContainerStatus{crashed}, corev1.PodRunning},
		{"one of two ended", corev1.RestartPolicyNever, false, nil, []corev1.ContainerStatus{ended(0), running},
			corev1.PodRunning},
		{"done", corev1.RestartPolicyNever, false, nil, []corev1.ContainerStatus{ended(0), ended(0)}, corev1.PodSucceeded},
		{"failed", corev1.RestartPolicyNever, false, nil, []corev1.ContainerStatus{ended(0), ended(1)}, corev1.PodFailed},
		{"to be tried again", corev1.RestartPolicyOnFailure, false, nil, []corev1.ContainerStatus{ended(1)},
			corev1.PodRunning},
		{"to be restarted", corev1.RestartPolicyAlways, false, nil, []corev1.ContainerStatus{ended(0)}, corev1.PodRunning},
		{"deleted", corev1.RestartPolicyAlways, true, nil, []corev1.ContainerStatus{ended(143)}, corev1.PodFailed},
	} {
		api := &corev1.Pod{Spec: corev1.PodSpec{RestartPolicy: test.policy}}
		if test.leaving {
			api.DeletionTimestamp = &metav1.Time{}
		}
		if got := phase(api, test.init, test.main); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	for _, content := range []files{
		{"a": []byte("1"), "sub/b": []byte("2")}, {"a": []byte("1"), "sub/b": []byte("2")},
		{"a": []byte("3")}, {}, {"sub": []byte("4")},
	} {
		if err := write(dir, content); err != nil {
			t.Fatal(err)
		}
		if !same(filepath.Join(dir, current), content) {
			t.Errorf("the volume does not hold %v", slices.Sorted(maps.Keys(content)))
		}
		for path, want := range content {
			if got, err := os.ReadFile(filepath.Join(dir, path)); err != nil || string(got) != string(want) {
				t.Errorf("%s holds %q, %v", path, got, err)
			}
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		// The link, what it leads to, and one entry a file or folder.
		if len(entries) != 2+len(content) {
			t.Errorf("%d entries for %d files", len(entries), len(content))
		}
	}
}

func TestUnsupported(t *testing.T) {
	api := &corev1.Pod{Spec: corev1.PodSpec{HostNetwork: true, Containers: []corev1.Container{{
		Name: "c", Lifecycle: &corev1.Lifecycle{},
		LivenessProbe:  &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{}}},
		ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{}}},
	}}}}
	if got := unsupported(api); len(got) != 3 {
		t.Errorf("got %q", got)
	}
}

func TestReady(t *testing.T) {
	yes, no, http, other, port := true, false, "http", "other", int32(80)
	slice := &discoveryv1.EndpointSlice{
		Ports: []discoveryv1.EndpointPort{{Name: &http, Port: &port}, {Name: &other, Port: &port}},
		Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"10.0.0.1"}, Conditions: discoveryv1.EndpointConditions{Ready: &yes}},
			{Addresses: []string{"10.0.0.2"}, Conditions: discoveryv1.EndpointConditions{Ready: &no}},
		},
	}
	if got := ready(slice, http); !slices.Equal(got, []string{"10.0.0.1:80"}) {
		t.Errorf("got %q", got)
	}
	if got := ready(slice, "none"); len(got) > 0 {
		t.Errorf("got %q", got)
	}
}
