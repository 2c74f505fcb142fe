package controlplane

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// helperEnv makes the test binary start a cluster and wait to be killed.
const helperEnv = "CONTROLPLANE_TEST_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) == "" {
		os.Exit(m.Run())
	}
	cluster, err := Start(context.Background(), Options{Dir: os.Getenv(helperEnv), Quick: true, NoScheduler: true,
		NoKwok: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(cluster.Dir())
	select {}
}

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: example.com/web}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: shop}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: once, image: example.com/once}]}
`

func TestCluster(t *testing.T) {
	// Two at once must not get into each other's way.
	clusters := make([]*Cluster, 2)
	var wg sync.WaitGroup
	for i := range clusters {
		wg.Go(func() {
			c, err := Start(t.Context(), Options{
				Quick:       true,
				ContextName: fmt.Sprintf("test-%d", i),
				Tokens:      []Token{{User: "robot", Groups: []string{"machines", "robots"}}},
				Args:        map[string][]string{APIServer: {"--v=1"}},
			})
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { stop(t, c) })
			clusters[i] = c
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	c := clusters[0]
	kubectl := func(t *testing.T, args ...string) string {
		t.Helper()
		out, err := c.Kubectl(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}

	t.Run("kubectl", func(t *testing.T) {
		for i, c := range clusters {
			out, err := c.Kubectl(t.Context(), "get", "namespaces", "--output=name")
			if err != nil || !strings.Contains(string(out), "namespace/kube-system") {
				t.Errorf("got %q, %v", out, err)
			}
			out, err = c.Kubectl(t.Context(), "config", "current-context")
			if want := fmt.Sprintf("test-%d\n", i); err != nil || string(out) != want {
				t.Errorf("got context %q, %v, want %q", out, err, want)
			}
		}
	})

	t.Run("version", func(t *testing.T) {
		var versions struct {
			ClientVersion, ServerVersion struct{ GitVersion, Major, Minor string }
		}
		if err := json.Unmarshal([]byte(kubectl(t, "version", "--output=json")), &versions); err != nil {
			t.Fatal(err)
		}
		if v := versions.ServerVersion; v != versions.ClientVersion ||
			!strings.HasPrefix(v.GitVersion, "v"+v.Major+"."+v.Minor+".") {
			t.Errorf("got %+v", versions)
		}
	})

	t.Run("pods run and end", func(t *testing.T) {
		if err := c.AddNode(t.Context(), Node{Name: "node-1", Labels: map[string]string{"pool": "test"}}); err != nil {
			t.Fatal(err)
		}
		if got := kubectl(t, "get", "node", "node-1", "--output=jsonpath={.metadata.labels.pool}"); got != "test" {
			t.Errorf("got label %q", got)
		}
		kubectl(t, "create", "namespace", "shop")
		if err := c.Apply(t.Context(), deployment); err != nil {
			t.Fatal(err)
		}
		kubectl(t, "--namespace=shop", "rollout", "status", "deployment/web", "--timeout=1m")
		kubectl(t, "--namespace=shop", "wait", "--for=condition=Complete", "job/once", "--timeout=1m")
		if err := c.SetPodLogs("hello", "world"); err != nil {
			t.Fatal(err)
		}
		if got := kubectl(t, "--namespace=shop", "logs", "deployment/web"); !strings.HasSuffix(got, "hello\nworld") {
			t.Errorf("got logs %q", got)
		}
		kubectl(t, "delete", "namespace", "shop", "--timeout=1m")
		if got := kubectl(t, "get", "pods", "--all-namespaces", "--output=name"); got != "" {
			t.Errorf("left: %s", got)
		}
	})

	t.Run("a pod without a kubelet is stuck", func(t *testing.T) {
		if err := c.AddNode(t.Context(), Node{Name: "dead", NoKubelet: true}); err != nil {
			t.Fatal(err)
		}
		kubectl(t, "run", "stuck", "--image=example.com/x", `--overrides={"spec":{"nodeName":"dead"}}`)
		kubectl(t, "delete", "pod", "stuck", "--wait=false")
		if got := kubectl(t, "get", "pod", "stuck",
			"--output=jsonpath={.status.phase} {.metadata.deletionTimestamp}"); !strings.HasPrefix(got, "Pending 2") {
			t.Errorf("got %q", got)
		}
		kubectl(t, "delete", "pod", "stuck", "--force", "--grace-period=0")
	})

	t.Run("users without rights", func(t *testing.T) {
		byCert, err := c.User("nobody")
		if err != nil {
			t.Fatal(err)
		}
		byToken, err := c.TokenUser("robot")
		if err != nil {
			t.Fatal(err)
		}
		for name, kubeconfig := range map[string]string{"nobody": byCert, "robot": byToken} {
			_, err := c.Kubectl(t.Context(), "--kubeconfig="+kubeconfig, "get", "pods")
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("(Forbidden): pods is forbidden: User %q", name)) {
				t.Errorf("%s: got %v", name, err)
			}
		}
		kubectl(t, "create", "clusterrolebinding", "robots", "--clusterrole=view", "--group=robots")
		reads := func() bool {
			_, err := c.Kubectl(t.Context(), "--kubeconfig="+byToken, "get", "pods")
			return err == nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if !poll(ctx.Done(), reads) {
			t.Error("the group of the token has no effect")
		}
		if _, err := c.TokenUser("nobody"); err == nil {
			t.Error("a token for nobody")
		}
	})

	t.Run("aggregation layer", func(t *testing.T) {
		// The extension API server of this test is the other cluster's API
		// server: it does not trust this one, and says so.
		_, port, _ := strings.Cut(strings.TrimPrefix(clusters[1].URL(), "https://"), ":")
		err := c.Apply(t.Context(), fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: other, namespace: default}
spec: {type: ExternalName, externalName: localhost}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.example.com}
spec:
  group: example.com
  version: v1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: other, namespace: default, port: %s}
`, port))
		if err != nil {
			t.Fatal(err)
		}
		kubectl(t, "wait", "apiservice/v1.example.com", "--timeout=1m",
			`--for=jsonpath={.status.conditions[?(@.type=="Available")].reason}=FailedDiscoveryCheck`)
		kubectl(t, "delete", "apiservice", "v1.example.com")
	})

	t.Run("restart", func(t *testing.T) {
		kubectl(t, "create", "configmap", "kept")
		if err := c.RestartAPIServer(t.Context()); err != nil {
			t.Fatal(err)
		}
		kubectl(t, "get", "configmap", "kept")
		if err := c.KillAPIServer(); err != nil {
			t.Fatal(err)
		}
		if c.Running() {
			t.Error("still running")
		}
		if _, err := c.Kubectl(t.Context(), "get", "configmap", "kept"); err == nil {
			t.Error("a killed server answers")
		}
		if err := c.StartAPIServer(t.Context()); err != nil {
			t.Fatal(err)
		}
		kubectl(t, "get", "configmap", "kept")
		// The other components have found it again.
		if err := c.AddNode(t.Context(), Node{Name: "node-2"}); err != nil {
			t.Error(err)
		}
	})
}

// stop stops a cluster and makes sure that nothing is left of it.
func stop(t *testing.T, c *Cluster) {
	t.Helper()
	processes := c.state.Processes
	if len(processes) != 5 {
		t.Errorf("got %d processes, want 5", len(processes))
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
	for _, p := range processes {
		if born(p.PID) == p.Born {
			t.Errorf("%s still runs as process %d", p.Name, p.PID)
		}
	}
	if _, err := os.Stat(c.Dir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", c.Dir(), err)
	}
	if err := c.Stop(); err != nil {
		t.Errorf("stop again: %v", err)
	}
}

func TestOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cluster")
	started, err := Start(t.Context(), Options{Dir: dir, Detached: true, Quick: true, NoScheduler: true, NoKwok: true})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !c.Running() {
		t.Error("not running")
	}
	if _, err := Start(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("a second cluster in the same folder: got %v", err)
	}
	if err := c.RestartAPIServer(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := c.Kubectl(t.Context(), "get", "namespaces"); err != nil {
		t.Error(err)
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
	if started.Running() {
		t.Error("still running")
	}
	if _, err := os.Stat(c.LogFile(APIServer)); err != nil {
		t.Errorf("the caller's folder must stay: %v", err)
	}
}

// A process number that was given to another program must not be stopped.
func TestStopAnotherProgram(t *testing.T) {
	p := &process{Name: Etcd, PID: os.Getpid(), Born: "before this one"}
	if err := p.stop(time.Second); err != nil {
		t.Error(err)
	}
}

// What a wrapper around a program started ends with it, also when a later process
// stops it.
func TestStopWrapper(t *testing.T) {
	dir := t.TempDir()
	wrapper, child := filepath.Join(dir, "etcd"), filepath.Join(dir, "child")
	//nolint:gosec // executable
	if err := os.WriteFile(wrapper, []byte("#!/bin/sh\nsleep 600 &\necho $! > \"$1\"\nwait\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	started, err := startProcess(Etcd, []string{wrapper, child}, nil, filepath.Join(dir, "log"), true)
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	written := func() bool {
		content, err := os.ReadFile(child)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(content)))
		return err == nil && pid > 0
	}
	if !poll(time.After(10*time.Second), written) {
		t.Fatal("the wrapper has started nothing")
	}
	later := &process{Name: Etcd, PID: started.PID, Born: started.Born}
	if err := later.stop(10 * time.Second); err != nil {
		t.Error(err)
	}
	if !poll(time.After(10*time.Second), func() bool { return born(pid) == "" }) {
		t.Errorf("process %d survives the wrapper that started it", pid)
	}
}

func TestPortTaken(t *testing.T) {
	c, err := Start(t.Context(), Options{NoControllerManager: true, NoScheduler: true, NoKwok: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	// etcd a second time, with the ports of the first.
	p, err := startProcess("again", append(c.process(Etcd).Args, "--data-dir="+t.TempDir()), nil, c.LogFile("again"),
		false)
	if err != nil {
		t.Fatal(err)
	}
	<-p.done
	if !p.portTaken() {
		t.Errorf("not recognized as a taken port: %v", p.died())
	}
	if err := p.died(); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("the error does not show the log: %v", err)
	}
}

func TestFailedStart(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	_, err := Start(t.Context(), Options{Args: map[string][]string{APIServer: {"--no-such-flag"}}})
	if err == nil || !strings.Contains(err.Error(), "unknown flag: --no-such-flag") {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// The components of a program that is killed die with it.
func TestParentDies(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cluster")
	helper := exec.Command(os.Args[0]) //nolint:gosec // this test
	helper.Env = append(os.Environ(), helperEnv+"="+dir)
	helper.Stderr = os.Stderr
	out, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Errorf("the helper does not start: %v", err)
	}
	if err := helper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = helper.Wait() // killed
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.state.Processes {
		if !p.waitGone(10 * time.Second) {
			t.Errorf("%s survives", p.Name)
		}
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
}

func TestKubebuilderAssets(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("KUBEBUILDER_ASSETS", dir)
	for _, s := range sources("kubernetes") {
		if err := os.WriteFile(filepath.Join(dir, s.name), nil, 0o700); err != nil { //nolint:gosec // executable
			t.Fatal(err)
		}
	}
	bin, err := Binaries(t.Context())
	want := Bin{
		Etcd:              filepath.Join(dir, "etcd"),
		APIServer:         filepath.Join(dir, "kube-apiserver"),
		ControllerManager: filepath.Join(dir, "kube-controller-manager"),
		Scheduler:         filepath.Join(dir, "kube-scheduler"),
		Kubectl:           filepath.Join(dir, "kubectl"),
		Kwok:              filepath.Join(dir, "kwok"),
	}
	if err != nil || bin != want {
		t.Errorf("got %+v, %v, want %+v", bin, err, want)
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lock(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("locked twice: %v", err)
	}
	unlock()
	unlock, err = lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}
