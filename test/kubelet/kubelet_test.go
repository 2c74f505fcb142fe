package kubelet_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/castai/kubectl-castai/test/controlplane"
	"github.com/castai/kubectl-castai/test/kubelet"
)

const image = "example.com/server"

const manifests = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: default}
data: {level: low}
---
apiVersion: v1
kind: Service
metadata: {name: server, namespace: default}
spec:
  selector: {app: server}
  ports: [{name: http, port: 8443, targetPort: http}]
---
apiVersion: v1
kind: Pod
metadata: {name: server, namespace: default, labels: {app: server}}
spec:
  terminationGracePeriodSeconds: 2
  containers:
  - name: server
    image: example.com/server:v1@sha256:` + "0123456789012345678901234567890123456789012345678901234567890123" + `
    command: [/server]
    args: [deaf, $(NAME)]
    env:
    - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: LEVEL, valueFrom: {configMapKeyRef: {name: settings, key: level}}}
    ports: [{name: http, containerPort: 8080}]
    readinessProbe: {httpGet: {path: /ready, port: http}, initialDelaySeconds: 1, periodSeconds: 1}
    livenessProbe: {tcpSocket: {port: http}, periodSeconds: 1}
    volumeMounts: [{name: settings, mountPath: /etc/settings}]
  volumes: [{name: settings, configMap: {name: settings}}]
---
apiVersion: v1
kind: Pod
metadata: {name: crash, namespace: default}
spec: {containers: [{name: crash, image: example.com/server, args: [fail]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: unknown, namespace: default}
spec: {containers: [{name: unknown, image: example.com/unknown, lifecycle: {preStop: {exec: {command: [x]}}}}]}
---
apiVersion: v1
kind: Pod
metadata: {name: waits, namespace: default}
spec:
  containers: [{name: waits, image: example.com/server, volumeMounts: [{name: late, mountPath: /late}]}]
  volumes: [{name: late, secret: {secretName: late}}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: default}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: once, image: example.com/server, args: [end]}]}}}
`

// start starts a control plane without kwok, and a node.
func start(t *testing.T, o kubelet.Options) (*controlplane.Cluster, *kubelet.Kubelet) {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "server")
	//nolint:gosec // a path of the test
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./testdata/server")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cluster, err := controlplane.Start(t.Context(), controlplane.Options{Quick: true, NoKwok: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	network, err := kubelet.NewNetwork(t.Context(), cluster)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(network.Stop)
	o.Name, o.Images = "alive", map[string]kubelet.Image{image: {Path: bin, Entrypoint: []string{"serve"}}}
	node, err := kubelet.Start(t.Context(), cluster, network, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Stop(); err != nil {
			t.Error(err)
		}
	})
	return cluster, node
}

// eventually waits until kubectl prints what is wanted.
func eventually(t *testing.T, c *controlplane.Cluster, want string, args ...string) {
	t.Helper()
	var got []byte
	err := wait.PollUntilContextTimeout(t.Context(), 200*time.Millisecond, time.Minute, true,
		func(ctx context.Context) (bool, error) {
			var err error
			got, err = c.Kubectl(ctx, args...)
			return strings.Contains(string(got), want), err
		})
	if err != nil {
		t.Errorf("kubectl %s: want %q, got %q: %v", strings.Join(args, " "), want, got, err)
	}
}

func TestKubelet(t *testing.T) {
	for _, mode := range []struct {
		name   string
		shared bool
	}{{"with namespaces", false}, {"without", true}} {
		t.Run(mode.name, func(t *testing.T) {
			cluster, node := start(t, kubelet.Options{Shared: mode.shared, Backoff: time.Second,
				Refresh: 200 * time.Millisecond})
			if err := cluster.Apply(t.Context(), manifests); err != nil {
				t.Fatal(err)
			}
			runs(t, cluster, mode.shared || os.Geteuid() != 0)
			ends(t, cluster, node)
		})
	}
}

// runs looks at what pods see and say while they run.
func runs(t *testing.T, cluster *controlplane.Cluster, shared bool) {
	kubectl := func(args ...string) string {
		out, err := cluster.Kubectl(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	kubectl("wait", "--for=condition=Ready", "pod/server", "--timeout=1m")
	front := kubectl("get", "service", "server", "--output=jsonpath={.spec.clusterIP}") + ":8443"
	seen := see(t, front)
	ip := kubectl("get", "pod", "server", "--output=jsonpath={.status.podIP}")
	for key, want := range map[string]string{"NAME": "server", "LEVEL": "low", "IP": ip, "setting": "low",
		"namespace": "default"} {
		if seen[key] != want {
			t.Errorf("the pod sees %s=%q, want %q", key, seen[key], want)
		}
	}
	if strings.Count(seen["token"], ".") != 2 {
		t.Errorf("this is no token: %q", seen["token"])
	}
	if !shared && (seen["hostname"] != "server" || seen["server"] != "<nil>") {
		t.Errorf("the pod sees hostname %q and reaches the API server: %s", seen["hostname"], seen["server"])
	}
	kubectl("patch", "configmap", "settings", "--patch", `{"data":{"level":"high"}}`)
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true,
		func(context.Context) (bool, error) {
			return see(t, front)["setting"] == "high", nil
		})
	if err != nil {
		t.Errorf("the volume does not follow its ConfigMap: %v", err)
	}

	state := func(pod, path string) []string {
		return []string{"get", "pod", pod, "--output=jsonpath={.status" + path + "}"}
	}
	eventually(t, cluster, "CrashLoopBackOff 3", state("crash",
		".containerStatuses[0]['state.waiting.reason','lastState.terminated.exitCode']")...)
	eventually(t, cluster, "ImagePullBackOff", state("unknown", ".containerStatuses[0].state.waiting.reason")...)
	eventually(t, cluster, "hooks of the lifecycle", "get", "events", "--field-selector=reason=Unsupported")
	eventually(t, cluster, `secrets "late" not found`, "get", "events", "--field-selector=reason=FailedMount")
	kubectl("create", "secret", "generic", "late")
	kubectl("wait", "--for=condition=Ready", "pod/waits", "--timeout=1m")
	kubectl("wait", "--for=condition=Complete", "job/once", "--timeout=1m")
}

// see asks the pod behind an address what it sees.
func see(t *testing.T, front string) map[string]string {
	t.Helper()
	answer, err := http.Get("http://" + front + "/see")
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	seen := map[string]string{}
	if err == nil {
		err = json.Unmarshal(content, &seen)
	}
	if err != nil {
		t.Fatalf("%v in %q", err, content)
	}
	return seen
}

// ends looks at how pods end.
func ends(t *testing.T, cluster *controlplane.Cluster, node *kubelet.Kubelet) {
	begin := time.Now()
	if _, err := cluster.Kubectl(t.Context(), "delete", "pod", "server", "waits"); err != nil {
		t.Fatal(err)
	}
	// It ignores SIGTERM.
	if took := time.Since(begin); took < 2*time.Second {
		t.Errorf("the pod had less than its grace: %s", took)
	}
	service, err := cluster.Kubectl(t.Context(), "get", "service", "server", "--output=jsonpath={.spec.clusterIP}")
	if err != nil {
		t.Fatal(err)
	}
	err = wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true,
		func(context.Context) (bool, error) {
			answer, err := http.Get("http://" + string(service) + ":8443/ready")
			if err == nil {
				_ = answer.Body.Close()
			}
			return err != nil, nil
		})
	if err != nil {
		t.Errorf("the Service still answers: %v", err)
	}
	if log := node.Log("default", "server"); !strings.Contains(log, "arguments: serve deaf server") {
		t.Errorf("the log of the pod is %q", log)
	}
	if _, err := cluster.Kubectl(t.Context(), "delete", "job/once", "pod/crash", "pod/unknown"); err != nil {
		t.Fatal(err)
	}
	eventually(t, cluster, "[]", "get", "pods", "--all-namespaces", "--output=jsonpath={.items}")
}

// A node that is lost is noticed, its pods stay, and its processes go on.
func TestLose(t *testing.T) {
	cluster, node := start(t,
		kubelet.Options{Taints: []corev1.Taint{{Key: "alive", Effect: corev1.TaintEffectNoSchedule}}})
	pod := `{apiVersion: v1, kind: Pod, metadata: {name: server, namespace: default}, spec: {tolerations: [{key: alive}],
		containers: [{name: server, image: example.com/server, readinessProbe: {httpGet: {path: /ready, port: 8080}, periodSeconds: 1}}]}}`
	if err := cluster.Apply(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.Kubectl(t.Context(), "wait", "--for=condition=Ready", "pod/server", "--timeout=1m"); err != nil {
		t.Fatal(err)
	}
	node.Lose()
	if _, err := cluster.Kubectl(t.Context(), "delete", "pod", "server", "--wait=false"); err != nil {
		t.Fatal(err)
	}
	_, err := cluster.Kubectl(t.Context(), "wait", "--for=delete", "pod/server", "--timeout=3s")
	if err == nil || !strings.Contains(err.Error(), "timed out") {
		t.Errorf("somebody has confirmed the end of a pod on a node that is lost: %v", err)
	}
	if log := node.Log("default", "server"); !strings.Contains(log, "arguments") {
		t.Errorf("the log is %q", fmt.Sprint(log))
	}
}
